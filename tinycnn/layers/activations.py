"""Layers that compute each value from one value: activations and dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Layer, Shape, keep_number, new_option, picture_shape


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0), element by element; min(max(x, 0), max_value) if max_value is given."""

    stem: ClassVar[str] = "relu"
    max_value: float | None = new_option(None)

    def __post_init__(self) -> None:
        if self.max_value is not None:
            keep_number(self, "max_value", self.max_value, 0.0, float("inf"))
            if self.max_value == 0:
                raise ValueError("max_value is 0; expected a number above 0")


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """x where x is above 0, elsewhere negative_slope * x."""

    stem: ClassVar[str] = "leaky"
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        keep_number(self, "negative_slope", self.negative_slope, 0.0, 1.0)


@dataclass(frozen=True)
class PReLU(Layer):
    """x where x is above 0, elsewhere alpha * x with a trained alpha (C,) for each channel.

    He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers", equation (1).
    """

    stem: ClassVar[str] = "prelu"
    initial_values: ClassVar[dict[str, float]] = {"alpha": 0.25}

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"alpha": (input_shape[-1],)}


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x)), element by element."""

    stem: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class Tanh(Layer):
    """tanh(x), element by element."""

    stem: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Dropout(Layer):
    """Inverted dropout: in training, each value is set to 0 with probability `rate` and otherwise
    divided by 1 - rate.  In prediction it does nothing."""

    stem: ClassVar[str] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        keep_number(self, "rate", self.rate, 0.0, 1.0)

    def mask_shape(self, input_shape: Shape) -> Shape:
        """Shape of the random factors of one image; they are broadcast over its values."""
        return input_shape


@dataclass(frozen=True)
class SpatialDropout2D(Dropout):
    """Dropout of whole channels of a picture: all pixels of a channel are kept or none."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return picture_shape(self, input_shape)

    def mask_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, input_shape[2])
