"""ONNX operators that compute each value from one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...layers import Dropout, Layer, LeakyReLU, PReLU, ReLU
from ...plan import NETWORK_INPUT
from .channels import scaled
from .nodes import OnnxNode
from .reading import Given, Reading
from .values import Value


def elementwise(
    layer: Layer,
) -> Callable[[OnnxNode, Sequence[Given], Reading], Value]:
    """A reader of an operator that is `layer` and has no options."""

    def read(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
        node.integers("consumed_inputs", ())
        return reading.layer(node, layer, reading.complete(node, reading.value(node, inputs)))

    return read


def leaky_relu(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    slope = node.number_of("alpha", 0.01)
    if not 0 <= slope < 1:
        raise node.attribute_error("alpha", "expected a slope from 0 on, below 1")
    return elementwise(LeakyReLU(slope))(node, inputs, reading)


def prelu(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    slope = reading.constant(node, inputs, 1, "the slope").astype(np.float64)
    x, (alpha,) = reading.channels(node, x, slope)
    return reading.layer(node, PReLU(), x, alpha=alpha)


def clip(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    low, high = (
        reading.constant_or_none(node, inputs, 1, "the smallest value"),
        reading.constant_or_none(node, inputs, 2, "the largest value"),
    )
    if node.opset < 11:
        low, high = (
            np.array(node.number_of(name, default))
            for name, default in (("min", -np.inf), ("max", np.inf))
        )
    return clipped(node, reading, x, low, high)


def clipped(
    node: OnnxNode, reading: Reading, x: Value, low: np.ndarray | None, high: np.ndarray | None
) -> Value:
    """min(max(x, low), high): a ReLU between two ScaleShifts.

    max(x, low) = max(x - low, 0) + low;  min(x, high) = high - max(high - x, 0);  both together
    = min(max(x - low, 0), high - low) + low.
    """
    low, high = (_limit(limit) for limit in (low, high))
    ones = np.ones(())
    reading.complete(node, x)
    if low is not None and high is not None:
        if low.size == high.size == 1 and low.ravel()[0] < high.ravel()[0]:
            relu = ReLU(max_value=float(high.ravel()[0] - low.ravel()[0]))
            x = scaled(node, reading, x, ones, -low)
            return scaled(node, reading, reading.layer(node, relu, x), ones, low)
        x = clipped(node, reading, x, low, None)
        return clipped(node, reading, x, None, high)
    if low is not None:
        x = scaled(node, reading, x, ones, -low)
        return scaled(node, reading, reading.layer(node, ReLU(), x), ones, low)
    if high is None:
        return x
    before = reading.graph.nodes[x.source] if x.source != NETWORK_INPUT else None
    if before is not None and before.layer == ReLU() and high.size == 1 and high.ravel()[0] > 0:
        relu = ReLU(max_value=float(high.ravel()[0]))
        return reading.layer(node, relu, replace(x, source=before.inputs[0]))
    x = scaled(node, reading, x, -ones, high)
    return scaled(node, reading, reading.layer(node, ReLU(), x), -ones, high)


def _limit(limit: np.ndarray | None) -> np.ndarray | None:
    """A limit of a Clip; None for one that float32 never reaches."""
    if limit is None or (np.abs(limit) >= np.finfo(np.float32).max).all():
        return None
    return limit.astype(np.float64)


def largest(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """Max of a tensor and constants."""
    return _with_constants(node, inputs, reading, lambda x, c: clipped(node, reading, x, c, None))


def smallest(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    return _with_constants(node, inputs, reading, lambda x, c: clipped(node, reading, x, None, c))


def _with_constants(
    node: OnnxNode,
    inputs: Sequence[Given],
    reading: Reading,
    join: Callable[[Value, np.ndarray], Value],
) -> Value:
    values = [value for value in inputs if isinstance(value, Value)]
    if len(values) != 1:
        raise node.error(
            f"{node.operator} of tensors that depend on the input; the nearest is a maximum or "
            "minimum with constants"
        )
    result = values[0]
    for constant in inputs:
        if isinstance(constant, np.ndarray):
            result = join(result, constant)
    return result


def dropout(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    ratio = reading.constant_or_none(node, inputs, 1, "the ratio")
    training = reading.constant_or_none(node, inputs, 2, "training_mode")
    rate = node.number_of("ratio", 0.5) if ratio is None else float(ratio.reshape(-1)[0])
    if not 0 <= rate < 1:
        raise node.error(f"a ratio of {rate:g}; expected a number from 0 on, below 1")
    if training is not None and training.any() and rate > 0:
        raise node.error(
            "it drops values in prediction too (training_mode): export the model for evaluation"
        )
    node.integer("seed", 0)
    node.integer("is_test", 1)
    x = reading.complete(node, reading.value(node, inputs))
    return reading.layer(node, Dropout(rate), x) if rate else x
