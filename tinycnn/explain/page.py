"""The whole page: overview, image, the layers' sections, loss, checks, and the numbers as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import numpy as np

from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..ground.html_page import escape, html_page
from .explanation import Explanation
from .formulas import LOSS
from .layer_kinds import title_of
from .layer_sections import (
    BATCH_NORM_EQUATIONS,
    derivation_details,
    formula_list,
    heading,
    layer_section,
    probe_table,
    shape_text,
)
from .layer_trace import IMAGE, largest_at
from .numeric import CHANGE_OF_LOSS, RELATIVE_BOUND
from .pictures import around, bars, cell, grey_picture, number, number_grid, picture, shades
from .style import STYLE
from .worked import named

LOSS_ID, CHECKS = "loss", "checks"


def render_page(explanation: Explanation) -> str:
    """The page as HTML that is well-formed XML too: one file, without scripts that run."""
    trace = explanation.trace
    ids = [IMAGE, *(layer.step.name for layer in trace.layers), LOSS_ID, CHECKS]
    title = f"{explanation.image_name or 'An image'} under the microscope"
    links = "".join(f'<a href="#{name}">{name}</a>' for name in ids)
    body = [
        f'<nav class="bar"><a href="#top">overview</a>{links}</nav>',
        "<main>",
        _overview(explanation, title),
        _image(explanation, ids),
        *(
            layer_section(
                layer,
                trace.batch_norms.get(layer.step.name),
                explanation.probes,
                ids,
                explanation.windows.get(layer.step.name),
            )
            for layer in trace.layers
        ),
        _loss(explanation, ids),
        _checks(explanation, ids),
        f"<footer>Written by tinycnn {escape(__version__)}. All values are float64.</footer>",
        "</main>",
        f'<script type="application/json" id="numbers">{_json(explanation)}</script>',
    ]
    return html_page(title, STYLE, '<body id="top">\n' + "\n".join(body) + "\n</body>")


def write_page(path: str | os.PathLike, explanation: Explanation) -> None:
    """Write the page to `path`, whole or not at all.  Raises OSError where it cannot be written."""
    write_atomically(path, render_page(explanation))


def _json(explanation: Explanation) -> str:
    """The summary as JSON.  <, > and & are escaped, so that no text can end the script element."""
    text = json.dumps(explanation.summary(), ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _overview(explanation: Explanation, title: str) -> str:
    trace = explanation.trace
    classes = trace.network.classes
    label, predicted = (escape(classes[k]) for k in (trace.label, trace.predicted))
    is_predicted = trace.label == trace.predicted
    against = "the class that it predicts" if is_predicted else "a class that was chosen"
    notes = [escape(explanation.image_note)] if explanation.image_note else []
    notes += [f"{name.capitalize()} is left out, as in prediction." for name in trace.left_out]
    if trace.batch_norms:
        notes.append(
            "In prediction, a BatchNorm uses its running statistics: it is a scale and a shift of "
            f"each channel, {BATCH_NORM_EQUATIONS}. The page shows these layers, and the gradients "
            "of their scale and shift: "
            + ", ".join(f"{b.name} as {name}" for name, b in trace.batch_norms.items())
            + "."
        )
    if trace.calibration_temperature != 1:
        notes.append(
            f"predict_proba divides the logits by {number(trace.calibration_temperature)} "
            "(calibration); training and this page do not."
        )
    if 1 - trace.probs[trace.label] < 1e-3:
        notes.append(
            f"The network is so sure of {label} that almost no gradient is left; choose another "
            "label to see more."
        )
    model = f" by <b>{escape(explanation.model_name)}</b>" if explanation.model_name else ""
    picture_of = grey_picture(trace.image, "the image", 250)
    return (
        f'<header id="overview"><div class="hero"><div><h1>{escape(title)}</h1>'
        f"<p>Seen{model} as <b>{predicted}</b>, p = {number(trace.probs[trace.predicted])}. "
        f"The loss below is the cross-entropy for <b>{label}</b>, {against}: "
        f"L = {number(trace.loss, 6)}. Forward, each layer computes y from x; backward, it turns "
        "dL/dy into dL/dx and into the gradients of its parameters. There is one image, so the "
        "index n of the equations and the mean over n are left out.</p>"
        '<p class="legend"><i class="swatch below"></i> below 0 <i class="swatch none"></i> 0 '
        '<i class="swatch above"></i> above 0; the strongest colour of a picture is its largest '
        "|value|, written below it.</p>"
        + "".join(f'<p class="note">{note}</p>' for note in notes)
        + f'<p class="verdict">{_verdict(explanation)} {_compared(trace.kernel_differences)} The '
        "network’s own prediction differs from these logits by "
        f"{number(trace.float32_difference, 2)}.</p></div>"
        f"<div>{picture_of}</div></div>{_steps_table(explanation)}</header>"
    )


_NO_KERNELS = "The compiled kernels cannot be used here, so they were not compared."


def _compared(differences: Mapping[str, float]) -> str:
    """A sentence about the kernels, beside the reference that the page shows."""
    if not differences:
        return _NO_KERNELS
    worst = max(differences, key=differences.__getitem__)
    return (
        "The compiled kernels give the same as the NumPy reference shown here: their largest "
        f"difference is {number(differences[worst], 2)} of the largest value, in {escape(worst)}."
    )


def _verdict(explanation: Explanation) -> str:
    counts = explanation.summary()
    n, n_wrong = len(explanation.probes), counts["n_disagreeing"]
    also = "".join(
        f", {counts[name]} {words}"
        for name, words in (("n_kinks", "met a kink"), ("n_drowned", "drown in rounding"))
        if counts[name]
    )
    if n_wrong:
        return (
            f"✗ {n_wrong} of {n} sampled entries <b>disagree</b> with their numeric gradient{also}."
        )
    mark = "✓ " if counts["n_agreeing"] else ""
    return (
        f"{mark}{counts['n_agreeing']} of {n} sampled entries agree with their numeric "
        f"gradient{also}."
    )


def _steps_table(explanation: Explanation) -> str:
    rows = []
    for layer in explanation.trace.layers:
        step = layer.step
        rows.append(
            f'<tr><th><a href="#{step.name}">{step.name}</a></th><td>{title_of(step.layer)}</td>'
            f'<td class="n">{shape_text(step.output_shape)}</td>'
            f'<td class="n">{number(layer.y.min(), 3)} … {number(layer.y.max(), 3)}</td>'
            f'<td class="n">{_share(layer.y == 0)}</td>'
            f'<td class="n">{number(float(np.linalg.norm(layer.dy)), 3)}</td>'
            f'<td class="n">{_share(layer.dy == 0)}</td></tr>'
        )
    return (
        '<table class="steps"><thead><tr><th>layer</th><th></th><th class="n">shape of y</th>'
        '<th class="n">y from … to</th><th class="n">y = 0</th><th class="n">|dL/dy|</th>'
        f'<th class="n">dL/dy = 0</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _share(mask: np.ndarray) -> str:
    return f"{100 * mask.mean():.0f} %" if mask.any() else "none"


def _image(explanation: Explanation, ids: list[str]) -> str:
    trace = explanation.trace
    spec = trace.network.input_spec
    dx = trace.dx
    row, column, channel = largest_at(dx)
    at = around(row, dx.shape[0], 8), around(column, dx.shape[1], 8)
    mark = lambda r, c: "spot" if (r, c) == (row, column) else ""
    scaling = {
        "raw": "x = p: pixels 0…255 as they are",
        "unit": "x = p / 255",
        "standardized": "x = (p − mean) / max(std, 1/√n), mean and std of this image’s n values",
    }[spec.scaling]
    if spec.mean or spec.std:
        mean, std = (", ".join(map(number, row.tolist())) for row in spec.normalization())
        scaling += f"; then (x − m) / d for each channel, m = {mean}, d = {std}"
    gradient = picture(shades(dx[:, :, channel]), "dL/dx", 420)
    where = f"{row}, {column}" + (f", channel {channel}" if dx.shape[2] > 1 else "")
    return (
        f'<section id="{IMAGE}">{heading(IMAGE, "what goes in", ids)}'
        f'<p class="stats">{shape_text(dx.shape)}, {scaling}</p>'
        '<div class="two"><div class="forward"><h3>Forward: the pixels p</h3>'
        f"<figure>{grey_picture(trace.image, 'the image', 420)}</figure>"
        + number_grid(trace.image[:, :, channel], at, "p where the gradient is largest", mark)
        + '</div><div class="backward"><h3>Backward: dL/dx</h3>'
        f"<figure>{gradient}<figcaption>±{number(np.abs(dx).max(), 3)}</figcaption></figure>"
        + number_grid(dx[:, :, channel], at, f"dL/dx there, largest at {where}", mark)
        + "</div></div>"
        "<p>Red: a larger x there raises the loss; blue: it lowers the loss. Training does not use "
        "this gradient; it shows what the network looks at.</p>"
        f"{probe_table(explanation.probes, ['x'])}</section>"
    )


def _loss(explanation: Explanation, ids: list[str]) -> str:
    trace = explanation.trace
    classes = trace.network.classes
    largest = [float(np.abs(v).max()) for v in (trace.logits, trace.probs, trace.dlogits)]
    rows, spot = [], ' class="spot"'
    values = zip(classes, trace.logits.tolist(), trace.probs.tolist(), trace.dlogits.tolist())
    for k, (name, z, p, d) in enumerate(values):
        is_label = k == trace.label
        rows.append(
            f"<tr{spot if is_label else ''}>"
            f"<th>{escape(name)}</th>{cell(z, largest[0], number(z, 5))}"
            f"{cell(p, largest[1], number(p, 4))}<td>{int(is_label)}</td>"
            f"{cell(d, largest[2], number(d, 4))}</tr>"
        )
    return (
        f'<section id="{LOSS_ID}">{heading(LOSS_ID, LOSS.title, ids)}<p class="sense">{LOSS.sense}'
        '</p><div class="two"><div class="forward"><h3>Forward</h3>'
        + formula_list(LOSS, LOSS.forward)
        + f"<p>L = −log {number(trace.probs[trace.label], 6)} = <b>{number(trace.loss, 6)}</b></p>"
        f"{bars(trace.probs, classes, trace.label)}"
        '</div><div class="backward"><h3>Backward</h3>'
        + formula_list(LOSS, LOSS.backward)
        + "<p>1[…] is 1 where the condition holds, else 0. Each wrong logit is pushed down in "
        "proportion to its probability; the label’s is pulled up by what its probability lacks to "
        f"1. The sum is 0 (with rounding, {number(float(trace.dlogits.sum()), 1)}).</p>"
        f"{bars(trace.dlogits, classes, trace.label)}</div></div>"
        '<table class="classes"><thead><tr><th>class</th><th>logit z</th><th>p = softmax(z)</th>'
        f"<th>label</th><th>dL/dz = p − label</th></tr></thead><tbody>{''.join(rows)}</tbody>"
        f"</table>{derivation_details(LOSS)}</section>"
    )


def _checks(explanation: Explanation, ids: list[str]) -> str:
    trace, sweep = explanation.trace, explanation.sweep
    differences = "".join(
        f'<tr><th>{escape(name)}</th><td class="n">{number(value, 2)}</td></tr>'
        for name, value in trace.kernel_differences.items()
    )
    rows = []
    best = min(sweep, key=lambda probe: probe.relative_error)
    for probe in sweep:
        error = max(probe.relative_error, 1e-14)
        length = max(0.0, min(100.0, 100 * (14 + np.log10(error)) / 15))
        class_ = ' class="spot"' if probe is best else ""
        rows.append(
            f'<tr{class_}><th>{number(probe.step, 1)}</th><td class="n">{number(probe.numeric, 9)}'
            f'</td><td class="n">{number(probe.relative_error, 2)}</td>'
            f'<td class="length"><i class="error" style="left:0;width:{length:.1f}%"></i></td>'
            f'<td class="n">{probe.n_switches:,}</td></tr>'
        )
    return (
        f'<section id="{CHECKS}">{heading(CHECKS, "is the backward pass right?", ids)}'
        f'<p class="sense">{_verdict(explanation)}</p>'
        "<p>The numeric gradient does not use the backward pass: change one number v by +h and by "
        "−h, run forward twice, and take the slope <code>(L(v+h) − L(v−h)) / 2h</code>. With the "
        "step h, the entry of a tensor’s largest gradient changes the loss by about "
        f"{number(CHANGE_OF_LOSS, 1)} of it. Two gradients agree if they differ by at most "
        f"{number(RELATIVE_BOUND, 1)} of their size and what rounding explains. At a kink, a ReLU "
        "or a pooling winner switches between v−h and v+h, so the slope proves nothing. A gradient "
        "drowns in rounding where rounding may be a large part of it. The tables are in each "
        "layer’s section.</p>"
        f"<h3>Why this step? {named(sweep[0].tensor, sweep[0].index)} at every step</h3>"
        f"<p>The analytic gradient is <b>{number(sweep[0].analytic, 9)}</b>. A large step has "
        "errors from kinks and curvature, a small one from rounding: as h shrinks, the error "
        "first falls as h², then rises as 1/h. (Bars: logarithm of the error.)</p>"
        '<table class="sweep"><thead><tr><th>h</th><th class="n">numeric</th>'
        '<th class="n">relative error</th><th></th><th class="n">ReLUs and winners switched</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "<h3>Kernels against reference</h3>"
        + (
            "<p>The same image through the compiled kernels, in float64: the largest difference, "
            "as a part of the largest value.</p>"
            f'<table class="differences"><tbody>{differences}</tbody></table></section>'
            if differences
            else f"<p>{_NO_KERNELS}</p></section>"
        )
    )
