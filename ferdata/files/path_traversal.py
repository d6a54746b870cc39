"""Guards against path traversal: a file name from a list or an archive must stay in its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from tinycnn.ground.file_names import lies_in

_DRIVE = re.compile(r"[A-Za-z]:")


def leaves_folder(name: str) -> bool:
    """Whether a file name could lead out of its folder, on any system: by "..", an absolute path, a
    drive letter or a NUL byte. Backslashes count as slashes; blanks around ".." do not count, as
    on Windows. For links see `SymlinkCheck`."""
    path = PurePosixPath(name.replace("\\", "/"))
    leads_up = any(part.strip() == ".." for part in path.parts)
    return path.is_absolute() or leads_up or "\0" in name or bool(_DRIVE.match(name))


class SymlinkCheck:
    """Whether files of a folder are still inside it after symbolic links are resolved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._root = os.path.realpath(folder)
        self._is_inside: dict[str, bool] = {}  # for each subfolder seen so far

    def is_inside(self, path: str) -> bool:
        """path: relative to the folder, with forward slashes. Each subfolder is resolved once."""
        parent, _, _ = path.rpartition("/")
        if parent not in self._is_inside:
            self._is_inside[parent] = self._resolves_inside(self.folder / parent)
        file = self.folder / path
        return self._is_inside[parent] and (not file.is_symlink() or self._resolves_inside(file))

    def _resolves_inside(self, path: Path) -> bool:
        return lies_in(os.path.realpath(path), self._root)
