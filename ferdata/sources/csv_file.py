"""Rows of a csv file that may be packed: .csv, .csv.gz, or .zip with the csv inside.

Read as a stream: memory does not grow with the file. The kind of packing is told by the file's
first bytes, not by its name.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from ferdata.errors import DataError
from ferdata.path_traversal import leaves_folder
from ferdata.regular_file import refuse_pipes
from ferdata.zip_file import open_zip
from tinycnn.ground.messages import in_short

Progress = Callable[[int, int], None]

MAX_LINES = 250_000
"""Lines of one csv, blank ones too; FER2013 and FER+ have 35,888. It bounds time and memory: a
packed file of some megabytes can hold any number of lines."""

MAX_UNPACKED_BYTES = 2 << 30
"""All lines of one csv together, columns that are not asked for too; FER2013 has 0.3e9."""

# A longer line is not a row of any csv read here; refusing it bounds the memory.
_MAX_LINE_BYTES = 1 << 20
_MAX_HEADER_BYTES = 16 * 1024
_AROUND = b' \t\r\n"'  # what may stand around a field
_MAX_SHOWN = 40
_PROGRESS_EVERY = 500  # rows
_DAMAGE = (
    *(EOFError, OSError, NotImplementedError, RuntimeError, OverflowError, ValueError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error),
)
"""What reading a damaged file or archive has been seen to raise."""


def csv_rows(
    path: Path,
    columns: Sequence[str],
    members: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (line number, the fields of `columns` in that order) for each row below the header.

    Line numbers are 1-based and count the header, as an editor shows them. Columns are found by
    name, whatever their order; blanks and case in header names do not matter; other columns are
    ignored. Fields come without surrounding blanks and quotes; a field cannot contain a comma.
    `members` are the file names to prefer inside a zip. `progress(done, total)` counts bytes of
    the file on disk.

    Raises DataError: no such file, damaged or incomplete packing, missing columns, no rows, an
    empty line before the end, a line of another number of fields or longer than 1 MiB, or
    more than MAX_LINES lines or MAX_UNPACKED_BYTES.
    """
    refuse_pipes(path)
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(open(path, "rb"))
            n_bytes = path.stat().st_size
            reader = _unpacked(raw, path, members, stack)
            for n, row in enumerate(_rows(reader, path, columns)):
                yield row
                if progress is not None and n % _PROGRESS_EVERY == 0:
                    progress(min(raw.tell(), n_bytes), n_bytes)
            if progress is not None:
                progress(n_bytes, n_bytes)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except _DAMAGE as error:
        raise DataError(
            f"{path}: cannot be read, damaged or incomplete ({in_short(error)})"
        ) from error


def csv_header(path: Path, members: Sequence[str] = ()) -> list[str]:
    """The column names of a csv, packed or not, in lower case without blanks and quotes.

    Raises DataError as `csv_rows` does for the file, and for a file that begins with no csv header.
    """
    refuse_pipes(path)
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(open(path, "rb"))
            first = _unpacked(raw, path, members, stack).readline(_MAX_HEADER_BYTES)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except _DAMAGE as error:
        raise DataError(
            f"{path}: cannot be read, damaged or incomplete ({in_short(error)})"
        ) from error
    if not first.strip():
        raise DataError(f"{path}: empty file, expected a csv with a header")
    try:
        text = first.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip().isprintable() or len(first) == _MAX_HEADER_BYTES:
        raise DataError(f"{path}: no csv with a header in UTF-8; it begins with {first[:20]!r}")
    return [name.strip(_AROUND.decode()).lower() for name in text.split(",")]


def shown(field: bytes) -> str:
    """The beginning of a field, quoted, for an error message."""
    return repr(field[:_MAX_SHOWN].decode("utf-8", "replace").strip())


def _unpacked(raw: BinaryIO, path: Path, members: Sequence[str], stack: ExitStack) -> BinaryIO:
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=raw)), 1 << 18)
    if magic == b"PK\x03\x04":
        archive = stack.enter_context(open_zip(raw))
        member = _member(archive, path, members)
        return io.BufferedReader(stack.enter_context(archive.open(member)), 1 << 18)
    return raw


def _member(archive: zipfile.ZipFile, path: Path, members: Sequence[str]) -> zipfile.ZipInfo:
    """The csv inside the zip: one called as in `members`, else the only one."""
    found = {
        info.filename: info
        for info in archive.infolist()
        if info.filename.lower().endswith(".csv") and "__MACOSX" not in info.filename
    }
    preferred = [f for m in members for f in found if f.rsplit("/", 1)[-1].lower() == m]
    names = preferred[:1] or list(found)
    if len(names) != 1:
        raise DataError(
            f"{path}: expected one csv file in the zip, found "
            + (", ".join(f"{name[:40]!r}" for name in sorted(found)[:5]) or "none")
            + (f", ... ({len(found)} in all)" if len(found) > 5 else "")
        )
    info = found[names[0]]
    if leaves_folder(info.filename):
        raise DataError(f"{path}: {info.filename[:80]!r} in it leaves the folder of the zip")
    if info.flag_bits & 1:
        raise DataError(f"{path}: {info.filename[:80]!r} is encrypted; unpack it first")
    return info


def _rows(
    reader: BinaryIO, path: Path, columns: Sequence[str]
) -> Iterator[tuple[int, list[bytes]]]:
    n_fields, positions = _header(reader.readline(_MAX_LINE_BYTES), path, columns)
    line, empty, n_bytes = 1, 0, 0
    while text := reader.readline(_MAX_LINE_BYTES):
        line += 1
        n_bytes += len(text)
        if n_bytes > MAX_UNPACKED_BYTES:
            raise DataError(
                f"{path} line {line}: more than {MAX_UNPACKED_BYTES:,} bytes unpacked, no such csv"
            )
        if line > MAX_LINES:
            raise DataError(f"{path} line {line}: more than {MAX_LINES:,} lines, no such csv")
        if len(text) == _MAX_LINE_BYTES:
            raise DataError(f"{path} line {line}: longer than {_MAX_LINE_BYTES} bytes, no csv row")
        if not text.strip():
            empty = empty or line
            continue
        if empty:
            raise DataError(f"{path} line {empty}: empty; rows are counted, so none may be blank")
        fields = text.split(b",")
        if len(fields) != n_fields:
            raise DataError(
                f"{path} line {line}: {len(fields)} fields, expected {n_fields} as in the header"
                + ("" if text.endswith(b"\n") else " (the file ends in this line: incomplete?)")
            )
        yield line, [fields[p].strip(_AROUND) for p in positions]
    if line == 1 or (empty == 2):
        raise DataError(f"{path}: no rows below the header")


def _header(text: bytes, path: Path, columns: Sequence[str]) -> tuple[int, list[int]]:
    """Number of fields, and the position of each wanted column."""
    if not text.strip():
        raise DataError(f"{path}: empty file, expected a header with {', '.join(columns)}")
    names = [f.strip(_AROUND).lower() for f in text.removeprefix(b"\xef\xbb\xbf").split(b",")]
    for c in columns:
        if names.count(c.lower().encode()) != 1:
            raise DataError(
                f"{path} line 1: no column {c!r}, or more than one; expected a header with "
                f"{', '.join(columns)}; the file begins with {shown(text)}"
            )
    return len(names), [names.index(c.lower().encode()) for c in columns]
