"""A FaceDataset in one .npz file, ready for training. The file holds these arrays:

    format       "ferdata-faces-1"
    images       uint8 (N, H, W); also `ids` and the other fields of the FaceDataset, by name
    classes      str (K,), and `label_space` (): its name; only if there is a label space
    made_of      str (K,), and `left_out` str (): the names of a LabelSpace with these fields, one
                 in a line; only if they are not empty

Any program that reads .npz can read it; there are no pickled objects. When it is loaded, it is
checked like every new FaceDataset.
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.files.npz_file import read_npz, save_npz
from ferdata.files.regular_file import refuse_pipes
from ferdata.files.zip_file import open_zip
from ferdata.labels import LabelSpace

FORMAT = "ferdata-faces-1"
_NO_ARRAYS = ("label_space", "notes", "unread")
_ARRAYS = tuple(f.name for f in fields(FaceDataset) if f.name not in _NO_ARRAYS)
_MEMBERS = (*_ARRAYS, "format", "classes", "label_space", "made_of", "left_out")


def save_packed(dataset: FaceDataset, path: str | os.PathLike[str]) -> None:
    """Write a data set to `path`, completely or not at all. Raises OSError if that fails."""
    fields_given = ((name, getattr(dataset, name)) for name in _ARRAYS)
    arrays = {name: array for name, array in fields_given if array is not None}
    arrays["format"] = np.array(FORMAT)
    if dataset.label_space is not None:
        arrays["classes"] = np.array(dataset.label_space.classes)
        arrays["label_space"] = np.array(dataset.label_space.name)
        if dataset.label_space.made_of:
            arrays["made_of"] = np.array(
                ["\n".join(names) for names in dataset.label_space.made_of]
            )
        if dataset.label_space.left_out:
            arrays["left_out"] = np.array("\n".join(dataset.label_space.left_out))
    save_npz(Path(path), arrays)


def load_packed(path: str | os.PathLike[str]) -> FaceDataset:
    """Read a file written by `save_packed`. Raises DataError, naming it, for any other file."""
    path = Path(path)
    arrays: dict[str, Any] = {**read_npz(path, _MEMBERS, others=False)}
    found = str(arrays.pop("format", ""))
    if found != FORMAT:
        raise DataError(
            f"{path}: not a packed data set: `format` is {found[:40]!r}, expected {FORMAT!r}"
        )
    missing = [name for name in ("images", "ids") if name not in arrays]
    if missing:
        raise DataError(f"{path}: has no `{missing[0]}`")
    of_space = {
        key: arrays.pop(key, None) for key in ("classes", "label_space", "made_of", "left_out")
    }
    try:
        return FaceDataset(**arrays, label_space=_label_space(**of_space))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _label_space(
    classes: np.ndarray | None,
    label_space: np.ndarray | None,
    made_of: np.ndarray | None,
    left_out: np.ndarray | None,
) -> LabelSpace | None:
    if classes is None:
        return None
    for key, names in (("classes", classes), ("made_of", made_of)):
        if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
            raise DataError(f"{key}: expected names (K,), found {names.dtype}")
    return LabelSpace(
        "" if label_space is None else str(label_space),
        tuple(classes.tolist()),
        () if made_of is None else tuple(tuple(of.split("\n")) for of in made_of.tolist()),
        () if left_out is None else tuple(str(left_out).split("\n")),
    )


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether `path` looks like a file written by `save_packed`: an .npz with its arrays.

    Raises DataError for a pipe or device, which is not opened.
    """
    refuse_pipes(path)
    try:
        with open(path, "rb") as raw, open_zip(raw) as archive:
            return {"format.npy", "images.npy", "ids.npy"} <= set(archive.namelist())
    except Exception:  # damaged files raise a dozen kinds; the reader of the file then reports it
        return False
