"""The faces of a training run: training images with a teacher's soft labels, validation images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

import ferdata

from ..ground.command_line import CannotError
from ..run import TrainingData, TrainingOptions
from ..run.class_weights import check_class_names
from ..train import Validation
from .data_options import DataOptions, load_teachers, open_faces
from .dataset_notes import notes_on


@dataclass(frozen=True)
class Faces:
    """train       with soft labels if there is a teacher
    validation  with labels, of the size that the network takes
    targets     of the hard part of the loss: "labels" or "distribution"
    hashes      name -> sha256 of each array that the results depend on, as it is used
    notes       sentences for the user and the report
    framing     how the faces were cut out of their photos, None if that is not known
    """

    train: ferdata.FaceDataset
    validation: ferdata.FaceDataset
    targets: str
    hashes: dict[str, str]
    notes: list[str]
    framing: str | None

    @property
    def has_teacher(self) -> bool:
        return self.train.soft_labels is not None

    @property
    def ids(self) -> list[str]:
        """Names of the validation images."""
        return self.validation.ids.tolist()

    def held_out(self) -> Validation:
        faces = self.validation
        assert faces.labels is not None, "load_faces returns labelled faces"
        targets = faces.targets if self.targets == "distribution" else None
        return Validation(faces.images, faces.labels, targets)

    def training_data(self, options: TrainingOptions, n_threads: int) -> TrainingData:
        """Batches as the options say, and the validation images.  The batches are made on n_threads
        threads; they do not depend on their number."""
        batches = ferdata.make_batches(
            self.train, options, targets=self.targets, n_threads=n_threads
        )
        return TrainingData(batches, self.train.classes, self.held_out(), self.framing)


def load_faces(args: DataOptions, options: TrainingOptions) -> Faces:
    """Open the data set and the teacher's soft labels, and split off a validation part if there is
    none.  Raises CannotError for a missing teacher, and what ferdata raises."""
    size_px = options.input_px
    faces = open_faces(args, size_px)
    targets = faces.targets
    dataset, note = ferdata.with_validation(faces.dataset)
    ferdata.refuse_shared_subjects(dataset)
    train = dataset.in_split("train")
    validation = dataset.in_split("validation").labelled()
    try:
        check_class_names(options.class_weights, train.classes)
    except ValueError as error:
        raise CannotError(f"--class-weights {error}") from None
    notes = notes_on(dataset) + ([note] if note else [])
    if args.teacher and options.has_teacher:
        values, flipped, told = load_teachers(args, train)
        if options.flipped_teacher and flipped is None:
            raise CannotError(
                f"--flipped-teacher: {' '.join(args.teacher)}: no soft labels for mirror images"
            )
        train = train.with_soft_labels(values, flipped if options.flipped_teacher else None)
        notes += told
    elif args.data is None and options.has_teacher:
        train = train.with_soft_labels(ferdata.load_rendered_teacher(train))
    if args.rows:
        train = train.select(np.arange(min(args.rows, len(train))))
    hashes = {}
    for name, part in (("training", train), ("validation", validation)):
        hashes[f"{name} images"] = part.content_hash()
        truth = part.labels if targets == "labels" else part.targets
        assert truth is not None
        hashes[f"{name} {targets}"] = _sha256(truth)
    if train.soft_labels is not None:
        hashes["soft labels"] = _sha256(train.soft_labels)
    if train.flipped_soft_labels is not None:
        hashes["soft labels of mirror images"] = _sha256(train.flipped_soft_labels)
    if validation.images.shape[1:] != (size_px, size_px):
        images = ferdata.resize_images(validation.images, size_px)
        validation = replace(validation, images=images)
    return Faces(train, validation, targets, hashes, notes, faces.framing)


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()
