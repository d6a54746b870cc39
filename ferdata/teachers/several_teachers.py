"""Several teachers as one: the mean of their probabilities."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from ferdata.arguments import checked_option
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import LabelSpace, label_map
from ferdata.teachers.soft_label_files import singular
from ferdata.teachers.soft_labels import (
    CROPS,
    AlignReport,
    SoftLabels,
    align_soft_labels,
    class_map,
    entries_of,
    load_soft_labels,
)
from ferdata.teachers.teacher_outputs import classes_of_all, classes_without, with_unknown_classes
from tinycnn.ground.distributions import log_sum_exp
from tinycnn.ground.masked_arrays import unmasked


def average_soft_labels(
    teachers: Sequence[SoftLabels], weights: Sequence[float] | None = None
) -> SoftLabels:
    """Combine several teachers into one: the weighted mean of their probabilities, as logarithms.

    Probabilities (softmax of logits at temperature 1) are averaged, not logits: the logits of two
    networks may have different scales, and the network with the larger ones would dominate the
    mean. weights: a number above 0 for each teacher; None: equal weights.

    The teachers must have the same images, given by the same kind of key, the same classes and the
    same crops. Images and classes may be in any order; the result has the first teacher's. Outputs
    for mirror images are averaged if all teachers have them. Raises DataError if the teachers do
    not fit together, ValueError for no teachers or wrong weights.
    """
    if not teachers:
        raise ValueError("no teachers to average")
    given = np.ones(len(teachers)) if weights is None else unmasked("weights", weights)
    shares = np.asarray(given, np.float64)
    if shares.shape != (len(teachers),) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"weights: expected {len(teachers)} numbers above 0, found {weights!r}")
    shares = shares / shares.sum()
    first = teachers[0]
    orders = [_order_as(first, other) for other in teachers]
    flipped = [t.flipped_values for t in teachers if t.flipped_values is not None]

    def mean(outputs: list[np.ndarray]) -> np.ndarray:
        parts = []
        for values, (entries, columns), share in zip(outputs, orders, shares):
            values = values[entries][..., columns].astype(np.float64)
            parts.append(values - log_sum_exp(values) + np.log(share))
        return reduce(np.logaddexp, parts).astype(np.float32)

    return replace(
        first,
        values=mean([t.values for t in teachers]),
        flipped_values=mean(flipped) if len(flipped) == len(teachers) else None,
        kind="probabilities",
        floored_per_row=np.sum([t.floored_per_row[e] for t, (e, _) in zip(teachers, orders)], 0),
        source=" + ".join(t.source for t in teachers),
        percentages=any(t.percentages for t in teachers),
    )


def load_teachers(
    paths: Sequence[str | os.PathLike[str]],
    dataset: FaceDataset,
    *,
    extra_classes: str = "error",
    crops: str = "error",
) -> tuple[np.ndarray, np.ndarray | None, AlignReport]:
    """(values, flipped, report): the soft labels of one file, or the mean of several files, for
    each image of the data set; flipped: those for mirror images, or None.

    extra_classes  see `align_soft_labels`
    crops          "error" or "mean", see there

    Each file may also have entries for other images. Of extra classes each may have others: a
    teacher that does not know one gives it no probability. Raises what the functions above raise.
    """
    teachers = [load_soft_labels(path) for path in paths]
    if len(teachers) == 1:
        (teacher,) = teachers
    else:
        for one in teachers:
            class_map(one, dataset, extra_classes)
        union = classes_of_all(dataset.classes, (one.classes for one in teachers))
        parts = [_with_classes(_of_dataset(one, dataset), union) for one in teachers]
        teacher = average_soft_labels(parts)
    checked_option("crops", crops, CROPS[:2])
    how: dict[str, Any] = {"extra_classes": extra_classes, "crops": crops}
    values, report = align_soft_labels(teacher, dataset, **how)
    flipped = None
    if teacher.flipped_values is not None:
        flipped, _ = align_soft_labels(teacher, dataset, **how, flipped=True)
    return values, flipped, report


def _of_dataset(soft: SoftLabels, dataset: FaceDataset) -> SoftLabels:
    """Only the entries for images of the data set."""
    entries = np.unique(entries_of(soft, dataset))
    key, given = soft.key
    flipped = soft.flipped_values
    return replace(
        soft,
        values=soft.values[entries],
        floored_per_row=soft.floored_per_row[entries],
        flipped_values=None if flipped is None else flipped[entries],
        **{key: given[entries]},
    )


def _with_classes(soft: SoftLabels, wanted: tuple[str, ...]) -> SoftLabels:
    """The same teacher with all of these classes."""
    more = classes_without(wanted, soft.classes)
    if not more:
        return soft
    flipped = soft.flipped_values
    return replace(
        soft,
        values=with_unknown_classes(soft.values, len(more)),
        flipped_values=None if flipped is None else with_unknown_classes(flipped, len(more)),
        kind="probabilities",
        classes=soft.classes + more,
    )


def _order_as(first: SoftLabels, other: SoftLabels) -> tuple[np.ndarray, np.ndarray]:
    """(entries, columns) that bring `other` into the order of `first`."""
    (key, wanted), (other_key, given) = first.key, other.key
    if key != other_key or first.n_crops != other.n_crops:
        raise DataError(
            f"{other.source}: has {other_key}, {other.n_crops or 'no'} crops; "
            f"{first.source} has {key}, {first.n_crops or 'no'} crops"
        )
    position = {k: i for i, k in enumerate(given.tolist())}
    absent = [k for k in wanted.tolist() if k not in position]
    if absent or len(wanted) != len(given):
        raise DataError(
            f"{other.source}: has {len(given)} images, {first.source} has {len(wanted)}"
            + (f"; the first one missing is {singular(key)} {absent[0]!r}" if absent else "")
        )
    names = label_map(LabelSpace("", first.classes), LabelSpace("", other.classes), True)
    if names.dropped or names.unfilled:
        raise DataError(
            f"{other.source}: has classes {', '.join(other.classes)}; expected "
            f"{', '.join(first.classes)} in any order, as in {first.source}"
        )
    return np.array([position[k] for k in wanted.tolist()], np.int64), np.array(names.indices)
