"""Layers on vectors: Flatten makes one from a picture, Dense multiplies it with weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from .base import Layer, Shape, keep_positive, new_option, vector_shape


@dataclass(frozen=True)
class Flatten(Layer):
    """(H, W, C) to (H*W*C,), in that order."""

    stem: ClassVar[str] = "flatten"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected: weights w (fan_in, units), bias b (units,) unless use_bias=False."""

    stem: ClassVar[str] = "dense"
    units: int
    use_bias: bool = new_option(True)

    def __post_init__(self) -> None:
        keep_positive(self, units=self.units)

    def output_shape(self, input_shape: Shape) -> Shape:
        vector_shape(self, input_shape)
        return (self.units,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        w = (vector_shape(self, input_shape)[0], self.units)
        return {"w": w, "b": (self.units,)} if self.use_bias else {"w": w}

    def unused_bias_shape(self, input_shape: Shape) -> Shape:
        return () if self.use_bias else (self.units,)
