"""Layers that join two branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Layer, Shape

MAX_DEPTH = 16
"""Residuals may lie in residuals this deep.  A damaged file could describe any depth."""


@dataclass(frozen=True)
class Residual(Layer):
    """y = f(x) + shortcut(x): f are `layers`, one after the other; so are those of `shortcut`.

    Without shortcut layers, the shortcut is x itself.  Both branches must give the same shape.  A
    plan has no step for a Residual: it has those of its layers, and an `Add`.
    """

    stem: ClassVar[str] = "residual"
    layers: Sequence[Layer]
    shortcut: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        for name in ("layers", "shortcut"):
            branch = getattr(self, name)
            if not isinstance(branch, (tuple, list)):
                raise ValueError(f"{name} is {branch!r}; expected a list of layers")
            for layer in branch:
                if not isinstance(layer, Layer):
                    raise TypeError(f"{name} has {layer!r}; expected layers such as ReLU()")
            object.__setattr__(self, name, tuple(branch))
        if not self.layers:
            raise ValueError("layers is empty; expected at least one layer")
        if self.depth > MAX_DEPTH:
            raise ValueError(f"residuals lie in residuals more than {MAX_DEPTH} deep")

    @property
    def depth(self) -> int:
        """1; 2 if there is a residual among its layers, and so on."""
        inside = (*self.layers, *self.shortcut)
        return 1 + max((layer.depth for layer in inside if isinstance(layer, Residual)), default=0)

    def output_shape(self, input_shape: Shape) -> Shape:
        shape, shortcut_shape = (
            shape_after(branch, input_shape) for branch in (self.layers, self.shortcut)
        )
        Add().output_shape_of(shape, shortcut_shape)
        return shape

    def config(self) -> dict[str, Any]:
        layers, shortcut = (
            [layer.config() for layer in branch] for branch in (self.layers, self.shortcut)
        )
        return {"kind": "Residual", "layers": layers, "shortcut": shortcut}


@dataclass(frozen=True)
class Add(Layer):
    """The sum of two inputs of the same shape.  Only a plan has it, as the end of a Residual."""

    stem: ClassVar[str] = "add"

    def output_shape_of(self, first: Shape, second: Shape) -> Shape:
        """The shape of the sum.  ValueError if the shapes differ."""
        if first != second:
            raise ValueError(
                f"the layers give shape {first} and the shortcut {second}: give the shortcut "
                "layers of its own, such as Conv2D(filters, 1, stride), that make them equal"
            )
        return first


def shape_after(layers: Sequence[Layer], input_shape: Shape) -> Shape:
    """The shape of the last layer's output."""
    shape = input_shape
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape
