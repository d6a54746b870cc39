"""The first dense layer's rows in the order of another layout's flattening."""

from __future__ import annotations

import numpy as np

POOLED_HWC = (6, 6, 32)
"""What MicroExpNet flattens: height, width, channels."""


def dense_rows_to_chw(w: np.ndarray) -> np.ndarray:
    """w (1152, units) with rows in the order H, W, C -> the order C, H, W."""
    H, W, C = POOLED_HWC
    return np.ascontiguousarray(w.reshape(H, W, C, -1).transpose(2, 0, 1, 3).reshape(w.shape))


def dense_rows_to_hwc(w: np.ndarray) -> np.ndarray:
    """The other way round."""
    H, W, C = POOLED_HWC
    return np.ascontiguousarray(w.reshape(C, H, W, -1).transpose(1, 2, 0, 3).reshape(w.shape))
