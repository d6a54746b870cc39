"""Not an engine: a fixed loop, timed in every round to see the machine's noise.

It asks of a core what kernels ask: two loads from the first cache for each multiply-add. Another
program on the second hardware thread of the core, which a virtual machine cannot see, takes up to
half of the loads, and leaves multiply-adds on registers as fast as they were.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from ..problem import Problem

N_ELEMENTS, N_TURNS = 1024, 2000
"""Two arrays of 4 KB; some tenths of a millisecond."""


@njit(nogil=True, fastmath=True)
def _products(a: np.ndarray, b: np.ndarray, n_turns: int) -> float:
    total = np.float32(0)
    for turn in range(n_turns):
        first = turn % 2  # the sums differ, so none is left out
        for k in range(b.size):
            total += a[first + k] * b[k]
    return total


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    """batch: unused.  The answer is the number of multiply-adds of one call."""
    a, b = np.ones(N_ELEMENTS + 1, np.float32), np.full(N_ELEMENTS, 1e-6, np.float32)
    macs = np.array([N_ELEMENTS * N_TURNS])

    def call() -> np.ndarray:
        _products(a, b, N_TURNS)
        return macs

    return call
