"""Arrays, tables and files as the bytes of .npy, .npz, zip, gzip and tar files."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import numpy as np


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    return zip_of({f"{name}.npy": npy(array) for name, array in arrays.items()})


def packings(name: str, text: str) -> dict[str, bytes]:
    """The text as a file, in a .gz and in a .zip."""
    return {
        "csv": text.encode(),
        "gz": gzip.compress(text.encode(), mtime=0),
        "zip": zip_of({f"data/{name}": text.encode()}),
    }


TAR_FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tar_of(members: dict[str, bytes], kind: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=TAR_FORMATS[kind]) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()
