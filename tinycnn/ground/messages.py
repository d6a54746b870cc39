"""Text that is safe and short enough to print."""

from __future__ import annotations

from typing import Any

MOST_CHARACTERS = 200
"""Of what a library says of a file: it may quote the file at any length."""


def plain(text: Any) -> str:
    """Text for a terminal: what cannot be printed, such as the codes that steer it, becomes
    U+FFFD.  (Names of classes and tensors come from files.)"""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return plain(f"{name}{error.strerror}")
    return plain(" ".join(str(error).split())) or type(error).__name__


def in_short(error: BaseException) -> str:
    """What a library says is wrong with a file, on one line and cut to MOST_CHARACTERS."""
    text = one_line(error)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."
