"""Reorders the rows of the first dense layer for engines that flatten in another order."""

from __future__ import annotations

import numpy as np

POOLED_HWC = (6, 6, 32)
"""Shape of the activations that MicroExpNet flattens: height, width, channels."""


def dense_rows_to_chw(w: np.ndarray) -> np.ndarray:
    """Rows of w (1152, units) from the order (H, W, C) to the order (C, H, W)."""
    H, W, C = POOLED_HWC
    return np.ascontiguousarray(w.reshape(H, W, C, -1).transpose(2, 0, 1, 3).reshape(w.shape))


def dense_rows_to_hwc(w: np.ndarray) -> np.ndarray:
    """The inverse of `dense_rows_to_chw`."""
    H, W, C = POOLED_HWC
    return np.ascontiguousarray(w.reshape(C, H, W, -1).transpose(1, 2, 0, 3).reshape(w.shape))
