"""Builds self-contained html pages: images are embedded, there is no script."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tinycnn.ground.html_page import MAIN_STYLE, data_uri, escape, png, whole_page


def picture(grey: np.ndarray, alt: str, class_: str = "") -> str:
    """An img element that shows uint8 (H, W) in its own size. alt: plain text."""
    data = data_uri(png(Image.fromarray(np.ascontiguousarray(grey))))
    height, width = grey.shape
    kind = f' class="{class_}"' if class_ else ""
    return f'<img{kind} src="{data}" width="{width}" height="{height}" alt="{escape(alt)}"/>'


def page(title: str, body: str) -> str:
    """A whole page with this body (markup); also well-formed XML if the body is."""
    style = _COLOURS + MAIN_STYLE + _STYLE
    return whole_page(title, style, f"<body>\n<main>\n{body}\n</main>\n</body>")


_COLOURS = """
:root { color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1b1e23; --muted: #5a626d; --rule: #dfe1e5; --faint: #f1f2f4;
  --bad: #b4500f; --good: #1f7a55; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e6e7e8; --muted: #9ca4ae; --rule: #30353b; --faint: #1e2226;
  --bad: #f09a5c; --good: #62c498; } }
"""

_STYLE = """h3 { font-size: .95rem; font-weight: 600; margin: 2rem 0 .6rem; max-width: 68ch;
  overflow-wrap: anywhere; }
h3 small { font-weight: 400; }
p { margin: 0 0 1rem; max-width: 68ch; overflow-wrap: anywhere; }
section { margin-top: 3.25rem; padding-top: 1.25rem; border-top: 1px solid var(--rule); }
section > :last-child { margin-bottom: 0; }
.lede, small, figcaption { color: var(--muted); }
.lede { font-size: .93rem; }
.eyebrow { color: var(--muted); font-size: .85rem; margin: 0 0 .35rem; }
.verdict { font-size: 1.15rem; font-weight: 600; margin-top: 1.4rem; }
.verdict.bad, .off { color: var(--bad); } .verdict.good { color: var(--good); }
.scroll { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .4rem 1.4rem .4rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); }
thead th { font-weight: 500; color: var(--muted); }
tbody th { font-weight: 500; }
.n { text-align: right; white-space: nowrap; }
tr:last-child > * { border-bottom: 0; } tr.all > * { font-weight: 650; }
.findings { padding-left: 1.3rem; margin: 0; max-width: 68ch; }
.findings li { margin: 0 0 .6rem; overflow-wrap: anywhere; }
.groups { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr));
  gap: 1.4rem 1.25rem; margin: 0; padding: 0; list-style: none; }
.groups.single { grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); }
.groups li { min-width: 0; }
.pair { display: flex; flex-wrap: wrap; gap: 3px; align-items: flex-end; }
.pair img { flex: 0 1 auto; min-width: 0; max-width: 6.5rem; width: calc(50% - 2px); height: auto;
  border-radius: 3px; background: var(--faint); }
.single .pair img { width: 100%; }
.groups small { display: block; font-size: .76rem; line-height: 1.35; overflow-wrap: anywhere;
  margin-top: .35rem; }
.sheet { max-width: 100%; height: auto; display: block; border-radius: 3px; }
code, .code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  font-size: .84rem; overflow-wrap: anywhere; }
footer { margin-top: 3.5rem; font-size: .82rem; color: var(--muted); }
@media print { :root { --paper: #fff; --ink: #000; --muted: #444; --rule: #ccc; --faint: #f1f2f4;
    --bad: #b4500f; --good: #1f7a55; color-scheme: light; }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { padding: 0; max-width: none; } li, tr, img { break-inside: avoid; }
  h2, h3 { break-after: avoid; } }
"""
