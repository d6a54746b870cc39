"""Lists the folders and files of a data set: sorted, with limits, and safe from link cycles."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ferdata.errors import DataError
from ferdata.photos.picture_formats import has_picture_suffix, is_picture
from ferdata.unread_files import UnreadFiles, is_document, is_ignored
from tinycnn.ground.file_names import without_case

MAX_ENTRIES = 2_000_000
"""Most files and folders in one data set. With more, the path is probably a mistake."""

_SEARCH_DEPTH = 4  # the deepest known layout is B_OriginalImg/B_OriginalImg/OriginalImg/VL
_MAX_SEARCHED = 5000  # folders
# Folders of one person or one sequence (S005, P001, 003). No data set starts in one of these, and
# there are hundreds of them, so they are not searched.
_PERSON_OR_SEQUENCE = re.compile(r"[SP]?\d{1,4}", re.IGNORECASE)


@dataclass(frozen=True)
class Scan:
    """The names in one folder, sorted, without hidden files and those of the operating system.

    special  names of pipes, sockets and devices
    """

    path: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]
    special: tuple[str, ...] = ()

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The files with the suffix of a picture, and those that begin like one."""
        return tuple(f for f in self.files if is_picture(self.path / f))


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
        return relpath.rpartition("/")[2] or self._root_name

    @cached_property
    def _root_name(self) -> str:
        return self.root.resolve().name

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
        folders, files, special = [], [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._n_entries += 1
                    if self._n_entries > MAX_ENTRIES:
                        raise DataError(
                            f"{self.root}: more than {MAX_ENTRIES} files and folders; give the "
                            f"path of the data set's own folder"
                        )
                    if is_ignored(entry.name):
                        continue
                    _check_name(entry.name, folder)
                    if entry.is_dir():
                        if entry.is_symlink():
                            _check_link(self.root, folder, Path(entry.path))
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
                    elif has_picture_suffix(entry.name) or entry.is_symlink():
                        raise DataError(f"{entry.path}: a broken link, or not a regular file")
                    else:
                        special.append(entry.name)
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
        return Scan(folder, *(tuple(sorted(names)) for names in (folders, files, special)))


def join(relpath: str, name: str) -> str:
    return f"{relpath}/{name}" if relpath else name


def find_unread(
    root: Path,
    read: Iterable[str],
    label_files: Iterable[str] = (),
    left_out: Mapping[str, Iterable[str]] | None = None,
) -> UnreadFiles:
    """The files below `root` that are neither `read` (images) nor `label_files`.

    left_out  {reason: relpaths of files and folders that a source leaves out on purpose}; a folder
              stands for all that it holds and that is not read

    A folder that cannot be searched is noted in the result, and is no error here.
    """
    used = {*read, *label_files}
    reasons = {path: reason for reason, paths in (left_out or {}).items() for path in paths}
    counts = dict.fromkeys(left_out or {}, 0)
    pictures: list[str] = []
    documents: list[str] = []
    others: list[str] = []
    unsearched: list[str] = []
    if not os.path.isdir(root):  # the images are reported when they are read
        return UnreadFiles()
    named: dict[str, str] = {}

    def is_used_by_another_name(path: str) -> bool:
        if not named:
            named.update((without_case(other), other) for other in used)
        other = named.get(without_case(path))
        with contextlib.suppress(OSError):
            return other is not None and os.path.samefile(root / other, root / path)
        return False

    tree, folders = Tree(root), [("", reasons.get(""))]
    while folders:
        folder, reason_of_folder = folders.pop()
        try:
            scan = tree.scan(folder)
        except DataError as error:
            unsearched.append(str(error))
            continue
        inner = [join(folder, name) for name in reversed(scan.folders)]
        folders += [(path, reasons.get(path, reason_of_folder)) for path in inner]
        for name in (*scan.files, *scan.special):
            path = join(folder, name)
            if path in used or is_used_by_another_name(path):
                continue
            if (reason := reasons.get(path, reason_of_folder)) is not None:
                counts[reason] += 1
            elif is_picture(scan.path / name):
                pictures.append(path)
            else:
                (documents if is_document(name) else others).append(path)
    return UnreadFiles(
        root,
        tuple(pictures),
        tuple(documents),
        tuple(others),
        tuple(unsearched),
        {reason: n for reason, n in counts.items() if n},
    )


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
