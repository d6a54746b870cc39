"""Atomic writing: a file has its complete new content, or is as it was before."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from . import file_lock

_RENAMES_OPEN_FILES = os.name != "nt"
"""Windows neither renames nor removes a file that is open, in any process."""

_IN_USE = (5, 32)
"""Windows' error numbers for a file that another program has open: access is denied, and sharing
violation."""

_LONGEST_WAIT_S = 2.0
"""Virus scanners, indexing and synchronisation open a new file for a moment."""

_ABANDONED_AFTER_S = 3600.0


def write_atomically(
    path: str | os.PathLike[str],
    content: bytes | str | Callable[[BinaryIO], object],
    *,
    private: bool = False,
    new: bool = False,
) -> None:
    """Write bytes, text (as UTF-8), or what content(file) writes, to `path`.

    The content goes to a part file in the same folder, `.<name>.<8 hex digits>.part`.  Once that
    is on disk, it is renamed to `path`.  So nobody ever finds half a file there, not even after a
    crash, a power cut, a full disk or Ctrl-C.  A writer that is killed leaves its part file; the
    next writer to the same path removes it (on Windows, one that comes an hour later).  A device or
    a pipe at `path` is not replaced.

    private  only the owner may read and write the file
    new      there must be no file at `path` yet; of several writers at once, one succeeds
    Raises OSError with `path` if it cannot be written (FileExistsError for new), and whatever
    content(file) raises.
    """
    path = Path(path)
    try:
        _write(path, content, private, new)
    except OSError as error:
        if error.errno is None or (new and isinstance(error, FileExistsError)):
            raise
        advice = "solve that, or choose another folder"
        if _is_in_use(error):
            advice = "if another program has the file open, close it; or choose another folder"
        what = f"{error.strerror} (nothing was changed: {advice})"
        raise OSError(error.errno, what, os.fspath(path)) from error
    _sync_folder(path.parent)


def _write(
    path: Path, content: bytes | str | Callable[[BinaryIO], object], private: bool, new: bool
) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):  # renaming would replace it
        raise OSError(errno.EINVAL, "a device or a pipe, which is not replaced", os.fspath(path))
    _remove_abandoned_parts(path)
    rename = _rename_to_new if new else replace_file
    part, file = _new_part(path)
    try:
        with file:
            if private:
                os.chmod(part, 0o600)  # while it is empty
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            _sync(file.fileno())
            if _RENAMES_OPEN_FILES:  # before the lock ends: nobody takes the part for abandoned
                rename(part, path)
        if not _RENAMES_OPEN_FILES:
            rename(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl-C just after the renaming
            os.unlink(part)
        raise


def replace_file(part: Path, path: Path) -> None:
    """Rename a file, and replace the one at `path`.  On Windows, wait up to _LONGEST_WAIT_S while
    another program has that one open.  Raises OSError."""
    end = time.monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            return os.replace(part, path)
        except PermissionError as error:
            if not _is_in_use(error) or time.monotonic() >= end:
                raise
        time.sleep(0.02)


def _is_in_use(error: OSError) -> bool:
    """Whether Windows says that a file is in use.  (Other systems set no winerror.)"""
    return getattr(error, "winerror", None) in _IN_USE


def _sync(descriptor: int) -> None:
    """Write an open file to disk.  On macOS, fsync leaves it in the disk's own memory, which a
    power cut empties."""
    if (full := getattr(file_lock.posix, "F_FULLFSYNC", None)) and file_lock.posix is not None:
        with contextlib.suppress(OSError):  # network disks cannot
            file_lock.posix.fcntl(descriptor, full)
            return
    os.fsync(descriptor)


def _rename_to_new(part: Path, path: Path) -> None:
    """Rename a file, but raise FileExistsError if there is one at `path`."""
    if not _RENAMES_OPEN_FILES:  # on Windows, os.rename replaces no file
        os.rename(part, path)
        return
    try:
        os.link(part, path)  # it fails if the new name exists, and os.rename does not
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path)) from None
    except OSError:  # a disk without links: whoever makes the empty file may write it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(part, path)
    else:
        os.unlink(part)


def _new_part(path: Path) -> tuple[Path, BinaryIO]:
    """A new part file beside `path`, open, and locked until it is closed or its writer dies.

    open() gives it the usual permissions of a new file.  (tempfile would not; and the umask cannot
    be read without setting it, for all threads, for a moment.)
    """
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            file = open(part, "xb")
        except FileExistsError:
            continue
        if _RENAMES_OPEN_FILES:
            with contextlib.suppress(OSError):  # a file system without locks
                file_lock.lock_file(file.fileno(), wait=True)
            if not os.fstat(file.fileno()).st_nlink:
                file.close()  # before this lock, another writer removed the file as abandoned
                continue
        return part, file


def _remove_abandoned_parts(path: Path) -> None:
    """Remove the part files of `path` that no writer has locked, on Windows those that are old and
    not open.  Those that cannot be removed stay; they do no harm."""
    is_part = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{8}\.part").fullmatch
    with contextlib.suppress(OSError):
        for part in map(path.with_name, filter(is_part, os.listdir(path.parent))):
            with contextlib.suppress(OSError):
                if not _RENAMES_OPEN_FILES:
                    if time.time() - os.stat(part).st_mtime > _ABANDONED_AFTER_S:
                        os.unlink(part)
                    continue
                descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    file_lock.lock_file(descriptor)
                    os.unlink(part)
                finally:
                    os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Write the folder to disk, so that a power cut does not undo the renaming.  Errors are
    ignored: some systems cannot open folders, and the content is complete under either name."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
