"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: what a killed writer leaves stays
    fcntl = None  # type: ignore[assignment]


def write_atomically(
    path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]
) -> None:
    """Write bytes, text (as UTF-8), or what content(file) writes, to `path`.

    It goes to a new file in the same folder, `.<name>.<8 hex digits>.part`, which takes the name
    once it is on disk: a reader, a crash, a power cut, a full disk or Ctrl-C never leaves half a
    file, and what was at `path` stays until then.  A writer that is killed leaves its part; the
    next one to the same path removes it.  Raises OSError, naming `path`, where it cannot be
    written, and what `content` raises.
    """
    path = Path(path)
    try:
        _write(path, content)
    except OSError as error:
        if error.errno is None:
            raise
        what = f"{error.strerror} (nothing was changed: mend that, or choose another folder)"
        raise OSError(error.errno, what, os.fspath(path)) from error
    _sync_folder(path.parent)


def _write(path: Path, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    _remove_parts_of_the_dead(path)
    part, file = _new_part(path)
    try:
        with file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:  # still locked: nobody takes the part for one of the dead
                os.replace(part, path)
        if fcntl is None:  # Windows renames no open file
            os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl-C may come just after the renaming
            os.unlink(part)
        raise


def _new_part(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, open, and locked for as long as its writer lives.

    It is made with the permissions of any new file, so nobody needs to ask for the umask, which
    would set it for a moment for all threads.
    """
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            file = open(part, "xb")
        except FileExistsError:
            continue
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a disk that knows no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                file.close()  # another writer locked it first, and removed it as one of the dead's
                continue
        return part, file


def _remove_parts_of_the_dead(path: Path) -> None:
    """Unlink the parts of `path` that nobody holds locked.  Where that cannot be done they stay:
    they are in nobody's way."""
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
    """Put the new name on disk, so that a power cut does not undo it; best effort: the content is
    whole under either name, and some systems open no folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
