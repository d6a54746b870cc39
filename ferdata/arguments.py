"""Checks of arguments; each raises ValueError, naming the argument and what was expected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycnn.ground.messages import quoted


def checked_option(name: str, value: str, known: Sequence[str]) -> str:
    """`value`, if it is one of `known`. name: of the argument."""
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, found {quoted(value)}")
    return value


def check_whole_numbers(least: int, **values: object) -> None:
    """Refuses values, given by the arguments' names, that are not whole numbers of `least` or more.
    A bool is none."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(
                f"{name}: expected a whole number of {least} or more, found {quoted(value)}"
            )
