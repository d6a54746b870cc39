"""Arrays from an .npz that may be broken or hostile: checked before memory is taken for them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ferdata.errors import DataError

MAX_BYTES = 4 << 30
"""All arrays of one file together, unpacked. What says that it is more is refused unread."""


def read_npz(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """name -> array, for those of `names` that the file has; others are not read.

    Raises DataError, naming the file: not found, no npz, damaged (CRC-32), an array of Python
    objects (never unpickled), arrays of more than MAX_BYTES, or of another length
    than their shape says.
    """
    try:
        with open(path, "rb") as raw, zipfile.ZipFile(raw) as archive:
            members = [m for m in archive.infolist() if m.filename.removesuffix(".npy") in names]
            total = sum(m.file_size for m in members)
            if total > MAX_BYTES:
                raise DataError(
                    f"{path}: no readable .npz file (arrays of {total:,} bytes in a file of "
                    f"{path.stat().st_size:,}; at most {MAX_BYTES:,} are read)"
                )
            return {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (
        *(OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error, MemoryError, OverflowError, SyntaxError, TypeError),
    ) as error:
        what = str(error) or type(error).__name__
        raise DataError(f"{path}: no readable .npz file ({what})") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of one member. Its header must ask for exactly what is there."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{member.filename} has format version {version}")
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, expected plain numbers")
        n_bytes = dtype.itemsize
        for n in shape:
            n_bytes *= n
        if n_bytes != member.file_size - file.tell() or any(n < 0 for n in shape):
            raise ValueError(f"{member.filename} is not as long as its shape {shape} says")
        content = file.read()  # to the end: only there the CRC-32 is checked
    if not n_bytes:
        return np.zeros(shape if 0 in shape else 0, dtype)
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")
