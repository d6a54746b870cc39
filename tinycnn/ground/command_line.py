"""What the commands of both packages share: the parser, checked numbers and files, tables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .messages import plain


class CannotError(Exception):
    """Something that the user can mend, such as a wrong option; the message says how."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong option as every other error is reported: on one line."""

    def error(self, message: str) -> NoReturn:
        raise CannotError(f"{message} ({self.prog} --help explains the options)")


def positive(text: str) -> int:
    return _whole(text, 1)


def not_negative(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of {least} or more")
    return value


def check_out(path: str, *, not_the_same_as: str | None = None) -> Path:
    """`path` to write a file to.  Raises CannotError where its folder is missing or it is a
    folder itself, before any work is done; and where it is the input."""
    out = Path(path)
    if out.is_dir():
        raise CannotError(f"{path}: is a folder; expected the name of a file")
    if not out.parent.is_dir():
        raise CannotError(f"{path}: there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise CannotError(f"{path}: no permission to write in {out.parent}")
    if not_the_same_as is not None and out.exists() and Path(not_the_same_as).exists():
        if out.samefile(not_the_same_as):
            raise CannotError(f"{path}: is the input itself; choose another name")
    return out


def table_lines(rows: Sequence[Sequence[Any]], n_left: int = 1) -> list[str]:
    """The rows with columns as wide as their cells; the first n_left are left-aligned, the others
    right-aligned."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for row in cells:
        padded = [
            cell.ljust(width) if k < n_left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines
