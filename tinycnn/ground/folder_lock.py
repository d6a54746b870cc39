"""A lock on a folder, so that two processes do not write their results into it at the same time."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: folders are not locked
    fcntl = None  # type: ignore[assignment]  # mypy has no type for "a module or None"


class FolderLock:
    """Locks a folder until `release`, until this object is gone, or until the process ends, even
    if that is killed.  A process that is forked does not have the lock.

    Raises BlockingIOError if the folder is locked already, OSError if it cannot be opened.  On a
    disk without locks, and on Windows, nothing is locked.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        if fcntl is None:
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise
        else:
            self._descriptor = descriptor
            _held.add(self)

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _held.discard(self)
            os.close(descriptor)

    def is_of(self, folder: Path) -> bool:
        """Whether it locks this folder."""
        if self._descriptor is None:
            return False
        return os.path.samestat(os.fstat(self._descriptor), os.stat(folder))

    def __del__(self) -> None:
        self.release()


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def is_locked_here(folder: Path) -> bool:
    """Whether this process has locked the folder."""
    return any(lock.is_of(folder) for lock in list(_held))


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):  # the parent's lock remains: both have the same one
    os.register_at_fork(after_in_child=_release_all)
