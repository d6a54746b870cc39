"""The faces of a sweep: divided by the data set's own split, or in folds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

import ferdata

from ..ground.command_line import CannotError
from ..ground.printing import print_message
from ..models.face_networks import FACE_NETWORKS, MICROEXPNET
from .data_options import DataOptions, load_teachers, open_faces
from .dataset_notes import notes_on

N_FOLDS = 10
"""How many, if the data set has no split of its own."""


def load_source(
    args: DataOptions,
    folds: int | None = None,
    split: str | None = None,
    networks: Iterable[str] = (MICROEXPNET,),
) -> ferdata.TrialFaces:
    """The faces of the trials, with soft labels for the training images if there is a teacher.

    folds  their number; None: the data set's own split, or N_FOLDS folds if it has none
    split  "subject", the default, or "random": how people are divided into folds
    networks  of the trials: faces are cut out of photos as the one with the largest images needs
              them; the batches of the others are made of these
    Raises CannotError if the data do not say who is shown, and what ferdata raises.
    """
    faces = open_faces(args, max(FACE_NETWORKS[name].input_px for name in networks))
    dataset, targets = faces.dataset, faces.targets
    _tell(notes_on(dataset))
    has_split = dataset.split is not None and bool((dataset.split == "train").any())
    if folds or not has_split:
        protocol = split or "subject"
        if protocol == "subject" and dataset.subjects is None:
            raise CannotError(
                "folds by subject need to know who is shown, and this data set does not say; use "
                "--split random, with the same people in several folds"
            )
        if args.data is None:  # their teacher has soft labels for the training images only
            dataset = dataset.in_split("train")
            dataset = dataset.with_soft_labels(*_soft_labels_of(args, dataset))
        elif args.teacher:
            dataset = dataset.with_soft_labels(*_soft_labels_of(args, dataset))
        if args.rows:
            dataset = dataset.select(np.arange(min(args.rows, len(dataset))))
        return ferdata.TrialFaces(dataset, targets, protocol=protocol, n_folds=folds or N_FOLDS)
    if args.data is None or args.teacher:
        # imported here: it loads most of ferdata, which other commands do not need
        from ferdata.training.trial_faces import with_soft_labels_of_train

        values = _soft_labels_of(args, dataset.in_split("train"))
        dataset = with_soft_labels_of_train(dataset, *values)
    if args.rows:
        train = np.flatnonzero(dataset.split == "train")
        others = np.flatnonzero(dataset.split != "train")
        dataset = dataset.select(np.sort(np.r_[train[: args.rows], others]))
    return ferdata.TrialFaces(dataset, targets)


def _soft_labels_of(
    args: DataOptions, rows: ferdata.FaceDataset
) -> tuple[np.ndarray, np.ndarray | None]:
    """The teacher's soft labels for the images, and for their mirror images (None if it has
    none)."""
    if args.teacher is None:
        return ferdata.load_rendered_teacher(rows), None
    values, flipped, notes = load_teachers(args, rows)
    _tell(notes)
    return values, flipped


def _tell(notes: list[str]) -> None:
    for note in notes:
        print_message(f"note: {note}")
