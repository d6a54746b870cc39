"""conv2d: slow loops against the reference, the reference against the kernels, numeric gradients.

Allowed differences are counts of roundings.  A sum of n products in floating point is off by at
most (n + 1) * eps/2 * sum|a||b|, whatever the order of its additions (Higham, Accuracy and
Stability of Numerical Algorithms, section 3.1); two such sums differ by at most
(n + 1) * eps * sum|a||b|.
Sums of whole numbers are exact in both dtypes, so they must be equal.
"""

from typing import NamedTuple

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given, settings
from hypothesis import strategies as st
from windows import make_window

from tinycnn import reference
from tinycnn.kernels import conv2d as kernels
from tinycnn.plan import Window
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class Case(NamedTuple):
    """Shapes of one convolution."""

    N: int
    H: int
    W: int
    C: int
    F: int
    KH: int
    KW: int
    SH: int
    SW: int
    PT: int
    PL: int
    OH: int
    OW: int

    @property
    def window(self):
        return Window(self.KH, self.KW, self.SH, self.SW, self.PT, self.PL, 0, 0)


def padded(N, H, W, C, F, KH, KW, S, padding="same"):
    window, OH, OW = make_window(H, W, (KH, KW), S, padding)
    return Case(N, H, W, C, F, *window[:6], OH, OW)


@st.composite
def cases(draw, channels, filters, largest):
    """ "same" and "valid" convolutions, and others with any padding and output size."""
    N = draw(st.sampled_from([1, 2, 3, 0]))
    H, W, KH, KW = (draw(st.integers(1, largest)) for _ in range(4))
    C, F, S = draw(channels), draw(filters), draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding = draw(st.sampled_from(["same", "valid", "any"]))
    if padding == "same" or padding == "valid" and KH <= H and KW <= W:
        return padded(N, H, W, C, F, KH, KW, S, padding)
    PT, PL, OH, OW = (draw(st.integers(a, 6)) for a in (0, 0, 1, 1))
    return Case(N, H, W, C, F, KH, KW, *S, PT, PL, OH, OW)


# Cases of whole numbers are small, because the loops are slow.  The others have numbers of channels
# just below and above every vector width.
small_cases = cases(st.integers(1, 3), st.integers(1, 4), largest=6)
awkward_cases = cases(
    st.sampled_from([1, 2, 3, 5, 7, 13, 17, 33]),
    st.sampled_from([1, 2, 3, 5, 7, 11, 13, 16, 17, 31, 33, 37]),
    largest=11,
)

NAMED_CASES = {
    "one of everything": padded(1, 1, 1, 1, 1, 1, 1, 1),
    "primes": padded(2, 7, 5, 3, 5, 3, 2, 2),
    "kernel larger than the image": padded(2, 3, 2, 2, 3, 5, 7, 1),
    "kernel larger than the image, stride 3": padded(2, 4, 3, 1, 3, 7, 5, 3),
    "stride larger than the kernel": padded(2, 9, 8, 2, 3, 2, 1, 4),
    "stride larger than the image": padded(2, 3, 4, 2, 3, 2, 3, 7),
    "valid": padded(2, 6, 7, 2, 3, 3, 4, 2, "valid"),
    "valid, one position": padded(2, 3, 4, 2, 3, 3, 4, 1, "valid"),
    "one row": padded(2, 1, 9, 1, 2, 3, 3, 2),
    "one column": padded(2, 9, 1, 1, 2, 3, 3, 2),
    "odd padding": padded(1, 21, 6, 1, 2, 4, 4, 2),
    "more padding above than kernel": Case(1, 3, 4, 2, 2, 2, 3, 2, 2, 4, 5, 5, 6),
    "more output than input": Case(2, 3, 3, 1, 2, 2, 2, 2, 2, 1, 0, 6, 7),
    "a stride for each axis": padded(2, 8, 7, 3, 5, 3, 2, (2, 3)),
    "one stride is larger than the kernel": padded(2, 7, 9, 2, 3, 4, 2, (1, 3)),
    "padding for each side": padded(2, 6, 5, 2, 3, 3, 3, (1, 2), ((2, 0), (1, 3))),
    "windows in padding alone": padded(2, 3, 2, 2, 3, 2, 2, 1, ((3, 2), (2, 4))),
}


def tensors(case, seed, whole):
    """x, w, b, dy of a case in float64: whole numbers from -4 to 4, or normal ones."""
    rng = np.random.default_rng(seed)
    shapes = [
        (case.N, case.H, case.W, case.C),
        (case.KH, case.KW, case.C, case.F),
        (case.F,),
        (case.N, case.OH, case.OW, case.F),
    ]
    if whole:
        return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    return [rng.standard_normal(shape) for shape in shapes]


def run(operations, case, dtype, x, w, b, dy):
    """y, dw, db, dx of a forward and a backward pass, on guarded arrays."""
    memory = Guarded(dtype)
    x, w, b, dy = (memory.given(t) for t in (x, w, b, dy))
    y = memory.wanted(*dy.shape)
    operations.conv2d_forward(x, w, b, case.window, y)
    dw, db = memory.wanted(*w.shape), memory.wanted(*b.shape)
    operations.conv2d_backward_params(x, dy, case.window, dw, db)
    w_t = memory.wanted(case.F, case.KH, case.KW, case.C)
    operations.conv2d_transpose_weights(w, w_t)
    dx = memory.wanted(*x.shape)
    operations.conv2d_backward_input(dy, w_t, case.window, dx)
    memory.check()
    return dict(y=y, dw=dw, db=db, dx=dx)


def run_naive(case, x, w, b, dy):
    dw, db = naive.conv2d_backward_params(x, dy, case.window)
    return dict(
        y=naive.conv2d_forward(x, w, b, case.window, case.OH, case.OW),
        dw=dw,
        db=db,
        dx=naive.conv2d_backward_input(dy, w, case.window, case.H, case.W),
    )


def allowances(case, dtype, x, w, b, dy):
    """The allowed difference of two results, for every entry."""
    sizes = run(reference, case, np.float64, *(np.abs(t.astype(dtype)) for t in (x, w, b, dy)))
    n_positions = case.N * case.OH * case.OW
    n_additions = dict(y=case.KH * case.KW * case.C + 1, dw=n_positions, db=n_positions)
    n_additions["dx"] = case.KH * case.KW * case.F
    eps = np.finfo(dtype).eps
    return {name: (n_additions[name] + 1) * eps * size for name, size in sizes.items()}


def assert_equal(given_values, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(given_values[name], values, err_msg=name)


def assert_within(given_values, expected, allowance):
    for name, values in expected.items():
        difference = np.abs(np.subtract(given_values[name], values, dtype=np.float64))
        excess = difference - allowance[name]
        assert np.all(excess <= 0), f"{name}: off by {np.max(excess)} more than allowed"


# ---- by hand -----------------------------------------------------------------------------------


@BOTH
def test_a_convolution_by_hand(operations):
    """A 2x2 kernel, stride 2, 3x3 pixels, "same": one row of padding below, one column right.

    x  1 2 3      w  10  1      y = 100 + 1*10+2*1+4*100+5*1000   3*10+6*100
       4 5 6        100 1000               7*10+8*1               9*10
       7 8 9
    """
    x = np.arange(1.0, 10).reshape(1, 3, 3, 1)
    w = np.array([[10.0, 1], [100, 1000]]).reshape(2, 2, 1, 1)
    dy = np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    case = padded(1, 3, 3, 1, 1, 2, 2, 2)
    result = run(operations, case, np.float64, x, w, np.array([100.0]), dy)
    np.testing.assert_array_equal(result["y"][0, :, :, 0], [[5512, 730], [178, 190]])
    # dw[a, e] = sum of dy times the pixels under tap (a, e): 1*1+2*3+3*7+4*9, 1*2+3*8; 1*4+2*6, 1*5
    np.testing.assert_array_equal(result["dw"][:, :, 0, 0], [[64, 26], [16, 5]])
    np.testing.assert_array_equal(result["db"], [10])
    # each pixel is under one tap of one window: dx = dy of the window times w of the tap
    expected = [[10, 1, 20], [100, 1000, 200], [30, 3, 40]]
    np.testing.assert_array_equal(result["dx"][0, :, :, 0], expected)


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
    assert_within(result, expected, allowances(case, dtype, *values))


@DTYPES
@settings(max_examples=80)
@given(case=awkward_cases, seed=st.integers(0, 2**32))
@example(case=padded(1, 84, 84, 1, 16, 8, 8, 2), seed=0)
@example(case=padded(2, 21, 21, 16, 32, 4, 4, 2), seed=0)
@example(case=padded(1, 23, 29, 3, 37, 5, 3, 1), seed=0)
def test_kernels_equal_the_reference(dtype, case, seed):
    values = tensors(case, seed, whole=False)
    result = run(kernels, case, dtype, *values)
    assert_within(result, run(reference, case, dtype, *values), allowances(case, dtype, *values))


# ---- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMED_CASES)
def test_kernel_gradients_equal_numeric_gradients(name):
    case = NAMED_CASES[name]
    x, w, b, dy = tensors(case, 2, whole=False)
    gradients = run(kernels, case, np.float64, x, w, b, dy)
    y = np.empty_like(dy)

    def loss():
        kernels.conv2d_forward(x, w, b, case.window, y)
        return float(np.sum(y * dy))

    wanted = dict(x=gradients["dx"], w=gradients["dw"], b=gradients["db"])
    check_gradients(loss, dict(x=x, w=w, b=b), wanted)


# ---- batches -----------------------------------------------------------------------------------


@BOTH
@DTYPES
def test_an_empty_batch_gives_empty_outputs_and_zero_gradients(operations, dtype):
    case = padded(0, 5, 7, 3, 5, 3, 3, 2)
    result = run(operations, case, dtype, *tensors(case, 0, whole=True))
    assert result["y"].shape == (0, 3, 4, 5) and result["dx"].shape == (0, 5, 7, 3)
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


@BOTH
@DTYPES
def test_a_window_in_padding_alone_gives_the_bias(operations, dtype):
    """3x2 pixels with 3, 2 rows and 2, 4 columns of padding: 2x2 windows beyond the first row and
    column of the padding see a pixel up to position (5, 3)."""
    case = NAMED_CASES["windows in padding alone"]
    x, w, b, dy = tensors(case, 0, whole=True)
    y = run(operations, case, dtype, np.abs(x) + 1, np.abs(w) + 1, b, dy)["y"]
    alone = np.ones((case.OH, case.OW), bool)
    alone[2:6, 1:4] = False
    np.testing.assert_array_equal((y == b.astype(dtype)).all(axis=(0, 3)), alone)


# ---- NaN and inf -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["primes", "valid", "stride larger than the kernel"])
def test_a_nan_pixel_only_reaches_its_own_windows(operations, value, name):
    case = NAMED_CASES[name]
    x, w, b, dy = tensors(case, 3, whole=False)
    x[1, 1, 0, 1] = value
    with np.errstate(invalid="ignore"):
        y = run(operations, case, np.float64, x, w, b, dy)["y"]
        expected = run_naive(case, x, w, b, dy)["y"]
    touched = ~np.isfinite(expected)
    assert 0 < touched.sum() < expected.size
    np.testing.assert_array_equal(y[touched], expected[touched])
    assert np.isfinite(y[~touched]).all()


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_gradient_only_reaches_its_own_taps(operations, value):
    case = NAMED_CASES["primes"]
    x, w, b, dy = tensors(case, 4, whole=False)
    dy[1, 0, 0, 2] = value
    with np.errstate(invalid="ignore"):
        result = run(operations, case, np.float64, x, w, b, dy)
        expected = run_naive(case, x, w, b, dy)
    # not the reference: it also multiplies padding, which gives 0 * NaN in dw
    for tensor in ("dw", "db", "dx") if operations is kernels else ("db", "dx"):
        touched = ~np.isfinite(expected[tensor])
        assert 0 < touched.sum() < touched.size
        np.testing.assert_array_equal(result[tensor][touched], expected[tensor][touched])
        assert np.isfinite(result[tensor][~touched]).all()


def test_an_infinite_weight_has_no_effect_where_its_tap_is_padding():
    """The kernels never multiply padding, so 0 * inf = NaN cannot occur."""
    case = padded(1, 4, 4, 1, 1, 3, 3, 1)
    x, w, b, dy = (np.ones_like(t) for t in tensors(case, 0, whole=True))
    w[0, 0] = np.inf  # the tap above and to the left
    y = run(kernels, case, np.float32, x, w, b, dy)["y"][0, :, :, 0]
    assert np.isfinite(y[0]).all() and np.isfinite(y[:, 0]).all()
    assert np.isposinf(y[1:, 1:]).all()
