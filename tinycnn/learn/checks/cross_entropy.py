"""Checks exercise 2: log-softmax, cross-entropy, its gradient."""

from __future__ import annotations

import numpy as np

from ..comparison import (
    Factor,
    Gradients,
    Mistake,
    batch_factors,
    require_equal,
    require_gradients,
)
from ..learner import Learner, WrongAnswer
from ..steps import Step

N, K = 5, 3


def _batch() -> tuple[np.ndarray, np.ndarray]:
    z = np.random.default_rng(3).normal(0, 1.5, (N, K)).round(2)
    return z, np.array([2, 0, 1, 1, 2])


def _log_softmax(own: Learner, right: Learner) -> None:
    z, _ = _batch()
    log_p = right.call("log_softmax", z)
    e = np.exp(z)
    mistakes = [
        Mistake(np.exp(log_p), "this is p; its logarithm is wanted."),
        Mistake(z - z.max(axis=1, keepdims=True), "the logarithm of the sum is missing."),
        Mistake(z - np.log(e.sum()), "the sum goes over the whole batch: axis=1, keepdims=True."),
        Mistake(z - np.log(e.sum(axis=0)), "the sum goes over axis 0, the images: use axis=1."),
        Mistake(
            log_p + z.max(axis=1, keepdims=True),
            "c is added again: it has to be subtracted from z[k] as well, as in equation (1).",
        ),
    ]
    require_equal("log_p", own.call("log_softmax", z), log_p, mistakes)
    large = np.array([[1000.0, 0.0, -1000.0], [-900.0, -901.0, -2000.0]])
    found = np.asarray(own.call("log_softmax", large), np.float64)
    if not np.isfinite(found).all():
        row, k = np.argwhere(~np.isfinite(found))[0].tolist()
        raise WrongAnswer(
            f"log_p[{row}, {k}] is {found[row, k]} for the logits {large[row].tolist()}.\n"
            "Hint: do not take the logarithm of a softmax, which may be 0; compute equation (1)."
        )
    require_equal("log_p", found, right.call("log_softmax", large))


def _loss(own: Learner, right: Learner) -> None:
    z, labels = _batch()
    loss = right.call("cross_entropy", z, labels)
    log_p = right.call("log_softmax", z)
    picked = log_p[np.arange(N), labels]
    mistakes = [
        Mistake(-np.exp(picked).mean(), "this is the mean of -p. The logarithm is missing."),
        Mistake(np.exp(picked).mean(), "this is the mean of p. The logarithm is missing."),
        Mistake(-log_p.mean(), "this is the mean over all classes. Only the right class counts."),
        Mistake(
            -log_p[:, labels].mean(), "z[:, labels] takes whole columns: z[np.arange(N), labels]."
        ),
        Mistake(-picked, "the mean over the images is missing."),
    ]
    factors = [
        Factor(N, f"it is N = {N} times too large: a sum over the images instead of their mean."),
        Factor(
            1 / K, f"it is divided by N * K: the mean is over the {N} images, not over all logits."
        ),
        Factor(1 / np.log(2), "this is a logarithm to the base 2; np.log is the natural one."),
        Factor(1 / np.log(10), "this is a logarithm to the base 10; np.log is the natural one."),
    ]
    require_equal("L", own.call("cross_entropy", z, labels), loss, mistakes, factors)


def _backward(own: Learner, right: Learner) -> None:
    z, labels = _batch()
    p = np.exp(right.call("log_softmax", z))
    dz = right.call("cross_entropy_backward", z, labels)
    columns = p.copy()
    columns[:, labels] -= 1
    one_hot = np.eye(K)[labels]
    log_p = np.log(p)
    from_log = log_p.copy()
    from_log[np.arange(N), labels] -= 1
    mistakes = [
        Mistake(p / N, "the -1 at the right class is missing, equation (5)."),
        Mistake(p, "the -1 at the right class is missing, equation (5), and so is 1/N."),
        Mistake(dz - p / N, "equation (4) is missing: only the right class gets a gradient."),
        Mistake(columns / N, "dz[:, labels] changes whole columns. Use dz[np.arange(N), labels]."),
        Mistake(columns, "dz[:, labels] changes whole columns. Use dz[np.arange(N), labels]."),
        Mistake(from_log / N, "equation (4) has p, not log p."),
        Mistake(one_hot * dz, "the other classes have a gradient too: p[k], by (4) and (5)."),
        Mistake(p / N - one_hot, "1/N belongs to both terms: the -1 of (5) is not divided by N."),
    ]
    factors = [
        *batch_factors(
            N, "Apply 1/N once.", "The loss is a mean over the images: the factor 1/N is missing."
        ),
        Factor(N / K, f"it is divided by K = {K}, the classes; divide by N = {N}, the images."),
        Factor(1 / K, f"it is divided by N * K; the mean in equation (2) is over N = {N} images."),
    ]
    gradients = Gradients(
        lambda: float(right.call("cross_entropy", z, labels)), {"z": z}, {"z": dz}
    )
    found = {"dz": own.call("cross_entropy_backward", z, labels)}
    require_gradients(found, gradients, {"dz": mistakes}, factors)


STEPS = (
    Step("log_softmax", _log_softmax),
    Step("cross_entropy", _loss),
    Step("cross_entropy_backward", _backward),
)
