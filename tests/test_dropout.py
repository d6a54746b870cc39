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


def tensors(shape, seed):
    """x, a mask of rate 0.3, dy."""
    rng, (N, _, K) = np.random.default_rng(seed), shape
    mask = (rng.random((N, K)) >= 0.3) / 0.7
    return rng.standard_normal(shape), mask, rng.standard_normal(shape)


def run(operations, dtype, x, mask, dy):
    memory = Guarded(dtype)
    y, dx, mask = memory.wanted(*x.shape), memory.wanted(*x.shape), memory.given(mask)
    operations.dropout_forward(memory.given(x), mask, y)
    operations.dropout_backward(memory.given(dy), mask, dx)
    memory.check()
    return y, dx


@DTYPES
@BOTH
def test_a_table_by_hand(operations, dtype):
    """Half of the values are dropped, the others doubled; 0 * inf is NaN, as in any product."""
    x, mask = np.array([[[1, 2, -3, np.nan, np.inf, np.inf]]]), np.array([[2, 0, 2, 2, 2, 0]])
    with np.errstate(invalid="ignore"):
        y, dx = run(operations, dtype, x, mask, np.array([[[1, 2, 3, 4, 5, np.nan]]]))
    np.testing.assert_array_equal(y, [[[2, 0, -6, np.nan, np.inf, np.nan]]])
    np.testing.assert_array_equal(dx, [[[2, 0, 6, 8, 10, np.nan]]])


@DTYPES
@BOTH
def test_a_channel_is_dropped_as_a_whole(operations, dtype):
    """Two images of three pixels with two channels."""
    x = np.arange(1, 13).reshape(2, 3, 2)
    y, dx = run(operations, dtype, x, np.array([[2, 0], [0, 3]]), x)
    np.testing.assert_array_equal(y, [[[2, 0], [6, 0], [10, 0]], [[0, 24], [0, 30], [0, 36]]])
    np.testing.assert_array_equal(dx, y)


@DTYPES
@BOTH
@given(
    shape=st.tuples(st.integers(0, 5), st.integers(1, 7), st.integers(1, 37)),
    seed=st.integers(0, 2**32),
)
def test_equals_the_definition_exactly(operations, dtype, shape, seed):
    x, mask, dy = (t.astype(dtype) for t in tensors(shape, seed))
    y, dx = run(operations, dtype, x, mask, dy)
    np.testing.assert_array_equal(y, naive.dropout(x, mask).astype(dtype))
    np.testing.assert_array_equal(dx, naive.dropout(dy, mask).astype(dtype))


@DTYPES
@BOTH
@pytest.mark.parametrize("shape", [(0, 1, 3), (1, 1, 1), (1, 1, 37), (3, 5, 7)])
def test_an_output_may_be_the_same_array_as_an_input(operations, dtype, shape):
    x, mask, dy = tensors(shape, 1)
    expected_y, expected_dx = run(operations, dtype, x, mask, dy)
    memory = Guarded(dtype)
    y, dx, mask = memory.wanted(*shape), memory.wanted(*shape), memory.given(mask)
    y[:], dx[:] = x, dy
    operations.dropout_forward(y, mask, y)
    operations.dropout_backward(dx, mask, dx)
    memory.check()
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(dx, expected_dx)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 13), (2, 7, 3)])
def test_kernel_gradients_equal_numeric_gradients(shape):
    x, mask, dy = tensors(shape, 7)
    _, dx = run(kernels, np.float64, x, mask, dy)
    y = np.empty(shape)

    def loss():
        kernels.dropout_forward(x, mask, y)
        return float((y * dy).sum())

    check_gradients(loss, dict(x=x), dict(x=dx))
