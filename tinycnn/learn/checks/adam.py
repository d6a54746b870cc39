"""Checks exercise 8: Adam.

The learner's step is not a gradient, so it is compared with the right one, entry by entry: first
one step in the middle of a training, then the first three.  eps is large, so that its place shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..comparison import Mistake, difference, require_equal
from ..learner import Learner, WrongAnswer
from ..steps import Step

RATE, BETA1, BETA2, EPS, STEP = 0.1, 0.8, 0.95, 0.05, 3


def _arrays() -> tuple[np.ndarray, ...]:
    """w, g, m, v."""
    rng = np.random.default_rng(11)
    w, g, m = rng.normal(0, 1, (3, 5)).round(2)
    return w, g, m, rng.uniform(0.1, 2, 5).round(2)


def _moment_mistakes(
    old: tuple[np.ndarray, ...],
) -> tuple[list[Mistake], list[Mistake]]:
    _, g, m, v = old
    return [
        Mistake((1 - BETA1) * m + BETA1 * g, "beta1 and 1 - beta1 are exchanged."),
        Mistake(BETA1 * m + g, "the factor 1 - beta1 of g is missing."),
        Mistake(BETA2 * m + (1 - BETA2) * g, "m takes beta1, and v takes beta2."),
        Mistake(BETA1 * m - (1 - BETA1) * g, "the sign of g is wrong; (5) subtracts later."),
        Mistake(BETA1 * m, "g is missing."),
        Mistake(m, "this is the old m."),
        Mistake((1 - BETA1) * g, "the old m is missing."),
    ], [
        Mistake(BETA2 * v + (1 - BETA2) * g, "v is the mean of g*g; here g is not squared."),
        Mistake(BETA2 * v + (1 - BETA2) * np.abs(g), "v is the mean of g*g, not of |g|."),
        Mistake(BETA2 * v + ((1 - BETA2) * g) ** 2, "1 - beta2 is squared too: (1 - beta2) * g*g."),
        Mistake((1 - BETA2) * v + BETA2 * g * g, "beta2 and 1 - beta2 are exchanged."),
        Mistake(BETA2 * v + g * g, "the factor 1 - beta2 of g*g is missing."),
        Mistake(BETA1 * v + (1 - BETA1) * g * g, "m takes beta1, and v takes beta2."),
        Mistake(BETA2 * v, "g*g is missing."),
        Mistake(v, "this is the old v."),
        Mistake((1 - BETA2) * g * g, "the old v is missing."),
    ]  # fmt: skip


def _moments(own: Learner, right: Learner) -> None:
    old = _arrays()
    _, g, m, v = old
    found = own.arrays("update_moments", ("m", "v"), g, m, v, BETA1, BETA2)
    m_new, v_new = right.call("update_moments", g, m, v, BETA1, BETA2)
    of_m, of_v = _moment_mistakes(old)
    problems = [
        difference("m", found["m"], m_new, of_m),
        difference("v", found["v"], v_new, of_v),
    ]
    if any(problems):
        raise WrongAnswer("\n".join(problem for problem in problems if problem))


def _step(own: Learner, right: Learner) -> None:
    old = _arrays()
    found = _adam_step(own, old, STEP)
    w, m, v = right.call("adam_step", *old, STEP, RATE, BETA1, BETA2, EPS)
    mistakes = _step_mistakes(old[0], m, v)
    require_equal("w", found["w"], w, mistakes)
    for name, wanted, beta, hat in (("m", m, BETA1, "m_hat"), ("v", v, BETA2, "v_hat")):
        corrected = Mistake(
            wanted / (1 - beta**STEP),
            f"this is {hat}. Return {name} without the correction: it would be corrected again "
            "and again.",
        )
        before = Mistake(old[2] if name == "m" else old[3], f"this is the old {name}.")
        require_equal(f"{name} (returned)", found[name], wanted, [corrected, before])
    mine, rights = (_first_steps(who, old) for who in (own, right))
    require_equal("w after 3 steps from the start", mine, rights)


def _adam_step(who: Learner, old: tuple[np.ndarray, ...], step: int) -> dict[str, Any]:
    return who.arrays("adam_step", ("w", "m", "v"), *old, step, RATE, BETA1, BETA2, EPS)


def _first_steps(who: Learner, start: tuple[np.ndarray, ...]) -> np.ndarray:
    """The weights after three steps with different gradients, from m = v = 0."""
    w, g, m, v = start[0], start[1], np.zeros(5), np.zeros(5)
    for step in (1, 2, 3):
        w, m, v = _adam_step(who, (w, g * (2.5 - step), m, v), step).values()
    return w


def _step_mistakes(w: np.ndarray, m: np.ndarray, v: np.ndarray) -> list[Mistake]:
    """m, v: the new ones."""

    def moved(m_part: np.ndarray, v_part: np.ndarray) -> np.ndarray:
        return w - RATE * m_part / (np.sqrt(v_part) + EPS)

    c1, c2 = 1 - BETA1**STEP, 1 - BETA2**STEP
    m_hat, v_hat = m / c1, v / c2
    late, early = STEP + 1, STEP - 1
    by_step = "the steps are counted wrongly: step is 1 in the first step; use it as it is."
    inside = "eps stands inside of the root; by (5) it is outside."
    alone = "this is the step alone: w_new = w - ..."
    root = np.sqrt(v_hat)
    change = RATE * m_hat / (root + EPS)
    return [
        Mistake(moved(m, v), "m and v are not corrected, equation (4)."),
        Mistake(moved(m_hat, v), "v is not corrected: v_hat = v_new / (1 - beta2**step)."),
        Mistake(moved(m, v_hat), "m is not corrected: m_hat = m_new / (1 - beta1**step)."),
        Mistake(w - RATE * m_hat / np.sqrt(v_hat + EPS), inside),
        Mistake(w - RATE * m_hat / np.sqrt(v_hat + EPS**2), inside),
        Mistake(w - RATE * m_hat / root, "eps is missing."),
        Mistake(w - RATE * m_hat / (v_hat + EPS), "the root of v_hat is missing."),
        Mistake(w + change, "the sign is wrong: the step goes against the gradient."),
        Mistake(moved(m / (1 - BETA1**late), v / (1 - BETA2**late)), by_step),
        Mistake(moved(m / (1 - BETA1**early), v / (1 - BETA2**early)), by_step),
        Mistake(moved(m / (1 - BETA1), v / (1 - BETA2)), "the exponent is missing: beta**step."),
        Mistake(moved(m * c1, v * c2), "divide by 1 - beta**step; here it is multiplied."),
        Mistake(moved(m / BETA1**STEP, v / BETA2**STEP), "the factor is 1 - beta**step, by (3)."),
        Mistake(w - change / RATE, "the learning rate is missing."),
        Mistake(w - change / RATE * 1e-3, "the learning rate is 0.001 here; use the argument."),
        Mistake(change, alone),
        Mistake(-change, alone),
    ]


STEPS = (Step("update_moments", _moments), Step("adam_step", _step))
