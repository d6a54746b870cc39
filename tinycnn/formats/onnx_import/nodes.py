"""The nodes of an ONNX graph as plain Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...ground.messages import plain
from .errors import NotUsable, shown

Attribute = int | float | str | list[int] | list[float] | list[str] | np.ndarray | None
"""None stands for an attribute of a kind that is not read, such as a graph."""

FIRST_OPSET = 7
"""The oldest operator set that is read: from here on Add and Mul broadcast as NumPy does."""


@dataclass
class OnnxNode:
    """One node.  An input that is left out is called "".

    number  in the order of the file, from 0;  opset  version of the operators, of the whole file
    """

    number: int
    name: str
    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    opset: int
    attributes: Mapping[str, Attribute]
    was_read: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        name = shown(self.name) if self.name else f"number {self.number + 1}"
        return f"node {name} ({plain(self.operator[:60])})"

    def error(self, what: str) -> NotUsable:
        """The error to raise where the node cannot be used."""
        return NotUsable(f"{self}: {what}")

    def attribute_error(self, name: str, what: str) -> NotUsable:
        """The same, where the value of one attribute is the reason."""
        value = plain(self.attributes.get(name))
        value = value if len(value) <= 60 else f"{value[:57]}..."
        return self.error(f"attribute {plain(name[:60])} = {value}: {what}")

    def integer(self, name: str, default: int) -> int:
        value = self._value(name, default)
        if not isinstance(value, int):
            raise self.attribute_error(name, "expected a whole number")
        return value

    def number_of(self, name: str, default: float) -> float:
        """A float attribute."""
        value = self._value(name, default)
        if not isinstance(value, (int, float)):
            raise self.attribute_error(name, "expected a number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self.attribute_error(name, "expected a text")
        return value

    def integers(self, name: str, default: Sequence[int]) -> list[int]:
        return [int(value) for value in self._list(name, default, int)]

    def numbers(self, name: str, default: Sequence[float]) -> list[float]:
        return [float(value) for value in self._list(name, default, (int, float))]

    def texts(self, name: str, default: Sequence[str]) -> list[str]:
        return [str(value) for value in self._list(name, default, str)]

    def tensor(self, name: str) -> np.ndarray | None:
        value = self._value(name, None)
        if value is not None and not isinstance(value, np.ndarray):
            raise self.attribute_error(name, "expected a tensor")
        return value

    def has(self, name: str) -> bool:
        return name in self.attributes

    def check_all_read(self) -> None:
        """Raise NotUsable for an attribute that nobody asked for: it may change the result."""
        for name in self.attributes:
            if name not in self.was_read:
                raise self.attribute_error(
                    name, f"tinycnn does not know this attribute of {self.operator}"
                )

    def _value(self, name: str, default: Attribute) -> Attribute:
        self.was_read.add(name)
        return self.attributes.get(name, default)

    def _list(
        self,
        name: str,
        default: Sequence[int] | Sequence[float] | Sequence[str],
        kind: type | tuple[type, ...],
    ) -> Sequence[int | float | str]:
        self.was_read.add(name)
        if name not in self.attributes:
            return default
        value = self.attributes[name]
        if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
            raise self.attribute_error(name, "expected a list of another kind")
        return value
