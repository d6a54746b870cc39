"""A pool of Python threads, made when first needed, for kernels that release the GIL.

Numba's own `prange` is not used: its thread pools abort the process after a fork, or when two
threads call it at once.  A process that is forked makes a new pool for itself.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import NamedTuple

from .ground.usable_cores import usable_cores

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _forget_pool() -> None:
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def check_n_threads(n_threads: int | None) -> int:
    """How many threads to use: `n_threads`, or one for each usable core if that is None.  Raises
    ValueError unless it is a whole number of 1 or more."""
    if n_threads is None:
        return usable_cores()
    if isinstance(n_threads, bool) or not isinstance(n_threads, Integral) or n_threads < 1:
        raise ValueError(
            f"n_threads is {n_threads!r}; expected None or a whole number of 1 or more"
        )
    return int(n_threads)


LEAST_SHARE = 3_000_000
"""A thread is worth starting for this much work, in multiply-adds: some 100 us.  To start a thread
and to wait for it took 20 to 60 us on the machine where this was measured."""


class Threads(NamedTuple):
    """How many threads a call may use.  Results do not depend on it.

    most      at most so many
    is_given  the user has chosen the number: all are used, whatever the work is
    """

    most: int
    is_given: bool

    @property
    def argument(self) -> int | None:
        """What `threads_of` was called with."""
        return self.most if self.is_given else None

    def for_work(self, n_parts: int, n_multiply_adds: int) -> int:
        """For work in n_parts parts: 1 or more.  Unless the number was chosen, each thread gets at
        least LEAST_SHARE of the work's multiply-adds."""
        most = min(self.most, n_parts)
        if not self.is_given:
            most = min(most, n_multiply_adds // LEAST_SHARE)
        return max(most, 1)


def threads_of(n_threads: int | None) -> Threads:
    """None: up to as many as there are usable cores.  Raises as `check_n_threads`."""
    return Threads(check_n_threads(n_threads), n_threads is not None)


class _Call:
    """A call of `run_in_threads`: which workers have started, and which have ended.

    Lists and a queue are used, and no lock: Python may raise KeyboardInterrupt between any two of
    its instructions, and a lock could then stay locked.
    """

    def __init__(self, work: Callable[[int], object], tell_to_stop: Callable[[], None]) -> None:
        self.work, self.process = work, os.getpid()
        self.tell_to_stop = tell_to_stop
        self.stopped = False
        self.started: list[int] = []
        self.ended: list[int] = []
        self.errors: dict[int, Exception] = {}
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self, k: int) -> None:
        """Call work(k), and keep its error."""
        try:
            self.work(k)
        except Exception as error:
            self.errors[k] = error
            self.tell_to_stop()

    def run_as_worker(self, k: int) -> None:
        self.started.append(k)
        try:
            if not self.stopped:
                self.run(k)
        finally:
            self.ended.append(k)
            self.signals.put(k)

    def wait_for(self, n_workers: int) -> None:
        while len(self.ended) < n_workers:
            self.signals.get()

    def stop(self) -> None:
        """Workers that have not started do nothing.  Returns when those that have are done.  May be
        called again if Ctrl-C ends the wait."""
        self.stopped = True
        self.tell_to_stop()
        while len(self.ended) < len(self.started):
            if self.process != os.getpid():  # forked meanwhile: the threads are the parent's
                return
            self.signals.get()


class Workers:
    """The workers of calls that write into the same arrays, one call after another.

    They have threads of their own.  If they wait for each other, as those of a training step do,
    and two calls had to share threads, each might get some of them and wait for the others.

    Ctrl-C may leave a worker behind, which still writes: a second Ctrl-C can end the wait for it.
    """

    def __init__(self) -> None:
        self.call: _Call | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._pool_size = self._process = 0

    def pool(self, size: int) -> ThreadPoolExecutor:
        """Their threads, at least `size`.  They end when this object is deleted."""
        if self._pool is None or self._pool_size < size or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(size, "tinycnn-training")
            self._pool_size, self._process = size, os.getpid()
        return self._pool

    def wait(self) -> None:
        """Returns when no worker of an earlier call is left.  To be called before the arrays are
        used again."""
        if self.call is not None:
            self.call.stop()
            self.call = None


def run_in_threads(
    work: Callable[[int], object],
    n_workers: int,
    workers: Workers | None = None,
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Call work(0), ..., work(n_workers - 1) concurrently, work(0) in the caller's thread.

    workers  of all calls that write into the same arrays as this one; None: threads that all calls
             of the process share
    stop     is called if one fails, and after Ctrl-C, so that the others can end early
    Returns when all calls have ended.  If several fail, raises the error of the lowest number.
    After Ctrl-C (KeyboardInterrupt) no call begins any more, and those that have begun are waited
    for.
    """
    if n_workers <= 1:
        work(0)
        return
    call = _Call(work, stop)
    if workers is not None:
        workers.wait()
        workers.call = call
    try:
        pool = _executor(n_workers - 1) if workers is None else workers.pool(n_workers - 1)
        for k in range(1, n_workers):
            pool.submit(call.run_as_worker, k)
        call.run(0)
        call.wait_for(n_workers - 1)
    except BaseException:  # Ctrl-C, or no thread can be started
        call.stop()
        raise
    if workers is not None:
        workers.call = None
    if call.errors:
        raise call.errors[min(call.errors)]


def _executor(size: int) -> ThreadPoolExecutor:
    """A pool of at least `size` threads: the current one, or a larger one that replaces it.

    The replaced pool is not shut down, because another caller may be about to use it.
    """
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            _pool, _pool_size = ThreadPoolExecutor(size, "tinycnn"), size
        return _pool
