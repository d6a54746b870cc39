"""Pages of html that need nothing else: safe text, embedded pictures, a common style."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .mark import MARK

if TYPE_CHECKING:
    from PIL import Image


def escape(value: Any) -> str:
    """`value` as text for elements and quoted attributes of HTML and XML.

    Characters that XML or UTF-8 does not allow (control characters and unpaired surrogates, which
    file names can contain) become U+FFFD.
    """
    return html.escape("".join(c if _is_allowed(c) else "\ufffd" for c in str(value)), quote=True)


def _is_allowed(character: str) -> bool:
    code = ord(character)
    if code < 0x20:
        return character in "\t\n\r"
    return not (0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in (0xFFFE, 0xFFFF))


def png(image: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def png_picture(
    content: bytes, alt: str, class_: str = "", size_px: tuple[int, int] | None = None
) -> str:
    """An img element with the content of a PNG file.  alt: plain text;  size_px: width, height."""
    kind = f' class="{class_}"' if class_ else ""
    size = f' width="{size_px[0]}" height="{size_px[1]}"' if size_px else ""
    data = base64.b64encode(content).decode("ascii")
    return f'<img{kind} src="data:image/png;base64,{data}"{size} alt="{escape(alt)}"/>'


def section(title: str, lede: str, *content: str) -> str:
    """A section element; lede: the text below the title. All three are markup."""
    lede = f'\n<p class="lede">{lede}</p>' if lede else ""
    return f"<section>\n<h2>{title}</h2>{lede}\n" + "\n".join(content) + "\n</section>"


def table(
    class_: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    n_texts: int = 1,
) -> str:
    """A table of markup.  The first column has row headers.  The first n_texts columns are texts,
    the others numbers, which are right-aligned."""
    lines = [f'<div class="scroll"><table class="{class_}">']
    if caption:
        lines.append(f"<caption><span>{caption}</span></caption>")
    marks = ["" if k < n_texts else ' class="n"' for k in range(len(header))]
    head = "".join(f'<th scope="col"{m}>{cell}</th>' for m, cell in zip(marks, header))
    lines.append(f"<thead><tr>{head}</tr></thead><tbody>")
    for first, *others in rows:
        cells = "".join(f"<td{m}>{cell}</td>" for m, cell in zip(marks[1:], others))
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def facts_table(facts: Mapping[str, Any], caption: str, code: bool = True) -> str:
    """A table of names and values, which are escaped here; '' if there are none."""
    if not facts:
        return ""
    class_ = ' class="code"' if code else ""
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td{class_}>{escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    title = f"<caption>{caption}</caption>" if caption else ""
    return f'<table class="facts">{title}<tbody>\n{rows}\n</tbody></table>'


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html_page(title: str, style: str, body: str, policy: str = _POLICY) -> str:
    """A whole page; also well-formed XML if the body element, which is markup, is.

    policy  the content security policy.  It forbids scripts and anything loaded from elsewhere, in
            case the body contains some; a page with scripts gives its own
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f'<meta name="generator" content="{MARK}"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n{body}\n</html>\n"
    )


def styled_page(title: str, body: str, style: str = "") -> str:
    """A whole page in STYLE, and in `style`, with the body (markup) in its main element."""
    return html_page(title, STYLE + style, f"<body>\n<main>\n{body}\n</main>\n</body>")


SCROLL_CUE = """background:
  linear-gradient(to right, var(--cover) 40%, transparent) 0 0 / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--cover) 40%, transparent) 100% 0 / 2.5rem 100% no-repeat local,
  linear-gradient(to right, var(--edge), transparent) 0 0 / .8rem 100% no-repeat scroll,
  linear-gradient(to left, var(--edge), transparent) 100% 0 / .8rem 100% no-repeat scroll,
  var(--cover);"""
"""CSS of an element that scrolls sideways: a shadow on each side on which there is more to see.

A cover of the background's colour, which moves with the content, hides the shadow at either end."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1b1e23; --muted: #5a626d; --rule: #dfe1e5; --faint: #f1f2f4;
  --c0: #1d5fa8; --c1: #b4500f; --c2: #1f7a55; --c3: #7d46a8; --c4: #a8324f; --c5: #5f6670;
  --shade: 8 60 125; --cover: var(--paper); --edge: rgb(0 0 0 / .3); }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e6e7e8; --muted: #9ca4ae; --rule: #30353b; --faint: #1e2226;
  --c0: #74aeee; --c1: #f09a5c; --c2: #62c498; --c3: #c39be8; --c4: #ee8aa2; --c5: #aab1ba;
  --shade: 44 116 196; --edge: rgb(255 255 255 / .4); } }
@media print { :root { --paper: #fff; --ink: #000; --muted: #444; --rule: #ccc;
  color-scheme: light; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
main { max-width: 70rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3.5rem); }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; letter-spacing: -.02em;
  font-weight: 650; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; font-weight: 650; margin: 0 0 .35rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 0 0 .5rem; }
p { margin: 0 0 1rem; max-width: 68ch; }
section { margin-top: 3.25rem; padding-top: 1.25rem; border-top: 1px solid var(--rule); }
section > :last-child { margin-bottom: 0; }
.lede, small, figcaption { color: var(--muted); }
.lede { font-size: .93rem; }
.eyebrow { color: var(--muted); font-size: .85rem; margin: 0 0 .35rem; }
.scroll { overflow-x: auto; SCROLL_CUE }
.scroll caption > span { position: sticky; left: 0; display: inline-block; width: max-content;
  max-width: calc(100vw - 2.5rem); }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .4rem .9rem .4rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--rule); }
thead th { font-weight: 500; color: var(--muted); }
tbody th { font-weight: 500; }
.n { text-align: right; white-space: nowrap; }
code, pre, .code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  font-size: .84rem; overflow-wrap: anywhere; }
footer { margin-top: 3.5rem; font-size: .82rem; color: var(--muted); }
@media (max-width: 36rem) { .scroll > table:not(.matrix) { width: max-content; }
  .scroll > table th, .scroll > table td { max-width: 11rem; } }
@media print { .scroll { background: none; }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { padding: 0; max-width: none; } h2, h3 { break-after: avoid; } }
""".replace("SCROLL_CUE", SCROLL_CUE)
"""What the pages of a run, of the paper and of a data set's check have in common."""
