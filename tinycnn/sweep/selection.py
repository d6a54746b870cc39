"""Choosing the best of several trials, such as the best temperature.

A choice by the score that is then reported makes that score look better than it is.  The rule
"validation" chooses by the validation images, which belong to the training part of each fold, and
reports the score on the fold's test images.  The rule "reported" is the paper's: it chooses by the
reported score, and is optimistic.  So is "validation" for data without test images, because the
score on the validation images is then reported too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .trial import option_names, options_of

RULES = ("validation", "reported")


def score(result: Mapping[str, Any]) -> float:
    """The reported accuracy: on the test images, or if there are none on the validation images."""
    return (result["test"] or result["validation"])["accuracy"]


def is_optimistic(results: Sequence[Mapping[str, Any]], rule: str) -> bool:
    """Whether this rule chooses by the score that is then reported, for any of these results."""
    return _checked(rule) == "reported" or any(result["test"] is None for result in results)


def choose(
    results: Sequence[dict[str, Any]], option: str, rule: str = "validation"
) -> list[dict[str, Any]]:
    """Choose the best value of `option`, for every setting of the other options.

    option  a name of an option of Trial, such as "temperature"
    rule    "validation": for every fold and seed, the value that is best on the validation images;
            "reported": the value whose reported score is best on average over folds and seeds, as
            the paper did
    Returns the results with the chosen values, in the order of their settings.  Ties go to the
    smaller value.  Raises ValueError for another rule or option.
    """
    _checked(rule)
    trials = [options_of(result) for result in results]
    if option not in option_names():
        raise ValueError(f"no option {option!r}; expected one of {', '.join(option_names())}")
    ignored = {option} if rule == "validation" else {option, "fold", "seed"}
    groups: dict[tuple, dict[Any, list[dict[str, Any]]]] = {}
    for result, trial in zip(results, trials):
        key = tuple((name, trial[name]) for name in sorted(trial) if name not in ignored)
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


def mean_and_interval(values: Sequence[float], overlap: float = 0.0) -> tuple[float, float]:
    """Mean, and half the width of its 95 % confidence interval (Student's t; 0 for one value).

    The variance of the mean of n values is taken as (1/n + overlap) s^2; overlap is 0 for
    independent values.  Folds share training images, so with 0 their interval is a little too
    narrow (Bengio and Grandvalet, JMLR 5, 2004).  Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, 0.0
    from scipy.stats import t

    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, float(t.ppf(0.975, n - 1)) * math.sqrt(variance * (1 / n + overlap))


def _checked(rule: str) -> str:
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    return rule
