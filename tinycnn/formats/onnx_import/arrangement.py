"""ONNX operators that only move values, and those that end a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...layers import Dense, ScaleShift, Sigmoid
from ...plan import NETWORK_INPUT
from .constants import (
    axes_of,
    axis_of,
    flatten_axis,
    flattened,
    optional,
    pads_of,
    reshaped,
    shape_part,
    unsqueezed,
    whole_numbers,
)
from .model_file import DTYPES, FLOATS
from .nodes import OnnxNode
from .reading import Given, Reading
from .values import ADDED, Softmaxed, Value, vector_places


def softmax(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """Left out: a network gives the logits, of which softmax makes probabilities."""
    x = reading.complete(node, reading.value(node, inputs))
    if node.opset < 13:
        first = axis_of(node, node.integer("axis", 1), len(x.shape))
        axes = tuple(range(first, len(x.shape)))
    else:
        axes = (axis_of(node, node.integer("axis", -1), len(x.shape)),)
    if reading.batched and math.prod(x.shape[axis] for axis in axes) != x.places.size:
        raise node.error(
            f"over axes {axes} of {x.shape}, a part of the values; the nearest is a softmax over "
            "all values of an image, at the end"
        )
    reading.notes.append(
        f"{node} at the end is left out: the network gives the logits before it, and predict_proba "
        "the probabilities"
    )
    return replace(x, softmax=Softmaxed(node, axes))


def two_probabilities(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """The two columns 1 - p and p with p = sigmoid(z), as scikit-learn's converter ends for two
    classes.  They are the softmax of the logits 0 and z, which a Dense layer makes of z."""
    values = [value for value in inputs if isinstance(value, Value)]
    are_columns = node.integer("axis", 1) in (1, -1) and all(x.shape == (1, 1) for x in values)
    sources = [value.source for value in values]
    if are_columns and len(sources) == len(inputs) == 2 and NETWORK_INPUT not in sources:
        graph = reading.graph
        less, p = (graph.nodes[source] for source in sources)
        one_less = less.layer == ScaleShift() and less.inputs == (sources[1],)
        if one_less and p.layer == Sigmoid() and p.shape == (1,):
            if less.arrays["scale"] == -1 and less.arrays["shift"] == 1:
                weights = {"w": np.array([[0.0, 1.0]])}
                logits = graph.add(Dense(2, use_bias=False), p.inputs[0], node, weights)
                reading.notes.append(
                    f"{node} and the Sigmoid before it are left out: the network gives the logits "
                    "0 and z, whose softmax are the two probabilities"
                )
                return Value(logits, vector_places((1, 2)), Softmaxed(node, (1,)))
    raise node.error(
        "tensors are put side by side; the nearest is the sum of branches of the same shape, Add"
    )


def zip_map(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """Probabilities by the names of classes, of ai.onnx.ml: how scikit-learn's converter ends."""
    names = node.texts("classlabels_strings", ()) or [
        str(number) for number in node.integers("classlabels_int64s", ())
    ]
    reading.classes = tuple(names)
    return reading.value(node, inputs)


def same(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    return reading.value(node, inputs)


def cast(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """From floats to floats; nothing happens."""
    to = node.integer("to", 0)
    node.integer("saturate", 1)
    if to not in FLOATS:
        raise node.attribute_error(
            "to", f"a conversion to {DTYPES.get(to, 'another kind')}; expected one to floats"
        )
    return reading.value(node, inputs)


def reshape(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    target = whole_numbers(node, reading.constant(node, inputs, 1, "the shape"), "the shape")
    B = reading.batch_size
    if B > 1 and target and target[0] > 0 and target[0] % B == 0:
        target = [target[0] // B, *target[1:]]
    if reading.batched and target[:1] > [1] and -1 in target:
        raise node.error(
            f"a shape {target} joins the images of a batch; the nearest begins with -1"
        )
    return reading.reshaped(x, reshaped(node, x.shape, target))


def flatten(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    if reading.batched and flatten_axis(node, len(x.shape)) == 0:
        raise node.attribute_error("axis", "it joins the images of a batch; the nearest is 1")
    return reading.reshaped(x, flattened(node, x.shape))


def squeeze(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    axes = axes_of(node, reading.constants_only(node, inputs), 1, len(x.shape))
    if axes is None:
        axes = [axis for axis in range(reading.batched, len(x.shape)) if x.shape[axis] == 1]
    if any(x.shape[axis] != 1 for axis in axes):
        raise node.error(f"axes {axes} of {x.shape} are not all 1")
    return x.moved(np.squeeze(x.places, tuple(axes)))


def unsqueeze(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    constants = reading.constants_only(node, inputs)
    shape = unsqueezed(node, constants, x.shape)
    if reading.batched and 0 in (axes_of(node, constants, 1, len(shape)) or ()):
        raise node.error("it puts an axis before the batch; the nearest are axes from 1 on")
    return reading.reshaped(x, shape)


def transpose(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    perm = node.integers("perm", range(len(x.shape))[::-1])
    if sorted(perm) != list(range(len(x.shape))):
        raise node.attribute_error("perm", f"a tensor has {len(x.shape)} axes")
    if reading.batched and perm[:1] != [0]:
        raise node.attribute_error("perm", "it moves the batch axis; expected 0 first")
    return x.moved(x.places.transpose(perm))


def pad(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    """Zeros around a picture, which become padding of the convolution or pooling behind them."""
    x = reading.value(node, inputs)
    mode = node.text("mode", "constant")
    if mode != "constant":
        raise node.attribute_error("mode", "the nearest is padding with zeros, 'constant'")
    constants = reading.constants_only(node, inputs)
    value = optional(constants, 2)
    if node.number_of("value", 0.0) or (value is not None and value.any()):
        raise node.error("it adds other values than 0; the nearest is padding with zeros")
    sides = pads_of(node, constants, len(x.shape))
    if any(side < 0 for pair in sides for side in pair):
        raise node.error(f"pads {sides} cut pixels off; the nearest is a window with stride")
    if reading.batched and sides[:1] != [(0, 0)]:
        raise node.error("it adds images to the batch")
    reading.budget.spend(math.prod(size + sum(pair) for size, pair in zip(x.shape, sides)))
    return x.moved(np.pad(x.places, sides, constant_values=ADDED))


def shape(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> np.ndarray:
    return shape_part(node, reading.value(node, inputs).shape)
