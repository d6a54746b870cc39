"""The batches of a training run, as its options say."""

from __future__ import annotations

from typing import Protocol

from ferdata.augment import Augmentation
from ferdata.batches import Batches
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.mixing import Mixing

BATCHES_VERSION = 1
"""Raised, on purpose, by whoever changes which batches, or which training, validation and test
images, the same data set and options give.  The keys of a sweep's data depend on it."""


class BatchOptions(Protocol):
    """The options that decide what batches look like; `tinycnn.run.TrainingOptions` has them.

    has_teacher      whether the batches have soft labels
    flipped_teacher  mirrored images get the teacher's soft labels for mirror images
    input_px         the side of the images that the network takes
    augment_strength see `Augmentation.of_strength`;  mixup, cutmix  see `Mixing`
    """

    @property
    def seed(self) -> int: ...
    @property
    def input_px(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def augment(self) -> bool: ...
    @property
    def augment_strength(self) -> float: ...
    @property
    def mixup(self) -> float: ...
    @property
    def cutmix(self) -> float: ...
    @property
    def has_teacher(self) -> bool: ...
    @property
    def flipped_teacher(self) -> bool: ...


def make_batches(
    faces: FaceDataset,
    options: BatchOptions,
    *,
    targets: str = "labels",
    n_threads: int = 1,
) -> Batches:
    """Batches of `faces`.  targets, n_threads: see `Batches`.

    Raises DataError if there is a teacher but no soft labels, or flipped_teacher but no soft labels
    for mirror images, and what `Batches` raises.
    """
    if options.has_teacher and faces.soft_labels is None:
        raise DataError("training with a teacher needs soft labels; this data set has none")
    flipped = options.has_teacher and options.flipped_teacher
    if flipped and faces.flipped_soft_labels is None:
        raise DataError("flipped_teacher: this teacher has no answers for mirror images")
    if not flipped:
        faces = faces.with_soft_labels(faces.soft_labels if options.has_teacher else None)
    return Batches(
        faces,
        batch_size=options.batch_size,
        size_px=options.input_px,
        augment=Augmentation.of_strength(options.augment_strength) if options.augment else None,
        mix=Mixing(options.mixup, options.cutmix),
        seed=options.seed,
        targets=targets,
        n_threads=n_threads,
    )
