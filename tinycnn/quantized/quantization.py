"""Numbers in 8 bits: how a value becomes an integer, and back.

A value (a pixel, or an output of a layer) is an integer q from 0 to 255 with a scale s and a zero
point z for the whole array; a weight is an integer w from -127 to 127 with a scale for each filter:

    value = s (q - z)                                weight = s_w[f] w                          (1)

These are ONNX's QuantizeLinear with uint8 and a scale for the array, and with int8 and a scale for
each filter.  A sum of products is exact in 32 bits, and then becomes an integer of the output:

    total[f] = sum of (q - z) w + b[f],    with the bias b[f] = round(bias[f] / (s s_w[f]))     (2)
    q_out = round(clip(total[f] * m[f], low - z_out, high - z_out)) + z_out                     (3)
    m[f]  = (s s_w[f]) / s_out                                                                  (4)

The product in (3), and the operations in (4), are rounded to float32; total becomes the nearest
float32; "round" takes the nearest integer, and of two equally near ones the even one.  low and high
are 0 and 255, or narrower where a ReLU follows: low = z_out.  Every operation in (2) to (4) is one
of IEEE 754, so every backend computes the same integers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LARGEST = 255
LARGEST_WEIGHT = 127
LARGEST_BIAS = 1 << 30
MOST_PRODUCTS = (2**31 - 1 - LARGEST_BIAS) // (LARGEST * LARGEST_WEIGHT)
"""A sum of this many products and a bias fits in 32 bits."""


class Quantization(NamedTuple):
    """Scale (a float32) and zero point of an array of uint8, equation (1)."""

    scale: np.float32
    zero_point: int

    def quantized(self, x: np.ndarray) -> np.ndarray:
        """uint8: round(x / scale) + zero_point, at least 0 and at most 255.  NaN becomes the zero
        point."""
        with np.errstate(over="ignore", invalid="ignore"):
            levels = np.rint(np.asarray(x, np.float32) / self.scale)
        levels = np.clip(np.nan_to_num(levels, nan=0.0), -self.zero_point, LARGEST)
        return np.minimum(levels + self.zero_point, LARGEST).astype(np.uint8)

    def values(self, q: np.ndarray) -> np.ndarray:
        """float32: equation (1)."""
        return (q.astype(np.float32) - np.float32(self.zero_point)) * self.scale


def quantization_of(lowest: float, highest: float) -> Quantization:
    """The quantization of values from `lowest` to `highest`; 0 has an exact integer."""
    lowest, highest = min(float(lowest), 0.0), max(float(highest), 0.0)
    smallest = float(np.finfo(np.float32).tiny)
    scale = np.float32(max((highest - lowest) / LARGEST, smallest)) if highest > lowest else 1.0
    zero_point = int(np.rint(-lowest / float(scale)))
    return Quantization(np.float32(scale), min(max(zero_point, 0), LARGEST))


class Weights(NamedTuple):
    """Quantised weights of a layer.

    w      int8, the filters on the last axis
    scale  float32 (F,), of w
    b      int32 (F,), in units of the input's scale times `scale`
    """

    w: np.ndarray
    scale: np.ndarray
    b: np.ndarray


def quantized_weights(w: np.ndarray, b: np.ndarray, x: Quantization) -> Weights:
    """Weights w (..., F) and bias b (F,), for an input quantised as x.

    The scale is the largest weight's over 127; a larger one where the bias would not fit.
    """
    axes = tuple(range(w.ndim - 1))
    largest = np.abs(w).max(axis=axes, initial=0.0).astype(np.float64) / LARGEST_WEIGHT
    for_bias = np.abs(b).astype(np.float64) / (float(x.scale) * LARGEST_BIAS) * (1 + 1e-6)
    scale = np.maximum(np.maximum(largest, for_bias), np.finfo(np.float32).tiny).astype(np.float32)
    scale[(largest == 0) & (for_bias == 0)] = 1.0
    levels = np.rint(w.astype(np.float64) / scale)
    integers = np.clip(levels, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8)
    units = x.scale * scale  # float32, as in (4)
    bias = np.rint(b.astype(np.float64) / units.astype(np.float64))
    return Weights(integers, scale, np.clip(bias, -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32))


def multipliers(x: Quantization, scale: np.ndarray, y: Quantization | None) -> np.ndarray:
    """m in equation (4), float32.  y: None for an output in float32, which has no scale."""
    units = x.scale * np.asarray(scale, np.float32)
    return units if y is None else units / y.scale


class SumFactors(NamedTuple):
    """How two inputs are added, in integers alone:

        q_out = ((q1 - z1) first + (q2 - z2) second + half) >> shift + z_out, clipped           (5)

    first and second are s1 / s_out and s2 / s_out, times 2**shift and rounded; half = 2**(shift-1).
    Every sum fits in 32 bits.
    """

    first: int
    second: int
    shift: int


def sum_factors(first: Quantization, second: Quantization, y: Quantization) -> SumFactors:
    ratios = [float(q.scale) / float(y.scale) for q in (first, second)]
    shift = 1
    while shift < 22 and max(ratios) * 2 ** (shift + 1) < 2**21:
        shift += 1
    a, b = (min(round(ratio * 2**shift), 2**21) for ratio in ratios)
    return SumFactors(a, b, shift)
