"""The sections of a training report; page.py puts them on a page.

A section is a function that takes the report and returns markup, '' if there is nothing to show.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import metrics
from ..ground.html_page import escape, facts_table, png_picture, section, table
from .run_report import RunReport, value_at
from .svg_charts import (
    N_RUN_COLOURS,
    Series,
    filter_pictures,
    line_chart,
    share_bar,
    thumbnail,
)

N_MISTAKES = 24
_N_FILTERS, _N_FILTER_CHANNELS = 64, 8
_CURVES = (
    ("train_loss", "Train loss", "loss"),
    ("val_loss", "Validation loss", "loss"),
    ("val_accuracy", "Validation accuracy", "% of images"),
)
_DASH = "–"
_SPACE = "\u00a0"  # keeps a number and its unit on one line


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """95 % confidence interval of a fraction n_right / n, n > 0 (Wilson, JASA 22, 1927).

    Unlike p +- 1.96 standard errors it stays inside 0..1 and is useful for a handful of samples.
    """
    from scipy.stats import binomtest  # imported here because it takes half a second

    low, high = binomtest(n_right, n).proportion_ci(method="wilson")
    return float(low), float(high)


def most_confident_mistakes(labels: np.ndarray, probs: np.ndarray, n: int) -> np.ndarray:
    """Indices of at most n wrongly classified images, those of the highest confidence first.

    labels (N,), probs (N, K).  Of images with equal confidence the earlier comes first.
    """
    predicted = probs.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probs[wrong, predicted[wrong]], kind="stable")][:n]


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [value_at(row, key) for row in rows]


def _kept(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The index of the best epoch, whose network was kept: the last with a true `is_best`; without
    that, the one with the highest validation accuracy.  None if no accuracy is known."""
    best = _best(_column(rows, "val_accuracy"), max)
    marked = [k for k, row in enumerate(rows) if row.get("is_best")]
    return marked[-1] if marked and best is not None else best


def _best(values: Sequence[float], choose: Callable[..., int]) -> int | None:
    """Index of the first best finite value, None if there is none.  choose: min or max."""
    finite = [i for i, value in enumerate(values) if math.isfinite(value)]
    return choose(finite, key=lambda i: values[i]) if finite else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{_SPACE}%" if math.isfinite(share) else _DASH


def _probability(share: float) -> str:
    """In %.  Never "100.0 %" for less than 1, nor "0.0 %" for more than 0."""
    if 0.9995 <= share < 1:
        return f">{_SPACE}99.9{_SPACE}%"
    return f"<{_SPACE}0.1{_SPACE}%" if 0 < share < 0.0005 else _percent(share)


def _number(value: float, form: str = ".4g") -> str:
    return format(value, form) if math.isfinite(value) else _DASH


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _stat(name: str, value: str, detail: str = "", class_: str = "") -> str:
    """One number of the headline.  name, value, detail: markup."""
    class_ = f' class="{class_}"' if class_ else ""
    detail = f"<small>{detail}</small>" if detail else ""
    return f"<div{class_}><dt>{name}</dt><dd>{value}{detail}</dd></div>"


def _header(report: RunReport) -> str:
    stats, best_of = [], []
    for n, (name, rows) in enumerate(report.histories.items()):
        accuracy = _column(rows, "val_accuracy")
        best = _kept(rows)
        if best is None:
            continue
        best_of.append(accuracy[best])
        if len(best_of) <= 3:
            epoch = f"{value_at(rows[best], 'epoch'):g}"
            detail = f"best, epoch {epoch}<br/>final {_percent(accuracy[-1])}"
            class_ = f"run run{n % N_RUN_COLOURS}"
            stats.append(_stat(escape(name), _percent(accuracy[best]), detail, class_))
    if len(best_of) == 2 == len(report.histories):
        # The difference of the rounded numbers, as a reader would compute it from the page.
        points = round(round(100 * best_of[0], 1) - round(100 * best_of[1], 1), 1)
        sign = "+" if points > 0 else "−" if points < 0 else "±"
        stats.append(
            _stat("Difference", f"{sign}{abs(points):.1f}", "points,<br/>best against best")
        )
    rows = next(iter(report.histories.values()), ())
    if rows:
        stats.append(_stat("Epochs", f"{len(rows):,}"))
    if report.n_parameters is not None:
        stats.append(_stat("Parameters", f"{report.n_parameters:,}"))
    seconds = [value for value in _column(rows, "seconds") if math.isfinite(value)]
    if seconds:
        whose = "epochs of the first run" if len(report.histories) > 1 else "all epochs"
        stats.append(_stat("Time", duration(math.fsum(seconds)), whose))
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    warnings = "".join(f"<p>{escape(warning)}</p>" for warning in report.warnings)
    return (
        f'<header>\n<p class="eyebrow">Training report</p>\n<h1>{escape(report.title)}</h1>\n'
        + (f'<div class="warnings">{warnings}</div>\n' if warnings else "")
        + (f'<dl class="headline">{"".join(stats)}</dl>\n' if stats else "")
        + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        + "</header>"
    )


def _curves(report: RunReport) -> str:
    runs = {name: rows for name, rows in report.histories.items() if rows}
    if not runs:
        return section("Learning curves", "No epoch was recorded.")
    figures = []
    for key, title, unit in _CURVES:
        is_share = key == "val_accuracy"
        series, best_texts = [], []
        for name, rows in report.histories.items():
            values = _column(rows, key)
            best = _best(values, max if is_share else min)
            epochs = _column(rows, "epoch")
            mark = best if key != "train_loss" else None
            series.append(Series(name, epochs, values, mark))
            if best is not None:
                shown = _percent(values[best]) if is_share else _number(values[best])
                best_texts.append(f"{name}: best {shown} at epoch {epochs[best]:g}")
        description = f"{title} by epoch. " + "; ".join(best_texts) + "."
        chart = line_chart(
            f"chart-{key.replace('_', '-')}", title, description, series, unit, is_share
        )
        content = chart or '<p class="muted">Not recorded.</p>'
        figures.append(f"<figure><h3>{title}</h3>{content}</figure>")
    lede = (
        "A ring marks each run’s best epoch. Runs may have different training losses, so compare "
        "their validation curves. The best epoch was chosen by the same images that its accuracy "
        "is measured on, so that accuracy is a little too high."
    )
    charts = f'<div class="charts">{"".join(figures)}</div>'
    return section("Learning curves", lede, charts, _runs_table(runs), _all_epochs(runs))


def _runs_table(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = []
    for name, rows in runs.items():
        accuracy, loss = _column(rows, "val_accuracy"), _column(rows, "val_loss")
        best, lowest = _kept(rows), _best(loss, min)
        speeds = [value for value in _column(rows, "images_per_s") if math.isfinite(value)]
        lines.append(
            (
                escape(name),
                f"{len(rows):,}",
                _DASH if best is None else f"{value_at(rows[best], 'epoch'):g}",
                _DASH if best is None else _percent(accuracy[best]),
                _percent(accuracy[-1]),
                _DASH if lowest is None else _number(loss[lowest]),
                f"{np.median(speeds):,.0f}" if speeds else _DASH,
            )
        )
    header = "Run, Epochs, Best epoch, Best accuracy, Final accuracy, Lowest validation loss"
    return table("runs", [*header.split(", "), "Images/s in training, median"], lines)


def _all_epochs(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    header = ["Epoch", "Train loss", "Validation loss", "Validation accuracy", "Images/s"]
    tables = []
    for name, rows in runs.items():
        lines = []
        for row in rows:
            losses = [_number(value_at(row, key)) for key in ("train_loss", "val_loss")]
            accuracy = _percent(value_at(row, "val_accuracy"))
            speed = _number(value_at(row, "images_per_s"), ",.0f")
            lines.append((f"{value_at(row, 'epoch'):g}", *losses, accuracy, speed))
        tables.append(table("epochs", header, lines, escape(name)))
    return f"<details><summary>All epochs as numbers</summary>{''.join(tables)}</details>"


def _by_class(report: RunReport) -> str:
    n, K = len(report.labels), len(report.classes)
    if not n:
        return section("By class", "No validation images were given.")
    confusion = metrics.confusion_matrix(report.labels, report.probs.argmax(axis=1), K)
    recall = metrics.per_class_recall(confusion)
    n_right = int(confusion.trace())
    low, high = wilson_interval(n_right, n)
    lede = (
        f"{n_right:,} of {n:,} images right: {_percent(n_right / n)} "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}{_SPACE}%). "
        f"Mean recall of the classes: {_percent(float(np.nanmean(recall)))}."
    )
    off = confusion - np.diag(confusion.diagonal())
    worst = [divmod(int(i), K) for i in np.argsort(-off, axis=None, kind="stable")[:3]]
    mistakes = [
        f"{escape(report.classes[i])} taken for {escape(report.classes[j])} ({off[i, j]:,})"
        for i, j in worst
        if off[i, j]
    ]
    if mistakes:
        lede += f" Most frequent mistakes: {', '.join(mistakes)}."
    run = next(iter(report.histories), None)
    if run is not None and len(report.histories) > 1:
        lede = f"For the run “{escape(run)}”. {lede}"
    left = f"<div><h3>Confusion matrix</h3>{_matrix(report.classes, confusion)}</div>"
    right = f"<div><h3>Recall</h3>{_recall(report.classes, confusion, recall)}</div>"
    wide = " wide" if K > 10 else ""
    return section("By class", lede, f'<div class="pair{wide}">{left}{right}</div>')


def _matrix(classes: Sequence[str], confusion: np.ndarray) -> str:
    """The confusion matrix: a row for each true class; a cell has a count and its % of the row."""
    support = confusion.sum(axis=1)
    longest = max(map(len, classes))
    upright = "upright" if len(classes) > 6 or longest > 9 else "level"
    side_rem = max(6.5, min(0.55 * longest + 1, 13))
    heads = "".join(
        f'<th scope="col" class="{upright}" title="{escape(c)}"><span>{escape(c)}</span></th>'
        for c in classes
    )
    rows = []
    for i, name in enumerate(classes):
        cells = []
        for j, count in enumerate(confusion[i]):
            share = count / support[i] if support[i] else 0.0
            marks = ("right", i == j), ("deep", share > 0.65), ("zero", not count)
            class_ = " ".join(word for word, holds in marks if holds)
            percent = f"{100 * share:.0f}{_SPACE}%" if support[i] else _DASH
            inside = f"{count:,}<small>{percent}</small>" if count or i == j else "0"
            cells.append(f'<td class="{class_}" style="--share:{share:.2f}">{inside}</td>')
        rows.append(
            f'<tr><th scope="row" title="{escape(name)}">{escape(name)}</th>{"".join(cells)}'
            f'<td class="sum">{support[i]:,}</td></tr>'
        )
    sums = "".join(f"<td>{count:,}</td>" for count in confusion.sum(axis=0))
    return (
        '<div class="scroll" role="region" aria-label="Confusion matrix" tabindex="0">'
        f'<table class="matrix" style="--classes:{len(classes) + 1};--side:{side_rem:.1f}rem">'
        '<thead><tr><th scope="col" class="side">true ↓ predicted →</th>'
        f'{heads}<th scope="col">sum</th></tr></thead>\n<tbody>\n' + "\n".join(rows) + "\n</tbody>"
        f'\n<tfoot><tr><th scope="row">sum</th>{sums}<td>{confusion.sum():,}</td></tr></tfoot>'
        '</table></div><p class="legend">Rows are true classes, columns predicted classes. Each '
        "cell has a count and its percent of the row. Cells on the outlined diagonal are right.</p>"
    )


def _recall(classes: Sequence[str], confusion: np.ndarray, recall: np.ndarray) -> str:
    rows = []
    for i, name in enumerate(classes):
        support = int(confusion[i].sum())
        bar = ""
        if support:
            low, high = wilson_interval(int(confusion[i, i]), support)
            text = f"95 % interval {100 * low:.0f} to {100 * high:.0f} %"
            bar = share_bar(f"{name}: recall {_percent(recall[i])}, {text}", recall[i], low, high)
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th><td class="length">{bar}</td>'
            f'<td class="n">{_percent(recall[i])}</td><td class="n">{support:,}</td></tr>'
        )
    return (
        '<table class="recall"><thead><tr><th scope="col">Class</th><td></td>'
        '<th scope="col" class="n">Recall</th><th scope="col" class="n">Images</th></tr></thead>\n'
        "<tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
        '<p class="legend">Recall is the fraction of a class’s images that were classified '
        "correctly; the thin line is its 95 % interval.</p>"
    )


def _mistakes(report: RunReport) -> str:
    title = "Most confident mistakes"
    if not len(report.labels):
        return ""
    n_wrong = int((report.probs.argmax(axis=1) != report.labels).sum())
    if not n_wrong:
        return section(title, "None: every image was right.")
    items = []
    for i in most_confident_mistakes(report.labels, report.probs, N_MISTAKES):
        predicted, truth = int(report.probs[i].argmax()), int(report.labels[i])
        lines = "".join(
            f'<p class="{word}"><span title="{word} {escape(report.classes[k])}">{prefix}'
            f"{escape(report.classes[k])}</span>"
            f"<span>{escape(_probability(float(report.probs[i, k])))}</span></p>"
            for word, prefix, k in (("predicted", "", predicted), ("true", "is ", truth))
        )
        alt = f"{report.ids[i]}: {report.classes[truth]}, predicted {report.classes[predicted]}"
        items.append(
            f"<li>{png_picture(thumbnail(report.images[i]), alt)}{lines}"
            f"<small>{escape(report.ids[i])}</small></li>"
        )
    lede = (
        f"{len(items)} of {n_wrong:,} mistakes, those of the highest confidence first. In bold: "
        "the predicted class and its probability. Below: the true class and its probability. Some "
        "of these labels may be wrong."
    )
    return section(title, lede, f'<ol class="pictures mistakes">{"".join(items)}</ol>')


def _filters(report: RunReport) -> str:
    KH, KW, C, F = report.filters.shape
    shown = report.filters[:, :, :_N_FILTER_CHANNELS, :_N_FILTERS]
    items = []
    for f, grey in enumerate(filter_pictures(shown)):
        largest = float(np.abs(shown[..., f]).max())
        alt = f"filter {f}, largest weight {_number(largest, '.2g')}"
        items.append(
            f"<li>{png_picture(thumbnail(grey), alt)}<small>±{_number(largest, '.2g')}</small></li>"
        )
    lede = (
        f"{F} filters of {KH} × {KW} over {C} channel{'s' * (C > 1)}. White weights are positive, "
        "black ones negative, mid-grey is 0. The number is the filter’s largest weight, for which "
        "its picture is white or black."
    )
    if C > 1:
        lede += " The channels are below each other."
    if shown.shape != report.filters.shape:
        lede += f" Shown: the first {shown.shape[3]} filters, {shown.shape[2]} channels of each."
    return section(
        "First-layer filters", lede, f'<ol class="pictures filters">{"".join(items)}</ol>'
    )


def _speed(report: RunReport) -> str:
    return section("Speed", "", facts_table(report.speed, "", code=False)) if report.speed else ""


def _reproduce(report: RunReport) -> str:
    config = _flat(report.config)
    seed = f"Seed <code>{escape(config['seed'])}</code>." if "seed" in config else ""
    return section(
        "Reproduce",
        seed,
        f"<pre><code>{escape(report.command)}</code></pre>",
        f'<div class="reproduce">{facts_table(config, "Configuration")}'
        f"{facts_table(report.data_hashes, 'Data')}</div>",
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The values of nested mappings, by dotted names.  Texts are unchanged, others become JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{name}."))
        elif isinstance(value, str):
            flat[name] = value
        else:
            flat[name] = json.dumps(value, ensure_ascii=False, default=_for_json)
    return flat


def _for_json(value: object) -> object:
    """NumPy scalars and arrays as Python's own numbers and lists, other objects as text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


SECTIONS = (_header, _curves, _by_class, _mistakes, _filters, _speed, _reproduce)
