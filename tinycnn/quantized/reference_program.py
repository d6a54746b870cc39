"""Runs a quantised program in plain NumPy: what the kernels are compared with, and the backend
where there is no Numba.  Sums are computed in float32 where that is exact for their integers, else
in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..plan import NETWORK_INPUT, StepArrays, Window
from ..reference_backend import passes_of
from .program import WITH_WEIGHTS, Operation, Program
from .quantization import LARGEST, LARGEST_WEIGHT, Quantization, multipliers, sum_factors

BATCH = 32
"""Images that are computed together: it limits memory, for sums take up to 8 bytes."""

EXACT_IN_FLOAT32 = 1 << 24
"""float32 has every integer up to this."""


def float_layer(operation: Operation, inputs: list[np.ndarray]) -> np.ndarray:
    """An operation in float32 from float32 inputs."""
    arrays = StepArrays(operation.step, operation.arrays, {}, {})
    extra = inputs[1] if len(inputs) > 1 else None
    return passes_of(operation.step.layer).forward(arrays, inputs[0], extra).y


class ReferenceProgram:
    """Runs `program` on images in 8 bits."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def quantized(self, x: np.ndarray) -> np.ndarray:
        """uint8: x float32, quantised as the program's input."""
        return self.program.input.quantized(x)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits float32 (N, K) of x (N, H, W, C) uint8, quantised as the program's input."""
        n_classes = self.program.plan.output_shape[0]
        logits = np.empty((len(x), n_classes), np.float32)
        for k in range(0, len(x), BATCH):
            logits[k : k + BATCH] = self.outputs(x[k : k + BATCH])[-1]
        return logits

    def outputs(self, x: np.ndarray) -> list[np.ndarray]:
        """The output of every operation, and then the logits."""
        program = self.program
        found: list[np.ndarray] = []
        for operation in program.operations:
            given = [x if k == NETWORK_INPUT else found[k] for k in operation.inputs]
            shapes = operation.step.input_shape
            given = [q.reshape(len(x), *shapes) for q in given]
            found.append(self._output(operation, given))
        return [*found, self._logits(found[-1]).reshape(len(x), -1)]

    def _logits(self, last: np.ndarray) -> np.ndarray:
        """From the output of the last operation."""
        output = self.program.operations[-1].output
        return last if output is None else output.values(last)

    def _output(self, operation: Operation, given: list[np.ndarray]) -> np.ndarray:
        x_quantizations = [self.program.quantization(k) for k in operation.inputs]
        q, x, y = given[0], x_quantizations[0], operation.output
        step, arrays = operation.step, operation.arrays
        if operation.kind in WITH_WEIGHTS:
            m = multipliers(x, arrays["scale"], y)
            return requantized(weighted_sums(operation, q, x) + arrays["b"], m, operation)
        if operation.kind == "max_pool":
            return _max_pool(q, step.window, operation.shape)
        if operation.kind == "average_pool":
            total, count = window_sums(q, x, step.window, step.counts_padding, operation.shape)
            m = multipliers(x, np.float32(1), y) / count.astype(np.float32)[..., None]
            return requantized(total, m, operation).reshape(len(q), *operation.shape)
        if operation.kind == "add":
            return _added(given, x_quantizations, operation)
        if operation.kind == "table":
            table = arrays["table"]
            return table[np.arange(len(table)) if len(table) > 1 else 0, q]
        if operation.kind == "copy":
            return q.reshape(len(q), -1)
        values = float_layer(operation, [one.values(a) for one, a in zip(x_quantizations, given)])
        return values if y is None else y.quantized(values)


def requantized(total: np.ndarray, m: np.ndarray, operation: Operation) -> np.ndarray:
    """Equation (3) of quantization.py; without rounding to 8 bits for the logits."""
    scaled = total.astype(np.int32).astype(np.float32) * m
    if operation.output is None:
        return scaled
    z, (low, high) = operation.output.zero_point, operation.limits
    scaled = np.clip(scaled, np.float32(low - z), np.float32(high - z))
    return (np.rint(scaled) + np.float32(z)).astype(np.uint8)


def weighted_sums(operation: Operation, q: np.ndarray, x: Quantization) -> np.ndarray:
    """The sum in equation (2), exact, as floats."""
    w = operation.arrays["w"]
    n_products = math.prod(w.shape[:2] if operation.kind == "depthwise" else w.shape[:-1])
    dtype = np.float32 if n_products * LARGEST * LARGEST_WEIGHT < EXACT_IN_FLOAT32 else np.float64
    values, w = q.astype(dtype) - dtype(x.zero_point), w.astype(dtype)
    if operation.kind == "dense":
        return values @ w
    window, (OH, OW, F) = operation.step.window, operation.shape
    total = np.zeros((len(q), OH, OW, F), dtype)
    if operation.kind == "depthwise":
        values = np.repeat(values, F // values.shape[3], axis=3)
        for (a, e), part in _taps(values, window, OH, OW, 0.0).items():
            total += part * w[a, e]
        return total
    taps = _taps(values, window, OH, OW, 0.0)
    for a in range(window.KH):
        row = np.concatenate([taps[a, e] for e in range(window.KW)], axis=3)
        total += row @ w[a].reshape(-1, F)
    return total


def _taps(
    values: np.ndarray, window: Window, OH: int, OW: int, filler: float
) -> Mapping[tuple[int, int], np.ndarray]:
    """For each tap (a, e): the values (N, OH, OW, C) that it meets; `filler` in the padding."""
    KH, KW, SH, SW, PT, PL, _, _ = window
    N, H, W, C = values.shape
    height, width = max((OH - 1) * SH + KH, PT + H), max((OW - 1) * SW + KW, PL + W)
    padded = np.full((N, height, width, C), filler, values.dtype)
    padded[:, PT : PT + H, PL : PL + W] = values
    return {
        (a, e): padded[:, a : a + (OH - 1) * SH + 1 : SH, e : e + (OW - 1) * SW + 1 : SW]
        for a in range(KH)
        for e in range(KW)
    }


def _max_pool(q: np.ndarray, window: Window, shape: tuple[int, ...]) -> np.ndarray:
    taps = _taps(q.astype(np.float64), window, shape[0], shape[1], -1.0)
    return np.max(list(taps.values()), axis=0).astype(np.uint8)


def window_sums(
    q: np.ndarray, x: Quantization, window: Window, counts_padding: bool, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """(sums of q - z over the pixels of each window (N, OH, OW, C), how many pixels count)."""
    OH, OW = shape[:2] if len(shape) == 3 else (1, 1)
    values = q.astype(np.float64) - x.zero_point
    total = sum(_taps(values, window, OH, OW, 0.0).values())
    ones = np.ones((1, *q.shape[1:3], 1))
    count = sum(_taps(ones, window, OH, OW, float(counts_padding)).values())
    if counts_padding:
        count = np.full((1, OH, OW, 1), window.KH * window.KW)
    return np.asarray(total), np.asarray(count)[0, ..., 0]


def _added(
    given: list[np.ndarray], quantizations: list[Quantization], operation: Operation
) -> np.ndarray:
    """Equation (5) of quantization.py."""
    assert operation.output is not None
    x, x2 = quantizations
    first, second, shift = sum_factors(x, x2, operation.output)
    a, b = (q.astype(np.int64) - one.zero_point for q, one in zip(given, quantizations))
    total = (a * first + b * second + (1 << (shift - 1))) >> shift
    return np.clip(total + operation.output.zero_point, *operation.limits).astype(np.uint8)
