"""Packed weights: what they are, and that the sums have the same bits as without."""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import Conv2D, Dense, Flatten, InputSpec, MaxPool2D, Network, ReLU, reference
from tinycnn.kernels import conv2d, dense, packed_weights
from tinycnn.kernels._jit import TILE
from tinycnn.kernels.packed_weights import PANEL_BYTES, pack_weights, panel_columns
from tinycnn.plan import Window

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
def test_weights_with_many_whole_panels_are_packed(dtype):
    itemsize = np.dtype(dtype).itemsize
    n = PANEL_BYTES // itemsize
    if TILE.plain:
        assert n == 0 and panel_columns(4096, itemsize) == 4096
        return
    least = packed_weights.LEAST_ROW_BYTES // itemsize
    assert panel_columns(least, itemsize) == n < least
    assert panel_columns(least - n, itemsize) == least - n  # short rows
    assert panel_columns(least + 1, itemsize) == least + 1  # no whole number of panels


@DTYPES
@pytest.mark.parametrize("pack", [pack_weights, reference.pack_weights])
@given(
    n_panels=st.integers(1, 4), R=st.integers(1, 19), N=st.integers(1, 33), seed=st.integers(0, 99)
)
def test_panels(pack, dtype, n_panels, R, N, seed):
    memory = Guarded(dtype)
    w, packed = (
        np.random.default_rng(seed).normal(size=(R, n_panels * N)),
        memory.wanted(n_panels, R, N),
    )
    pack(memory.given(w), packed)
    memory.check()
    for p in range(n_panels):
        np.testing.assert_array_equal(packed[p], w.astype(dtype)[:, p * N : (p + 1) * N])


@DTYPES
@pytest.mark.parametrize("relu", [0, 1])
@given(
    picture=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 9), st.integers(1, 5)),
    taps=st.sampled_from([(1, 1, 1, 0), (3, 3, 1, 1), (3, 2, 2, 0), (5, 5, 1, 2)]),
    n_panels=st.integers(1, 3),
    N=st.sampled_from([1, 7, 8, 16, 32, 37]),
    seed=st.integers(0, 2**32),
)
def test_a_convolution_has_the_same_bits(dtype, relu, picture, taps, n_panels, N, seed):
    (B, H, W, C), (KH, KW, S, P), rng = picture, taps, np.random.default_rng(seed)
    F, OH, OW = n_panels * N, (H + 2 * P - KH) // S + 1, (W + 2 * P - KW) // S + 1
    if min(OH, OW) < 1:
        return
    memory, window = Guarded(dtype), Window(KH, KW, S, S, P, P, P, P)
    x, b = memory.given(rng.normal(size=picture)), memory.given(rng.normal(size=F))
    w = memory.given(rng.normal(size=(KH, KW, C, F)))
    packed = memory.wanted(n_panels, KH * KW * C, N)
    pack_weights(w.reshape(-1, F), packed)
    found, expected = memory.wanted(B, OH, OW, F), memory.wanted(B, OH, OW, F)
    conv2d.conv2d_relu_forward(x, packed.reshape(-1), N, b, window, relu, found)
    conv2d.conv2d_relu_forward(x, w.reshape(-1), F, b, window, relu, expected)
    memory.check()
    np.testing.assert_array_equal(found, expected)


@DTYPES
@pytest.mark.parametrize("relu", [0, 1])
@given(
    shape=st.tuples(st.integers(1, 9), st.sampled_from([1, 2, 13, 64])),
    n_panels=st.integers(1, 11),
    N=st.sampled_from([1, 7, 8, 16, 32, 37]),
    seed=st.integers(0, 2**32),
)
def test_a_dense_layer_has_the_same_bits(dtype, relu, shape, n_panels, N, seed):
    (B, K), U, rng, memory = shape, n_panels * N, np.random.default_rng(seed), Guarded(dtype)
    x, b = memory.given(rng.normal(size=shape)), memory.given(rng.normal(size=U))
    w, packed = memory.given(rng.normal(size=(K, U))), memory.wanted(n_panels, K, N)
    pack_weights(w, packed)
    found, expected = memory.wanted(B, U), memory.wanted(B, U)
    dense.dense_packed_forward(x, packed, b, relu, found)
    dense.dense_columns_forward(x, w.reshape(-1), U, b, relu, expected)
    memory.check()
    np.testing.assert_array_equal(found, expected)


def table_of(layers, dtype=np.float32):
    from tinycnn.kernels.table import make_operations
    from tinycnn.plan import build_plan

    return make_operations(build_plan(layers, (6, 6, 3)), np.dtype(dtype))


@pytest.mark.skipif(TILE.plain, reason="the plain loops need no packed weights")
def test_which_layers_are_packed():
    many, few = packed_weights.LEAST_ROW_BYTES // 4, PANEL_BYTES // 4
    layers = [Conv2D(many, 1), Conv2D(few, 1), Conv2D(many, 2, stride=2), Flatten(), Dense(many)]
    table = table_of([*layers, Dense(few)])
    panels = [(int(op.panel), int(op.F)) for op in table.operations]
    assert panels == [(few, many), (few, few), (few, many), (few, many), (few, few)]
    # those of dense layers come behind those of convolutions
    offsets = [int(op.prepared_offset) for op in table.operations]
    assert offsets[3] == table.sizes.n_prepared == offsets[2] + 4 * few * many
    assert table.sizes.n_packed == 9 * many * many


@pytest.mark.kernels
@DTYPES
def test_training_has_the_same_bits_with_few_images_as_with_many(dtype):
    """With many images the weights of dense layers are packed."""
    layers = [Conv2D(128, 1), ReLU(), MaxPool2D(2), Flatten(), Dense(128), ReLU(), Dense(256)]
    x = np.random.default_rng(0).normal(size=(40, 6, 6, 3)).astype(dtype)
    network = Network([*layers, Dense(3)], InputSpec(6, 6, 3), dtype=dtype, backend="numba")
    together = network.forward(x, training=True)
    sizes, weights = network._run.table.sizes, network._run.weights
    assert weights.prepared.size == sizes.n_prepared + sizes.n_packed
    apart = [network.forward(x[k : k + 8], training=True) for k in range(0, 40, 8)]
    assert network._run.weights.prepared.size == sizes.n_prepared
    np.testing.assert_array_equal(together, np.concatenate(apart))
    np.testing.assert_array_equal(together, network.forward(x))
