"""A folder as the sources look at it: sorted, bounded, without links that go round in circles."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ferdata.errors import DataError

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp", ".gif")
)
MAX_ENTRIES = 2_000_000
"""Files and folders looked at in one data set; more is a mistake in the path, or no face data."""

_SEARCH_DEPTH = 4  # B_OriginalImg/B_OriginalImg/OriginalImg/VL is the deepest layout seen
_MAX_SEARCHED = 5000  # folders
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}
# People and sequences: hundreds of folders in which no data set begins.
_LEAF = re.compile(r"[SP]?\d{1,4}", re.IGNORECASE)


class Scan(NamedTuple):
    """What stands in one folder, by name, sorted; junk of operating systems left out."""

    folders: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(f for f in self.files if is_image(f))


class Tree:
    """A folder. Places in it are relative paths with forward slashes; "" is the folder itself.

    Each folder is read once. Links are followed. Raises DataError for a root that is no folder, a
    folder that cannot be read, a link that leads nowhere or to another of its folders, a name
    that is not UTF-8, and after MAX_ENTRIES entries.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not os.path.isdir(self.root):
            found = os.path.exists(self.root)
            raise DataError(f"{self.root}: {'no folder' if found else 'not found'}")
        self._scans: dict[str, Scan] = {}
        self._n_entries = 0
        self._searched: tuple[str, ...] | None = None

    def path(self, place: str) -> Path:
        return self.root / place if place else self.root

    def name(self, place: str) -> str:
        """The folder's own name, that of the root included."""
        return place.rpartition("/")[2] or self.root.resolve().name

    def scan(self, place: str = "") -> Scan:
        if place not in self._scans:
            self._scans[place] = self._read(place)
        return self._scans[place]

    def folders(self, place: str = "") -> Iterator[tuple[str, str]]:
        """(name, place) of the folders in a folder."""
        return ((name, join(place, name)) for name in self.scan(place).folders)

    def find(self, wanted: Callable[[str], bool]) -> list[str]:
        """Places of the folders, at most four below the root, whose name is wanted; root included.

        Folders of people and sequences (S005, P001, 003) are not searched.
        """
        return [place for place in self._search() if wanted(self.name(place))]

    def _search(self) -> tuple[str, ...]:
        if self._searched is None:
            found, level = [""], [""]
            for depth in range(1, _SEARCH_DEPTH + 1):
                level = [p for above in level for name, p in self.folders(above) if _searched(name)]
                found += level
                if len(found) > _MAX_SEARCHED:
                    raise DataError(
                        f"{self.root}: more than {_MAX_SEARCHED} folders in its first {depth} "
                        f"levels; point at the data set's own folder"
                    )
            self._searched = tuple(found)
        return self._searched

    def _read(self, place: str) -> Scan:
        folder = self.path(place)
        folders, files = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._n_entries += 1
                    if self._n_entries > MAX_ENTRIES:
                        raise DataError(
                            f"{self.root}: more than {MAX_ENTRIES} files and folders; point at the "
                            f"data set's own folder"
                        )
                    if entry.name.startswith(".") or entry.name.lower() in _JUNK:
                        continue
                    self._check_name(entry.name, folder)
                    if entry.is_dir():
                        if entry.is_symlink():
                            _check_link(self.root, folder, Path(entry.path))
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
                    elif is_image(entry.name) or entry.is_symlink():
                        raise DataError(
                            f"{entry.path}: a link that leads nowhere, or no plain file"
                        )
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
        return Scan(tuple(sorted(folders)), tuple(sorted(files)))

    @staticmethod
    def _check_name(name: str, folder: Path) -> None:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            raise DataError(f"{folder}: the name {shown!r} in it is not UTF-8; rename it") from None


def join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _searched(name: str) -> bool:
    return not _LEAF.fullmatch(name)


def _check_link(root: Path, folder: Path, link: Path) -> None:
    inside, target = folder.resolve(), link.resolve()
    if target == inside or target in inside.parents:
        raise DataError(f"{link}: a link back to {target}, the folder it stands in; remove it")
    if root.resolve() in target.parents:  # two labels for one image, or links in a ring
        raise DataError(f"{link}: a link to {target}, which is in the data set already; remove it")
