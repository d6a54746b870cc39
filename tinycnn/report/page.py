"""`report.html` of a training run: one page without scripts, which loads nothing.

The same data give the same bytes: the page has no date.
"""

from __future__ import annotations

import os

from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..ground.html_page import escape, styled_page
from .run_report import RunReport
from .sections import SECTIONS


def render_report(report: RunReport) -> str:
    """The page, as HTML that is also well-formed XML."""
    body = "\n".join(filter(None, (section(report) for section in SECTIONS)))
    footer = f"<footer>Written by tinycnn {escape(__version__)}.</footer>"
    return report_page(report.title, f"{body}\n{footer}")


def write_report(path: str | os.PathLike, report: RunReport) -> None:
    """Write the page to `path`, atomically.  Raises OSError if that is impossible."""
    write_atomically(path, render_report(report))


def report_page(title: str, body: str, style: str = "") -> str:
    """A whole page with this body (markup); style: CSS besides the report's."""
    return styled_page(title, body, _STYLE + style)


# A cell of the confusion matrix is shaded by its share of the row.  Above 0.65 (.deep, set in
# sections.py) its text is white: there dark and white text have the same contrast, 4 to 1.
_STYLE = """
section > :last-child > * > :last-child { margin-bottom: 0; }
.muted, .unit { color: var(--muted); }
.lede { margin-bottom: 1.4rem; overflow-wrap: anywhere; }
.notes { margin: 1.6rem 0 0; padding: 0 0 0 1.1rem; max-width: 68ch; font-size: .93rem;
  overflow-wrap: anywhere; }
.warnings { margin: 1.6rem 0 0; padding: .7rem 1rem; max-width: 68ch; font-weight: 600;
  border-left: 3px solid var(--c1); background: var(--faint); overflow-wrap: anywhere; }
.warnings p { margin: 0; } .warnings p + p { margin-top: .5rem; }

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
.pictures .predicted { font-weight: 650; margin-top: .45rem; }
.pictures .true { color: var(--muted); }
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
