"""Reads text files in UTF-8 line by line, and csv files whose fields may be quoted.

A file may begin with a byte order mark. A line may have at most MAX_LINE_BYTES bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ferdata.errors import DataError
from ferdata.files.regular_file import named_errors

if TYPE_CHECKING:
    from _csv import Reader

MAX_LINE_BYTES = 64 * 1024


def utf8_lines(path: Path) -> Iterator[str]:
    """The lines of a file, with their line ends. Raises DataError, naming the line."""
    with named_errors(path), open(path, "rb") as file:
        line = 0
        while data := file.readline(MAX_LINE_BYTES):
            line += 1
            if len(data) == MAX_LINE_BYTES:
                raise DataError(f"{path} line {line}: longer than {MAX_LINE_BYTES} bytes")
            try:
                text = data.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError:
                text = "\0"
            if "\0" in text:
                raise DataError(f"{path} line {line}: not UTF-8 text; save the file as UTF-8")
            yield text


def quoted_rows(path: Path, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of each row; an empty line has no fields. Raises DataError, naming the
    line. Of a row of several lines the last is named.

    separator  the character between fields; a blank stands for any number of blanks and tabs
    """
    reader = csv_reader(utf8_lines(path), separator)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        line = max(reader.line_num, 1)
        raise DataError(f"{path} line {line}: not a csv row ({error})") from error


def csv_reader(lines: Iterable[str], separator: str) -> Reader:
    """A reader of lines whose fields may be quoted; see `quoted_rows`. It raises csv.Error."""
    if separator == " ":
        lines = (line.replace("\t", " ").strip(" \r\n") for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator == " ", strict=True)
