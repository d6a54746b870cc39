"""A csv file that lists images: path,label[,subject][,split].

UTF-8, with or without a byte order mark, comma separated, quotes where needed. Paths are relative
to the file's folder, with forward slashes, and stay below it. A label is a class name; an empty one
means unlabelled. Numbers are labels only where `classes` says what they number. Splits are train,
validation (val, valid) and test. Columns may come in any order; there are no others, because a
misspelt "subject" would silently lose the people.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ferdata.errors import DataError
from ferdata.labels import LabelError, LabelSpace, canonical_name, is_known_class
from ferdata.path_traversal import SymlinkCheck, leaves_folder
from ferdata.regular_file import refuse_pipes
from ferdata.sources.class_folders import SPLIT_FOLDERS
from ferdata.sources.face_files import UNLABELLED, FaceFile, FaceFiles, face_files
from ferdata.sources.tree import is_image

NAME = "manifest"
LOOKS_LIKE = "a csv with the columns path,label[,subject][,split]"
COLUMNS = ("path", "label", "subject", "split")
MAX_ROWS = 1_000_000

_MAX_LINE_BYTES = 64 * 1024
_DIGITS = re.compile(r"[0-9]{1,9}")
_MAX_NAME = 400  # characters of a path or a subject; arrays of names are as wide as the longest


def is_header(names: Sequence[str]) -> bool:
    """Whether these column names are those of a list of images."""
    return {"path", "label"} <= set(names)


def list_files(
    path: str | os.PathLike[str],
    classes: Sequence[str] | LabelSpace | None = None,
    root: str | os.PathLike[str] | None = None,
) -> FaceFiles:
    """The images that a csv file lists, in its order.

    classes  class names in label order; labels may then be numbers 0.. as well. None: the names
             found, which must be emotions, in alphabetical order
    root     the folder that paths are relative to; None: the csv file's

    `rows` holds 0-based rows below the header. Images are taken as faces already cropped; ask
    ferdata.open for a framing if they are photos. Raises DataError, naming the line.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no folder")
    symlinks = SymlinkCheck(folder)
    rows: list[_Row] = []
    line_of: dict[str, int] = {}
    for row in _rows(path):  # checked while it is read: a wrong file is noticed at its beginning
        where = f"{path} line {row.line}"
        place = _checked_path(row.path, where)
        if place in line_of:
            raise DataError(f"{where}: {place} stands in line {line_of[place]} already")
        if not os.path.isfile(folder / place):
            raise DataError(f"{where}: no file {folder / place}")
        if not symlinks.is_inside(place):
            raise DataError(
                f"{where}: {folder / place} is a link out of the folder of the images; name the "
                f"folder that it leads to: root=..."
            )
        line_of[place] = row.line
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    space = _label_space(path, rows, classes)
    listed = []
    for n, (place, row) in enumerate(zip(line_of, rows)):
        where = f"{path} line {row.line}"
        label = UNLABELLED if not row.label else _label(row.label, space, where)
        listed.append(FaceFile(place, label, row.subject, _split(row.split, where), n))
    return face_files(folder, listed, space, source=NAME)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    label: str
    subject: str | None
    split: str | None


def _rows(path: Path) -> Iterator[_Row]:
    reader = csv.reader(_lines(path), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(path, header)
        at = {name: i for i, name in enumerate(header)}
        empty = 0
        for n, fields in enumerate(reader):
            line = reader.line_num
            if n >= MAX_ROWS:
                raise DataError(f"{path} line {line}: more than {MAX_ROWS} rows")
            if not any(f.strip() for f in fields) and len(fields) < 2:
                empty = empty or line
                continue
            if empty:
                raise DataError(
                    f"{path} line {empty}: empty; rows are counted, so none may be blank"
                )
            if len(fields) != len(header):
                raise DataError(
                    f"{path} line {line}: {len(fields)} fields, expected {len(header)} as in the "
                    f"header"
                )
            fields = [f.strip() for f in fields]
            for name in ("subject", "split"):
                if name in at and not fields[at[name]]:
                    raise DataError(f"{path} line {line}: no {name}, but there is a column for it")
                if name in at and len(fields[at[name]]) > _MAX_NAME:
                    raise DataError(
                        f"{path} line {line}: a {name} of {len(fields[at[name]])} characters; "
                        f"expected at most {_MAX_NAME}"
                    )
            values = {name: fields[i] for name, i in at.items()}
            yield _Row(
                line, values["path"], values["label"], values.get("subject"), values.get("split")
            )
    except csv.Error as error:
        raise DataError(
            f"{path} line {max(reader.line_num, 1)}: not a csv row ({error})"
        ) from error


def _lines(path: Path) -> Iterator[str]:
    refuse_pipes(path)
    try:
        with open(path, "rb") as file:
            line = 0
            while data := file.readline(_MAX_LINE_BYTES):
                line += 1
                if len(data) == _MAX_LINE_BYTES:
                    raise DataError(f"{path} line {line}: longer than {_MAX_LINE_BYTES} bytes")
                if line == 1:
                    data = data.removeprefix(b"\xef\xbb\xbf")
                try:
                    text = data.decode("utf-8")
                except UnicodeDecodeError:
                    text = "\0"
                if "\0" in text:
                    raise DataError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8")
                yield text
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _check_header(path: Path, header: list[str]) -> None:
    wrong = sorted(set(header) - set(COLUMNS))
    missing = [name for name in COLUMNS[:2] if name not in header]
    if missing or wrong or len(set(header)) < len(header):
        shown = ",".join(header)[:80]
        raise DataError(
            f"{path} line 1: header {shown!r}, expected path,label and, if they are known, subject "
            f"and split, each once, separated by commas, and no other column"
        )


def _label_space(
    path: Path, rows: list[_Row], classes: Sequence[str] | LabelSpace | None
) -> LabelSpace:
    if isinstance(classes, LabelSpace):
        return classes
    if classes is not None:
        return LabelSpace(NAME, tuple(classes))
    first: dict[str, str] = {}
    for row in rows:
        if row.label and not is_known_class(row.label):
            number = " (what its number stands for)" if _DIGITS.fullmatch(row.label) else ""
            raise DataError(
                f"{path} line {row.line}: label {row.label[:40]!r} is no known class; name all "
                f"classes in label order{number}: classes=(...)"
            )
        if row.label:
            first.setdefault(canonical_name(row.label), row.label.lower())
    if not first:
        raise DataError(f"{path}: not one label; name the classes in label order: classes=(...)")
    return LabelSpace(NAME, tuple(sorted(first.values())))


def _label(label: str, space: LabelSpace, where: str) -> int:
    numbers_are_names = any(_DIGITS.fullmatch(name) for name in space.classes)
    if _DIGITS.fullmatch(label) and not numbers_are_names:
        if int(label) < len(space):
            return int(label)
        raise DataError(f"{where}: label {label}, expected 0..{len(space) - 1}")
    try:
        return space.index(label)
    except LabelError:
        raise DataError(
            f"{where}: label {label[:40]!r}, expected one of {', '.join(space.classes)}"
        ) from None


def _split(split: str | None, where: str) -> str | None:
    if split is None:
        return None
    if split.lower() not in SPLIT_FOLDERS:
        raise DataError(f"{where}: split {split[:40]!r}, expected train, validation or test")
    return SPLIT_FOLDERS[split.lower()]


def _checked_path(text: str, where: str) -> str:
    """The path in one spelling. Raises DataError if it could leave the folder or name no image."""
    parts = PurePosixPath(text).parts
    if not text or not text.isprintable() or len(text) > _MAX_NAME:
        raise DataError(f"{where}: {text[:60]!r} is no path")
    if "\\" in text:
        raise DataError(f"{where}: {text[:60]!r}: write paths with forward slashes")
    if leaves_folder(text):
        raise DataError(
            f"{where}: {text[:60]!r} leaves the folder of the images; expected a path below it"
        )
    if not is_image(text):
        raise DataError(f"{where}: {text[:60]!r} is no image by its name")
    return "/".join(parts)
