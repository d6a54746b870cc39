"""The loops of BatchNorm: vectors against plain loops, and these against the definition.

Whole numbers, so that every comparison is exact.  Arrays are between guard values (guarded.py).
"""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.kernels import _channel_rows
from tinycnn.kernels._jit import TILE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WITH_TILE = pytest.mark.skipif(TILE.plain, reason="this run has plain loops and no vectors")
VERSIONS = pytest.mark.parametrize("which", ["plain", pytest.param("tiled", marks=WITH_TILE)])
problems = st.tuples(
    st.sampled_from([0, 1, 2, 3, 4, 5, 7, 128, 129, 263]),
    st.sampled_from([1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 40]),
    st.integers(0, 2**32),
)


def numbers(shape, seed):
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(float)


def function(name, which):
    return getattr(_channel_rows, f"{name}_plain" if which == "plain" else name)


@DTYPES
@VERSIONS
@given(problem=problems)
def test_shifted_sums(which, dtype, problem):
    (P, C, seed), memory = problem, Guarded(dtype)
    x, k, sums = numbers((P, C), seed), numbers(C, seed + 1), memory.wanted(2 * C)
    sums[:] = 5
    function("add_shifted_sums", which)(memory.given(x), memory.given(k), sums)
    memory.check()
    expected = [(x - k).sum(axis=0), np.square(x - k).sum(axis=0)]
    np.testing.assert_array_equal(sums.reshape(2, C), 5 + np.array(expected))


@DTYPES
@VERSIONS
@pytest.mark.parametrize("relu", [0, 1])
@given(problem=problems)
def test_scaled_rows(which, relu, dtype, problem):
    (P, C, seed), memory = problem, Guarded(dtype)
    x, k, y = numbers((P, C), seed), numbers((2, C), seed + 1), memory.wanted(P, C)
    function("scale_rows", which)(memory.given(x), memory.given(k.reshape(-1)), relu, y)
    memory.check()
    expected = k[0] * x + k[1]
    np.testing.assert_array_equal(y, np.maximum(expected, 0) if relu else expected)


@VERSIONS
def test_relu_keeps_nan(which):
    x, y = np.array([[np.nan, -1, 2]]), np.zeros((1, 3))
    function("scale_rows", which)(x, np.array([1.0, 1, 1, 0, 0, 0]), 1, y)
    np.testing.assert_array_equal(y, [[np.nan, 0, 2]])


@DTYPES
@VERSIONS
@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("stores", [0, 1])
@given(problem=problems)
def test_gradient_sums(which, stores, relu, dtype, problem):
    (P, C, seed), memory = problem, Guarded(dtype)
    x, k = numbers((P, C), seed), numbers((3, C), seed + 2)
    dy, sums = memory.wanted(P, C), memory.wanted(2 * C)
    dy[:], sums[:] = numbers((P, C), seed + 3), 5
    before = dy.copy()
    expected = np.where(k[0] * x + k[1] > 0, dy, 0) if relu else before
    given = memory.given(x), dy, memory.given(k.reshape(-1))
    function("add_gradient_sums", which)(*given, relu, stores, sums)
    memory.check()
    np.testing.assert_array_equal(dy, expected if stores else before)
    totals = [expected.sum(axis=0), (expected * (x - k[2])).sum(axis=0)]
    np.testing.assert_array_equal(sums.reshape(2, C), 5 + np.array(totals))


@DTYPES
@VERSIONS
@pytest.mark.parametrize("relu", [0, 1])
@given(problem=problems)
def test_combined_rows(which, relu, dtype, problem):
    (P, C, seed), memory = problem, Guarded(dtype)
    x, dy, k = numbers((P, C), seed), numbers((P, C), seed + 1), numbers((5, C), seed + 2)
    out = memory.wanted(P, C)
    given = memory.given(x), memory.given(dy), memory.given(k.reshape(-1))
    function("combine_rows", which)(*given, relu, out)
    memory.check()
    g = np.where(k[0] * x + k[1] > 0, dy, 0) if relu else dy
    np.testing.assert_array_equal(out, k[2] * g + k[3] * x + k[4])


@DTYPES
@VERSIONS
@given(problem=problems)
def test_row_sums(which, dtype, problem):
    (P, C, seed), memory = problem, Guarded(dtype)
    x, sums = numbers((P, C), seed), memory.wanted(C)
    sums[:] = 5
    function("add_row_sums", which)(memory.given(x), sums)
    memory.check()
    np.testing.assert_array_equal(sums, 5 + x.sum(axis=0))
