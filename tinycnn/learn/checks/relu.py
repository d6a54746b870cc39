"""Checks exercise 4: ReLU."""

from __future__ import annotations

import numpy as np

from ..comparison import Gradients, Mistake, require_equal, require_gradients
from ..learner import Learner
from ..steps import Step


def _arrays() -> tuple[np.ndarray, np.ndarray]:
    """x, with a 0 in it, and dy."""
    rng = np.random.default_rng(5)
    x = rng.choice([-1.0, 1.0], (3, 4)) * rng.uniform(0.3, 2, (3, 4)).round(2)
    x[1, 2] = 0
    return x, rng.normal(0, 1, (3, 4)).round(2)


def _forward(own: Learner, right: Learner) -> None:
    x, _ = _arrays()
    mistakes = [
        Mistake(np.abs(x), "this is |x|; a negative x becomes 0."),
        Mistake(np.minimum(x, 0), "these are the negative values; those above 0 are wanted."),
        Mistake(x > 0, "this is the derivative (0 or 1); y is x itself where x > 0."),
        Mistake(x, "this is x; negative values have to become 0."),
        *(
            Mistake(np.where(x > 0, x, slope * x), f"this is a leaky ReLU with the slope {slope}.")
            for slope in (0.01, 0.1, 0.2)
        ),
    ]
    require_equal("y", own.call("relu_forward", x), right.call("relu_forward", x), mistakes)


def _backward(own: Learner, right: Learner) -> None:
    x, dy = _arrays()
    expected = right.call("relu_backward", x, dy)
    found = own.call("relu_backward", x, dy)
    positive = x > 0
    mistakes = [
        Mistake(
            np.where(x >= 0, dy, 0), "at x = 0 the derivative is 0: compare with x > 0, not >=."
        ),
        Mistake(np.where(dy > 0, dy, 0), "the sign of dy decides here. The sign of x has to."),
        Mistake(
            np.where(positive & (dy > 0), dy, 0),
            "the sign of dy decides here too. The sign of x alone has to.",
        ),
        Mistake(positive * dy * x, "the derivative of y by x is 1, not x."),
        Mistake(np.where(positive, x, 0), "this is y. The factor dy is missing."),
        Mistake(positive, "this is the derivative alone. The factor dy is missing."),
        Mistake(dy, "this is dy: where x < 0, y does not depend on x, and the gradient is 0."),
        Mistake(
            np.where(positive, 0, dy), "the gradient passes where x < 0; it has to where x > 0."
        ),
        Mistake(np.where(x < 0, 0, dy), "at x = 0 the derivative is 0: compare with x > 0."),
        Mistake(np.where(positive, np.abs(dy), 0), "dy keeps its sign: do not take |dy|."),
    ]
    require_equal("dx", found, expected, mistakes)
    x[1, 2] = 1.0  # a difference across the kink would say nothing
    expected = right.call("relu_backward", x, dy)
    gradients = Gradients(
        lambda: float((right.call("relu_forward", x) * dy).sum()), {"x": x}, {"x": expected}
    )
    require_gradients({"dx": own.call("relu_backward", x, dy)}, gradients)


STEPS = (Step("relu_forward", _forward), Step("relu_backward", _backward))
