"""The results of a sweep as tables for people, and as csv for programs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..ground.messages import aligned
from ..models.face_networks import MICROEXPNET
from ..models.microexpnet import SIZES
from .folder import Outcome
from .selection import choose, mean_and_interval, score
from .trial import SOFT_OPTIONS, Trial, option_names, options_of, several, temperature_text

SCORES: tuple[str, ...] = ("best_epoch", "n_parameters", "validation_accuracy", "validation_loss")
SCORES += ("test_accuracy", "test_loss", "seconds", "error")
_AXES = ("size", "temperature", "seed", "fold")
_TEACHER = ("loss", *SOFT_OPTIONS)

Size = str | int | None
Cells = dict[tuple[Size, float | tuple[float, ...] | None], list[float]]
"""(size, temperature) -> accuracies."""


def summary_csv(trials: Mapping[str, Trial], outcome: Outcome) -> str:
    """A line for each trial: name, status (done, failed, missing), options, SCORES."""
    text = io.StringIO()
    header = ["name", "status", *option_names(), *SCORES]
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    for name, trial in trials.items():
        options = {option: getattr(trial, option) for option in option_names()}
        row: dict[str, Any] = {"name": name, "status": "missing", **options}
        if trial.temperature is not None:
            row["temperature"] = temperature_text(trial.temperature)
        if name in outcome.results:
            row.update(status="done", **_scores(outcome.results[name]))
        elif name in outcome.failures:
            row.update(status="failed", error=outcome.failures[name])
        writer.writerow(row)
    return text.getvalue()


def teachers_and_others(
    results: Iterable[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(the results of teachers that were trained in the folds, all other results)."""
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for result in results:
        found[bool(result["trial"].get("is_teacher"))].append(result)
    return found[True], found[False]


def teacher_table(results: Sequence[dict[str, Any]]) -> str:
    """`teacher_rows` as a text; "" if there are none."""
    rows = teacher_rows(results)
    return aligned(rows, n_left=2) if rows else ""


def teacher_rows(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A table of teachers, with a row for each fold, and one for all folds if there are several:
    the number of images that it is measured on, and the accuracy.  The first row has the names of
    the columns; no rows without results."""
    if not results:
        return []
    by_teacher: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for result in results:
        trial = options_of(result)
        network = trial["network"]
        if network == MICROEXPNET:
            network = f"{trial['variant']} {trial['size']}"
        n = trial["epochs"]
        title = f"{network}, {n} {'epoch' if n == 1 else 'epochs'}"
        by_teacher.setdefault(title, []).append((trial, result))
    lines = [["teacher", "fold", "images", "accuracy"]]
    for title, found in by_teacher.items():
        for trial, result in found:
            fold = "-" if trial["fold"] is None else str(trial["fold"])
            n_images = (result["test"] or result["validation"])["n_images"]
            lines.append([title, fold, f"{n_images:,}", accuracy_cell([score(result)])])
        if len(found) > 1:
            lines.append([title, "all", "", accuracy_cell([score(result) for _, result in found])])
    return lines


def score_tables(results: Iterable[Mapping[str, Any]]) -> str:
    """Tables of accuracy by size and temperature, one for every setting of the other options; ""
    for no results.

    A cell has the mean reported accuracy in %, +- half its 95 % interval over seeds and folds, and
    their number in parentheses.  Networks without a teacher have a column in every table.
    """
    tables = grouped_scores(results)
    return "\n\n".join(_score_table(title, cells) for title, cells in tables.items())


def grouped_scores(results: Iterable[Mapping[str, Any]]) -> dict[str, Cells]:
    """Reported accuracies, 0..1, by size and temperature (None without a teacher), for every
    setting of the other options.  Keys are texts such as "variant v"; "" if no option differs."""
    rows = [(options_of(result), score(result)) for result in results]
    differing = _differing([trial for trial, _ in rows])
    tables: dict[bool, dict[tuple, Cells]] = {True: {}, False: {}}
    for trial, value in rows:
        has_teacher = trial["temperature"] is not None
        key = tuple((n, trial[n]) for n in differing if has_teacher or n not in _TEACHER)
        cells = tables[has_teacher].setdefault(key, {})
        cells.setdefault((trial["size"], trial["temperature"]), []).append(value)
    for key, cells in tables[False].items():
        beside = [other for other in tables[True] if set(key) <= set(other)]
        for other in beside:
            tables[True][other].update(cells)
        if not beside:
            tables[True][key] = cells
    return {
        ", ".join(f"{name} {value}" for name, value in key if value is not None): cells
        for key, cells in tables[True].items()
    }


def choice_table(results: Sequence[dict[str, Any]], rule: str) -> str:
    """`choice_rows` as a text; "" if there are none."""
    rows = choice_rows(results, rule)
    return aligned(rows, n_left=len(rows[0])) if rows else ""


def choice_rows(results: Sequence[dict[str, Any]], rule: str) -> list[list[str]]:
    """A table of the results that `choose(results, "temperature", rule)` returns: accuracy by size,
    and how often each temperature was chosen.  The first row has the names of the columns.  No rows
    for fewer than two temperatures."""
    with_teacher = [result for result in results if result["trial"]["temperature"] is not None]
    if len({str(result["trial"]["temperature"]) for result in with_teacher}) < 2:
        return []
    differing = _differing([options_of(result) for result in with_teacher])
    groups: dict[tuple, list[tuple[str, float]]] = {}
    for result in choose(with_teacher, "temperature", rule):
        trial = options_of(result)
        found = temperature_text(trial["temperature"]), score(result)
        groups.setdefault(tuple(trial[n] for n in ("size", *differing)), []).append(found)
    lines = [["size", *differing, "accuracy", "chosen"]]
    for key in sorted(groups, key=lambda key: size_order(key[0])):
        chosen = Counter(temperature for temperature, _ in groups[key])
        shown = [f"t={t}" + (f" ({n})" if n > 1 else "") for t, n in chosen.most_common()]
        cell = accuracy_cell([value for _, value in groups[key]])
        lines.append([*map(str, key), cell, ", ".join(shown)])
    return lines


def _differing(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options that have several values and are not an axis of the table."""
    with_teacher = [trial for trial in trials if trial["temperature"] is not None]
    return [
        name
        for name in option_names()
        if name not in _AXES
        and len({trial[name] for trial in (with_teacher if name in _TEACHER else trials)}) > 1
    ]


def _score_table(title: str, cells: Cells) -> str:
    table = aligned(score_rows(cells), n_left=1)
    return f"{title}\n{table}" if title else table


def score_rows(cells: Cells) -> list[list[str]]:
    """Accuracy by size (rows) and temperature (columns).  The first row has the columns' names."""
    sizes = sizes_in_order(cells)
    columns = sorted({t for _, t in cells}, key=lambda t: () if t is None else (1.0, *several(t)))
    heads = ["no teacher" if t is None else f"t={temperature_text(t)}" for t in columns]
    rows = [[str(size)] + [accuracy_cell(cells.get((size, t))) for t in columns] for size in sizes]
    return [["size", *heads], *rows]


def accuracy_cell(values: Sequence[float] | None, sign: str = "") -> str:
    """Mean +- half the 95 % interval, in %, and how many values; "-" without values."""
    if not values:
        return "-"
    mean, half = mean_and_interval(values)
    shown = f"{100 * mean:{sign}.1f}"
    return shown if len(values) == 1 else f"{shown} +-{100 * half:.1f} ({len(values)})"


def _scores(result: Mapping[str, Any]) -> dict[str, Any]:
    row = {"best_epoch": result["best_epoch"], "n_parameters": result["n_parameters"]}
    for part in ("validation", "test"):
        if result[part] is not None:
            row[f"{part}_accuracy"] = result[part]["accuracy"]
            row[f"{part}_loss"] = result[part]["loss"]
    return {**row, "seconds": round(result["seconds"], 3)}


def sizes_in_order(cells: Cells) -> list[Size]:
    """The sizes, named ones from large to small, then by number of units."""
    return sorted({size for size, _ in cells}, key=size_order)


def size_order(size: Size) -> tuple[int, int]:
    """A key for sorting: named sizes from large to small, then numbers of units;
    at last None, for networks that are not of the paper."""
    if size is None:
        return (2, 0)
    return (0, SIZES.index(size)) if size in SIZES else (1, -int(size))
