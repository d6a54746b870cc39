"""Lists and reads the files in a tar archive, as a stream: nothing is unpacked to disk.

A tar archive is a row of blocks of 512 bytes: a header with a name and a size, then the content,
padded with zeros to whole blocks (POSIX.1-1988, "ustar"). Only plain files are of interest here.
Python's tarfile is not used: it reads extended headers into memory, however long they claim to be.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 512
MAX_MEMBERS = 10_000

_NAME, _SIZE, _SUM, _TYPE, _MAGIC, _PREFIX = (
    slice(0, 100),
    slice(124, 136),
    slice(148, 156),
    slice(156, 157),
    slice(257, 262),
    slice(345, 500),
)
_PLAIN_FILES = (b"0", b"\0", b"7")
_COPIED_BYTES = 1 << 20


class TarError(ValueError):
    """The archive is damaged or incomplete."""


def is_tar(block: bytes) -> bool:
    """Whether an archive begins with this block: a header with the right checksum."""
    return len(block) == BLOCK_BYTES and any(block) and _has_right_sum(block)


def tar_members(archive: IO[bytes], max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of each plain file of the archive, in its order.

    archive    open at its beginning; it is read in order, and never all at once. A content can be
               read until the next member is asked for
    max_bytes  most bytes of all members together

    Raises TarError for a damaged header, an archive that ends within a file, and for more than
    `max_bytes` or MAX_MEMBERS members.
    """
    total = 0
    for _ in range(MAX_MEMBERS):
        header = archive.read(BLOCK_BYTES)
        if not header.strip(b"\0"):  # two blocks of zeros, or the end of the file
            return
        if len(header) < BLOCK_BYTES or not _has_right_sum(header):
            raise TarError("a damaged header in the tar archive")
        n_bytes = _octal(header[_SIZE])
        total += n_bytes
        if total > max_bytes:
            raise TarError(f"more than {max_bytes:,} bytes in the tar archive")
        content = _Content(archive, n_bytes)
        if header[_TYPE] in _PLAIN_FILES:
            yield _name(header), io.BufferedReader(content, 1 << 18)
        content.skip()
    raise TarError(f"more than {MAX_MEMBERS:,} members in the tar archive")


class _Content(io.RawIOBase):
    """The next `n_bytes` of an archive, and the padding behind them."""

    def __init__(self, archive: IO[bytes], n_bytes: int) -> None:
        super().__init__()
        self._archive, self._left, self._padding = archive, n_bytes, -n_bytes % BLOCK_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        space = memoryview(buffer).cast("B")
        data = self._archive.read(min(len(space), self._left))
        if not data and self._left:
            raise TarError("the tar archive ends within a file")
        self._left -= len(data)
        space[: len(data)] = data
        return len(data)

    def skip(self) -> None:
        """Read what is left, and the padding."""
        self._left += self._padding
        while self._left:
            data = self._archive.read(min(self._left, _COPIED_BYTES))
            if not data:
                if self._left > self._padding:
                    raise TarError("the tar archive ends within a file")
                return
            self._left -= len(data)


def _name(header: bytes) -> str:
    name = header[_NAME].split(b"\0")[0]
    if header[_MAGIC] == b"ustar" and (prefix := header[_PREFIX].split(b"\0")[0]):
        name = prefix + b"/" + name
    return name.decode("utf-8", "replace")


def _octal(field: bytes) -> int:
    digits = field.strip(b"\0 ")
    if not digits or digits.strip(b"01234567"):
        raise TarError("a damaged size in the tar archive")
    return int(digits, 8)


def _has_right_sum(header: bytes) -> bool:
    """Whether the header's checksum is the sum of its bytes, with blanks in its own place."""
    digits = header[_SUM].strip(b"\0 ")
    if not digits or digits.strip(b"01234567"):
        return False
    return int(digits, 8) == sum(header) - sum(header[_SUM]) + 8 * ord(" ")
