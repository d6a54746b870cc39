"""The data of a training report, checked: arrays, numbers and texts of one or several runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import metrics
from ..ground.distributions import first_wrong_row


@dataclass(frozen=True, eq=False)
class RunReport:
    """What the page shows.

    histories    for each run, by name, the rows of its history.jsonl: `epoch` (increasing) and, if
                 known, train_loss, val_loss, val_accuracy (0..1), images_per_s, seconds; None and
                 NaN are gaps.  Everything below is about the first run
    labels       (N,) integers, 0 <= label < K, the true classes of the validation images
    probs        (N, K) floating, each row sums to 1
    images       (N, H, W) uint8;  ids: N names
    filters      (KH, KW, C, F), weights of the first layer
    data_hashes  hashes by name;  speed: numbers with their units, as text, by name
    warnings     what went wrong in the run, in sentences; shown above everything else
    config       nested values as in JSON; `seed` is also shown separately
    Raises ValueError or TypeError, with what was expected.
    """

    title: str
    command: str
    config: Mapping[str, Any]
    classes: Sequence[str]
    histories: Mapping[str, Sequence[Mapping[str, Any]]]
    labels: np.ndarray
    probs: np.ndarray
    images: np.ndarray
    ids: Sequence[str]
    filters: np.ndarray
    data_hashes: Mapping[str, str]
    speed: Mapping[str, str]
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "probs", "images", "filters"):
            object.__setattr__(self, name, np.asarray(vars(self)[name]))
        _check_arrays(self)
        for name, rows in self.histories.items():
            _check_history(name, rows)


def _check_arrays(report: RunReport) -> None:
    K, probs, images = len(report.classes), report.probs, report.images
    if not 2 <= K or len(set(report.classes)) != K:
        raise ValueError(f"classes are {list(report.classes)}: expected 2 or more different names")
    if probs.ndim != 2 or probs.shape[1] != K:
        raise ValueError(f"probs have shape {probs.shape}: expected (N, {K}), a column per class")
    N = len(probs)
    metrics.accuracy(probs, report.labels)  # checks dtypes, the shape and range of labels
    wrong = first_wrong_row(probs)
    if wrong is not None:
        row, total = wrong
        raise ValueError(
            f"probs[{row}] has sum {total:.4g} and minimum {probs[row].min():.4g}: expected "
            "probabilities; softmax turns logits into probabilities"
        )
    if images.dtype != np.uint8:
        raise TypeError(f"images have dtype {images.dtype}: expected uint8")
    if images.ndim != 3 or len(images) != N or 0 in images.shape[1:]:
        raise ValueError(f"images have shape {images.shape}: expected ({N}, H, W)")
    if len(report.ids) != N:
        raise ValueError(f"there are {len(report.ids)} ids: expected {N}, one for each image")
    if report.filters.ndim != 4 or 0 in report.filters.shape:
        raise ValueError(f"filters have shape {report.filters.shape}: expected (KH, KW, C, F)")


def _check_history(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Check the rows of one run."""
    last = -math.inf
    for number, row in enumerate(rows):
        where = f"history of {name!r}, row {number}"
        epoch = value_at(row, "epoch", where)
        if not last < epoch < math.inf:
            raise ValueError(
                f"{where}: epoch is {row.get('epoch')!r}; expected more than in the row before"
            )
        last = epoch
        for key in ("train_loss", "val_loss", "images_per_s", "seconds"):
            value_at(row, key, where)
        accuracy = value_at(row, "val_accuracy", where)
        if accuracy < 0 or accuracy > 1:  # not for NaN
            raise ValueError(f"{where}: val_accuracy is {accuracy}; expected a number from 0 to 1")


def value_at(row: Mapping[str, Any], key: str, where: str = "") -> float:
    """The number at `key`; NaN if it is missing, None or not finite.  where: for the message."""
    value = row.get(key)
    if value is None:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {key} is {value!r}; expected a number or None") from None
    return number if math.isfinite(number) else math.nan
