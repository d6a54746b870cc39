"""dense: slow loops against the reference, the reference against the kernels, numeric gradients.

The allowance is that of test_conv2d.py: two sums of n products differ by at most
(n + 1) * eps * sum|a||b|; sums of whole numbers must be equal.
"""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import dense as kernels
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

small = st.tuples(st.integers(0, 4), st.integers(1, 7), st.integers(1, 7))
awkward = st.tuples(
    st.sampled_from([1, 2, 3, 5, 13, 0]),
    st.sampled_from([1, 2, 3, 7, 13, 31, 97]),
    st.sampled_from([1, 2, 3, 5, 7, 8, 11, 16, 17, 31, 33, 48, 67]),
)


def tensors(shape, seed, whole):
    """x, w, b, dy for shape (N, fan_in, units)."""
    N, K, U = shape
    rng = np.random.default_rng(seed)
    if whole:
        return [rng.integers(-4, 5, s).astype(np.float64) for s in ((N, K), (K, U), (U,), (N, U))]
    return [rng.standard_normal(s) for s in ((N, K), (K, U), (U,), (N, U))]


def run(operations, dtype, x, w, b, dy, n_panels=1):
    """n_panels: of the transposed weights, if so many divide the rows of w; else one."""
    memory = Guarded(dtype)
    x, w, b, dy = (memory.given(t) for t in (x, w, b, dy))
    y = memory.wanted(*dy.shape)
    operations.dense_forward(x, w, b, y)
    dw, db = memory.wanted(*w.shape), memory.wanted(*b.shape)
    operations.dense_backward_params(x, dy, dw, db)
    (K, U), n_panels = w.shape, 1 if len(w) % n_panels else n_panels
    w_t = memory.wanted(n_panels, U, K // n_panels)
    operations.dense_transpose_weights(w, w_t)
    dx = memory.wanted(*x.shape)
    operations.dense_backward_input(dy, w_t, dx)
    memory.check()
    return dict(y=y, dw=dw, db=db, dx=dx)


def run_naive(x, w, b, dy):
    dw, db = naive.dense_backward_params(x, dy)
    y, dx = naive.dense_forward(x, w, b), naive.dense_backward_input(dy, w)
    return dict(y=y, dw=dw, db=db, dx=dx)


def assert_within(result, expected, dtype, x, w, b, dy):
    sizes = run(reference, np.float64, *(np.abs(t.astype(dtype)) for t in (x, w, b, dy)))
    n_additions = dict(y=len(w) + 1, dw=len(x), db=len(x), dx=len(b))
    for name, values in expected.items():
        allowance = (n_additions[name] + 1) * np.finfo(dtype).eps * sizes[name]
        difference = np.abs(np.subtract(result[name], values, dtype=np.float64))
        assert np.all(difference <= allowance), f"{name}: off by {np.max(difference - allowance)}"


@BOTH
def test_a_layer_by_hand(operations):
    """
    x  1 2     w  1 10 100     b  1000 2000 3000     y  1+8+1000  10+40+2000  100+1600+3000
       3 0        4 20 800                              3+1000    30+2000     300+3000
    """
    x, w = np.array([[1.0, 2], [3, 0]]), np.array([[1.0, 10, 100], [4, 20, 800]])
    b, dy = np.array([1000.0, 2000, 3000]), np.array([[1.0, 0, 2], [0, 1, 1]])
    result = run(operations, np.float64, x, w, b, dy)
    np.testing.assert_array_equal(result["y"], [[1009, 2050, 4700], [1003, 2030, 3300]])
    np.testing.assert_array_equal(result["dw"], [[1, 3, 5], [2, 0, 4]])
    np.testing.assert_array_equal(result["db"], [1, 1, 3])
    np.testing.assert_array_equal(result["dx"], [[201, 1604], [110, 820]])


@DTYPES
@BOTH
@given(shape=small, n_panels=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_whole_numbers_equal_the_definition_exactly(operations, dtype, shape, n_panels, seed):
    values = tensors(shape, seed, whole=True)
    result = run(operations, dtype, *values, n_panels=n_panels)
    for name, expected in run_naive(*values).items():
        np.testing.assert_array_equal(result[name], expected, err_msg=name)


@DTYPES
@BOTH
@given(shape=small, seed=st.integers(0, 2**32))
def test_real_numbers_equal_the_definition(operations, dtype, shape, seed):
    values = [t.astype(dtype) for t in tensors(shape, seed, whole=False)]
    assert_within(run(operations, dtype, *values), run_naive(*values), dtype, *values)


@DTYPES
@settings(max_examples=80)
@given(shape=awkward, seed=st.integers(0, 2**32))
@example(shape=(3, 1152, 48), seed=0)
@example(shape=(5, 48, 8), seed=0)
def test_kernels_equal_the_reference(dtype, shape, seed):
    values = tensors(shape, seed, whole=False)
    result, expected = (run(operations, dtype, *values) for operations in (kernels, reference))
    assert_within(result, expected, dtype, *values)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (5, 7, 3), (1, 13, 11), (7, 1, 17)])
def test_kernel_gradients_equal_numeric_gradients(shape):
    x, w, b, dy = tensors(shape, 2, whole=False)
    gradients = run(kernels, np.float64, x, w, b, dy)
    y = np.empty_like(dy)

    def loss():
        kernels.dense_forward(x, w, b, y)
        return float(np.sum(y * dy))

    wanted = dict(x=gradients["dx"], w=gradients["dw"], b=gradients["db"])
    check_gradients(loss, dict(x=x, w=w, b=b), wanted)


@DTYPES
@given(shape=awkward.filter(lambda shape: shape[0] > 1), seed=st.integers(0, 2**32))
def test_bits_of_a_sample_do_not_depend_on_the_other_samples(dtype, shape, seed):
    x, w, b, dy = tensors(shape, seed, whole=False)
    together = run(kernels, dtype, x, w, b, dy)
    for n in range(len(x)):
        alone = run(kernels, dtype, x[n : n + 1], w, b, dy[n : n + 1])
        np.testing.assert_array_equal(together["y"][n], alone["y"][0])
        np.testing.assert_array_equal(together["dx"][n], alone["dx"][0])


@DTYPES
@pytest.mark.parametrize("fan_in", [1, 29])
def test_bits_of_one_image_in_any_number_of_vectors(dtype, fan_in):
    """One image takes another loop, with up to eight vectors of units at once."""
    for units in (1, 4, 15, 16, 17, 47, 84, 120, 127, 128, 129, 200, 257, 640):
        x, w, b, dy = tensors((3, fan_in, units), units, whole=False)
        memory = Guarded(dtype)
        x, w, b = (memory.given(t) for t in (x, w, b))
        y, alone = memory.wanted(*dy.shape), memory.wanted(1, units)
        kernels.dense_forward(x, w, b, y)
        kernels.dense_forward(x[1:2], w, b, alone)
        memory.check()
        np.testing.assert_array_equal(alone[0], y[1], f"{units} units")
        kernels.dense_columns_forward(x[1:2], w.reshape(-1), units, b, 1, alone)
        np.testing.assert_array_equal(alone[0], np.maximum(y[1], 0), f"{units} units, ReLU")


@BOTH
@DTYPES
def test_an_empty_batch_gives_zero_gradients(operations, dtype):
    result = run(operations, dtype, *tensors((0, 5, 3), 0, whole=True))
    assert result["y"].shape == (0, 3) and result["dx"].shape == (0, 5)
    assert not result["dw"].any() and not result["db"].any()


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_in_their_sample(operations, value):
    x, w, b, dy = tensors((4, 5, 3), 3, whole=False)
    x[2, 1] = dy[1, 2] = value
    with np.errstate(invalid="ignore"):
        result, expected = run(operations, np.float64, x, w, b, dy), run_naive(x, w, b, dy)
    for name, values in expected.items():
        touched = ~np.isfinite(values)
        assert 0 < touched.sum() < touched.size
        np.testing.assert_array_equal(result[name][touched], values[touched], err_msg=name)
        assert np.isfinite(result[name][~touched]).all()
