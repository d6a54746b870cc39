"""A teacher's file, .npz or .csv, taken apart and put together; see soft_labels.py."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ferdata.errors import DataError
from ferdata.npz_file import read_npz
from tinycnn.ground.atomic_file import write_atomically

KINDS = ("logits", "probabilities")
KEYS = ("ids", "rows", "hashes")
MAX_ENTRIES = 4_000_000
"""Lines of a csv; beyond that it is an .npz that is wanted."""

_COLUMN_OF_KEY = {"ids": "id", "rows": "row", "hashes": "hash"}
_KEY_OF_COLUMN = {column: key for key, column in _COLUMN_OF_KEY.items()}
_MAX_LINE = 1 << 16  # bytes
_MAX_OTHER_LINES = 1000  # blank ones
# An array of names is as wide as its longest: one long name must not make gigabytes of short ones.
_MAX_PADDING, _SMALL_BYTES = 8, 64 << 20


@dataclass(frozen=True, eq=False)
class Parts:
    """What stands in a file, before anything is checked but its form.

    kind     one of KINDS, or None: the csv does not say
    values   (M, K) or (N, n_crops, K);  flipped: the same for the mirror images, or None
    key      one of KEYS;  keys: one for each of the M or N entries
    crop     (M,) which crop an entry is of, or None
    place    entry number -> words that find it in the file
    """

    kind: str | None
    values: np.ndarray
    flipped: np.ndarray | None
    classes: tuple[str, ...]
    key: str
    keys: np.ndarray
    crop: np.ndarray | None
    place: Callable[[int], str]


def singular(key: str) -> str:
    """ "ids" -> "id", as messages and csv headers have it."""
    return _COLUMN_OF_KEY[key]


# ---- npz -------------------------------------------------------------------------------------


def npz_parts(path: Path) -> Parts:
    """Raises DataError for what is no such .npz."""
    known = {*KINDS, *KEYS, "classes", "crop", *(f"{kind}_flipped" for kind in KINDS)}
    parts = read_npz(path, known)
    kind = _one_of(path, parts, KINDS)
    key = _one_of(path, parts, KEYS)
    if "classes" not in parts:
        raise DataError(f"{path}: has no `classes`, expected the class names in column order")
    classes = parts["classes"]
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise DataError(
            f"{path}: classes: expected a list of names, found {classes.dtype} {classes.shape}"
        )
    keys = parts[key]
    if keys.ndim != 1 or keys.dtype.kind not in ("iu" if key == "rows" else "U"):
        expected = "whole numbers" if key == "rows" else "strings"
        raise DataError(f"{path}: {key}: expected {expected}, found {keys.dtype} {keys.shape}")
    crop = parts.get("crop")
    if crop is not None and (crop.dtype.kind not in "iu" or crop.shape != keys.shape):
        raise DataError(
            f"{path}: crop: expected {len(keys)} whole numbers, one for each of {key}, found "
            f"{crop.dtype} {crop.shape}"
        )
    other = [name for name in parts if name.endswith("_flipped") and name != f"{kind}_flipped"]
    if other:
        raise DataError(f"{path}: `{other[0]}` beside `{kind}`: expected both of one kind")

    def place(i: int) -> str:
        return f"entry {i} ({singular(key)} {keys[i].item()!r})"

    flipped = parts.get(f"{kind}_flipped")
    return Parts(kind, parts[kind], flipped, tuple(classes.tolist()), key, keys, crop, place)


def _one_of(path: Path, parts: dict[str, np.ndarray], names: tuple[str, ...]) -> str:
    present = [name for name in names if name in parts]
    if len(present) != 1:
        listed = ", ".join(f"`{name}`" for name in names)
        found = ", ".join(sorted(parts)) or "nothing of what it could have"
        raise DataError(f"{path}: expected one of {listed}, found {found}")
    return present[0]


def write_npz(path: Path, parts: Parts) -> None:
    """Raises OSError where the folder cannot be written."""
    arrays = {parts.kind: parts.values, parts.key: parts.keys, "classes": np.array(parts.classes)}
    if parts.flipped is not None:
        arrays[f"{parts.kind}_flipped"] = parts.flipped
    write_atomically(path, lambda file: np.savez(file, **arrays))


# ---- csv -------------------------------------------------------------------------------------


def csv_parts(path: Path) -> Parts:
    """Raises DataError, naming the line, for what is no such csv."""
    try:
        with open(path, "rb") as file:
            return _from_lines(path, _lines(path, file))
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise DataError(f"{path}: no readable csv file ({error})") from error


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the lines that are not empty."""

    def bounded() -> Iterator[str]:
        line = 0
        while data := file.readline(_MAX_LINE):
            line += 1
            if len(data) == _MAX_LINE:
                raise DataError(
                    f"{path} line {line}: a line of more than {_MAX_LINE} characters: no such csv"
                )
            if line > MAX_ENTRIES + _MAX_OTHER_LINES:
                raise DataError(f"{path} line {line}: too many lines; use the .npz format")
            try:
                text = data.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError:
                text = "\0"
            if "\0" in text:
                raise DataError(
                    f"{path}: no readable csv: line {line} is not UTF-8 text; save it as UTF-8"
                )
            yield text

    reader = csv.reader(bounded(), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: not a csv row ({error})") from error


def _from_lines(path: Path, lines: Iterator[tuple[int, list[str]]]) -> Parts:
    kind, header = None, next((fields for _, fields in lines), [])
    if header and header[0].startswith("#"):
        kind = header[0].lstrip("# ").strip().lower()
        if kind not in KINDS:
            raise DataError(
                f"{path} line 1: expected '# logits' or '# probabilities', found {kind[:40]!r}"
            )
        header = next((fields for _, fields in lines), [])
    header = [name.strip() for name in header]
    key = _KEY_OF_COLUMN.get(header[0].lower()) if header else None
    has_crop = len(header) > 1 and header[1].lower() == "crop"
    if key is None or len(header) < 2 + has_crop:
        raise DataError(
            f"{path}: expected a header with 'id', 'row' or 'hash', perhaps 'crop', then the class "
            f"names; found {','.join(header)[:60]!r}"
        )
    n_before = 1 + has_crop
    for name in header:
        if not name.isprintable():
            raise DataError(f"{path}: the class name {name[:40]!r} holds line ends or controls")
    keys: list[str] | array = array("q") if key == "rows" else []
    crops, values, line_of = array("q"), array("d"), array("q")
    for line, fields in lines:
        if len(fields) != len(header):
            raise DataError(
                f"{path} line {line}: {len(fields)} fields, expected {len(header)} as in the header"
            )
        if len(line_of) == MAX_ENTRIES:
            raise DataError(
                f"{path} line {line}: more than {MAX_ENTRIES:,} entries; use the .npz format"
            )
        text = fields[0].strip()
        keys.append(_whole(path, line, "row", text) if key == "rows" else text)
        if has_crop:
            crops.append(_whole(path, line, "crop", fields[1].strip()))
        try:
            values.extend(_numbers(fields[n_before:]))
        except ValueError:
            _refuse_field(path, line, header[n_before:], fields[n_before:])
        line_of.append(line)
    if key != "rows":
        _check_widths(path, key, keys, line_of)
    n_classes = len(header) - n_before
    return Parts(
        kind=kind,
        values=np.array(values).reshape(len(line_of), n_classes),
        flipped=None,
        classes=tuple(header[n_before:]),
        key=key,
        keys=np.array(keys),
        crop=np.array(crops) if has_crop else None,
        place=lambda i: f"line {line_of[i]}",
    )


def _check_widths(path: Path, key: str, keys: list[str], line_of: array) -> None:
    lengths = list(map(len, keys))
    longest = max(lengths, default=0)
    n_characters = longest * len(keys)
    if 4 * n_characters > _SMALL_BYTES and n_characters > _MAX_PADDING * sum(lengths):
        raise DataError(
            f"{path} line {line_of[lengths.index(longest)]}: {singular(key)} of {longest} "
            f"characters, among {len(keys)} of {sum(lengths) / len(keys):.0f} on average"
        )


def _numbers(fields: list[str]) -> list[float]:
    """What float() takes, but for Python's own 1_0 and other alphabets' digits: ValueError."""
    text = "".join(fields)
    if "_" in text or not text.isascii():
        raise ValueError
    return [float(field) for field in fields]


def _whole(path: Path, line: int, name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise DataError(
            f"{path} line {line}: {name} {text[:40]!r}, expected a whole number 0 or more"
        )
    return int(text)


def _refuse_field(path: Path, line: int, names: list[str], fields: list[str]) -> None:
    for name, field in zip(names, fields):
        try:
            _numbers([field])
        except ValueError:
            raise DataError(
                f"{path} line {line}: {name} is {field[:20]!r}, expected a number"
            ) from None


def write_csv(path: Path, parts: Parts) -> None:
    """Raises ValueError for what a csv cannot hold, OSError where the folder cannot be written."""
    if parts.flipped is not None:
        raise ValueError(f"{path}: a csv has no place for the mirror images' answers; write .npz")
    has_crops = parts.values.ndim == 3
    text = io.StringIO()
    text.write(f"# {parts.kind}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([singular(parts.key), *(["crop"] if has_crops else []), *parts.classes])
    for key, entry in zip(parts.keys.tolist(), parts.values):
        if isinstance(key, str) and key.strip().splitlines() != [key]:
            raise ValueError(f"{path}: id {key!r} has blanks or line ends around it; write .npz")
        for crop, row in enumerate(entry if has_crops else [entry]):
            # Nine digits hold a float32 exactly.
            numbers = (f"{x:.9g}" for x in row.tolist())
            writer.writerow([key, *([crop] if has_crops else []), *numbers])
    write_atomically(path, text.getvalue())
