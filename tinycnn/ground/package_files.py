"""Reads the files of a package wherever it is: in a folder, a zip file, or a frozen program."""

from __future__ import annotations

from importlib import resources


def package_text(package: str, name: str) -> str:
    """The text of a file (UTF-8) in a package.  Raises OSError if it was not installed."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def package_bytes(package: str, name: str) -> bytes:
    """The content of a file in a package.  Raises OSError if it was not installed."""
    return resources.files(package).joinpath(name).read_bytes()


def source_files(package: str) -> list[tuple[str, bytes]]:
    """(name, content) of each Python file of a package, subpackages excluded, in order of names.

    Raises FileNotFoundError if it was installed without its sources.
    """
    files = resources.files(package).iterdir()
    found = sorted((file.name, file.read_bytes()) for file in files if file.name.endswith(".py"))
    if not found:
        raise FileNotFoundError(f"{package}: installed without its Python files")
    return found
