"""Gradient checking, for our own tests and for anyone who writes a layer, a kernel or a loss.

A hand-derived gradient is compared with central differences of the loss itself.  The measure is
relative and per tensor: |analytic - numeric| / max(|analytic|, |numeric|) in Euclidean norm, so a
gradient that is wrong by 0.05 % fails a tolerance of 1e-7 by far.

ReLU and max-pooling have kinks, where a difference across the kink says nothing about the
gradient on either side.  Every difference is taken at two steps, h and h/2: on a smooth stretch
they agree to O(h*h), and so do twice the change of slope over h/2 and that over h; across a kink
one of the two pairs differs (on a kink, as where ReLU is given exactly 0, it is the second), and
the entry is skipped.  Whether an entry is skipped depends on the loss alone, never on the gradient
under test; too many skips are an error.

Needs NumPy alone.  Differences need float64: in float32 rounding drowns them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .network import Network

TOLERANCE = 1e-7
STEP = 1e-4
DIRECTION_STEP = 1e-6
MAX_SKIPPED = 0.2
"""Share of skipped entries above which a check proves too little to pass."""


class GradientError(AssertionError):
    """A gradient disagrees with the numeric one.  The message names tensor, index, both values,
    and the seed with which the check is repeated."""


def logit_error(logits: np.ndarray, expected: np.ndarray) -> float:
    """max|logits - expected| / max|expected|: the error of logits, everywhere; 0 if both empty."""
    logits, expected = _of_one_shape("logits", logits, expected)
    if expected.size == 0:
        return 0.0
    return float(np.abs(logits - expected).max() / np.abs(expected).max())


def gradient_error(analytic: np.ndarray, numeric: np.ndarray) -> float:
    """|analytic - numeric| / max(|analytic|, |numeric|) in Euclidean norm; 0 if both are zero."""
    analytic, numeric = _of_one_shape("analytic", analytic, numeric)
    scale = max(np.linalg.norm(analytic), np.linalg.norm(numeric))
    return float(np.linalg.norm(analytic - numeric) / scale) if scale else 0.0


def _of_one_shape(name: str, array: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64; NumPy would stretch one to the shape of the other."""
    array, other = np.asarray(array, np.float64), np.asarray(other, np.float64)
    if array.shape != other.shape:
        raise ValueError(f"{name}: shape {array.shape}; expected {other.shape} like the other")
    return array, other


def check_gradients(
    loss: Callable[[], float],
    tensors: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    *,
    tolerance: float = TOLERANCE,
    n_directions: int = 0,
    max_skipped: float = MAX_SKIPPED,
    seed: int = 0,
) -> dict[str, float]:
    """Compare `gradients` of loss() with respect to `tensors` with central differences.

    loss          evaluated many times; reads `tensors`, whose entries are moved in place and
                  put back
    tensors       float64 arrays by name;  gradients: arrays of the same names and shapes
    n_directions  0: every entry of every tensor is moved, for tiny shapes.  Else each tensor is
                  moved along so many random directions, each mixed with the gradient itself so
                  that the slope along it is not lost in rounding: for real shapes.
    Returns the error of each tensor.  Raises GradientError above `tolerance`, or where more than
    `max_skipped` of the entries met kinks; TypeError for tensors that are not float64, ValueError
    for read-only ones.
    """
    rng = np.random.default_rng(seed)
    errors = {}
    for name, tensor in tensors.items():
        if not tensor.flags.writeable:
            raise ValueError(f"tensor {name} is read-only: expected one whose entries can be moved")
        if tensor.dtype != np.float64:
            raise TypeError(f"{name} has dtype {tensor.dtype}; differences need float64")
        analytic = np.array(gradients[name], np.float64)
        if analytic.shape != tensor.shape:
            raise GradientError(
                f"gradient of {name} has shape {analytic.shape}; the tensor has {tensor.shape}"
            )
        _check_finite(name, analytic, seed)
        if n_directions:
            check = _along_directions(loss, tensor, analytic, rng, n_directions)
        else:
            check = _entry_by_entry(loss, tensor, analytic, range(tensor.size))
        labels, given, numeric = check
        keep = ~np.isnan(numeric)
        if tensor.size and keep.mean() < 1 - max_skipped:
            raise GradientError(
                f"gradient of {name}: {np.sum(~keep)} of {len(keep)} differences met a kink "
                f"(seed {seed}): use other data, this check proves too little"
            )
        errors[name] = gradient_error(given[keep], numeric[keep])
        if not errors[name] <= tolerance:
            if n_directions:  # a direction has no index: look for one among single entries
                some = rng.permutation(tensor.size)[:500]
                largest = np.argsort(-np.abs(analytic).reshape(-1))[:50]
                entries = np.union1d(some, largest)
                labels, given, numeric = _entry_by_entry(loss, tensor, analytic, entries)
            _raise(name, errors[name], tolerance, tensor.shape, labels, given, numeric, seed)
    return errors


def check_network(
    network: Network,
    x: np.ndarray,
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    *,
    check_input: bool = True,
    **options: Any,
) -> dict[str, float]:
    """Check every parameter gradient of a float64 `network`, and that of x, through loss.

    x     (N, H, W, C) float64;  loss(logits) -> (value, dlogits)
    Dropout masks are drawn alike in every evaluation.  `options` go to `check_gradients`; errors
    as there.
    """
    x = np.array(x, np.float64)
    dropout_state = network.dropout_generator.bit_generator.state

    def logits_of_x() -> np.ndarray:
        network.dropout_generator.bit_generator.state = dropout_state
        return network.forward(x, training=True)

    _, dlogits = loss(logits_of_x())
    dx = network.backward(dlogits, input_gradient=check_input)
    gradients = {name: g.copy() for name, g in network.gradients.items()}
    tensors = dict(network.parameters)
    if check_input:
        tensors["x"], gradients["x"] = x, dx
    return check_gradients(lambda: loss(logits_of_x())[0], tensors, gradients, **options)


Differences = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Flat indices, analytic values, numeric values (NaN where a kink was met)."""


def _entry_by_entry(
    loss: Callable[[], float], tensor: np.ndarray, analytic: np.ndarray, entries: Any
) -> Differences:
    entries = np.asarray(entries, np.int64)
    coarse, fine, bend = np.empty((3, len(entries)))
    here = loss()
    for k, flat in enumerate(entries):
        index = np.unravel_index(flat, tensor.shape)
        before = tensor[index]

        def at(t: float) -> float:
            tensor[index] = before + t
            return loss()

        coarse[k], fine[k], bend[k] = _slopes(at, STEP, here)
        tensor[index] = before
    scale = max(np.sqrt(np.mean(fine**2)), 1e-12) if len(fine) else 1.0
    return entries, analytic.reshape(-1)[entries], _without_kinks(coarse, fine, bend, scale)


def _along_directions(
    loss: Callable[[], float],
    tensor: np.ndarray,
    analytic: np.ndarray,
    rng: np.random.Generator,
    n_directions: int,
) -> Differences:
    """Fresh directions replace those that met a kink, up to five times n_directions in all."""
    before = tensor.copy()
    norm = np.linalg.norm(analytic)
    step = DIRECTION_STEP * max(1.0, float(np.linalg.norm(before)))
    here = loss()
    given, numeric = [], []
    for _ in range(5 * n_directions):
        direction = rng.standard_normal(tensor.shape)
        direction /= np.linalg.norm(direction) or 1.0
        if norm:
            direction += analytic / norm

        def at(t: float) -> float:
            tensor[:] = before + t * direction
            return loss()

        coarse, fine, bend = _slopes(at, step, here)
        tensor[:] = before
        slope = float(_without_kinks(coarse, fine, bend, abs(fine)))
        if not np.isnan(slope):
            given.append(np.sum(analytic * direction))
            numeric.append(slope)
        if len(given) == n_directions:
            break
    missing = [np.nan] * (n_directions - len(given))
    return np.arange(n_directions), np.array(given + missing), np.array(numeric + missing)


def _slopes(at: Callable[[float], float], step: float, here: float) -> tuple[float, float, float]:
    """Central differences at the step and at half of it; and what of the change of slope does
    not shrink with the step, less what rounding explains.  here: at(0)."""
    half = step / 2
    ahead, behind, near_ahead, near_behind = at(step), at(-step), at(half), at(-half)
    change = (ahead - here) / step - (here - behind) / step
    near_change = (near_ahead - here) / half - (here - near_behind) / half
    rounding = 64 * np.finfo(np.float64).eps * abs(here) / step
    bend = max(abs(2 * near_change - change) - rounding, 0.0)
    return (ahead - behind) / (2 * step), (near_ahead - near_behind) / step, bend


def _without_kinks(coarse: Any, fine: Any, bend: Any, scale: Any) -> np.ndarray:
    """Richardson's value, free of the h*h term; NaN where the two steps disagree: a kink."""
    disagreement = np.maximum(np.abs(coarse - fine), bend)
    kink = ~(disagreement <= 1e-6 * np.maximum(scale, np.abs(fine)))
    return np.where(kink, np.nan, fine + (fine - coarse) / 3)


def _check_finite(name: str, analytic: np.ndarray, seed: int) -> None:
    wrong = np.argwhere(~np.isfinite(analytic))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        raise GradientError(
            f"gradient of {name} at index {index} is {analytic[index]} (seed {seed})"
        )


def _raise(
    name: str,
    error: float,
    tolerance: float,
    shape: tuple[int, ...],
    entries: np.ndarray,
    given: np.ndarray,
    numeric: np.ndarray,
    seed: int,
) -> None:
    difference = np.abs(given - numeric)
    worst = int(np.nanargmax(difference)) if not np.all(np.isnan(difference)) else 0
    index = tuple(int(i) for i in np.unravel_index(entries[worst], shape))
    raise GradientError(
        f"gradient of {name}: error {error:.2e} exceeds {tolerance:.0e}; worst at index {index}: "
        f"analytic {given[worst]:.12g}, numeric {numeric[worst]:.12g} (seed {seed})"
    )
