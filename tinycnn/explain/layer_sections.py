"""One layer on the page: equations, single numbers by hand, pictures, the numeric gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..layers import Conv2D, Dense, MaxPool2D, ReLU
from ..plan import Step
from ..svg_charts import escape
from .formulas import Formula, Formulas, derivation, formulas_of
from .numeric import AGREES, DROWNED, KINK, Probe
from .pictures import bars, marked_plane, number, number_grid, picture, shades, sheet
from .trace import LayerTrace
from .worked import WorkedSum, geometry, named, worked_sums

MAX_CARDS = 64
"""Channels or units that are shown of one layer."""

CROP = 6
"""Rows and columns of numbers that are shown of a picture."""

N_PRODUCTS = 4
"""Products of a sum that are written out, largest first."""


def layer_section(layer: LayerTrace, probes: Sequence[Probe], ids: Sequence[str]) -> str:
    """The section of `layer`; ids: of all sections in order, for the links to the next ones."""
    name, formulas = layer.step.name, formulas_of(layer.step.layer)
    sums = worked_sums(layer) if layer.parameters else ()
    forward, backward = sums[:1], sums[1:]
    return (
        f'<section id="{name}">{heading(name, step_sense(layer.step), ids)}'
        f'<p class="sense">{formulas.sense}</p><p class="stats">{_stats(layer)}</p>'
        '<div class="two"><div class="forward"><h3>Forward</h3>'
        f"{formula_list(formulas.forward, formulas.where)}{_here(layer)}"
        f"{''.join(map(_worked, forward))}</div>"
        '<div class="backward"><h3>Backward</h3>'
        f"{formula_list(formulas.backward, formulas.where)}"
        f'<p class="here">dy is dL/dy, what the next layer handed back.</p>'
        f"{''.join(map(_worked, backward))}</div></div>"
        f"{_close_up(layer)}{_all(layer)}"
        f"{probe_table(probes, [f'{name}.{short}' for short in layer.parameters])}"
        f"{derivation_details(formulas)}</section>"
    )


# ---- words -----------------------------------------------------------------------------------


def heading(name: str, title: str, ids: Sequence[str]) -> str:
    at = list(ids).index(name)
    before = f'<a href="#{ids[at - 1]}">← {ids[at - 1]}</a>' if at else '<a href="#top">← top</a>'
    after = f'<a href="#{ids[at + 1]}">{ids[at + 1]} →</a>' if at + 1 < len(ids) else ""
    return (
        f'<div class="head"><h2>{escape(name)} <small>{title}</small></h2>'
        f'<span class="turn">{before} {after}</span></div>'
    )


def step_sense(step: Step) -> str:
    """What the layer is, in a few words."""
    layer = step.layer
    title = formulas_of(layer).title
    if isinstance(layer, Conv2D):
        KH, KW = layer.kernel_hw
        return f"{title} {KH}×{KW}, stride {layer.stride}, {layer.filters} filters"
    if isinstance(layer, MaxPool2D):
        return f"{title} {layer.size}×{layer.size}, stride {layer.stride}"
    if isinstance(layer, Dense):
        return f"{title}, {layer.units} units"
    return title


def shape_text(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape)


def _stats(layer: LayerTrace) -> str:
    parts = [f"x {shape_text(layer.x.shape)} → y {shape_text(layer.y.shape)}"]
    parts += [f"{short} {shape_text(w.shape)}" for short, w in layer.parameters.items()]
    for name, values in (("y", layer.y), ("dL/dy", layer.dy), ("dL/dx", layer.dx)):
        n_zeros = int((values == 0).sum())
        parts.append(f"{name}: {n_zeros:,} of {values.size:,} are 0")
    return " · ".join(parts)


def _here(layer: LayerTrace) -> str:
    """The letters of the equations as this layer has them."""
    kind = layer.step.layer
    if isinstance(kind, (Conv2D, MaxPool2D)):
        S, PT, PL = geometry(layer)
        OH, OW, F = layer.y.shape
        KH, KW = kind.kernel_hw if isinstance(kind, Conv2D) else (kind.size, kind.size)
        over = f"a &lt; {KH}, e &lt; {KW}"
        channels = (
            f"c &lt; {layer.x.shape[2]}, f &lt; {F}" if isinstance(kind, Conv2D) else f"c &lt; {F}"
        )
        outside = "count as 0" if isinstance(kind, Conv2D) else "take no part"
        return (
            f'<p class="here">Here S = {S}, PT = {PT}, PL = {PL}; {over}, {channels}; '
            f"i &lt; {OH}, j &lt; {OW}. Positions outside x {outside}.</p>"
        )
    if isinstance(kind, Dense):
        n, units = layer.parameters["w"].shape
        return f'<p class="here">Here k &lt; {n}, u &lt; {units}.</p>'
    return ""


def formula_list(formulas: Iterable[Formula], where: str) -> str:
    lines = []
    for formula in formulas:
        number_of = f' <small class="ref">{formula.number} in kernels/{where}.py</small>'
        lines.append(
            f'<p class="formula"><code>{formula.markup}</code>{number_of if formula.number else ""}'
            "</p>"
        )
    return "".join(lines)


def derivation_details(formulas: Formulas) -> str:
    text = derivation(formulas)
    if not text:
        return ""
    return (
        "<details><summary>The derivation, step by step, as it stands in the code</summary>"
        f"<pre>{escape(text)}</pre></details>"
    )


def _worked(one: WorkedSum) -> str:
    """The sum with its largest products written out."""
    ordered = sorted(one.products, key=lambda p: -abs(p.value))
    shown, rest = ordered[:N_PRODUCTS], ordered[N_PRODUCTS:]
    lines = []
    if one.bias:
        lines.append(f"<tr><td>{one.bias[0]}</td><td></td>{_n(one.bias[1])}</tr>")
    for product in shown:
        factors = f"{number(product.left_value)} · {number(product.right_value)}"
        lines.append(
            f"<tr><td>{product.left} · {product.right}</td>"
            f'<td class="n">{factors}</td>{_n(product.value)}</tr>'
        )
    if rest:
        total = sum(product.value for product in rest)
        lines.append(f"<tr><td>and {len(rest):,} more products</td><td></td>{_n(total)}</tr>")
    same = abs(one.total - one.engine) <= 1e-9 * max(abs(one.engine), 1e-300)
    mark = "✓ as the engine" if same else f"✗ the engine: {number(one.engine, 9)}"
    lines.append(f'<tr class="total"><td>{one.name}</td><td>{mark}</td>{_n(one.total, 6)}</tr>')
    return (
        f'<table class="worked"><caption>{one.name} by hand, equation {one.equation}</caption>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _n(value: float, n_digits: int = 4) -> str:
    return f'<td class="n">{number(value, n_digits)}</td>'


# ---- numbers and pictures --------------------------------------------------------------------


def _close_up(layer: LayerTrace) -> str:
    """The numbers round the spot."""
    kind = layer.step.layer
    if isinstance(kind, Conv2D):
        return _window(layer)
    if isinstance(kind, (ReLU, MaxPool2D)) and layer.y.ndim == 3:
        return _crops(layer)
    if layer.y.ndim == 1 and isinstance(kind, (ReLU, Dense)):
        return _vectors(layer)
    return ""


def _window(layer: LayerTrace) -> str:
    """The window of the spot: x, the filter, and their products, in the channel that adds most."""
    i, j, f = layer.spot
    S, PT, PL = geometry(layer)
    w = layer.parameters["w"][..., f]
    KH, KW, C = w.shape
    top, left = i * S - PT, j * S - PL
    rows = slice(max(top, 0), min(top + KH, layer.x.shape[0]))
    columns = slice(max(left, 0), min(left + KW, layer.x.shape[1]))
    x = layer.x[rows, columns]
    seen = w[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    products = x * seen
    c = int(np.abs(products.sum(axis=(0, 1))).argmax())
    taps = (rows.start - top, columns.start - left)
    channel = f", channel {c} of {C} (it adds most)" if C > 1 else ""
    share = number(products[..., c].sum())
    grids = (
        number_grid(x[..., c], (rows.start, columns.start), f"x, the window of y[{i},{j},{f}]"),
        number_grid(seen[..., c], taps, f"w, filter {f}"),
        number_grid(products[..., c], taps, f"x · w, sum {share}"),
    )
    return f'<h3>One window{channel}</h3><div class="row">{"".join(grids)}</div>'


def _crops(layer: LayerTrace) -> str:
    """x, y, dL/dy, dL/dx round the spot, in its channel; winners of a pooling are outlined."""
    i, j, c = layer.spot
    x, y, dx, dy = (v[:, :, c] for v in (layer.x, layer.y, layer.dx, layer.dy))
    if layer.winners is None:
        size, owners = CROP, set()
        rows, columns = _around(i, y.shape[0], size), _around(j, y.shape[1], size)
        x_rows, x_columns = rows, columns
    else:
        S, PT, PL = geometry(layer)
        K = layer.step.layer.size
        size = max(CROP // S, 1)
        rows, columns = _around(i, y.shape[0], size), _around(j, y.shape[1], size)
        x_rows = slice(max(rows.start * S - PT, 0), min((rows.stop - 1) * S - PT + K, x.shape[0]))
        x_columns = slice(
            max(columns.start * S - PL, 0), min((columns.stop - 1) * S - PL + K, x.shape[1])
        )
        owners = {divmod(int(p), x.shape[1]) for p in layer.winners[rows, columns, c].ravel()}

    def mark(row: int, column: int) -> str:
        if layer.winners is None:
            return "spot" if (row, column) == (i, j) else ""
        return "winner" if (row, column) in owners else ""

    spot = lambda row, column: "spot" if (row, column) == (i, j) else ""
    x_at, y_at = (x_rows.start, x_columns.start), (rows.start, columns.start)
    grids = (
        number_grid(x[x_rows, x_columns], x_at, "x, before", mark),
        number_grid(y[rows, columns], y_at, "y, after", spot),
        number_grid(dy[rows, columns], y_at, "dL/dy, comes back", spot),
        number_grid(dx[x_rows, x_columns], x_at, "dL/dx, goes on", mark),
    )
    title = f"Numbers of channel {c} round {named('y', layer.spot)}"
    if layer.winners is not None:
        title += "; each window’s winner is outlined"
    marked = ""
    if layer.winners is not None:
        planes = [
            (x, "x and its winners", number(float(np.abs(x).max()), 3)),
            (dx, "dL/dx: the winners’ alone", number(float(np.abs(dx).max()), 3)),
        ]
        marked = '<div class="row">' + "".join(
            f"<figure>{picture(marked_plane(plane, layer.winners[:, :, c]), alt, 400)}"
            f"<figcaption>{alt}, ±{largest}</figcaption></figure>"
            for plane, alt, largest in planes
        )
        marked += "</div>"
    return f'<h3>{title}</h3><div class="row">{"".join(grids)}</div>{marked}'


def _vectors(layer: LayerTrace) -> str:
    """Vectors as bars; of long ones the entries with the strongest gradient."""
    order = np.arange(len(layer.y))
    which = ""
    if len(order) > MAX_CARDS:
        order = np.sort(np.argsort(-np.abs(layer.dy), kind="stable")[: MAX_CARDS // 2])
        which = f", the {len(order)} of {len(layer.y)} with the strongest gradient"
    spot = list(order).index(layer.spot[0]) if layer.spot[0] in order else None
    names = [str(k) for k in order]
    columns = [("y", layer.y), ("dL/dy", layer.dy)]
    if isinstance(layer.step.layer, ReLU):
        columns = [("x", layer.x), ("y", layer.y), ("dL/dy", layer.dy), ("dL/dx", layer.dx)]
    tables = "".join(
        f"<div><h4>{title}</h4>{bars(values[order], names, spot)}</div>"
        for title, values in columns
    )
    return f'<h3>The vectors{which}</h3><div class="row even">{tables}</div>'


def _around(centre: int, size: int, n: int) -> slice:
    first = max(min(centre - n // 2, size - n), 0)
    return slice(first, min(first + n, size))


def _all(layer: LayerTrace) -> str:
    """A card for every channel of a picture, or for every unit of a dense layer."""
    kind = layer.step.layer
    if isinstance(kind, Dense):
        planes = {"w": _unit_planes(layer, "w"), "dL/dw": _unit_planes(layer, "dw")}
        names, columns = "units", {}
        vectors = {"y": layer.y, "dL/dy": layer.dy}
    elif layer.y.ndim == 3 and layer.x.ndim == 3:
        names, vectors = "channels", {}
        columns = {"y": layer.y, "dL/dy": layer.dy}
        planes = {}
        if isinstance(kind, Conv2D):
            names = "filters"
            w, dw = layer.parameters["w"], layer.gradients["w"]
            planes = {"w": _filter_planes(w), "dL/dw": _filter_planes(dw)}
        else:
            columns = {"x": layer.x, "y": layer.y, "dL/dx": layer.dx, "dL/dy": layer.dy}
    else:
        return ""
    n = len(layer.y) if layer.y.ndim == 1 else layer.y.shape[2]
    cards = []
    for k in range(min(n, MAX_CARDS)):
        figures = []
        for title, per_card in planes.items():
            figures.append(_figure(title, per_card[k]))
        for title, values in columns.items():
            figures.append(_figure(title, [values[:, :, k]]))
        numbers = "".join(
            f"<p>{title} {number(float(values[k]), 3)}</p>" for title, values in vectors.items()
        )
        class_ = "card spot" if k == layer.spot[-1] else "card"
        cards.append(
            f'<div class="{class_}"><b>{k}</b><div class="figures">{"".join(figures)}</div>'
            f"{numbers}</div>"
        )
    of = f"The first {len(cards)} of {n} {names}" if len(cards) < n else f"All {n} {names}"
    note = ""
    if isinstance(kind, Dense):
        note = (
            "<p>dL/dw is dy times x, row by row and unit by unit: where x is 0 or dy is 0 nothing "
            "is learned from this image.</p>"
        )
        if layer_is_folded(layer):
            note += "<p>Each unit’s weights are folded back into the channels of the picture.</p>"
    elif planes and layer.x.shape[2] > 1:
        note = f"<p>A filter’s {layer.x.shape[2]} channels stand side by side.</p>"
    return f'<h3>{of}</h3>{note}<div class="cards">{"".join(cards)}</div>'


def _figure(title: str, per_channel: Sequence[np.ndarray]) -> str:
    """Planes (H, W) on one scale as a figure with their largest |value| below it."""
    largest = max(float(np.abs(plane).max(initial=0.0)) for plane in per_channel)
    drawn = sheet([shades(plane, largest) for plane in per_channel])
    scale = f"±{number(largest, 3)}" if largest else "all 0"
    return f"<figure>{picture(drawn, title, 118)}<figcaption>{title} {scale}</figcaption></figure>"


def _filter_planes(w: np.ndarray) -> list[list[np.ndarray]]:
    return [[w[:, :, c, f] for c in range(w.shape[2])] for f in range(w.shape[3])]


def layer_is_folded(layer: LayerTrace) -> bool:
    """Whether the vector x of a dense layer is a flattened picture."""
    return layer.folded is not None


def _unit_planes(layer: LayerTrace, which: str) -> list[list[np.ndarray]]:
    w = layer.parameters["w"] if which == "w" else layer.gradients["w"]
    if layer.folded is None:
        n = len(w)
        width = next(k for k in range(int(np.sqrt(n)), 0, -1) if n % k == 0)
        return [[w[:, u].reshape(width, n // width)] for u in range(w.shape[1])]
    H, W, C = layer.folded
    return [
        [w[:, u].reshape(H, W, C)[:, :, c] for c in range(C)]
        for u in range(min(w.shape[1], MAX_CARDS))
    ]


# ---- the numeric gradient --------------------------------------------------------------------


def probe_table(probes: Sequence[Probe], tensors: Sequence[str]) -> str:
    """The sampled entries of `tensors`: both gradients side by side."""
    rows = []
    for probe in probes:
        if probe.tensor not in tensors:
            continue
        words = {AGREES: "✓", KINK: f"kink: {probe.n_switches or 0:,} switched", DROWNED: "drowned"}
        rows.append(
            f'<tr class="{probe.verdict}"><th>{escape(named(probe.tensor, probe.index))}</th>'
            f"{_n(probe.value)}{_n(probe.step, 1)}"
            f'<td class="n">{probe.loss_ahead:.12f}</td><td class="n">{probe.loss_behind:.12f}</td>'
            f"{_n(probe.numeric, 8)}{_n(probe.analytic, 8)}{_n(probe.relative_error, 2)}"
            f"<td>{words.get(probe.verdict, '✗ disagrees')}</td></tr>"
        )
    if not rows:
        return ""
    head = ["entry", "v", "h", "L(v+h)", "L(v−h)", "numeric", "analytic", "relative error", ""]
    cells = "".join(f'<th class="n">{title}</th>' for title in head[1:])
    return (
        '<h3>Numeric beside analytic</h3><table class="probes">'
        f"<thead><tr><th>{head[0]}</th>{cells}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
