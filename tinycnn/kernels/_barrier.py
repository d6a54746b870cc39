"""Where the threads of a training step wait for each other: cells of memory that all have.

To wake a thread that Python has put to sleep takes some 100 us, as long as a part of a step.  So a
thread that arrives looks at the cells for a while, outside of Python's interpreter lock.
"""

from __future__ import annotations

import threading

from ._jit import WITHOUT_JIT, helper
from ._shared_cells import LINE, add_one, pause, value_of

ARRIVED, STOPPED, N_CELLS = 0, LINE, 2 * LINE
"""Where the cells are.  ARRIVED: how often a thread has arrived, since the step began.  STOPPED: 1
if nothing more is to be done."""

LATE = -1


@helper  # pragma: no cover: intrinsics only run compiled
def wait_for_threads(cells, count, arrives, n_looks):
    """1 when threads have arrived `count` times, 0 if they were stopped, LATE if neither has
    happened after a number of looks.

    arrives  1 if this thread has just arrived, 0 if it looks again
    """
    if arrives:
        add_one(cells, ARRIVED)
    for _ in range(n_looks):
        if value_of(cells, STOPPED):
            return 0
        if value_of(cells, ARRIVED) >= count:
            return 1
        pause()
    return LATE


_lock = threading.Lock()


def wait_for_threads_plain(cells, count, arrives, n_looks):
    """The same for a run without the JIT; it looks once."""
    if arrives:
        with _lock:
            cells[ARRIVED] += 1
    return 0 if cells[STOPPED] else 1 if cells[ARRIVED] >= count else LATE


if WITHOUT_JIT:
    wait_for_threads = wait_for_threads_plain
