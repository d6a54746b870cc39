"""Convolutions in vectors of output columns: against slow loops and against the filters' vectors,
with which they share their bits; which convolutions take them; networks that do."""

import itertools

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st

from tinycnn import Conv2D, Dense, Flatten, InputSpec, MaxPool2D, Network, ReLU, reference
from tinycnn.kernels import conv2d, conv2d_columns
from tinycnn.kernels._jit import TILE
from tinycnn.kernels.operations import COLUMNS, COLUMNS_AND_POOL, NO_COLUMNS
from tinycnn.kernels.table import make_operations
from tinycnn.plan import Window, build_plan
from tinycnn.testing import logit_error

BOTH = pytest.mark.parametrize("operations", [conv2d_columns, reference], ids=["kernel", "numpy"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LANES = TILE.vector_bytes // 4


class Sizes:
    """Of a convolution with SW = 1: as the fields of a record."""

    def __init__(self, H, W, C, F, window):
        KH, KW, SH, SW, PT, PL, PB, PR = window
        self.shape, self.window, self.W = (H, W, C), window, W
        self.C, self.F, self.KH, self.KW, self.SH, self.SW = C, F, KH, KW, SH, SW
        self.conv_OH, self.conv_OW = (H + PT + PB - KH) // SH + 1, W + PL + PR - KW + 1


def run(operations, sizes, dtype, x, w, b, pool=0, relu=0):
    memory = Guarded(dtype)
    x, w, b = (memory.given(a) for a in (x, w, b))
    shrink = 1 + pool
    y = memory.wanted(len(x), sizes.conv_OH // shrink, sizes.conv_OW // shrink, sizes.F)
    scratch = memory.wanted(conv2d_columns.scratch_size(sizes, y.itemsize))
    operations.conv2d_columns_forward(x, w, b, sizes.window, pool, relu, scratch, y)
    memory.check()
    return y


def tensors(sizes, n_images, seed, whole=False):
    rng = np.random.default_rng(seed)
    shapes = (n_images, *sizes.shape), (sizes.KH, sizes.KW, sizes.C, sizes.F), (sizes.F,)
    if whole:
        return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    return [rng.standard_normal(shape) for shape in shapes]


def by_filters(sizes, dtype, x, w, b):
    """What `conv2d.py` gives."""
    y = np.empty((len(x), sizes.conv_OH, sizes.conv_OW, sizes.F), dtype)
    conv2d.conv2d_forward(*(a.astype(dtype) for a in (x, w, b)), sizes.window, y)
    return y


def pooled(z):
    """The largest of each whole window of 2 x 2."""
    (N, H, W, F) = z.shape
    parts = z[:, : H // 2 * 2, : W // 2 * 2].reshape(N, H // 2, 2, W // 2, 2, F)
    return parts.max(axis=(2, 4))


@st.composite
def convolutions(draw):
    """Pictures and windows of awkward sizes, with a padding that is smaller than the window."""
    KH, KW = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = [draw(st.integers(0, K - 1)) for K in (KH, KW, KH, KW)]
    H = draw(st.integers(max(KH - padding[0] - padding[2], 1), 7))
    least = max(KW - padding[1] - padding[3], 1)
    W = draw(st.one_of(st.integers(least, 7), st.sampled_from([LANES - 1, LANES + 3, 2 * LANES])))
    W = max(W, least)
    window = Window(KH, KW, draw(st.integers(1, 3)), 1, *padding)
    C, F = draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 3, 5, 6, 7, 8]))
    return Sizes(H, W, C, F, window)


@BOTH
def test_a_picture_by_hand(operations):
    """Two filters of 2x2 taps on a picture of 2x3, one pixel of padding above.

    0 0 0     w0  1 2     w1  0 0     y0  2+0 above: 3*1+4*2=11 ...
    1 2 3         3 4         0 1
    4 5 6
    """
    sizes = Sizes(2, 3, 1, 2, Window(2, 2, 1, 1, 1, 0, 0, 0))
    x = np.arange(1.0, 7).reshape(1, 2, 3, 1)
    w = np.stack([[[1.0, 2], [3, 4]], [[0, 0], [0, 1]]], axis=-1)[:, :, None]
    y = run(operations, sizes, np.float64, x, w, np.array([0.0, 100]))
    first = [[3 + 8, 6 + 12], [1 + 4 + 12 + 20, 2 + 6 + 15 + 24]]
    np.testing.assert_array_equal(y[0, :, :, 0], first)
    np.testing.assert_array_equal(y[0, :, :, 1], [[102, 103], [105, 106]])


@BOTH
@DTYPES
@given(sizes=convolutions(), N=st.integers(0, 2), relu=st.booleans(), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_whole_numbers_equal_slow_loops(operations, dtype, sizes, N, relu, seed):
    x, w, b = tensors(sizes, N, seed, whole=True)
    z = naive.conv2d_forward(x, w, b, sizes.window, sizes.conv_OH, sizes.conv_OW)
    floor = 0 if relu else -np.inf
    y = run(operations, sizes, dtype, x, w, b, relu=int(relu))
    np.testing.assert_array_equal(y, np.maximum(z, floor))
    if min(z.shape[1:3]) > 1:
        y = run(operations, sizes, dtype, x, w, b, pool=1, relu=int(relu))
        np.testing.assert_array_equal(y, np.maximum(pooled(z), floor))


@DTYPES
@given(sizes=convolutions(), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_same_bits_as_vectors_of_filters(dtype, sizes, seed):
    tensors_2 = tensors(sizes, 2, seed)
    z = by_filters(sizes, dtype, *tensors_2)
    assert run(conv2d_columns, sizes, dtype, *tensors_2).tobytes() == z.tobytes()
    assert run(conv2d_columns, sizes, dtype, *tensors_2, pool=1).tobytes() == pooled(z).tobytes()


@DTYPES
def test_nan_stays_in_its_image_and_a_pooling_takes_numbers(dtype):
    sizes = Sizes(4, 6, 1, 3, Window(1, 1, 1, 1, 0, 0, 0, 0))
    x, w, b = tensors(sizes, 3, 0)
    expected = run(conv2d_columns, sizes, dtype, x, w, b, pool=1)
    x[1, 1, 2] = np.nan  # one of four pixels of its window
    y = run(conv2d_columns, sizes, dtype, x, w, b, pool=1)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y[::2], expected[::2])
    x[1, :2, 2:4] = np.nan
    y = run(conv2d_columns, sizes, dtype, x, w, b, pool=1, relu=1)
    assert np.isnan(y[1, 0, 1]).all() and np.isnan(y).sum() == sizes.F


# ---- which convolutions, and networks with them -----------------------------------------------


def chosen(shape, layers):
    table = make_operations(build_plan([*layers, Flatten(), Dense(2)], shape), np.dtype("float32"))
    return int(table.operations[0].by_columns)


FOR_WIDE_VECTORS = pytest.mark.skipif(
    LANES < 8, reason="the choice depends on the width of a vector"
)


@FOR_WIDE_VECTORS
def test_a_few_filters_on_one_channel_take_columns():
    """The first convolution of LeNet-5 has 6 filters; with 16 all lanes have a filter."""
    assert chosen((28, 28, 1), [Conv2D(6, 5), ReLU(), MaxPool2D(2)]) == COLUMNS_AND_POOL
    assert chosen((28, 28, 1), [Conv2D(6, 5), ReLU()]) == COLUMNS
    assert chosen((28, 28, 1), [Conv2D(16, 5), ReLU()]) == NO_COLUMNS
    assert chosen((28, 28, 1), [Conv2D(6, 5, stride=2), ReLU()]) == NO_COLUMNS


@FOR_WIDE_VECTORS
def test_only_whole_windows_without_padding_are_pooled_with_the_convolution():
    for padding, by in (("valid", COLUMNS_AND_POOL), ("same", COLUMNS)):
        assert chosen((27, 28, 1), [Conv2D(6, 5), MaxPool2D(2, padding=padding)]) == by
    shifted = MaxPool2D(2, padding=((1, 0), (1, 0)))
    assert chosen((28, 28, 1), [Conv2D(6, 5), shifted]) == COLUMNS
    assert chosen((28, 28, 1), [Conv2D(6, 5), MaxPool2D(3, stride=2)]) == COLUMNS


NETWORKS = {
    "pooled": ((28, 30, 1), [Conv2D(6, 5), ReLU(), MaxPool2D(2)]),
    "pooled_otherwise": ((27, 29, 1), [Conv2D(5, 5), MaxPool2D(3, stride=2), ReLU()]),
    "alone": ((11, 33, 3), [Conv2D(4, 5, padding="valid"), ReLU(), Conv2D(3, (5, 4))]),
}


@pytest.mark.parametrize("name", NETWORKS)
@DTYPES
def test_networks_agree_with_numpy(name, dtype):
    shape, layers = NETWORKS[name]
    layers = [*layers, Flatten(), Dense(3)]
    one, other = (
        Network(layers, InputSpec(*shape), backend=backend, dtype=dtype, seed=1)
        for backend in ("numba", "numpy")
    )
    table = make_operations(one.plan, np.dtype(dtype))
    assert LANES < 8 or dtype != np.float32 or table.operations[0].by_columns
    x = np.random.default_rng(0).standard_normal((3, *shape)).astype(dtype)
    for k, training in itertools.product((1, 3), (False, True)):
        error = logit_error(one.forward(x[:k], training), other.forward(x[:k], training))
        assert error < 1e-5
    dlogits = np.random.default_rng(1).standard_normal((3, 3)).astype(dtype)
    for network in (one, other):
        network.backward(dlogits)
    for key, gradient in other.gradients.items():
        np.testing.assert_allclose(one.gradients[key], gradient, rtol=2e-4, atol=2e-4)
    assert one.forward(x).tobytes() == one.forward(x, training=True).tobytes()
