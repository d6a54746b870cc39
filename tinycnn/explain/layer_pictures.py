"""One layer as pictures and numbers, in HTML: a close-up of the spot, and a card for every channel
or unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .layer_trace import LayerTrace
from .pictures import around, bars, marked_plane, number, number_grid, picture, shades, sheet
from .worked import named, weights_of_filter

MAX_CARDS = 64
"""Most channels or units of a layer that get a card."""

CROP = 6
"""Rows and columns of a picture that are shown as numbers."""


# ---- close-ups -------------------------------------------------------------------------------


def window_close_up(layer: LayerTrace) -> str:
    """The window that y's spot is computed from: x, the filter and their products, in the channel
    whose products have the largest sum."""
    i, j, f = layer.spot
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    H, W, C = layer.x.shape
    channels, at_w = zip(*weights_of_filter(layer, f))
    x = layer.x[..., list(channels)]
    w = np.stack([layer.parameters["w"][:, :, c, k] for c, k in at_w], axis=2)
    top, left = i * SH - PT, j * SW - PL
    at = _overlap(top, KH, H), _overlap(left, KW, W)
    taps = slice(at[0].start - top, at[0].stop - top), slice(at[1].start - left, at[1].stop - left)
    products = np.zeros_like(w)
    products[taps] = x[at] * w[taps]
    c = int(np.abs(products.sum(axis=(0, 1))).argmax())
    adds_most = " (it adds most)" if len(channels) > 1 else ""
    channel = f", channel {channels[c]} of {C}{adds_most}" if C > 1 else ""
    share = number(products[..., c].sum())
    grids = (
        number_grid(x[..., c], at, f"x, the window of y[{i},{j},{f}]"),
        number_grid(w[..., c], taps, f"w, filter {f}"),
        number_grid(products[..., c], taps, f"x · w, sum {share}"),
    )
    return f'<h3>One window{channel}</h3><div class="row">{"".join(grids)}</div>'


def _overlap(start: int, length: int, size: int) -> slice:
    """The part of range(start, start + length) inside range(size); a window may have none."""
    return slice(min(max(start, 0), size), max(min(start + length, size), 0))


def activation_close_up(layer: LayerTrace) -> str:
    """Numbers around the spot, before and after; of a vector the strongest entries."""
    if layer.y.ndim == 1:
        return vectors(layer, ("x", "y", "dL/dy", "dL/dx"))
    i, j, _ = layer.spot
    H, W, _ = layer.y.shape
    at = (around(i, H, CROP), around(j, W, CROP))
    return _crops(layer, at, at, _spot_mark(layer))


def add_close_up(layer: LayerTrace) -> str:
    """Numbers of both inputs and of their sum around the spot; of a vector the strongest
    entries."""
    if layer.y.ndim == 1:
        return vectors(layer, ("x", "x2", "y", "dL/dy"))
    i, j, c = layer.spot
    H, W, _ = layer.y.shape
    at = (around(i, H, CROP), around(j, W, CROP))
    captions = {"x": "x", "x2": "x2", "y": "y, the sum", "dL/dy": "dL/dy, goes on to both"}
    grids = "".join(
        number_grid(layer.arrays[title][:, :, c], at, caption, _spot_mark(layer))
        for title, caption in captions.items()
    )
    title = f"Numbers of channel {c} around {named('y', layer.spot)}"
    return f'<h3>{title}</h3><div class="row">{grids}</div>'


def pooling_close_up(layer: LayerTrace) -> str:
    """Numbers around the spot with each window's winner outlined, and the channel as a picture."""
    c = layer.spot[2]
    x, dx = layer.x[:, :, c], layer.dx[:, :, c]
    assert layer.kept is not None
    rows, columns = y_at = _around_spot(layer)
    winners = {divmod(int(p), x.shape[1]) for p in layer.kept[rows, columns, c].ravel()}
    mark = lambda row, column: "winner" if (row, column) in winners else ""
    x_at = _pixels_of(layer, y_at)
    grids = _crops(layer, x_at, y_at, mark, "; each window’s winner is outlined")
    figures = "".join(
        f"<figure>{picture(marked_plane(plane, layer.kept[:, :, c]), alt, 400)}"
        f"<figcaption>{alt}, ±{number(float(np.abs(plane).max()), 3)}</figcaption></figure>"
        for plane, alt in ((x, "x and its winners"), (dx, "dL/dx: the winners’ alone"))
    )
    return f'{grids}<div class="row">{figures}</div>'


def average_close_up(layer: LayerTrace) -> str:
    """Numbers around the spot, with the pixels of its window outlined."""
    i, j, _ = layer.spot
    y_at = _around_spot(layer)
    rows, columns = _pixels_of(layer, (slice(i, i + 1), slice(j, j + 1)))
    inside = lambda h, v: rows.start <= h < rows.stop and columns.start <= v < columns.stop
    mark = lambda row, column: "winner" if inside(row, column) else ""
    return _crops(layer, _pixels_of(layer, y_at), y_at, mark, "; its window is outlined")


def _around_spot(layer: LayerTrace) -> tuple[slice, slice]:
    """(rows, columns) of a pooling's y around the spot, whose windows have about CROP pixels."""
    i, j, _ = layer.spot
    OH, OW, _ = layer.y.shape
    _, _, SH, SW, *_ = layer.step.window
    return around(i, OH, max(CROP // SH, 1)), around(j, OW, max(CROP // SW, 1))


def _pixels_of(layer: LayerTrace, y_at: tuple[slice, slice]) -> tuple[slice, slice]:
    """(rows, columns) of x that a part of a pooling's y is computed from."""
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    H, W, _ = layer.x.shape
    rows, columns = y_at
    return (
        slice(max(rows.start * SH - PT, 0), min((rows.stop - 1) * SH - PT + KH, H)),
        slice(max(columns.start * SW - PL, 0), min((columns.stop - 1) * SW - PL + KW, W)),
    )


def _spot_mark(layer: LayerTrace) -> Callable[[int, int], str]:
    return lambda row, column: "spot" if (row, column) == layer.spot[:2] else ""


def _crops(
    layer: LayerTrace,
    x_at: tuple[slice, slice],
    y_at: tuple[slice, slice],
    mark_x: Callable[[int, int], str],
    remark: str = "",
) -> str:
    """Parts of x, y, dL/dy and dL/dx as numbers, in the channel of the spot.

    x_at, y_at: (rows, columns) of the parts;  mark_x: CSS class of an entry of x, by row and column
    """
    x, y, dx, dy = (v[:, :, layer.spot[2]] for v in (layer.x, layer.y, layer.dx, layer.dy))
    mark_y = _spot_mark(layer)
    grids = (
        number_grid(x, x_at, "x, before", mark_x),
        number_grid(y, y_at, "y, after", mark_y),
        number_grid(dy, y_at, "dL/dy, comes back", mark_y),
        number_grid(dx, x_at, "dL/dx, goes on", mark_x),
    )
    title = f"Numbers of channel {layer.spot[2]} around {named('y', layer.spot)}{remark}"
    return f'<h3>{title}</h3><div class="row">{"".join(grids)}</div>'


def vectors(layer: LayerTrace, titles: Sequence[str]) -> str:
    """The vectors of these titles as bars; of long vectors the entries with the largest |dL/dy|."""
    order = np.arange(len(layer.y))
    which = ""
    if len(order) > MAX_CARDS:
        order = np.sort(np.argsort(-np.abs(layer.dy), kind="stable")[: MAX_CARDS // 2])
        which = f", the {len(order)} of {len(layer.y)} with the strongest gradient"
    shown = order.tolist()
    spot = shown.index(layer.spot[0]) if layer.spot[0] in shown else None
    names = [str(k) for k in shown]
    tables = "".join(
        f"<div><h4>{title}</h4>{bars(layer.arrays[title][order], names, spot)}</div>"
        for title in titles
    )
    return f'<h3>The vectors{which}</h3><div class="row even">{tables}</div>'


# ---- cards -----------------------------------------------------------------------------------


def filter_cards(layer: LayerTrace) -> str:
    """A card for each filter of a convolution: w, y and their gradients."""
    F = layer.y.shape[2]
    weights = {"w": layer.parameters["w"], "dL/dw": layer.gradients["w"]}
    # w is (KH, KW, C, F); depthwise, it is (KH, KW, C, D), and a filter has one channel
    figures = {title: w.reshape(*w.shape[:2], -1, F) for title, w in weights.items()}
    C = figures["w"].shape[2]
    figures |= {"y": layer.y[:, :, None], "dL/dy": layer.dy[:, :, None]}
    note = f"<p>A filter’s {C} channels are shown side by side.</p>" if C > 1 else ""
    return _cards(layer, "filters", figures, note=note)


def channel_cards(layer: LayerTrace, titles: Sequence[str] = ("x", "y", "dL/dx", "dL/dy")) -> str:
    """A card for each channel of a picture: x, y and their gradients; "" for a vector."""
    if layer.y.ndim == 1:
        return ""
    return _cards(layer, "channels", {title: layer.arrays[title][:, :, None] for title in titles})


def averaged_cards(layer: LayerTrace) -> str:
    """A card for each channel of a global average: x, its gradient, and the numbers y and dL/dy."""
    figures = {title: layer.arrays[title][:, :, None] for title in ("x", "dL/dx")}
    return _cards(layer, "channels", figures, {"y": layer.y, "dL/dy": layer.dy})


def unit_cards(layer: LayerTrace) -> str:
    """A card for each unit of a dense layer: its weights as pictures, y, and their gradients."""
    note = (
        "<p>dL/dw[k,u] is x[k] times dy[u]: a weight whose x or dy is 0 learns nothing from this "
        "image.</p>"
    )
    if layer.folded is not None:
        note += "<p>Each unit’s weights are shown as channels of the flattened picture.</p>"
        shape = layer.folded
    else:  # nearly square
        n = len(layer.x)
        height = next(k for k in range(int(np.sqrt(n)), 0, -1) if n % k == 0)
        shape = (height, n // height, 1)
    weights = {"w": layer.parameters["w"], "dL/dw": layer.gradients["w"]}
    figures = {title: w.reshape(*shape, -1) for title, w in weights.items()}
    return _cards(layer, "units", figures, {"y": layer.y, "dL/dy": layer.dy}, note)


def _cards(
    layer: LayerTrace,
    names: str,
    figures: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray] | None = None,
    note: str = "",
) -> str:
    """One card for each channel or unit, up to MAX_CARDS, with figures and numbers by their titles.

    names: what the cards are, such as "filters";  figures: arrays (H, W, planes side by side, card)
    """
    n = layer.y.shape[-1]
    cards = []
    for k in range(min(n, MAX_CARDS)):
        drawn = "".join(_figure(title, planes[..., k]) for title, planes in figures.items())
        lines = "".join(
            f"<p>{title} {number(float(values[k]), 3)}</p>"
            for title, values in (numbers or {}).items()
        )
        class_ = "card spot" if k == layer.spot[-1] else "card"
        cards.append(
            f'<div class="{class_}"><b>{k}</b><div class="figures">{drawn}</div>{lines}</div>'
        )
    of = f"The first {len(cards)} of {n} {names}" if len(cards) < n else f"All {n} {names}"
    return f'<h3>{of}</h3>{note}<div class="cards">{"".join(cards)}</div>'


def _figure(title: str, planes: np.ndarray) -> str:
    """n planes (H, W, n) in one figure and on one colour scale, their largest |value| below."""
    largest = float(np.abs(planes).max(initial=0.0))
    drawn = sheet(shades(planes, largest))
    scale = f"±{number(largest, 3)}" if largest else "all 0"
    return f"<figure>{picture(drawn, title, 118)}<figcaption>{title} {scale}</figcaption></figure>"
