"""maxpool2d: tables by hand, slow loops, the reference, the kernels, numeric gradients.

Forward picks values and backward moves gradients, so whole numbers stay exact.  Real gradients are
rounded only where overlapping windows add: at most KH*KW windows share a pixel.
"""

from typing import NamedTuple

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st
from windows import drawn_windows, make_window

from tinycnn import reference
from tinycnn.kernels import maxpool2d as kernels
from tinycnn.plan import Window
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
NAN, INF = np.nan, np.inf


class Case(NamedTuple):
    """Shapes of one pooling."""

    N: int
    H: int
    W: int
    C: int
    window: Window
    OH: int
    OW: int


def padded(N, H, W, C, K, S, padding="same"):
    return Case(N, H, W, C, *make_window(H, W, K, S, padding))


@st.composite
def cases(draw):
    N = draw(st.sampled_from([1, 2, 3, 0]))
    H, W = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    C = draw(st.sampled_from([1, 2, 3, 5, 7, 17]))
    return Case(N, H, W, C, *draw(drawn_windows(H, W, largest_size=8, largest_stride=6)))


NAMED_CASES = {
    "windows side by side": padded(2, 6, 4, 3, 2, 2),
    "overlapping": padded(2, 7, 5, 2, 3, 1),
    "overlapping, stride 2": padded(1, 8, 7, 3, 3, 2),
    "stride larger than the window": padded(2, 9, 8, 2, 2, 3),
    "window larger than the picture": padded(2, 3, 2, 2, 5, 1),
    "one pixel": padded(1, 1, 1, 1, 2, 2),
    "one row": padded(2, 1, 7, 1, 3, 2),
    "valid": padded(2, 7, 6, 2, 3, 2, "valid"),
    "pool2 of MicroExpNet": padded(1, 11, 11, 5, 2, 2),
    "size and stride for each axis": padded(2, 7, 9, 3, (2, 3), (3, 1)),
    "padding for each side": padded(2, 5, 6, 2, (3, 2), 2, ((2, 1), (0, 1))),
}


def forward(operations, case, dtype, x):
    memory = Guarded(dtype)
    y = memory.wanted(case.N, case.OH, case.OW, case.C)
    argmax = memory.wanted(*y.shape, dtype=np.int32)
    operations.maxpool2d_forward(memory.given(x), case.window, y, argmax)
    memory.check()
    return y, argmax


def backward(operations, case, dtype, dy, argmax):
    memory = Guarded(dtype)
    dx = memory.wanted(case.N, case.H, case.W, case.C)
    operations.maxpool2d_backward(memory.given(dy), memory.given(argmax, np.int32), dx)
    memory.check()
    return dx


def pool_one(operations, table, K, S, padding, dy):
    """y, argmax and dx of one picture of one channel, as tables."""
    x = np.array(table, np.float64)[None, :, :, None]
    case = padded(1, *x.shape[1:3], 1, K, S, padding)
    y, argmax = forward(operations, case, np.float64, x)
    dx = backward(operations, case, np.float64, np.reshape(dy, y.shape), argmax)
    return y[0, :, :, 0].tolist(), argmax[0, :, :, 0].tolist(), dx[0, :, :, 0].tolist()


# ---- by hand -----------------------------------------------------------------------------------


@BOTH
def test_windows_side_by_side(operations):
    """
    x   1 2 | 3 0      y  5 7     argmax  4 6     dy  1 2     dx  0 0 0 0
        5 4 | 7 6         9 8             8 11        3 4         1 0 2 0
        ----+----                                                 3 0 0 4
        9 1 | 2 8                                                 0 0 0 0
        0 3 | 4 5
    """
    table = [[1, 2, 3, 0], [5, 4, 7, 6], [9, 1, 2, 8], [0, 3, 4, 5]]
    y, argmax, dx = pool_one(operations, table, 2, 2, "same", [[1, 2], [3, 4]])
    assert y == [[5, 7], [9, 8]]
    assert argmax == [[4, 6], [8, 11]]
    assert dx == [[0, 0, 0, 0], [1, 0, 2, 0], [3, 0, 0, 4], [0, 0, 0, 0]]


@BOTH
def test_overlapping_windows_add_their_gradients(operations):
    """K = 2, S = 1, "valid": the 9 in the middle wins all four windows.

    x  1 2 3     y  9 9     argmax  4 4     dy    1   10     dx  0    0 0
       4 9 5        9 9             4 4         100 1000         0 1111 0
       6 7 8                                                     0    0 0
    """
    table = [[1, 2, 3], [4, 9, 5], [6, 7, 8]]
    y, argmax, dx = pool_one(operations, table, 2, 1, "valid", [[1, 10], [100, 1000]])
    assert y == [[9, 9], [9, 9]]
    assert argmax == [[4, 4], [4, 4]]
    assert dx == [[0, 0, 0], [0, 1111, 0], [0, 0, 0]]


@BOTH
def test_the_first_of_equal_maxima_gets_the_gradient(operations):
    """
    x  3 3 | 1 2     argmax  0 3     dy  1 2     dx  1 0 0 2
       3 3 | 2 2             8 10        3 4         0 0 0 0
       ----+----                                     3 0 4 0
       0 0 | 5 5                                     0 0 0 0
       0 0 | 4 5
    """
    table = [[3, 3, 1, 2], [3, 3, 2, 2], [0, 0, 5, 5], [0, 0, 4, 5]]
    y, argmax, dx = pool_one(operations, table, 2, 2, "same", [[1, 2], [3, 4]])
    assert y == [[3, 2], [0, 5]]
    assert argmax == [[0, 3], [8, 10]]
    assert dx == [[1, 0, 0, 2], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


@BOTH
def test_padding_never_wins(operations):
    """ "same" over 3x3 pads one row below and one column to the right; all pixels are negative.

    x  -5 -4 | -3       y  -2 -1     argmax  3 5     dy  1 2     dx  0 0 0
       -2 -7 | -1          -8 -6             7 8         3 4         1 0 2
       ------+---                                                    0 3 4
       -9 -8 | -6
    """
    table = [[-5, -4, -3], [-2, -7, -1], [-9, -8, -6]]
    y, argmax, dx = pool_one(operations, table, 2, 2, "same", [[1, 2], [3, 4]])
    assert y == [[-2, -1], [-8, -6]]
    assert argmax == [[3, 5], [7, 8]]
    assert dx == [[0, 0, 0], [1, 0, 2], [0, 3, 4]]


@BOTH
def test_pixels_between_windows_get_no_gradient(operations):
    """K = 1, S = 2: every second pixel is a window.

    x  1 2 3     y  1 3     argmax  0 2     dy  1 2     dx  1 0 2
       4 5 6        7 9             6 8         3 4         0 0 0
       7 8 9                                                3 0 4
    """
    table = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    y, argmax, dx = pool_one(operations, table, 1, 2, "same", [[1, 2], [3, 4]])
    assert y == [[1, 3], [7, 9]]
    assert argmax == [[0, 2], [6, 8]]
    assert dx == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]


@BOTH
@pytest.mark.parametrize(
    "window, value, position",
    [
        ([NAN, 1, 2, 0], 2, 2),
        ([1, NAN, 0, NAN], 1, 0),
        ([NAN, NAN, NAN, -5], -5, 3),
        ([NAN, -INF, NAN, -INF], -INF, 1),
        ([NAN, NAN, NAN, NAN], NAN, 0),
        ([-INF, -INF, -INF, -INF], -INF, 0),
        ([-INF, NAN, 3, INF], INF, 3),
        ([INF, 1, INF, NAN], INF, 0),
        ([-0.0, 0.0, -1, 0.0], 0, 0),
        ([0.0, -0.0, -1, -2], 0, 0),
    ],
)
def test_nan_wins_only_if_all_are_nan_and_the_first_maximum_wins(
    operations, window, value, position
):
    table = np.reshape(window, (2, 2))
    y, argmax, dx = pool_one(operations, table, 2, 2, "same", [[7]])
    np.testing.assert_array_equal(y, [[value]])
    assert argmax == [[position]]
    assert np.flatnonzero(dx).tolist() == [position] and np.sum(dx) == 7


@BOTH
def test_a_nan_gradient_only_reaches_its_winner(operations):
    dy = [[NAN, 2], [INF, 4]]
    _, _, dx = pool_one(operations, np.arange(16).reshape(4, 4), 2, 2, "same", dy)
    expected = np.zeros((4, 4))
    expected[[1, 1, 3, 3], [1, 3, 1, 3]] = [NAN, 2, INF, 4]
    np.testing.assert_array_equal(dx, expected)


# ---- the definition ----------------------------------------------------------------------------


@DTYPES
@BOTH
@given(case=cases(), seed=st.integers(0, 2**32), n_values=st.integers(2, 9), odd=st.booleans())
def test_equals_the_definition_exactly(operations, dtype, case, seed, n_values, odd):
    """Few different whole numbers, for many ties; also NaN and both infinities."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-n_values, n_values, (case.N, case.H, case.W, case.C)).astype(np.float64)
    if odd:
        x = np.where(rng.random(x.shape) < 0.5, rng.choice([NAN, INF, -INF], x.shape), x)
    y, argmax = forward(operations, case, dtype, x)
    expected = naive.maxpool2d_forward(x, case.window, case.OH, case.OW)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(argmax, expected[1])
    dy = rng.integers(-9, 10, y.shape).astype(np.float64)
    dx = backward(operations, case, dtype, dy, argmax)
    np.testing.assert_array_equal(dx, naive.maxpool2d_backward(dy, argmax, case.H, case.W))


@DTYPES
@given(case=cases(), seed=st.integers(0, 2**32))
def test_kernels_equal_the_reference(dtype, case, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((case.N, case.H, case.W, case.C))
    y, argmax = forward(kernels, case, dtype, x)
    expected_y, expected_argmax = forward(reference, case, dtype, x)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(argmax, expected_argmax)
    dy = rng.standard_normal(y.shape)
    dx, expected = (backward(ops, case, dtype, dy, argmax) for ops in (kernels, reference))
    # sums of at most KH*KW terms, as in test_conv2d but without products
    size = backward(reference, case, np.float64, np.abs(dy), argmax)
    assert np.all(
        np.abs(dx - expected) <= case.window.KH * case.window.KW * np.finfo(dtype).eps * size
    )


@pytest.mark.parametrize("name", NAMED_CASES)
def test_kernel_gradients_equal_numeric_gradients(name):
    case, rng = NAMED_CASES[name], np.random.default_rng(5)
    # values at least 1 apart, so that no difference meets a kink
    x = rng.permutation(case.N * case.H * case.W * case.C).astype(np.float64)
    x = x.reshape(case.N, case.H, case.W, case.C)
    y, argmax = forward(kernels, case, np.float64, x)
    dy = rng.standard_normal(y.shape)
    dx = backward(kernels, case, np.float64, dy, argmax)

    def loss():
        kernels.maxpool2d_forward(x, case.window, y, argmax)
        return float(np.sum(y * dy))

    check_gradients(loss, dict(x=x), dict(x=dx), max_skipped=0.0)


@BOTH
@DTYPES
def test_an_empty_batch_gives_empty_outputs(operations, dtype):
    case = padded(0, 5, 4, 3, 2, 2)
    y, argmax = forward(operations, case, dtype, np.zeros((0, 5, 4, 3)))
    assert y.shape == argmax.shape == (0, 3, 2, 3)
    assert backward(operations, case, dtype, y, argmax).shape == (0, 5, 4, 3)
