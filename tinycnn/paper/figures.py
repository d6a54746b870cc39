"""The figures of a study, through `tinycnn.plots`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import plots
from . import published
from .inside import Inside
from .plan import MAIN_VARIANT
from .scores import Scores, Values, accuracies
from .tables import SPLIT_NAMES, estimate


def _pair(values: Values) -> plots.Estimate:
    found = estimate(values)
    return (math.nan, math.nan) if found is None else (found.mean, found.half_width)


def of_scores(scores: Scores) -> dict[str, bytes]:
    """PNG files by name: figures of the experiments that the paper reports."""
    plan, sizes = scores.plan, scores.plan.sizes
    figures = {}
    without = {size: _pair(accuracies(scores.without_teacher(size))) for size in sizes}
    if plan.temperatures:
        distilled = [_pair(accuracies(scores.chosen(size))) for size in sizes]
        theirs = {
            f"paper, {name}": [
                (published.WITHOUT_TEACHER[name][size], published.WITH_TEACHER[name][size])
                for size in sizes
            ]
            for name in published.DATA_SETS
        }
        figures["distillation"] = plots.distillation_by_size(
            sizes, list(without.values()), distilled, theirs
        )
    if len(plan.temperatures) > 1:
        figures["temperature"] = _by_temperature(scores, without)
    panels, others = {}, {}
    for split in plan.splits:
        panels[SPLIT_NAMES[split]] = {
            variant: [_pair(scores.accuracy(split, variant, size)) for size in sizes]
            for variant in published.VARIANTS
        }
        if split != "own-split":
            others[f"paper, CK+, {SPLIT_NAMES[split]}"] = {
                variant: [published.CANDIDATES["CK+", split, variant, size] for size in sizes]
                for variant in published.VARIANTS
            }
    figures["candidates"] = plots.candidates_by_size(sizes, panels, others)
    return {name: plots.png(figure) for name, figure in figures.items()}


def _by_temperature(scores: Scores, without: Mapping[str, plots.Estimate]) -> plots.Figure:
    plan, split = scores.plan, scores.main_split
    by_size = {
        size: [_pair(scores.accuracy(split, MAIN_VARIANT, size, t)) for t in plan.temperatures]
        for size in plan.sizes
    }
    theirs = {}
    if plan.temperatures == published.TEMPERATURES:
        theirs = {f"paper, {name}": published.BY_TEMPERATURE[name] for name in published.DATA_SETS}
    alone = {size: mean for size, (mean, _) in without.items() if math.isfinite(mean)}
    return plots.accuracy_by_temperature(plan.temperatures, by_size, alone, theirs)


def of_latencies(latencies: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """PNG files by name: the figure of `cost.latencies`."""
    ours = [(1e6 * row["image_s"], 1e6 * row["low_s"], 1e6 * row["high_s"]) for row in latencies]
    sizes = [row["size"] for row in latencies]
    theirs = {"paper, i7-7700HQ": [1e3 * published.I7_MS[size] for size in sizes]}
    return {"speed": plots.png(plots.time_by_size(sizes, ours, theirs))}


def of_inside(inside: Inside) -> dict[str, bytes]:
    """PNG files by name: figures of what the paper does not report."""
    panels = {
        name: {when: found.reliability(k) for k, when in enumerate(("as trained", "scaled"))}
        for name, found in inside.calibration.items()
    }
    figures = {}
    if panels:
        figures["reliability"] = plots.reliability(panels)
    if inside.confusion:
        figures["confusions"] = plots.confusions(inside.classes, inside.confusion)
    if len(inside.confusion) == 2:
        before, after = inside.confusion.values()
        figures["confusion-change"] = plots.confusion_change(inside.classes, before, after)
    return {name: plots.png(figure) for name, figure in figures.items()}
