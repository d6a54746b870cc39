"""Single entries worked out by hand: the sums of products that the equations say, term by term.

Written from the equations in the kernels' docstrings.  No code is shared with the kernels or the
reference, so a total that equals theirs checks both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..layers import DepthwiseConv2D
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
    """result = the sum of the products and of the terms.

    result    the entry as the engine computed it
    equation  its number in the kernel's docstring
    terms     entries that are added as they are, such as a bias
    """

    result: Entry
    equation: str
    products: list[Product]
    terms: tuple[Entry, ...] = ()

    @property
    def total(self) -> float:
        return sum(term.value for term in self.terms) + sum(p.value for p in self.products)


def named(name: str, index: Spot) -> str:
    return f"{name}[{','.join(str(i) for i in index)}]"


def _at(name: str, array: np.ndarray, index: Spot) -> Entry:
    return Entry(named(name, index), float(array[index]))


def weights_of_filter(layer: LayerTrace, f: int) -> list[tuple[int, Spot]]:
    """The input channels that a filter of a convolution reads: each with the last two indices into
    w of its weights."""
    w = layer.parameters["w"]
    if isinstance(layer.step.layer, DepthwiseConv2D):
        return [(f // w.shape[3], divmod(f, w.shape[3]))]
    return [(c, (c, f)) for c in range(w.shape[2])]


def _bias(layer: LayerTrace, k: int) -> tuple[Entry, ...]:
    b = layer.parameters.get("b")
    return () if b is None else (_at("b", b, (k,)),)


def conv2d_output(layer: LayerTrace, spot: Spot) -> WorkedSum:
    """kernels/conv2d.py or depthwise_conv2d.py (1) at y[i, j, f]."""
    i, j, f = spot
    x, w = layer.x, layer.parameters["w"]
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    products = []
    for a, e in np.ndindex(KH, KW):
        h, v = i * SH - PT + a, j * SW - PL + e
        if 0 <= h < x.shape[0] and 0 <= v < x.shape[1]:
            for c, at in weights_of_filter(layer, f):
                products.append(Product(_at("x", x, (h, v, c)), _at("w", w, (a, e, *at))))
    return WorkedSum(_at("y", layer.y, spot), "(1)", products, _bias(layer, f))


def conv2d_weight(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/conv2d.py (2) at dL/dw[a, e, c, f], or depthwise_conv2d.py (2) at dL/dw[a, e, c, d];
    products with dy = 0 are left out."""
    a, e, c, f = index
    x, dy = layer.x, layer.dy
    if isinstance(layer.step.layer, DepthwiseConv2D):
        f += c * layer.step.layer.depth_multiplier
    _, _, SH, SW, PT, PL, _, _ = layer.step.window
    products = []
    for i, j in np.ndindex(*dy.shape[:2]):
        h, v = i * SH - PT + a, j * SW - PL + e
        if 0 <= h < x.shape[0] and 0 <= v < x.shape[1] and dy[i, j, f]:
            products.append(Product(_at("x", x, (h, v, c)), _at("dy", dy, (i, j, f))))
    return WorkedSum(_at("dL/dw", layer.gradients["w"], index), "(2)", products)


def conv2d_input(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/conv2d.py or depthwise_conv2d.py (4) at dL/dx[h, v, c]; products with dy = 0 are
    left out."""
    h, v, c = index
    w, dy = layer.parameters["w"], layer.dy
    filters = [
        (f, at) for f in range(dy.shape[2]) for k, at in weights_of_filter(layer, f) if k == c
    ]
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    products = []
    for a, e in np.ndindex(KH, KW):
        (i, row), (j, column) = divmod(h + PT - a, SH), divmod(v + PL - e, SW)
        if row == column == 0 and 0 <= i < dy.shape[0] and 0 <= j < dy.shape[1]:
            for f, at in filters:
                if dy[i, j, f]:
                    products.append(Product(_at("dy", dy, (i, j, f)), _at("w", w, (a, e, *at))))
    return WorkedSum(_at("dL/dx", layer.dx, index), "(4)", products)


def dense_output(layer: LayerTrace, spot: Spot) -> WorkedSum:
    """kernels/dense.py (1) at y[u]; products with x = 0 are left out."""
    (u,) = spot
    x, w = layer.x, layer.parameters["w"]
    products = [Product(_at("x", x, (k,)), _at("w", w, (k, u))) for k in np.flatnonzero(x).tolist()]
    return WorkedSum(_at("y", layer.y, spot), "(1)", products, _bias(layer, u))


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


def prelu_sums(layer: LayerTrace) -> list[WorkedSum]:
    """kernels/prelu.py (1) at the spot and (4) for its channel."""
    c = layer.spot[-1]
    x, y = _at("x", layer.x, layer.spot), _at("y", layer.y, layer.spot)
    slope, above = _at("alpha", layer.parameters["alpha"], (c,)), x.value > 0
    output = WorkedSum(y, "(1)", [] if above else [Product(slope, x)], (x,) if above else ())
    products = [
        Product(_at("dy", layer.dy, at), _at("x", layer.x, at))
        for at in _spots_of_channel(layer, c)
        if layer.x[at] <= 0
    ]
    result = _at("dL/dalpha", layer.gradients["alpha"], (c,))
    return [output, WorkedSum(result, "(4)", products)]


def _spots_of_channel(layer: LayerTrace, c: int) -> list[Spot]:
    return [(*at, c) for at in np.ndindex(*layer.x.shape[:-1])]


def scale_shift_sums(layer: LayerTrace) -> list[WorkedSum]:
    """kernels/scale_shift.py (1) at the spot, (2) and (3) for its channel, (4) at the spot."""
    at, c = layer.spot, layer.spot[-1]
    scale, shift = (_at(name, layer.parameters[name], (c,)) for name in ("scale", "shift"))
    dscale, dshift = (
        _at(f"dL/d{name}", layer.gradients[name], (c,)) for name in ("scale", "shift")
    )
    dy = [_at("dy", layer.dy, p) for p in _spots_of_channel(layer, c)]
    x = [_at("x", layer.x, p) for p in _spots_of_channel(layer, c)]
    one = Entry("1", 1.0)
    return [
        WorkedSum(_at("y", layer.y, at), "(1)", [Product(scale, _at("x", layer.x, at))], (shift,)),
        WorkedSum(dscale, "(2)", [Product(*pair) for pair in zip(dy, x)]),
        WorkedSum(dshift, "(3)", [Product(entry, one) for entry in dy]),
        WorkedSum(_at("dL/dx", layer.dx, at), "(4)", [Product(_at("dy", layer.dy, at), scale)]),
    ]


def add_sums(layer: LayerTrace) -> list[WorkedSum]:
    """kernels/add.py (1) at the spot."""
    terms = tuple(_at(name, layer.arrays[name], layer.spot) for name in ("x", "x2"))
    return [WorkedSum(_at("y", layer.y, layer.spot), "(1)", [], terms)]


def _pixels_of(layer: LayerTrace, i: int, j: int) -> list[tuple[int, int]]:
    """Rows and columns of the pixels of x that are in the window of a pooling's output (i, j)."""
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    H, W, _ = layer.x.shape
    top, left = i * SH - PT, j * SW - PL
    return [
        (h, v)
        for h in range(max(top, 0), min(top + KH, H))
        for v in range(max(left, 0), min(left + KW, W))
    ]


def _share(layer: LayerTrace, i: int, j: int) -> Entry:
    """1 / T[i, j]"""
    KH, KW = layer.step.window[:2]
    n = KH * KW if layer.step.counts_padding else len(_pixels_of(layer, i, j))
    return Entry(f"1/{n}", 1 / n)


def average_output(layer: LayerTrace, spot: Spot) -> WorkedSum:
    """kernels/averagepool2d.py (1) at y[i, j, c], or at y[c] of a global average."""
    i, j, c = (0, 0, *spot)[-3:]
    share = _share(layer, i, j)
    products = [Product(_at("x", layer.x, (h, v, c)), share) for h, v in _pixels_of(layer, i, j)]
    return WorkedSum(_at("y", layer.y, spot), "(1)", products)


def average_input(layer: LayerTrace, index: Spot) -> WorkedSum:
    """kernels/averagepool2d.py (4) at dL/dx[h, v, c]."""
    h, v, c = index
    products = []
    for at in np.ndindex(*layer.dy.shape[:-1]):
        i, j = at or (0, 0)
        if (h, v) in _pixels_of(layer, i, j):
            products.append(Product(_at("dy", layer.dy, (*at, c)), _share(layer, i, j)))
    return WorkedSum(_at("dL/dx", layer.dx, index), "(4)", products)


def average_sums(layer: LayerTrace) -> list[WorkedSum]:
    """y at the spot, and the largest |dL/dx|, worked out."""
    return [average_output(layer, layer.spot), average_input(layer, largest_at(layer.dx))]


def worked_sums(
    output: Callable[[LayerTrace, Spot], WorkedSum],
    weight: Callable[[LayerTrace, Spot], WorkedSum],
    given: Callable[[LayerTrace, Spot], WorkedSum],
) -> Callable[[LayerTrace], list[WorkedSum]]:
    """A function that works out three entries of a layer: y at the spot, the largest |dL/dw| of the
    spot's filter or unit, and the largest |dL/dx|.  output, weight, given: how each is summed"""

    def sums(layer: LayerTrace) -> list[WorkedSum]:
        k, dw = layer.spot[-1], layer.gradients["w"]
        n_units = layer.y.shape[-1]
        (row,) = largest_at(dw.reshape(-1, n_units)[:, k])
        largest_weight = np.unravel_index(row * n_units + k, dw.shape)
        return [
            output(layer, layer.spot),
            weight(layer, tuple(int(i) for i in largest_weight)),
            given(layer, largest_at(layer.dx)),
        ]

    return sums
