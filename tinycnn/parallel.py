"""A pool of Python threads, made when first needed, for kernels that release the GIL.

Numba's own `prange` is not used: its thread pools abort the process after a fork, or when two
threads call it at once.  A process that is forked makes a new pool for itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import NamedTuple

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _forget_pool() -> None:
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_n_threads(n_threads: int | None) -> int:
    """Return `n_threads`, or for None the usable cores.  Raises ValueError for less than one."""
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


def run_in_threads(work: Callable[[int], None], n_workers: int) -> None:
    """Call work(0), ..., work(n_workers - 1) concurrently, work(0) in the caller's thread.

    Returns when all calls have ended.  If several fail, raises the error of the lowest number.
    """
    if n_workers <= 1:
        work(0)
        return
    futures = [_executor(n_workers - 1).submit(work, k) for k in range(1, n_workers)]
    try:
        work(0)
    finally:
        for future in futures:
            future.exception()  # waits, for the caller may free the arrays that workers write
    for future in futures:
        future.result()


def _executor(size: int) -> ThreadPoolExecutor:
    """A pool of at least `size` threads: the current one, or a larger one that replaces it.

    The replaced pool is not shut down, because another caller may be about to use it.
    """
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            _pool, _pool_size = ThreadPoolExecutor(size, "tinycnn"), size
        return _pool
