"""Single entries worked out by hand: the sums of products that the equations say, term by term.

Written from the equations in the kernels' docstrings.  No code is shared with the kernels or the
reference, so a total that equals theirs checks both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .layer_trace import LayerTrace, Spot, largest_at


class Entry(NamedTuple):
    """One entry of an array: its name with its index, such as "w[0,3]", and its value."""

    name: str
    value: float


class Product(NamedTuple):
    left: Entry
    right: Entry

    @property
    def value(self) -> float:
        return self.left.value * self.right.value


class WorkedSum(NamedTuple):
    """result = bias + the sum of the products.

    result    the entry as the engine computed it
    equation  its number in the kernel's docstring
    """

    result: Entry
    equation: str
    products: list[Product]
    bias: Entry | None = None

    @property
    def total(self) -> float:
        return sum((p.value for p in self.products), self.bias.value if self.bias else 0.0)


def named(name: str, index: Spot) -> str:
    return f"{name}[{','.join(str(i) for i in index)}]"


def _at(name: str, array: np.ndarray, index: Spot) -> Entry:
    return Entry(named(name, index), float(array[index]))


def conv2d_output(layer: LayerTrace, spot: Spot) -> WorkedSum:
    """kernels/conv2d.py (1) at y[i, j, f]."""
    i, j, f = spot
    x, w, b = layer.x, layer.parameters["w"], layer.parameters["b"]
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    products = []
    for a, e, c in np.ndindex(KH, KW, x.shape[2]):
        h, v = i * SH - PT + a, j * SW - PL + e
        if 0 <= h < x.shape[0] and 0 <= v < x.shape[1]:
            products.append(Product(_at("x", x, (h, v, c)), _at("w", w, (a, e, c, f))))
    return WorkedSum(_at("y", layer.y, spot), "(1)", products, _at("b", b, (f,)))


def conv2d_weight(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/conv2d.py (2) at dL/dw[a, e, c, f]; products with dy = 0 are left out."""
    a, e, c, f = index
    x, dy = layer.x, layer.dy
    _, _, SH, SW, PT, PL, _, _ = layer.step.window
    products = []
    for i, j in np.ndindex(*dy.shape[:2]):
        h, v = i * SH - PT + a, j * SW - PL + e
        if 0 <= h < x.shape[0] and 0 <= v < x.shape[1] and dy[i, j, f]:
            products.append(Product(_at("x", x, (h, v, c)), _at("dy", dy, (i, j, f))))
    return WorkedSum(_at("dL/dw", layer.gradients["w"], index), "(2)", products)


def conv2d_input(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/conv2d.py (4) at dL/dx[h, v, c]; products with dy = 0 are left out."""
    h, v, c = index
    w, dy = layer.parameters["w"], layer.dy
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    products = []
    for a, e, f in np.ndindex(KH, KW, dy.shape[2]):
        (i, row), (j, column) = divmod(h + PT - a, SH), divmod(v + PL - e, SW)
        inside = 0 <= i < dy.shape[0] and 0 <= j < dy.shape[1]
        if row == column == 0 and inside and dy[i, j, f]:
            products.append(Product(_at("dy", dy, (i, j, f)), _at("w", w, (a, e, c, f))))
    return WorkedSum(_at("dL/dx", layer.dx, index), "(4)", products)


def dense_output(layer: LayerTrace, spot: Spot) -> WorkedSum:
    """kernels/dense.py (1) at y[u]; products with x = 0 are left out."""
    (u,) = spot
    x, w, b = layer.x, layer.parameters["w"], layer.parameters["b"]
    products = [Product(_at("x", x, (k,)), _at("w", w, (k, u))) for k in np.flatnonzero(x).tolist()]
    return WorkedSum(_at("y", layer.y, spot), "(1)", products, _at("b", b, (u,)))


def dense_weight(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/dense.py (2) at dL/dw[k, u]: one product, because there is one image."""
    k, u = index
    product = Product(_at("dy", layer.dy, (u,)), _at("x", layer.x, (k,)))
    return WorkedSum(_at("dL/dw", layer.gradients["w"], index), "(2)", [product])


def dense_input(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/dense.py (4) at dL/dx[k]; products with dy = 0 are left out."""
    (k,) = index
    w, dy = layer.parameters["w"], layer.dy
    products = [
        Product(_at("dy", dy, (u,)), _at("w", w, (k, u))) for u in np.flatnonzero(dy).tolist()
    ]
    return WorkedSum(_at("dL/dx", layer.dx, index), "(4)", products)


def worked_sums(
    output: Callable[[LayerTrace, Spot], WorkedSum],
    weight: Callable[[LayerTrace, Spot], WorkedSum],
    given: Callable[[LayerTrace, Spot], WorkedSum],
) -> Callable[[LayerTrace], list[WorkedSum]]:
    """A function that works out three entries of a layer: y at the spot, the largest |dL/dw| of the
    spot's filter or unit, and the largest |dL/dx|.  output, weight, given: how each is summed"""

    def sums(layer: LayerTrace) -> list[WorkedSum]:
        k = layer.spot[-1]
        largest_weight = (*largest_at(layer.gradients["w"][..., k]), k)
        return [
            output(layer, layer.spot),
            weight(layer, largest_weight),
            given(layer, largest_at(layer.dx)),
        ]

    return sums
