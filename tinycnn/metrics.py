"""Measures of how good predictions are: accuracy, confusions, recall, calibration error."""

from __future__ import annotations

import numpy as np

from .ground.distributions import first_wrong_row
from .ground.masked_arrays import unmasked


def accuracy(logits_or_probs: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of rows whose largest entry is the label's, 0..1; NaN if there are no rows.

    logits_or_probs  (N, K) floating.  Ties go to the first class; a row with NaN counts as wrong
    labels           (N,) integers, 0 <= label < K
    Raises TypeError for a wrong dtype, ValueError for a wrong shape or label.
    """
    scores = unmasked("logits_or_probs", logits_or_probs)
    if not np.issubdtype(scores.dtype, np.floating):
        raise TypeError(f"logits_or_probs have dtype {scores.dtype}: expected floating point")
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(
            f"logits_or_probs have shape {scores.shape}: expected (images, classes) "
            "with at least one class"
        )
    labels = check_classes("labels", labels, len(scores), scores.shape[1])
    if not len(scores):
        return float("nan")
    right = (scores.argmax(axis=1) == labels) & ~np.isnan(scores).any(axis=1)
    return float(right.mean())


def confusion_matrix(
    labels: np.ndarray, predicted_classes: np.ndarray, n_classes: int
) -> np.ndarray:
    """int64 (n_classes, n_classes): entry [i, j] counts the samples of class i predicted as j.

    labels, predicted_classes  (N,) integers, 0 <= class < n_classes
    Raises TypeError for a wrong dtype, ValueError for a wrong shape or class.
    """
    if n_classes < 1:
        raise ValueError(f"n_classes={n_classes}: expected 1 or more")
    labels = check_classes("labels", labels, None, n_classes)
    predicted = check_classes("predicted_classes", predicted_classes, len(labels), n_classes)
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def per_class_recall(confusion: np.ndarray) -> np.ndarray:
    """float64 (K,): fraction of each class's samples that were recognised; NaN without samples.

    confusion  (K, K) counts of 0 or more, as `confusion_matrix` returns: a row for each true class
    Raises TypeError for a wrong dtype, ValueError for a wrong shape or a negative count.
    """
    confusion = unmasked("confusion", confusion)
    if not np.issubdtype(confusion.dtype, np.integer):
        raise TypeError(f"confusion has dtype {confusion.dtype}: expected integer counts")
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"confusion has shape {confusion.shape}: expected (classes, classes)")
    if (confusion < 0).any():
        raise ValueError("confusion has negative entries: expected counts of 0 or more")
    n_samples = confusion.sum(axis=1)
    recall = np.full(len(confusion), np.nan)
    np.divide(confusion.diagonal(), n_samples, out=recall, where=n_samples > 0)
    return recall


def expected_calibration_error(probs: np.ndarray, labels: np.ndarray, n_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy, 0..1; NaN if there are no rows.

    A row's confidence is its largest probability.  Bin b of n_bins has the rows with confidence in
    ((b-1)/n_bins, b/n_bins].  The error is the mean over rows of |accuracy - mean confidence| of
    the row's bin (Guo et al. 2017, arXiv:1706.04599, equation 3).

    probs   (N, K) floating, rows of 0 or more that sum to 1
    labels  (N,) integers, 0 <= label < K
    Raises TypeError for a wrong dtype, ValueError for a wrong shape, label, row or n_bins.
    """
    probs = unmasked("probs", probs)
    mean_accuracy = accuracy(probs, labels)  # checks shapes, dtypes and labels
    if isinstance(n_bins, bool) or not isinstance(n_bins, (int, np.integer)) or n_bins < 1:
        raise ValueError(f"n_bins is {n_bins!r}: expected a whole number of 1 or more")
    if np.isnan(mean_accuracy):
        return mean_accuracy
    wrong = first_wrong_row(probs)
    if wrong is not None:
        row = probs[wrong[0]].tolist()
        raise ValueError(f"probs[{wrong[0]}] is {row}: expected numbers of 0 or more with sum 1")
    confidence = probs.max(axis=1).astype(np.float64)
    right = probs.argmax(axis=1) == np.asarray(labels)
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(probs))


def check_classes(name: str, classes: np.ndarray, n: int | None, n_classes: int) -> np.ndarray:
    """`classes` as int64, checked to be integers (n,) from 0 to n_classes - 1; None: any n."""
    classes = unmasked(name, classes)
    if not np.issubdtype(classes.dtype, np.integer):
        raise TypeError(f"{name} have dtype {classes.dtype}: expected integers")
    if classes.ndim != 1 or (n is not None and len(classes) != n):
        raise ValueError(
            f"{name} have shape {classes.shape}: expected ({'N' if n is None else n},)"
        )
    outside = (classes < 0) | (classes >= n_classes)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{name}[{row}] is {classes[row]}: expected a class from 0 to {n_classes - 1}"
        )
    return classes.astype(np.int64)
