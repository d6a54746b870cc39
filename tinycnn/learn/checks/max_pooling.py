"""Checks exercise 6: max-pooling."""

from __future__ import annotations

import numpy as np

from ..comparison import Gradients, Mistake, require_equal, require_gradients
from ..learner import Learner
from ..steps import Step

N, OH, OW, C, SIZE = 2, 2, 3, 2, 2


def _pictures() -> np.ndarray:
    """Small whole numbers, so that some windows have several largest values."""
    rng = np.random.default_rng(7)
    return rng.integers(-2, 2, (N, OH * SIZE, OW * SIZE, C)).astype(float)


def _all_different() -> np.ndarray:
    count = N * OH * OW * C * SIZE**2
    values = np.random.default_rng(8).permutation(count) / 10 - 2
    return values.reshape(N, OH * SIZE, OW * SIZE, C)


def _windows(x: np.ndarray) -> np.ndarray:
    """(N, OH, OW, C, SIZE * SIZE)."""
    parts = x.reshape(N, OH, SIZE, OW, SIZE, C).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(N, OH, OW, C, SIZE**2)


def _picture(windows: np.ndarray) -> np.ndarray:
    """The inverse of `_windows`."""
    parts = windows.reshape(N, OH, OW, C, SIZE, SIZE).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(N, OH * SIZE, OW * SIZE, C)


def _forward(own: Learner, right: Learner) -> None:
    x = _pictures()
    windows = _windows(x)
    others = x.reshape(N, SIZE, OH, SIZE, OW, C)
    overlapping = [x[:, a : a + OH, e : e + OW] for a, e in np.ndindex(SIZE, SIZE)]
    y = right.call("maxpool_forward", x, SIZE)
    mistakes = [
        Mistake(windows.mean(axis=-1), "this is the mean of each window; the maximum is wanted."),
        Mistake(windows.sum(axis=-1), "this is the sum of each window; the maximum is wanted."),
        Mistake(windows.min(axis=-1), "this is the smallest value of each window."),
        Mistake(np.abs(windows).max(axis=-1), "this is the largest |x|; signs count."),
        Mistake(np.maximum(windows.max(axis=-1), 0), "negative maxima became 0. If a loop begins "
                "with 0 as the largest value, begin with -inf, or with the first value."),
        Mistake(x[:, ::SIZE, ::SIZE], "these are the first values of the windows."),
        Mistake(others.max(axis=(1, 3)), "these windows have values that are not neighbours: "
                "reshape to (N, OH, size, OW, size, C), in this order, and max over axes 2 and 4."),
        Mistake(x.reshape(N, OH, SIZE, OW, SIZE, C).max(axis=(1, 3)),
                "the maximum goes over i and j, axes 1 and 3; a and e are axes 2 and 4."),
        Mistake(np.max(overlapping, axis=0),
                "the windows overlap: window (i, j) begins at row i*size and column j*size."),
        Mistake(windows.max(axis=(-2, -1)), "the channels are mixed: each is pooled on its own."),
        Mistake(np.broadcast_to(y.max(axis=-1, keepdims=True), y.shape),
                "the channels are mixed: each is pooled on its own."),
    ]  # fmt: skip
    require_equal("y", own.call("maxpool_forward", x, SIZE), y, mistakes)


def _backward(own: Learner, right: Learner) -> None:
    x = _pictures()
    dy = np.random.default_rng(9).normal(0, 1, (N, OH, OW, C)).round(2)
    require_equal(
        "dx",
        own.call("maxpool_backward", x, dy, SIZE),
        right.call("maxpool_backward", x, dy, SIZE),
        _backward_mistakes(x, dy),
    )
    x = _all_different()  # differences need windows with one winner
    loss = lambda: float((right.call("maxpool_forward", x, SIZE) * dy).sum())
    gradients = Gradients(loss, {"x": x}, {"x": right.call("maxpool_backward", x, dy, SIZE)})
    found = {"dx": own.call("maxpool_backward", x, dy, SIZE)}
    require_gradients(found, gradients, {"dx": _backward_mistakes(x, dy)})


def _backward_mistakes(x: np.ndarray, dy: np.ndarray) -> list[Mistake]:
    windows, gradient = _windows(x), dy[..., None]
    largest = windows == windows.max(axis=-1, keepdims=True)
    last = largest & (np.cumsum(largest[..., ::-1], axis=-1)[..., ::-1] == 1)
    first = largest & (np.cumsum(largest, axis=-1) == 1)
    by_column = _first_by_columns(largest)
    exchanged = first.reshape(N, OH, OW, C, SIZE, SIZE).swapaxes(-1, -2).reshape(first.shape)
    return [
        Mistake(
            _picture(gradient * largest),
            "where several values are the largest, all of them got dy. Only the first one may.",
        ),
        Mistake(
            _picture(gradient * largest / largest.sum(axis=-1, keepdims=True)),
            "where several values are the largest, they share dy. The first one gets all of it.",
        ),
        Mistake(
            _picture(gradient * last),
            "where several values are the largest, the last one won. The first one has to: with a "
            "loop, compare with >, not >=.",
        ),
        Mistake(
            _picture(gradient * by_column),
            "where several values are the largest, the order was column by column. Go row by row.",
        ),
        Mistake(
            _picture(gradient * np.full(windows.shape, 1 / SIZE**2)),
            "dy is shared by all values of the window: that is average-pooling.",
        ),
        Mistake(
            _picture(gradient * exchanged),
            "a and e are exchanged: a is the row in the window, e the column.",
        ),
        Mistake(_picture(gradient * np.ones(windows.shape)), "all values of the window got dy."),
        Mistake(
            _picture(first * np.ones_like(gradient)), "this is 1 at the winners. dy is missing."
        ),
        Mistake(_picture(first * windows), "these are the largest values; dy belongs there."),
        Mistake(_picture(first * windows * gradient), "the derivative is 1 at the winner, not x."),
        Mistake(
            _picture(np.where(np.arange(SIZE**2) == 0, gradient, 0)),
            "dy is at the first value of each window, not at the largest.",
        ),
    ]


def _first_by_columns(largest: np.ndarray) -> np.ndarray:
    square = largest.reshape(N, OH, OW, C, SIZE, SIZE).swapaxes(-1, -2)
    flat = square.reshape(largest.shape)
    first = flat & (np.cumsum(flat, axis=-1) == 1)
    return first.reshape(N, OH, OW, C, SIZE, SIZE).swapaxes(-1, -2).reshape(largest.shape)


STEPS = (Step("maxpool_forward", _forward), Step("maxpool_backward", _backward))
