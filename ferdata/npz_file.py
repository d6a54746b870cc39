"""Arrays from an .npz that may be broken or hostile: checked before memory is taken for them."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ferdata.errors import DataError
from ferdata.regular_file import refuse_pipes
from ferdata.zip_file import open_zip
from tinycnn.ground.messages import in_short

MAX_BYTES = 4 << 30
"""All arrays of one file together, unpacked. What says that it is more is refused unread."""

# Images and answers do not shrink to a hundredth; a zip bomb shrinks to a thousandth.
_MAX_RATIO, _SMALL_BYTES = 100, 64 << 20
_LAST_CODE_POINT, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)


def read_npz(
    path: Path, names: Collection[str] | None, others: bool = True
) -> dict[str, np.ndarray]:
    """name -> array, for those of `names` that the file has (None: all); others are not read.

    others  whether there may be others

    Raises DataError, naming the file: not found, no npz, damaged (CRC-32), an array of Python
    objects (never unpickled), arrays of more than MAX_BYTES or out of a far smaller file, or of
    another length than their shape says, an array twice, text that is not Unicode.
    """
    refuse_pipes(path)
    try:
        with open(path, "rb") as raw, open_zip(raw) as archive:
            members = [
                m
                for m in archive.infolist()
                if names is None or m.filename.removesuffix(".npy") in names
            ]
            _check_names(archive, {m.filename for m in members}, members, others)
            total = sum(m.file_size for m in members)
            n_bytes = path.stat().st_size
            most = min(MAX_BYTES, max(_SMALL_BYTES, _MAX_RATIO * n_bytes))
            if total > most:
                raise DataError(
                    f"{path}: no readable .npz file (arrays of {total:,} bytes in a file of "
                    f"{n_bytes:,}; at most {most:,} are read)"
                )
            return {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except Exception as error:  # damage shows up as a dozen kinds of exception
        raise DataError(f"{path}: no readable .npz file ({in_short(error)})") from None


def _check_names(
    archive: zipfile.ZipFile, wanted: set[str], members: list[zipfile.ZipInfo], others: bool
) -> None:
    """Every name once, and none beside those wanted unless there may be `others`."""
    names = [m.filename.removesuffix(".npy") for m in members]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice[0]} stands in it twice")
    unknown = [] if others else [n for n in archive.namelist() if n not in wanted]
    if unknown:
        raise ValueError(f"{unknown[0][:40]!r} in it is not known")


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
    if dtype.kind == "U":
        codes = np.frombuffer(content, dtype=f"{dtype.byteorder}u4")
        surrogate = (codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1])
        if surrogate.any() or (codes > _LAST_CODE_POINT).any():
            raise ValueError(f"{member.filename} is not Unicode text")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")
