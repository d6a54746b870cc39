"""Locks on open files: flock, or on Windows a lock on the file's first byte.

A lock holds until the file is closed or the process ends, even if that is killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from types import ModuleType

_PAUSE_S = 0.05  # Windows: between two attempts

posix: ModuleType | None = None
windows: ModuleType | None = None
"""The module that locks files on this system; the other one is None.  Both are None in a browser,
where nothing is locked."""

with contextlib.suppress(ImportError):
    import fcntl

    posix = fcntl
with contextlib.suppress(ImportError):
    import msvcrt

    windows = msvcrt


def can_lock() -> bool:
    """Whether this system has locks at all.  (A disk may have none.)"""
    return posix is not None or windows is not None


def lock_file(descriptor: int, wait: bool = False) -> None:
    """Lock an open file, which on Windows must be open for writing.

    wait  until nobody else has the lock
    Raises BlockingIOError if another open file has the lock already, OSError if the disk or the
    system has no locks.
    """
    if posix is not None:
        posix.flock(descriptor, posix.LOCK_EX | (0 if wait else posix.LOCK_NB))
        return
    if windows is None:
        raise OSError(errno.ENOLCK, "this system cannot lock files")
    while True:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            windows.locking(descriptor, windows.LK_NBLCK, 1)
        except PermissionError:
            if not wait:
                raise BlockingIOError(errno.EAGAIN, "locked by another process") from None
            time.sleep(_PAUSE_S)
        else:
            return
