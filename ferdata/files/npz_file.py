"""Reading and writing .npz files. One that is damaged or malicious is refused before it takes
memory."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from ferdata.files.npy_file import read_array
from ferdata.files.regular_file import named_errors
from ferdata.files.zip_file import open_zip
from tinycnn.ground.atomic_file import write_atomically

MAX_BYTES = 4 << 30
"""Of all arrays of one file together, uncompressed. A file that claims more is not read."""

# Larger arrays than _SMALL_BYTES may be at most _MAX_RATIO times as large as their file. Images and
# soft labels compress less than that; a zip bomb is compressed to a thousandth.
_MAX_RATIO, _SMALL_BYTES = 100, 64 << 20


def read_npz(
    path: Path, names: Collection[str] | None, others: bool = True
) -> dict[str, np.ndarray]:
    """name -> array, for those of `names` that the file has; None: for every array in it.

    others  whether the file may hold other arrays, which are then not read

    Raises DataError, naming the file, if it is not found, no .npz, or damaged (CRC-32), or if an
    array holds Python objects (they are never unpickled), is not as long as its shape says, occurs
    twice, or is not Unicode text; or if the arrays are larger than MAX_BYTES, or far larger than
    the file.
    """
    problem = "no readable .npz file"
    with named_errors(path, problem), open(path, "rb") as raw, open_zip(raw) as archive:
        members = _members(archive, names, others)
        total = sum(member.file_size for member in members.values())
        n_bytes = path.stat().st_size
        most = min(MAX_BYTES, max(_SMALL_BYTES, _MAX_RATIO * n_bytes))
        if total > most:
            raise ValueError(
                f"arrays of {total:,} bytes in a file of {n_bytes:,}; at most {most:,} are read"
            )
        return {name: _array(archive, member) for name, member in members.items()}


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed .npz, completely or not at all. Raises OSError if that fails."""
    savez: Callable[..., None] = np.savez  # its declared type takes `arrays` for its other options
    write_atomically(path, lambda file: savez(file, **arrays))


def _members(
    archive: zipfile.ZipFile, names: Collection[str] | None, others: bool
) -> dict[str, zipfile.ZipInfo]:
    """name -> member, for the arguments of `read_npz`. Raises ValueError if a name occurs twice, or
    if there are others although `others` is False."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if names is None or name in names:
            if name in members:
                raise ValueError(f"the array {name} is in it twice")
            members[name] = member
        elif not others:
            raise ValueError(f"unknown array {member.filename[:40]!r}")
    return members


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of one member, whose header must ask for exactly the bytes that are there."""
    with archive.open(member) as file:
        return read_array(file, member.file_size, member.filename)
