"""relu: values and gradients are copied or 0, never computed, so every comparison is exact."""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinycnn import reference
from tinycnn.kernels import relu as kernels
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
NAN, INF = np.nan, np.inf
TINY = 1e-40  # below the smallest normal float32

vectors = hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(width=32))


def run(operations, dtype, x, dy):
    """y and dx, each in an output of its own; backward gets the y of forward."""
    memory = Guarded(dtype)
    y, dx = memory.wanted(len(x)), memory.wanted(len(x))
    operations.relu_forward(memory.given(x), y)
    operations.relu_backward(memory.given(y), memory.given(dy), dx)
    memory.check()
    return y, dx


@DTYPES
@BOTH
def test_a_table_by_hand(operations, dtype):
    x = np.array([-2, -TINY, -0.0, 0.0, TINY, 3, INF, -INF, NAN])
    dy = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])
    y, dx = run(operations, dtype, x, dy)
    np.testing.assert_array_equal(y, np.array([0, 0, 0, 0, TINY, 3, INF, 0, NAN], dtype))
    np.testing.assert_array_equal(dx, [0, 0, 0, 0, 5, 6, 7, 0, 0])  # no gradient at 0 and at NaN


@DTYPES
@BOTH
def test_a_nan_gradient_passes_only_where_x_is_positive(operations, dtype):
    y, dx = run(operations, dtype, np.array([1, -1, 2, -2, NAN]), np.array([NAN, NAN, INF, INF, 1]))
    np.testing.assert_array_equal(dx, [NAN, 0, INF, 0, 0])


@DTYPES
@BOTH
@given(x=vectors, seed=st.integers(0, 2**32))
def test_equals_the_definition_exactly(operations, dtype, x, seed):
    dy = np.random.default_rng(seed).standard_normal(len(x)).astype(np.float32)
    y, dx = run(operations, dtype, x, dy)
    np.testing.assert_array_equal(y, naive.relu_forward(x))
    np.testing.assert_array_equal(dx, naive.relu_backward(y, dy))


@DTYPES
@BOTH
@given(x=vectors)
def test_an_output_may_be_the_same_array_as_an_input(operations, dtype, x):
    dy = np.arange(1.0, len(x) + 1)
    expected_y, expected_dx = run(operations, dtype, x, dy)
    memory = Guarded(dtype)
    y, dx = memory.wanted(len(x)), memory.wanted(len(x))
    y[:], dx[:] = x, dy
    operations.relu_forward(y, y)
    operations.relu_backward(y, dx, dx)
    memory.check()
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(dx, expected_dx)


@pytest.mark.parametrize("n", [1, 2, 17, 37])
def test_kernel_gradients_equal_numeric_gradients(n):
    rng = np.random.default_rng(n)
    x = rng.choice([-1, 1], n) * rng.uniform(0.1, 2, n)  # away from the kink at 0
    dy, y = rng.standard_normal(n), np.empty(n)
    _, dx = run(kernels, np.float64, x, dy)

    def loss():
        kernels.relu_forward(x, y)
        return float(y @ dy)

    check_gradients(loss, dict(x=x), dict(x=dx), max_skipped=0.0)
