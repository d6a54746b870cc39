"""One number worked out by hand: the products that the definition sums, each with its indices.

Written from the equations in the kernels' docstrings, one number at a time; nothing here is shared
with the kernels or the reference, so a total that equals theirs is a check.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .layer_trace import LayerTrace, window_of


@dataclass(frozen=True)
class Product:
    """One term: two names with their indices, and their values."""

    left: str
    right: str
    left_value: float
    right_value: float

    @property
    def value(self) -> float:
        return self.left_value * self.right_value


@dataclass(frozen=True)
class WorkedSum:
    """name = bias + the sum of the products.  engine: what the engine has there."""

    name: str
    equation: str
    products: tuple[Product, ...]
    engine: float
    bias: tuple[str, float] | None = None

    @property
    def total(self) -> float:
        return sum((p.value for p in self.products), self.bias[1] if self.bias else 0.0)


def named(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{','.join(str(i) for i in index)}]"


def conv2d_output(layer: LayerTrace, spot: tuple[int, ...]) -> WorkedSum:
    """kernels/conv2d.py (1) at y[i, j, f]."""
    i, j, f = spot
    w, (S, PT, PL) = layer.parameters["w"], window_of(layer)[:3]
    products = []
    for a in range(w.shape[0]):
        for e in range(w.shape[1]):
            h, v = i * S - PT + a, j * S - PL + e
            if 0 <= h < layer.x.shape[0] and 0 <= v < layer.x.shape[1]:
                for c in range(w.shape[2]):
                    products.append(_product("x", layer.x, (h, v, c), "w", w, (a, e, c, f)))
    bias = named("b", (f,)), float(layer.parameters["b"][f])
    return WorkedSum(named("y", spot), "(1)", tuple(products), float(layer.y[spot]), bias)


def conv2d_weight(layer: LayerTrace, index: tuple[int, ...]) -> WorkedSum:
    """kernels/conv2d.py (2) at dL/dw[a, e, c, f]; products with dy = 0 are left out."""
    a, e, c, f = index
    S, PT, PL = window_of(layer)[:3]
    products = []
    for i in range(layer.y.shape[0]):
        for j in range(layer.y.shape[1]):
            h, v = i * S - PT + a, j * S - PL + e
            inside = 0 <= h < layer.x.shape[0] and 0 <= v < layer.x.shape[1]
            if inside and layer.dy[i, j, f]:
                products.append(_product("x", layer.x, (h, v, c), "dy", layer.dy, (i, j, f)))
    gradient = float(layer.gradients["w"][index])
    return WorkedSum(named("dL/dw", index), "(2)", tuple(products), gradient)


def conv2d_input(layer: LayerTrace, index: tuple[int, ...]) -> WorkedSum:
    """kernels/conv2d.py (4) at dL/dx[h, v, c]; products with dy = 0 are left out."""
    h, v, c = index
    w, (S, PT, PL) = layer.parameters["w"], window_of(layer)[:3]
    products = []
    for a in range(w.shape[0]):
        for e in range(w.shape[1]):
            (i, row), (j, column) = divmod(h + PT - a, S), divmod(v + PL - e, S)
            whole = row == 0 and column == 0
            if whole and 0 <= i < layer.y.shape[0] and 0 <= j < layer.y.shape[1]:
                for f in range(w.shape[3]):
                    if layer.dy[i, j, f]:
                        products.append(_product("dy", layer.dy, (i, j, f), "w", w, (a, e, c, f)))
    return WorkedSum(named("dL/dx", index), "(4)", tuple(products), float(layer.dx[index]))


def dense_output(layer: LayerTrace, spot: tuple[int, ...]) -> WorkedSum:
    """kernels/dense.py (1) at y[u]; products with x = 0 are left out."""
    (u,) = spot
    w = layer.parameters["w"]
    products = tuple(
        _product("x", layer.x, (k,), "w", w, (k, u)) for k in range(len(w)) if layer.x[k]
    )
    bias = named("b", (u,)), float(layer.parameters["b"][u])
    return WorkedSum(named("y", spot), "(1)", products, float(layer.y[spot]), bias)


def dense_weight(layer: LayerTrace, index: tuple[int, ...]) -> WorkedSum:
    """kernels/dense.py (2) at dL/dw[k, u]: one product, for there is one image."""
    k, u = index
    product = _product("dy", layer.dy, (u,), "x", layer.x, (k,))
    return WorkedSum(named("dL/dw", index), "(2)", (product,), float(layer.gradients["w"][index]))


def dense_input(layer: LayerTrace, index: tuple[int, ...]) -> WorkedSum:
    """kernels/dense.py (4) at dL/dx[k]; products with dy = 0 are left out."""
    (k,) = index
    w = layer.parameters["w"]
    products = tuple(
        _product("dy", layer.dy, (u,), "w", w, (k, u)) for u in range(w.shape[1]) if layer.dy[u]
    )
    return WorkedSum(named("dL/dx", index), "(4)", products, float(layer.dx[index]))


def _product(
    left: str,
    left_array: np.ndarray,
    left_index: tuple[int, ...],
    right: str,
    right_array: np.ndarray,
    right_index: tuple[int, ...],
) -> Product:
    return Product(
        named(left, left_index),
        named(right, right_index),
        float(left_array[left_index]),
        float(right_array[right_index]),
    )


def conv2d_sums(layer: LayerTrace) -> tuple[WorkedSum, ...]:
    """y at the spot; dL/dw of the spot's filter and dL/dx where they are largest."""
    return (
        conv2d_output(layer, layer.spot),
        conv2d_weight(layer, _largest_weight(layer)),
        conv2d_input(layer, _largest(layer.dx)),
    )


def dense_sums(layer: LayerTrace) -> tuple[WorkedSum, ...]:
    """y at the spot; dL/dw of the spot's unit and dL/dx where they are largest."""
    return (
        dense_output(layer, layer.spot),
        dense_weight(layer, _largest_weight(layer)),
        dense_input(layer, _largest(layer.dx)),
    )


def _largest_weight(layer: LayerTrace) -> tuple[int, ...]:
    """Index of the largest |dL/dw| of the filter or unit of the spot."""
    k = layer.spot[-1]
    return (*_largest(layer.gradients["w"][..., k]), k)


def _largest(array: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(np.abs(array).argmax(), array.shape))
