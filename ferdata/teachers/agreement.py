"""Compare two lists of class labels for the same images, and find a shift of the rows or swapped
classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SHIFT = 3
LEAST_GAIN = 0.15
"""A shift or other class names are reported only if they raise the accuracy by this much."""

LOW_AGREEMENT = 0.8
"""A warning is given of a teacher that is right less often than this share of what is possible."""

_LEAST_IMAGES = 50
_CHANCE_FACTOR = 1.5


@dataclass(frozen=True)
class Agreement:
    """How well the classes `predicted` match `labels`.

    n            number of images that have both
    accuracy     share of these images on which they agree
    mean_recall  recall of each class that occurs in `labels`, averaged over these classes; guessing
                 gives 1 / K, however frequent each class is
    shift        number of rows by which `predicted` must be shifted (predicted[i + shift] is
                 compared with labels[i]) to match far better, or 0;  shifted_accuracy: the accuracy
                 after the shift
    swapped      {class in `labels`: class in `predicted`} if renaming classes makes them match far
                 better, else {};  swapped_accuracy: the accuracy after renaming
    by_chance    no better than guessing: mean_recall is below 1.5 / K
    """

    n: int
    accuracy: float
    mean_recall: float
    shift: int
    shifted_accuracy: float
    swapped: dict[int, int]
    swapped_accuracy: float
    by_chance: bool


def agreement(
    labels: np.ndarray, predicted: np.ndarray, n_classes: int, in_order: bool = True
) -> Agreement | None:
    """Compare two arrays of class numbers (N,), 0 .. n_classes - 1; -1 means unknown: left out.

    in_order: the entries are in the order of the file, so that a shift is worth looking for.
    Returns None if fewer than 50 images are known in both arrays.
    """
    both = (labels >= 0) & (predicted >= 0)
    if both.sum() < _LEAST_IMAGES:
        return None
    table = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(table, (labels[both], predicted[both]), 1)
    accuracy = float(np.trace(table) / table.sum())
    present = table.sum(axis=1) > 0
    recall = float((np.diag(table)[present] / table.sum(axis=1)[present]).mean())
    shift, shifted = _best_shift(labels, predicted) if in_order else (0, accuracy)
    if shifted < accuracy + LEAST_GAIN:
        shift, shifted = 0, accuracy
    from scipy.optimize import linear_sum_assignment  # slow to import, and seldom needed

    _, columns = linear_sum_assignment(table, maximize=True)
    renamed = float(table[np.arange(n_classes), columns].sum() / table.sum())
    swapped = {i: int(j) for i, j in enumerate(columns) if i != j and table[i].any()}
    if renamed < accuracy + LEAST_GAIN:
        swapped, renamed = {}, accuracy
    by_chance = recall < _CHANCE_FACTOR / n_classes
    return Agreement(int(both.sum()), accuracy, recall, shift, shifted, swapped, renamed, by_chance)


def share_of_agreement(
    soft_labels: np.ndarray, labels: np.ndarray, targets: np.ndarray | None = None
) -> tuple[float, float]:
    """(share, possible): how often the teacher's first choice is the label, and how often it could.

    soft_labels  (N, K) logits or log-probabilities;  labels  int (N,), -1 for images without one
    targets      (N, K) distributions, such as votes: then the share is the mean probability that
                 they give to the teacher's first choice. None: the labels count, `possible` is 1

    (1.0, 1.0) if there is nothing to compare with.
    """
    choice = soft_labels.argmax(axis=1)
    if targets is not None and len(targets):
        mass = np.take_along_axis(targets, choice[:, None], axis=1)
        return float(mass.mean()), float(targets.max(axis=1).mean())
    known = labels >= 0
    return (float((choice == labels)[known].mean()) if known.any() else 1.0), 1.0


def _best_shift(labels: np.ndarray, predicted: np.ndarray) -> tuple[int, float]:
    best = (0, -1.0)
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
        a = labels[max(0, -shift) : len(labels) - max(0, shift)]
        b = predicted[max(0, shift) : len(predicted) - max(0, -shift)]
        both = (a >= 0) & (b >= 0)
        if shift and both.any() and (share := float((a == b)[both].mean())) > best[1]:
            best = (shift, share)
    return best
