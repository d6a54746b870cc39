"""ONNX operators that multiply with weights or treat each channel by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...layers import BatchNorm, Conv2D, Dense, Layer, ScaleShift
from .nodes import OnnxNode
from .reading import Given, Reading
from .values import Value, vector_places


def gemm(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """alpha * x @ w + beta * b, with w transposed or not."""
    w = reading.constant(node, inputs, 1, "the weights").astype(np.float64)
    w = (w.T if node.integer("transB", 0) else w) * node.number_of("alpha", 1.0)
    x = reading.value(node, inputs)
    if node.integer("transA", 0):
        if reading.batched:
            raise node.attribute_error("transA", "it moves the batch axis; the nearest is 0")
        x = x.moved(x.places.T)
    y = multiplied(node, reading, x, w)
    b = reading.constant_or_none(node, inputs, 2, "the bias")
    beta = node.number_of("beta", 1.0)
    return y if b is None else scaled(node, reading, y, np.ones(()), b * beta)


def matmul(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    if not isinstance(inputs[0], Value):
        raise node.error("its first input is a constant; expected weights as the second")
    w = reading.constant(node, inputs, 1, "the weights").astype(np.float64)
    if w.ndim == 1:
        y = multiplied(node, reading, inputs[0], w[:, None])
        return y.moved(y.places[..., 0])
    return multiplied(node, reading, inputs[0], w)


def multiplied(node: OnnxNode, reading: Reading, x: Value, w: np.ndarray) -> Value:
    """x @ w for weights (K, units): a Dense layer, or a convolution of 1x1 where x has rows."""
    if w.ndim != 2 or not x.places.ndim or x.shape[-1] != w.shape[0] or not w.size:
        raise node.error(f"an input of shape {x.shape} times weights of shape {w.shape}")
    reading.complete(node, x)
    own_shape = reading.graph.shape(x.source)
    reading.budget.spend_on_constant(w.size)
    shape = (*x.shape[:-1], w.shape[1])
    if math.prod(x.shape[:-1]) == 1:
        source = reading.graph.flattened(x.source)
        ordered = np.empty_like(w)
        ordered[x.places.ravel()] = w
        layer: Layer = Dense(w.shape[1], use_bias=False)
        return Value(reading.graph.add(layer, source, node, {"w": ordered}), vector_places(shape))
    in_order = np.array_equal(x.places, vector_places(x.shape))
    if len(own_shape) != 3 or own_shape[2] != w.shape[0] or not in_order:
        raise node.error(
            f"rows of an input of shape {x.shape} are multiplied; the nearest is a convolution of "
            "1x1 over a picture whose channels come last"
        )
    layer = Conv2D(w.shape[1], 1, padding="valid", use_bias=False)
    added = reading.graph.add(layer, x.source, node, {"w": w[None, None]})
    return Value(added, vector_places(shape))


def batch_norm(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    if node.integer("training_mode", 0):
        raise node.attribute_error(
            "training_mode", "the model was exported for training: export it for evaluation"
        )
    if not node.integer("spatial", 1):
        raise node.attribute_error("spatial", "statistics of each pixel; expected 1")
    node.integer("consumed_inputs", 0)
    x = reading.value(node, inputs)
    names = ("gamma", "beta", "running_mean", "running_var")
    constants = [reading.constant(node, inputs, k + 1, name) for k, name in enumerate(names)]
    n_channels = x.shape[1] if len(x.shape) > 1 else 0
    if any(constant.shape != (n_channels,) for constant in constants):
        raise node.error(f"its parameters do not have the shape ({n_channels},)")
    along = (n_channels, *[1] * (len(x.shape) - 2))
    x, vectors = reading.channels(node, x, *(constant.reshape(along) for constant in constants))
    if (vectors[3] < 0).any():
        raise node.error("a variance is negative")
    momentum = node.number_of("momentum", 0.9)
    if not 0 <= momentum < 1:
        raise node.attribute_error("momentum", "expected a number from 0 on, below 1")
    layer = BatchNorm(
        momentum=momentum,
        epsilon=node.number_of("epsilon", 1e-5),
        unbiased_running_var=reading.unbiased_running_var,
    )
    return reading.layer(node, layer, x, **dict(zip(names, vectors)))


def scaled(
    node: OnnxNode, reading: Reading, x: Value, scale: np.ndarray, shift: np.ndarray
) -> Value:
    """scale * x + shift."""
    scale, shift = scale.astype(np.float64), shift.astype(np.float64)
    if (scale == 1).all() and (shift == 0).all() and max(scale.ndim, shift.ndim) <= len(x.shape):
        return x
    x, (scale, shift) = reading.channels(node, x, scale, shift)
    return reading.layer(node, ScaleShift(), x, scale=scale, shift=shift)


def _two(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> tuple[Value, np.ndarray]:
    """The input that depends on the network's input, and the constant one."""
    if len(inputs) != 2:
        raise node.error(f"{len(inputs)} inputs; expected 2")
    if isinstance(inputs[1], Value):
        value, k = inputs[1], 0
    else:
        value, k = reading.value(node, inputs), 1
    return value, reading.constant(node, inputs, k, "the other factor or summand")


def add(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Given:
    """Constants are added as shifts, tensors that depend on the input as a Residual."""
    if not inputs:
        raise node.error("no inputs")
    total = inputs[0]
    for other in inputs[1:]:
        if isinstance(total, Value) and isinstance(other, Value):
            total = _sum(node, reading, total, other)
            continue
        value, constant = _two(node, [total, other], reading)
        total = scaled(node, reading, value, np.ones(()), constant)
    return total


def _sum(node: OnnxNode, reading: Reading, a: Value, b: Value) -> Value:
    for value in (a, b):
        reading.complete(node, value)
    shapes = {reading.graph.shape(value.source) for value in (a, b)}
    if len(shapes) > 1:
        a, b = (replace(v, source=reading.graph.flattened(v.source)) for v in (a, b))
    if not np.array_equal(a.places, b.places):
        raise node.error(
            f"tensors of shapes {a.shape} and {b.shape} are added whose values do not lie in the "
            "same order; the nearest is a Residual, whose branches give the same shape"
        )
    return replace(a, source=reading.graph.add_sum(a.source, b.source, node))


def subtract(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    if all(isinstance(value, Value) for value in inputs) and len(inputs) == 2:
        a, b = (reading.value(node, inputs, k) for k in (0, 1))
        return _sum(node, reading, a, scaled(node, reading, b, -np.ones(()), np.zeros(())))
    value, constant = _two(node, inputs, reading)
    if value is inputs[0]:
        return scaled(node, reading, value, np.ones(()), -constant.astype(np.float64))
    return scaled(node, reading, value, -np.ones(()), constant)


def multiply(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    if all(isinstance(value, Value) for value in inputs):
        raise node.error(
            "two tensors that depend on the input are multiplied; the nearest is a product with "
            "one constant for each channel, ScaleShift"
        )
    value, constant = _two(node, inputs, reading)
    return scaled(node, reading, value, constant, np.zeros(()))


def divide(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    value = reading.value(node, inputs)
    divisor = reading.constant(node, inputs, 1, "the divisor").astype(np.float64)
    if (divisor == 0).any():
        raise node.error("a division by 0")
    return scaled(node, reading, value, 1 / divisor, np.zeros(()))


def negative(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    return scaled(node, reading, reading.value(node, inputs), -np.ones(()), np.zeros(()))


def scaler(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """(x - offset) * scale, of ai.onnx.ml: how scikit-learn's pipelines standardise features."""
    scale = np.array(node.numbers("scale", (1.0,)), np.float64)
    offset = np.array(node.numbers("offset", (0.0,)), np.float64)
    return scaled(node, reading, reading.value(node, inputs), scale, -offset * scale)
