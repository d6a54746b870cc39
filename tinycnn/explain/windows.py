"""One window of a convolution and one of a max-pooling, step by step.

Which windows: those of the first convolution and of the first max-pooling where y is largest in
filter (channel) 0, the first such place in the order of rows; or those that the user names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..layers import Conv2D, DepthwiseConv2D, MaxPool2D
from .layer_trace import LayerTrace, Spot
from .pictures import number, number_grid
from .worked import named, weights_of_filter

KINDS = ((Conv2D, DepthwiseConv2D), (MaxPool2D,))

MAX_CHANNELS = 8
"""Most channels of a convolution's window that are shown as numbers."""


def chosen_windows(layers: Sequence[LayerTrace], given: Mapping[str, Spot]) -> dict[str, Spot]:
    """Layer name -> the index (row, column, filter) into y of the window that is shown.

    given  what the user names, in place of the module's rule for layers of that kind
    Raises ValueError for a layer that is no convolution or max-pooling, or an index outside y.
    """
    chosen: dict[str, Spot] = {}
    known: dict[str, LayerTrace] = {}
    for kind in KINDS:
        of_kind = {one.step.name: one for one in layers if isinstance(one.step.layer, kind)}
        known |= of_kind
        if of_kind and not of_kind.keys() & given.keys():
            name, layer = next(iter(of_kind.items()))
            plane = layer.y[:, :, 0]
            row, column = divmod(int(plane.argmax()), plane.shape[1])
            chosen[name] = (row, column, 0)
    for name, spot in given.items():
        if name not in known:
            expected = f"expected one of {', '.join(known)}" if known else "the network has none"
            raise ValueError(f"window of {name}: not a convolution or max-pooling; {expected}")
        shape = known[name].y.shape
        if len(spot) != 3 or not all(0 <= k < n for k, n in zip(spot, shape)):
            raise ValueError(
                f"window of {name} at {','.join(map(str, spot))}: expected row, column and filter "
                f"from 0 to {', '.join(str(n - 1) for n in shape)}"
            )
        chosen[name] = (spot[0], spot[1], spot[2])
    return chosen


def step_through(layer: LayerTrace, spot: Spot) -> str:
    """The window of y[spot] as HTML: its numbers, and how y comes from them."""
    if isinstance(layer.step.layer, MaxPool2D):
        return _maximum(layer, spot)
    return _weighted_sum(layer, spot)


def _inside(layer: LayerTrace, spot: Spot) -> tuple[slice, slice]:
    """(rows, columns) of x in the window; positions in the padding are left out."""
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    top, left = spot[0] * SH - PT, spot[1] * SW - PL
    H, W, _ = layer.x.shape
    return (
        slice(min(max(top, 0), H), max(min(top + KH, H), 0)),
        slice(min(max(left, 0), W), max(min(left + KW, W), 0)),
    )


def _weighted_sum(layer: LayerTrace, spot: Spot) -> str:
    i, j, f = spot
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    at = _inside(layer, spot)
    top, left = i * SH - PT, j * SW - PL
    rows_of_w = slice(at[0].start - top, at[0].stop - top)
    columns_of_w = slice(at[1].start - left, at[1].stop - left)
    filters = {c: layer.parameters["w"][:, :, k, m] for c, (k, m) in weights_of_filter(layer, f)}
    x = {c: layer.x[:, :, c][at] for c in filters}
    w = {c: plane[rows_of_w, columns_of_w] for c, plane in filters.items()}
    sums = {c: float((x[c] * w[c]).sum()) for c in x}
    shown = sorted(sorted(sums, key=lambda c: -abs(sums[c]))[:MAX_CHANNELS])
    grids, rows = [], []
    for c in shown if x[shown[0]].size else []:
        products = np.zeros((at[0].stop, at[1].stop))
        products[at] = x[c] * w[c]
        grids.append(
            f'<div class="row">{number_grid(layer.x[:, :, c], at, f"x, channel {c}")}'
            f"{number_grid(filters[c], (rows_of_w, columns_of_w), 'w')}"
            f"{number_grid(products, at, 'x · w')}</div>"
        )
    for c in shown:
        rows.append((f"the {x[c].size} products of channel {c}", sums[c]))
    others = [sums[c] for c in sums if c not in shown]
    if others:
        rows.append((f"the products of the {len(others)} other channels", sum(others)))
    bias = layer.parameters.get("b")
    if bias is not None:
        rows.append((named("b", (f,)), float(bias[f])))
    n_outside = KH * KW - x[shown[0]].size
    outside = f" {n_outside} of its {KH * KW} positions are padding: 0." if n_outside else ""
    return (
        f"<h3>Step by step: {named('y', spot)}</h3><p>The filter {f} lies on the window whose "
        f"corner is at row {top}, column {left} of x.{outside} Each number of the window is "
        "multiplied by the weight at its place; y is the sum of the products"
        f"{'' if bias is None else ' and of the bias'}.</p>"
        f"{''.join(grids)}{_sum_table(layer, spot, rows)}"
    )


def _sum_table(layer: LayerTrace, spot: Spot, rows: Sequence[tuple[str, float]]) -> str:
    total, y = sum(value for _, value in rows), float(layer.y[spot])
    scale = max(abs(y), *(abs(value) for _, value in rows))
    mark = "✓ same as the engine" if abs(total - y) <= 1e-9 * scale else f"✗ {number(y, 9)}"
    lines = "".join(
        f'<tr><td>{name}</td><td></td><td class="n">{number(value, 9)}</td></tr>'
        for name, value in rows
    )
    return (
        f'<table class="worked"><tbody>{lines}<tr class="total"><td>{named("y", spot)}</td>'
        f'<td>{mark}</td><td class="n">{number(total, 9)}</td></tr></tbody></table>'
    )


def _maximum(layer: LayerTrace, spot: Spot) -> str:
    c = spot[2]
    rows, columns = at = _inside(layer, spot)
    window = layer.x[rows, columns, c]
    row, column = divmod(int(window.argmax()), window.shape[1])
    winner = (row + rows.start, column + columns.start)
    mark = lambda h, v: "winner" if (h, v) == winner else ""
    value, y = float(window.max()), float(layer.y[spot])
    same = "✓ same as the engine" if value == y else f"✗ the engine has {number(y, 9)}"
    grid = number_grid(layer.x[:, :, c], at, f"x, channel {c}; the winner is outlined", mark)
    return (
        f"<h3>Step by step: {named('y', spot)}</h3><p>The window has {window.size} numbers. The "
        f"largest is {named('x', (*winner, c))}: {named('y', spot)} = {number(value, 9)} ({same}). "
        f"Backward, it alone gets {named('dL/dy', spot)} = {number(float(layer.dy[spot]), 6)}; the "
        f'others get 0 from this window.</p><div class="row">{grid}</div>'
    )
