"""Convolutions and poolings against numbers that others published.

    TensorFlow  tensorflow/python/kernel_tests/nn_ops: conv_ops_test.py, pooling_ops_test.py,
                depthwise_conv_op_base.py (the expected outputs and gradients written there)
    ONNX        onnx/backend/test/case/node/averagepool.py (the precomputed cases)
    cs231n      Stanford's course, notebook ConvolutionalNetworks of assignment 2

Inputs, weights and gradients of outputs are 1, 2, 3, ... in the order of the array, unless another
array is given.
"""

import numpy as np
import pytest
from guarded import Guarded
from windows import make_window

from tinycnn import reference
from tinycnn.kernels import averagepool2d, conv2d, depthwise_conv2d, maxpool2d


def both(kernels):
    return pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])


DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def counted(*shape):
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape)


# ---- convolution -------------------------------------------------------------------------------

CONVOLUTIONS = [
    # x, w, strides, padding, y
    (
        *((1, 2, 3, 3), (1, 1, 3, 3), 1, "valid"),
        [30, 36, 42, 66, 81, 96, 102, 126, 150, 138, 171, 204, 174, 216, 258, 210, 261, 312],
    ),
    ((1, 2, 3, 3), (2, 2, 3, 3), 1, "valid", [2271, 2367, 2463, 2901, 3033, 3165]),
    (
        *((1, 2, 3, 3), (1, 2, 3, 3), 1, "valid"),
        [231, 252, 273, 384, 423, 462, 690, 765, 840, 843, 936, 1029],
    ),
    ((1, 2, 3, 3), (2, 2, 3, 3), 2, "valid", [2271, 2367, 2463]),
    ((1, 2, 3, 3), (2, 2, 3, 3), 2, "same", [2271, 2367, 2463, 1230, 1305, 1380]),
    ((1, 3, 6, 1), (2, 2, 1, 1), (1, 2), "valid", [58, 78, 98, 118, 138, 158]),
    ((1, 7, 7, 1), (2, 2, 1, 1), 3, "valid", [65, 95, 275, 305]),
    ((1, 3, 3, 1), (1, 1, 1, 1), 2, "same", [1, 3, 7, 9]),
    ((1, 4, 4, 1), (1, 1, 1, 1), 2, "same", [1, 3, 9, 11]),
    ((1, 4, 4, 1), (2, 2, 1, 1), 3, "same", [44, 28, 41, 16]),
    ((1, 2, 2, 1), (2, 2, 1, 2), 1, "valid", [50, 60]),
]


@DTYPES
@both(conv2d)
@pytest.mark.parametrize("x_shape, w_shape, stride, padding, expected", CONVOLUTIONS)
def test_tensorflows_convolutions(operations, dtype, x_shape, w_shape, stride, padding, expected):
    window, OH, OW = make_window(*x_shape[1:3], w_shape[:2], stride, padding)
    memory = Guarded(dtype)
    x, w, b = (
        memory.given(a) for a in (counted(*x_shape), counted(*w_shape), np.zeros(w_shape[3]))
    )
    y = memory.wanted(x_shape[0], OH, OW, w_shape[3])
    operations.conv2d_forward(x, w, b, window, y)
    memory.check()
    np.testing.assert_array_equal(y.ravel(), expected)


INPUT_GRADIENTS = [
    # x, w, strides, padding, dx
    ((1, 2, 3, 1), (2, 2, 1, 1), 1, "valid", [1, 4, 4, 3, 10, 8]),
    (
        *((1, 2, 3, 3), (2, 2, 3, 3), 1, "valid"),
        [14, 32, 50, 100, 163, 226, 167, 212, 257, 122, 140, 158, 478, 541, 604, 437, 482, 527],
    ),
    (
        *((1, 3, 6, 1), (2, 2, 1, 1), (1, 2), "valid"),
        [1, 2, 2, 4, 3, 6, 7, 12, 11, 18, 15, 24, 12, 16, 15, 20, 18, 24],
    ),
    (
        *((1, 4, 4, 1), (1, 1, 1, 1), 2, "same"),
        [1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0],
    ),
    ((1, 2, 2, 1), (2, 2, 1, 2), 1, "valid", [5, 11, 17, 23]),
]


@DTYPES
@both(conv2d)
@pytest.mark.parametrize("x_shape, w_shape, stride, padding, expected", INPUT_GRADIENTS)
def test_tensorflows_gradients_of_x(operations, dtype, x_shape, w_shape, stride, padding, expected):
    window, OH, OW = make_window(*x_shape[1:3], w_shape[:2], stride, padding)
    memory = Guarded(dtype)
    dy = memory.given(counted(x_shape[0], OH, OW, w_shape[3]))
    w_t = memory.given(counted(*w_shape).transpose(3, 0, 1, 2))
    dx = memory.wanted(*x_shape)
    operations.conv2d_backward_input(dy, w_t, window, dx)
    memory.check()
    np.testing.assert_array_equal(dx.ravel(), expected)


WEIGHT_GRADIENTS = [
    # x, w, strides, padding, dw
    ((1, 2, 3, 1), (2, 2, 1, 1), 1, "valid", [5, 8, 14, 17]),
    (
        *((1, 2, 3, 3), (2, 2, 3, 3), 1, "valid"),
        [17, 22, 27, 22, 29, 36, 27, 36, 45, 32, 43, 54, 37, 50, 63, 42, 57, 72]
        + [62, 85, 108, 67, 92, 117, 72, 99, 126, 77, 106, 135, 82, 113, 144, 87, 120, 153],
    ),
    ((1, 3, 6, 1), (2, 2, 1, 1), (1, 2), "valid", [161, 182, 287, 308]),
    ((1, 4, 4, 1), (1, 1, 1, 1), 2, "same", [78]),
    ((1, 2, 2, 1), (2, 2, 1, 2), 1, "valid", [1, 2, 2, 4, 3, 6, 4, 8]),
]


@DTYPES
@both(conv2d)
@pytest.mark.parametrize("x_shape, w_shape, stride, padding, expected", WEIGHT_GRADIENTS)
def test_tensorflows_gradients_of_w(operations, dtype, x_shape, w_shape, stride, padding, expected):
    window, OH, OW = make_window(*x_shape[1:3], w_shape[:2], stride, padding)
    memory = Guarded(dtype)
    x, dy = memory.given(counted(*x_shape)), memory.given(counted(x_shape[0], OH, OW, w_shape[3]))
    dw, db = memory.wanted(*w_shape), memory.wanted(w_shape[3])
    operations.conv2d_backward_params(x, dy, window, dw, db)
    memory.check()
    np.testing.assert_array_equal(dw.ravel(), expected)


@both(conv2d)
def test_cs231ns_convolution(operations):
    """Two pictures of 3 channels, three filters of 4x4, stride 2, a pixel of padding on each side.
    The arrays of the notebook are (N, C, H, W) and (F, C, KH, KW)."""
    x = np.linspace(-0.1, 0.5, 96).reshape(2, 3, 4, 4).transpose(0, 2, 3, 1).copy()
    w = np.linspace(-0.2, 0.3, 144).reshape(3, 3, 4, 4).transpose(2, 3, 1, 0).copy()
    window, OH, OW = make_window(4, 4, 4, 2, ((1, 1), (1, 1)))
    y = np.empty((2, OH, OW, 3))
    operations.conv2d_forward(x, w, np.linspace(-0.1, 0.2, 3), window, y)
    expected = [
        *(-0.08759809, -0.10987781, -0.18387192, -0.2109216),
        *(0.21027089, 0.21661097, 0.22847626, 0.23004637),
        *(0.50813986, 0.54309974, 0.64082444, 0.67101435),
        *(-0.98053589, -1.03143541, -1.19128892, -1.24695841),
        *(0.69108355, 0.66880383, 0.59480972, 0.56776003),
        *(2.36270298, 2.36904306, 2.38090835, 2.38247847),
    ]
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2).ravel(), expected, rtol=0, atol=5e-9)


@DTYPES
@both(depthwise_conv2d)
def test_tensorflows_depthwise_convolution(operations, dtype):
    """2x3 pixels of 2 channels, 2 filters of 2x2 for each."""
    window, OH, OW = make_window(2, 3, 2, 1, "valid")
    memory = Guarded(dtype)
    x, w, b = (memory.given(a) for a in (counted(1, 2, 3, 2), counted(2, 2, 2, 2), np.zeros(4)))
    y = memory.wanted(1, OH, OW, 4)
    operations.depthwise_conv2d_forward(x, w, b, window, y)
    memory.check()
    np.testing.assert_array_equal(y.ravel(), [196, 216, 272, 296, 252, 280, 344, 376])


# ---- max-pooling -------------------------------------------------------------------------------

MAX_POOLS = [
    # x, size, stride, padding, sign of x, y
    ((1, 3, 3, 3), 2, 2, "valid", 1, [13, 14, 15]),
    ((1, 2, 3, 3), 2, 2, "same", 1, [13, 14, 15, 16, 17, 18]),
    ((1, 3, 3, 1), 3, 2, ((0, 0), (0, 0)), 1, [9]),
    ((1, 3, 3, 1), 3, 2, ((2, 1), (2, 1)), -1, [-1, -1, -1, -1]),
    ((1, 3, 3, 1), 3, 2, ((0, 2), (0, 1)), 1, [9, 9]),
    (
        *((1, 6, 6, 1), 3, 2, ((1, 2), (2, 1)), 1),
        [7, 9, 11, 12, 19, 21, 23, 24, 31, 33, 35, 36, 31, 33, 35, 36],
    ),
    (
        *((1, 6, 6, 1), 3, 2, ((1, 2), (2, 1)), -1),
        [-1, -1, -3, -5, -7, -7, -9, -11, -19, -19, -21, -23, -31, -31, -33, -35],
    ),
    ((1, 2, 2, 1), (1, 2), 1, "same", 1, [2, 2, 4, 4]),
    ((1, 4, 4, 1), 2, (1, 2), "valid", 1, [6, 8, 10, 12, 14, 16]),
    ((1, 4, 4, 1), 2, (2, 1), "valid", 1, [6, 7, 8, 14, 15, 16]),
    (
        *((1, 4, 4, 4), 2, 2, "same", 1),
        [21, 22, 23, 24, 29, 30, 31, 32, 53, 54, 55, 56, 61, 62, 63, 64],
    ),
    ((1, 7, 7, 1), 2, 3, "valid", 1, [9, 12, 30, 33]),
    ((1, 3, 3, 1), 1, 2, "same", 1, [1, 3, 7, 9]),
    ((1, 4, 4, 1), 1, 2, "same", 1, [1, 3, 9, 11]),
]


@DTYPES
@both(maxpool2d)
@pytest.mark.parametrize("x_shape, size, stride, padding, sign, expected", MAX_POOLS)
def test_tensorflows_max_pools(operations, dtype, x_shape, size, stride, padding, sign, expected):
    window, OH, OW = make_window(*x_shape[1:3], size, stride, padding)
    memory = Guarded(dtype)
    y = memory.wanted(x_shape[0], OH, OW, x_shape[3])
    argmax = memory.wanted(*y.shape, dtype=np.int32)
    operations.maxpool2d_forward(memory.given(sign * counted(*x_shape)), window, y, argmax)
    memory.check()
    np.testing.assert_array_equal(y.ravel(), expected)


CHEQUERED = [1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1]
NINE = [11, 12, 13, 15, 16, 17, 19, 20, 21]
MAX_POOL_GRADIENTS = [
    # x (4, 4), size, stride, padding, dy, dx
    ([1] * 16, 2, 1, "valid", NINE, [11, 12, 13, 0, 15, 16, 17, 0, 19, 20, 21, 0, 0, 0, 0, 0]),
    (
        *([np.nan] * 16, 2, 1, "valid", NINE),
        [11, 12, 13, 0, 15, 16, 17, 0, 19, 20, 21, 0, 0, 0, 0, 0],
    ),
    (CHEQUERED, 2, 1, "valid", NINE, [11, 0, 25, 0, 0, 31, 0, 17, 19, 0, 41, 0, 0, 0, 0, 0]),
    (
        *(CHEQUERED, 3, 1, "same", range(11, 27)),
        [54, 0, 62, 0, 0, 60, 0, 22, 47, 0, 51, 0, 0, 0, 0, 0],
    ),
    (
        *(CHEQUERED, 2, 1, ((0, 0), (0, 1)), range(11, 23)),
        [11, 0, 25, 0, 0, 31, 0, 49, 19, 0, 41, 0, 0, 0, 0, 22],
    ),
    (
        *(CHEQUERED, 3, 2, ((2, 1), (2, 1)), NINE),
        [54, 0, 30, 0, 0, 0, 0, 0, 39, 0, 21, 0, 0, 0, 0, 0],
    ),
    (
        *([4 * v - 5 for v in CHEQUERED], 2, 1, ((0, 0), (0, 1)), range(11, 23)),
        [11, 0, 25, 0, 0, 31, 0, 49, 19, 0, 41, 0, 0, 0, 0, 22],
    ),
]


@DTYPES
@both(maxpool2d)
@pytest.mark.parametrize("x, size, stride, padding, dy, expected", MAX_POOL_GRADIENTS)
def test_tensorflows_gradients_of_max_pools(
    operations, dtype, x, size, stride, padding, dy, expected
):
    window, OH, OW = make_window(4, 4, size, stride, padding)
    memory = Guarded(dtype)
    y, argmax = memory.wanted(1, OH, OW, 1), memory.wanted(1, OH, OW, 1, dtype=np.int32)
    operations.maxpool2d_forward(memory.given(np.reshape(x, (1, 4, 4, 1))), window, y, argmax)
    dx = memory.wanted(1, 4, 4, 1)
    operations.maxpool2d_backward(memory.given(np.reshape(dy, y.shape)), argmax, dx)
    memory.check()
    np.testing.assert_array_equal(dx.ravel(), expected)


@both(maxpool2d)
def test_cs231ns_max_pool(operations):
    x = np.linspace(-0.3, 0.4, 96).reshape(2, 3, 4, 4).transpose(0, 2, 3, 1).copy()
    window, OH, OW = make_window(4, 4, 2, 2)
    y, argmax = np.empty((2, OH, OW, 3)), np.empty((2, OH, OW, 3), np.int32)
    operations.maxpool2d_forward(x, window, y, argmax)
    expected = [
        *(-0.26315789, -0.24842105, -0.20421053, -0.18947368),
        *(-0.14526316, -0.13052632, -0.08631579, -0.07157895),
        *(-0.02736842, -0.01263158, 0.03157895, 0.04631579),
        *(0.09052632, 0.10526316, 0.14947368, 0.16421053),
        *(0.20842105, 0.22315789, 0.26736842, 0.28210526),
        *(0.32631579, 0.34105263, 0.38526316, 0.4),
    ]
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2).ravel(), expected, rtol=0, atol=5e-9)


# ---- average pooling ---------------------------------------------------------------------------

TWO_EACH = ((2, 2), (2, 2))
AVERAGE_POOLS = [
    # x, size, stride, padding, whether padding counts, y; the first are TensorFlow's
    ((1, 3, 3, 3), 2, 2, "valid", False, [7, 8, 9]),
    ((1, 2, 4, 3), 2, 2, "same", False, [8.5, 9.5, 10.5, 14.5, 15.5, 16.5]),
    ((1, 2, 2, 1), (1, 2), 1, "same", False, [1.5, 2, 3.5, 4]),
    ((1, 2, 2, 1), (2, 1), 1, "same", False, [2, 3, 3, 4]),
    (
        *((2, 2, 2, 2), (1, 2), 1, "same", False),
        [2, 3, 3, 4, 6, 7, 7, 8, 10, 11, 11, 12, 14, 15, 15, 16],
    ),
    (
        *((2, 2, 2, 2), (2, 1), 1, "same", False),
        [3, 4, 5, 6, 5, 6, 7, 8, 11, 12, 13, 14, 13, 14, 15, 16],
    ),
    ((1, 3, 3, 3), 2, (1, 2), "valid", False, [7, 8, 9, 16, 17, 18]),
    ((1, 3, 3, 3), 2, (2, 1), "valid", False, [7, 8, 9, 10, 11, 12]),
    (
        *((1, 4, 4, 4), 2, 2, "same", False),
        [11, 12, 13, 14, 19, 20, 21, 22, 43, 44, 45, 46, 51, 52, 53, 54],
    ),
    (
        *((1, 4, 4, 4), 3, 2, "same", False),
        [21, 22, 23, 24, 27, 28, 29, 30, 45, 46, 47, 48, 51, 52, 53, 54],
    ),
    ((1, 7, 7, 1), 2, 3, "valid", False, [5, 8, 26, 29]),
    # ONNX's
    ((1, 5, 5, 1), 5, 1, TWO_EACH, False, [7 + 0.5 * k for k in range(25)]),
    (
        *((1, 5, 5, 1), 5, 1, TWO_EACH, True),
        [2.52, 3.6, 4.8, 4.08, 3.24, 4.56, 6.4, 8.4, 7.04, 5.52, 7.2, 10, 13, 10.8, 8.4]
        + [6.96, 9.6, 12.4, 10.24, 7.92, 6.12, 8.4, 10.8, 8.88, 6.84],
    ),
    ((1, 5, 5, 1), 3, 2, "same", False, [4, 5.5, 7, 11.5, 13, 14.5, 19, 20.5, 22]),
    ((1, 5, 5, 1), 2, 2, "valid", False, [4, 6, 14, 16]),
]


@DTYPES
@both(averagepool2d)
@pytest.mark.parametrize("x_shape, size, stride, padding, counts, expected", AVERAGE_POOLS)
def test_published_average_pools(
    operations, dtype, x_shape, size, stride, padding, counts, expected
):
    window, OH, OW = make_window(*x_shape[1:3], size, stride, padding)
    memory = Guarded(dtype)
    y = memory.wanted(x_shape[0], OH, OW, x_shape[3])
    operations.averagepool2d_forward(memory.given(counted(*x_shape)), window, counts, y)
    memory.check()
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-6)
