"""One layer's section of the page: equations, worked sums, pictures, numeric gradients."""

from __future__ import annotations

from collections.abc import Sequence

from ..ground.html_page import escape
from .formulas import Formula, Formulas, derivation
from .layer_kinds import explained, title_of
from .layer_trace import IMAGE, LayerTrace, Spot
from .numeric import AGREES, DROWNED, KINK, Probe
from .pictures import number
from .prediction_network import FixedBatchNorm
from .windows import step_through
from .worked import WorkedSum, named

N_PRODUCTS = 4
"""How many products of a sum are written out, largest first."""

BATCH_NORM_EQUATIONS = (
    "<code>scale = gamma / √(running_var + epsilon)</code>, "
    "<code>shift = beta − running_mean · scale</code>"
)
"""Equation (1) of folding.py."""


def layer_section(
    layer: LayerTrace,
    batch_norm: FixedBatchNorm | None,
    probes: Sequence[Probe],
    ids: Sequence[str],
    window: Spot | None,
) -> str:
    """The section of `layer`.

    batch_norm  what it stands for, if that is a BatchNorm
    ids         of all sections in their order, for links to the neighbours
    window      index into y of the window that is shown step by step, if there is one
    """
    name, entry = layer.step.name, explained(layer.step.layer)
    formulas, sums, letters = entry.formulas, entry.sums(layer), entry.letters(layer)
    forward, backward = sums[:1], sums[1:]
    here = f'<p class="here">Here {letters}</p>' if letters else ""
    return (
        f'<section id="{name}">{heading(name, title_of(layer.step.layer), ids)}'
        f'<p class="sense">{formulas.sense}</p><p class="stats">{_stats(layer)}</p>'
        f"{_sources(layer, ids)}{_stands_for(layer, batch_norm)}"
        '<div class="two"><div class="forward"><h3>Forward</h3>'
        f"{formula_list(formulas, formulas.forward)}{here}"
        f"{''.join(map(_worked, forward))}</div>"
        '<div class="backward"><h3>Backward</h3>'
        f"{formula_list(formulas, formulas.backward)}"
        f'<p class="here">{_origin_of_dy(layer)}</p>'
        f"{''.join(map(_worked, backward))}</div></div>"
        f"{entry.close_up(layer)}{step_through(layer, window) if window else ''}"
        f"{entry.cards(layer)}"
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


def shape_text(shape: Sequence[int]) -> str:
    return "×".join(str(size) for size in shape)


def _stats(layer: LayerTrace) -> str:
    parts = [f"x {shape_text(layer.x.shape)} → y {shape_text(layer.y.shape)}"]
    parts += [f"{short} {shape_text(w.shape)}" for short, w in layer.parameters.items()]
    for name, values in (("y", layer.y), ("dL/dy", layer.dy), ("dL/dx", layer.dx)):
        n_zeros = int((values == 0).sum())
        parts.append(f"{name}: {n_zeros:,} of {values.size:,} are 0")
    return " · ".join(parts)


def _sources(layer: LayerTrace, ids: Sequence[str]) -> str:
    """Where x and x2 come from; "" where x is the y of the section before."""
    if layer.sources == (ids[list(ids).index(layer.step.name) - 1],):
        return ""
    parts = [
        f"{x} is {'the scaled image' if name == IMAGE else f'y of {_link(name)}'}"
        for x, name in zip(("x", "x2"), layer.sources)
    ]
    return f'<p class="here">{", ".join(parts)}.</p>'


def _link(name: str) -> str:
    return f'<a href="#{name}">{escape(name)}</a>'


def _stands_for(layer: LayerTrace, batch_norm: FixedBatchNorm | None) -> str:
    """The BatchNorm that the layer stands for, with the numbers of the spot's channel."""
    if batch_norm is None:
        return ""
    c = layer.spot[-1]
    values = [
        f"{name}[{c}] = {number(float(array[c]))}"
        for name, array in (*batch_norm.arrays.items(), *layer.parameters.items())
    ]
    return (
        f'<p class="here">This is {escape(batch_norm.name)}, a BatchNorm, as it is in prediction: '
        f"{BATCH_NORM_EQUATIONS}, with epsilon = {number(batch_norm.layer.epsilon)}. "
        f"In channel {c}: {', '.join(values)}.</p>"
    )


def _origin_of_dy(layer: LayerTrace) -> str:
    if len(layer.dy_parts) < 2:
        return "dy is dL/dy, the gradient that the next layer passes back."
    numbers = " + ".join(f"({number(float(part[layer.spot]))})" for part in layer.dy_parts.values())
    return (
        "dy is dL/dy. y is used more than once, so dy is a sum: "
        f"{' + '.join(map(escape, layer.dy_parts))}. At the spot: "
        f"{named('dy', layer.spot)} = {numbers} = {number(float(layer.dy[layer.spot]))}."
    )


def formula_list(formulas: Formulas, some: Sequence[Formula]) -> str:
    """Some of the formulas, each with its number in the file where it is derived."""
    lines = []
    for formula in some:
        ref = f' <small class="ref">{formula.number} in {formulas.where}</small>'
        lines.append(
            f'<p class="formula"><code>{formula.markup}</code>{ref if formula.number else ""}</p>'
        )
    return "".join(lines)


def derivation_details(formulas: Formulas) -> str:
    text = derivation(formulas)
    if not text:
        return ""
    return (
        "<details><summary>The derivation, step by step, from the source code</summary>"
        f"<pre>{escape(text)}</pre></details>"
    )


def _worked(one: WorkedSum) -> str:
    """The sum as a table, with its largest products written out."""
    ordered = sorted(one.products, key=lambda p: -abs(p.value))
    shown, rest = ordered[:N_PRODUCTS], ordered[N_PRODUCTS:]
    lines = []
    for term in one.terms:
        lines.append(f"<tr><td>{term.name}</td><td></td>{_n(term.value)}</tr>")
    for product in shown:
        left, right = product
        factors = f"{number(left.value)} · {number(right.value)}"
        lines.append(
            f"<tr><td>{left.name} · {right.name}</td>"
            f'<td class="n">{factors}</td>{_n(product.value)}</tr>'
        )
    if rest:
        total = sum(product.value for product in rest)
        lines.append(f"<tr><td>and {len(rest):,} more products</td><td></td>{_n(total)}</tr>")
    name, engine = one.result
    same = abs(one.total - engine) <= 1e-9 * max(abs(engine), 1e-300)
    mark = "✓ same as the engine" if same else f"✗ the engine has {number(engine, 9)}"
    lines.append(f'<tr class="total"><td>{name}</td><td>{mark}</td>{_n(one.total, 6)}</tr>')
    return (
        f'<table class="worked"><caption>{name} by hand, equation {one.equation}</caption>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _n(value: float, n_digits: int = 4) -> str:
    return f'<td class="n">{number(value, n_digits)}</td>'


# ---- the numeric gradient --------------------------------------------------------------------


def probe_table(probes: Sequence[Probe], tensors: Sequence[str]) -> str:
    """The sampled entries of `tensors`, with both gradients; "" if there are none."""
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
