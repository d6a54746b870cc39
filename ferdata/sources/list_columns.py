"""Which columns of a list of images hold the path, the label, the person and the split.

They are named by the user, or guessed: from the names in the header, and from the fields of the
first rows. What was guessed, and which columns are not used, is said in a sentence.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ferdata.errors import DataError
from ferdata.files.quoted_csv import csv_reader, utf8_lines
from ferdata.labels import is_known_class
from ferdata.name_suggestions import nearest

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " "}
"""{name: character}; any other single character may be a separator too."""
NO_COLUMN = "none"

_GUESSED_SEPARATORS = (",", ";", "\t", "|", " ")
_N_SAMPLED = 50  # lines
_IMAGE_NAME = re.compile(
    r".*\.(png|jpe?g|jfif|bmp|tiff?|p[bgpn]m|webp|gif|heic|heif|avif)", re.IGNORECASE | re.DOTALL
)
_ROLES = {
    "path": "path file filename filepath fname image images imagefile imagefilename imagename "
    "imagepath img imgname imgpath photo picture relpath",
    "label": "label labels class classes classlabel classname category emotion emotionlabel "
    "emotions expr expression expressionlabel expressions facialexpression target y",
    "subject": "subject subjectid subjectname person personid identity participant participantid "
    "actor actorid speaker",
    "split": "split usage set subset partition",
}
"""{what a column holds: its names, in lower case, without blanks and punctuation}. A
column of users is not among them: they are often those who gave the labels."""
_MOST_SHOWN = 8
_MOST_CHARACTERS = 30


@dataclass(frozen=True)
class Sample:
    """The first lines of a list.

    rows       their fields;  separator  the character between them
    guessed    whether the separator was guessed
    """

    rows: tuple[tuple[str, ...], ...]
    separator: str
    guessed: bool


@dataclass(frozen=True)
class ListColumns:
    """The columns of a list, numbered from 0.

    header      the names in the first line, or None if the list has no header
    n_columns   how many there are
    subject, split  None: there is no such column
    named       what was named by the user, of "path", "label" and "subject"
    """

    header: tuple[str, ...] | None
    n_columns: int
    path: int
    label: int
    subject: int | None
    split: int | None
    named: frozenset[str] = frozenset()

    @property
    def used(self) -> dict[str, int]:
        """{what a column holds: its number}"""
        found = {"path": self.path, "label": self.label}
        others = {"subject": self.subject, "split": self.split}
        return found | {role: n for role, n in others.items() if n is not None}

    @property
    def is_strict(self) -> bool:
        """Whether the columns are path,label[,subject][,split] by name, and no others."""
        return (
            self.header is not None
            and len(self.used) == self.n_columns
            and all(self.header[n].strip().lower() == role for role, n in self.used.items())
        )

    def name(self, column: int) -> str:
        """A column, for a message."""
        if self.header is None or not self.header[column].strip():
            return f"column {column + 1}"
        return _short(self.header[column].strip())

    def told(self, sample: Sample, ignored: Sequence[int] = ()) -> str:
        """A sentence on what is used as what, and what is not used; "" if there is nothing to tell.

        ignored  columns that were to be used, and are not
        """
        if self.is_strict and sample.separator == "," and not ignored:
            return ""
        what = {"path": "path", "label": "label", "subject": "person", "split": "split"}
        used = [
            f"{self.name(n)} is the {what[role]}"
            for role, n in self.used.items()
            if n not in ignored
        ]
        rest = [n for n in range(self.n_columns) if n not in self.used.values() or n in ignored]
        text = ("columns: " if self.header else "no header; ") + ", ".join(used)
        if rest:
            shown = [self._unused(n) for n in rest[:_MOST_SHOWN]]
            more = f" and {len(rest) - _MOST_SHOWN:,} more" if len(rest) > _MOST_SHOWN else ""
            text += f"; not used: {', '.join(shown)}{more}"
        if sample.guessed and sample.separator != ",":
            text += f"; separated by {separator_name(sample.separator)}"
        return text

    def _unused(self, column: int) -> str:
        """An unused column; with what it may be, if its name is like that of another."""
        name = self.name(column)
        if self.header is not None and self.subject is None:
            key = _letters(self.header[column])
            if nearest(key, ["subject", "person", "identity", "participant"]):
                return f"{name} (if it says who is shown: subject_column={name!r})"
        return name


def sample_of(path: Path, separator: str | None = None) -> Sample:
    """The first lines of a list, and what separates its fields.

    separator  a name in SEPARATORS, or the character; None: it is guessed

    Raises DataError for a file that is not text or is empty, ValueError for another separator.
    """
    given = None if separator is None else _character(separator)
    lines: list[str] = []
    try:
        lines.extend(line for line in islice(utf8_lines(path), _N_SAMPLED) if line.strip())
    except DataError:
        if not lines:
            raise  # else the reader of the whole file names the line
    if not lines:
        raise DataError(f"{path}: empty file, expected a list of images and their labels")
    if given is not None:
        return Sample(_fields(lines, given), given, guessed=False)
    best, most = Sample(_fields(lines, ","), ",", guessed=True), 0
    for character in _GUESSED_SEPARATORS:
        rows = _fields(lines, character)
        n_fields = {len(row) for row in rows}
        if len(rows) < 1 or n_fields == {1}:
            continue
        consistent = len(n_fields) == 1
        has_paths = bool(_columns_of_images(rows[1:] or rows, min(n_fields)))
        score = 1 + consistent + 2 * has_paths
        if score > most:
            best, most = Sample(rows, character, guessed=True), score
    return best


def columns_of(
    path: Path,
    sample: Sample,
    folder: Path,
    path_column: str | int | None = None,
    label_column: str | int | None = None,
    subject_column: str | int | None = None,
) -> ListColumns:
    """The columns of the list at `path`.

    folder  that paths are relative to: a file there tells a path from a name in a header
    path_column, label_column, subject_column  a name in the header, or a number, from 1; None: it
            is guessed. subject_column="none": there is none

    Raises DataError if a column is not there, or cannot be guessed.
    """
    first, n_columns = sample.rows[0], len(sample.rows[0])
    given = {"path": path_column, "label": label_column, "subject": subject_column}
    named: dict[str, int | None] = {}
    for role, value in given.items():
        if role == "subject" and value == NO_COLUMN:
            named[role] = None
        elif value is not None:
            named[role] = _column_called(value, first, f"{path} line 1", role)
    header = None
    if not _is_row_of_images(first, named.get("path"), folder):
        header = tuple(name.strip() for name in first)
    rows = sample.rows[1:] if header else sample.rows
    found = dict(named)
    finder = _Finder(path, header, n_columns, rows)
    for role in _ROLES:
        if role not in found:
            others = {n for n in found.values() if n is not None}
            found[role] = finder.column(role, others)
    for role, value in given.items():
        if role != "subject" and isinstance(value, str) and header is None and not is_digits(value):
            raise DataError(f"{path}: has no header, so no column {value!r:.60}")
    places = [n for n in found.values() if n is not None]
    if len(set(places)) < len(places):
        raise DataError(f"{path}: one column for two purposes: {_shown(header, first)}")
    path_at, label_at = found["path"], found["label"]
    if path_at is None or label_at is None:
        missing = "path" if path_at is None else "label"
        what = "paths of images" if path_at is None else "labels"
        raise DataError(
            f"{path} line 1: no column is known to hold {what}; the columns are "
            f"{_shown(header, _first(rows))}. Name it: "
            + ("path_column=..." if missing == "path" else "label_column=...")
            + (", by its name or number, from 1" if header else ", by its number, from 1")
        )
    return ListColumns(
        header, n_columns, path_at, label_at, found["subject"], found["split"], frozenset(named)
    )


def has_images(sample: Sample) -> bool:
    """Whether a column holds the names of image files, or is called as if it did."""
    rows = sample.rows[1:] or sample.rows
    by_name = {_letters(name) for name in sample.rows[0]} & set(_ROLES["path"].split())
    return bool(_columns_of_images(rows, len(sample.rows[0]))) or bool(by_name)


def separator_name(character: str) -> str:
    names = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "blanks"}
    return names.get(character, repr(character))


def is_digits(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


class _Finder:
    """Guesses columns from the header and from the first rows."""

    def __init__(
        self,
        path: Path,
        header: tuple[str, ...] | None,
        n_columns: int,
        rows: Sequence[Sequence[str]],
    ) -> None:
        self._path, self._header, self._n_columns, self._rows = path, header, n_columns, rows

    def column(self, role: str, others: set[int]) -> int | None:
        """The column that holds `role`, not one of the `others`; None if there is none."""
        free = [n for n in range(self._n_columns) if n not in others]
        found = self._by_name(role, free)
        if role == "path" and len(found) != 1:
            images = _columns_of_images(self._rows, self._n_columns)
            found = [n for n in found or free if n in images]
        if role == "label" and not found:
            found = self._by_values(free)
        if len(found) > 1:
            raise DataError(
                f"{self._path} line 1: {_shown(self._header, _first(self._rows), found)} "
                f"could each hold the {role}; name one: "
                + {
                    "path": "path_column=...",
                    "label": "label_column=...",
                    "subject": "subject_column=...",
                }.get(role, "rename the others in the header")
            )
        return found[0] if found else None

    def _by_name(self, role: str, free: Sequence[int]) -> list[int]:
        """Columns by their name in the header: those called as the role, else any that may be."""
        if self._header is None:
            return []
        names = {n: _letters(self._header[n]) for n in free}
        exact = [n for n, name in names.items() if name == role]
        return exact or [n for n, name in names.items() if name in _ROLES[role].split()]

    def _by_values(self, free: Sequence[int]) -> list[int]:
        """The only column left, or the only one that holds names of emotions alone."""
        if self._header is not None:  # a column of people or splits holds no labels
            others = {name for names in _ROLES.values() for name in names.split()}
            free = [n for n in free if _letters(self._header[n]) not in others]
        if len(free) == 1:
            return list(free)
        found = [
            n
            for n in free
            if self._rows and all(len(row) > n and is_known_class(row[n]) for row in self._rows)
        ]
        return found if len(found) == 1 else []


def _first(rows: Sequence[Sequence[str]]) -> Sequence[str]:
    return rows[0] if rows else ()


def _fields(lines: Sequence[str], separator: str) -> tuple[tuple[str, ...], ...]:
    """The fields of the lines, as far as they can be read."""
    rows: list[tuple[str, ...]] = []
    try:
        for fields in csv_reader(lines, separator):
            if fields:
                rows.append(tuple(field.strip() for field in fields))
    except csv.Error:  # the reader of the whole file names the line
        pass
    return tuple(rows) or (tuple(field.strip() for field in lines[0].split(separator)),)


def _columns_of_images(rows: Sequence[Sequence[str]], n_columns: int) -> list[int]:
    """Columns in which every row with this many columns has the name of an image file."""
    whole = [row for row in rows if len(row) == n_columns]
    return [
        n for n in range(n_columns) if whole and all(_IMAGE_NAME.fullmatch(row[n]) for row in whole)
    ]


def _is_row_of_images(first: Sequence[str], path_column: int | None, folder: Path) -> bool:
    """Whether the first line is a row, and not a header: it has the name of an image."""
    fields = first if path_column is None else (first[path_column],)
    if any(_IMAGE_NAME.fullmatch(field) for field in fields):
        return True
    return path_column is not None and _is_file(folder, first[path_column])


def _is_file(folder: Path, field: str) -> bool:
    return bool(field) and "\0" not in field and os.path.isfile(folder / field.replace("\\", "/"))


def _column_called(value: str | int, first: Sequence[str], where: str, role: str) -> int:
    """The number, from 0, of the column with this name or number."""
    if isinstance(value, str):
        names = [name.strip().lower() for name in first]
        found = [n for n, name in enumerate(names) if name == value.strip().lower()]
        if len(found) > 1:
            raise DataError(f"{where}: several columns are called {value[:40]!r}")
        if found:
            return found[0]
    if not isinstance(value, bool) and (isinstance(value, int) or is_digits(value)):
        if 1 <= int(value) <= len(first):
            return int(value) - 1
        raise DataError(f"{where}: no column {int(value)}; expected 1 to {len(first)}")
    raise DataError(
        f"{where}: no column {str(value)[:40]!r} for the {role}; the first line is "
        f"{_shown(tuple(first), ())}"
    )


def _character(separator: str) -> str:
    character = SEPARATORS.get(separator, {"\\t": "\t"}.get(separator, separator))
    if len(character) != 1 or character in '"\r\n\0':
        raise ValueError(
            f"separator: expected {', '.join(SEPARATORS)} or one character, found {separator!r:.40}"
        )
    return character


def _shown(
    header: Sequence[str] | None, row: Sequence[str], which: Sequence[int] | None = None
) -> str:
    """Columns with a field of each, for a message: 1 'image' ('a.png'), 2 'emotion' ('3')."""
    n_columns = len(header) if header is not None else len(row)
    numbers = range(n_columns) if which is None else which
    parts = []
    for n in list(numbers)[:_MOST_SHOWN]:
        field = f" ({_short(row[n])!r})" if n < len(row) and row is not header else ""
        parts.append(f"{n + 1}" + (f" {_short(header[n])!r}" if header is not None else "") + field)
    more = f", ... ({n_columns:,} in all)" if len(numbers) > _MOST_SHOWN else ""
    return ", ".join(parts) + more


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
