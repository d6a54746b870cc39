"""What the paper claims, and what one's own results say of it: from intervals, paired over folds.

A claim has measures; those that decide have a sign that the claim expects.  It holds where all
their intervals lie on the expected side of 0, does not hold where one of them lies on the other
side, and else it cannot be told.  The intervals are 95 % each; nothing is corrected for there being
several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import published
from .plan import MAIN_VARIANT
from .scores import Interval, Scores, Values, accuracies, interval, mean, paired, slope

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
LEAST_N = 3
"""Folds or seeds below which nothing is told: two that agree by accident have no width."""


@dataclass(frozen=True)
class Measure:
    """A number of points.  sign: on which side of 0 the claim expects it, None where it does not
    decide.  paper: the same from the paper's figures, by data set, where they have it."""

    name: str
    found: Interval
    sign: int | None = None
    paper: Mapping[str, float] | None = None

    @property
    def verdict(self) -> str:
        if self.sign is None or self.found.n < LEAST_N:
            return OPEN
        low, high = sorted((self.sign * self.found.low, self.sign * self.found.high))
        return HOLDS if low > 0 else FAILS if high < 0 else OPEN


@dataclass(frozen=True)
class Claim:
    """missing: why there is nothing to judge it by, "" if there is."""

    name: str
    text: str
    measures: tuple[Measure, ...]
    note: str = ""
    missing: str = ""

    @property
    def verdict(self) -> str:
        verdicts = [measure.verdict for measure in self.measures if measure.sign is not None]
        if self.missing or not verdicts:
            return OPEN
        if FAILS in verdicts:
            return FAILS
        return HOLDS if set(verdicts) == {HOLDS} else OPEN


def judged(scores: Scores) -> list[Claim]:
    """All claims, in the order of the paper."""
    return [
        _distillation_helps(scores),
        _helps_small_ones_more(scores),
        _pooling_helps(scores),
        _overlap_reverses(scores),
        _temperature_matters(scores),
    ]


def _of_paper(function: Callable[[str], float]) -> dict[str, float]:
    return {name: function(name) for name in published.DATA_SETS}


def _paper_gain(data_set: str, size: str) -> float:
    return published.WITH_TEACHER[data_set][size] - published.WITHOUT_TEACHER[data_set][size]


def _no_teacher(scores: Scores) -> str:
    if not scores.plan.temperatures:
        return "there is no teacher"
    return _unmeasured([scores.gain(size) for size in scores.plan.sizes])


def _unmeasured(values: Sequence[Values]) -> str:
    return "" if all(values) else "trials are missing or failed"


def _distillation_helps(scores: Scores) -> Claim:
    missing = _no_teacher(scores)
    measures = (
        []
        if missing
        else [
            Measure(
                f"with the teacher - without, {size}",
                interval(scores.gain(size)),
                1,
                _of_paper(lambda data_set: _paper_gain(data_set, size)),
            )
            for size in scores.plan.sizes
        ]
    )
    return Claim(
        "distillation",
        "Distillation helps, at every size",
        tuple(measures),
        "Ours: the temperature chosen on validation images of each fold; the paper's: on the "
        "reported score, which is optimistic.",
        missing,
    )


def _helps_small_ones_more(scores: Scores) -> Claim:
    sizes = scores.plan.sizes
    missing = _no_teacher(scores) or ("" if len(sizes) > 1 else "there is one size alone")
    measures = []
    if not missing:
        trend = paired(slope, *(scores.gain(size) for size in sizes))
        theirs = _of_paper(lambda name: slope(*(_paper_gain(name, size) for size in sizes)))
        name = "change of the gain with each step to a smaller size"
        measures.append(Measure(name, interval(trend), 1, theirs))
    return Claim(
        "smaller",
        "Distillation helps more the smaller the network",
        tuple(measures),
        f"The least-squares slope of the gain over {', '.join(sizes)}, in each fold.",
        missing,
    )


def _pooling(scores: Scores, split: str, sign: int | None) -> list[Measure]:
    """p12 - v: their mean over the sizes, which decides, and each."""
    sizes = scores.plan.sizes

    def theirs(name: str, size: str) -> float:
        by_variant = [published.CANDIDATES[name, split, v, size] for v in (MAIN_VARIANT, "v")]
        return by_variant[0] - by_variant[1]

    def ours(size: str) -> Values:
        both = [scores.accuracy(split, variant, size) for variant in (MAIN_VARIANT, "v")]
        return paired(lambda pooled, plain: pooled - plain, *both)

    by_size = [ours(size) for size in sizes]
    if _unmeasured(by_size):
        return []
    shown = {"subject": "by subject", "random": "random split"}.get(split, split)

    def paper(*several: str) -> dict[str, float] | None:
        if split not in ("subject", "random"):
            return None
        return _of_paper(lambda name: mean(*(theirs(name, size) for size in several)))

    all_sizes = interval(paired(mean, *by_size))
    measures = [Measure(f"p12 - v, {shown}, mean over sizes", all_sizes, sign, paper(*sizes))]
    if len(sizes) > 1:
        measures += [
            Measure(f"p12 - v, {shown}, {size}", interval(values), None, paper(size))
            for size, values in zip(sizes, by_size)
        ]
    return measures


def _pooling_helps(scores: Scores) -> Claim:
    by_subject = "subject" in scores.plan.splits
    split = "subject" if by_subject else scores.main_split
    measures = _pooling(scores, split, 1 if by_subject else None)
    missing = "" if measures else "trials are missing or failed"
    if not by_subject:
        missing = "the data set does not say who is shown"
    return Claim(
        "pooling",
        "Pooling helps generalisation to unseen people",
        tuple(measures),
        "Both convolutions pooled (p12) against none (v), without a teacher.",
        missing,
    )


def _overlap_reverses(scores: Scores) -> Claim:
    measures, missing = [], "the data set does not say who is shown"
    if {"subject", "random"} <= set(scores.plan.splits):
        several = [_pooling(scores, "subject", 1), _pooling(scores, "random", -1)]
        measures = [measure for group in several for measure in group[:1]] + several[1][1:]
        missing = "" if all(several) else "trials are missing or failed"
    return Claim(
        "overlap",
        "Overlap of subjects reverses that: on a random split pooling hurts",
        tuple(measures),
        "Reversed means both: p12 above v by subject, and below it where the same people are "
        "trained on and measured on.",
        missing,
    )


def _temperature_matters(scores: Scores) -> Claim:
    plan = scores.plan
    missing = _no_teacher(scores)
    if not missing and len(plan.temperatures) < 2:
        missing = "there is one temperature alone"
    measures = []
    if not missing:
        searched = {rule: [_search(scores, size, rule) for size in plan.sizes] for rule in _RULES}
        honest = paired(mean, *searched["validation"])
        measures.append(Measure("searched on validation images - unsearched", interval(honest), 1))
        measures.append(
            Measure(
                "searched on the reported score - unsearched (optimistic)",
                interval(paired(mean, *searched["reported"])),
                None,
                _of_paper(lambda name: mean(*(_paper_search(name, size) for size in plan.sizes))),
            )
        )
        if len(plan.sizes) > 1:
            measures += [
                Measure(f"searched on validation images - unsearched, {size}", interval(values))
                for size, values in zip(plan.sizes, searched["validation"])
            ]
    return Claim(
        "temperature",
        "The temperature matters: searching for it pays",
        tuple(measures),
        "Unsearched is the mean over all temperatures, which is what a temperature drawn from the "
        "list gets. A best value among several always looks better than their mean on the score "
        "that it was chosen by, even where they are all alike: hence two ways to choose.",
        missing,
    )


_RULES = ("validation", "reported")


def _search(scores: Scores, size: str, rule: str) -> Values:
    """Points that the chosen temperature is above the mean over all of them."""
    plan = scores.plan
    at = [scores.accuracy(scores.main_split, MAIN_VARIANT, size, t) for t in plan.temperatures]
    found = accuracies(scores.chosen(size, rule))
    return paired(lambda chosen, *all_: chosen - mean(*all_), found, *at)


def _paper_search(data_set: str, size: str) -> float:
    figures = published.BY_TEMPERATURE[data_set][size]
    return max(figures) - mean(*figures)
