"""Checks exercise 1: softmax, its stable form, its gradient."""

from __future__ import annotations

import numpy as np

from ..comparison import Gradients, Mistake, require_equal, require_gradients
from ..learner import Learner, WrongAnswer
from ..steps import Step


def _logits() -> np.ndarray:
    """Four images and three classes."""
    return np.random.default_rng(1).normal(0, 1.5, (4, 3)).round(2)


def _forward_mistakes(z: np.ndarray) -> list[Mistake]:
    e = np.exp(z)
    return [
        Mistake(
            e / e.sum(axis=0), "the sum goes over axis 0, the images. Each row has its own: axis=1."
        ),
        Mistake(e / e.sum(), "the sum goes over the whole batch. Each row has its own: axis=1."),
        Mistake(z / z.sum(axis=1, keepdims=True), "exp is missing."),
        Mistake(e, "the division by the sum of the row is missing."),
        Mistake(e / e.max(axis=1, keepdims=True), "divide by the sum of the row, not its maximum."),
    ]


def _as_defined(own: Learner, right: Learner) -> None:
    z = _logits()
    expected = right.call("softmax_as_defined", z)
    require_equal("p", own.call("softmax_as_defined", z), expected, _forward_mistakes(z))


def _stable(own: Learner, right: Learner) -> None:
    z = _logits()
    require_equal("p", own.call("softmax", z), right.call("softmax", z), _forward_mistakes(z))
    shifted = z + np.array([[2000.0], [0.0], [-2000.0], [3.0]])
    large = np.vstack([shifted, [[1000.0, 0.0, -1000.0]]])
    found = np.asarray(own.call("softmax", large), np.float64)
    if np.isnan(found).any():
        row, k = np.argwhere(np.isnan(found))[0].tolist()
        if row == 0:
            hint = "exp of a large number is inf. Subtract the largest value first, equation (2)."
        elif row == 4:
            hint = (
                "the logits of a row may be far apart. No exponent is above 0 only if c in (2) is "
                "the largest value of the row."
            )
        else:
            hint = (
                "exp of a very negative number is 0, and so is the sum of the row. Subtract the "
                "largest value of the same row, z.max(axis=1, keepdims=True), not of the batch."
            )
        raise WrongAnswer(
            f"p[{row}, {k}] is nan for the logits {large[row].tolist()}.\nHint: {hint}"
        )
    require_equal("p", found, right.call("softmax", large), _forward_mistakes(z))


def _backward(own: Learner, right: Learner) -> None:
    rng = np.random.default_rng(2)
    z, dp = _logits(), rng.normal(0, 1, (4, 3)).round(2)
    p = right.call("softmax", z)
    expected = {"z": right.call("softmax_backward", p, dp)}
    mistakes = [
        Mistake(p * dp, "the sum in the bracket is missing: every p[k] depends on this z[i] too."),
        Mistake(
            p * (1 - p) * dp,
            "these are only the terms k = i. The terms k != i of equation (4) are missing.",
        ),
        Mistake(
            p * (dp - dp.sum(axis=1, keepdims=True)),
            "in the sum, each dp[k] has the factor p[k], by equation (4).",
        ),
        Mistake(p * (dp - (dp * p).sum(axis=0)), "the sum goes over axis 0, the images: axis=1."),
        Mistake(p * (dp - (dp * p).sum()), "the sum goes over the whole batch: use axis=1."),
        Mistake(
            p * (dp + (dp * p).sum(axis=1, keepdims=True)),
            "the sum is subtracted: by (4), every term of it has the sign -.",
        ),
        Mistake(
            p * (dp - (dp * p).mean(axis=1, keepdims=True)), "(3) has a sum over k, not a mean."
        ),
        Mistake(dp - (dp * p).sum(axis=1, keepdims=True), "the factor p[i] in front is missing."),
    ]
    gradients = Gradients(lambda: float((right.call("softmax", z) * dp).sum()), {"z": z}, expected)
    found = {"dz": own.call("softmax_backward", p, dp)}
    require_gradients(found, gradients, {"dz": mistakes})


STEPS = (
    Step("softmax_as_defined", _as_defined),
    Step("softmax", _stable),
    Step("softmax_backward", _backward),
)
