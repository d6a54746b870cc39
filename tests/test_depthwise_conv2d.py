"""depthwise_conv2d: slow loops against the reference, the reference against the kernels, numeric
gradients.  test_conv2d.py explains the allowed differences."""

from typing import NamedTuple

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given, settings
from hypothesis import strategies as st
from windows import drawn_windows, make_window

from tinycnn import reference
from tinycnn.kernels import depthwise_conv2d as kernels
from tinycnn.kernels.conv2d import conv2d_forward
from tinycnn.plan import Window
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class Case(NamedTuple):
    """Shapes of one depthwise convolution with D filters for each channel."""

    N: int
    H: int
    W: int
    C: int
    D: int
    window: Window
    OH: int
    OW: int


def padded(N, H, W, C, D, size, stride, padding="same"):
    return Case(N, H, W, C, D, *make_window(H, W, size, stride, padding))


@st.composite
def cases(draw, channels, multipliers, largest):
    """Named or explicit padding, or any padding and output size."""
    N, C, D = draw(st.sampled_from([1, 2, 3, 0])), draw(channels), draw(multipliers)
    H, W = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    if draw(st.booleans()):
        return Case(N, H, W, C, D, *draw(drawn_windows(H, W, largest, largest_stride=5)))
    KH, KW = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    SH, SW = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    PT, PL, OH, OW = (draw(st.integers(least, 6)) for least in (0, 0, 1, 1))
    return Case(N, H, W, C, D, Window(KH, KW, SH, SW, PT, PL, 0, 0), OH, OW)


small_cases = cases(st.integers(1, 3), st.integers(1, 3), largest=6)
awkward_cases = cases(
    st.sampled_from([1, 2, 3, 5, 7, 13, 16, 17, 31, 33]), st.sampled_from([1, 1, 2, 5]), largest=11
)

NAMED_CASES = {
    "one of everything": padded(1, 1, 1, 1, 1, 1, 1),
    "primes": padded(2, 7, 5, 3, 1, (3, 2), 2),
    "multiplier": padded(2, 7, 5, 3, 2, (3, 2), 2),
    "kernel larger than the image": padded(2, 3, 2, 5, 1, (5, 7), 1),
    "kernel larger than the image, stride 3": padded(2, 4, 3, 1, 3, (7, 5), 3),
    "stride larger than the kernel": padded(2, 9, 8, 3, 1, (2, 1), 4),
    "valid": padded(2, 6, 7, 2, 1, (3, 4), 2, "valid"),
    "one row": padded(2, 1, 9, 2, 1, 3, 2),
    "a stride for each axis": padded(2, 8, 7, 5, 1, (3, 2), (2, 3)),
    "padding for each side": padded(2, 6, 5, 2, 2, 3, (1, 2), ((2, 0), (1, 3))),
    "windows in padding alone": padded(2, 3, 2, 2, 1, 2, 1, ((3, 2), (2, 4))),
    "more output than input": Case(2, 3, 3, 2, 2, Window(2, 2, 2, 2, 1, 0, 0, 0), 6, 7),
}


def tensors(case, seed, whole):
    """x, w, b, dy of a case in float64: whole numbers from -4 to 4, or normal ones."""
    rng = np.random.default_rng(seed)
    F = case.C * case.D
    shapes = [
        (case.N, case.H, case.W, case.C),
        (case.window.KH, case.window.KW, case.C, case.D),
        (F,),
        (case.N, case.OH, case.OW, F),
    ]
    if whole:
        return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    return [rng.standard_normal(shape) for shape in shapes]


def run(operations, case, dtype, x, w, b, dy):
    """y, dw, db, dx of a forward and a backward pass, on guarded arrays."""
    memory = Guarded(dtype)
    x, w, b, dy = (memory.given(t) for t in (x, w, b, dy))
    y, dw, db, dx = (memory.wanted(*t.shape) for t in (dy, w, b, x))
    operations.depthwise_conv2d_forward(x, w, b, case.window, y)
    operations.depthwise_conv2d_backward_params(x, dy, case.window, dw, db)
    operations.depthwise_conv2d_backward_input(dy, w, case.window, dx)
    memory.check()
    return dict(y=y, dw=dw, db=db, dx=dx)


def run_naive(case, x, w, b, dy):
    dw, db = naive.depthwise_conv2d_backward_params(x, dy, case.window)
    y = naive.depthwise_conv2d_forward(x, w, b, case.window, case.OH, case.OW)
    dx = naive.depthwise_conv2d_backward_input(dy, w, case.window, case.H, case.W)
    return dict(y=y, dw=dw, db=db, dx=dx)


def assert_equal(given_values, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(given_values[name], values, err_msg=name)


def assert_within_roundings(case, dtype, result, expected, values):
    """(n + 1) * eps * sum|a||b| for a sum of n products; and y has a bias."""
    sizes = run(reference, case, np.float64, *(np.abs(t.astype(dtype)) for t in values))
    taps, n_positions = case.window.KH * case.window.KW, case.N * case.OH * case.OW
    n_additions = dict(y=taps + 1, dw=n_positions, db=n_positions, dx=taps * case.D)
    for name, wanted in expected.items():
        difference = np.abs(np.subtract(result[name], wanted, dtype=np.float64))
        allowance = (n_additions[name] + 1) * np.finfo(dtype).eps * sizes[name]
        assert np.all(difference <= allowance), name


# ---- by hand -----------------------------------------------------------------------------------


@BOTH
def test_two_channels_by_hand(operations):
    """One row of 3 pixels with 2 channels, windows of 2 pixels, "valid", 2 filters for a channel.

    x  channel 0: 1 2 3;  channel 1: 10 20 30
    w  filters (1, 0) and (0, 1) of channel 0; (1, 1) and (2, -1) of channel 1
    """
    x = np.array([[1.0, 10], [2, 20], [3, 30]]).reshape(1, 1, 3, 2)
    w = np.array([[[1.0, 0], [1, 2]], [[0, 1], [1, -1]]]).reshape(1, 2, 2, 2)
    dy = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]).reshape(1, 1, 2, 4)
    case = padded(1, 1, 3, 2, 2, (1, 2), 1, "valid")
    result = run(operations, case, np.float64, x, w, np.array([0.0, 100, 0, 0]), dy)
    np.testing.assert_array_equal(result["y"][0, 0], [[1, 102, 30, 0], [2, 103, 50, 10]])
    np.testing.assert_array_equal(result["db"], [6, 8, 10, 12])
    # dw[e, c, d] = dy[0, c*2+d] * x[e, c] + dy[1, c*2+d] * x[e + 1, c]
    expected = [[[11, 14], [170, 200]], [[17, 22], [270, 320]]]
    np.testing.assert_array_equal(result["dw"][0], expected)
    # dx[v, c] = sum over d of dy[v, c*2+d] w[0, c, d] + dy[v-1, c*2+d] w[1, c, d]
    np.testing.assert_array_equal(result["dx"][0, 0], [[1, 11], [7, 22], [6, -1]])


# ---- the definition ----------------------------------------------------------------------------


@DTYPES
@BOTH
@given(case=small_cases, seed=st.integers(0, 2**32))
def test_whole_numbers_equal_the_definition_exactly(operations, dtype, case, seed):
    values = tensors(case, seed, whole=True)
    assert_equal(run(operations, case, dtype, *values), run_naive(case, *values))


@DTYPES
@BOTH
@pytest.mark.parametrize("name", NAMED_CASES)
def test_named_cases_equal_the_definition(operations, dtype, name):
    case = NAMED_CASES[name]
    values = [t.astype(dtype) for t in tensors(case, 1, whole=False)]
    result, expected = run(operations, case, dtype, *values), run_naive(case, *values)
    assert_within_roundings(case, dtype, result, expected, values)


@DTYPES
@settings(max_examples=80)
@given(case=awkward_cases, seed=st.integers(0, 2**32))
@example(case=padded(2, 25, 5, 64, 1, 3, 1), seed=0)  # of DS-CNN
@example(case=padded(1, 49, 10, 1, 8, (10, 8), 2), seed=0)
def test_kernels_equal_the_reference(dtype, case, seed):
    values = tensors(case, seed, whole=False)
    result, expected = (run(ops, case, dtype, *values) for ops in (kernels, reference))
    assert_within_roundings(case, dtype, result, expected, values)


def test_of_one_channel_it_is_the_convolution():
    case = NAMED_CASES["kernel larger than the image, stride 3"]
    values = tensors(case, 3, whole=True)
    x, w, b, dy = values
    y = np.empty(dy.shape)
    conv2d_forward(x, w, b, case.window, y)
    np.testing.assert_array_equal(run(kernels, case, np.float64, *values)["y"], y)


# ---- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMED_CASES)
def test_kernel_gradients_equal_numeric_gradients(name):
    case = NAMED_CASES[name]
    x, w, b, dy = tensors(case, 2, whole=False)
    gradients = run(kernels, case, np.float64, x, w, b, dy)
    y = np.empty_like(dy)

    def loss():
        kernels.depthwise_conv2d_forward(x, w, b, case.window, y)
        return float(np.sum(y * dy))

    wanted = dict(x=gradients["dx"], w=gradients["dw"], b=gradients["db"])
    check_gradients(loss, dict(x=x, w=w, b=b), wanted)


# ---- batches, NaN ------------------------------------------------------------------------------


@BOTH
@DTYPES
def test_an_empty_batch_gives_empty_outputs_and_zero_gradients(operations, dtype):
    case = padded(0, 5, 7, 3, 2, 3, 2)
    result = run(operations, case, dtype, *tensors(case, 0, whole=True))
    assert result["y"].shape == (0, 3, 4, 6) and result["dx"].shape == (0, 5, 7, 3)
    assert not result["dw"].any() and not result["db"].any()


@DTYPES
@given(case=awkward_cases.filter(lambda case: case.N > 1), seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_bits_of_an_image_do_not_depend_on_the_other_images(dtype, case, seed):
    x, w, b, dy = tensors(case, seed, whole=False)
    together = run(kernels, case, dtype, x, w, b, dy)
    for n in range(case.N):
        alone = run(kernels, case._replace(N=1), dtype, x[n : n + 1], w, b, dy[n : n + 1])
        for name in ("y", "dx"):
            np.testing.assert_array_equal(together[name][n], alone[name][0], err_msg=name)


@pytest.mark.parametrize("name", ["primes", "multiplier"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_only_reaches_its_own_taps_and_channel(value, name):
    case = NAMED_CASES[name]
    x, w, b, dy = tensors(case, 4, whole=False)
    x[1, 1, 0, 1], dy[1, 0, 0, -1] = value, value
    with np.errstate(invalid="ignore"):
        result = run(kernels, case, np.float64, x, w, b, dy)
        expected = run_naive(case, x, w, b, dy)
    for tensor, values in expected.items():
        touched = ~np.isfinite(values)
        assert 0 < touched.sum() < touched.size, tensor
        np.testing.assert_array_equal(result[tensor][touched], values[touched], tensor)
        assert np.isfinite(result[tensor][~touched]).all(), tensor


def test_an_infinite_weight_has_no_effect_where_its_tap_is_padding():
    """The kernels never multiply padding, so 0 * inf = NaN cannot occur."""
    case = padded(1, 4, 4, 1, 1, 3, 1)
    x, w, b, dy = (np.ones_like(t) for t in tensors(case, 0, whole=True))
    w[0, 0] = np.inf  # the tap above and to the left
    y = run(kernels, case, np.float32, x, w, b, dy)["y"][0, :, :, 0]
    assert np.isfinite(y[0]).all() and np.isfinite(y[:, 0]).all()
    assert np.isposinf(y[1:, 1:]).all()
