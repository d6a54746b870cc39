"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: str | os.PathLike, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path` by way of a new file in the same folder.

    A reader, a crash or a full disk never meets half a file; what was at `path` stays until the
    new content is safely on disk.  Raises OSError where the folder cannot be written.
    """
    path = Path(path)
    content = data.encode("utf-8") if isinstance(data, str) else data
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # Ctrl-C may come just after the renaming
            os.unlink(temporary)
        raise


def _umask() -> int:
    """The process's umask; reading it sets it for a moment, there is no other way."""
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
