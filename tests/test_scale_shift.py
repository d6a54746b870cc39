"""scale_shift and add: slow loops, the reference and the kernels; numeric gradients.

The allowance is that of test_dense.py: two sums of n products differ by at most
(n + 1) * eps * sum|a||b|.
"""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import add as add_kernels
from tinycnn.kernels import scale_shift as kernels
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
shapes = st.tuples(
    st.sampled_from([1, 2, 3, 5, 13, 0]), st.sampled_from([1, 2, 3, 7, 8, 11, 16, 17, 31, 67])
)


def tensors(shape, seed):
    """x, scale, shift, dy."""
    rng, C = np.random.default_rng(seed), shape[1]
    return [rng.standard_normal(s) for s in (shape, (C,), (C,), shape)]


def run(operations, dtype, x, scale, shift, dy, relu=0):
    memory = Guarded(dtype)
    x, scale, shift, dy = (memory.given(t) for t in (x, scale, shift, dy))
    y, dx, scratch = (memory.wanted(*shape) for shape in (x.shape, x.shape, (2, len(scale))))
    dscale, dshift = memory.wanted(len(scale)), memory.wanted(len(scale))
    operations.scale_shift_forward(x, scale, shift, relu, scratch, y)
    operations.scale_shift_backward_params(x, dy, dscale, dshift)
    operations.scale_shift_backward_input(dy, scale, dx)
    if operations is kernels:  # the reference does not write to it
        np.testing.assert_array_equal(scratch, [scale, shift])
    memory.check()
    return dict(y=y, dx=dx, dscale=dscale, dshift=dshift)


@DTYPES
@BOTH
def test_a_table_by_hand(operations, dtype):
    x, dy = np.array([[1, 2], [3, 4], [5, 6]]), np.array([[1, 0], [0, 1], [2, -1]])
    found = run(operations, dtype, x, [2, -1], [10, 0.5], dy)
    np.testing.assert_array_equal(found["y"], [[12, -1.5], [16, -3.5], [20, -5.5]])
    np.testing.assert_array_equal(found["dx"], [[2, 0], [0, -1], [4, 1]])
    np.testing.assert_array_equal(found["dscale"], [11, -2])
    np.testing.assert_array_equal(found["dshift"], [3, 0])


@DTYPES
@BOTH
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_with_relu_what_is_below_zero_becomes_zero(operations, dtype, shape, seed):
    given_arrays = [t.astype(dtype) for t in tensors(shape, seed)]
    without = run(operations, dtype, *given_arrays)["y"]
    found = run(operations, dtype, *given_arrays, relu=1)["y"]
    np.testing.assert_array_equal(found, np.where(without > 0, without, 0))


@DTYPES
@BOTH
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_equals_the_definition(operations, dtype, shape, seed):
    x, scale, shift, dy = (t.astype(dtype) for t in tensors(shape, seed))
    found = run(operations, dtype, x, scale, shift, dy)
    dx, dscale, dshift = naive.scale_shift_backward(x, dy, scale)
    expected = dict(y=naive.scale_shift_forward(x, scale, shift), dx=dx)
    expected |= dict(dscale=dscale, dshift=dshift)
    sizes = run(reference, np.float64, *(np.abs(t) for t in (x, scale, shift, dy)))
    for name, values in expected.items():
        n_additions = 2 if name in ("y", "dx") else len(x)
        allowance = (n_additions + 1) * np.finfo(dtype).eps * sizes[name]
        assert np.all(np.abs(found[name] - values) <= allowance), name


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (7, 17)])
def test_kernel_gradients_equal_numeric_gradients(shape):
    x, scale, shift, dy = tensors(shape, 3)
    found = run(kernels, np.float64, x, scale, shift, dy)
    y, scratch = np.empty(shape), np.empty((2, shape[1]))

    def loss():
        kernels.scale_shift_forward(x, scale, shift, 0, scratch, y)
        return float(np.sum(y * dy))

    given = dict(x=x, scale=scale, shift=shift)
    check_gradients(loss, given, dict(x=found["dx"], scale=found["dscale"], shift=found["dshift"]))


@DTYPES
@pytest.mark.parametrize("operations", [add_kernels, reference], ids=["kernels", "reference"])
@given(n=st.integers(0, 70), relu=st.integers(0, 1), seed=st.integers(0, 2**32))
def test_a_sum_is_rounded_once(operations, dtype, n, relu, seed):
    rng, memory = np.random.default_rng(seed), Guarded(dtype)
    x, x2 = (memory.given(rng.standard_normal(n)) for _ in range(2))
    y = memory.wanted(n)
    operations.add_forward(x, x2, relu, y)
    memory.check()
    expected = naive.add(x, x2).astype(dtype)
    np.testing.assert_array_equal(y, np.where(expected > 0, expected, 0) if relu else expected)
