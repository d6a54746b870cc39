"""Open zip files from untrusted sources: huge directories are refused, nothing goes to disk."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

MAX_DIRECTORY_BYTES = 1 << 20
"""The directory lists the members: 46 bytes and a name each, which take twenty times as much
memory."""

_END, _END_BYTES = b"PK\x05\x06", 22
_LOCATOR_64, _LOCATOR_64_BYTES = b"PK\x06\x07", 20
_END_64, _END_64_BYTES = b"PK\x06\x06", 56
_MAX_COMMENT_BYTES = 1 << 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def open_zip(raw: BinaryIO) -> zipfile.ZipFile:
    """The archive in an open file. Its directory is read, but no member.

    Raises zipfile.BadZipFile if it is not a zip file, if its directory is larger than
    MAX_DIRECTORY_BYTES or does not list as many members as it says, or if a member is compressed by
    any method but deflation (the memory that other methods take is not bounded).
    """
    n_bytes, n_members = _directory_sizes(raw)
    if n_bytes > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(
            f"a directory of {n_bytes:,} bytes; at most {MAX_DIRECTORY_BYTES:,} are read"
        )
    raw.seek(0)
    archive = zipfile.ZipFile(raw)
    found = len(archive.infolist())
    if found % 2**16 != n_members % 2**16:  # small archives count in 16 bits
        archive.close()
        raise zipfile.BadZipFile(f"its directory lists {found:,} members; it says {n_members:,}")
    for member in archive.infolist():
        if member.compress_type not in _METHODS:
            archive.close()
            raise zipfile.BadZipFile(
                f"{member.filename[:40]!r} is packed by method {member.compress_type}; expected "
                "stored or deflated"
            )
    return archive


def _directory_sizes(raw: BinaryIO) -> tuple[int, int]:
    """The bytes and the members of the directory according to the archive's end record, which is
    found as zipfile does."""
    before = _LOCATOR_64_BYTES + _END_64_BYTES
    size = raw.seek(0, 2)
    start = raw.seek(max(size - _MAX_COMMENT_BYTES - _END_BYTES - before, 0))
    tail = raw.read()
    at = len(tail) - _END_BYTES
    if not (at >= 0 and tail[at:].startswith(_END) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0:
        raise zipfile.BadZipFile("not a zip file: it has no end-of-directory record")
    locator = tail[max(at - _LOCATOR_64_BYTES, 0) : at]
    if not locator.startswith(_LOCATOR_64):
        return _number(tail, at + 12, 4), _number(tail, at + 10, 2)
    end_64 = at - before
    place = _number(locator, 8, 8)
    if end_64 < 0 or place != start + end_64 or tail[end_64 : end_64 + 4] != _END_64:
        raise zipfile.BadZipFile("its end-of-directory record is not where it should be")
    return _number(tail, end_64 + 40, 8), _number(tail, end_64 + 32, 8)


def _number(content: bytes, at: int, n_bytes: int) -> int:
    return int.from_bytes(content[at : at + n_bytes], "little")
