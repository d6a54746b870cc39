"""Finds the photos that a command is to process: files, and folders with their subfolders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PICTURE_SUFFIXES = tuple(".bmp .gif .jpeg .jpg .mpo .pbm .pgm .png .ppm .tif .tiff .webp".split())
"""Files in a folder with these suffixes are pictures.  A file named on the command line is always
tried."""


class Found(NamedTuple):
    """A photo to process.

    path     the file
    name     the path of its annotated copy, relative to the folder of --annotate
    problem  why it cannot be processed, "" if it can
    """

    path: Path
    name: Path
    problem: str = ""


def is_picture(path: Path) -> bool:
    """Whether a file in a folder is a picture, by its name."""
    return not path.name.startswith(".") and path.suffix.lower() in PICTURE_SUFFIXES


def find_photos(photos: Sequence[Path], skipped: Path | None) -> Iterator[Found]:
    """All files in turn; folders are listed step by step, so their size does not matter.

    skipped: a folder that is not searched.
    """
    for path in photos:
        if not path.is_dir():
            yield Found(path, Path(path.name))
            continue
        name = Path() if len(photos) == 1 else Path(path.resolve().name)
        n_found = 0
        for found in _photos_in(path, name, skipped):
            n_found += 1
            yield found
        if not n_found:
            yield Found(path, name, "no pictures in this folder")


def _photos_in(folder: Path, name: Path, skipped: Path | None) -> Iterator[Found]:
    """The pictures in a folder and its subfolders; hidden files and folders are left out."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        yield Found(folder, name, f"cannot be listed: {error.strerror or error}")
        return
    for entry_name, is_folder in listed:
        if entry_name.startswith("."):
            continue
        path = folder / entry_name
        if is_folder:
            if skipped is None or path.resolve() != skipped:
                yield from _photos_in(path, name / entry_name, skipped)
        elif is_picture(path):
            yield Found(path, name / entry_name)
