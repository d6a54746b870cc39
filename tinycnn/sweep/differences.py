"""What each setting of a sweep changes against the first one, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .selection import score
from .table import _aligned, _cell, _size_order
from .trial import read_trial, temperature_text


def difference_table(results: Sequence[Mapping[str, Any]]) -> str:
    """What each setting changes against that of the first result, by size: the mean reported
    accuracy in %, and the mean difference to the first setting over the seeds and folds that both
    have, each +- half its 95 % interval; "" where there is one setting alone.

    Seeds and folds go in pairs: what a seed makes easier or harder for both falls out.
    """
    settings: dict[tuple, dict[Any, dict[tuple, float]]] = {}
    for result in results:
        trial = asdict(read_trial(dict(result["trial"])))
        setting = tuple((n, v) for n, v in trial.items() if n not in ("size", "seed", "fold"))
        by_size = settings.setdefault(setting, {}).setdefault(trial["size"], {})
        by_size[trial["seed"], trial["fold"]] = score(result)
    if len(settings) < 2:
        return ""
    first = next(iter(settings))
    lines = [["size", "setting", "accuracy", "difference"]]
    for size in sorted({s for by_size in settings.values() for s in by_size}, key=_size_order):
        base = settings[first].get(size, {})
        for setting, by_size in settings.items():
            if size not in by_size:
                continue
            pairs = [value - base[key] for key, value in by_size[size].items() if key in base]
            difference = _cell(pairs, "+") if setting != first else ""
            words = _words(setting, first)
            lines.append([str(size), words, _cell(list(by_size[size].values())), difference])
    return _aligned(lines, n_left=2)


def _words(setting: tuple, first: tuple) -> str:
    """What a setting has else than the first: `loss dkd, mixup 0.2`."""
    others = [(name, value) for (name, value), pair in zip(setting, first) if (name, value) != pair]
    shown = [
        f"{name} {temperature_text(value) if name == 'temperature' else value}"
        for name, value in others
        if value is not None
    ]
    return ", ".join(shown) or ("the first" if not others else "")
