"""Names in lists and archives: they stay below their folder, whatever system they were made for."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

_DRIVE = re.compile(r"[A-Za-z]:")


def leaves_folder(name: str) -> bool:
    """Whether a name, by its text alone, could mean a place outside its folder: "..", absolute, a
    drive letter, a NUL byte. Backslashes count as slashes."""
    place = PurePosixPath(name.replace("\\", "/"))
    return place.is_absolute() or ".." in place.parts or "\0" in name or bool(_DRIVE.match(name))


class Below:
    """Tells whether files below a folder are still there once links are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = os.path.realpath(folder)
        self._is_inside: dict[str, bool] = {}

    def has(self, place: str) -> bool:
        """place: relative, with forward slashes. A folder on the way is looked at once."""
        above, _, _ = place.rpartition("/")
        if above not in self._is_inside:
            self._is_inside[above] = self._resolves_inside(self.folder / above)
        path = self.folder / place
        return self._is_inside[above] and (not path.is_symlink() or self._resolves_inside(path))

    def _resolves_inside(self, path: Path) -> bool:
        found = os.path.realpath(path)
        return os.path.commonpath([self._root, found]) == self._root
