"""The frame of an html page that needs no other file, escaped text, and embedded pictures."""

from __future__ import annotations

import base64
import html
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_NOT_ALLOWED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def escape(value: object) -> str:
    """`value` as text for HTML and XML, in elements and in quoted attributes.

    Characters that XML or UTF-8 cannot contain become U+FFFD.  (File names and command lines may
    have control characters and halves of surrogate pairs.)
    """
    return html.escape(_NOT_ALLOWED.sub("\ufffd", str(value)))


def data_uri(png_file: bytes) -> str:
    """A PNG file as the `src` of an <img>."""
    return "data:image/png;base64," + base64.b64encode(png_file).decode("ascii")


def png(image: Image) -> bytes:
    """A Pillow image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def section(title: str, lede: str, *content: str) -> str:
    """A section of a page.  All arguments are markup; lede: the paragraph under the title."""
    lede = f'\n<p class="lede">{lede}</p>' if lede else ""
    return f"<section>\n<h2>{title}</h2>{lede}\n" + "\n".join(content) + "\n</section>"


def whole_page(title: str, style: str, body: str) -> str:
    """A page.  title: text;  style: CSS;  body: the body element, markup.

    The page is well-formed XML if the body is.  The content security policy forbids scripts and
    loading anything from outside the page.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"/>\n"
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n{body}\n</html>\n"
    )


MAIN_STYLE = """* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 70rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3.5rem); }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; letter-spacing: -.02em;
  font-weight: 650; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; font-weight: 650; margin: 0 0 .35rem; }
"""
"""CSS of the reports and of ferdata's pages, which set its variables before it."""
