"""Backward through 1x1 convolutions: by hand, against sums in Python and the general kernel, with
numeric gradients, and which convolutions take it."""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given
from hypothesis import strategies as st

from tinycnn import Conv2D, Dense, Flatten, MaxPool2D, reference
from tinycnn.kernels import conv2d, conv2d_1x1
from tinycnn.kernels.operations import CONV2D
from tinycnn.kernels.table import make_operations
from tinycnn.plan import Window, build_plan
from tinycnn.testing import check_gradients

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
BOTH = pytest.mark.parametrize("operations", [conv2d_1x1, reference], ids=["kernels", "reference"])
CHANNELS = st.sampled_from([1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33])
PIXELS = st.sampled_from([0, 1, 2, 3, 7, 127, 129, 511, 512, 513, 1031])


def run(operations, dtype, x, w, dy, wants_dx=True):
    """dw, db, dx on guarded arrays."""
    memory = Guarded(dtype)
    (P, C), F = x.shape, dy.shape[1]
    x, w_t, dy = (memory.given(t) for t in (x, w.T, dy))
    dw, db, dx = memory.wanted(C, F), memory.wanted(F), memory.wanted(P if wants_dx else 0, C)
    operations.conv2d_1x1_backward(x, dy, w_t, memory.wanted(C), dw, db, dx)
    memory.check()
    return dw, db, dx


def tensors(P, C, F, seed, whole):
    """x (P, C), w (C, F) and dy (P, F): whole numbers from -4 to 4, or normal ones."""
    rng = np.random.default_rng(seed)
    for shape in ((P, C), (C, F), (P, F)):
        yield rng.integers(-4, 5, shape).astype(float) if whole else rng.standard_normal(shape)


@BOTH
def test_two_pixels_by_hand(operations):
    """y = x w + b, with two channels and one filter."""
    x, w, dy = np.array([[1.0, 2], [3, 4]]), np.array([[10.0], [20]]), np.array([[1.0], [-2]])
    dw, db, dx = run(operations, np.float64, x, w, dy)
    np.testing.assert_array_equal(dw, [[1 - 2 * 3], [2 - 2 * 4]])
    np.testing.assert_array_equal(db, [-1])
    np.testing.assert_array_equal(dx, [[10, 20], [-20, -40]])


@DTYPES
@BOTH
@given(
    P=st.integers(0, 9), C=st.integers(1, 4), F=st.integers(1, 4), seed=st.integers(0, 2**32),
    wants_dx=st.booleans(),
)  # fmt: skip
def test_whole_numbers_equal_the_sums_exactly(operations, dtype, P, C, F, seed, wants_dx):
    x, w, dy = tensors(P, C, F, seed, whole=True)
    dw, db, dx = run(operations, dtype, x, w, dy, wants_dx)
    for f in range(F):
        assert db[f] == sum(dy[p, f] for p in range(P))
        for c in range(C):
            assert dw[c, f] == sum(x[p, c] * dy[p, f] for p in range(P))
    for p in range(len(dx)):
        for c in range(C):
            assert dx[p, c] == sum(dy[p, f] * w[c, f] for f in range(F))
    assert len(dx) == (P if wants_dx else 0)


@DTYPES
@given(P=PIXELS, C=CHANNELS, F=CHANNELS, seed=st.integers(0, 2**32))
@example(P=1000, C=64, F=64, seed=0)  # a block of DS-CNN
def test_the_bits_are_those_of_the_general_kernel(dtype, P, C, F, seed):
    """Also in slices.  dx begins at 0 in both."""
    x, w, dy = (t.astype(dtype) for t in tensors(P, C, F, seed, whole=False))
    dw, db, dx = (np.empty(shape, dtype) for shape in ((1, 1, C, F), F, (1, 1, P, C)))
    window = Window(1, 1, 1, 1, 0, 0, 0, 0)
    picture, dy_picture = x.reshape(1, 1, P, C), dy.reshape(1, 1, P, F)
    conv2d.conv2d_backward_params(picture, dy_picture, window, dw, db)
    w_t = np.ascontiguousarray(w.T).reshape(F, 1, 1, C)
    conv2d.conv2d_backward_input(dy_picture, w_t, window, dx)
    for found, expected in zip(run(conv2d_1x1, dtype, x, w, dy), (dw[0, 0], db, dx[0, 0])):
        np.testing.assert_array_equal(found, expected)


def test_gradients_equal_numeric_gradients():
    P, C, F = 523, 3, 5
    x, w, dy = tensors(P, C, F, 2, whole=False)
    b = np.random.default_rng(3).standard_normal(F)
    dw, db, dx = run(conv2d_1x1, np.float64, x, w, dy)
    y, window = np.empty((1, 1, P, F)), Window(1, 1, 1, 1, 0, 0, 0, 0)

    def loss():
        conv2d.conv2d_forward(x.reshape(1, 1, P, C), w.reshape(1, 1, C, F), b, window, y)
        return float(np.sum(y[0, 0] * dy))

    check_gradients(loss, dict(x=x, w=w, b=b), dict(x=dx, w=dw, b=db))


def test_which_convolutions_take_it():
    layers = [
        *(Conv2D(3, 1), Conv2D(4, 1, padding="valid"), Conv2D(5, 1, stride=2), Conv2D(3, 3)),
        *(
            Conv2D(3, 1, padding=((1, 1), (1, 1))),
            Conv2D(2, 1, stride=(1, 2)),
            Conv2D(2, 1),
            MaxPool2D(2),
        ),
        *(Flatten(), Dense(3)),
    ]
    plan = build_plan(layers, (12, 12, 2))
    operations = make_operations(plan, np.dtype(np.float32)).operations
    taken = [bool(conv2d_1x1.fits(op)) for op in operations if op.kind == CONV2D]
    # the last one has a pooling behind it, whose backward pass comes first in `linking.py`
    assert taken == [True, True, False, False, False, False, True]
