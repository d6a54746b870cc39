"""Not an engine: a fixed loop that is timed in every round, to see whether the machine is quiet.

Like the kernels, it needs two loads from the first-level cache for each multiply-add. If another
program runs on the second hardware thread of the core, this loop gets as few as half of its loads.
A loop of multiply-adds on registers would be as fast as before. A virtual machine has no other way
to notice such a program.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from ..problem import Problem

N_ELEMENTS, N_TURNS = 1024, 2000
"""Two arrays of 4 KB; a call takes some tenths of a millisecond."""


@njit(nogil=True, fastmath=True)
def _products(a: np.ndarray, b: np.ndarray, n_turns: int) -> float:
    total = np.float32(0)
    for turn in range(n_turns):
        first = turn % 2  # all sums differ, so the compiler cannot skip any
        for k in range(b.size):
            total += a[first + k] * b[k]
    return total


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    """The function returns the number of multiply-adds of a call; batch and threads are unused."""
    a, b = np.ones(N_ELEMENTS + 1, np.float32), np.full(N_ELEMENTS, 1e-6, np.float32)
    macs = np.array([N_ELEMENTS * N_TURNS])

    def call() -> np.ndarray:
        _products(a, b, N_TURNS)
        return macs

    return call
