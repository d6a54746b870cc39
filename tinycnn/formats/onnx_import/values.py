"""Where the elements of an ONNX tensor lie in the output of one of our layers.

ONNX pictures are (N, C, H, W), ours are (H, W, C).  Transposes, Reshapes and Flattens of a file
move elements without changing them, so they need no layer.  A `Value` therefore holds, beside the
layer that computes a tensor, an array of the tensor's own shape with the place of each element in
that layer's flat output.  Transposing the tensor is transposing this array.  Where a layer needs a
picture or multiplies with weights, the array says how to order the weights.

The tensor is the one for a batch of a single image.  If its first axis is the batch, operators that
would mix images are refused where they are read (operators.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...layers import Shape
from .nodes import OnnxNode

ADDED = -1
"""Place of an element that is not in the layer's output: a zero that a Pad added."""


@dataclass(frozen=True)
class Softmaxed:
    """A Softmax or LogSoftmax that is left out.  axes: of the tensor, over which it would sum."""

    node: OnnxNode
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph that depends on the network's input.

    source  the layer that computes it: its number in the LayerGraph
    places  the place of each element in the flat output of that layer, or ADDED
    softmax  what the tensor still lacks; nothing but the end of the graph may follow
    """

    source: int
    places: np.ndarray
    softmax: Softmaxed | None = None

    @property
    def shape(self) -> Shape:
        return self.places.shape

    def moved(self, places: np.ndarray) -> Value:
        """The same elements in another arrangement."""
        return replace(self, places=places)


def picture_places(shape: Shape) -> np.ndarray:
    """Places (1, C, H, W) of an ONNX picture whose layer gives pictures of `shape` (H, W, C)."""
    return vector_places(shape).transpose(2, 0, 1)[None]


def vector_places(shape: Sequence[int]) -> np.ndarray:
    """Places 0, 1, 2, ... in the given shape: of a tensor with the layer's own order of values."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(tuple(shape))


def is_complete(value: Value, n_values: int) -> bool:
    """Whether the tensor has each of the n_values of its layer exactly once, and no others."""
    flat = value.places.ravel()
    if flat.size != n_values or (flat < 0).any():
        return False
    found = np.zeros(n_values, bool)
    found[flat] = True
    return bool(found.all())


def picture_padding(value: Value, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((top, bottom), (left, right)): the zeros around the picture.

    None if the tensor is not the picture (1, C, H, W) of a layer that gives `shape` (H, W, C).
    """
    if value.places.ndim != 4 or value.shape[0] != 1 or len(shape) != 3:
        return None
    inside = value.places[0] >= 0
    rows, columns = inside.any(axis=(0, 2)), inside.any(axis=(0, 1))
    if not rows.any():
        return None
    top, bottom = int(rows.argmax()), int(rows[::-1].argmax())
    left, right = int(columns.argmax()), int(columns[::-1].argmax())
    H, W = value.shape[2:]
    picture = value.places[:, :, top : H - bottom, left : W - right]
    if not np.array_equal(picture, picture_places(shape)):
        return None
    return (top, bottom), (left, right)


def per_channel(value: Value, constant: np.ndarray, shape: Shape) -> np.ndarray | None:
    """A constant that is broadcast to the tensor, as one number for each channel of its layer.

    The tensor must be complete.  Returns (C,) in float64; None if the pixels of a channel would get
    different numbers.
    """
    ordered = np.empty(math.prod(shape))
    ordered[value.places.ravel()] = np.broadcast_to(constant, value.shape).ravel()
    pixels = ordered.reshape(-1, shape[-1])
    first = np.broadcast_to(pixels[0], pixels.shape)
    return pixels[0].copy() if np.array_equal(pixels, first, equal_nan=True) else None
