"""The option `class_weights` of a training run: a weight in the loss for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..losses import balanced_class_weights
from ..train import Batches
from .values import Values

NONE, BALANCED = "none", "balanced"


class ClassWeights(Values[str]):
    """none, balanced, or weights by class name: fear=2,disgust=4.5."""

    metavar: ClassVar[str] = "balanced|NAME=W,..."

    @property
    def expected(self) -> str:
        return (
            f"{BALANCED}, {NONE}, or a weight of 0 or more for some classes, each once: "
            "fear=2,disgust=4.5"
        )

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        weights_by_name(value)
        return value


def weights_by_name(text: str) -> dict[str, float]:
    """Weights by class name from "fear=2,disgust=4.5"; no entries for "none" and "balanced".

    Raises ValueError for a text that is none of these.
    """
    weights: dict[str, float] = {}
    for part in () if text in (NONE, BALANCED) else text.split(","):
        name, equals, number = part.rpartition("=")
        weight = float(number)
        if not equals or not 0 <= weight < math.inf or name in weights:
            raise ValueError
        weights[name] = weight
    return weights


def check_class_names(text: str, classes: Sequence[str]) -> None:
    """Raise ValueError for a weight of a class that there is not."""
    for name in weights_by_name(text):
        if name not in classes:
            raise ValueError(f"{text!r}: no class {name!r}; there are {', '.join(classes)}")


def make_class_weights(text: str, classes: Sequence[str], batches: Batches) -> tuple[float, ...]:
    """The `class_weights` of a loss.

    text     none: no weights; balanced: see `losses.balanced_class_weights`; fear=2,disgust=4.5:
             these weights, 1 for the other classes
    batches  the training data; balanced reads the targets of the first epoch
    Raises ValueError as `check_class_names`.
    """
    check_class_names(text, classes)
    if text == BALANCED:
        targets = np.concatenate([targets for _, targets, _ in batches(0)])
        return balanced_class_weights(targets, len(classes))
    named = weights_by_name(text)
    return tuple(named.get(name, 1.0) for name in classes) if named else ()
