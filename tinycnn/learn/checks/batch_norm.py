"""Checks exercise 9: batch normalization."""

from __future__ import annotations

import numpy as np

from ..comparison import Gradients, Mistake, batch_factors, require_equal, require_gradients
from ..learner import Learner
from ..steps import Step

N, C, EPS = 5, 3, 0.2
"""eps is large, so that its place shows."""


def _arrays() -> tuple[np.ndarray, ...]:
    """x, gamma, beta, dy."""
    rng = np.random.default_rng(12)
    x = (rng.normal(0, 1, (N, C)) * [0.5, 1, 2] + [1, 0, -2]).round(2)
    gamma, beta = rng.normal(1, 0.5, (2, C)).round(2)
    return x, gamma, beta, rng.normal(0, 1, (N, C)).round(2)


def _forward(own: Learner, right: Learner) -> None:
    x, gamma, beta, _ = _arrays()
    mean, var = x.mean(axis=0), x.var(axis=0)
    centred = x - mean
    across = x - x.mean(axis=1, keepdims=True)
    mistakes = [
        Mistake(
            gamma * centred / np.sqrt(x.var(axis=0, ddof=1) + EPS) + beta,
            "the variance is divided by N - 1; equation (1) divides by N.",
        ),
        Mistake(
            gamma * centred / (np.sqrt(var) + EPS) + beta,
            "eps stands outside of the root; by (2) it is inside.",
        ),
        Mistake(gamma * centred / np.sqrt(var) + beta, "eps is missing."),
        Mistake(gamma * centred / (var + EPS) + beta, "the root of the variance is missing."),
        Mistake(gamma * centred / var + beta, "the root of the variance is missing, and eps."),
        Mistake(
            beta * centred / np.sqrt(var + EPS) + gamma,
            "gamma and beta are exchanged, equation (4).",
        ),
        Mistake(gamma * x / np.sqrt(var + EPS) + beta, "the mean is not subtracted, equation (3)."),
        Mistake(gamma * centred + beta, "the division by the root of var + eps is missing."),
        Mistake(centred / np.sqrt(var + EPS), "gamma and beta are missing, equation (4)."),
        Mistake(centred / np.sqrt(var + EPS) + beta, "gamma is missing, equation (4)."),
        Mistake(gamma * centred / np.sqrt(var + EPS), "beta is missing, equation (4)."),
        Mistake(
            gamma * across / np.sqrt(x.var(axis=1, keepdims=True) + EPS) + beta,
            "mean and variance go over axis 1, the channels; they go over the batch, axis=0.",
        ),
        Mistake(
            gamma * (x - x.mean()) / np.sqrt(x.var() + EPS) + beta,
            "mean and variance are those of the whole array; each channel has its own: axis=0.",
        ),
    ]
    y = right.call("batchnorm_forward", x, gamma, beta, EPS)
    require_equal("y", own.call("batchnorm_forward", x, gamma, beta, EPS), y, mistakes)


def _predict(own: Learner, right: Learner) -> None:
    x, gamma, beta, _ = _arrays()
    mean, var = np.array([0.5, -1.0, 0.25]), np.array([0.5, 2.0, 1.5])
    arguments = (x, gamma, beta, mean, var, EPS)
    mistakes = [
        Mistake(
            right.call("batchnorm_forward", x, gamma, beta, EPS),
            "mean and variance are those of the batch; take the ones that are given.",
        ),
        Mistake(
            gamma * (x - mean) / (np.sqrt(var) + EPS) + beta,
            "eps stands outside of the root; by (2) it is inside.",
        ),
        Mistake(gamma * (x - mean) / (var + EPS) + beta, "the root of the variance is missing."),
        Mistake(gamma * (x - mean) / var + beta, "the root of the variance is missing, and eps."),
        Mistake(
            beta * (x - mean) / np.sqrt(var + EPS) + gamma,
            "gamma and beta are exchanged, equation (4).",
        ),
        Mistake(gamma * (x - mean) / np.sqrt(var) + beta, "eps is missing."),
        Mistake((x - mean) / np.sqrt(var + EPS), "gamma and beta are missing, equation (4)."),
    ]
    y = right.call("batchnorm_predict", *arguments)
    require_equal("y", own.call("batchnorm_predict", *arguments), y, mistakes)


def _backward(own: Learner, right: Learner) -> None:
    x, gamma, beta, dy = _arrays()
    found = own.arrays("batchnorm_backward", ("dx", "dgamma", "dbeta"), x, gamma, dy, EPS)
    dx, dgamma, dbeta = right.call("batchnorm_backward", x, gamma, dy, EPS)
    xhat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPS)
    mistakes = {
        "dx": _input_mistakes(x, gamma, dy),
        "dgamma": [
            Mistake(
                dbeta,
                "this is dbeta: the factor xhat is missing, or the order of the results is wrong.",
            ),
            Mistake((dy * x).sum(axis=0), "the factor is xhat, not x: y = gamma * xhat + beta."),
            Mistake((dy * xhat * gamma).sum(axis=0), "the factor of gamma in (4) is xhat alone."),
            Mistake(dy * xhat, "the sum over the batch is missing: dgamma has the shape (C,)."),
            Mistake(xhat.sum(axis=0), "the factor dy is missing."),
        ],
        "dbeta": [
            Mistake(dgamma, "this is dgamma: see the order of the results."),
            Mistake((dy * gamma).sum(axis=0), "the factor of beta in (4) is 1, not gamma."),
            Mistake(dy, "the sum over the batch is missing: dbeta has the shape (C,)."),
            Mistake(np.full(C, N), "the factor dy is missing."),
        ],
    }
    loss = lambda: float((right.call("batchnorm_forward", x, gamma, beta, EPS) * dy).sum())
    tensors = {"x": x, "gamma": gamma, "beta": beta}
    expected = {"x": dx, "gamma": dgamma, "beta": dbeta}
    factors = batch_factors(
        N,
        "dgamma and dbeta are sums; 1/N is applied in the loss, and dy contains it.",
        "Only the two means in dx have a factor 1/N.",
    )
    require_gradients(found, Gradients(loss, tensors, expected), mistakes, factors)


def _input_mistakes(x: np.ndarray, gamma: np.ndarray, dy: np.ndarray) -> list[Mistake]:
    var = x.var(axis=0)
    r = 1 / np.sqrt(var + EPS)
    xhat = (x - x.mean(axis=0)) * r
    dxhat = dy * gamma
    of_mean, of_var = dxhat.mean(axis=0), xhat * (dxhat * xhat).mean(axis=0)
    unbiased = 1 / np.sqrt(x.var(axis=0, ddof=1) + EPS)
    xhat_unbiased = (x - x.mean(axis=0)) * unbiased
    return [
        Mistake(
            r * dxhat,
            "mean and variance are treated as constants. They depend on every x[n]: (12) has two "
            "more terms.",
        ),
        Mistake(
            r * (dxhat - of_var), "the term of the mean is missing: the second one of (12), -1/N."
        ),
        Mistake(
            r * (dxhat - of_mean),
            "the term of the variance is missing: the third one of (12), -xhat[m]*xhat[n]/N.",
        ),
        Mistake(
            r * (dxhat - dxhat.sum(axis=0) - xhat * (dxhat * xhat).sum(axis=0)),
            "the factor 1/N is missing in the second and third term of (12): means, not sums.",
        ),
        Mistake(
            r * (dxhat + of_mean + of_var), "the second and the third term are subtracted, (12)."
        ),
        Mistake(r * (dxhat - of_mean + of_var), "the third term is subtracted, equation (12)."),
        Mistake(dxhat - of_mean - of_var, "the factor r in front of (12) is missing."),
        Mistake(
            r * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)),
            "the factor gamma is missing: dxhat = dy * gamma, equation (6).",
        ),
        Mistake(
            r * (dxhat - of_mean - (dxhat * xhat).mean(axis=0)),
            "the factor xhat[n] of the third term is missing.",
        ),
        Mistake(
            r * (dxhat - of_mean - x * (dxhat * xhat).mean(axis=0)),
            "the third term has xhat[n], not x[n].",
        ),
        Mistake(
            r * (dxhat - dxhat.mean() - xhat * (dxhat * xhat).mean()),
            "the means go over the whole array; each channel has its own: axis=0.",
        ),
        Mistake(
            unbiased * (dxhat - of_mean - xhat_unbiased * (dxhat * xhat_unbiased).mean(axis=0)),
            "the variance is divided by N - 1; equation (1) divides by N.",
        ),
    ]


STEPS = (
    Step("batchnorm_forward", _forward),
    Step("batchnorm_predict", _predict),
    Step("batchnorm_backward", _backward),
)
