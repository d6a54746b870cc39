"""Only the images of some classes of a data set whose classes have names of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ferdata.class_choice import LEFT_OUT, Classes, class_choice
from ferdata.errors import DataError
from ferdata.labels import mapped_distributions, mapped_labels
from ferdata.sources.face_files import FaceFiles


def with_classes(files: FaceFiles, classes: Classes) -> FaceFiles:
    """The files of these classes, under these names, in this order: see ferdata.class_choice.

    Images of other classes are left out and counted in `notes` and `unread`; targets lose the
    columns of other classes and are divided by what is left. Raises LabelError for a class that the
    data set does not have, DataError if no image is left.
    """
    space = files.label_space
    chosen = class_choice(classes).among(space.classes, f"{files.root}: {files.source}")
    name_map = chosen.map_from(space)
    known = files.labels if files.has_label is None else files.labels[files.has_label]
    per_class = np.bincount(known, minlength=len(space)).tolist()
    labels, kept = mapped_labels(files.labels, files.has_label, name_map)
    targets = None
    if files.targets is not None:
        targets, has_targets = mapped_distributions(files.targets, name_map)
        kept = kept & has_targets
    if not kept.any():
        raise DataError(f"{files.root}: no images of {', '.join(chosen.space.classes)}")
    n_left_out = int((~kept).sum())
    unread = files.unread
    if n_left_out:
        unread = replace(unread, left_out={**unread.left_out, LEFT_OUT: n_left_out})

    def of(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[kept]

    def names(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(value for value, is_kept in zip(values, kept) if is_kept)

    return replace(
        files,
        label_space=chosen.space,
        paths=names(files.paths),
        ids=None if files.ids is None else names(files.ids),
        labels=labels[kept],
        targets=of(targets),
        has_label=of(files.has_label),
        subjects=of(files.subjects),
        split=of(files.split),
        rows=of(files.rows),
        boxes=of(files.boxes),
        unread=unread,
        extra={},
        published={},
        notes=(*files.notes, *chosen.notes(dict(zip(space.classes, per_class)))),
    )
