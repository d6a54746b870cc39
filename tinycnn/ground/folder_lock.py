"""A lock on a folder, so that two processes do not write their results into it at the same time."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from . import file_lock

_NAME = ".lock"
"""Windows cannot lock a folder: there this file in it is locked."""


class FolderLock:
    """Locks a folder until `release`, until this object is gone, or until the process ends, even
    if that is killed.  A process that is forked does not have the lock.

    Raises BlockingIOError if the folder is locked already, OSError if it cannot be opened.  On a
    disk without locks nothing is locked.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        if not file_lock.can_lock():
            return
        flags = os.O_RDONLY if file_lock.posix is not None else os.O_RDWR | os.O_CREAT
        descriptor = os.open(_locked_in(folder), flags)
        try:
            file_lock.lock_file(descriptor)
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
        try:
            there = os.stat(_locked_in(folder))
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(self._descriptor), there)

    def __del__(self) -> None:
        self.release()


def _locked_in(folder: Path) -> Path:
    """What is locked for this folder: itself, or a file in it."""
    return folder if file_lock.posix is not None else folder / _NAME


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def is_locked_here(folder: Path) -> bool:
    """Whether this process has locked the folder."""
    return any(lock.is_of(folder) for lock in list(_held))


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):  # the parent's lock remains: both have the same one
    os.register_at_fork(after_in_child=_release_all)
