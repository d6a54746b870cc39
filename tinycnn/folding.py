"""Replaces the BatchNorm layers of a network: the same function in prediction, without them.

With its running statistics, a BatchNorm is y = scale x + shift for each channel:

    scale = gamma / sqrt(running_var + epsilon),   shift = beta - running_mean * scale          (1)

It is folded into the convolution or dense layer directly before it; else into the one after it, if
only layers lie between that leave a scale and a shift of each channel what they are.  (A padded
convolution cannot take a shift: padding is 0 and would have to be -shift / scale.)  Where neither
is possible, a ScaleShift layer remains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .aligned_arrays import aligned_zeros
from .layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    Residual,
    ScaleShift,
)
from .plan import Plan, Step, build_plan, named_views, of_step

Arrays = Mapping[str, np.ndarray]


def fold(plan: Plan, vector: np.ndarray, into_dense: bool = True) -> tuple[Plan, np.ndarray]:
    """The plan without BatchNorm, and its flat array, for a plan and its flat array `vector`.

    into_dense  False: dense layers stay as they are, and a BatchNorm beside one becomes a
                ScaleShift
    Computed in float64; the new array has the dtype of `vector`.
    """
    values = named_views({**plan.parameter_slots, **plan.statistic_slots}, vector)
    parts = _folded(plan.layers, iter(plan.steps), values, into_dense)
    new_plan = build_plan([part.layer for part in parts], plan.input_shape)
    new_vector = aligned_zeros(new_plan.n_parameter_slots, vector.dtype)
    new_values = named_views({**new_plan.parameter_slots, **new_plan.statistic_slots}, new_vector)
    arrays = [of_one_step for part in parts for of_one_step in part.arrays]
    for step, given in zip(new_plan.steps, arrays, strict=True):
        for short, value in of_step(step, new_values).items():
            value[:] = given[short]
    return new_plan, new_vector


class Affine(NamedTuple):
    """y = scale x + shift, float64 (C,)."""

    scale: np.ndarray
    shift: np.ndarray


@dataclass
class _Part:
    """A layer, and the arrays of each of its steps in the order of the plan.

    step  of the old plan; None for a Residual, which has several
    """

    layer: Layer
    arrays: list[Arrays]
    step: Step | None


def _folded(
    layers: Sequence[Layer], steps: Iterator[Step], values: Arrays, into_dense: bool
) -> list[_Part]:
    """The layers of one branch without BatchNorm.  steps: of the plan, from their first on."""
    parts: list[_Part] = []
    for layer in layers:
        if isinstance(layer, Residual):
            body = _folded(layer.layers, steps, values, into_dense)
            shortcut = _folded(layer.shortcut, steps, values, into_dense)
            next(steps)  # the Add
            residual = Residual(*(tuple(p.layer for p in branch) for branch in (body, shortcut)))
            arrays = [of_one for part in (*body, *shortcut) for of_one in part.arrays]
            parts.append(_Part(residual, [*arrays, {}], None))
        else:
            step = next(steps)
            parts.append(_Part(layer, [of_step(step, values)], step))
    k = 0
    while k < len(parts):
        layer = parts[k].layer
        if not isinstance(layer, BatchNorm):
            k += 1
            continue
        affine = affine_of(layer, parts[k].arrays[0])
        if (k and _fold_back(parts[k - 1], affine, into_dense)) or _fold_ahead(
            parts[k + 1 :], affine, into_dense
        ):
            del parts[k]
        else:
            parts[k] = _Part(ScaleShift(), [affine._asdict()], parts[k].step)
    return parts


def affine_of(layer: BatchNorm, arrays: Arrays) -> Affine:
    """Equation (1), for the layer's parameters and statistics by short name."""
    gamma, beta, mean, var = (
        arrays[name].astype(np.float64) for name in ("gamma", "beta", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + layer.epsilon)
    return Affine(scale, beta - mean * scale)


def _fold_back(part: _Part, affine: Affine, into_dense: bool) -> bool:
    """Fold y = scale * layer(x) + shift into the layer; False if it cannot take it."""
    layer, (scale, shift) = part.layer, affine
    if isinstance(layer, Dense) and not into_dense:
        return False
    if isinstance(layer, ScaleShift):
        (arrays,) = part.arrays
        old = Affine(arrays["scale"], arrays["shift"])
        part.arrays = [{"scale": old.scale * scale, "shift": old.shift * scale + shift}]
    elif isinstance(layer, (Conv2D, Dense, DepthwiseConv2D)):
        w, b = _weights(part)
        # the last axes of w count the output channels, see `DepthwiseConv2D`
        of_output = w.shape[-2:] if isinstance(layer, DepthwiseConv2D) else w.shape[-1:]
        _set_weights(part, w * scale.reshape(of_output), b * scale + shift)
    else:
        return False
    return True


def _fold_ahead(parts: Sequence[_Part], affine: Affine, into_dense: bool) -> bool:
    """Fold y = layers(scale x + shift) into the first of the layers that can take it; False if
    there is none, or if another layer is in the way."""
    scale, shift = affine
    for part in parts:
        layer, step = part.layer, part.step
        if step is None or (isinstance(layer, Dense) and not into_dense):
            return False
        if isinstance(layer, Flatten):
            n_pixels = math.prod(step.input_shape[:-1])
            scale, shift = np.tile(scale, n_pixels), np.tile(shift, n_pixels)
        elif isinstance(layer, ScaleShift):
            (arrays,) = part.arrays
            old = Affine(arrays["scale"], arrays["shift"])
            part.arrays = [{"scale": old.scale * scale, "shift": old.scale * shift + old.shift}]
            return True
        elif isinstance(layer, Dense):
            w, b = _weights(part)
            _set_weights(part, w * scale[:, None], b + shift @ w)
            return True
        elif isinstance(layer, (Conv2D, DepthwiseConv2D)):
            if _is_padded(step) and shift.any():
                return False
            w, b = _weights(part)
            shifted = w * shift[:, None]  # (KH, KW, C, filters)
            summed = shifted.sum(axis=(0, 1) if isinstance(layer, DepthwiseConv2D) else (0, 1, 2))
            _set_weights(part, w * scale[:, None], b + summed.reshape(-1))
            return True
        elif isinstance(layer, AveragePool2D):
            if layer.count_padding and _is_padded(step):
                return False
        elif not isinstance(layer, (Dropout, GlobalAveragePool2D)):
            return False
    return False


def _is_padded(step: Step) -> bool:
    window = step.window
    return any((window.PT, window.PL, window.PB, window.PR))


def _weights(part: _Part) -> tuple[np.ndarray, np.ndarray]:
    """The layer's w and b in float64; b is 0 if it has none."""
    (arrays,), step = part.arrays, part.step
    assert step is not None
    b = arrays.get("b", np.zeros(step.output_shape[-1]))
    return arrays["w"].astype(np.float64), b.astype(np.float64)


def _set_weights(part: _Part, w: np.ndarray, b: np.ndarray) -> None:
    layer = part.layer
    assert isinstance(layer, (Conv2D, Dense, DepthwiseConv2D))
    part.layer, part.arrays = replace(layer, use_bias=True), [{"w": w, "b": b}]
