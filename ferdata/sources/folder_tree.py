"""Lists the folders and files of a data set: sorted, with limits, and safe from link cycles."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ferdata.errors import DataError

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp", ".gif")
)
MAX_ENTRIES = 2_000_000
"""Most files and folders in one data set. With more, the path is probably a mistake."""

_SEARCH_DEPTH = 4  # the deepest known layout is B_OriginalImg/B_OriginalImg/OriginalImg/VL
_MAX_SEARCHED = 5000  # folders
_IGNORED_NAMES = {"thumbs.db", "desktop.ini", "__macosx"}
# Folders of one person or one sequence (S005, P001, 003). No data set starts in one of these, and
# there are hundreds of them, so they are not searched.
_PERSON_OR_SEQUENCE = re.compile(r"[SP]?\d{1,4}", re.IGNORECASE)


class Scan(NamedTuple):
    """The names in one folder, sorted, without hidden files and those of the operating system."""

    folders: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def images(self) -> tuple[str, ...]:
        return tuple(f for f in self.files if is_image(f))


class Tree:
    """A folder with everything inside it.

    A `relpath` is a path relative to the root, with forward slashes; "" is the root itself. Each
    folder is read once and remembered. Links are followed. Raises DataError for a root that is
    not a folder, a folder that cannot be read, a broken link, a link to another folder of the
    same tree, a name that is not UTF-8, and for more than MAX_ENTRIES files and folders.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not os.path.isdir(self.root):
            found = os.path.exists(self.root)
            raise DataError(f"{self.root}: {'not a folder' if found else 'not found'}")
        self._scans: dict[str, Scan] = {}
        self._n_entries = 0
        self._searched: tuple[str, ...] | None = None

    def path(self, relpath: str) -> Path:
        return self.root / relpath if relpath else self.root

    def name(self, relpath: str) -> str:
        """The last part of the path; for "" the name of the root folder."""
        return relpath.rpartition("/")[2] or self.root.resolve().name

    def scan(self, relpath: str = "") -> Scan:
        """The names in one folder."""
        if relpath not in self._scans:
            self._scans[relpath] = self._read(relpath)
        return self._scans[relpath]

    def folders(
        self, relpath: str, named: re.Pattern[str] | None = None, expected: str = ""
    ) -> Iterator[tuple[str, str]]:
        """(name, relpath) of each folder inside one folder. Raises DataError for a name that does
        not match `named` (in words: `expected`)."""
        for name in self.scan(relpath).folders:
            inner = join(relpath, name)
            if named is not None and not named.fullmatch(name):
                raise DataError(f"{self.path(inner)}: unexpected folder, expected {expected}")
            yield name, inner

    def match(self, relpath: str, pattern: re.Pattern[str], example: str) -> re.Match[str]:
        """`pattern` matched with the last part of the path; DataError if it does not match."""
        match = pattern.fullmatch(self.name(relpath))
        if match is None:
            raise DataError(f"{self.path(relpath)}: expected a name such as {example}")
        return match

    def find(self, wanted: Callable[[str], bool]) -> list[str]:
        """Relpaths of the folders whose names are `wanted`, in the root and four levels below it.

        Folders of one person or one sequence (S005, P001, 003) are left out, with all inside them.
        """
        return [relpath for relpath in self._search() if wanted(self.name(relpath))]

    def only(self, found: Sequence[str], expected: str, where: str = "") -> str:
        """The only one of these relpaths. Raises DataError, saying what was `expected` at the
        relpath `where`, if there are none or several."""
        if len(found) != 1:
            listed = ", ".join(str(self.path(relpath)) for relpath in found) or "none"
            raise DataError(f"{self.path(where)}: expected {expected}, found {listed}")
        return found[0]

    def _search(self) -> tuple[str, ...]:
        """Relpaths of all folders that `find` looks at."""
        if self._searched is None:
            found, level = [""], [""]
            for depth in range(1, _SEARCH_DEPTH + 1):
                level = [
                    relpath
                    for parent in level
                    for name, relpath in self.folders(parent)
                    if not _PERSON_OR_SEQUENCE.fullmatch(name)
                ]
                found += level
                if len(found) > _MAX_SEARCHED:
                    raise DataError(
                        f"{self.root}: more than {_MAX_SEARCHED} folders in its first {depth} "
                        f"levels; give the path of the data set's own folder"
                    )
            self._searched = tuple(found)
        return self._searched

    def _read(self, relpath: str) -> Scan:
        folder = self.path(relpath)
        folders, files = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._n_entries += 1
                    if self._n_entries > MAX_ENTRIES:
                        raise DataError(
                            f"{self.root}: more than {MAX_ENTRIES} files and folders; give the "
                            f"path of the data set's own folder"
                        )
                    if entry.name.startswith(".") or entry.name.lower() in _IGNORED_NAMES:
                        continue
                    _check_name(entry.name, folder)
                    if entry.is_dir():
                        if entry.is_symlink():
                            _check_link(self.root, folder, Path(entry.path))
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
                    elif is_image(entry.name) or entry.is_symlink():
                        raise DataError(f"{entry.path}: a broken link, or not a regular file")
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
        return Scan(tuple(sorted(folders)), tuple(sorted(files)))


def join(relpath: str, name: str) -> str:
    return f"{relpath}/{name}" if relpath else name


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _check_name(name: str, folder: Path) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise DataError(f"{folder}: the name {shown!r} in it is not UTF-8; rename it") from None


def _check_link(root: Path, folder: Path, link: Path) -> None:
    inside, target = folder.resolve(), link.resolve()
    if target == inside or target in inside.parents:
        raise DataError(f"{link}: a link to {target}, a folder that contains it; remove the link")
    if root.resolve() in target.parents:  # each image would be listed twice, or without end
        raise DataError(f"{link}: a link to {target}, a folder of the same data set; remove it")
