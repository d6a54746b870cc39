"""A FaceDataset in one file, .npz: images with all that is known of them, ready to train from.

    format       "ferdata-faces-1"
    images       uint8 (N, H, W), and `ids` and the other fields of a FaceDataset by their names
    classes      str (K,), with `label_space` (): its name; for data sets with a label space

Anything that reads .npz reads it; there are no pickled objects. It is checked on reading as a
FaceDataset is on making.
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import LabelSpace
from ferdata.npz_file import read_npz
from ferdata.regular_file import refuse_pipes
from ferdata.zip_file import open_zip
from tinycnn.ground.atomic_file import write_atomically

FORMAT = "ferdata-faces-1"
_ARRAYS = tuple(f.name for f in fields(FaceDataset) if f.name != "label_space")
_MEMBERS = (*_ARRAYS, "format", "classes", "label_space")


def save_packed(dataset: FaceDataset, path: str | os.PathLike[str]) -> None:
    """Write a data set to `path`, whole or not at all. Raises OSError if it cannot be written."""
    arrays = {name: getattr(dataset, name) for name in _ARRAYS}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    arrays["format"] = np.array(FORMAT)
    if dataset.label_space is not None:
        arrays["classes"] = np.array(dataset.label_space.classes)
        arrays["label_space"] = np.array(dataset.label_space.name)
    write_atomically(path, lambda file: np.savez(file, **arrays))


def load_packed(path: str | os.PathLike[str]) -> FaceDataset:
    """The data set that `save_packed` wrote. Raises DataError, naming the file, for any other."""
    path = Path(path)
    arrays = read_npz(path, _MEMBERS, others=False)
    found = str(arrays.pop("format", ""))
    if found != FORMAT:
        raise DataError(
            f"{path}: no packed data set: `format` is {found[:40]!r}, expected {FORMAT!r}"
        )
    missing = [name for name in ("images", "ids") if name not in arrays]
    if missing:
        raise DataError(f"{path}: has no `{missing[0]}`")
    classes, name = arrays.pop("classes", None), str(arrays.pop("label_space", ""))
    try:
        if classes is not None:
            if classes.ndim != 1 or classes.dtype.kind != "U":
                raise DataError(f"classes: expected names (K,), found {classes.dtype}")
            arrays["label_space"] = LabelSpace(name, tuple(classes.tolist()))
        return FaceDataset(**arrays)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a file that `save_packed` may have written: an .npz with its members.

    Raises DataError for a pipe or device, which is not opened.
    """
    refuse_pipes(path)
    try:
        with open(path, "rb") as raw, open_zip(raw) as archive:
            return {"format.npy", "images.npy", "ids.npy"} <= set(archive.namelist())
    except Exception:  # damage shows up as a dozen kinds of exception; what reads it then says so
        return False
