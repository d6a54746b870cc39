"""Checks labels of every usual kind and converts them for the losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .ground.distributions import ROW_SUM_TOLERANCE, first_wrong_row
from .ground.masked_arrays import unmasked
from .metrics import check_classes

MOST_NAMES = 12
"""A message lists at most this many class names."""


class Labels(NamedTuple):
    """The labels of N images for K classes."""

    indices: np.ndarray  # (N,) int64; of a distribution, its likeliest class
    distributions: np.ndarray | None  # (N, K) floating, or None: each image has one class

    @property
    def targets(self) -> np.ndarray:
        """What a loss takes."""
        return self.indices if self.distributions is None else self.distributions

    def rows(self, which: np.ndarray) -> Labels:
        """The labels of some of the images."""
        rows = self.distributions
        return Labels(self.indices[which], None if rows is None else rows[which])


def check_labels(labels: npt.ArrayLike, classes: Sequence[str], n_images: int) -> Labels:
    """The labels of n_images images, checked.

    labels   one label for each image: class indices (N,) or (N, 1), or class names (N,); or a row
             for each image: one-hot (N, K), or distributions (N, K), floating
    classes  K names
    Raises TypeError for labels of another kind, ValueError for a wrong number, shape or class.
    """
    array = unmasked("labels", labels)
    n, k = n_images, len(classes)
    if array.ndim == 2 and array.shape[1] == 1 != k:
        array = array[:, 0]
    if array.dtype == object:
        array = _without_objects(array)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != k):
        raise ValueError(
            f"labels have shape {array.shape}; expected ({n},) class indices or names, or "
            f"({n}, {k}) one-hot rows or distributions"
        )
    if len(array) != n:
        raise ValueError(f"{n} images but {len(array)} labels; expected one for each image")
    if array.ndim == 2 and array.dtype.kind in "biu":
        return Labels(_classes_of_one_hot(array), None)
    if array.ndim == 2 and array.dtype.kind == "f":
        _check_distributions(array)
        return Labels(array.argmax(axis=1), array)
    if array.dtype.kind == "U" and array.ndim == 1:
        return Labels(_indices_of_names(array, classes), None)
    if not n:
        array = array.astype(np.int64)  # the dtype of an empty list is float64
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"labels have dtype {array.dtype}; expected class indices from 0 to {k - 1} "
            f"(integers), class names or one-hot rows{_conversion(array)}"
        )
    return Labels(check_classes("labels", array, n, k), None)


def _without_objects(array: np.ndarray) -> np.ndarray:
    """An array of Python objects, as pandas makes them, as names or integers."""
    kinds = [_kind_of(label) for label in array.flat]
    for kind, dtype in (("name", np.str_), ("index", np.int64)):
        if all(found == kind for found in kinds):
            return array.astype(dtype)
    row = kinds.index("other") if "other" in kinds else kinds.index("index")
    raise TypeError(
        f"labels[{row}] is {array.flat[row]!r}; expected class names alone, or class indices alone"
    )


def _kind_of(label: object) -> str:
    if isinstance(label, str):
        return "name"
    whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
    return "index" if whole else "other"


def _conversion(array: np.ndarray) -> str:
    whole = array.dtype.kind == "b" or (
        array.dtype.kind == "f" and bool((np.isfinite(array) & (array == np.trunc(array))).all())
    )
    return ": convert with labels.astype(int)" if whole else ""


def _classes_of_one_hot(rows: np.ndarray) -> np.ndarray:
    wrong = ((rows != 0) & (rows != 1)).any(axis=1) | (rows.sum(axis=1) != 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"labels[{row}] is {rows[row].tolist()}; expected a single 1 among 0s (votes are "
            "divided by their sum: distributions are floating point)"
        )
    return rows.argmax(axis=1)


def _check_distributions(rows: np.ndarray) -> None:
    wrong = first_wrong_row(rows)
    if wrong is not None:
        row, total = wrong
        raise ValueError(
            f"labels[{row}] is {rows[row].tolist()} (sum {total:.6g}); expected numbers of 0 or "
            f"more that sum to 1 within {ROW_SUM_TOLERANCE}"
        )


def _indices_of_names(names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    known, inverse = np.unique(names, return_inverse=True)
    index = {name: k for k, name in enumerate(classes)}
    unknown = [name for name in known.tolist() if name not in index]
    if unknown:
        row = int(np.flatnonzero(names == unknown[0])[0])
        raise ValueError(
            f"labels[{row}] is {unknown[0]!r}; expected one of {in_short(classes)}, the network's "
            "classes"
        )
    return np.array([index[name] for name in known.tolist()], np.int64)[inverse.reshape(-1)]


def in_short(classes: Sequence[str]) -> str:
    """The names of the classes; of many, the first and how many more there are."""
    more = len(classes) - MOST_NAMES
    return ", ".join(classes[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
