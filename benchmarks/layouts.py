"""Reorders arrays for engines that keep pictures and weights in another order.

tinycnn's order: images (N, H, W, C), convolutions (KH, KW, C, F), depthwise convolutions
(KH, KW, C, M) for M filters of each channel, dense layers (fan_in, units) with the rows of a
flattened picture in the order (H, W, C).
"""

from __future__ import annotations

import numpy as np


def dense_rows_to_chw(w: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    """Rows of w (H * W * C, units) from the order (H, W, C) to (C, H, W).  picture: (H, W, C)."""
    H, W, C = picture
    return np.ascontiguousarray(w.reshape(H, W, C, -1).transpose(2, 0, 1, 3).reshape(w.shape))


def dense_rows_to_hwc(w: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    """The inverse of `dense_rows_to_chw`."""
    H, W, C = picture
    return np.ascontiguousarray(w.reshape(C, H, W, -1).transpose(1, 2, 0, 3).reshape(w.shape))


def images_to_nchw(x: np.ndarray) -> np.ndarray:
    """A copy also where C is 1: a view's strides would make PyTorch take it for channels_last."""
    return x.transpose(0, 3, 1, 2).copy()


def conv_to_oihw(w: np.ndarray) -> np.ndarray:
    """(KH, KW, C, F) -> (F, C, KH, KW), the order of PyTorch and ONNX."""
    return w.transpose(3, 2, 0, 1).copy()


def conv_to_hwio(w: np.ndarray) -> np.ndarray:
    """The inverse of `conv_to_oihw`."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))


def depthwise_to_oihw(w: np.ndarray) -> np.ndarray:
    """(KH, KW, C, M) -> (C * M, 1, KH, KW), for a convolution in C groups."""
    KH, KW, C, M = w.shape
    return np.ascontiguousarray(w.transpose(2, 3, 0, 1).reshape(C * M, 1, KH, KW))


def depthwise_to_hwcm(w: np.ndarray, n_channels: int) -> np.ndarray:
    """The inverse of `depthwise_to_oihw`, for C = n_channels."""
    n_out, _, KH, KW = w.shape
    return np.ascontiguousarray(
        w.reshape(n_channels, n_out // n_channels, KH, KW).transpose(2, 3, 0, 1)
    )
