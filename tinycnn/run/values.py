"""The values that an option can have: read from text, checked, and described in words."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar, Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Values(abc.ABC, Generic[T_co]):
    """A set of values.

    expected  the values in words, for messages and the docs: "a whole number of 1 or more"
    metavar   the value in a command's help: "N"
    """

    metavar: ClassVar[str]

    @property
    @abc.abstractmethod
    def expected(self) -> str: ...

    @abc.abstractmethod
    def check(self, value: object) -> T_co:
        """The value with its proper type: 4 becomes 4.0 where a float is expected.  Raises
        ValueError for a value that is not in the set."""

    def read(self, text: str) -> T_co:
        """The value that a user has typed.  Raises ValueError, saying what was expected."""
        try:
            return self.check(self.parse(text))
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r}: expected {self.expected}") from None

    def parse(self, text: str) -> object:
        """The value in the text, not checked."""
        return text

    @staticmethod
    def text(value: object) -> str:
        """The value as a user types it."""
        return str(value)


@dataclass(frozen=True)
class WholeNumber(Values[int]):
    """The whole numbers from `least` on."""

    least: int
    metavar: ClassVar[str] = "N"

    @property
    def expected(self) -> str:
        return f"a whole number of {self.least} or more"

    def check(self, value: object) -> int:
        number = _real(value)
        if number != int(number) or number < self.least:
            raise ValueError
        return int(number)

    def parse(self, text: str) -> int:
        return int(text)


@dataclass(frozen=True)
class Number(Values[float]):
    """The finite numbers from 0 to `most`; with most=None those above 0."""

    most: float | None
    metavar: ClassVar[str] = "X"

    @property
    def expected(self) -> str:
        return "a number above 0" if self.most is None else f"a number from 0 to {self.most:g}"

    def check(self, value: object) -> float:
        number = _real(value)
        if not (number > 0 if self.most is None else 0 <= number <= self.most):
            raise ValueError
        return number

    def parse(self, text: str) -> float:
        return float(text)


ABOVE_ZERO = Number(most=None)


@dataclass(frozen=True)
class YesOrNo(Values[bool]):
    metavar: ClassVar[str] = "yes|no"

    @property
    def expected(self) -> str:
        return "true or false"

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def read(self, text: str) -> bool:
        if text not in ("yes", "no"):
            raise ValueError(f"{text!r}: expected yes or no")
        return text == "yes"

    @staticmethod
    def text(value: object) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True)
class OneOf(Values[str]):
    """One of some names."""

    names: tuple[str, ...]
    metavar: ClassVar[str] = "NAME"

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.names)}"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.names:
            raise ValueError
        return value


@dataclass(frozen=True)
class NameOrCount(Values[str | int]):
    """One of some names, or a number of `what`, from 1 on."""

    names: tuple[str, ...]
    what: str
    metavar: ClassVar[str] = "NAME|N"

    @property
    def expected(self) -> str:
        return f"one of {', '.join(self.names)}, or a number of {self.what}"

    def check(self, value: object) -> str | int:
        return OneOf(self.names).check(value) if isinstance(value, str) else _POSITIVE.check(value)

    def parse(self, text: str) -> str | int:
        return int(text) if text.isdecimal() else text


@dataclass(frozen=True)
class OneOrSeveral(Values[T | tuple[T, ...]]):
    """One value, or several of the same kind: a list in Python and in files, on a command line
    with commas between them.  A list of one value is that value."""

    each: Values[T]
    metavar: ClassVar[str] = "X[,X...]"

    @property
    def expected(self) -> str:
        return f"{self.each.expected}, or several"

    def check(self, value: object) -> T | tuple[T, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            return self.each.check(value)
        several = tuple(self.each.check(one) for one in value)
        if not several:
            raise ValueError
        return several[0] if len(several) == 1 else several

    def read(self, text: str) -> T | tuple[T, ...]:
        return self.check([self.each.read(part) for part in text.split(",")])


_POSITIVE = WholeNumber(1)


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError
    return float(value)
