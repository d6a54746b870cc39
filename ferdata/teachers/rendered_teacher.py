"""Loads the shipped teacher of the built-in faces: its logits for the default training set.

`ferdata/teachers/README.md` has the command that made the file. The file holds the hash of the
images that the teacher saw, because its logits must not be used for any others.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.teachers.soft_labels import align_soft_labels, load_soft_labels


def load_rendered_teacher(train: FaceDataset) -> np.ndarray:
    """float32 (N, K): the shipped teacher's logits for `train`, in its row and class order.

    train: the whole split "train" of `default_faces()`. Raises DataError if its images are not
    those that the teacher saw.
    """
    with resources.as_file(resources.files("ferdata") / "teachers" / "rendered.npz") as path:
        if not path.is_file():
            raise DataError(f"{path}: the shipped teacher is missing; install ferdata again")
        soft = load_soft_labels(path)
        with np.load(path, allow_pickle=False) as file:
            expected = str(file["images_sha256"])
        found = train.content_hash()
        if found != expected:
            raise DataError(
                f"{path}: made from images with sha256 {expected[:16]}..., but these have "
                f"{found[:16]}...: the built-in faces are not the ones that this teacher saw; the "
                "README.md beside the file says how it was made"
            )
        return align_soft_labels(soft, train)[0]
