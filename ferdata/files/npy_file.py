"""Reads .npy files: arrays of plain numbers or text, of which no more is believed than there is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from ferdata.files.regular_file import named_errors

_HEADERS: dict[tuple[int, int], tuple[int, Callable]] = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""Format version -> bytes of the length of a header; the function that reads both."""

_LAST_CODE_POINT, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)


def read_npy(path: Path, max_bytes: int) -> np.ndarray:
    """The array in an .npy file of at most `max_bytes`.

    Raises DataError, naming the file, if it is not found, longer, no .npy file, or not as long as
    its shape says, if it holds Python objects (they are never unpickled), or is not Unicode text.
    """
    with named_errors(path, "no readable .npy file"), open(path, "rb") as file:
        n_bytes = path.stat().st_size
        if n_bytes > max_bytes:
            raise ValueError(f"{n_bytes:,} bytes; at most {max_bytes:,} are read")
        return read_array(file, n_bytes, "it")


def read_array(file: IO[bytes], n_bytes: int, name: str) -> np.ndarray:
    """The array in an open .npy file of `n_bytes`, called `name` in errors. Raises ValueError as
    `read_npy` raises DataError."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{name} has format version {version}")
    n_digits, read_header = _HEADERS[version]
    digits = file.read(n_digits)
    n_header = int.from_bytes(digits, "little")
    if n_header > n_bytes:  # NumPy would make room for it before it reads
        raise ValueError(f"{name} has {n_bytes:,} bytes, and says that {n_header:,} are its header")
    shape, fortran, dtype = read_header(io.BytesIO(digits + file.read(n_header)))
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, expected plain numbers")
    n_content = dtype.itemsize
    for n in shape:
        n_content *= n
    if n_content != n_bytes - file.tell() or any(n < 0 for n in shape):
        raise ValueError(f"{name} is not as long as its shape {shape} says")
    content = file.read()  # all of it: the CRC-32 of a zip is checked only at the end
    if not n_content:
        return np.zeros(shape if 0 in shape else 0, dtype)
    if dtype.kind == "U":
        codes = np.frombuffer(content, dtype=f"{dtype.byteorder}u4")
        surrogate = (codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1])
        if surrogate.any() or (codes > _LAST_CODE_POINT).any():
            raise ValueError(f"{name} is not Unicode text")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")
