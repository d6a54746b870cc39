"""`report.html` of a training run: one page that needs nothing else, no script and no network.

It knows arrays and texts only.  The same report gives the same bytes: no clock is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import metrics
from ._version import __version__
from .ground.atomic_file import write_atomically
from .ground.distributions import first_wrong_row
from .ground.html_page import STYLE, escape, html_page
from .report_sections import SECTIONS, value_at


@dataclass(frozen=True, eq=False)
class RunReport:
    """What the page shows.

    histories    name of a run -> rows of its history.jsonl: `epoch` (increasing) and, where known,
                 train_loss, val_loss, val_accuracy (0..1), images_per_s, seconds; None or NaN is a
                 gap.  The first run is the one that everything below is about
    labels       (N,) integers, 0 <= label < K, the truth of the validation images
    probs        (N, K) floating, each row sums to 1
    images       (N, H, W) uint8;  ids: N names
    filters      (KH, KW, C, F), weights of the first layer
    data_hashes  what -> hash;  speed: what -> number with its unit, as text
    config       nested values as in JSON; `seed` is shown by itself too
    Raises ValueError or TypeError that says what was expected.
    """

    title: str
    command: str
    config: Mapping[str, Any]
    classes: Sequence[str]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    labels: np.ndarray
    probs: np.ndarray
    images: np.ndarray
    ids: Sequence[str]
    filters: np.ndarray
    data_hashes: Mapping[str, str]
    speed: Mapping[str, str]
    notes: Sequence[str] = ()
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "probs", "images", "filters"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        _check_arrays(self)
        for name, rows in self.histories.items():
            _check_history(name, rows)


def _check_arrays(report: RunReport) -> None:
    K, probs, images = len(report.classes), report.probs, report.images
    if not 2 <= K or len(set(report.classes)) != K:
        raise ValueError(f"classes are {list(report.classes)}: expected 2 or more different names")
    if probs.ndim != 2 or probs.shape[1] != K:
        raise ValueError(f"probs have shape {probs.shape}: expected (N, {K}), one column a class")
    N = len(probs)
    metrics.accuracy(probs, report.labels)  # checks dtypes, the shape and range of labels
    wrong = first_wrong_row(probs)
    if wrong is not None:
        row, total = wrong
        raise ValueError(
            f"probs[{row}] has sum {total:.4g} and minimum {probs[row].min():.4g}: expected "
            "probabilities; softmax turns logits into them"
        )
    if images.dtype != np.uint8:
        raise TypeError(f"images have dtype {images.dtype}: expected uint8")
    if images.ndim != 3 or len(images) != N or 0 in images.shape[1:]:
        raise ValueError(f"images have shape {images.shape}: expected ({N}, H, W)")
    if len(report.ids) != N:
        raise ValueError(f"there are {len(report.ids)} ids: expected {N}, one an image")
    if report.filters.ndim != 4 or 0 in report.filters.shape:
        raise ValueError(f"filters have shape {report.filters.shape}: expected (KH, KW, C, F)")


def _check_history(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    last = -math.inf
    for number, row in enumerate(rows):
        where = f"history of {name!r}, row {number}"
        epoch = value_at(row, "epoch", where)
        if not last < epoch < math.inf:
            raise ValueError(
                f"{where}: epoch is {row.get('epoch')!r}; expected a number greater than before"
            )
        last = epoch
        for key in ("train_loss", "val_loss", "images_per_s", "seconds"):
            value_at(row, key, where)
        accuracy = value_at(row, "val_accuracy", where)
        if accuracy < 0 or accuracy > 1:
            raise ValueError(f"{where}: val_accuracy is {accuracy}; expected a share from 0 to 1")


def render_report(report: RunReport) -> str:
    """The page: HTML that is well-formed XML too, everything inside."""
    body = "\n".join(filter(None, (section(report) for section in SECTIONS)))
    footer = f"<footer>Written by tinycnn {escape(__version__)}.</footer>"
    return report_page(report.title, f"{body}\n{footer}")


def write_report(path: str | os.PathLike, report: RunReport) -> None:
    """Write the page to `path`, whole or not at all.  Raises OSError where that is impossible."""
    write_atomically(path, render_report(report))


def report_page(title: str, body: str, style: str = "") -> str:
    """A whole page with this body (markup); style: CSS besides the report's."""
    body = f"<body>\n<main>\n{body}\n</main>\n</body>"
    return html_page(title, STYLE + _STYLE + style, body)


# A cell of the confusion matrix is shaded by its share of the row; from 0.65 on (.deep, see
# report_sections) its figures are white: there ink and white stand out equally, 4 to 1.
_STYLE = """
section > :last-child > * > :last-child { margin-bottom: 0; }
.muted, .unit { color: var(--muted); }
.lede { margin-bottom: 1.4rem; overflow-wrap: anywhere; }
.notes { margin: 1.6rem 0 0; padding: 0 0 0 1.1rem; max-width: 68ch; font-size: .93rem;
  overflow-wrap: anywhere; }

.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr));
  gap: 1.6rem 1.75rem; margin: 2rem 0 0; }
.headline div { display: flex; flex-direction: column; min-width: 0; }
.headline dt { font-size: .85rem; color: var(--muted); overflow-wrap: anywhere; }
.headline dd { margin: 0; font-size: 1.75rem; line-height: 1.3; font-weight: 600;
  letter-spacing: -.02em; white-space: nowrap; }
.headline dd small { display: block; font-size: .82rem; font-weight: 400; letter-spacing: 0;
  line-height: 1.4; white-space: normal; }
.headline .run { border-left: 3px solid; padding-left: .8rem; }
.headline .run dd { color: var(--ink); }
.headline .run dt { color: inherit; font-weight: 600; }

.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr));
  gap: 1.75rem 2rem; }
.charts figure { margin: 0; }
.chart { display: block; width: 100%; height: auto; max-width: 32rem; overflow: visible; }
svg text { font-size: 12px; fill: var(--muted); }
svg text.label { font-weight: 600; fill: currentColor; }
.run0 { color: var(--c0); } .run1 { color: var(--c1); } .run2 { color: var(--c2); }
.run3 { color: var(--c3); } .run4 { color: var(--c4); } .run5 { color: var(--c5); }
.line { fill: none; stroke: currentColor; stroke-width: 1.9; stroke-linejoin: round; }
.dot { fill: currentColor; }
.ring { fill: var(--paper); stroke: currentColor; stroke-width: 1.9; }
.grid { stroke: var(--rule); } .axis { stroke: var(--muted); }
.leader { stroke: currentColor; stroke-width: 1; stroke-opacity: .5; }

caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; }
thead th { vertical-align: bottom; }
tr > :last-child { padding-right: 0; }
.runs { margin-top: 1.75rem; }
.pair { display: grid; grid-template-columns: minmax(0, 1.55fr) minmax(0, 1fr); gap: 2.5rem 3rem;
  align-items: start; }
.pair.wide { grid-template-columns: minmax(0, 1fr); }
.matrix { table-layout: fixed; width: 100%;
  min-width: calc(var(--side) + var(--classes) * 2.6rem); }
.matrix th, .matrix td { border: 0; padding: .32rem .2rem; }
.matrix thead th { padding-bottom: .45rem; text-align: center; font-size: .82rem; }
.matrix .upright span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 9rem;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix .side { width: var(--side); text-align: left; }
.matrix tbody th, .matrix tfoot th { padding-right: .6rem; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; vertical-align: middle; }
.matrix tbody td { text-align: center; vertical-align: middle; line-height: 1.2;
  border: 1px solid var(--paper);
  background: rgb(var(--shade) / var(--share)); }
.matrix tbody td small { display: block; font-size: .74rem; color: inherit;
  white-space: nowrap; }
.matrix td.deep { color: #fff; } .matrix td.zero { color: var(--muted); }
.matrix td.right { font-weight: 650; outline: 1.5px solid var(--ink); outline-offset: -2px; }
.matrix td.sum { background: none; color: var(--muted); }
.matrix tfoot td, .matrix tfoot th { text-align: center; color: var(--muted); font-weight: 400; }
.matrix tfoot th { text-align: left; }
.recall { width: 100%; max-width: 46rem; }
.recall .length { width: 42%; } .recall td { vertical-align: middle; }
.recall th { overflow-wrap: anywhere; }
.bar { display: block; } .bar .track { fill: var(--faint); } .bar .run0 { fill: currentColor; }
.bar .halo { stroke: var(--paper); stroke-width: 4; stroke-opacity: .65; }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.legend { font-size: .82rem; line-height: 1.45; margin-top: .6rem; color: var(--muted); }

.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  gap: 1.75rem 1.25rem; list-style: none; margin: 0; padding: 0; }
.pictures img { display: block; width: 100%; height: 9.5rem; object-fit: contain;
  background: var(--faint); border-radius: 4px; }
.pictures p { display: flex; justify-content: space-between; gap: .5rem; margin: 0;
  font-size: .86rem; line-height: 1.35; overflow-wrap: anywhere; }
.pictures p span + span { white-space: nowrap; }
.pictures .said { font-weight: 650; margin-top: .45rem; }
.pictures .truth { color: var(--muted); }
.pictures small { display: block; font-size: .76rem; overflow-wrap: anywhere; line-height: 1.35; }
.filters { grid-template-columns: repeat(auto-fill, minmax(3.1rem, 1fr)); gap: .9rem .75rem; }
.filters img { height: auto; border-radius: 2px; image-rendering: pixelated; }
.filters small { margin-top: .2rem; text-align: center; }

pre { margin: 0 0 1.4rem; padding: .85rem 1rem; background: var(--faint); border-radius: 6px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.facts { width: 100%; } .facts th { width: 15rem; overflow-wrap: anywhere; }
.reproduce { display: grid; gap: 2rem; }
details { margin-top: 1.25rem; }
summary { cursor: pointer; color: var(--muted); font-size: .93rem; }
details table { margin: 1rem 0 1.5rem; }

@media (max-width: 62rem) { .pair { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 36rem) {
  .headline { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.3rem 1rem; }
  .headline dd { font-size: 1.5rem; }
  .matrix { font-size: .8rem; min-width: calc(.8 * var(--side) + var(--classes) * 2.3rem); }
  .matrix .side { width: calc(.8 * var(--side)); }
  .facts { font-size: .84rem; } .facts th { width: 11rem; }
  .pictures { grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); }
  .pictures img { height: 7.8rem; }
  .filters { grid-template-columns: repeat(8, minmax(0, 1fr)); gap: .7rem .5rem; }
  .filters img { height: auto; } .filters small { font-size: .65rem; } }
@media print { @page { margin: 16mm; }
  .scroll { overflow: visible; } section { margin-top: 1.5rem; }
  .charts { grid-template-columns: repeat(3, 1fr); gap: 1rem; } .lede { break-after: avoid;
  break-inside: avoid; }
  .matrix, figure, tr, li, pre { break-inside: avoid; } details:not([open]) { display: none; } }
"""
