"""Choosing among trials: where the choice may look, and what can be said of the rest.

A temperature that is chosen on the score that is then reported makes that score look better than
it is.  "validation" chooses on the validation images inside the training part of each fold and
reports the fold's test images; "reported" is the paper's way, and optimistic.  So is "validation"
for data that have no test images: the validation images are then both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .trial import read_trial

RULES = ("validation", "reported")


def score(result: dict[str, Any]) -> float:
    """The accuracy that is reported: on the test images, or on the validation images of data that
    have no others."""
    return (result["test"] or result["validation"])["accuracy"]


def is_optimistic(results: Sequence[dict[str, Any]], rule: str) -> bool:
    """Whether a choice by this rule among these results looks at what is then reported."""
    return _checked(rule) == "reported" or any(result["test"] is None for result in results)


def choose(
    results: Sequence[dict[str, Any]], option: str, rule: str = "validation"
) -> list[dict[str, Any]]:
    """Of results that differ in `option` alone the best one, for every setting of the others.

    option  a name of Trial's, such as "temperature"; its values may be missing in some groups
    rule    "validation": best on the validation images, for every fold and seed by itself;
            "reported": the one value whose mean reported score over folds and seeds is best, as
            the paper did
    Ties go to the smaller value.  Results come in the order of their groups.  Raises ValueError for
    another rule or option.
    """
    _checked(rule)
    trials = [asdict(read_trial(result["trial"])) for result in results]
    for trial in trials:
        if option not in trial:
            raise ValueError(f"no option {option!r}; a trial has {', '.join(sorted(trial))}")
    apart = {option} if rule == "validation" else {option, "fold", "seed"}
    groups: dict[tuple, dict[Any, list[dict[str, Any]]]] = {}
    for result, trial in zip(results, trials):
        key = tuple((name, trial[name]) for name in sorted(trial) if name not in apart)
        groups.setdefault(key, {}).setdefault(trial[option], []).append(result)

    def merit(entry: tuple[Any, list[dict[str, Any]]]) -> tuple[float, float]:
        value, same = entry
        if rule == "validation":
            scores = [result["validation"]["accuracy"] for result in same]
        else:
            scores = [score(result) for result in same]
        smaller = -value if isinstance(value, (int, float)) else 0.0
        return math.fsum(scores) / len(scores), smaller

    return [
        result for by_value in groups.values() for result in max(by_value.items(), key=merit)[1]
    ]


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % confidence interval (Student's t; 0 for one value).

    The values are taken as independent.  Folds share training images, so over folds the interval
    is a little too narrow (Bengio and Grandvalet, JMLR 5, 2004).  Raises ValueError for none.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, 0.0
    from scipy.stats import t

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return mean, float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)


def _checked(rule: str) -> str:
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    return rule
