"""Atomic writing: a file has its complete new content, or is as it was before."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: there the part files of killed writers are not removed
    fcntl = None  # type: ignore[assignment]  # mypy has no type for "a module or None"


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
    next writer to the same path removes it.  A device or a pipe at `path` is not replaced.

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
        what = f"{error.strerror} (nothing was changed: solve that, or choose another folder)"
        raise OSError(error.errno, what, os.fspath(path)) from error
    _sync_folder(path.parent)


def _write(
    path: Path, content: bytes | str | Callable[[BinaryIO], object], private: bool, new: bool
) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):  # renaming would replace it
        raise OSError(errno.EINVAL, "a device or a pipe, which is not replaced", os.fspath(path))
    _remove_abandoned_parts(path)
    rename = _rename_to_new if new else os.replace
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
            os.fsync(file.fileno())
            if fcntl is not None:  # before the lock ends: nobody takes the part for abandoned
                rename(part, path)
        if fcntl is None:  # Windows cannot rename an open file
            rename(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl-C just after the renaming
            os.unlink(part)
        raise


def _rename_to_new(part: Path, path: Path) -> None:
    """Rename a file, but raise FileExistsError if there is one at `path`."""
    if fcntl is None:  # on Windows, os.rename replaces no file
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
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                file.close()  # before this lock, another writer removed the file as abandoned
                continue
        return part, file


def _remove_abandoned_parts(path: Path) -> None:
    """Remove the part files of `path` that no writer has locked.  Those that cannot be removed
    stay; they do no harm."""
    if fcntl is None:
        return
    is_part = re.compile(re.escape(f".{path.name}.") + r"[0-9a-f]{8}\.part").fullmatch
    with contextlib.suppress(OSError):
        for part in map(path.with_name, filter(is_part, os.listdir(path.parent))):
            with contextlib.suppress(OSError):
                descriptor = os.open(part, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
