"""Depthwise convolutions with 3x3 taps: the kernels against slow loops, against the
reference and against the general kernels, numeric gradients, and which convolutions take them.
test_depthwise_conv2d.py has the same for any window, and explains the cases."""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given
from hypothesis import strategies as st
from test_depthwise_conv2d import (
    DTYPES,
    assert_equal,
    assert_within_roundings,
    padded,
    run_naive,
    tensors,
)
from test_depthwise_conv2d import run as run_general

from tinycnn import Conv2D, Dense, DepthwiseConv2D, Flatten, InputSpec, Network, ReLU, reference
from tinycnn.kernels import depthwise_conv2d
from tinycnn.kernels import depthwise_conv2d_3x3 as kernels
from tinycnn.kernels._jit import TILE
from tinycnn.testing import check_gradients, gradient_error, logit_error

WITH_VECTORS = pytest.mark.skipif(TILE.plain, reason="this run has plain loops and no vectors")
BOTH = pytest.mark.parametrize(
    "operations",
    [pytest.param(kernels, marks=WITH_VECTORS), reference],
    ids=["kernels", "reference"],
)


@st.composite
def cases(draw, channels, largest, stride=1):
    """Padding of less than three above and to the left, any below and to the right."""
    N, C = draw(st.sampled_from([1, 2, 3, 0])), draw(channels)
    H, W = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    before, after = ([draw(st.integers(0, most)) for _ in range(2)] for most in (2, 5))
    before = [max(b, 3 - size) if size < 3 else b for b, size in zip(before, (H, W))]
    sides = tuple(zip(before, after))
    return padded(N, H, W, C, 1, 3, stride, draw(st.sampled_from(["same", sides])))


small_cases = cases(st.integers(1, 3), largest=6)
awkward_cases = cases(st.sampled_from([1, 2, 3, 5, 7, 13, 16, 17, 31, 33]), largest=19)

NAMED_CASES = {
    "one of everything": padded(1, 1, 1, 1, 1, 3, 1),
    "primes": padded(2, 7, 5, 3, 1, 3, 1),
    "runs of seven and six columns": padded(1, 3, 13, 17, 1, 3, 1),
    "whole vectors": padded(2, 5, 8, 32, 1, 3, 1),
    "valid": padded(2, 6, 7, 5, 1, 3, 1, "valid"),
    "one row": padded(2, 1, 9, 2, 1, 3, 1),
    "one column": padded(2, 9, 1, 33, 1, 3, 1),
    "padding for each side": padded(2, 6, 5, 2, 1, 3, 1, ((2, 0), (1, 4))),
    "windows in padding alone": padded(2, 3, 2, 2, 1, 3, 1, ((2, 5), (2, 4))),
}


def forward(operations, case, dtype, x, w, b, relu=0):
    """y alone, on guarded arrays."""
    memory = Guarded(dtype)
    y = memory.wanted(case.N, case.OH, case.OW, case.C)
    x, w, b = (memory.given(t) for t in (x, w, b))
    operations.depthwise_conv2d_3x3_forward(x, w, b, case.window, relu, y)
    memory.check()
    return y


def run(operations, case, dtype, x, w, b, dy, relu=0):
    """y, dw, db, dx of a forward and a backward pass, on guarded arrays."""
    memory = Guarded(dtype)
    x, w, b, dy = (memory.given(t) for t in (x, w, b, dy))
    y, dw, db, dx = (memory.wanted(*t.shape) for t in (dy, w, b, x))
    scratch = memory.wanted(kernels.scratch_size(case))
    operations.depthwise_conv2d_3x3_forward(x, w, b, case.window, relu, y)
    operations.depthwise_conv2d_3x3_backward_params(x, dy, case.window, scratch, dw, db)
    operations.depthwise_conv2d_3x3_backward_input(dy, w, case.window, scratch, dx)
    memory.check()
    return dict(y=y, dw=dw, db=db, dx=dx)


@DTYPES
@BOTH
@given(case=small_cases, seed=st.integers(0, 2**32))
def test_whole_numbers_equal_the_definition_exactly(operations, dtype, case, seed):
    values = tensors(case, seed, whole=True)
    expected = run_naive(case, *values)
    assert_equal(run(operations, case, dtype, *values), expected)
    with_relu = run(operations, case, dtype, *values, relu=1)["y"]
    np.testing.assert_array_equal(with_relu, np.maximum(expected["y"], 0))


@DTYPES
@BOTH
@pytest.mark.parametrize("name", NAMED_CASES)
def test_named_cases_equal_the_definition(operations, dtype, name):
    case = NAMED_CASES[name]
    values = [t.astype(dtype) for t in tensors(case, 1, whole=False)]
    result, expected = run(operations, case, dtype, *values), run_naive(case, *values)
    assert_within_roundings(case, dtype, result, expected, values)


@WITH_VECTORS
@DTYPES
@given(case=awkward_cases, seed=st.integers(0, 2**32))
@example(case=padded(2, 25, 5, 64, 1, 3, 1), seed=0)  # of DS-CNN
def test_forward_has_the_bits_of_the_general_kernel(dtype, case, seed):
    """The same terms in the same order.  The gradients are sums in another order."""
    values = [t.astype(dtype) for t in tensors(case, seed, whole=False)]
    result = run(kernels, case, dtype, *values)
    general = run_general(depthwise_conv2d, case, dtype, *values)
    np.testing.assert_array_equal(result["y"], general["y"])
    expected = run_general(reference, case, dtype, *values)
    assert_within_roundings(case, dtype, result, expected, values)


@DTYPES
@BOTH
@given(case=cases(st.integers(1, 3), largest=7, stride=2), seed=st.integers(0, 2**32))
@example(case=padded(2, 1, 1, 1, 1, 3, 2), seed=0)
@example(case=padded(1, 3, 2, 2, 1, 3, 2, ((2, 5), (2, 4))), seed=0)  # windows in padding alone
def test_whole_numbers_with_stride_2_equal_the_definition_exactly(operations, dtype, case, seed):
    x, w, b, dy = tensors(case, seed, whole=True)
    expected = run_naive(case, x, w, b, dy)["y"]
    np.testing.assert_array_equal(forward(operations, case, dtype, x, w, b), expected)
    with_relu = forward(operations, case, dtype, x, w, b, relu=1)
    np.testing.assert_array_equal(with_relu, np.maximum(expected, 0))


@WITH_VECTORS
@DTYPES
@given(
    case=cases(st.sampled_from([1, 3, 7, 8, 9, 16, 17, 33]), largest=19, stride=2),
    seed=st.integers(0, 2**32),
)
@example(case=padded(2, 24, 24, 16, 1, 3, 2), seed=0)  # of MobileNetV1
def test_forward_with_stride_2_has_the_bits_of_the_general_kernel(dtype, case, seed):
    x, w, b, dy = (t.astype(dtype) for t in tensors(case, seed, whole=False))
    general = run_general(depthwise_conv2d, case, dtype, x, w, b, dy)["y"]
    np.testing.assert_array_equal(forward(kernels, case, dtype, x, w, b), general)


@WITH_VECTORS
@pytest.mark.parametrize("name", NAMED_CASES)
def test_kernel_gradients_equal_numeric_gradients(name):
    case = NAMED_CASES[name]
    x, w, b, dy = tensors(case, 2, whole=False)
    gradients = run(kernels, case, np.float64, x, w, b, dy)
    y = np.empty_like(dy)

    def loss():
        kernels.depthwise_conv2d_3x3_forward(x, w, b, case.window, 0, y)
        return float(np.sum(y * dy))

    wanted = dict(x=gradients["dx"], w=gradients["dw"], b=gradients["db"])
    check_gradients(loss, dict(x=x, w=w, b=b), wanted)


@WITH_VECTORS
@DTYPES
@given(case=awkward_cases.filter(lambda case: case.N > 1), seed=st.integers(0, 2**32))
def test_bits_of_an_image_do_not_depend_on_the_other_images(dtype, case, seed):
    x, w, b, dy = tensors(case, seed, whole=False)
    together = run(kernels, case, dtype, x, w, b, dy)
    for n in range(case.N):
        alone = run(kernels, case._replace(N=1), dtype, x[n : n + 1], w, b, dy[n : n + 1])
        for name in ("y", "dx"):
            np.testing.assert_array_equal(together[name][n], alone[name][0], err_msg=name)


@WITH_VECTORS
@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_only_reaches_its_own_taps_and_channel(value, relu):
    """Of the gradient of w it reaches all taps of its channel: padding is 0, and 0 * NaN is NaN."""
    case = NAMED_CASES["primes"]
    x, w, b, dy = tensors(case, 4, whole=False)
    x[1, 1, 0, 1], dy[1, 0, 0, -1] = value, value
    with np.errstate(invalid="ignore"):
        result = run(kernels, case, np.float64, x, w, b, dy, relu)
        expected = run_naive(case, x, w, b, dy)
    if relu:
        expected["y"] = np.maximum(expected["y"], 0)  # NaN stays NaN
    for tensor, values in expected.items():
        touched = ~np.isfinite(values)
        if tensor == "dw":
            touched = np.broadcast_to(touched.any(axis=(0, 1)), values.shape)
            assert not np.isfinite(result["dw"][~np.isfinite(values)]).any()
            assert np.isfinite(result["dw"][~touched]).all() and not touched.all()
            continue
        assert 0 < touched.sum() < touched.size, tensor
        np.testing.assert_array_equal(result[tensor][touched], values[touched], tensor)
        assert np.isfinite(result[tensor][~touched]).all(), tensor


# ---- in a network ------------------------------------------------------------------------------


def taken(network):
    """Of each convolution: whether the forward pass is done here, and whether backward is."""
    table = network._run.table.operations
    return [(int(op.is_3x3), int(op.is_3x3_backward)) for op in table if op.KH]


@WITH_VECTORS
@pytest.mark.parametrize("dtype, allowance", [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize(
    "size_px, layers, expected",
    [
        (
            5,
            [DepthwiseConv2D(3), ReLU(), Conv2D(4, 1), DepthwiseConv2D(3)],
            [(1, 1), (0, 0), (1, 1)],
        ),
        (4, [DepthwiseConv2D(3), ReLU()], [(1, 0)]),  # smaller pictures
        (6, [DepthwiseConv2D(3, padding="valid"), ReLU()], [(1, 0)]),
        (7, [DepthwiseConv2D(3, padding=((2, 0), (0, 5))), ReLU()], [(1, 1)]),
        (7, [DepthwiseConv2D(3, padding=((3, 0), (0, 2)))], [(0, 0)]),
        (9, [DepthwiseConv2D(3, stride=2), ReLU()], [(1, 0)]),
        (9, [DepthwiseConv2D(3, stride=3), DepthwiseConv2D((3, 1))], [(0, 0)] * 2),
        (9, [DepthwiseConv2D(3, stride=(1, 2)), DepthwiseConv2D(5)], [(0, 0)] * 2),
        (9, [DepthwiseConv2D(3, depth_multiplier=2), ReLU()], [(0, 0)]),
    ],
    ids=str,
)
def test_which_convolutions_and_their_gradients(size_px, layers, expected, dtype, allowance):
    spec, rng = InputSpec(size_px, size_px, 3), np.random.default_rng(0)
    network, exact = (
        Network([*layers, Flatten(), Dense(3)], spec, dtype=kind, backend=backend)
        for kind, backend in ((dtype, "numba"), (np.float64, "numpy"))
    )
    for made in (network, exact):
        made.initialise(np.random.default_rng(1), bias_std=0.3)
    assert taken(network) == expected
    x = rng.standard_normal((5, *spec.shape)).astype(np.float32)
    logits, exact_logits = network.forward(x, training=True), exact.forward(x, training=True)
    assert logit_error(logits, exact_logits) < allowance
    np.testing.assert_array_equal(network.forward(x), logits)
    dlogits = rng.standard_normal(logits.shape)
    dx, exact_dx = (n.backward(dlogits, input_gradient=True) for n in (network, exact))
    assert gradient_error(dx, exact_dx) < allowance
    for name, gradient in network.gradients.items():
        assert gradient_error(gradient, exact.gradients[name]) < allowance, name
