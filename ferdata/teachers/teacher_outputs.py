"""Arithmetic on the outputs of teachers: the mean over crops, and classes that others have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ferdata.labels import LabelMap, LabelSpace, label_map
from ferdata.teachers.soft_label_checks import PROBABILITY_FLOOR
from tinycnn.ground.distributions import log_sum_exp


def mean_over_crops(values: np.ndarray, kind: str) -> np.ndarray:
    """(N, n_crops, K) -> float32 (N, K): logits as logits, logarithms of probabilities as
    probabilities."""
    values = values.astype(np.float64)
    if kind == "logits":
        return values.mean(axis=1).astype(np.float32)
    return np.log(np.exp(values).mean(axis=1)).astype(np.float32)


def classes_of_all(first: Sequence[str], others: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The classes of `first`, then those that it lacks and others have."""
    found = tuple(first)
    for classes in others:
        found += classes_without(classes, found)
    return found


def classes_without(classes: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Those classes that are not among the others, also not by a known synonym."""
    return label_map(LabelSpace("", tuple(classes)), LabelSpace("", tuple(others)), True).dropped


def with_unknown_classes(values: np.ndarray, n_classes: int) -> np.ndarray:
    """float32 (..., K + n_classes), logarithms of probabilities: 1e-7, which stands for 0, in the
    classes that a teacher does not know.  values: logits or logarithms of probabilities."""
    logs = values - log_sum_exp(values.astype(np.float64))
    unknown = np.full((*values.shape[:-1], n_classes), np.log(PROBABILITY_FLOOR))
    return np.concatenate([logs, unknown], axis=-1).astype(np.float32)


def n_mostly_dropped(values: np.ndarray, mapped: LabelMap) -> int:
    """The number of images that give dropped classes more than half of the probability, averaged
    over their crops."""
    dropped = np.array([i is None for i in mapped.indices])
    share = np.exp(values - log_sum_exp(values))[..., dropped].sum(axis=-1)  # (N,) or (N, n_crops)
    return int((share.mean(axis=tuple(range(1, share.ndim))) > 0.5).sum())
