"""The parts of the shipped networks' model card that a page shows: how often a network is right,
its limits, and what it must not be used for."""

from __future__ import annotations

import re

from ...formats.pretrained import PRETRAINED
from ...ground.html_page import escape, section, table
from ...ground.package_files import package_text

_OTHERS = """\
- It sees an expression in a still picture of a frontal face, not an emotion: people smile in
  discomfort and frown at the sun.
- It is often wrong. How often, and on which faces, only those know who trained and measured this
  network: it is not one of those that come with tinycnn.
- It does worse on faces that are turned, covered, badly lit or small. It names an expression even
  for a picture without a face. "Unsure" helps only where the network itself is in doubt.
"""


def limits(name: str) -> str:
    """Sections of html for one of PRETRAINED; general ones for any other name."""
    card = package_text("tinycnn", "models/weights/MODEL_CARD.md")
    if name in PRETRAINED:
        its_limits = _part(card, "Limits").replace("`unsure_below`", '"Unsure"')
        own = _recall(card, name) + markup(its_limits)
    else:
        own = markup(_OTHERS)
    return section("What it cannot do", "", own) + section(
        "What it is for, and what it is not for",
        "",
        markup(_part(card, "What it is for, and what it is not for")),
    )


def _part(card: str, title: str) -> str:
    """The text below a heading of the card, up to the next one."""
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0].strip()


def _recall(card: str, name: str) -> str:
    """How often the network is right, overall and for each expression."""
    measured = card.split(f"<!-- measured, {name}: begin -->")[1].split("<!-- measured, ")[0]
    rows = [line.strip("| ").split(" | ") for line in measured.splitlines() if line[:2] == "| "]
    begin = next(k for k, row in enumerate(rows) if row[0] == "recall") + 1
    overall = next(row for row in rows if row[0] == "FER+, the class with most votes")
    found = []
    for row in rows[begin:]:
        if len(row) != len(rows[begin]) or not row[1].replace(",", "").isdigit():
            break
        found.append([escape(cell) for cell in row[:3]])
    lede = (
        f"Ten people voted on the expression in each of {escape(overall[1])} pictures of the data "
        f"set FER2013. The network named the one with most votes in {escape(overall[2])} of them."
    )
    header = ["expression", "pictures", "found"]
    return f"<p>{lede}</p>\n" + table("recall", header, found, "How often it finds each expression")


def markup(text: str) -> str:
    """Paragraphs, lists, `code` and links of Markdown as html.  Of a link its text is kept."""
    blocks = []
    for block in text.split("\n\n"):
        items = re.split(r"^- ", block, flags=re.MULTILINE)
        texts = [_inline(" ".join(item.split())) for item in items if item.strip()]
        if block.startswith("- "):
            blocks.append("<ul>\n" + "\n".join(f"<li>{item}</li>" for item in texts) + "\n</ul>")
        else:
            blocks += [f"<p>{item}</p>" for item in texts]
    return "\n".join(blocks)


def _inline(text: str) -> str:
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", escape(text))
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
