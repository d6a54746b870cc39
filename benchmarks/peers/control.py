"""Not an engine: a fixed loop of multiply-adds, timed in every round to see the machine's noise."""

from __future__ import annotations

from typing import Callable

import numpy as np

from ..problem import Problem


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    """batch: unused.  The answer is the number of multiply-adds of one call."""
    from ..peak import Peak

    peak = Peak()
    macs = np.array([peak.macs])

    def call() -> np.ndarray:
        peak.run()
        return macs

    return call
