"""Tables of our results beside the paper's, for the page and for csv files."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..sweep.table import temperature_text
from . import published
from .claims import Claim
from .inside import Inside
from .plan import MAIN_VARIANT
from .scores import Interval, Scores, Values, accuracies, interval, mean

MISSING = "–"
SPLIT_NAMES = {
    "subject": "subject-independent folds",
    "random": "random folds",
    "own-split": "the data set's own split",
}


Cell = str | float | Interval | None


@dataclass(frozen=True)
class Table:
    """name: of its csv file, without ".csv";  caption: its title on the page."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def cell_text(value: Cell, digits: int = 1) -> str:
    """A cell as text; an interval is shown as mean ± half its width."""
    if value is None:
        return MISSING
    if isinstance(value, Interval):
        mean = f"{value.mean:.{digits}f}".replace("-", "−")
        return (
            f"{mean} ± {value.half_width:.{digits}f}" if math.isfinite(value.half_width) else mean
        )
    if isinstance(value, float):
        return f"{value:.{digits}f}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else str(value)


def csv_text(table: Table) -> str:
    """The table as csv.  A column with intervals becomes three: mean, half_width, n."""
    wide = {
        k
        for k in range(len(table.columns))
        if any(isinstance(row[k], Interval) for row in table.rows)
    }
    header: list[str] = []
    for k, name in enumerate(table.columns):
        header += [name, f"{name} half_width", f"{name} n"] if k in wide else [name]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        cells: list[str | float] = []
        for k, value in enumerate(row):
            if isinstance(value, Interval):
                half = value.half_width if math.isfinite(value.half_width) else ""
                cells += [value.mean, half, value.n]
            else:
                cells.append("" if value is None else value)
                cells += ["", ""] if k in wide else []
        writer.writerow(cells)
    return text.getvalue()


def estimate(values: Values) -> Interval | None:
    """`interval(values)`; None without values."""
    return interval(values) if values else None


# ---- the paper's tables ----------------------------------------------------------------------


def candidates(scores: Scores) -> list[Table]:
    """Accuracy of all variants without a teacher: a table for each split."""
    tables, variants = [], published.VARIANTS
    for split in scores.plan.splits:
        rows: list[list[Cell]] = []
        for size in scores.plan.sizes:
            ours = [estimate(scores.accuracy(split, variant, size)) for variant in variants]
            rows.append([size, "ours", *ours])
            for name in published.DATA_SETS:
                if split != "own-split":
                    theirs = [published.CANDIDATES[name, split, v, size] for v in variants]
                    rows.append([size, f"paper, {name}", *theirs])
        caption = f"Without a teacher, {SPLIT_NAMES[split]}: accuracy, % of images"
        tables.append(Table(f"candidates-{split}", caption, ["size", "whose", *variants], rows))
    return tables


def distillation(scores: Scores) -> Table:
    """Accuracy without a teacher, and with one at temperatures chosen by both rules."""
    columns = ["size", "no teacher", "distilled", "gain", "t chosen (how often)"]
    columns += ["best reported (optimistic)", "its t"]
    columns += [f"paper, {name}" for name in published.DATA_SETS]
    rows = []
    for size in scores.plan.sizes:
        row: list[Cell] = [size, estimate(accuracies(scores.without_teacher(size)))]
        for rule in ("validation", "reported"):
            chosen = scores.chosen(size, rule) if scores.plan.temperatures else {}
            row.append(estimate(accuracies(chosen)))
            if rule == "validation":
                row.append(estimate(scores.gain(size)) if chosen else None)
            counts = Counter(result["trial"]["temperature"] for result in chosen.values())
            several = [
                temperature_text(t) + (f" ({n})" if rule == "validation" else "")
                for t, n in sorted(counts.items())
            ]
            row.append(", ".join(several) or None)
        for name in published.DATA_SETS:
            pair = published.WITHOUT_TEACHER[name][size], published.WITH_TEACHER[name][size]
            row.append(f"{pair[0]:.2f} -> {pair[1]:.2f}")
        rows.append(row)
    caption = f"{MAIN_VARIANT}, {SPLIT_NAMES[scores.main_split]}: accuracy, % of images"
    return Table("distillation", caption, columns, rows)


def temperatures(scores: Scores) -> Table | None:
    """Accuracy against temperature; None without a teacher."""
    plan = scores.plan
    if not plan.temperatures:
        return None
    rows: list[list[Cell]] = []
    for size in plan.sizes:
        split = scores.main_split
        at = [estimate(scores.accuracy(split, MAIN_VARIANT, size, t)) for t in plan.temperatures]
        rows.append([size, "ours", estimate(accuracies(scores.without_teacher(size))), *at])
        for name in published.DATA_SETS:
            known = dict(zip(published.TEMPERATURES, published.BY_TEMPERATURE[name][size]))
            alone = published.WITHOUT_TEACHER[name][size]
            figures = [known.get(t) for t in plan.temperatures]
            rows.append([size, f"paper, {name} (~)", alone, *figures])
    columns = ["size", "whose", "no teacher"] + [f"t={t:g}" for t in plan.temperatures]
    caption = (
        f"{MAIN_VARIANT} by temperature, {SPLIT_NAMES[scores.main_split]}: accuracy, % of images"
    )
    return Table("temperature", caption, columns, rows)


def teachers(scores: Scores) -> Table | None:
    """How right the teacher of each fold is on the fold's test images, and beside it the networks
    of the main variant in the same fold; None if no teacher was trained."""
    plan, by_fold = scores.plan, {fold: result for (fold, _), result in scores.teachers.items()}
    if not plan.n_teachers:
        return None
    students = {}
    for size in plan.sizes:
        students[f"{size}, no teacher"] = accuracies(scores.without_teacher(size))
        students[f"{size}, distilled"] = accuracies(scores.chosen(size))
    rows: list[list[Cell]] = []
    for fold in [*range(plan.n_folds)] if plan.n_folds else [None]:
        teacher = accuracies({(fold, 0): by_fold[fold]} if fold in by_fold else {})
        n_images = _reported(by_fold[fold])["n_images"] if fold in by_fold else None
        of_fold = [
            {replicate: value for replicate, value in values.items() if replicate[0] == fold}
            for values in students.values()
        ]
        name = "own split" if fold is None else f"fold {fold}"
        rows.append([name, n_images, *(_mean_of(values) for values in (teacher, *of_fold))])
    if plan.n_folds:
        all_values = [accuracies(scores.teachers), *students.values()]
        rows.append(["all folds", None, *map(estimate, all_values)])
    caption = (
        f"Teachers ({plan.teacher_network}) and {MAIN_VARIANT}, {SPLIT_NAMES[scores.main_split]}: "
        "accuracy, % of the test images"
    )
    columns = ["fold", "test images", "teacher", *students]
    return Table("teachers", caption, columns, rows)


def _reported(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a result that `sweep.score` reports."""
    return result["test"] or result["validation"]


def _mean_of(values: Values) -> float | None:
    """The mean over the seeds of one fold."""
    return mean(*values.values()) if values else None


def speed(latencies: Sequence[Mapping[str, Any]]) -> Table:
    """The time for one image, by size."""
    rows: list[list[Cell]] = [
        [
            row["size"],
            row["n_parameters"],
            1e6 * row["image_s"],
            1e6 * row["low_s"],
            1e6 * row["high_s"],
            1e3 * published.I7_MS[row["size"]],
            published.I7_MS[row["size"]] / (1e3 * row["image_s"]),
        ]
        for row in latencies
    ]
    columns = ["size", "parameters", "µs an image, median", "lowest", "highest"]
    columns += ["paper's i7-7700HQ, µs", "paper's / ours"]
    return Table("speed", f"{MAIN_VARIANT}, one image at a time on one core", columns, rows)


def claims(judged: Sequence[Claim]) -> Table:
    """Every measure of every claim."""
    columns = ["claim", "verdict", "measure", "decides", "found, points"]
    columns += [f"paper, {name}" for name in published.DATA_SETS]
    rows: list[list[Cell]] = []
    for claim in judged:
        if not claim.measures:
            rows.append([claim.text, claim.verdict, claim.missing, None, None, None, None])
        for measure in claim.measures:
            decides = {1: "above 0", -1: "below 0", None: None}[measure.sign]
            theirs = [(measure.paper or {}).get(name) for name in published.DATA_SETS]
            rows.append([claim.text, claim.verdict, measure.name, decides, measure.found, *theirs])
    return Table("claims", "Claims", columns, rows)


# ---- beyond the paper ------------------------------------------------------------------------


def calibration(inside: Inside) -> Table:
    """Calibration errors and likelihoods before and after temperature scaling."""
    rows: list[list[Cell]] = [
        [
            name,
            estimate(found.temperatures),
            *map(estimate, found.error),
            *map(estimate, found.likelihood),
        ]
        for name, found in inside.calibration.items()
    ]
    columns = ["network", "temperature fitted", "calibration error before, points", "after"]
    columns += ["negative log-likelihood before, nats", "after (nats)"]
    caption = f"{MAIN_VARIANT} {inside.size}: calibration on the test images"
    return Table("calibration", caption, columns, rows)


def confusions(inside: Inside) -> Table:
    """Every confusion, in % of the images of its class."""
    columns = ["is", "taken for", "no teacher", "distilled", "change"]
    names = inside.classes
    rows: list[list[Cell]] = [
        [names[one.truth], names[one.predicted], one.without, one.distilled, one.change]
        for one in inside.resolved
    ]
    caption = f"{MAIN_VARIANT} {inside.size}: confusions, % of the images of the class"
    return Table("confusions", caption, columns, rows)
