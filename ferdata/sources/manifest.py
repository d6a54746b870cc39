"""A csv file that lists images: path,label[,subject][,split].

The file is UTF-8, with or without a byte order mark, with commas between fields and quotes where
needed. Paths are relative to the file's folder, use forward slashes, and stay inside it. A label is
a class name; an empty one means unlabelled. A number is a label only if `classes` is given. Splits
are train, validation (val, valid) and test. Columns may come in any order. Other columns are
refused: if a misspelt "subject" were ignored, nobody would notice that the people are missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ferdata.errors import DataError
from ferdata.files.path_traversal import SymlinkCheck, leaves_folder
from ferdata.files.quoted_csv import quoted_rows
from ferdata.labels import LabelError, LabelSpace, is_known_class
from ferdata.photos.picture_formats import is_picture
from ferdata.sources.class_folders import SPLIT_FOLDERS, alphabetical_label_space
from ferdata.sources.face_files import UNLABELLED, FaceFile, FaceFiles, face_files

NAME = "manifest"
LOOKS_LIKE = "a csv with the columns path,label[,subject][,split]"
COLUMNS = ("path", "label", "subject", "split")
MAX_ROWS = 1_000_000

_DIGITS = re.compile(r"[0-9]{1,9}")
_MAX_NAME = 400  # characters; in an array of strings each takes as much memory as the longest


def is_header(names: Sequence[str]) -> bool:
    """Whether these column names are those of a list of images."""
    return {"path", "label"} <= set(names)


def list_files(
    path: str | os.PathLike[str],
    classes: Sequence[str] | LabelSpace | None = None,
    root: str | os.PathLike[str] | None = None,
) -> FaceFiles:
    """The images that a csv file lists, in its order.

    classes  class names in label order; labels may then also be numbers from 0. None: the names in
             the file in alphabetical order; they must be names of emotions
    root     the folder that paths are relative to; None: the folder of the csv file

    `rows` holds 0-based rows below the header. The images are taken to show only the face; for
    photos, ask ferdata.open for a framing. Raises DataError, naming the line.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    symlinks = SymlinkCheck(folder)
    rows: list[dict[str, str]] = []
    line_of: dict[str, int] = {}
    for line, row in _rows(path):  # each row is checked at once, so a wrong file fails early
        where = f"{path} line {line}"
        relpath = _checked_path(row["path"], where)
        if relpath in line_of:
            raise DataError(f"{where}: {relpath} is already in line {line_of[relpath]}")
        if not os.path.isfile(folder / relpath):
            raise DataError(f"{where}: no file {folder / relpath}")
        if not is_picture(folder / relpath):
            raise DataError(f"{where}: {relpath[:60]!r} is not a picture")
        if not symlinks.is_inside(relpath):
            raise DataError(
                f"{where}: {folder / relpath} is a link out of the folder of the images; give the "
                f"folder that it leads to: root=..."
            )
        line_of[relpath] = line
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    labels = dict(zip(line_of.values(), (row["label"] for row in rows)))
    space = _label_space(path, labels, classes)
    listed = []
    for n, ((relpath, line), row) in enumerate(zip(line_of.items(), rows)):
        where = f"{path} line {line}"
        label = UNLABELLED if not row["label"] else _label(row["label"], space, where)
        split = _split(row.get("split"), where)
        listed.append(FaceFile(relpath, label, row.get("subject"), split, n))
    own = os.path.relpath(path, folder).replace(os.sep, "/")
    return face_files(folder, listed, space, source=NAME, label_files=[own])


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, {column: field}) of each row."""
    rows = quoted_rows(path)
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    _check_header(path, header)
    blank = 0
    for n, (line, fields) in enumerate(rows):
        where = f"{path} line {line}"
        if n >= MAX_ROWS:
            raise DataError(f"{where}: more than {MAX_ROWS} rows")
        if not any(f.strip() for f in fields) and len(fields) < 2:
            blank = blank or line
            continue
        if blank:
            raise DataError(f"{path} line {blank}: empty; rows are counted, so none may be blank")
        if len(fields) != len(header):
            raise DataError(
                f"{where}: {len(fields)} fields, expected {len(header)} as in the header"
            )
        values = {name: field.strip() for name, field in zip(header, fields)}
        for name in ("subject", "split"):
            value = values.get(name)
            if value == "":
                raise DataError(f"{where}: no {name}, but there is a column for it")
            if value is not None and len(value) > _MAX_NAME:
                raise DataError(
                    f"{where}: a {name} of {len(value)} characters, more than {_MAX_NAME}"
                )
        yield line, values


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
    path: Path, labels: dict[int, str], classes: Sequence[str] | LabelSpace | None
) -> LabelSpace:
    """The label space of `classes`; without them, of the names in `labels` ({line: label})."""
    if isinstance(classes, LabelSpace):
        return classes
    if classes is not None:
        return LabelSpace(NAME, tuple(classes))
    names = [label.lower() for label in labels.values() if label]
    for line, label in labels.items():
        if label and not is_known_class(label):
            raise DataError(
                f"{path} line {line}: label {label[:40]!r} is no known class; give the names of "
                f"all classes in label order: classes=..."
            )
    if not names:
        raise DataError(
            f"{path}: no labels; give the names of the classes in label order: classes=..."
        )
    return alphabetical_label_space(NAME, names)


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
    """The path without "." and double slashes. Raises DataError unless it can be an image inside
    the folder."""
    parts = PurePosixPath(text).parts
    if not text or not text.isprintable() or len(text) > _MAX_NAME:
        raise DataError(f"{where}: {text[:60]!r} is not a path")
    if "\\" in text:
        raise DataError(f"{where}: {text[:60]!r}: write paths with forward slashes")
    if leaves_folder(text):
        raise DataError(
            f"{where}: {text[:60]!r} leaves the folder of the images; expected a path inside it"
        )
    return "/".join(parts)
