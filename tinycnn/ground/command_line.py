"""What the commands of both packages share: the parser and checks of options."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

Number = TypeVar("Number", int, float)


class CannotError(Exception):
    """An error that the user can correct; the message says how."""


class Parser(argparse.ArgumentParser):
    """Raises CannotError for wrong options, instead of printing the usage.

    intermixed: whether arguments may stand before, between and after the options.
    """

    intermixed = False

    def error(self, message: str) -> NoReturn:
        raise CannotError(f"{message} ({self.prog} --help explains the options)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self.intermixed:
            return super().parse_known_args(args, namespace)
        self.intermixed = False  # the next method calls this one
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self.intermixed = True


def positive(text: str) -> int:
    return number(int, text, lambda value: value >= 1, "a whole number of 1 or more")


def not_negative(text: str) -> int:
    return number(int, text, lambda value: value >= 0, "a whole number of 0 or more")


def above_zero(text: str) -> float:
    return number(float, text, lambda value: 0 < value < float("inf"), "a number above 0")


def number(kind: type[Number], text: str, fits: Callable[[Number], bool], expected: str) -> Number:
    """kind(text), checked, for an argument of a command."""
    with contextlib.suppress(ValueError):
        value = kind(text)
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
