"""Reads rows of a csv file, plain (.csv), compressed (.csv.gz), or inside a .zip, .tar or .tar.gz.

The file is read as a stream, so memory does not grow with it. Its first bytes, not its name, say
how it is compressed.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from ferdata.errors import DataError
from ferdata.files.path_traversal import leaves_folder
from ferdata.files.regular_file import named_errors
from ferdata.files.tar_file import BLOCK_BYTES, is_tar, tar_members
from ferdata.files.zip_file import open_zip

Progress = Callable[[int, int], None]
"""progress(done, total)"""

MAX_LINES = 250_000
"""Most lines of one csv, including blank ones; FER2013 and FER+ have 35,888. A compressed file of a
few megabytes could hold any number of lines, so this limits time and memory."""

MAX_UNPACKED_BYTES = 2 << 30
"""Most bytes of one csv, including columns that are not read; FER2013 has 0.3e9."""

_MAX_LINE_BYTES = 1 << 20  # no row of a csv read here is longer; limits the memory
_MAX_HEADER_BYTES = 16 * 1024
_AROUND_FIELD = b' \t\r\n"'  # removed from both ends of a field
_MAX_SHOWN = 40
_PROGRESS_EVERY = 500  # rows


def csv_rows(
    path: Path,
    columns: Sequence[str],
    members: Sequence[str] = (),
    progress: Progress | None = None,
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (line number, fields of `columns` in that order) for each row below the header.

    columns   names in the header, in any order and case; other columns are ignored
    members   file names to prefer inside an archive, in lower case
    progress  progress(done, total), in bytes of the file on disk

    Line numbers start at 1 for the header, as in an editor. Fields come without surrounding blanks
    and quotes, and cannot contain a comma.

    Raises DataError for a missing file, a damaged or incomplete one, missing columns, no rows, a
    blank line before the end, a line with another number of fields or longer than 1 MiB, and
    for more than MAX_LINES lines or MAX_UNPACKED_BYTES bytes.
    """
    n_bytes = 0
    for n, (position, n_bytes, row) in enumerate(_placed_rows(path, columns, members)):
        yield row
        if progress is not None and n % _PROGRESS_EVERY == 0:
            progress(min(position, n_bytes), n_bytes)
    if progress is not None:
        progress(n_bytes, n_bytes)


def csv_header(path: Path, members: Sequence[str] = ()) -> list[str]:
    """The column names of a csv, in lower case, without blanks and quotes around them.

    Raises DataError as `csv_rows` does, and for a file that does not begin with a csv header.
    """
    with _opened(path, members) as (_, csv):
        first = csv.readline(_MAX_HEADER_BYTES)
    if not first.strip():
        raise DataError(f"{path}: empty file, expected a csv with a header")
    try:
        text = first.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip().isprintable() or len(first) == _MAX_HEADER_BYTES:
        raise DataError(f"{path}: no csv with a header in UTF-8; it begins with {first[:20]!r}")
    return [name.strip(_AROUND_FIELD.decode()).lower() for name in text.split(",")]


def shown(field: bytes) -> str:
    """The beginning of a field, quoted, for an error message."""
    return repr(field[:_MAX_SHOWN].decode("utf-8", "replace").strip())


@contextmanager
def _opened(path: Path, members: Sequence[str]) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """(the file on disk, its decompressed csv); DataError for what goes wrong while reading."""
    with named_errors(path, "cannot be read, damaged or incomplete"), ExitStack() as stack:
        raw = stack.enter_context(open(path, "rb"))
        yield raw, _decompressed(raw, path, members, stack)


def _decompressed(raw: BinaryIO, path: Path, members: Sequence[str], stack: ExitStack) -> BinaryIO:
    magic = raw.read(4)
    raw.seek(0)
    if magic == b"PK\x03\x04":
        archive = stack.enter_context(open_zip(raw))
        # The type that ZipFile.open is declared to return does not have all its methods.
        member = cast(zipfile.ZipExtFile, archive.open(_zip_member(archive, path, members)))
        return io.BufferedReader(stack.enter_context(member), 1 << 18)
    plain = _unpacked(raw, stack)
    if not is_tar(plain.peek(BLOCK_BYTES)[:BLOCK_BYTES]):
        return plain
    name = _only_csv(path, "tar archive", _tar_names(plain, members), members)
    raw.seek(0)
    for found, content in tar_members(_unpacked(raw, stack), MAX_UNPACKED_BYTES):
        if found == name:
            return stack.enter_context(cast(BinaryIO, content))
    raise DataError(f"{path}: {name[:80]!r} in it has gone: was the file changed?")


def _unpacked(raw: BinaryIO, stack: ExitStack) -> io.BufferedReader:
    """The content of a .gz, or of any other file as it is."""
    magic = raw.read(2)
    raw.seek(0)
    if magic == b"\x1f\x8b":
        return io.BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=raw)), 1 << 18)
    return cast(io.BufferedReader, raw)


def _tar_names(archive: BinaryIO, members: Sequence[str]) -> list[str]:
    """The names of the files in a tar archive, up to the first one that is the first of `members`:
    what is behind it does not have to be unpacked."""
    names = []
    for name, _ in tar_members(archive, MAX_UNPACKED_BYTES):
        names.append(name)
        if members and _last_part(name) == members[0]:
            break
    return names


def _zip_member(archive: zipfile.ZipFile, path: Path, members: Sequence[str]) -> zipfile.ZipInfo:
    infos = {info.filename: info for info in archive.infolist()}
    info = infos[_only_csv(path, "zip", infos, members)]
    if info.flag_bits & 1:
        raise DataError(f"{path}: {info.filename[:80]!r} is encrypted; unpack it first")
    return info


def _only_csv(path: Path, kind: str, names: Iterable[str], members: Sequence[str]) -> str:
    """The csv inside an archive: the first with a name of `members`, else the only one."""
    found = [name for name in names if _last_part(name).endswith(".csv") and not _of_macos(name)]
    preferred = [f for m in members for f in found if _last_part(f) == m]
    chosen = preferred[:1] or found
    if len(chosen) != 1:
        raise DataError(
            f"{path}: expected one csv file in the {kind}, found "
            + (", ".join(f"{name[:40]!r}" for name in sorted(found)[:5]) or "none")
            + (f", ... ({len(found)} in all)" if len(found) > 5 else "")
        )
    if leaves_folder(chosen[0]):
        raise DataError(f"{path}: {chosen[0][:80]!r} in it leaves the folder of the {kind}")
    return chosen[0]


def _last_part(name: str) -> str:
    return name.rsplit("/", 1)[-1].lower()


def _of_macos(name: str) -> bool:
    """Whether macOS has added this file: it holds no data but begins like one that does."""
    return "__MACOSX" in name or _last_part(name).startswith("._")


def _placed_rows(
    path: Path, columns: Sequence[str], members: Sequence[str]
) -> Iterator[tuple[int, int, tuple[int, list[bytes]]]]:
    """(position in the file on disk, its size, row). An error of whoever uses the rows is not taken
    for damage: it is not raised in here."""
    with _opened(path, members) as (raw, csv):
        n_bytes = path.stat().st_size
        for row in _rows(csv, path, columns):
            yield raw.tell(), n_bytes, row


def _rows(csv: BinaryIO, path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    n_fields, positions = _header(csv.readline(_MAX_LINE_BYTES), path, columns)
    line, blank, n_bytes = 1, 0, 0
    while text := csv.readline(_MAX_LINE_BYTES):
        line += 1
        n_bytes += len(text)
        if n_bytes > MAX_UNPACKED_BYTES:
            raise DataError(f"{path} line {line}: more than {MAX_UNPACKED_BYTES:,} bytes unpacked")
        if line > MAX_LINES:
            raise DataError(f"{path} line {line}: more than {MAX_LINES:,} lines")
        if len(text) == _MAX_LINE_BYTES:
            raise DataError(f"{path} line {line}: longer than {_MAX_LINE_BYTES} bytes, no csv row")
        if not text.strip():
            blank = blank or line
            continue
        if blank:
            raise DataError(f"{path} line {blank}: empty; rows are counted, so none may be blank")
        fields = text.split(b",")
        if len(fields) != n_fields:
            raise DataError(
                f"{path} line {line}: {len(fields)} fields, expected {n_fields} as in the header"
                + ("" if text.endswith(b"\n") else " (the file ends in this line: incomplete?)")
            )
        yield line, [fields[p].strip(_AROUND_FIELD) for p in positions]
    if line == 1 or blank == 2:
        raise DataError(f"{path}: no rows below the header")


def _header(text: bytes, path: Path, columns: Sequence[str]) -> tuple[int, list[int]]:
    """Number of fields, and the position of each of `columns`."""
    if not text.strip():
        raise DataError(f"{path}: empty file, expected a header with {', '.join(columns)}")
    names = text.removeprefix(b"\xef\xbb\xbf").split(b",")
    names = [name.strip(_AROUND_FIELD).lower() for name in names]
    for c in columns:
        if names.count(c.lower().encode()) != 1:
            raise DataError(
                f"{path} line 1: no column {c!r}, or more than one; expected a header with "
                f"{', '.join(columns)}; the file begins with {shown(text)}"
            )
    return len(names), [names.index(c.lower().encode()) for c in columns]
