"""The vector loops of average pooling against plain loops, and these against the definition.

Sums are in float64 and added in the same order, so vectors and plain loops give the same bits.
Arrays are between guard values and end with the last element that a call may read (see guarded.py).
"""

import itertools
import math

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.kernels import _window_mean
from tinycnn.kernels._jit import TILE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WITH_TILE = pytest.mark.skipif(TILE.plain, reason="this run has plain loops and no vectors")


def run(function, dtype, n_windows, C, n_rows, n_columns, S, W, n_taps, x_off, y_off, x):
    """y; x has rows of W pixels of C channels from x_off on."""
    memory = Guarded(dtype)
    y = memory.wanted(y_off + n_windows * C)
    sizes = (n_windows, C, n_rows, n_columns)
    function(*sizes, memory.given(x), x_off, S, W * C, n_taps, y, y_off)
    memory.check()
    assert np.isnan(y[:y_off]).all()
    return y[y_off:].reshape(n_windows, C)


def naive(n_windows, C, n_rows, n_columns, S, W, n_taps, x_off, y_off, x):
    y = np.zeros((n_windows, C))
    for k, c in itertools.product(range(n_windows), range(C)):
        taps = itertools.product(range(n_rows), range(n_columns))
        y[k, c] = math.fsum(x[x_off + (a * W + k * S + e) * C + c] for a, e in taps) / n_taps
    return y


def problem(n_windows, C, n_rows, n_columns, S, gap, x_off, y_off, seed):
    """The arguments of `run` after the dtype; some of the taps counted are outside x."""
    W = max(n_windows - 1, 0) * S + n_columns + gap
    size = x_off + ((n_rows - 1) * W + max(n_windows - 1, 0) * S + n_columns) * C
    x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return n_windows, C, n_rows, n_columns, S, W, n_rows * n_columns + gap, x_off, y_off, x


problems = st.builds(
    problem,
    n_windows=st.integers(0, 4),
    C=st.sampled_from([1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33]),
    n_rows=st.integers(1, 4),
    n_columns=st.integers(1, 4),
    S=st.integers(1, 4),
    gap=st.integers(0, 3),
    x_off=st.integers(0, 9),
    y_off=st.integers(0, 9),
    seed=st.integers(0, 2**32),
)


@DTYPES
@given(arguments=problems)
def test_plain_loops_equal_the_definition(dtype, arguments):
    """At most 16 sums in float64, of values that cancel; then one rounding to the dtype."""
    result, expected = run(_window_mean.window_mean_plain, dtype, *arguments), naive(*arguments)
    allowance = np.finfo(dtype).eps * np.abs(expected) + 16 * np.finfo(float).eps * 5
    assert np.all(np.abs(result - expected) <= allowance)


@WITH_TILE
@DTYPES
@given(arguments=problems)
def test_vectors_equal_plain_loops(dtype, arguments):
    twin = run(_window_mean.window_mean_plain, dtype, *arguments)
    np.testing.assert_array_equal(run(_window_mean.window_mean, dtype, *arguments), twin)


@WITH_TILE
@DTYPES
def test_every_remainder_of_channels(dtype):
    for C, n_windows in itertools.product(range(1, 71), range(1, 4)):
        arguments = problem(n_windows, C, 1 + C % 3, 1 + C % 4, 1 + C % 2, 0, 0, 0, C)
        twin = run(_window_mean.window_mean_plain, dtype, *arguments)
        np.testing.assert_array_equal(run(_window_mean.window_mean, dtype, *arguments), twin)
