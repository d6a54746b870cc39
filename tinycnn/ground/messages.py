"""Text that is safe and short enough to print."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Sized

MOST_CHARACTERS = 200
"""Longer messages of libraries are cut: they may quote a file at any length."""

LONGEST_NAME = 4096
"""No system takes a longer name of a file; a longer text may be the content of one."""


def plain(text: object) -> str:
    """`text` made safe for a terminal: each character that cannot be printed, such as the start of
    a control sequence, becomes U+FFFD.  (Names of classes and tensors come from files.)"""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def aligned(rows: Sequence[Sequence[str]], n_left: int) -> str:
    """A table as text.  The first n_left columns are left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k < n_left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return plain(f"{name}{error.strerror}")
    text = str(error)
    if isinstance(error, ArithmeticError) and len(error.args) == 2:  # (34, "Numerical result ...")
        text = str(error.args[1])
    return plain(" ".join(text.split())) or type(error).__name__


def in_short(error: BaseException) -> str:
    """A library's error message about a file, on one line and cut to MOST_CHARACTERS."""
    text = one_line(error)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def quoted(value: object) -> str:
    """`value` as Python writes it, if that is no longer than a line; else its type and length, or
    its dtype and shape.  (An argument may be the content of a file.)"""
    kind, line = type(value).__name__, 60
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        text = repr(value)
        return text if value.shape == () and len(text) <= line else f"<{value.dtype} {value.shape}>"
    n = len(value) if isinstance(value, Sized) else 0
    text = repr(value) if n <= line else ""
    return text if text and len(text) <= line else f"<{kind} of {n:,}>" if n else f"<{kind}>"


def file_name(name: str | bytes) -> str:
    """What messages call the file of this name.  (It may be the content of a file.)"""
    if isinstance(name, bytes):
        return f"bytes ({len(name):,})"
    return plain(name) if len(name) <= LONGEST_NAME else f"a text of {len(name):,} characters"


def short_repr(record: object) -> str:
    """The text of a dataclass or named tuple: arrays by dtype and shape, other long values cut.

    As a method: `__repr__ = short_repr`.
    """
    if dataclasses.is_dataclass(record):
        names: Sequence[str] = [field.name for field in dataclasses.fields(record)]
    else:
        names = getattr(record, "_fields")
    values = [f"{name}={_short_value(getattr(record, name))}" for name in names]
    return f"{type(record).__name__}({', '.join(values)})"


def _short_value(value: object) -> str:
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{value.dtype} {value.shape}>"
    text = repr(value)
    if len(text) <= MOST_CHARACTERS:
        return text
    if isinstance(value, (list, tuple, dict)):
        return f"<{type(value).__name__} of {len(value):,}>"
    return f"{text[:MOST_CHARACTERS]}..."
