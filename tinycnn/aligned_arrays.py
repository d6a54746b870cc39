"""Arrays that begin where a cache line does."""

from __future__ import annotations

from typing import Any

import numpy as np

CACHE_LINE = 64


def aligned_zeros(size: int, dtype: Any) -> np.ndarray:
    """As np.zeros of one axis, from the start of a cache line on: no vector of a kernel then lies
    in two of them."""
    dtype = np.dtype(dtype)
    memory = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size * dtype.itemsize].view(dtype)
