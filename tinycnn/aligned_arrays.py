"""Arrays whose first element is at the start of a cache line."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

CACHE_LINE = 64  # bytes


def aligned_zeros(size: int, dtype: DTypeLike) -> np.ndarray:
    """Zeros of shape (size,), the first of them at the start of a cache line.

    Only the start is aligned.  A kernel may read vectors from anywhere in the array.
    """
    dtype = np.dtype(dtype)
    memory = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size * dtype.itemsize].view(dtype)
