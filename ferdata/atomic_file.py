"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(
    path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]
) -> None:
    """Write bytes, text (as UTF-8), or what content(file) writes, to `path`.

    It is written to a new file in the same folder, which then takes the name: a reader, a crash, a
    full disk or Ctrl-C never leaves half a file, and what was at `path` stays until then. Raises
    OSError where the folder cannot be written, and what `content` raises.
    """
    path = Path(path)
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0o022)  # there is no other way to read it
        os.umask(umask)
        os.chmod(part, 0o666 & ~umask)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
