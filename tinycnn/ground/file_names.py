"""File names, as every system understands them: drives, capital letters, and accents."""

from __future__ import annotations

import os
import unicodedata


def relative_name(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """`path` relative to `folder`, with forward slashes.  If they are on different drives of
    Windows, there is no such name: the absolute path."""
    try:
        found = os.path.relpath(path, folder)
    except ValueError:
        found = os.path.abspath(path)
    return found.replace(os.sep, "/")


def lies_in(path: str, folder: str) -> bool:
    """Whether `path` is the folder or below it.  Both are absolute, and their links followed."""
    try:
        return os.path.commonpath([folder, path]) == folder
    except ValueError:  # on another drive
        return False


def composed(name: str) -> str:
    """The name with each accented letter as one character (Unicode NFC).  Older systems of Apple
    write a letter and its accent as two, which looks the same."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def without_case(name: str) -> str:
    """A text that is the same for names that Windows or macOS may take for the same file: capital
    letters do not count, nor how accents are written."""
    return name.lower() if name.isascii() else composed(composed(name).casefold())
