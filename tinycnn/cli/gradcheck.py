"""every gradient of a network against central differences of its loss, in float64

Kernels and reference are both checked, along random directions in each tensor.  Exit status 1
where an error is above the bound.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ..explain.trace import in_float64
from ..ground.command_line import CannotError, not_negative, positive
from ..ground.messages import plain
from ..losses import CrossEntropy
from ..network import Network
from ..testing import TOLERANCE, GradientError, check_gradients
from .console import above_zero, print_json, print_table
from .model_argument import add_model_argument, open_model

BACKENDS = {"numba": "kernels", "numpy": "reference"}

RAW_TOLERANCE = 1e-6
"""For networks that take raw pixels: beside 255 a step of a bias moves the loss by 1e-7 of its
value, and rounding is that much larger a part of the difference."""

N_TRIES = 8
"""Batches of images that are tried where all differences of one tensor meet kinks."""


@dataclass(frozen=True)
class Check:
    """One tensor on one backend.  error: NaN where nothing could be measured; message: what is
    wrong, or None."""

    tensor: str
    shape: tuple[int, ...]
    backend: str
    error: float
    bound: float
    message: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, nargs="?", default="microexpnet")
    parser.add_argument(
        "--images", metavar="N", type=positive, default=2, help="random images (default: 2)"
    )
    parser.add_argument(
        "--directions",
        metavar="N",
        type=positive,
        default=3,
        help="in each tensor along which the loss is moved (default: 3)",
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
    n_tensors = len(network.parameters) + 1
    with tqdm(total=2 * n_tensors, unit="tensor", disable=None, leave=False) as progress:
        checks = [
            check
            for backend in BACKENDS
            for check in check_all(network, backend, args, bound, progress)
        ]
    passed = not any(check.message for check in checks)
    if args.json:
        rows = [vars(check) for check in checks]
        print_json({"model": args.model, "passed": passed, "bound": bound, "checks": rows})
    else:
        _print(args.model, checks, bound)
    for check in checks:
        if check.message:
            print(
                plain(f"error: on the {BACKENDS[check.backend]}: {check.message}"), file=sys.stderr
            )
            break
    return 0 if passed else 1


def check_all(
    network: Network, backend: str, args: argparse.Namespace, bound: float, progress: tqdm
) -> list[Check]:
    """A Check of every parameter and of the input x."""
    double = in_float64(network, backend)
    checks: dict[str, Check] = {}
    names = [*double.parameters, "x"]
    for attempt in range(N_TRIES):
        waiting = [name for name in names if name not in checks or np.isnan(checks[name].error)]
        if not waiting:
            break
        problem = Problem(double, args.images, [args.seed, attempt])
        for name in waiting:
            first_wrong = not any(c.message and not np.isnan(c.error) for c in checks.values())
            checks[name] = problem.check(name, bound, args.directions, args.seed, first_wrong)
            progress.update(not np.isnan(checks[name].error))
    return [checks[name] for name in names]


class Problem:
    """Random images and labels, the loss of them, and its analytic gradients."""

    def __init__(self, network: Network, n_images: int, seed: list[int]) -> None:
        rng = np.random.default_rng(seed)
        shape = (n_images, *network.input_spec.shape)
        self.network = network
        self.x = network.scale(rng.integers(0, 256, shape, dtype=np.uint8))
        self.labels = rng.integers(0, len(network.classes), n_images)
        self.dropout_state = network.dropout_generator.bit_generator.state
        loss, dlogits = self._forward()
        if not np.isfinite(loss):
            raise CannotError("the network's loss is not finite: its weights are damaged")
        dx = network.backward(dlogits, input_gradient=True)
        self.gradients = {"x": dx, **{name: g.copy() for name, g in network.gradients.items()}}
        self.tensors = {"x": self.x, **network.parameters}

    def _forward(self) -> tuple[float, np.ndarray]:
        """Loss and dlogits; dropout masks are drawn alike each time."""
        self.network.dropout_generator.bit_generator.state = self.dropout_state
        logits = self.network.forward(self.x, training=True)
        return CrossEntropy()(logits, self.labels, backend=self.network.backend)

    def check(
        self, name: str, bound: float, n_directions: int, seed: int, find_entry: bool
    ) -> Check:
        """find_entry: look for the worst entry where the error is too large; it takes long."""

        def error_within(tolerance: float) -> float:
            tensors, gradients = {name: self.tensors[name]}, {name: self.gradients[name]}
            options: dict[str, Any] = dict(n_directions=n_directions, seed=seed)
            return check_gradients(
                lambda: self._forward()[0], tensors, gradients, tolerance=tolerance, **options
            )[name]

        shape, backend = self.tensors[name].shape, self.network.backend
        try:
            error = error_within(np.inf)
        except GradientError as problem:  # kinks everywhere, or a gradient that is no number
            return Check(name, shape, backend, np.nan, bound, str(problem))
        message = None
        if error > bound:
            message = f"gradient of {name}: error {error:.2e} exceeds {bound:.0e}"
            try:
                if find_entry:
                    error_within(bound)
            except GradientError as problem:
                message = str(problem)
        return Check(name, shape, backend, error, bound, message)


def _print(model: str, checks: list[Check], bound: float) -> None:
    by_backend = {
        backend: {check.tensor: check for check in checks if check.backend == backend}
        for backend in BACKENDS
    }
    rows = []
    for name, first in by_backend["numba"].items():
        both = [by_backend[backend][name] for backend in BACKENDS]
        shown = ["-" if np.isnan(check.error) else f"{check.error:.1e}" for check in both]
        verdict = "FAILED" if any(check.message for check in both) else "ok"
        rows.append((name, "x".join(map(str, first.shape)), *shown, f"{bound:.0e}", verdict))
    print(plain(f"{model}: |analytic - numeric| / max(|analytic|, |numeric|), float64"))
    print_table(("gradient of", "shape", *BACKENDS.values(), "bound", ""), rows, left=2)
