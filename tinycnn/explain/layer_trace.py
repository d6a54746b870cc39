"""The values of one layer while one image passes through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..layers import Conv2D, MaxPool2D, Shape
from ..plan import Step

Spot = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Input x, output y, and the gradients of the loss: dy = dL/dy comes in, dx = dL/dx goes out.

    All in float64 and without the batch axis: shapes are (H, W, C) or (units,).
    kept        what the forward pass keeps for the backward pass besides x and y, or None; of a
                max-pooling the flat index h*W + w of each y's winner in x
    parameters  by short name ("w", "b"), gradients alike
    spot        the index into y that the page looks at closely
    folded      (H, W, C) of the picture whose flattened values x is, else None
    """

    step: Step
    x: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    kept: np.ndarray | None
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    spot: Spot
    folded: Shape | None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The four arrays by their names on the page."""
        return {"x": self.x, "y": self.y, "dL/dy": self.dy, "dL/dx": self.dx}


class Window(NamedTuple):
    """Of a convolution or pooling: stride, padding above and to the left of x, height, width."""

    S: int
    PT: int
    PL: int
    KH: int
    KW: int


def window_of(layer: LayerTrace) -> Window:
    kind = layer.step.layer
    assert isinstance(kind, (Conv2D, MaxPool2D))
    vertical, horizontal = kind.axes(layer.step.input_shape)
    KH, KW = kind.kernel_hw if isinstance(kind, Conv2D) else (kind.size, kind.size)
    stride = kind.stride or KH  # the stride of a pooling is its size where none was given
    return Window(stride, vertical.before, horizontal.before, KH, KW)


def largest_at(array: np.ndarray) -> Spot:
    """Index of the largest |value|."""
    return tuple(int(i) for i in np.unravel_index(np.abs(array).argmax(), array.shape))
