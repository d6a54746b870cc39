"""Backward through a max-pooling and the convolution before it, computed from the winners only.

A winner is the position of the maximum of a pooling window.  The result must be that of the two
backward passes one after the other.  Whole numbers are exact; for real numbers the allowance is
that of test_conv2d.py, with the number of windows in place of positions.
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
from tinycnn.kernels import conv2d_maxpool2d as kernels
from tinycnn.kernels._winner_lists import LANES
from tinycnn.kernels.arrays import WinnerScratch
from tinycnn.kernels.conv2d import conv2d_forward
from tinycnn.kernels.maxpool2d import maxpool2d_forward
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class Case(NamedTuple):
    """A convolution and the pooling after it."""

    N: int
    H: int
    W: int
    C: int
    F: int
    KH: int
    KW: int
    S: int | tuple
    padding: str | tuple
    pool_K: int | tuple
    pool_S: int | tuple
    pool_padding: str | tuple = "same"

    @property
    def conv(self):
        """Window, OH and OW of the convolution."""
        return make_window(self.H, self.W, (self.KH, self.KW), self.S, self.padding)

    @property
    def pool(self):
        """Window, QH and QW of the pooling."""
        return make_window(*self.conv[1:], self.pool_K, self.pool_S, self.pool_padding)


@st.composite
def cases(draw, channels, filters, largest):
    N = draw(st.sampled_from([1, 2, 3, 0]))
    H, W, KH, KW = (draw(st.integers(1, largest)) for _ in range(4))
    sides = tuple(tuple(draw(st.integers(0, 5)) for _ in range(2)) for _ in range(2))
    paddings = ["same", "valid"] if KH <= H and KW <= W else ["same"]
    if KH <= H + sum(sides[0]) and KW <= W + sum(sides[1]):
        paddings.append(sides)
    padding = draw(st.sampled_from(paddings))
    S, pool_K, pool_S = (tuple(draw(st.integers(1, 4)) for _ in range(2)) for _ in range(3))
    return Case(N, H, W, draw(channels), draw(filters), KH, KW, S, padding, pool_K, pool_S)


small_cases = cases(st.integers(1, 3), st.integers(1, 4), largest=6)
awkward_cases = cases(
    st.sampled_from([1, 2, 3, 5, 7, 17, 33]), st.sampled_from([1, 2, 3, 7, 16, 17]), largest=11
)

NAMED_CASES = {
    "one of everything": Case(1, 1, 1, 1, 1, 1, 1, 1, "same", 1, 1),
    "primes": Case(2, 7, 5, 3, 5, 3, 2, 2, "same", 2, 2),
    "overlapping windows": Case(2, 7, 6, 2, 3, 3, 3, 1, "same", 3, 1),
    "pixels that no window sees": Case(2, 9, 8, 2, 3, 2, 2, 3, "valid", 1, 2),
    "kernel and window beyond the picture": Case(2, 3, 2, 2, 3, 5, 7, 1, "same", 5, 2),
    "stride larger than the picture": Case(2, 3, 4, 2, 3, 2, 3, 7, "same", 2, 2),
    "valid": Case(2, 7, 8, 1, 2, 3, 4, 1, "valid", 2, 2, "valid"),
    "conv1 of MicroExpNet, small": Case(1, 11, 12, 1, 2, 8, 8, 2, "same", 2, 2),
    "sizes and strides for each axis": Case(2, 9, 8, 2, 3, 3, 2, (1, 2), "same", (3, 2), (2, 1)),
    "padding for each side": Case(
        *(2, 5, 6, 2, 3, 3, 3, (2, 1), ((3, 4), (0, 1)), 2, 2, ((0, 1), (1, 0)))
    ),
}


def tensors(case, seed, whole, zeros=0.0):
    """x, w, dy in float64, and winners: random positions within each window.

    zeros: share of dy that is 0, as with a ReLU after the pooling.
    """
    rng = np.random.default_rng(seed)
    draw = (lambda s: rng.integers(-4, 5, s).astype(float)) if whole else rng.standard_normal
    (_, conv_OH, conv_OW), (pool, QH, QW) = case.conv, case.pool
    x, w = draw((case.N, case.H, case.W, case.C)), draw((case.KH, case.KW, case.C, case.F))
    dy = draw((case.N, QH, QW, case.F))
    dy[rng.random(dy.shape) < zeros] = 0
    z = rng.standard_normal((case.N, conv_OH, conv_OW, case.F))
    _, argmax = naive.maxpool2d_forward(z, pool, QH, QW)
    return x, w, dy, argmax


def run(operations, case, dtype, x, w, dy, argmax, listed=5, wants_dx=True):
    """dw (KH, KW, C, F), db and dx, on guarded arrays and scratch full of garbage.

    listed: how many windows the list of winners holds at a time
    """
    memory = Guarded(dtype)
    window, OH, OW = case.conv
    height = max((OH - 1) * window.SH + case.KH, window.PT + case.H)
    width = max((OW - 1) * window.SW + case.KW, window.PL + case.W)
    L = listed + LANES
    scratch = WinnerScratch(
        memory.wanted(height, width, case.C),
        memory.wanted(height, width, case.C),
        memory.wanted(2, case.F, L),
        memory.wanted(2, case.F, L, dtype=np.int32),
        memory.wanted(case.F, dtype=np.int64),
        memory.wanted(2, 3, max(case.F, OH * OW), dtype=np.int32),
    )
    w_t = memory.given(np.ascontiguousarray(w.transpose(3, 0, 1, 2)))
    dw_t, db = memory.wanted(*w_t.shape), memory.wanted(case.F)
    dx = memory.wanted(*(x.shape if wants_dx else (0, *x.shape[1:])))
    given = memory.given(x), memory.given(dy), memory.given(argmax, np.int32), w_t
    operations.conv2d_maxpool2d_backward(*given, window, scratch, dw_t, db, dx)
    dw = memory.wanted(*w.shape)
    operations.conv2d_transpose_weights_back(dw_t, dw)
    memory.check()
    return dict(dw=dw, db=db, dx=dx)


def run_naive(case, x, w, dy, argmax):
    window, OH, OW = case.conv
    conv_dy = naive.maxpool2d_backward(dy, argmax, OH, OW)
    dw, db = naive.conv2d_backward_params(x, conv_dy, window)
    return dict(dw=dw, db=db, dx=naive.conv2d_backward_input(conv_dy, w, window, case.H, case.W))


@DTYPES
@BOTH
@given(case=small_cases, seed=st.integers(0, 2**32), zeros=st.sampled_from([0.0, 0.5, 1.0]))
def test_whole_numbers_equal_the_definition_exactly(operations, dtype, case, seed, zeros):
    values = tensors(case, seed, whole=True, zeros=zeros)
    result = run(operations, case, dtype, *values)
    for name, expected in run_naive(case, *values).items():
        np.testing.assert_array_equal(result[name], expected, err_msg=name)


@DTYPES
@settings(max_examples=80)
@given(case=awkward_cases, seed=st.integers(0, 2**32), zeros=st.sampled_from([0.0, 0.5]))
@example(case=Case(1, 84, 84, 1, 16, 8, 8, 2, "same", 2, 2), seed=0, zeros=0.5)
@example(case=Case(2, 21, 21, 16, 32, 4, 4, 2, "same", 2, 2), seed=0, zeros=0.5)
def test_kernels_equal_the_reference(dtype, case, seed, zeros):
    x, w, dy, argmax = tensors(case, seed, whole=False, zeros=zeros)
    # lists of 64 windows: an image needs several; blocks of 8 windows, with a remainder
    result, expected = (run(ops, case, dtype, x, w, dy, argmax, 64) for ops in (kernels, reference))
    sizes = run(reference, case, np.float64, *(np.abs(t) for t in (x, w, dy)), argmax)
    n_windows = case.N * case.pool[1] * case.pool[2]
    # where windows overlap, the gradients of all of them can add up at one position
    n_additions = dict(dw=n_windows, db=n_windows)
    n_additions["dx"] = case.KH * case.KW * case.F + case.pool[0].KH * case.pool[0].KW
    for name, values in expected.items():
        # 3 more roundings: the product, and x or w and dy to the dtype (not done for `sizes`)
        allowance = (n_additions[name] + 4) * np.finfo(dtype).eps * sizes[name]
        assert np.all(np.abs(result[name] - values) <= allowance), name


@pytest.mark.parametrize("name", NAMED_CASES)
def test_kernel_gradients_equal_numeric_gradients(name):
    """Through convolution and pooling together; the forward pass also uses the kernels."""
    case, rng = NAMED_CASES[name], np.random.default_rng(4)
    (window, OH, OW), (pool, _, _) = case.conv, case.pool
    x, w, dy, _ = tensors(case, 7, whole=False)
    b = rng.standard_normal(case.F)
    z = np.empty((case.N, OH, OW, case.F))
    y, argmax = np.empty(dy.shape), np.empty(dy.shape, np.int32)

    def loss():
        conv2d_forward(x, w, b, window, z)
        maxpool2d_forward(z, pool, y, argmax)
        return float(np.sum(y * dy))

    loss()
    gradients = run(kernels, case, np.float64, x, w, dy, argmax.copy())
    wanted = dict(x=gradients["dx"], w=gradients["dw"], b=gradients["db"])
    check_gradients(loss, dict(x=x, w=w, b=b), wanted)


@BOTH
@DTYPES
def test_an_empty_batch_gives_zero_gradients(operations, dtype):
    case = NAMED_CASES["primes"]._replace(N=0)
    result = run(operations, case, dtype, *tensors(case, 0, whole=True))
    assert not result["dw"].any() and not result["db"].any()
    assert result["dx"].shape == (0, 7, 5, 3)


@BOTH
@DTYPES
def test_the_gradient_of_the_input_can_be_left_out(operations, dtype):
    case = NAMED_CASES["primes"]
    values = tensors(case, 6, whole=False)
    result = run(operations, case, dtype, *values, wants_dx=False)
    expected = run(operations, case, dtype, *values)
    assert result["dx"].shape == (0, 7, 5, 3)
    for name in ("dw", "db"):
        np.testing.assert_array_equal(result[name], expected[name], name)


@DTYPES
@pytest.mark.parametrize("listed", [1, 8, 19, 500])
def test_the_result_does_not_depend_on_the_length_of_the_lists(dtype, listed):
    case = Case(2, 19, 21, 3, 17, 3, 4, 1, "same", 2, 2)
    values = tensors(case, 6, whole=True, zeros=0.5)
    result = run(kernels, case, dtype, *values, listed=listed)
    for name, expected in run_naive(case, *values).items():
        np.testing.assert_array_equal(result[name], expected, err_msg=name)


@DTYPES
@settings(max_examples=20)
@given(case=awkward_cases.filter(lambda case: case.N > 1), seed=st.integers(0, 2**32))
def test_bits_of_an_image_do_not_depend_on_the_other_images(dtype, case, seed):
    x, w, dy, argmax = tensors(case, seed, whole=False)
    together = run(kernels, case, dtype, x, w, dy, argmax)["dx"]
    for n in range(case.N):
        part = slice(n, n + 1)
        alone = run(kernels, case._replace(N=1), dtype, x[part], w, dy[part], argmax[part])
        np.testing.assert_array_equal(together[n], alone["dx"][0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_gradient_only_reaches_its_own_taps(value):
    case = NAMED_CASES["primes"]
    x, w, dy, argmax = tensors(case, 4, whole=False)
    dy[1, 0, 0, 2] = value
    with np.errstate(invalid="ignore"):  # 0 * inf warns when the JIT is off
        result = run(kernels, case, np.float64, x, w, dy, argmax)
    assert list(np.flatnonzero(~np.isfinite(result["db"]))) == [2]
    assert not np.isfinite(result["dw"][..., 2]).all()
    assert np.isfinite(np.delete(result["dw"], 2, axis=3)).all()
    assert np.isfinite(result["dx"][0]).all() and not np.isfinite(result["dx"][1]).all()


def test_a_nan_pixel_has_no_effect_where_the_gradient_is_zero():
    """Windows with gradient 0 are skipped, so 0 * NaN never occurs."""
    case = NAMED_CASES["primes"]
    x, w, dy, argmax = tensors(case, 5, whole=False)
    x[0] = np.nan
    dy[0] = 0
    result = run(kernels, case, np.float64, x, w, dy, argmax)
    assert all(np.isfinite(gradient).all() for gradient in result.values())
