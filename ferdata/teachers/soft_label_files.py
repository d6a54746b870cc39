"""Read and write files of soft labels, .npz or .csv; soft_labels.py describes their contents."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferdata.errors import DataError
from ferdata.files.npz_file import read_npz, save_npz
from ferdata.files.quoted_csv import quoted_rows
from tinycnn.ground.atomic_file import write_atomically

KINDS = ("logits", "probabilities")
KEYS = ("ids", "rows", "hashes")
MAX_ENTRIES = 4_000_000
"""Of a csv. Larger files must be .npz."""

_COLUMN_OF_KEY = {"ids": "id", "rows": "row", "hashes": "hash"}
_KEY_OF_COLUMN = {column: key for key, column in _COLUMN_OF_KEY.items()}
_MAX_OTHER_LINES = 1000  # the header and blank lines
# An array stores each string as long as the longest, so one long id among many short ones could
# take gigabytes. Above _SMALL_BYTES an id may be at most _MAX_PADDING times the average length.
_MAX_PADDING, _SMALL_BYTES = 8, 64 << 20


@dataclass(frozen=True, eq=False)
class Parts:
    """The contents of a file. Only their form has been checked.

    kind     one of KINDS, or "": the csv does not say
    values   (M, K) or (N, n_crops, K);  flipped: the same for the mirror images, or None
    key      one of KEYS;  keys: one for each of the M or N entries
    crop     (M,) the number of the crop that an entry is for, or None
    place    place(i): where entry i is in the file, for messages
    percentages  the file has percentages, and `checked_parts` has divided them by 100
    """

    kind: str
    values: np.ndarray
    flipped: np.ndarray | None
    classes: tuple[str, ...]
    key: str
    keys: np.ndarray
    crop: np.ndarray | None
    place: Callable[[int], str]
    percentages: bool = False


def singular(key: str) -> str:
    """ "ids" -> "id", the name in messages and csv headers."""
    return _COLUMN_OF_KEY[key]


# ---- npz -------------------------------------------------------------------------------------


def npz_parts(path: Path) -> Parts:
    """Read an .npz. Raises DataError if it is not as soft_labels.py describes."""
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
    crop = parts.get("crop")
    if crop is not None and (crop.dtype.kind not in "iu" or crop.shape != keys.shape):
        raise DataError(
            f"{path}: crop: expected {len(keys)} whole numbers, one for each of {key}, found "
            f"{crop.dtype} {crop.shape}"
        )
    other = [name for name in parts if name.endswith("_flipped") and name != f"{kind}_flipped"]
    if other:
        raise DataError(f"{path}: `{other[0]}` beside `{kind}`: expected the same kind")

    def place(i: int) -> str:
        return f"entry {i} ({singular(key)} {keys[i].item()!r})"

    flipped = parts.get(f"{kind}_flipped")
    return Parts(kind, parts[kind], flipped, tuple(classes.tolist()), key, keys, crop, place)


def _one_of(path: Path, parts: dict[str, np.ndarray], names: tuple[str, ...]) -> str:
    present = [name for name in names if name in parts]
    if len(present) != 1:
        listed = ", ".join(f"`{name}`" for name in names)
        found = ", ".join(sorted(parts)) or "none of the known arrays"
        raise DataError(f"{path}: expected one of {listed}, found {found}")
    return present[0]


def write_npz(path: Path, parts: Parts) -> None:
    """Write an .npz. Raises OSError if that fails."""
    arrays = {parts.kind: parts.values, parts.key: parts.keys, "classes": np.array(parts.classes)}
    if parts.flipped is not None:
        arrays[f"{parts.kind}_flipped"] = parts.flipped
    save_npz(path, arrays)


# ---- csv -------------------------------------------------------------------------------------


def csv_parts(path: Path) -> Parts:
    """Read a csv. Raises DataError, naming the line, if it is not as soft_labels.py describes."""
    return _from_lines(path, _lines(path))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the lines that are not empty."""
    for line, fields in quoted_rows(path):
        if line > MAX_ENTRIES + _MAX_OTHER_LINES:
            raise DataError(f"{path} line {line}: too many lines; use the .npz format")
        if fields:
            yield line, fields


def _from_lines(path: Path, lines: Iterator[tuple[int, list[str]]]) -> Parts:
    kind, header = "", next((fields for _, fields in lines), [])
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
            raise DataError(
                f"{path}: the class name {name[:40]!r} contains line ends or control characters"
            )
    names: list[str] = []
    rows, crops, values, line_of = array("q"), array("q"), array("d"), array("q")
    for line, fields in lines:
        if len(fields) != len(header):
            raise DataError(
                f"{path} line {line}: {len(fields)} fields, expected {len(header)} as in the header"
            )
        if len(line_of) == MAX_ENTRIES:
            raise DataError(
                f"{path} line {line}: more than {MAX_ENTRIES:,} entries; use the .npz format"
            )
        if key == "rows":
            rows.append(_whole(path, line, "row", fields[0].strip()))
        else:
            names.append(fields[0].strip())
        if has_crop:
            crops.append(_whole(path, line, "crop", fields[1].strip()))
        try:
            values.extend(_numbers(fields[n_before:]))
        except ValueError:
            _refuse_field(path, line, header[n_before:], fields[n_before:])
        line_of.append(line)
    _check_lengths(path, key, names, line_of)
    n_classes = len(header) - n_before
    return Parts(
        kind=kind,
        values=np.array(values).reshape(len(line_of), n_classes),
        flipped=None,
        classes=tuple(header[n_before:]),
        key=key,
        keys=np.array(rows if key == "rows" else names),
        crop=np.array(crops) if has_crop else None,
        place=lambda i: f"line {line_of[i]}",
    )


def _check_lengths(path: Path, key: str, names: list[str], line_of: array) -> None:
    lengths = list(map(len, names))
    longest = max(lengths, default=0)
    n_characters = longest * len(names)
    if 4 * n_characters > _SMALL_BYTES and n_characters > _MAX_PADDING * sum(lengths):
        raise DataError(
            f"{path} line {line_of[lengths.index(longest)]}: {singular(key)} of {longest} "
            f"characters, more than {_MAX_PADDING} times the average of "
            f"{sum(lengths) / len(names):.0f}"
        )


def _numbers(fields: list[str]) -> list[float]:
    """The fields as numbers. Raises ValueError for what float() refuses, and for two forms that it
    accepts: underscores, as in 1_0, and digits other than 0 to 9."""
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
    """Write a csv. Raises ValueError for what a csv cannot hold, OSError if writing fails."""
    if parts.flipped is not None:
        raise ValueError(f"{path}: a csv cannot hold answers for mirror images; write .npz")
    has_crops = parts.values.ndim == 3
    text = io.StringIO()
    text.write(f"# {parts.kind}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([singular(parts.key), *(["crop"] if has_crops else []), *parts.classes])
    for key, entry in zip(parts.keys.tolist(), parts.values):
        if isinstance(key, str) and key.strip().splitlines() != [key]:
            raise ValueError(f"{path}: id {key!r} has outer blanks or line ends; write .npz")
        for crop, row in enumerate(entry if has_crops else [entry]):
            # Nine digits represent a float32 exactly.
            numbers = (f"{x:.9g}" for x in row.tolist())
            writer.writerow([key, *([crop] if has_crops else []), *numbers])
    write_atomically(path, text.getvalue())
