"""Convolutions and poolings in plain NumPy: the part of `reference.py` that moves windows."""

from __future__ import annotations

import numpy as np


def _windows(x, window, OH, OW, fill=0):
    """A view (N, OH, OW, C, KH, KW) of x padded with `fill`: every window, tap by tap."""
    KH, KW, SH, SW, PT, PL, _, _ = window
    bottom = max((OH - 1) * SH + KH - PT - x.shape[1], 0)
    right = max((OW - 1) * SW + KW - PL - x.shape[2], 0)
    padded = np.pad(x, ((0, 0), (PT, bottom), (PL, right), (0, 0)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KH, KW), axis=(1, 2))
    return windows[:, : (OH - 1) * SH + 1 : SH, : (OW - 1) * SW + 1 : SW]


def _n_positions(x, window):
    """(OH, OW) of a window over x."""
    KH, KW, SH, SW, PT, PL, PB, PR = window
    return (x.shape[1] + PT + PB - KH) // SH + 1, (x.shape[2] + PL + PR - KW) // SW + 1


def conv2d_forward(x, w, b, window, y_out):
    """The convolution: equation (1) of kernels/conv2d.py."""
    windows = _windows(x, window, *y_out.shape[1:3])
    y_out[:] = np.tensordot(windows, w, axes=((4, 5, 3), (0, 1, 2))) + b


def conv2d_backward_params(x, dy, window, dw_out, db_out):
    """The gradients of weights and biases: equations (2) and (3) of kernels/conv2d.py."""
    windows = _windows(x, window, *dy.shape[1:3])
    dw = np.tensordot(windows, dy, axes=((0, 1, 2), (0, 1, 2)))  # (C, KH, KW, F)
    dw_out[:] = dw.transpose(1, 2, 0, 3)
    db_out[:] = dy.sum(axis=(0, 1, 2))


def conv2d_1x1_backward(x, dy, w_t, scratch, dw_out, db_out, dx_out):
    """See kernels/conv2d_1x1.py.  scratch is not used."""
    dw_out[:] = x.T @ dy
    db_out[:] = dy.sum(axis=0)
    if len(dx_out):
        dx_out[:] = dy @ w_t


def conv2d_transpose_weights(w, w_t_out):
    """w (KH, KW, C, F) -> (F, KH, KW, C)."""
    w_t_out[:] = w.transpose(3, 0, 1, 2)


def conv2d_backward_input(dy, w_t, window, dx_out):
    """The gradient of the convolution's input: equation (4) of kernels/conv2d.py."""
    _sum_of_taps(lambda a, e: dy @ w_t[:, a, e], window, dy.shape[1:3], dx_out)


def _sum_of_taps(of_tap, window, n_out, dx_out):
    """For each tap (a, e), add of_tap(a, e), with a pixel for each window, to the pixels that the
    tap reads; n_out: (OH, OW)."""
    KH, KW, SH, SW, PT, PL, _, _ = window
    (OH, OW), (N, H, W, C) = n_out, dx_out.shape
    padded = np.zeros((N, PT + H + OH * SH + KH, PL + W + OW * SW + KW, C), dx_out.dtype)
    for a in range(KH):
        for e in range(KW):
            padded[:, a : a + OH * SH : SH, e : e + OW * SW : SW] += of_tap(a, e)
    dx_out[:] = padded[:, PT : PT + H, PL : PL + W]


def maxpool2d_forward(x, window, y_out, argmax_out):
    """The largest value of each window, and its position: equation (1) of kernels/maxpool2d.py."""
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1:3]
    taps = window.KH * window.KW
    values = _windows(x, window, OH, OW).reshape(N, OH, OW, C, taps)
    positions = np.arange(H * W).reshape(1, H, W, 1)
    positions = _windows(positions, window, OH, OW, fill=-1).reshape(1, OH, OW, 1, taps)
    inside = np.broadcast_to(positions >= 0, values.shape)
    numbers = inside & ~np.isnan(values)
    best = np.where(numbers, values, -np.inf).max(axis=-1, keepdims=True)
    maxima = np.where(numbers.any(axis=-1, keepdims=True), numbers & (values == best), inside)
    first = maxima.argmax(axis=-1)[..., None]
    y_out[:] = np.take_along_axis(values, first, axis=-1)[..., 0]
    positions = np.broadcast_to(positions, values.shape)
    argmax_out[:] = np.take_along_axis(positions, first, axis=-1)[..., 0]


def maxpool2d_backward(dy, argmax, dx_out):
    """See kernels/maxpool2d.py, equation (4)."""
    N, H, W, C = dx_out.shape
    n, _, _, c = np.indices(dy.shape, sparse=True)
    dx_out[:] = 0
    np.add.at(dx_out.reshape(N, H * W, C), (n, argmax, c), dy)


def batch_norm_maxpool2d_forward(x, gamma, window, scratch, y_out, argmax_out):
    """See kernels/batch_norm_maxpool2d.py, equation (1).  scratch is not used."""
    N, H, W, C = x.shape
    maxpool2d_forward(np.sign(gamma) * x, window, y_out, argmax_out)
    n, _, _, c = np.indices(y_out.shape, sparse=True)
    y_out[:] = x.reshape(N, H * W, C)[n, argmax_out, c]


def batch_norm_maxpool2d_backward_input(
    x, dy, argmax, window, moments, gamma, epsilon, dgamma, dbeta, n, scratch, dx_out
):  # fmt: skip
    """See kernels/batch_norm_maxpool2d.py.  Here by equation (14) of kernels/batch_norm.py, with
    the pooling's gradient.  scratch is not used."""
    maxpool2d_backward(dy, argmax, dx_out)
    deviation = np.sqrt(moments[1] + epsilon)
    normalised = (x - moments[0]) / deviation
    dx_out[:] = gamma / deviation * (dx_out - dbeta / n - normalised * dgamma / n)


def averagepool2d_forward(x, window, count_padding, y_out):
    """See kernels/averagepool2d.py, equation (1)."""
    OH, OW = y_out.shape[1:3]
    total = _windows(x, window, OH, OW).sum(axis=(4, 5), dtype=np.float64)
    y_out[:] = total / _n_counted(window, count_padding, x.shape[1:3], OH, OW)


def averagepool2d_backward(dy, window, count_padding, dx_out):
    """See kernels/averagepool2d.py, equation (4)."""
    n_out = dy.shape[1:3]
    share = dy / _n_counted(window, count_padding, dx_out.shape[1:3], *n_out)
    _sum_of_taps(lambda a, e: share, window, n_out, dx_out)


def _n_counted(window, count_padding, size, OH, OW):
    """(1, OH, OW, 1): the number of positions in each window; size: (H, W)."""
    inside = _windows(np.ones((1, *size, 1)), window, OH, OW, fill=float(count_padding))
    return inside.sum(axis=(4, 5))


def depthwise_conv2d_forward(x, w, b, window, y_out):
    """See kernels/depthwise_conv2d.py, equation (1)."""
    windows = _windows(x, window, *y_out.shape[1:3])
    y_out[:] = np.einsum("nijcae,aecd->nijcd", windows, w).reshape(y_out.shape) + b


def depthwise_conv2d_backward_params(x, dy, window, dw_out, db_out):
    """See kernels/depthwise_conv2d.py, equations (2) and (3)."""
    windows = _windows(x, window, *dy.shape[1:3])
    dy_of_channels = dy.reshape(*dy.shape[:3], *dw_out.shape[2:])
    dw_out[:] = np.einsum("nijcae,nijcd->aecd", windows, dy_of_channels)
    db_out[:] = dy.sum(axis=(0, 1, 2))


def depthwise_conv2d_backward_input(dy, w, window, dx_out):
    """See kernels/depthwise_conv2d.py, equation (4)."""
    dy_of_channels = dy.reshape(*dy.shape[:3], *w.shape[2:])
    _sum_of_taps(lambda a, e: (dy_of_channels * w[a, e]).sum(axis=4), window, dy.shape[1:3], dx_out)


def conv2d_maxpool2d_backward(x, dy, argmax, w_t, window, scratch, dw_out, db_out, dx_out):
    """See kernels/conv2d_maxpool2d.py.  Here one pass after the other; scratch is not used."""
    conv_dy = np.empty((len(x), *_n_positions(x, window), dy.shape[3]), dy.dtype)
    maxpool2d_backward(dy, argmax, conv_dy)
    dw = np.empty((*dw_out.shape[1:], dw_out.shape[0]), dy.dtype)
    conv2d_backward_params(x, conv_dy, window, dw, db_out)
    conv2d_transpose_weights(dw, dw_out)
    if len(dx_out):
        conv2d_backward_input(conv_dy, w_t, window, dx_out)


def conv2d_transpose_weights_back(w_t, w_out):
    """w_t (F, KH, KW, C) -> w_out (KH, KW, C, F)."""
    w_out[:] = w_t.transpose(1, 2, 3, 0)


def conv2d_winograd_forward(x, w, U, b, window, pool, relu, scratch, y_out, argmax_out):
    """See kernels/conv2d_winograd.py.  Here (1), then (2); U and scratch are not used."""
    y = np.empty((len(x), *_n_positions(x, window), w.shape[3]), x.dtype)
    conv2d_forward(x, w, b, window, y)
    if pool:
        conv_y, y = y, np.empty(y_out.shape, x.dtype)
        argmax = argmax_out if argmax_out.size else np.empty(y.shape, np.int32)
        maxpool2d_forward(conv_y, window._replace(KH=2, KW=2, SH=2, SW=2, PT=0, PL=0), y, argmax)
    y_out[:] = np.maximum(y, 0) if relu else y


def conv2d_columns_forward(x, w, b, window, pool, relu, scratch, y_out):
    """See kernels/conv2d_columns.py.  Here (1), then (2); scratch is not used."""
    no_winners = np.empty((0, 0, 0, 0), np.int32)
    conv2d_winograd_forward(x, w, None, b, window, pool, relu, scratch, y_out, no_winners)


def conv2d_winograd_3x3_forward(x, w, U, b, window, m, pool, relu, scratch, y_out, argmax_out):
    """See kernels/conv2d_winograd_3x3.py.  Here (1), then (2); U, m and scratch are not used."""
    conv2d_winograd_forward(x, w, U, b, window, pool, relu, scratch, y_out, argmax_out)


def conv2d_winograd_3x3_backward(
    x, dy, w_t, U, window, m, scratch, dw_out, db_out, dx_out
):  # fmt: skip
    """See kernels/conv2d_winograd_3x3_backward.py.  Here by the direct sums, without U, m and
    scratch."""
    conv2d_backward_params(x, dy, window, dw_out, db_out)
    if len(dx_out):
        conv2d_backward_input(dy, w_t, window, dx_out)


def depthwise_conv2d_3x3_forward(x, w, b, window, relu, y_out):
    """See kernels/depthwise_conv2d_3x3.py."""
    depthwise_conv2d_forward(x, w, b, window, y_out)
    if relu:
        np.maximum(y_out, 0, out=y_out)


def depthwise_conv2d_3x3_backward_params(x, dy, window, scratch, dw_out, db_out):
    """See kernels/depthwise_conv2d_3x3.py.  scratch is not used."""
    depthwise_conv2d_backward_params(x, dy, window, dw_out, db_out)


def depthwise_conv2d_3x3_backward_input(dy, w, window, scratch, dx_out):
    """See kernels/depthwise_conv2d_3x3.py.  scratch is not used."""
    depthwise_conv2d_backward_input(dy, w, window, dx_out)
