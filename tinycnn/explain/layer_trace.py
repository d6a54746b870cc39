"""The values of one layer while one image passes forward and backward through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..layers import Shape
from ..plan import Step

Spot = tuple[int, ...]

IMAGE = "image"
"""The name of the network's input on the page."""


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """Input x, output y, and the loss's gradients dy = dL/dy, which comes in, and dx = dL/dx.

    All in float64 and without the batch axis: shapes are (H, W, C) or (units,).
    x2          of an Add: its second input.  Else None; dL/dx2 equals dL/dx
    sources     the names of the inputs: of the layers whose y they are, or "image"
    dy_parts    what each use of y passes back, by its name such as "dL/dx of conv2"; dy is their
                sum.  Of the last layer: empty
    kept        the array that the forward pass keeps for the backward pass besides x and y: in
                max-pooling, for each y the flat index h*W + w of the winner in x.  Or None
    parameters  by short name ("w", "b"), as gradients
    spot        the index into y that the page looks at closely
    folded      where x is a flattened picture, the picture's shape (H, W, C); else None
    """

    step: Step
    x: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    x2: np.ndarray | None
    sources: tuple[str, ...]
    dy_parts: Mapping[str, np.ndarray]
    kept: np.ndarray | None
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    spot: Spot
    folded: Shape | None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """x, x2 if there is one, y and their gradients by their names on the page."""
        second = {} if self.x2 is None else {"x2": self.x2}
        return {"x": self.x, **second, "y": self.y, "dL/dy": self.dy, "dL/dx": self.dx}


def largest_at(array: np.ndarray) -> Spot:
    """Index of the largest |value|; the first of several."""
    return tuple(int(i) for i in np.unravel_index(np.abs(array).argmax(), array.shape))
