"""Checks exercise 5: the convolution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..comparison import (
    Factor,
    Gradients,
    Mistake,
    batch_factors,
    require_equal,
    require_gradients,
)
from ..learner import Learner
from ..steps import Step

N, STRIDE = 3, 2


class _Arrays(NamedTuple):
    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    dy: np.ndarray


def _arrays() -> _Arrays:
    """Random arrays: pictures of 6x7 px with 2 channels, and 4 filters of 2x3 taps.  With a stride
    of 2 the outputs are 3x3."""
    rng = np.random.default_rng(6)
    shapes = ((N, 6, 7, 2), (2, 3, 2, 4), (4,), (N, 3, 3, 4))
    return _Arrays(*(rng.normal(0, 1, shape).round(2) for shape in shapes))


def _taps(w: np.ndarray) -> list[tuple[int, int]]:
    return list(np.ndindex(*w.shape[:2]))


def _seen(x: np.ndarray, tap: tuple[int, int], stride: int) -> np.ndarray:
    """What the tap sees for an output of 3x3."""
    a, e = tap
    return x[:, a : a + 3 * stride : stride, e : e + 3 * stride : stride]


def _forward(own: Learner, right: Learner) -> None:
    x, w, b, _ = _arrays()
    y = right.call("conv_forward", x, w, b, STRIDE)
    without_bias = right.call("conv_forward", x, w, 0 * b, STRIDE)
    last = (1, 2)
    mistakes = [
        Mistake(without_bias, "the bias b is missing."),
        Mistake(
            right.call("conv_forward", x, w[::-1, ::-1], b, STRIDE),
            "the filter is flipped: w[a, e] belongs to x[i*stride + a, j*stride + e].",
        ),
        Mistake(
            right.call("conv_forward", x, w, b, 1),
            "the stride is ignored: it is 1 here. See equation (3).",
        ),
        Mistake(
            without_bias + 6 * b, "the bias is added once for each tap; add it once, at the end."
        ),
        *(
            Mistake(
                _seen(x, last, STRIDE) @ w[last] + bias,
                "only the last tap is left: the loop has to add (y +=), not to set (y =).",
            )
            for bias in (b, 0)
        ),
        Mistake(
            sum(_seen(x, tap, 1) @ w[tap] for tap in _taps(w)) + b,
            "the stride is ignored: the window of output (i, j) begins at (i*stride, j*stride).",
        ),
        Mistake(
            right.call("conv_forward", x[..., :1], w[:, :, :1], b, STRIDE),
            "only the first channel of x is used: the sum goes over all c.",
        ),
        Mistake(y[:, :-1, :-1], "the last row and column are missing: (1) ends with + 1."),
    ]
    require_equal("y", own.call("conv_forward", x, w, b, STRIDE), y, mistakes)
    y = right.call("conv_forward", x, w, b, 1)
    require_equal("y (with stride 1)", own.call("conv_forward", x, w, b, 1), y)


def _backward(own: Learner, right: Learner) -> None:
    x, w, b, dy = _arrays()
    found = own.arrays("conv_backward", ("dx", "dw", "db"), x, w, dy, STRIDE)
    dx, dw, db = right.call("conv_backward", x, w, dy, STRIDE)
    mistakes = {
        "dx": _input_mistakes(x, w, dy, right),
        "dw": _weight_mistakes(x, w, dy, right),
        "db": [
            Mistake(dy.sum(axis=0), "equation (4) sums over n, i and j: dy.sum(axis=(0, 1, 2))."),
            Mistake(
                dy.sum(axis=(0, 1)), "equation (4) sums over n, i and j: dy.sum(axis=(0, 1, 2))."
            ),
            Mistake(
                dy.sum(axis=(1, 2)), "equation (4) sums over n, i and j: dy.sum(axis=(0, 1, 2))."
            ),
            Mistake(dy[-1].sum(axis=(0, 1)), "it has only the last image: sum over n too."),
        ],
    }
    loss = lambda: float((right.call("conv_forward", x, w, b, STRIDE) * dy).sum())
    gradients = Gradients(loss, {"x": x, "w": w, "b": b}, {"x": dx, "w": dw, "b": db})
    factors = [
        *batch_factors(
            N,
            "1/N is applied in the loss, and dy contains it: sum over the batch.",
            "The sum over the batch is enough.",
        ),
        Factor(1 / (9 * N), "it is a mean over n, i and j; equations (4) and (5) have sums."),
        Factor(1 / 9, "it is a mean over i and j; equations (4) and (5) have sums."),
    ]
    require_gradients(found, gradients, mistakes, factors)


def _input_mistakes(x: np.ndarray, w: np.ndarray, dy: np.ndarray, right: Learner) -> list[Mistake]:
    overwritten, dense, of_last = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    _seen(of_last, (1, 2), STRIDE)[...] = dy @ w[1, 2].T
    for tap in _taps(w):
        _seen(overwritten, tap, STRIDE)[...] = dy @ w[tap].T
        _seen(dense, tap, 1)[...] += dy @ w[tap].T
    flipped = right.call("conv_backward", x, w[::-1, ::-1], dy, STRIDE)[0]
    return [
        Mistake(
            overwritten,
            "windows overlap: a place gets a part from each of them. Add (dx[...] +=), do not set.",
        ),
        Mistake(of_last, "it has only the last tap. Make dx of zeros once, before the loop."),
        Mistake(
            dense,
            "the stride is missing in the places of dx: (6) adds at i*stride + a, j*stride + e.",
        ),
        Mistake(
            flipped,
            "the taps are in reverse order: w[a, e] belongs to the place i*stride + a, "
            "j*stride + e. Equation (6) does not flip the filter.",
        ),
    ]


def _weight_mistakes(x: np.ndarray, w: np.ndarray, dy: np.ndarray, right: Learner) -> list[Mistake]:
    _, dw, _ = right.call("conv_backward", x, w, dy, STRIDE)
    _, of_last, _ = right.call("conv_backward", x[-1:], w, dy[-1:], STRIDE)
    without_stride, mixed = np.zeros_like(w), np.zeros_like(w)
    for tap in _taps(w):
        without_stride[tap] = np.einsum("nijc,nijf->cf", _seen(x, tap, 1), dy)
        seen = _seen(x, tap, STRIDE)
        mixed[tap] = seen.reshape(seen.shape[-1], -1) @ dy.reshape(-1, dy.shape[-1])
    return [
        Mistake(dw[::-1, ::-1], "the taps are in reverse order: dw[a, e] is that of (a, e)."),
        Mistake(of_last, "it has only the last image: a loop over images must add (+=), not set."),
        Mistake(without_stride, "the stride is missing: use `seen` of equation (3) here too."),
        Mistake(mixed, "reshape(C, -1) mixes channels and places: reshape(-1, C), then .T."),
    ]  # fmt: skip


STEPS = (Step("conv_forward", _forward), Step("conv_backward", _backward))
