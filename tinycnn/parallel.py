"""A lazily made pool of Python threads for kernels that release the interpreter lock.

Numba's own `prange` is not used: its pools abort after a fork or under concurrent callers.  This
pool belongs to one process; after a fork the child makes its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    """`n_threads`, or the usable cores for None; ValueError for less than one."""
    if n_threads is None:
        return usable_cores()
    if isinstance(n_threads, bool) or not isinstance(n_threads, int) or n_threads < 1:
        raise ValueError(f"n_threads is {n_threads!r}; expected None or a whole number from 1")
    return n_threads


def run_in_threads(work: Callable[[int], None], n_workers: int) -> None:
    """Call work(0), ..., work(n_workers - 1) side by side; the caller's thread does the first.

    After all have ended, the error of the lowest number among those that failed is raised.
    """
    if n_workers <= 1:
        work(0)
        return
    futures = [_executor(n_workers - 1).submit(work, k) for k in range(1, n_workers)]
    try:
        work(0)
    finally:
        for future in futures:
            future.exception()  # waits: no worker may outlive the arrays that it writes
    for future in futures:
        future.result()


def _executor(size: int) -> ThreadPoolExecutor:
    """The pool, replaced by a larger one where `size` threads do not fit.

    A pool that is replaced is not shut down, for another caller may be about to use it; its threads
    end when nobody holds it any more.
    """
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < size:
            _pool, _pool_size = ThreadPoolExecutor(size, "tinycnn"), size
        return _pool
