"""What the commands share: the parser, checks of options, and output as a table or as JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from ..ground.messages import aligned, plain

Number = TypeVar("Number", int, float)


class CannotError(Exception):
    """An error that the user can correct; the message says how."""


class Parser(argparse.ArgumentParser):
    """Raises CannotError for wrong options, instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise CannotError(f"{message} ({self.prog} --help explains the options)")


def positive(text: str) -> int:
    return number(int, text, lambda value: value >= 1, "a whole number of 1 or more")


def not_negative(text: str) -> int:
    return number(int, text, lambda value: value >= 0, "a whole number of 0 or more")


def above_zero(text: str) -> float:
    return number(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def add_count(
    parser: argparse.ArgumentParser, name: str, default: int, meaning: str, least: int = 1
) -> None:
    """Add an option that takes a whole number, at least 0 or 1."""
    kind = positive if least else not_negative
    help_ = f"{meaning} (default: {default})"
    parser.add_argument(name, metavar="N", type=kind, default=default, help=help_)


def number(kind: type[Number], text: str, fits: Callable[[Number], bool], expected: str) -> Number:
    """kind(text), checked, for an argument of a command."""
    with contextlib.suppress(ValueError):
        value = kind(text)
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")


def print_json(values: object) -> None:
    """Print one JSON object.  NaN and infinities become null, because JSON does not have them."""
    print(json.dumps(_finite(values), indent=2))


def _finite(values: object) -> object:
    if isinstance(values, dict):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    if isinstance(values, float) and not (-float("inf") < values < float("inf")):
        return None
    return values


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a table.  The first `left` columns are left-aligned, the others right-aligned."""
    print(aligned([[plain(cell) for cell in row] for row in (header, *rows)], left))


def check_out(path: str, *, not_the_same_as: str | None = None) -> Path:
    """Check, before any work is done, that a file can be written to `path`.

    Raises CannotError if it is a folder or the input file itself, or if its folder is missing or
    may not be written to.
    """
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
