"""The paper's claims, and a verdict on each from our own results.

A claim has several measures, such as differences in accuracy.  Some decide about the claim: it
expects them above 0, or below.  The claim holds if the intervals of all these measures are on the
expected side of 0.  It does not hold if one of them is on the other side.  Otherwise it cannot be
told.  Each interval is a 95 % interval; there is no correction for the number of measures.
A claim is not tested if the networks were trained for fewer than LEAST_EPOCHS epochs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from . import published
from .plan import MAIN_VARIANT
from .scores import Interval, Scores, Values, accuracies, interval, mean, paired, slope

HOLDS, FAILS, OPEN, UNTESTED = "holds", "does not hold", "cannot be told", "not tested"
_INCOMPLETE = "trials are missing or failed"
_NO_SUBJECTS = "the data set does not say who is shown"
LEAST_N = 3
"""With fewer folds or seeds there is no verdict: two values may agree by chance."""
LEAST_EPOCHS = 3
"""After fewer, networks differ mostly in how fast they begin to learn, which no claim is about."""


@dataclass(frozen=True)
class Measure:
    """A number of points.  sign: 1 or -1 if the claim expects it above or below 0, None if it does
    not decide.  paper: the same number from the paper's tables, by data set, if they have it."""

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
    """missing: why there are no results to judge it by; "" if there are.  untested: why there are
    results that say nothing about it; "" if they do."""

    name: str
    text: str
    measures: tuple[Measure, ...]
    note: str = ""
    missing: str = ""
    untested: str = ""

    @property
    def verdict(self) -> str:
        if self.untested:
            return UNTESTED
        verdicts = [measure.verdict for measure in self.measures if measure.sign is not None]
        if self.missing or not verdicts:
            return OPEN
        if FAILS in verdicts:
            return FAILS
        return HOLDS if set(verdicts) == {HOLDS} else OPEN


def judged(scores: Scores) -> list[Claim]:
    """All claims, in the paper's order."""
    claims = [
        _distillation_helps(scores),
        _helps_small_ones_more(scores),
        _pooling_helps(scores),
        _overlap_reverses(scores),
        _temperature_matters(scores),
    ]
    epochs = scores.plan.epochs
    if epochs >= LEAST_EPOCHS:
        return claims
    trained = "one epoch" if epochs == 1 else f"{epochs} epochs"
    why = f"trained for {trained}; a verdict needs {LEAST_EPOCHS} or more"
    return [claim if claim.missing else replace(claim, untested=why) for claim in claims]


def _of_paper(function: Callable[[str], float]) -> dict[str, float]:
    """function(name) for each of the paper's data sets."""
    return {name: function(name) for name in published.DATA_SETS}


def _paper_gain(data_set: str, size: str) -> float:
    return published.WITH_TEACHER[data_set][size] - published.WITHOUT_TEACHER[data_set][size]


def _why_no_gains(scores: Scores) -> str:
    """Why the gains by the teacher are not known; "" if they are."""
    if not scores.plan.temperatures:
        return "there is no teacher"
    gains = [scores.gain(size) for size in scores.plan.sizes]
    return "" if all(gains) else _INCOMPLETE


def _distillation_helps(scores: Scores) -> Claim:
    missing = _why_no_gains(scores)
    measures = [
        Measure(
            f"with the teacher - without, {size}",
            interval(scores.gain(size)),
            1,
            _of_paper(lambda data_set: _paper_gain(data_set, size)),
        )
        for size in ([] if missing else scores.plan.sizes)
    ]
    return Claim(
        "distillation",
        "Distillation helps, at every size",
        tuple(measures),
        "We choose the temperature by the validation images of each fold; the paper chose it by "
        "the reported score, which is optimistic.",
        missing,
    )


def _helps_small_ones_more(scores: Scores) -> Claim:
    sizes = scores.plan.sizes
    missing = _why_no_gains(scores) or ("" if len(sizes) > 1 else "there is only one size")
    measures = []
    if not missing:
        trend = paired(slope, *[scores.gain(size) for size in sizes])
        theirs = _of_paper(lambda name: slope(*[_paper_gain(name, size) for size in sizes]))
        name = "change of the gain with each step to a smaller size"
        measures.append(Measure(name, interval(trend), 1, theirs))
    return Claim(
        "smaller",
        "Distillation helps more the smaller the network",
        tuple(measures),
        f"The slope of a straight line fitted to the gains for {', '.join(sizes)}, in each fold.",
        missing,
    )


def _pooling(scores: Scores, split: str, sign: int | None) -> list[Measure]:
    """p12 - v: the mean over the sizes, which decides, and the difference for each size."""
    sizes = scores.plan.sizes

    def ours(size: str) -> Values:
        pooled, plain = (scores.accuracy(split, v, size) for v in (MAIN_VARIANT, "v"))
        return paired(operator.sub, pooled, plain)

    def theirs(name: str, size: str) -> float:
        pooled, plain = (published.CANDIDATES[name, split, v, size] for v in (MAIN_VARIANT, "v"))
        return pooled - plain

    by_size = [ours(size) for size in sizes]
    if not all(by_size):
        return []
    shown = {"subject": "by subject", "random": "random split"}.get(split, split)

    def paper(*several: str) -> dict[str, float] | None:
        if split not in ("subject", "random"):
            return None
        return _of_paper(lambda name: mean(*[theirs(name, size) for size in several]))

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
    missing = "" if measures else _INCOMPLETE
    if not by_subject:
        missing = _NO_SUBJECTS
    return Claim(
        "pooling",
        "Pooling helps generalisation to unseen people",
        tuple(measures),
        "Pooling after both convolutions (p12) against no pooling (v), without a teacher.",
        missing,
    )


def _overlap_reverses(scores: Scores) -> Claim:
    measures, missing = [], _NO_SUBJECTS
    if {"subject", "random"} <= set(scores.plan.splits):
        by_subject, random = _pooling(scores, "subject", 1), _pooling(scores, "random", -1)
        measures = by_subject[:1] + random
        missing = "" if by_subject and random else _INCOMPLETE
    return Claim(
        "overlap",
        "Overlap of subjects reverses that: on a random split pooling hurts",
        tuple(measures),
        "Reversed means both: p12 is better than v by subject, and worse if the people in the "
        "test images are also in the training images.",
        missing,
    )


def _temperature_matters(scores: Scores) -> Claim:
    plan = scores.plan
    missing = _why_no_gains(scores)
    if not missing and len(plan.temperatures) < 2:
        missing = "there is only one temperature"
    measures = []
    if not missing:
        honest = [_search(scores, size, "validation") for size in plan.sizes]
        optimistic = [_search(scores, size, "reported") for size in plan.sizes]
        name = "searched on validation images - unsearched"
        measures = [
            Measure(name, interval(paired(mean, *honest)), 1),
            Measure(
                "searched on the reported score - unsearched (optimistic)",
                interval(paired(mean, *optimistic)),
                None,
                _of_paper(lambda name: mean(*[_paper_search(name, size) for size in plan.sizes])),
            ),
        ]
        if len(plan.sizes) > 1:
            measures += [
                Measure(f"{name}, {size}", interval(values))
                for size, values in zip(plan.sizes, honest)
            ]
    return Claim(
        "temperature",
        "The temperature matters: searching for it pays",
        tuple(measures),
        "Unsearched means the mean over all temperatures, which is what a random temperature from "
        "the list would get. On the score that it was chosen by, the best of several values is "
        "always above their mean, even if all are equally good. So there are two ways to choose.",
        missing,
    )


def _search(scores: Scores, size: str, rule: str) -> Values:
    """How many points the chosen temperature is above the mean over all temperatures."""
    plan = scores.plan
    at = [scores.accuracy(scores.main_split, MAIN_VARIANT, size, t) for t in plan.temperatures]
    found = accuracies(scores.chosen(size, rule))
    return paired(lambda chosen, *all_: chosen - mean(*all_), found, *at)


def _paper_search(data_set: str, size: str) -> float:
    """The same from the paper's figures, at the temperature that is best on the reported score."""
    figures = published.BY_TEMPERATURE[data_set][size]
    return max(figures) - mean(*figures)
