"""Results of a plan by what was trained, and intervals of what is computed from them.

Everything is computed for each fold and seed by itself first, differences above all: what makes a
fold hard, or a start lucky, is in both parts of a difference and drops out.  Accuracies are in % of
images, differences in points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..sweep import choose, score
from ..sweep.trial import read_trial
from .plan import MAIN_VARIANT, Plan

Replicate = tuple["int | None", int]
"""(fold, seed)."""
Values = dict[Replicate, float]
Result = Mapping[str, Any]


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval mean -+ half_width, which is infinite where there is
    one value alone; n: how many independent values it comes from (folds, else seeds)."""

    mean: float
    half_width: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def interval(values: Values, test_per_train: float = 1 / 8) -> Interval:
    """95 % confidence interval of a mean over folds and seeds.

    Seeds of a fold share its images, so their mean counts as one value.  Folds share training
    images, so their values agree more than independent ones would: the variance of the mean of k
    folds is taken as (1/k + test_per_train) s^2, not s^2 / k, with Student's t of k - 1 degrees of
    freedom (Nadeau and Bengio, Machine Learning 52, 2003).  Of ten folds one is test,
    eight are trained on.  Without folds the values are those of the seeds, s^2 / k holds, and the
    interval speaks of another training on the same images, not of other test images.
    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    by_fold: dict[Any, list[float]] = {}
    for (fold, seed), value in values.items():
        by_fold.setdefault(seed if fold is None else fold, []).append(value)
    is_folds = next(iter(values))[0] is not None
    means = [math.fsum(same) / len(same) for same in by_fold.values()]
    k, mean = len(means), math.fsum(means) / len(means)
    if k < 2:
        return Interval(mean, math.inf, k)
    from scipy.stats import t

    variance = math.fsum((value - mean) ** 2 for value in means) / (k - 1)
    scale = 1 / k + (test_per_train if is_folds else 0)
    return Interval(mean, float(t.ppf(0.975, k - 1)) * math.sqrt(variance * scale), k)


class Scores:
    """The results of a plan, found by what was trained."""

    def __init__(self, plan: Plan, results: Mapping[str, Iterable[Result]]) -> None:
        """results: those of each split; trials that have none are missing below too."""
        self.plan = plan
        self.results: dict[tuple, dict[Replicate, Result]] = {}
        for split, several in results.items():
            for result in several:
                trial = read_trial(dict(result["trial"]))
                key = (split, trial.variant, trial.size, trial.temperature)
                self.results.setdefault(key, {})[trial.fold, trial.seed] = result

    @property
    def main_split(self) -> str:
        return self.plan.splits[0]

    def of(
        self, split: str, variant: str, size: str, temperature: float | None = None
    ) -> dict[Replicate, Result]:
        """Results by (fold, seed); None: without a teacher."""
        return self.results.get((split, variant, size, temperature), {})

    def accuracy(
        self, split: str, variant: str, size: str, temperature: float | None = None
    ) -> Values:
        return accuracies(self.of(split, variant, size, temperature))

    def untaught(self, size: str) -> dict[Replicate, Result]:
        """The main variant's results on the main split, without a teacher."""
        return self.of(self.main_split, MAIN_VARIANT, size)

    def chosen(self, size: str, rule: str = "validation") -> dict[Replicate, Result]:
        """With the teacher, at the temperature chosen by `sweep.choose`: "validation" for every
        fold and seed by itself, or "reported", as the paper did, which is optimistic."""
        at = [self.of(self.main_split, MAIN_VARIANT, size, t) for t in self.plan.temperatures]
        complete = _in_all(at)
        results = [dict(by[replicate]) for by in at for replicate in complete]
        return {
            (result["trial"]["fold"], result["trial"]["seed"]): result
            for result in choose(results, "temperature", rule)
        }

    def gain(self, size: str, rule: str = "validation") -> Values:
        """Points that the teacher adds."""
        return paired(
            lambda taught, alone: taught - alone,
            accuracies(self.chosen(size, rule)),
            accuracies(self.untaught(size)),
        )


def accuracies(results: Mapping[Replicate, Result]) -> Values:
    return {replicate: 100 * score(dict(result)) for replicate, result in results.items()}


def _in_all(several: Sequence[Mapping[Replicate, Any]]) -> list[Replicate]:
    first, *others = several or [{}]
    return [replicate for replicate in first if all(replicate in other for other in others)]


def paired(function: Callable[..., float], *several: Values) -> Values:
    """function(values of one fold and seed), for those that all have."""
    return {
        replicate: function(*(values[replicate] for values in several))
        for replicate in _in_all(several)
    }


def mean(*numbers: float) -> float:
    return math.fsum(numbers) / len(numbers)


def slope(*numbers: float) -> float:
    """Least-squares slope over 0, 1, 2, ...: points for each step along the numbers."""
    middle = (len(numbers) - 1) / 2
    steps = [k - middle for k in range(len(numbers))]
    return math.fsum(d * y for d, y in zip(steps, numbers)) / math.fsum(d * d for d in steps)
