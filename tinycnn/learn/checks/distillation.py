"""Checks exercise 7: knowledge distillation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..comparison import Factor, Gradients, Mistake, batch_factors, require_equal, require_gradients
from ..learner import Learner
from ..steps import Step

N, K, T, WEIGHT = 4, 5, 3.0, 0.7


class _Terms(NamedTuple):
    """What the loss is made of: p, q, s as in the text, the labels as one-hot rows, v."""

    p: np.ndarray
    q: np.ndarray
    s: np.ndarray
    one_hot: np.ndarray
    v: np.ndarray


def _batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, labels, v."""
    rng = np.random.default_rng(10)
    z, v = rng.normal(0, 2, (2, N, K)).round(2)
    return z, np.array([4, 0, 2, 2]), v


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _terms() -> _Terms:
    z, labels, v = _batch()
    return _Terms(_softmax(z), _softmax(z / T), _softmax(v / T), np.eye(K)[labels], v)


def _soft_labels(own: Learner, right: Learner) -> None:
    _, _, v = _batch()
    s = right.call("soft_labels", v, T)
    mistakes = [
        Mistake(_softmax(v), "the temperature is missing: divide v by t before the softmax."),
        Mistake(_softmax(v * T), "v is multiplied by t; divide it, so that the labels get softer."),
        Mistake(_softmax(v) / T, "divide the logits by t, before the softmax, not the result."),
        Mistake(np.log(s), "this is log s; s is its exp."),
        Mistake(
            np.exp(v / T), "the division by the sum of the row is missing: this is no softmax."
        ),
        Mistake(np.exp(v / T) / np.exp(v / T).sum(axis=0), "the sum goes over axis 0, the images."),
    ]
    require_equal("s", own.call("soft_labels", v, T), s, mistakes)


def _loss_of(hard: np.ndarray, soft: np.ndarray, hard_weight: float, soft_weight: float) -> float:
    return float((hard_weight * hard + soft_weight * soft).mean())


def _loss(own: Learner, right: Learner) -> None:
    z, labels, v = _batch()
    loss = right.call("distillation_loss", z, labels, v, T, WEIGHT)
    p, q, s, one_hot, v = _terms()
    hard, soft = -(one_hot * np.log(p)).sum(axis=1), -(s * np.log(q)).sum(axis=1)
    a, b = 1 - WEIGHT, WEIGHT * T * T
    sharp = _softmax(v)
    entropy = -(s * np.log(s)).sum(axis=1)
    mistakes = [
        Mistake(
            _loss_of(hard, soft, a, WEIGHT), "the factor t*t of the soft term is missing, (4)."
        ),
        Mistake(_loss_of(hard, soft, a, WEIGHT * T), "the factor of the soft term is t*t, not t."),
        Mistake(
            _loss_of(hard, -(s * np.log(p)).sum(axis=1), a, b),
            "the student's logits are not divided by t in the soft term: q = softmax(z / t).",
        ),
        Mistake(
            _loss_of(hard, -(sharp * np.log(q)).sum(axis=1), a, b),
            "the teacher's logits are not divided by t: s = softmax(v / t).",
        ),
        Mistake(
            _loss_of(hard, soft, WEIGHT, (1 - WEIGHT) * T * T),
            "the weights are exchanged: soft_weight belongs to the soft term.",
        ),
        Mistake(
            _loss_of(-(one_hot * np.log(q)).sum(axis=1), soft, a, b),
            "the logits are divided by t in the hard term too; there they are not, (2).",
        ),
        Mistake(
            _loss_of(hard, soft - entropy, a, b),
            "the soft term is the divergence sum s*(log s - log q). The cross-entropy (3) is "
            "wanted. Both have the same gradient, but not the same value.",
        ),
        Mistake(_loss_of(hard, soft / K, a, b), "the soft term is a mean over k; (3) has a sum."),
        Mistake(_loss_of(hard, soft, a, 0), "the soft term is missing."),
        Mistake(_loss_of(hard, soft, 0, b), "the hard term is missing."),
        Mistake(_loss_of(hard, soft, 1, b), "the hard term lacks its factor 1 - soft_weight."),
    ]
    factors = [
        Factor(N, f"it is N = {N} times too large: a sum over the images instead of their mean.")
    ]
    found = own.call("distillation_loss", z, labels, v, T, WEIGHT)
    require_equal("L", found, loss, mistakes, factors)


def _backward(own: Learner, right: Learner) -> None:
    z, labels, v = _batch()
    expected = right.call("distillation_backward", z, labels, v, T, WEIGHT)
    found = own.call("distillation_backward", z, labels, v, T, WEIGHT)
    loss = lambda: float(right.call("distillation_loss", z, labels, v, T, WEIGHT))
    gradients = Gradients(loss, {"z": z}, {"z": expected})
    factors = batch_factors(
        N, "Apply 1/N once.", "The loss is a mean over the images: the factor 1/N is missing."
    )
    require_gradients({"dz": found}, gradients, {"dz": _gradient_mistakes()}, factors)


def _gradient_mistakes() -> list[Mistake]:
    p, q, s, one_hot, v = _terms()
    hard, soft = (p - one_hot) / N, (q - s) / N
    a, b = 1 - WEIGHT, WEIGHT
    return [
        Mistake(
            a * hard + b / T * soft,
            "the factor t*t of the loss is missing: the soft term has t*t * 1/t = t in all.",
        ),
        Mistake(
            a * hard + b * T * T * soft,
            "the factor 1/t is missing: u = z/t, so the chain rule gives 1/t beside the t*t.",
        ),
        Mistake(
            a * hard + b * soft,
            "the soft term has no factor t: t*t of the loss, times 1/t of the chain rule, is t.",
        ),
        Mistake(
            a * hard + b * T * (q - _softmax(v)) / N,
            "the teacher's logits are not divided by t: s = softmax(v / t).",
        ),
        Mistake(
            a * hard + b * T * (p - s) / N,
            "the student's logits are not divided by t in the soft term: q = softmax(z / t).",
        ),
        Mistake(
            b * hard + a * T * soft,
            "the weights are exchanged: soft_weight belongs to the soft term.",
        ),
        Mistake(
            a * (q - one_hot) / N + b * T * soft,
            "the logits are divided by t in the hard term too; there they are not, (2).",
        ),
        Mistake(a * hard - b * T * soft, "the sign of the soft term is wrong: q - s, by (6)."),
        Mistake(b * T * soft, "the hard term is missing."),
        Mistake(a * hard, "the soft term is missing."),
        Mistake(a * p / N + b * T * soft, "the -1 at the right class is missing in the hard term."),
        Mistake(a * hard * N + b * T * soft, "the hard term lacks the factor 1/N."),
        Mistake(a * hard + b * T * soft * N, "the soft term lacks the factor 1/N."),
    ]


STEPS = (
    Step("soft_labels", _soft_labels),
    Step("distillation_loss", _loss),
    Step("distillation_backward", _backward),
)
