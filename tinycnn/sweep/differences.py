"""Differences in accuracy between each setting of a sweep and the first, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ground.messages import aligned
from .selection import score
from .table import Size, accuracy_cell, size_order
from .trial import options_of, temperature_text

Setting = tuple[tuple[str, Any], ...]  # the options of a trial, without size, seed and fold


def difference_table(results: Sequence[Mapping[str, Any]]) -> str:
    """`difference_rows` as a text; "" if there are none."""
    rows = difference_rows(results)
    return aligned(rows, n_left=2) if rows else ""


def difference_rows(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A table with a row for every size and setting; no rows if there is only one setting.  The
    first row has the names of the columns.

    A row has the mean reported accuracy in %, and its mean difference to the setting of the first
    result, each +- half its 95 % interval.  Only runs with the same seed and fold are subtracted,
    so that what they have in common cancels.
    """
    scores: dict[Setting, dict[Size, dict[tuple[int, int | None], float]]] = {}
    for result in results:
        trial = options_of(result)
        setting = tuple((n, v) for n, v in trial.items() if n not in ("size", "seed", "fold"))
        of_size = scores.setdefault(setting, {}).setdefault(trial["size"], {})
        of_size[trial["seed"], trial["fold"]] = score(result)
    if len(scores) < 2:
        return []
    first = next(iter(scores))
    lines = [["size", "setting", "accuracy", "difference"]]
    for size in sorted({s for by_size in scores.values() for s in by_size}, key=size_order):
        base = scores[first].get(size, {})
        for setting, by_size in scores.items():
            found = by_size.get(size, {})
            pairs = [value - base[key] for key, value in found.items() if key in base]
            difference = accuracy_cell(pairs, "+") if setting != first else ""
            accuracy = accuracy_cell(list(found.values()))
            if found:
                lines.append([str(size), _words(setting, first), accuracy, difference])
    return lines


def _words(setting: Setting, first: Setting) -> str:
    """The options that differ from the first setting: `loss dkd, mixup 0.2`."""
    others = [(name, value) for (name, value), pair in zip(setting, first) if (name, value) != pair]
    shown = [
        f"{name} {temperature_text(value) if name == 'temperature' else value}"
        for name, value in others
        if value is not None
    ]
    return ", ".join(shown) or ("the first" if not others else "")
