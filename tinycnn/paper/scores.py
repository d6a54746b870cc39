"""The results of a plan by what was trained; confidence intervals of accuracies and differences.

A difference is computed for each fold and seed before anything is averaged.  What makes a fold
hard or a seed lucky affects both sides of the difference, and cancels.  Accuracies are in % of
images, differences in points.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..sweep import choose, mean_and_interval, score
from ..sweep.trial import read_trial
from .plan import MAIN_VARIANT, Plan

Replicate = tuple["int | None", int]
"""(fold, seed)."""
Values = dict[Replicate, float]
Result = Mapping[str, Any]  # as `sweep.run_trial` returns it


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval, mean -+ half_width (infinite for a single value).
    n: the number of independent values, which is that of the folds, or without folds of seeds."""

    mean: float
    half_width: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def interval(values: Values) -> Interval:
    """The 95 % confidence interval of a mean over folds and seeds.

    The seeds of a fold share its images, so their mean counts as one value.  Folds share training
    images, so their values agree more than independent values would: the variance of the mean of k
    folds is taken as (1/k + 1/8) s^2 instead of s^2 / k, with Student's t of k - 1 degrees of
    freedom (Nadeau and Bengio, Machine Learning 52, 2003).  1/8: of ten folds one is for testing,
    eight are for training.  Without folds the values are those of the seeds, with s^2 / k; the
    interval is then about training again on the same images, not about other test images.
    Raises ValueError without values.
    """
    by_fold: dict[Any, list[float]] = {}
    for (fold, seed), value in values.items():
        by_fold.setdefault(seed if fold is None else fold, []).append(value)
    has_folds = any(fold is not None for fold, _ in values)
    means = [mean(*same) for same in by_fold.values()]
    middle, half_width = mean_and_interval(means, 1 / 8 if has_folds else 0.0)
    return Interval(middle, half_width if len(means) > 1 else math.inf, len(means))


class Scores:
    """The results of a plan, found by what was trained."""

    def __init__(self, plan: Plan, results: Mapping[str, Iterable[Result]]) -> None:
        """results: of each split; trials without a result are left out of everything below.

        teachers: the results of the teachers that were trained in the folds, by (fold, seed)
        """
        self.plan = plan
        self.results: dict[tuple, dict[Replicate, Result]] = {}
        self.teachers: dict[Replicate, Result] = {}
        for split, several in results.items():
            for result in several:
                trial = read_trial(dict(result["trial"]))
                if trial.is_teacher:
                    self.teachers[trial.fold, trial.seed] = result
                    continue
                key = (split, trial.variant, trial.size, trial.temperature)
                self.results.setdefault(key, {})[trial.fold, trial.seed] = result

    @property
    def main_split(self) -> str:
        return self.plan.splits[0]

    def of(
        self, split: str, variant: str, size: str, temperature: float | None = None
    ) -> dict[Replicate, Result]:
        """Results by (fold, seed).  temperature None: without a teacher."""
        return self.results.get((split, variant, size, temperature), {})

    def accuracy(
        self, split: str, variant: str, size: str, temperature: float | None = None
    ) -> Values:
        return accuracies(self.of(split, variant, size, temperature))

    def without_teacher(self, size: str) -> dict[Replicate, Result]:
        """The main variant's results on the main split, without a teacher."""
        return self.of(self.main_split, MAIN_VARIANT, size)

    def chosen(self, size: str, rule: str = "validation") -> dict[Replicate, Result]:
        """The main variant's results with the teacher, at the temperature that `sweep.choose`
        chooses by this rule.  Folds and seeds with missing temperatures are left out."""
        at = [self.of(self.main_split, MAIN_VARIANT, size, t) for t in self.plan.temperatures]
        results = [dict(of[replicate]) for of in at for replicate in _in_all(at)]
        return {
            (result["trial"]["fold"], result["trial"]["seed"]): result
            for result in choose(results, "temperature", rule)
        }

    def gain(self, size: str) -> Values:
        """The points of accuracy that the teacher adds."""
        distilled, alone = self.chosen(size), self.without_teacher(size)
        return paired(operator.sub, accuracies(distilled), accuracies(alone))


def accuracies(results: Mapping[Replicate, Result]) -> Values:
    """Reported accuracies in %."""
    return {replicate: 100 * score(result) for replicate, result in results.items()}


def _in_all(several: Sequence[Mapping[Replicate, Any]]) -> list[Replicate]:
    """The folds and seeds that are in all of these."""
    first, *others = several or [{}]
    return [replicate for replicate in first if all(replicate in other for other in others)]


def paired(function: Callable[..., float], *several: Values) -> Values:
    """function(a, b, ...) of the values for each fold and seed that all of `several` have."""
    return {
        replicate: function(*[values[replicate] for values in several])
        for replicate in _in_all(several)
    }


def mean(*numbers: float) -> float:
    return math.fsum(numbers) / len(numbers)


def slope(*numbers: float) -> float:
    """The slope of the least-squares line through (0, numbers[0]), (1, numbers[1]), ..."""
    middle = (len(numbers) - 1) / 2
    steps = [k - middle for k in range(len(numbers))]
    return math.fsum(d * y for d, y in zip(steps, numbers)) / math.fsum(d * d for d in steps)
