"""Opens files that may come from anybody: pipes and devices are refused."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read its bytes.  Raises OSError, with `path`, for a folder, a pipe, a socket
    or a device, from which reading could take for ever."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder; expected a file", os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


_BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would change ends of lines


def read_bytes_of(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """The content of a file.  Raises OSError as `open_regular`, ValueError for more bytes."""
    with open_regular(path) as file:
        # read() takes memory for as many bytes as it is asked for, whatever the file has
        n_bytes = min(os.fstat(file.fileno()).st_size, most_bytes) + 1
        content = file.read(n_bytes)
        if len(content) == n_bytes <= most_bytes:  # the file has grown since
            content += file.read(most_bytes + 1 - n_bytes)
    if len(content) > most_bytes:
        raise ValueError(f"more than {most_bytes:,} bytes")
    return content


def read_text_file(path: str | os.PathLike[str], most_bytes: int) -> str:
    """The text of a file, in UTF-8.  Raises as `read_bytes_of`, and ValueError for other bytes."""
    return read_bytes_of(path, most_bytes).decode("utf-8").replace("\r\n", "\n")
