"""A list of images with their labels: a csv or text file, with or without a header.

    path,label,subject,split        the columns that are read, in any order
    a/1.png,happy,Ann,train

The file is UTF-8, with or without a byte order mark. Fields are separated by commas, semicolons,
tabs, blanks or another character, and quoted where needed. Which column is which is guessed
(list_columns.py) or named, and `notes` says what is used as what. Paths are relative to the file's
folder or to `root`, with slashes or backslashes, and stay inside it. A label is the name of a
class; an empty one means unlabelled. Numbers need names: `classes`. Splits are train, validation
(val, valid) and test.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ferdata.class_choice import (
    LEFT_OUT,
    Classes,
    advice_on_names,
    class_choice,
    is_number,
    shown_names,
)
from ferdata.errors import DataError
from ferdata.files.path_traversal import SymlinkCheck, leaves_folder
from ferdata.files.quoted_csv import quoted_rows
from ferdata.labels import LabelSpace, is_known_class
from ferdata.photos.picture_formats import is_picture
from ferdata.sources.class_folders import SPLIT_FOLDERS, alphabetical_label_space
from ferdata.sources.face_files import UNLABELLED, FaceFile, FaceFiles, face_files
from ferdata.sources.list_columns import (
    ListColumns,
    Sample,
    columns_of,
    has_images,
    sample_of,
    separator_name,
)
from tinycnn.ground.file_names import composed, relative_name, without_case

NAME = "manifest"
LOOKS_LIKE = "a csv or text file that lists images and labels, such as path,label[,subject][,split]"
OPTIONS = ("path_column", "label_column", "subject_column", "separator")
"""Arguments of `list_files` that no other source has: whoever gives one means a list."""
MAX_ROWS = 1_000_000

_DECIMAL_ZEROS = re.compile(r"(-?[0-9]{1,9})\.0+")  # whole numbers, as some programs write them
_MAX_NAME = 400  # characters; in an array of strings each takes as much memory as the longest
_MOST_FOLDERS_SEARCHED = 100


@dataclass(frozen=True)
class _Row:
    """One row of the list: its line, 0-based number, path relative to the folder, and fields."""

    line: int
    number: int
    path: str
    label: str
    subject: str | None
    split: str | None


def recognised(path: Path) -> str | None:
    """Why this looks like a list of images, or None. Raises DataError if it is one, but its columns
    have to be named."""
    try:
        sample = sample_of(path)
    except DataError:
        return None
    if not has_images(sample):
        return None
    columns = columns_of(path, sample, path.parent)
    shown = ",".join(sample.rows[0])[:80]
    if columns.header is None:
        return f"a list of images without a header, the first line is {shown}"
    commas = "" if sample.separator == "," else f", separated by {separator_name(sample.separator)}"
    return f"a csv with the columns {shown}{commas}"


def list_files(
    path: str | os.PathLike[str],
    classes: Classes | None = None,
    root: str | os.PathLike[str] | None = None,
    path_column: str | int | None = None,
    label_column: str | int | None = None,
    subject_column: str | int | None = None,
    separator: str | None = None,
) -> FaceFiles:
    """The images that a csv or text file lists, in its order.

    classes  which classes are used, under which names: see ferdata.class_choice. None: the names in
             the file in alphabetical order; they must be names of emotions
    root     the folder that paths are relative to; None: the folder of the list
    path_column, label_column, subject_column   a name in the header, or a number, from 1; None: it
             is guessed. subject_column="none": no column says who is shown
    separator  "comma", "semicolon", "tab", "space" or one character; None: it is guessed

    `rows` holds 0-based rows below the header. The images are taken to show only the face; for
    photos, ask ferdata.open for a framing. Raises DataError, naming the line.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    sample = sample_of(path, separator)
    columns = columns_of(path, sample, folder, path_column, label_column, subject_column)
    rows, ignored = _checked_columns(path, columns, list(_rows(path, columns, sample, folder)))
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    labels = Counter(row.label for row in rows if row.label)
    space, label_of, notes = _labels(path, rows, labels, classes)
    listed = [
        FaceFile(row.path, label, row.subject, row.split, row.number)
        for row in rows
        if (label := UNLABELLED if not row.label else label_of[row.label]) is not None
    ]
    if told := columns.told(sample, ignored):
        notes = (told, *notes)
    own = relative_name(path, folder)
    others = [row.path for row in rows if row.label and label_of[row.label] is None]
    files = face_files(
        folder,
        listed,
        space,
        source=NAME,
        label_files=[own],
        left_out={LEFT_OUT: others},
    )
    return replace(files, notes=notes)


# ---- rows ------------------------------------------------------------------------------------


def _rows(path: Path, columns: ListColumns, sample: Sample, folder: Path) -> Iterator[_Row]:
    """Each row, checked at once, so that a wrong file fails early; files that are not there are
    counted first."""
    line_of: dict[str, int] = {}
    symlinks = SymlinkCheck(folder)
    missing: list[tuple[int, str]] = []
    for number, (line, fields) in enumerate(_fields(path, columns, sample.separator)):
        where = f"{path} line {line}"
        relpath = _checked_path(fields[columns.path], folder, where)
        if relpath in line_of:
            raise DataError(f"{where}: {relpath} is already in line {line_of[relpath]}")
        line_of[relpath] = line
        if not os.path.isfile(folder / relpath):
            missing.append((line, relpath))
            continue
        if not is_picture(folder / relpath):
            raise DataError(f"{where}: {relpath[:60]!r} is not a picture")
        if not symlinks.is_inside(relpath):
            raise DataError(
                f"{where}: {folder / relpath} is a link out of the folder of the images; give the "
                f"folder that it leads to: root=..."
            )
        yield _Row(
            line,
            number,
            relpath,
            _checked_label(fields[columns.label], where),
            None if columns.subject is None else fields[columns.subject],
            None if columns.split is None else fields[columns.split],
        )
    _refuse_one_file_twice(path, line_of, folder)
    if missing:
        line, relpath = missing[0]
        raise DataError(
            f"{path} line {line}: no file {folder / relpath}"
            + (f" ({len(missing):,} of {len(line_of):,} are missing)" if len(missing) > 1 else "")
            + _where_it_is(folder, relpath)
        )


def _refuse_one_file_twice(path: Path, line_of: dict[str, int], folder: Path) -> None:
    """Raise DataError if two names are of one file: many disks take "A.png" and "a.png" for the
    same. It could be in the training and in the validation part."""
    if len({hash(without_case(relpath)) for relpath in line_of}) == len(line_of):
        return
    first: dict[str, str] = {}
    for relpath, line in line_of.items():
        other = first.setdefault(without_case(relpath), relpath)
        if other != relpath and _are_one_file(folder / other, folder / relpath):
            raise DataError(
                f"{path} line {line}: {relpath} is the same file as {other} in line "
                f"{line_of[other]}: this disk takes both names for one"
            )


def _are_one_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them does not exist
        return False


def _fields(path: Path, columns: ListColumns, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each row below the header."""
    blank = n = 0
    for k, (line, fields) in enumerate(quoted_rows(path, separator)):
        if k == 0 and columns.header is not None:
            continue
        where = f"{path} line {line}"
        if n >= MAX_ROWS:
            raise DataError(f"{where}: more than {MAX_ROWS} rows")
        if len(fields) < 2 and not any(f.strip() for f in fields):
            blank = blank or line
            continue
        if blank:
            raise DataError(f"{path} line {blank}: empty; rows are counted, so none may be blank")
        if len(fields) != columns.n_columns:
            first = "in the header" if columns.header is not None else "in the first line"
            raise DataError(
                f"{where}: {len(fields)} fields, expected {columns.n_columns} as {first}; they are "
                f"separated by {separator_name(separator)} (separator=...)"
            )
        n += 1
        yield line, [field.strip() for field in fields]


def _checked_columns(
    path: Path, columns: ListColumns, rows: list[_Row]
) -> tuple[list[_Row], list[int]]:
    """(rows, columns that are ignored). A person or split is needed in every row. If a column was
    only guessed to hold them, and does not, it is ignored."""
    ignored = []
    for role, column in (("subject", columns.subject), ("split", columns.split)):
        if column is None:
            continue
        wrong = next((row for row in rows if not _is_good(role, getattr(row, role))), None)
        if wrong is None:
            continue
        is_certain = role in columns.named or columns.name(column).lower() == role
        if is_certain:
            _refuse(role, getattr(wrong, role), f"{path} line {wrong.line}")
        ignored.append(column)
        rows = [
            replace(row, subject=None) if role == "subject" else replace(row, split=None)
            for row in rows
        ]
    rows = [row if row.split is None else _with_split(row) for row in rows]
    return rows, ignored


def _with_split(row: _Row) -> _Row:
    return replace(row, split=SPLIT_FOLDERS[str(row.split).lower()])


def _is_good(role: str, value: str) -> bool:
    if role == "split":
        return value.lower() in SPLIT_FOLDERS
    return 0 < len(value) <= _MAX_NAME


def _refuse(role: str, value: str, where: str) -> None:
    if not value:
        raise DataError(f"{where}: no {role}, but there is a column for it")
    if len(value) > _MAX_NAME:
        raise DataError(f"{where}: a {role} of {len(value)} characters, more than {_MAX_NAME}")
    raise DataError(f"{where}: split {value[:40]!r}, expected train, validation or test")


def _checked_label(text: str, where: str) -> str:
    if len(text) > _MAX_NAME:
        raise DataError(f"{where}: a label of {len(text)} characters, more than {_MAX_NAME}")
    number = _DECIMAL_ZEROS.fullmatch(text)
    return number[1] if number else text


def _checked_path(text: str, folder: Path, where: str) -> str:
    """The path with slashes, without "." and double slashes, relative to the folder. Raises
    DataError unless it can be a file inside the folder."""
    if not text or not text.isprintable() or len(text) > _MAX_NAME:
        raise DataError(f"{where}: {text[:60]!r} is not a path")
    inside = PurePosixPath(text.replace("\\", "/"))
    if os.path.isabs(text):
        relative = relative_name(text, os.path.abspath(folder)).replace("\\", "/")
        if not leaves_folder(relative):
            inside = PurePosixPath(relative)
    if leaves_folder(str(inside)):
        raise DataError(
            f"{where}: {text[:60]!r} leaves the folder of the images, {folder}; expected a path "
            f"inside it. If the images are in another folder: root=..."
        )
    return "/".join(inside.parts)


def _where_it_is(folder: Path, relpath: str) -> str:
    """The end of a message on a missing file: where there is one of that name."""
    if alike := _name_alike(folder, relpath):
        way = "accents" if composed(alike) == composed(relpath) else "capital letters"
        return f"; there is {alike}: the names must agree in how {way} are written"
    nearby = [folder.parent, *_folders_in(folder), *_folders_in(folder.parent)]
    for other in nearby:
        if os.path.isfile(other / relpath):
            return f"; it is in another folder: root={str(other)!r}"
    parts = relpath.split("/")
    for k in range(1, len(parts)):
        shorter = "/".join(parts[k:])
        if os.path.isfile(folder / shorter):
            return f"; there is {shorter}, so remove {'/'.join(parts[:k])}/ from the paths"
    return "; if paths are relative to another folder: root=..."


def _name_alike(folder: Path, relpath: str) -> str:
    """The relpath of the file that a system would take for `relpath` where capital letters do not
    count, nor how accents are written. "" if there is none."""
    found: list[str] = []
    for part in relpath.split("/"):
        try:
            names = os.listdir(folder.joinpath(*found))
        except OSError:
            return ""
        alike = [name for name in names if without_case(name) == without_case(part)]
        if not alike:
            return ""
        found.append(part if part in alike else min(alike))
    return "/".join(found)


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []
    return [folder / name for name in names[:_MOST_FOLDERS_SEARCHED]]


# ---- labels ----------------------------------------------------------------------------------


def _labels(
    path: Path, rows: list[_Row], counts: Counter[str], classes: Classes | None
) -> tuple[LabelSpace, dict[str, int | None], tuple[str, ...]]:
    """(label space, the label of each name in the list, or None if it is left out, notes)."""
    found = sorted(
        counts, key=lambda name: (0, int(name.strip()), "") if is_number(name) else (1, 0, name)
    )
    if classes is not None:
        chosen = class_choice(classes).among(found, str(path))
        return chosen.space, dict(chosen.label_of), chosen.notes(counts)
    if not found:
        raise DataError(
            f"{path}: no labels; give the names of the classes in label order: classes=..."
        )
    wrong = next((row for row in rows if row.label and not is_known_class(row.label)), None)
    if wrong is None:
        space = alphabetical_label_space(NAME, [row.label.lower() for row in rows if row.label])
        return space, {name: space.index(name) for name in found}, ()
    where = f"{path} line {wrong.line}: label {wrong.label[:40]!r} is no known class"
    if all(map(is_number, found)):
        raise DataError(
            f"{where}; give the names of all classes in label order, those of 0, 1, 2, ...: "
            f"classes=... (the labels are {shown_names(found)})"
        )
    raise DataError(f"{where}; {advice_on_names(found)}")
