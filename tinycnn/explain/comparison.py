"""Several images on one page: what each layer makes of them, side by side.

In each layer's section, y of all images has one colour scale, and dL/dy of all images another, so
that equal colours are equal numbers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..ground.html_page import escape, html_page
from .explanation import Explanation
from .layer_kinds import explained, title_of
from .layer_pictures import MAX_CARDS
from .layer_sections import heading
from .layer_trace import IMAGE
from .pictures import bars, cell, grey_picture, number, picture, shades, sheet
from .style import STYLE

MAX_IMAGES = 6
"""Most images on one page."""


def render_comparison(explanations: Sequence[Explanation]) -> str:
    """The page as HTML that is well-formed XML too, without scripts.

    explanations: of 2 to MAX_IMAGES images, by one network.  Raises ValueError for other numbers,
    and for explanations of networks with different layers or classes.
    """
    if not 2 <= len(explanations) <= MAX_IMAGES:
        raise ValueError(f"expected 2 to {MAX_IMAGES} images, found {len(explanations)}")
    first = explanations[0].trace
    for other in explanations[1:]:
        same_plan = other.trace.network.plan.steps == first.network.plan.steps
        if not same_plan or other.trace.network.classes != first.network.classes:
            raise ValueError("the images were explained by networks of different layers or classes")
    ids = [IMAGE, *(layer.step.name for layer in first.layers)]
    links = "".join(f'<a href="#{name}">{name}</a>' for name in ids)
    title = f"{len(explanations)} images side by side"
    body = [
        f'<nav class="bar"><a href="#top">overview</a>{links}</nav>',
        "<main>",
        _overview(explanations, title),
        _images(explanations, ids),
        *(_layer(explanations, k, ids) for k in range(len(first.layers))),
        f"<footer>Written by tinycnn {escape(__version__)}. All values are float64.</footer>",
        "</main>",
    ]
    return html_page(title, STYLE, '<body id="top">\n' + "\n".join(body) + "\n</body>")


def write_comparison(path: str | os.PathLike, explanations: Sequence[Explanation]) -> None:
    """Write the page to `path`, whole or not at all.  Raises OSError where it cannot be written,
    ValueError as `render_comparison`."""
    write_atomically(path, render_comparison(explanations))


def _overview(explanations: Sequence[Explanation], title: str) -> str:
    model = escape(explanations[0].model_name)
    notes = [
        f'<p class="note">{escape(one.image_name)}: {escape(one.image_note)}</p>'
        for one in explanations
        if one.image_note
    ]
    classes = explanations[0].trace.network.classes
    head = "".join(f"<th>{escape(one.image_name)}</th>" for one in explanations)
    rows = []
    for k, name in enumerate(classes):
        cells = "".join(
            cell(float(one.trace.probs[k]), 1.0, number(float(one.trace.probs[k])))
            for one in explanations
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    losses = "".join(
        f"<td>{number(one.trace.loss)} for {escape(classes[one.trace.label])}</td>"
        for one in explanations
    )
    checks = "".join(f"<td>{_checked(one)}</td>" for one in explanations)
    return (
        f'<header id="overview"><h1>{escape(title)}</h1>'
        f"<p>What {f'<b>{model}</b>' if model else 'the network'} makes of each image, layer by "
        "layer. In each section, y of all images has one colour scale, and dL/dy of all images "
        "another: equal colours are equal numbers. To see the equations and every number, explain "
        "an image alone.</p>"
        '<p class="legend"><i class="swatch below"></i> below 0 <i class="swatch none"></i> 0 '
        '<i class="swatch above"></i> above 0; the strongest colour is the largest |value| of all '
        "images, written in the heading.</p>"
        f'{"".join(notes)}<table class="classes"><thead><tr><th>probability</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}<tr><th>loss L</th>{losses}</tr>"
        f"<tr><th>sampled gradients</th>{checks}</tr></tbody></table></header>"
    )


def _checked(explanation: Explanation) -> str:
    n_wrong = explanation.summary()["n_disagreeing"]
    return f"✗ {n_wrong} disagree" if n_wrong else "✓ none disagrees"


def _images(explanations: Sequence[Explanation], ids: Sequence[str]) -> str:
    drawn = [
        f"<h4>{escape(one.image_name)}</h4>{grey_picture(one.trace.image, 'the image', 250)}"
        for one in explanations
    ]
    gradients = _side_by_side([one.trace.dx for one in explanations], "dL/dx", None)
    return (
        f'<section id="{IMAGE}">{heading(IMAGE, "what goes in", ids)}'
        f"{_row(drawn)}{gradients}</section>"
    )


def _layer(explanations: Sequence[Explanation], k: int, ids: Sequence[str]) -> str:
    layers = [one.trace.layers[k] for one in explanations]
    step = layers[0].step
    order = None
    if layers[0].y.ndim == 1 and len(layers[0].y) > MAX_CARDS:  # the same units of every image
        strongest = np.max([np.abs(layer.y) for layer in layers], axis=0)
        order = np.sort(np.argsort(-strongest, kind="stable")[: MAX_CARDS // 2])
    return (
        f'<section id="{step.name}">{heading(step.name, title_of(step.layer), ids)}'
        f'<p class="sense">{explained(step.layer).formulas.sense}</p>'
        f"{_side_by_side([layer.y for layer in layers], 'y', order)}"
        f"{_side_by_side([layer.dy for layer in layers], 'dL/dy', order)}</section>"
    )


def _side_by_side(arrays: Sequence[np.ndarray], title: str, order: np.ndarray | None) -> str:
    """Arrays of one shape, (H, W, C) or (units,), one of each image, on one colour scale.

    order: the units that are shown; None: all
    """
    largest = max(float(np.abs(array).max(initial=0.0)) for array in arrays)
    scale = f"±{number(largest, 3)}" if largest else "all 0"
    n = arrays[0].shape[-1]
    which = ""
    if arrays[0].ndim == 3:
        if n > MAX_CARDS:
            which = f", the first {MAX_CARDS} of {n} channels"
        drawn = [
            picture(sheet(shades(array[..., :MAX_CARDS], largest)), title, 250) for array in arrays
        ]
    else:
        units = np.arange(n) if order is None else order
        if order is not None:
            which = f", the {len(order)} of {n} units with the largest |y|"
        names = [str(unit) for unit in units]
        drawn = [bars(array[units], names, largest=largest) for array in arrays]
    return f"<h3>{title}, {scale}{which}</h3>{_row(drawn)}"


def _row(parts: Sequence[str]) -> str:
    return f'<div class="row even">{"".join(f"<div>{part}</div>" for part in parts)}</div>'
