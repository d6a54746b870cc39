"""check every gradient of a network against central differences of its loss, in float64

Checks the kernels and the reference, along random directions in each tensor.  Where the kernels
cannot be used, because Numba is missing or fails, only the reference is checked, and a note says
so.  Exit status 1 if an error is above the bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from ..explain.trace import in_float64
from ..ground.command_line import CannotError, above_zero, not_negative, positive
from ..ground.messages import plain
from ..ground.printing import print_message, print_text
from ..losses import CrossEntropy
from ..network import Network
from ..testing import TOLERANCE, GradientError, check_gradients, network_gradients
from .console import print_json, print_table
from .model_argument import add_model_argument, open_model

BACKENDS = {"numba": "kernels", "numpy": "reference"}

RAW_TOLERANCE = 1e-6
"""For networks on raw pixels.  Beside pixels up to 255, a small step of a bias changes the loss by
only 1e-7 of its value, so rounding is a larger part of the difference."""

N_TRIES = 8
"""If all differences for a tensor meet kinks, so many batches of images are tried."""


@dataclass(frozen=True)
class Check:
    """The result for one tensor on one backend.  error: NaN if it could not be measured; message:
    what is wrong, or None."""

    tensor: str
    shape: tuple[int, ...]
    backend: str
    error: float
    bound: float
    message: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, default="microexpnet")
    parser.add_argument(
        "--images", metavar="N", type=positive, default=2, help="number of images (default: 2)"
    )
    parser.add_argument(
        "--directions",
        metavar="N",
        type=positive,
        default=3,
        help="number of random directions in which each tensor is moved (default: 3)",
    )
    parser.add_argument(
        "--tolerance",
        metavar="X",
        type=above_zero,
        help=f"largest error that passes (default: {TOLERANCE:g}, for raw pixels "
        f"{RAW_TOLERANCE:g})",
    )
    parser.add_argument(
        "--seed", metavar="N", type=not_negative, default=0, help="of images and directions"
    )


def run(args: argparse.Namespace) -> int:
    network = open_model(args.model, args.variant).network
    bound = args.tolerance
    if bound is None:
        bound = RAW_TOLERANCE if network.input_spec.scaling == "raw" else TOLERANCE
    n_tensors, backends = len(network.parameters) + 1, usable_backends(network)
    total = len(backends) * n_tensors
    with tqdm(total=total, unit="tensor", disable=None, leave=False) as progress:
        checks = [
            check
            for backend in backends
            for check in check_all(network, backend, args, bound, progress)
        ]
    passed = not any(check.message for check in checks)
    if args.json:
        rows = [vars(check) for check in checks]
        found = {"model": args.model, "passed": passed, "bound": bound, "backends": backends}
        print_json({**found, "checks": rows})
    else:
        _print(args.model, checks, bound)
    for check in checks:
        if check.message:
            print_message(plain(f"error: on the {BACKENDS[check.backend]}: {check.message}"))
            break
    return 0 if passed else 1


def usable_backends(network: Network) -> list[str]:
    """Those of BACKENDS that work here.  A note on stderr says if the kernels do not."""
    double = in_float64(network, "auto")
    double.forward(np.zeros((1, *double.input_spec.shape)), training=True)
    if double.backend_in_use == "numba":
        return list(BACKENDS)
    print_message("note: the kernels are not checked, as they cannot be used here")
    return ["numpy"]


def check_all(
    network: Network, backend: str, args: argparse.Namespace, bound: float, progress: tqdm
) -> list[Check]:
    """Check every parameter, and the input x."""
    double = in_float64(network, backend)
    checks: dict[str, Check] = {}
    names = [*double.parameters, "x"]
    for attempt in range(N_TRIES):
        waiting = [name for name in names if name not in checks or np.isnan(checks[name].error)]
        if not waiting:
            break
        rng = np.random.default_rng([args.seed, attempt])
        shape = (args.images, *double.input_spec.shape)
        x = double.scale(rng.integers(0, 256, shape, dtype=np.uint8))
        labels = rng.integers(0, len(double.classes), args.images)
        loss, tensors, gradients = network_gradients(
            double, x, lambda logits: CrossEntropy()(logits, labels, backend=backend)
        )
        if not np.isfinite(loss()):
            raise CannotError("the network's loss is not finite: its weights are damaged")
        for name in waiting:
            tensor, gradient = {name: tensors[name]}, {name: gradients[name]}
            options = {"n_directions": args.directions, "seed": args.seed}
            check = partial(check_gradients, loss, tensor, gradient, **options)
            first_wrong = not any(c.message and not np.isnan(c.error) for c in checks.values())
            error, message = _error_and_message(name, bound, check, first_wrong)
            checks[name] = Check(name, tensors[name].shape, backend, error, bound, message)
            progress.update(not np.isnan(error))
    return [checks[name] for name in names]


def _error_and_message(
    name: str, bound: float, check: Callable[..., dict[str, float]], find_entry: bool
) -> tuple[float, str | None]:
    """The error, and what is wrong.  find_entry: if it is above the bound, name the worst entry,
    which takes long."""
    try:
        error = check(tolerance=np.inf)[name]
    except GradientError as problem:  # too many kinks, or a gradient that is not finite
        return np.nan, str(problem)
    if error <= bound:
        return error, None
    try:
        if find_entry:
            check(tolerance=bound)
    except GradientError as problem:
        return error, str(problem)
    return error, f"gradient of {name}: error {error:.2e} exceeds {bound:.0e}"


def _print(model: str, checks: list[Check], bound: float) -> None:
    by_backend: dict[str, dict[str, Check]] = {}
    for check in checks:
        by_backend.setdefault(check.backend, {})[check.tensor] = check
    rows = []
    for name, first in by_backend["numpy"].items():
        both = [found[name] for found in by_backend.values()]
        shown = ["-" if np.isnan(check.error) else f"{check.error:.1e}" for check in both]
        verdict = "FAILED" if any(check.message for check in both) else "ok"
        rows.append((name, "x".join(map(str, first.shape)), *shown, f"{bound:.0e}", verdict))
    print_text(plain(f"{model}: |analytic - numeric| / max(|analytic|, |numeric|), float64"))
    shown_backends = [BACKENDS[backend] for backend in by_backend]
    print_table(("gradient of", "shape", *shown_backends, "bound", ""), rows, left=2)
