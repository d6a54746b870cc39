"""Whether two opinions on the same images belong together, or one is shifted or misnamed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

MAX_SHIFT = 3
LEAST_GAIN = 0.15
"""By how much another reading must agree better, in share of images, before it is believed."""

_LEAST_IMAGES = 50
_CHANCE_FACTOR = 1.5


@dataclass(frozen=True)
class Agreement:
    """How well `said` fits `labels`.

    accuracy     share of images on which they agree
    mean_recall  mean over the classes that occur of the share of their images that agree; 1 / K by
                 chance, whatever the classes' frequencies
    shift        rows by which `said` fits far better when moved (said[i + shift] for labels[i]), or
                 0;  shifted_accuracy: its accuracy
    swapped      {class: what `said` calls it} where other names fit far better, or {};
                 swapped_accuracy: the accuracy under these names
    by_chance    no better than guessing: mean_recall below 1.5 / K
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
    labels: np.ndarray, said: np.ndarray, n_classes: int, in_order: bool = True
) -> Agreement | None:
    """Compare two ints (N,) in 0 .. n_classes - 1; -1 stands for no opinion and is left out.

    in_order: entries follow each other as in the file, so that a shift means something. None for
    fewer than 50 images with two opinions.
    """
    both = (labels >= 0) & (said >= 0)
    if both.sum() < _LEAST_IMAGES:
        return None
    table = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(table, (labels[both], said[both]), 1)
    accuracy = float(np.trace(table) / table.sum())
    present = table.sum(axis=1) > 0
    recall = float((np.diag(table)[present] / table.sum(axis=1)[present]).mean())
    shift, shifted = _best_shift(labels, said) if in_order else (0, accuracy)
    if shifted < accuracy + LEAST_GAIN:
        shift, shifted = 0, accuracy
    _, columns = linear_sum_assignment(table, maximize=True)
    renamed = float(table[np.arange(n_classes), columns].sum() / table.sum())
    swapped = {i: int(j) for i, j in enumerate(columns) if i != j and table[i].any()}
    if renamed < accuracy + LEAST_GAIN:
        swapped, renamed = {}, accuracy
    by_chance = recall < _CHANCE_FACTOR / n_classes
    return Agreement(int(both.sum()), accuracy, recall, shift, shifted, swapped, renamed, by_chance)


def _best_shift(labels: np.ndarray, said: np.ndarray) -> tuple[int, float]:
    best = (0, -1.0)
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
        a = labels[max(0, -shift) : len(labels) - max(0, shift)]
        b = said[max(0, shift) : len(said) - max(0, -shift)]
        both = (a >= 0) & (b >= 0)
        if shift and both.any() and (share := float((a == b)[both].mean())) > best[1]:
            best = (shift, share)
    return best
