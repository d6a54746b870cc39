"""dropout: one correctly rounded product per element, so every comparison is exact.

The network draws the masks; here a mask is any array.
"""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import dropout as kernels
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def tensors(n, seed):
    """x, a mask of rate 0.3, dy."""
    rng = np.random.default_rng(seed)
    mask = (rng.random(n) >= 0.3) / 0.7
    return rng.standard_normal(n), mask, rng.standard_normal(n)


def run(operations, dtype, x, mask, dy):
    memory = Guarded(dtype)
    y, dx, mask = memory.wanted(len(x)), memory.wanted(len(x)), memory.given(mask)
    operations.dropout_forward(memory.given(x), mask, y)
    operations.dropout_backward(memory.given(dy), mask, dx)
    memory.check()
    return y, dx


@DTYPES
@BOTH
def test_a_table_by_hand(operations, dtype):
    """Half of the values are dropped, the others doubled; 0 * inf is NaN, as in any product."""
    x, mask = np.array([1, 2, -3, np.nan, np.inf, np.inf]), np.array([2, 0, 2, 2, 2, 0])
    with np.errstate(invalid="ignore"):
        y, dx = run(operations, dtype, x, mask, np.array([1, 2, 3, 4, 5, np.nan]))
    np.testing.assert_array_equal(y, [2, 0, -6, np.nan, np.inf, np.nan])
    np.testing.assert_array_equal(dx, [2, 0, 6, 8, 10, np.nan])


@DTYPES
@BOTH
@given(n=st.integers(0, 70), seed=st.integers(0, 2**32))
def test_equals_the_definition_exactly(operations, dtype, n, seed):
    x, mask, dy = (t.astype(dtype) for t in tensors(n, seed))
    y, dx = run(operations, dtype, x, mask, dy)
    np.testing.assert_array_equal(y, naive.dropout(x, mask).astype(dtype))
    np.testing.assert_array_equal(dx, naive.dropout(dy, mask).astype(dtype))


@DTYPES
@BOTH
@pytest.mark.parametrize("n", [0, 1, 37])
def test_an_output_may_be_the_same_array_as_an_input(operations, dtype, n):
    x, mask, dy = tensors(n, 1)
    expected_y, expected_dx = run(operations, dtype, x, mask, dy)
    memory = Guarded(dtype)
    y, dx, mask = memory.wanted(n), memory.wanted(n), memory.given(mask)
    y[:], dx[:] = x, dy
    operations.dropout_forward(y, mask, y)
    operations.dropout_backward(dx, mask, dx)
    memory.check()
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(dx, expected_dx)


@pytest.mark.parametrize("n", [1, 13, 37])
def test_kernel_gradients_equal_numeric_gradients(n):
    x, mask, dy = tensors(n, n)
    _, dx = run(kernels, np.float64, x, mask, dy)
    y = np.empty(n)

    def loss():
        kernels.dropout_forward(x, mask, y)
        return float(y @ dy)

    check_gradients(loss, dict(x=x), dict(x=dx))
