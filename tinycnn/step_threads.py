"""The threads of a training step do its parts one after another, and wait for each other between
parts.

They are started once for a step: to wake a thread that Python has put to sleep takes some 100 us,
and the step of a network with many BatchNorms has dozens of parts.  Only where the cores are busy
with other programs are they woken for each part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .ground.usable_cores import usable_cores
from .kernels._barrier import LATE, N_CELLS, STOPPED, wait_for_threads
from .parallel import Workers, run_in_threads

LOOKS = 10_000
"""How often a waiting thread looks whether the others have arrived before it goes to sleep: some
0.1 to 0.4 ms."""

PAUSE_S, LONGEST_PAUSE_S = 0.00005, 0.001
"""How long it sleeps between later looks: longer each time.  So it leaves its core to threads that
need it."""

MOST_SLEPT, REST_S = 0.15, 1.0
"""If the caller's thread has slept for more than this part of a step, other programs need the
cores.  Then a thread that has waited in a loop gets its core later than one that is woken.  So for
a second the threads are woken for each part."""


class Part(NamedTuple):
    """A part of a training step.

    run     run(thread)
    by_all  whether each thread calls it; if not, thread 0 alone does, which is the caller's.  If it
            then returns False, the step ends here
    """

    run: Callable[[int], bool | None]
    by_all: bool


def compile_barrier() -> None:
    """Compile what threads wait with, or load it from the cache."""
    wait_for_threads(np.zeros(N_CELLS, np.int32), 0, 0, 1)


class StepThreads:
    """Runs the parts of training steps.

    most     threads that a step may have
    workers  of all calls that write into the same arrays, as for `run_in_threads`
    """

    def __init__(self, most: int, workers: Workers) -> None:
        self.workers = workers
        # more threads than cores: one that looks would take the core of one that works
        self.n_looks = LOOKS if most <= usable_cores() else 1
        self.rest_end_s = float("-inf")

    def run(self, parts: Sequence[Part], n_threads: int) -> None:
        """Run all parts in their order.  Each begins when the one before it has been done by all
        threads.  Errors and Ctrl-C: as `run_in_threads`; the other threads end with their part."""
        begin_s = time.perf_counter()
        if n_threads <= 1 or begin_s < self.rest_end_s:
            self._wake_for_each(parts, n_threads)
            return
        barrier = _Barrier(n_threads, self.n_looks)

        def run_parts(thread: int) -> None:
            n_waits = 0
            for part, next_part in zip(parts, [*parts[1:], None]):
                if (part.by_all or thread == 0) and part.run(thread) is False:
                    barrier.stop()
                    return
                if part.by_all or next_part is None or next_part.by_all:
                    n_waits += 1
                    if not barrier.wait(n_waits, thread):
                        return

        run_in_threads(run_parts, n_threads, self.workers, stop=barrier.stop)
        end_s = time.perf_counter()
        if barrier.slept_s > MOST_SLEPT * (end_s - begin_s):
            self.rest_end_s = end_s + REST_S

    def _wake_for_each(self, parts: Sequence[Part], n_threads: int) -> None:
        """The same, but the other threads, if there are any, are woken for each part that they have
        to do."""
        for part in parts:
            if part.by_all:
                run_in_threads(part.run, n_threads, self.workers)
            elif part.run(0) is False:
                return


class _Barrier:
    """Where threads wait until all have arrived: see `kernels/_barrier.py`."""

    def __init__(self, n_threads: int, n_looks: int) -> None:
        self.cells = np.zeros(N_CELLS, np.int32)
        self.n_threads, self.n_looks = n_threads, n_looks
        self.slept_s = 0.0  # by thread 0

    def stop(self) -> None:
        """Let all threads that wait, or come to wait, go away."""
        self.cells[STOPPED] = 1

    def wait(self, number: int, thread: int) -> bool:
        """Returns when every thread has called this, True, or when they are stopped, False.

        number  how often this thread has called it, this call included
        """
        count = number * self.n_threads
        found, pause_s = wait_for_threads(self.cells, count, 1, self.n_looks), PAUSE_S
        while found == LATE:
            before_s = time.perf_counter()
            time.sleep(pause_s)
            if thread == 0:
                self.slept_s += time.perf_counter() - before_s
            pause_s = min(1.2 * pause_s, LONGEST_PAUSE_S)
            found = wait_for_threads(self.cells, count, 0, 1)
        return bool(found)
