"""ONNX operators that move a window over a picture, or reduce it to one value for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...layers import (
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Shape,
    Sigmoid,
)
from ...plan import NETWORK_INPUT
from ...shapes import window_axis
from .constants import axes_of
from .nodes import OnnxNode
from .reading import Given, Reading
from .values import Value, picture_padding, picture_places, vector_places

Sides = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)) in pixels."""


@dataclass(frozen=True)
class Picture:
    """A tensor (1, C, H, W) that is the output of a layer, perhaps with zeros around it.

    shape     (H, W, C) of the layer's output
    added     the zeros that a Pad put around it
    was_flat  the ONNX tensor is (1, C, W): H is 1
    """

    source: int
    shape: Shape
    added: Sides
    was_flat: bool


def picture(node: OnnxNode, reading: Reading, x: Value) -> Picture:
    """The picture that the node reads.  NotUsable if its input is none."""
    was_flat = len(x.shape) == 3
    if was_flat:
        x = x.moved(x.places[:, :, None])
    if len(x.shape) != 4:
        raise node.error(
            f"an input of shape {x.shape}; windows move over pictures (N, C, H, W) or rows "
            "(N, C, W)"
        )
    reading.budget.spend(x.places.size)
    shape = reading.graph.shape(x.source)
    added = picture_padding(x, shape)
    if added is None:
        raise node.error(
            f"its input of shape {x.shape} is a rearranged output {shape} (H, W, C) of a layer; "
            "the nearest is the whole picture, as the layer gives it"
        )
    return Picture(x.source, shape, added, was_flat)


def _window(
    node: OnnxNode, given: Picture, kernel: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int], Sides, Sides]:
    """(kernel, strides, padding of the node without that of the picture, what ceil_mode adds).

    For a picture that was flat, the first axis of the window is 1.
    """
    n_axes = 1 if given.was_flat else 2
    lists = {
        "kernel_shape": node.integers("kernel_shape", kernel),
        "strides": node.integers("strides", [1] * n_axes),
        "dilations": node.integers("dilations", [1] * n_axes),
        "pads": node.integers("pads", [0] * 2 * n_axes),
    }
    for name, values in lists.items():
        if len(values) != n_axes * (2 if name == "pads" else 1) or min(values) < (name != "pads"):
            raise node.attribute_error(name, f"expected {n_axes} for each side, none negative")
    if given.was_flat:
        pads = lists["pads"]
        lists = {name: [1, *values] for name, values in lists.items()}
        lists["pads"] = [0, pads[0], 0, pads[1]]
    KH, KW = lists["kernel_shape"]
    for size, gap in zip((KH, KW), lists["dilations"]):
        if size > 1 and gap > 1:
            raise node.attribute_error(
                "dilations", "windows with gaps; the nearest are windows without, dilations 1"
            )
    SH, SW = lists["strides"]
    top, left, bottom, right = lists["pads"]
    sizes = [
        size + sum(sides) for size, sides in zip(given.shape[:2], given.added)
    ]  # with the zeros around the picture
    auto = node.text("auto_pad", "NOTSET")
    sides = [(top, bottom), (left, right)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for k, (size, window, stride) in enumerate(zip(sizes, (KH, KW), (SH, SW))):
            axis = window_axis(size, window, stride, "same")
            pair = (axis.before, axis.after)
            sides[k] = pair if auto == "SAME_UPPER" else pair[::-1]
    elif auto == "VALID":
        sides = [(0, 0), (0, 0)]
    elif auto != "NOTSET":
        raise node.attribute_error("auto_pad", "expected NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    beyond = [(0, 0), (0, 0)]
    if node.integer("ceil_mode", 0):
        for k, (size, window, stride) in enumerate(zip(sizes, (KH, KW), (SH, SW))):
            beyond[k] = (0, _beyond(size, sides[k], window, stride))
    return (KH, KW), (SH, SW), (sides[0], sides[1]), (beyond[0], beyond[1])


def _beyond(size: int, sides: tuple[int, int], window: int, stride: int) -> int:
    """How far the last window reaches beyond the padding, where ceil_mode keeps it.

    It is kept if it begins inside of the picture or the padding before it.
    """
    padded = size + sum(sides)
    if window > padded:
        return 0
    n_out = -(-(padded - window) // stride) + 1
    if (n_out - 1) * stride >= size + sides[0]:
        n_out -= 1
    return max((n_out - 1) * stride + window - padded, 0)


def _sum(*several: Sides) -> Sides:
    (top, bottom), (left, right) = (
        tuple(sum(pair) for pair in zip(*(sides[axis] for sides in several))) for axis in (0, 1)
    )
    return (top, bottom), (left, right)


def _padding(
    shape: Shape, kernel: tuple[int, int], stride: tuple[int, int], sides: Sides
) -> str | Sides:
    """The padding by its name where it has one."""
    if not any(sides[0] + sides[1]):
        return "valid"
    same = [window_axis(shape[k], kernel[k], stride[k], "same") for k in (0, 1)]
    return "same" if all((a.before, a.after) == s for a, s in zip(same, sides)) else sides


def _one(pair: tuple[int, int]) -> int | tuple[int, int]:
    """Two equal numbers as one."""
    return pair[0] if pair[0] == pair[1] else pair


def _output(reading: Reading, given: Picture, source: int) -> Value:
    """The output picture of a layer as the ONNX tensor that the node gives."""
    shape = reading.graph.shape(source)
    reading.budget.spend(math.prod(shape))
    places = picture_places(shape)
    return Value(source, places[:, :, 0] if given.was_flat else places)


# ---- convolutions ----------------------------------------------------------------------------


def conv(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    w = reading.constant(node, inputs, 1, "the weights")
    b = reading.constant_or_none(node, inputs, 2, "the bias")
    if not 3 <= w.ndim <= 4 or w.ndim != len(x.shape) or not w.size:
        raise node.error(
            f"weights of shape {w.shape} on an input of shape {x.shape}; the nearest is a "
            "convolution over pictures"
        )
    w = w if w.ndim == 4 else w[:, :, None]
    F, n_read, KH, KW = w.shape
    group, C = node.integer("group", 1), x.shape[1]
    if group not in (1, C) or n_read * group != C or F % group:
        raise node.attribute_error(
            "group",
            f"weights of shape {w.shape} for {C} channels; the nearest are group = 1 and, for a "
            f"depthwise convolution, group = {C}",
        )
    if b is not None and b.shape != (F,):
        raise node.error(f"a bias of shape {b.shape} for {F} filters")
    biases = {} if b is None else {"b": b}
    reading.budget.spend_on_constant(w.size)
    if len(reading.graph.shape(x.source)) == 1:
        return _on_a_pixel(node, reading, x, w, biases)
    given = picture(node, reading, x)
    kernel, stride, sides, _ = _window(node, given, [KH, KW][given.was_flat :])
    if kernel != (KH, KW):
        raise node.attribute_error("kernel_shape", f"the weights have the shape {w.shape}")
    padding = _padding(given.shape, kernel, stride, _sum(given.added, sides))
    layer: Layer
    if group == 1:
        layer = Conv2D(F, _one(kernel), _one(stride), padding, use_bias=b is not None)
        ordered = w.transpose(2, 3, 1, 0)
    else:
        layer = DepthwiseConv2D(_one(kernel), _one(stride), padding, F // C, use_bias=b is not None)
        ordered = w.reshape(C, F // C, KH, KW).transpose(2, 3, 0, 1)
    source = reading.graph.add(layer, given.source, node, {"w": ordered, **biases})
    return _output(reading, given, source)


def _on_a_pixel(
    node: OnnxNode, reading: Reading, x: Value, w: np.ndarray, biases: dict[str, np.ndarray]
) -> Value:
    """A convolution over a picture of one pixel whose layer gives a vector: a Dense layer.

    Only the tap that lies on the pixel counts.
    """
    reading.complete(node, x)
    F, _, KH, KW = w.shape
    given = Picture(x.source, (1, 1, x.shape[1]), ((0, 0), (0, 0)), len(x.shape) == 3)
    kernel, _, ((top, bottom), (left, right)), _ = _window(node, given, [KH, KW][given.was_flat :])
    if node.integer("group", 1) != 1 or (top + bottom + 2, left + right + 2) != (KH + 1, KW + 1):
        raise node.error(
            f"a window of {kernel} over the single pixel of {x.shape} with pads {top}, {left}, "
            f"{bottom}, {right}; the nearest is one that gives a single pixel, with group = 1"
        )
    ordered = np.empty((w.shape[1], F))
    ordered[x.places.ravel()] = w[:, :, top, left].T
    layer = Dense(F, use_bias=bool(biases))
    source = reading.graph.add(layer, x.source, node, {"w": ordered, **biases})
    return Value(source, vector_places((1, F, *[1] * (len(x.shape) - 2))))


# ---- poolings --------------------------------------------------------------------------------


def max_pool(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.error("its second output, the places of the maxima, is used; the first can be")
    node.integer("storage_order", 0)
    given = picture(node, reading, reading.value(node, inputs))
    kernel, stride, sides, beyond = _window(node, given, ())
    if given.added != ((0, 0), (0, 0)) and not _never_negative(reading, given.source):
        raise node.error(
            "zeros that a Pad added would count as values; the nearest is padding that does not, "
            "attribute pads"
        )
    sides = _sum(given.added, sides, beyond)
    padding = _padding(given.shape, kernel, stride, sides)
    layer = _pool(node, MaxPool2D, kernel, stride, padding)
    return _output(reading, given, reading.graph.add(layer, given.source, node, {}))


def _never_negative(reading: Reading, source: int) -> bool:
    """Whether a layer's outputs are 0 or above, so that zeros beside them change no maximum."""
    while source != NETWORK_INPUT:
        node = reading.graph.nodes[source]
        if isinstance(node.layer, (ReLU, Sigmoid)):
            return True
        if not isinstance(node.layer, (MaxPool2D, AveragePool2D, Dropout)):
            return False
        source = node.inputs[0]
    return False


def average_pool(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    given = picture(node, reading, reading.value(node, inputs))
    kernel, stride, own, beyond = _window(node, given, ())
    counted = bool(node.integer("count_include_pad", 0))
    none: Sides = ((0, 0), (0, 0))
    if counted and beyond != none:
        raise node.attribute_error(
            "ceil_mode",
            "the last windows reach beyond padding that counts; the nearest is ceil_mode = 0",
        )
    if given.added != none and own != none and not counted or given.added != none != beyond:
        raise node.error(
            "zeros that a Pad added count and its own padding does not; the nearest is one kind"
        )
    sides = _sum(given.added, own, beyond)
    counted = sides != none and (counted or given.added != none)
    padding = _padding(given.shape, kernel, stride, sides)
    layer = _pool(node, AveragePool2D, kernel, stride, padding, counted)
    return _output(reading, given, reading.graph.add(layer, given.source, node, {}))


def _pool(
    node: OnnxNode,
    kind: type[MaxPool2D] | type[AveragePool2D],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: str | Sides,
    count_padding: bool = False,
) -> Layer:
    try:
        if kind is AveragePool2D:
            return AveragePool2D(_one(kernel), _one(stride), padding, count_padding)
        return kind(_one(kernel), _one(stride), padding)
    except ValueError as error:
        raise node.error(str(error)) from None


# ---- whole pictures --------------------------------------------------------------------------


def global_average_pool(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    return _reduced(node, reading, x, range(2, len(x.shape)), True, AveragePool2D)


def global_max_pool(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    x = reading.value(node, inputs)
    return _reduced(node, reading, x, range(2, len(x.shape)), True, MaxPool2D)


def reduce_mean(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    return _reduce(node, inputs, reading, AveragePool2D)


def reduce_max(node: OnnxNode, inputs: Sequence[Given], reading: Reading) -> Value:
    return _reduce(node, inputs, reading, MaxPool2D)


def _reduce(
    node: OnnxNode,
    inputs: Sequence[Given],
    reading: Reading,
    kind: type[MaxPool2D] | type[AveragePool2D],
) -> Value:
    x = reading.value(node, inputs)
    axes = axes_of(node, reading.constants_only(node, inputs), 1, len(x.shape))
    do_nothing = node.integer("noop_with_empty_axes", 0)
    keep = bool(node.integer("keepdims", 1))
    if not axes:
        if do_nothing:
            return x
        axes = list(range(len(x.shape)))
    return _reduced(node, reading, x, axes, keep, kind)


def _reduced(
    node: OnnxNode,
    reading: Reading,
    x: Value,
    axes: Sequence[int],
    keep: bool,
    kind: type[MaxPool2D] | type[AveragePool2D],
) -> Value:
    """The mean or maximum over axes that are the rows, the columns or all pixels of a picture."""
    if reading.batched and 0 in axes:
        raise node.error("it reduces over the images of a batch")
    reading.complete(node, x)
    others = [axis for axis in range(len(x.shape)) if axis not in axes]
    kept = tuple(x.shape[axis] for axis in others)
    left = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape)) if keep else kept
    groups = x.places.transpose(*others, *axes).reshape(math.prod(kept), -1)
    if groups.shape[1] == 1:
        return x.moved(x.places.reshape(left))
    shape = reading.graph.shape(x.source)
    if len(shape) == 3:
        H, W, C = shape
        row, column, channel = groups // (W * C), groups // C % W, groups % C
        for KH, KW in ((H, W), (H, 1), (1, W)):
            # the place in a picture of (H / KH, W / KW, C); one place for each group
            target = ((row // KH) * (W // KW) + column // KW) * C + channel
            if groups.shape[1] == KH * KW and (target == target[:, :1]).all():
                layer: Layer = kind((KH, KW), (KH, KW), "valid")
                if (KH, KW) == (H, W) and kind is AveragePool2D:
                    layer = GlobalAveragePool2D()
                source = reading.graph.add(layer, x.source, node, {})
                return Value(source, target[:, 0].reshape(left))
    raise node.error(
        f"it reduces {groups.shape[1]} values of {x.shape} to one; the nearest is all pixels of a "
        "picture, its rows or its columns"
    )
