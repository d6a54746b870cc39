"""Ferdata's html pages: their style besides the common one, and pictures of faces on them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tinycnn.ground.html_page import png, png_picture, styled_page


def picture(grey: np.ndarray, alt: str, class_: str = "") -> str:
    """An img element that shows uint8 (H, W) in its own size. alt: plain text."""
    height, width = grey.shape
    content = png(Image.fromarray(np.ascontiguousarray(grey)))
    return png_picture(content, alt, class_, (width, height))


def page(title: str, body: str) -> str:
    """A whole page with this body (markup); also well-formed XML if the body is."""
    return styled_page(title, body, _STYLE)


_STYLE = """
h3 { margin: 2rem 0 .6rem; max-width: 68ch; overflow-wrap: anywhere; }
h3 small { font-weight: 400; }
p { overflow-wrap: anywhere; }
.verdict { font-size: 1.15rem; font-weight: 600; margin-top: 1.4rem; }
.verdict.bad, .off { color: var(--c1); } .verdict.good { color: var(--c2); }
.scroll { margin-bottom: 1.25rem; }
th, td { padding: .4rem 1.4rem .4rem 0; }
tr:last-child > * { border-bottom: 0; } .counts tr:last-child > * { font-weight: 650; }
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
@media print { li, tr, img { break-inside: avoid; } }
"""
