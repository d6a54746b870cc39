"""Checks exercise 3: the dense layer."""

from __future__ import annotations

import numpy as np

from ..comparison import Gradients, Mistake, batch_factors, require_equal, require_gradients
from ..learner import Learner
from ..steps import Step

N, D, K = 4, 5, 3


def _arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    x, w, b, dy = (rng.normal(0, 1, s).round(2) for s in ((N, D), (D, K), (K,), (N, K)))
    return x, w, b, dy


def _forward(own: Learner, right: Learner) -> None:
    x, w, b, _ = _arrays()
    mistakes = [
        Mistake(x @ w, "the bias b is missing."),
        Mistake(x @ w - b, "the bias b is subtracted; it has to be added."),
        Mistake((x @ w + b) / N, "nothing is divided by N here."),
        Mistake(np.maximum(x @ w + b, 0), "negative outputs are cut off: ReLU is another layer."),
        Mistake(x @ w + b.sum(), "all biases are added to every output; b[k] belongs to output k."),
    ]
    require_equal(
        "y", own.call("dense_forward", x, w, b), right.call("dense_forward", x, w, b), mistakes
    )


def _backward(own: Learner, right: Learner) -> None:
    x, w, b, dy = _arrays()
    found = own.arrays("dense_backward", ("dx", "dw", "db"), x, w, dy)
    dx, dw, db = right.call("dense_backward", x, w, dy)
    last = np.outer(x[-1], dy[-1])
    mistakes = {
        "dw": [
            Mistake(dw.T, "it is the transpose: dw has the shape of w, (D, K)."),
            Mistake(last, "it has only the last image: a loop over images must add (+=), not set."),
            Mistake(np.outer(x[0], dy[0]), "it has only the first image; sum over all of them."),
            Mistake(
                np.outer(x.sum(axis=0), dy.sum(axis=0)),
                "a sum of products is not the product of two sums: multiply first, then sum.",
            ),
        ],
        "db": [
            Mistake(np.ones(K), "the factor dy is missing."),
            Mistake(np.full(K, N), "the factor dy is missing."),
            Mistake(dy.sum(axis=1), "the sum goes over axis 1, the outputs; sum over axis 0."),
            Mistake(dy[-1], "it has only the last image: a loop must add (+=), not set."),
            Mistake(dy.sum(axis=0) * b, "the factor of b[k] in equation (1) is 1, not b[k]."),
        ],
        "dx": [
            Mistake(dy @ np.abs(w).T, "w has its sign in equation (2)."),
            Mistake(np.tile(w.sum(axis=1), (N, 1)), "the factor dy is missing."),
        ],
    }
    loss = lambda: float((right.call("dense_forward", x, w, b) * dy).sum())
    gradients = Gradients(loss, {"x": x, "w": w, "b": b}, {"x": dx, "w": dw, "b": db})
    factors = batch_factors(
        N,
        "1/N is applied in the loss, and dy contains it.",
        "The sum over the batch is enough.",
    )
    require_gradients(found, gradients, mistakes, factors)


STEPS = (Step("dense_forward", _forward), Step("dense_backward", _backward))
