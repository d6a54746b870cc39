"""A teacher of other classes or other labels, fitted to the labels of a data set.

A teacher that has learned other labels is often wrong by those of the data set, and a student
learns that too.  But its answers say much about an image.  A softmax regression on them predicts
the labels, and its probabilities are the new soft labels:

    p_k(x) = exp(a_k . s(x) + b_k) / sum over j of exp(a_j . s(x) + b_j)                        (1)

s(x) are the teacher's answers for image x, each standardised over the images.  The a_k and b_k
minimise the cross-entropy of (1) with the labels, summed over the images, plus half of the sum of
squares of the a_k: the penalty that scikit-learn's LogisticRegression has by default.  (1) with
answers of the same classes is what Guo et al. 2017 (arXiv 1706.04599) call matrix scaling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.teachers.soft_labels import SoftLabels, entries_of
from ferdata.teachers.teacher_outputs import mean_over_crops
from tinycnn.ground.distributions import log_sum_exp


def fit_soft_labels(soft: SoftLabels, dataset: FaceDataset) -> SoftLabels:
    """The teacher's answers for the images of `dataset`, fitted to its labels by equation (1):
    logarithms of probabilities of the data set's classes.

    dataset  the images that students are to be trained on, and no others: their labels go into the
             soft labels.  Its distributions count, if it has any, else its labels; images without a
             label get soft labels too

    The teacher's classes may be any.  Several crops of an image are averaged; answers for mirror
    images are fitted like the others.  Raises DataError for an image without an entry, and for a
    data set without labels.
    """
    entries = entries_of(soft, dataset)
    answers = _one_an_image(soft, soft.values)[entries]
    targets, is_known = _targets_of(dataset, soft.source)
    predict = _softmax_regression(answers[is_known], targets[is_known])
    key, keys = soft.key
    flipped = soft.flipped_values
    if flipped is not None:
        flipped = predict(_one_an_image(soft, flipped)[entries])
    return replace(
        soft,
        values=predict(answers),
        flipped_values=flipped,
        classes=dataset.classes,
        kind="probabilities",
        floored_per_row=np.zeros(len(entries), np.int64),
        percentages=False,
        **{key: keys[entries]},
    )


def _one_an_image(soft: SoftLabels, values: np.ndarray) -> np.ndarray:
    return values if soft.n_crops is None else mean_over_crops(values, soft.kind)


def _targets_of(dataset: FaceDataset, source: str) -> tuple[np.ndarray, np.ndarray]:
    """(targets, is_known): float64 (N, K) distributions, and bool (N,)."""
    if dataset.targets is not None:
        return dataset.targets.astype(np.float64), np.ones(len(dataset), bool)
    labels = dataset.known_labels
    if labels is None or not (labels >= 0).any():
        raise DataError(f"{source}: this data set has no labels to fit it to")
    return np.eye(len(dataset.classes))[labels], labels >= 0


def _softmax_regression(
    answers: np.ndarray, targets: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit (1) to float (n, F) answers and (n, K) distributions; returns the function that computes
    log p, float32 (N, K), for answers (N, F)."""
    from scipy.optimize import minimize  # slow to import, and seldom needed

    mean, deviation = answers.mean(axis=0, dtype=np.float64), answers.std(axis=0, dtype=np.float64)
    deviation[deviation == 0] = 1
    n_features, n_classes = answers.shape[1], targets.shape[1]

    def features(values: np.ndarray) -> np.ndarray:
        return np.column_stack([(values - mean) / deviation, np.ones(len(values))])

    def log_probabilities(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        logits = x @ weights.reshape(n_features + 1, n_classes)
        return logits - log_sum_exp(logits)

    fitted, penalised = features(answers), np.ones((n_features + 1, 1))
    penalised[-1] = 0  # not the b_k

    def loss_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_probabilities(fitted, weights)
        a = penalised * weights.reshape(n_features + 1, n_classes)
        gradient = fitted.T @ (np.exp(logs) - targets) + a
        return float((a * a).sum() / 2 - (targets * logs).sum()), gradient.ravel()

    first = np.zeros((n_features + 1) * n_classes)
    found = minimize(
        loss_and_gradient, first, jac=True, method="L-BFGS-B", options={"maxiter": 1000}
    )
    return lambda values: log_probabilities(features(values), found.x).astype(np.float32)
