"""Finds the photos that a command is to process: files, and folders with their subfolders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ferdata.films.frames import film_format
from ferdata.photos.picture_formats import is_picture
from ferdata.unread_files import is_document, is_ignored, kinds


class Found(NamedTuple):
    """A file that was found.

    path        the file
    name        the path of its annotated copy, relative to the folder of --annotate
    problem     why it cannot be processed, "" if it can
    is_picture  False for a file in a folder that is no picture, by its suffix and its content
    """

    path: Path
    name: Path
    problem: str = ""
    is_picture: bool = True


class PassedOver:
    """Counts the files in folders that are no pictures, and the films among them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.n_films = 0

    def add(self, found: Found) -> None:
        self.names.append(found.path.name)
        self.n_films += film_format(found.path) is not None

    @property
    def look_wrong(self) -> bool:
        """Whether there is another file than texts and tables, which are expected in a folder."""
        return not all(map(is_document, self.names))

    def summary(self) -> str:
        """ "3 files are no pictures: 2 .doc, 1 .txt"; "" for none.  Says how films are read."""
        if not self.names:
            return ""
        n = len(self.names)
        what = "1 file is no picture" if n == 1 else f"{n:,} files are no pictures"
        told = f"{what}: {kinds(self.names)}"
        return f"{told}; name films themselves, not their folder" if self.n_films else told


def find_photos(photos: Sequence[Path], skipped: Path | None) -> Iterator[Found]:
    """All files in turn; folders are listed step by step, so their size does not matter.

    A file that is named itself is always taken for a picture.
    skipped: a folder that is not searched.
    """
    for path in photos:
        if not path.is_dir():
            yield Found(path, Path(path.name))
            continue
        name = Path() if len(photos) == 1 else Path(path.resolve().name)
        n_pictures, others = 0, PassedOver()
        for found in _files_in(path, name, skipped):
            if found.is_picture:
                n_pictures += 1
            else:
                others.add(found)
            yield found
        if not n_pictures:
            told = f"; {others.summary()}" if others.names else ""
            yield Found(path, name, f"no pictures in this folder{told}")


def _files_in(folder: Path, name: Path, skipped: Path | None) -> Iterator[Found]:
    """The files in a folder and its subfolders, but not those that are hidden or of the system."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        yield Found(folder, name, f"cannot be listed: {error.strerror or error}")
        return
    for entry_name, is_folder in listed:
        if is_ignored(entry_name):
            continue
        path, inner_name = folder / entry_name, name / entry_name
        if is_folder:
            if skipped is None or path.resolve() != skipped:
                yield from _files_in(path, inner_name, skipped)
        elif path.is_dir():
            problem = "a link to a folder, which is not searched; name that folder as well"
            yield Found(path, inner_name, problem)
        else:
            yield Found(path, inner_name, is_picture=is_picture(path))
