"""Gradient checks, for this project's tests and for anyone who writes a layer, kernel or loss.

A hand-derived gradient is compared with central differences of the loss itself.  The error is
relative and per tensor: |analytic - numeric| / max(|analytic|, |numeric|) in Euclidean norm.  A
gradient that is wrong by 0.05 % is far above the tolerance of 1e-7.  Where the rounding of the loss
explains the difference, the error is 0: both gradients of a bias before a BatchNorm are such noise.

ReLU and max-pooling have kinks, where a difference says nothing about the gradient on either side.
To find and skip them, every difference is taken with two steps, h and h/2.  Where the loss is
smooth, both give the same slope up to O(h*h); and the bend, the slope ahead minus the slope behind,
is twice as large with h as with h/2.  Across a kink the slopes differ; exactly on a kink, such as
ReLU of 0, the bend does not halve.  Only the loss decides what is skipped, never the gradient under
test.  A check that skips too many entries fails.

Needs only NumPy.  The arrays must be float64: in float32, rounding hides the differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from .network import Network

TOLERANCE = 1e-7
STEP = 1e-4
DIRECTION_STEP = 1e-6
MAX_SKIPPED = 0.2
"""A check fails if it skips a larger fraction of the entries, because it then proves too little."""

NumberOrArray = float | np.ndarray


class GradientError(AssertionError):
    """A gradient disagrees with the numeric one.  The message names the tensor, the index, both
    values, and the seed that repeats the check."""


def logit_error(logits: np.ndarray, expected: np.ndarray) -> float:
    """max|logits - expected| / max|expected|, the error of logits in this project.  0 if they are
    empty or equal, infinite if all that are expected are 0 and others are not."""
    logits, expected = _as_float64("logits", logits, expected)
    if expected.size == 0:
        return 0.0
    difference, largest = np.abs(logits - expected).max(), np.abs(expected).max()
    if largest == 0 and not np.isnan(difference):
        return math.inf if difference else 0.0
    return float(difference / largest)


def gradient_error(analytic: np.ndarray, numeric: np.ndarray) -> float:
    """|analytic - numeric| / max(|analytic|, |numeric|) in Euclidean norm; 0 if both are zero."""
    analytic, numeric = _as_float64("analytic", analytic, numeric)
    scale = max(np.linalg.norm(analytic), np.linalg.norm(numeric))
    return float(np.linalg.norm(analytic - numeric) / scale) if scale else 0.0


def _as_float64(name: str, array: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as float64.  Raises ValueError for different shapes: NumPy would broadcast."""
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

    loss          called many times; it reads `tensors`, which are changed in place, then restored
    tensors       float64 arrays by name;  gradients: arrays of the same names and shapes
    n_directions  0: changes every entry of every tensor, one at a time; for tiny shapes
                  n: moves each tensor along n random directions; for shapes of real networks.  The
                  gradient is added to each direction, so that rounding does not hide the slope
    max_skipped   the largest fraction of entries or directions that may be skipped at kinks
    Returns the error of each tensor.  Raises GradientError for an error above `tolerance` or too
    many skips, TypeError for tensors that are not float64, ValueError for read-only ones.
    """
    rng = np.random.default_rng(seed)
    errors = {}
    for name, tensor in tensors.items():
        if not tensor.flags.writeable:
            raise ValueError(f"tensor {name} is read-only; expected a writeable array")
        if tensor.dtype != np.float64:
            raise TypeError(f"{name} has dtype {tensor.dtype}; differences need float64")
        analytic = np.array(gradients[name], np.float64)
        if analytic.shape != tensor.shape:
            raise GradientError(
                f"gradient of {name} has shape {analytic.shape}; the tensor has {tensor.shape}"
            )
        infinite = np.argwhere(~np.isfinite(analytic))
        if len(infinite):
            index = tuple(infinite[0].tolist())
            raise GradientError(
                f"gradient of {name} at index {index} is {analytic[index]} (seed {seed})"
            )
        if n_directions:
            found = _along_directions(loss, tensor, analytic, rng, n_directions)
        else:
            found = _entry_by_entry(loss, tensor, analytic, range(tensor.size))
        keep = ~np.isnan(found.numeric)
        if tensor.size and keep.mean() < 1 - max_skipped:
            raise GradientError(
                f"gradient of {name}: {np.sum(~keep)} of {len(keep)} differences met a kink "
                f"(seed {seed}), so the check proves too little: use other data"
            )
        errors[name] = gradient_error(found.analytic[keep], found.numeric[keep])
        if errors[name] > tolerance and found.differ_by_rounding(keep):
            errors[name] = 0.0
        if not errors[name] <= tolerance:
            if n_directions:  # find the wrong index: check random and the largest single entries
                some = rng.permutation(tensor.size)[:500]
                largest = np.argsort(-np.abs(analytic).reshape(-1))[:50]
                found = _entry_by_entry(loss, tensor, analytic, np.union1d(some, largest))
            raise GradientError(
                f"gradient of {name}: error {errors[name]:.2e} exceeds {tolerance:.0e}; "
                f"worst at {found.worst(tensor.shape)} (seed {seed})"
            )
    return errors


def check_network(
    network: Network,
    x: np.ndarray,
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    *,
    check_input: bool = True,
    tolerance: float = TOLERANCE,
    n_directions: int = 0,
    max_skipped: float = MAX_SKIPPED,
    seed: int = 0,
) -> dict[str, float]:
    """Check the gradient of loss(logits) for every parameter of a float64 `network`, and for x.

    x  (N, H, W, C) float64;  loss(logits) -> (value, dlogits);  check_input=False leaves out x
    The other arguments, the result and the errors are those of `check_gradients`.
    """
    value, tensors, gradients = network_gradients(network, x, loss, check_input)
    return check_gradients(
        value,
        tensors,
        gradients,
        tolerance=tolerance,
        n_directions=n_directions,
        max_skipped=max_skipped,
        seed=seed,
    )


def network_gradients(
    network: Network,
    x: np.ndarray,
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    check_input: bool = True,
) -> tuple[Callable[[], float], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arguments of `check_gradients` for a network: a function that returns the loss in
    training, always with the same dropout masks; the parameters, and a copy of x; their gradients.
    The running statistics do not change."""
    x = np.array(x, np.float64)
    dropout_state = network.dropout_generator.bit_generator.state
    statistics = {name: values.copy() for name, values in network.statistics.items()}

    def logits_of_x() -> np.ndarray:
        network.dropout_generator.bit_generator.state = dropout_state
        logits = network.forward(x, training=True)
        for name, values in statistics.items():
            network.statistics[name][:] = values
        return logits

    _, dlogits = loss(logits_of_x())
    dx = network.backward(dlogits, input_gradient=check_input)
    gradients = {name: g.copy() for name, g in network.gradients.items()}
    tensors = dict(network.parameters)
    if check_input:
        tensors["x"], gradients["x"] = x, dx
    return lambda: loss(logits_of_x())[0], tensors, gradients


class _Differences(NamedTuple):
    """Slopes at entries (flat indices) or along directions; numeric ones are NaN at a kink.

    rounding  what the rounding of the loss may add to a numeric slope
    """

    entries: np.ndarray
    analytic: np.ndarray
    numeric: np.ndarray
    rounding: float

    def differ_by_rounding(self, keep: np.ndarray) -> bool:
        """Whether rounding explains how much the slopes to keep differ."""
        differences = self.analytic[keep] - self.numeric[keep]
        return bool(np.linalg.norm(differences) <= self.rounding * np.sqrt(differences.size))

    def worst(self, shape: tuple[int, ...]) -> str:
        """The entry with the largest difference, in a tensor of this shape, and both values."""
        difference = np.abs(self.analytic - self.numeric)
        k = int(np.nanargmax(difference)) if not np.all(np.isnan(difference)) else 0
        index = tuple(int(i) for i in np.unravel_index(self.entries[k], shape))
        return f"index {index}: analytic {self.analytic[k]:.12g}, numeric {self.numeric[k]:.12g}"


def _entry_by_entry(
    loss: Callable[[], float], tensor: np.ndarray, analytic: np.ndarray, entries: ArrayLike
) -> _Differences:
    """The differences for single entries of the tensor, given by their flat indices."""
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
    rounding = _rounding(here, STEP)
    slopes = _without_kinks(coarse, fine, bend, scale, rounding)
    return _Differences(entries, analytic.reshape(-1)[entries], slopes, rounding)


def _along_directions(
    loss: Callable[[], float],
    tensor: np.ndarray,
    analytic: np.ndarray,
    rng: np.random.Generator,
    n_directions: int,
) -> _Differences:
    """The differences for random directions that meet no kink, of at most 5 * n_directions."""
    before = tensor.copy()
    norm = np.linalg.norm(analytic)
    step = DIRECTION_STEP * max(1.0, float(np.linalg.norm(before)))
    here = loss()
    rounding = _rounding(here, step)
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
        slope = float(_without_kinks(coarse, fine, bend, abs(fine), rounding))
        if not np.isnan(slope):
            given.append(np.sum(analytic * direction))
            numeric.append(slope)
        if len(given) == n_directions:
            break
    missing = [np.nan] * (n_directions - len(given))
    slopes = np.array(given + missing), np.array(numeric + missing)
    return _Differences(np.arange(n_directions), *slopes, rounding)


def _rounding(loss: float, step: float) -> float:
    """A loss is a sum whose terms and their parts are rounded: wrong by a few eps."""
    return 8 * float(np.finfo(np.float64).eps) * abs(loss) / step


def _slopes(at: Callable[[float], float], step: float, here: float) -> tuple[float, float, float]:
    """The slopes with `step` and half of it, and by how much more than rounding explains the bend
    fails to halve.  here: at(0)."""
    half = step / 2
    ahead, behind, near_ahead, near_behind = at(step), at(-step), at(half), at(-half)
    bend = (ahead - here) / step - (here - behind) / step
    near_bend = (near_ahead - here) / half - (here - near_behind) / half
    rounding = 64 * np.finfo(np.float64).eps * abs(here) / step
    excess = max(abs(2 * near_bend - bend) - rounding, 0.0)
    return (ahead - behind) / (2 * step), (near_ahead - near_behind) / step, excess


def _without_kinks(
    coarse: NumberOrArray,
    fine: NumberOrArray,
    excess: NumberOrArray,
    scale: NumberOrArray,
    rounding: float,
) -> np.ndarray:
    """The slopes by Richardson's extrapolation, which removes the h*h term of the error; NaN at
    kinks, where the two steps disagree by more than rounding explains."""
    disagreement = np.maximum(np.abs(coarse - fine), excess)
    kink = ~(disagreement <= np.maximum(1e-6 * np.maximum(scale, np.abs(fine)), rounding))
    return np.where(kink, np.nan, fine + (fine - coarse) / 3)
