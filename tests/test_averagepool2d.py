"""averagepool2d: tables by hand, slow loops, the reference, the kernels, numeric gradients.

The mean of a window is rounded once to the dtype: its sum is in float64.  A gradient adds the
shares of at most KH*KW windows, each rounded.
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
from tinycnn.kernels import averagepool2d as kernels
from tinycnn.plan import Window
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class Case(NamedTuple):
    """Shapes of one pooling; counted: whether padding counts."""

    N: int
    H: int
    W: int
    C: int
    window: Window
    OH: int
    OW: int
    counted: bool = False


def padded(N, H, W, C, size, stride, padding="same", counted=False):
    return Case(N, H, W, C, *make_window(H, W, size, stride, padding), counted)


def whole(N, H, W, C):
    """A global average."""
    return padded(N, H, W, C, (H, W), 1, "valid")


@st.composite
def cases(draw):
    N, C = draw(st.sampled_from([1, 2, 3, 0])), draw(st.sampled_from([1, 2, 3, 5, 7, 17]))
    H, W = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    window = draw(drawn_windows(H, W, largest_size=8, largest_stride=6))
    return Case(N, H, W, C, *window, draw(st.booleans()))


NAMED_CASES = {
    "windows side by side": padded(2, 6, 4, 3, 2, 2),
    "overlapping": padded(2, 7, 5, 2, 3, 1),
    "overlapping, padding counted": padded(2, 7, 5, 2, 3, 1, counted=True),
    "stride larger than the window": padded(2, 9, 8, 2, 2, 3),
    "window larger than the picture": padded(2, 3, 2, 2, 5, 1),
    "one pixel": padded(1, 1, 1, 1, 2, 2, counted=True),
    "valid": padded(2, 7, 6, 2, (3, 2), (2, 1), "valid"),
    "padding for each side": padded(2, 5, 6, 2, (3, 2), 2, ((2, 1), (0, 1))),
    "padding for each side, counted": padded(2, 5, 6, 2, (3, 2), 2, ((2, 1), (0, 1)), True),
    "global": whole(2, 5, 7, 3),
}


def forward(operations, case, dtype, x):
    memory = Guarded(dtype)
    y = memory.wanted(case.N, case.OH, case.OW, case.C)
    operations.averagepool2d_forward(memory.given(x), case.window, case.counted, y)
    memory.check()
    return y


def backward(operations, case, dtype, dy):
    memory = Guarded(dtype)
    dx = memory.wanted(case.N, case.H, case.W, case.C)
    operations.averagepool2d_backward(memory.given(dy), case.window, case.counted, dx)
    memory.check()
    return dx


def tensors(case, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((case.N, case.H, case.W, case.C))
    return x, rng.standard_normal((case.N, case.OH, case.OW, case.C))


def assert_close(result, expected, sizes, dtype, n_roundings):
    assert np.all(np.abs(result - expected) <= n_roundings * np.finfo(dtype).eps * sizes)


# ---- by hand -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "counted, y, dx",
    [
        (False, [[3, 4.5], [7.5, 9]], [[3, 3, 8], [3, 3, 8], [10, 10, 48]]),
        (True, [[3, 2.25], [3.75, 2.25]], [[3, 3, 4], [3, 3, 4], [5, 5, 12]]),
    ],
)
def test_padding_is_counted_or_not(operations, counted, y, dx):
    """2x2 windows, stride 2, "same": one row of padding below, one column right.

    x  1 2 | 3     dy  12 16
       4 5 | 6         20 48
       ----+--
       7 8 | 9
    """
    case = padded(1, 3, 3, 1, 2, 2, counted=counted)
    x = np.arange(1.0, 10).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(forward(operations, case, np.float64, x)[0, :, :, 0], y)
    dy = np.array([[12.0, 16], [20, 48]]).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(backward(operations, case, np.float64, dy)[0, :, :, 0], dx)


@BOTH
def test_overlapping_windows_add_their_shares(operations):
    """2x2 windows, stride 1: the pixel in the middle is in all four windows."""
    case = padded(1, 3, 3, 1, 2, 1, "valid")
    dy = np.array([[4.0, 40], [400, 4000]]).reshape(1, 2, 2, 1)
    dx = backward(operations, case, np.float64, dy)[0, :, :, 0]
    np.testing.assert_array_equal(dx, [[1, 11, 10], [101, 1111, 1010], [100, 1100, 1000]])


@BOTH
def test_a_global_average_of_many_pixels_is_rounded_once(operations):
    """96x96 values around 1000: a sum in float32 would be off by about 1e-6 of it."""
    case = whole(1, 96, 96, 5)
    x = 1000 + np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 5)).astype(np.float32)
    y = forward(operations, case, np.float32, x)
    expected = x.astype(np.float64).mean(axis=(1, 2), keepdims=True)
    assert np.abs(y / expected - 1).max() <= 6.1e-8


# ---- the definition ----------------------------------------------------------------------------


@DTYPES
@BOTH
@given(case=cases(), seed=st.integers(0, 2**32))
def test_equals_the_definition(operations, dtype, case, seed):
    x, dy = (tensor.astype(dtype) for tensor in tensors(case, seed))
    place = case.window, case.counted
    expected = naive.averagepool2d_forward(x, *place, case.OH, case.OW)
    sizes = naive.averagepool2d_forward(np.abs(x), *place, case.OH, case.OW)
    n_taps = case.window.KH * case.window.KW
    n_roundings = 1 if dtype is np.float32 else n_taps + 2  # of float64 sums
    assert_close(forward(operations, case, dtype, x), expected, sizes, dtype, n_roundings)
    expected = naive.averagepool2d_backward(dy, *place, case.H, case.W)
    sizes = naive.averagepool2d_backward(np.abs(dy), *place, case.H, case.W)
    assert_close(backward(operations, case, dtype, dy), expected, sizes, dtype, n_taps + 3)


@pytest.mark.parametrize("name", NAMED_CASES)
def test_kernel_gradients_equal_numeric_gradients(name):
    case = NAMED_CASES[name]
    x, dy = tensors(case, 5)
    y = np.empty(dy.shape)

    def loss():
        kernels.averagepool2d_forward(x, case.window, case.counted, y)
        return float(np.sum(y * dy))

    dx = backward(kernels, case, np.float64, dy)
    check_gradients(loss, dict(x=x), dict(x=dx), max_skipped=0.0)


@BOTH
@DTYPES
def test_an_empty_batch_gives_empty_outputs(operations, dtype):
    case = padded(0, 5, 4, 3, 2, 2)
    y = forward(operations, case, dtype, np.zeros((0, 5, 4, 3)))
    assert y.shape == (0, 3, 2, 3)
    assert backward(operations, case, dtype, y).shape == (0, 5, 4, 3)


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_pixel_only_reaches_its_own_windows(operations, value):
    case = NAMED_CASES["overlapping"]
    x, dy = tensors(case, 3)
    x[1, 2, 0, 1] = value
    y = forward(operations, case, np.float64, x)
    touched = np.zeros(y.shape, bool)
    touched[1, 1:4, :2, 1] = True
    np.testing.assert_array_equal(~np.isfinite(y), touched)


@DTYPES
def test_bits_of_an_image_do_not_depend_on_the_other_images(dtype):
    case = padded(3, 9, 8, 17, 3, 2)
    x, dy = tensors(case, 4)
    y, dx = forward(kernels, case, dtype, x), backward(kernels, case, dtype, dy)
    for n in range(3):
        alone = case._replace(N=1)
        np.testing.assert_array_equal(forward(kernels, alone, dtype, x[n : n + 1])[0], y[n])
        np.testing.assert_array_equal(backward(kernels, alone, dtype, dy[n : n + 1])[0], dx[n])
