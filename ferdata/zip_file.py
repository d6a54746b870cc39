"""A zip from a stranger: its directory is bounded before it is read. Nothing is ever extracted."""

from __future__ import annotations

import zipfile
from typing import BinaryIO

MAX_DIRECTORY_BYTES = 1 << 20
"""Names and places of the members; each takes 46 bytes and a name, and twenty times that in
memory."""

_END, _END_BYTES = b"PK\x05\x06", 22
_LOCATOR_64, _LOCATOR_64_BYTES = b"PK\x06\x07", 20
_END_64, _END_64_BYTES = b"PK\x06\x06", 56
_MAX_COMMENT_BYTES = 1 << 16
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def open_zip(raw: BinaryIO) -> zipfile.ZipFile:
    """The archive in an open file, its directory read and no member.

    Raises zipfile.BadZipFile for what is none, a directory of more than MAX_DIRECTORY_BYTES, and
    for members packed otherwise than by deflation (the others take memory as they please).
    """
    n_bytes = _directory_bytes(raw)
    if n_bytes > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(
            f"a directory of {n_bytes:,} bytes; at most {MAX_DIRECTORY_BYTES:,} are read"
        )
    raw.seek(0)
    archive = zipfile.ZipFile(raw)
    for member in archive.infolist():
        if member.compress_type not in _METHODS:
            archive.close()
            raise zipfile.BadZipFile(
                f"{member.filename[:40]!r} is packed by method {member.compress_type}; expected "
                "plain or deflated"
            )
    return archive


def _directory_bytes(raw: BinaryIO) -> int:
    """What the archive's end says, found where zipfile finds it."""
    before = _LOCATOR_64_BYTES + _END_64_BYTES
    size = raw.seek(0, 2)
    start = raw.seek(max(size - _MAX_COMMENT_BYTES - _END_BYTES - before, 0))
    tail = raw.read()
    at = len(tail) - _END_BYTES
    if not (at >= 0 and tail[at:].startswith(_END) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0:
        raise zipfile.BadZipFile("no zip file: it has no end of a directory")
    locator = tail[max(at - _LOCATOR_64_BYTES, 0) : at]
    if not locator.startswith(_LOCATOR_64):
        return int.from_bytes(tail[at + 12 : at + 16], "little")
    end_64 = at - before
    place = int.from_bytes(locator[8:16], "little")
    if end_64 < 0 or place != start + end_64 or tail[end_64 : end_64 + 4] != _END_64:
        raise zipfile.BadZipFile("the end of its directory is not where it says")
    return int.from_bytes(tail[end_64 + 40 : end_64 + 48], "little")
