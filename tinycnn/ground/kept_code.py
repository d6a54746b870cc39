"""Notes in a program's cache folder which compiled code it holds.

Numba knows which code its cache has, but importing Numba takes a quarter of a second.  A note is a
file beside the code.  It is only a hint: code that is missing after all is compiled when it is
needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .atomic_file import write_atomically
from .cache_folder import cache_folder_of, why_not_kept, why_not_trusted
from .package_files import source_files

_SETTINGS = ("TINYCNN_TILE", "TINYCNN_WINOGRAD", "NUMBA_")
"""Compiled code depends on environment variables that begin so."""

_CPU_LINES = ("model name", "flags", "Features", "CPU part")
"""The lines of /proc/cpuinfo that compiled code depends on."""


class KeptCode(NamedTuple):
    """Code that is compiled together and kept in a cache folder.

    program   "tinycnn" or "ferdata": it is kept in that program's cache folder
    packages  the packages whose Python files it is compiled from
    name      of this code among others from the same files; a part of a file's name
    """

    program: str
    packages: tuple[str, ...]
    name: str

    def folder(self) -> Path | None:
        """The program's cache folder; None if there is none."""
        try:
            return cache_folder_of(self.program).absolute()
        except (RuntimeError, OSError):  # no home folder; the current folder has been removed
            return None

    def can_be_kept(self) -> bool:
        folder = self.folder()
        return folder is not None and not why_not_kept(folder)

    def is_kept(self) -> bool:
        """Whether the cache has this code, from the present files and for this processor."""
        note = self._note()
        if note is None or why_not_trusted(note.parent):
            return False
        try:
            return (note.parent / note.read_text(encoding="utf-8")).is_dir()
        except (OSError, ValueError):
            return False

    def note(self, place: Path) -> None:
        """Note that `place`, a folder in the cache folder, holds this code."""
        note = self._note()
        if note is None or self.is_kept() or not self.can_be_kept():
            return
        if not os.path.isdir(place):  # Path.is_dir would raise OSError for a name that is too long
            return
        with contextlib.suppress(OSError):  # the disk is full: the next process finds no note
            write_atomically(note, place.name, private=True)

    def _note(self) -> Path | None:
        folder, settings = self.folder(), _settings()
        try:
            stamp = _stamp(self.packages, settings)
        except OSError:  # installed without its Python files
            return None
        return None if folder is None else folder / f"{self.name}-{stamp}.kept"


def _settings() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(_SETTINGS)))


@lru_cache
def _stamp(packages: tuple[str, ...], settings: tuple[tuple[str, str], ...]) -> str:
    """Text that changes with everything that compiled code depends on.  Numba and llvmlite are
    represented by their place and time of installation."""
    digest = hashlib.sha256()
    for package in packages:
        for name, content in source_files(package):
            digest.update(name.encode() + b"\0" + content)
    installed = [_installed(name) for name in ("numba", "llvmlite", "numpy")]
    target = (settings, installed, sys.implementation.cache_tag, platform.machine(), _cpu())
    digest.update(repr(target).encode())
    return digest.hexdigest()[:16]


def numba_is_installed() -> bool:
    """Whether Numba can be found.  It is not imported."""
    return bool(_installed("numba")[0])


def _installed(name: str) -> tuple[str, int]:
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # it is None in sys.modules, so that it cannot be imported
        spec = None
    if spec is None or spec.origin is None:
        return "", 0
    try:
        return spec.origin, os.stat(spec.origin).st_mtime_ns
    except OSError:  # in a zip file
        return spec.origin, 0


def _cpu() -> list[str]:
    """What Linux says about the first processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read(8192).split("\n\n")[0].splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith(_CPU_LINES)]
