"""The faces of a sweep's trials: what each one trains on, chooses its epoch on, is measured on.

Three parts that share no image. By subject, they share no person either: the test part is a fold,
the validation part are other people inside the fold's training part, so that whatever is chosen
(an epoch, a temperature) is chosen without a look at those who are measured on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ferdata.augment import Augmentation
from ferdata.batches import Batches
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.mixing import Mixing
from ferdata.training_faces import fold_of, split_off
from ferdata.warp import resize_images

PROTOCOLS = ("own-split", "subject", "random")
_DECIDING = ("augment", "batches", "dataset", "folds", "mixing", "training_faces")
_DECIDING += ("trial_faces", "warp")
"""The modules that stand between a data set and what a network sees."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images to score on: uint8 (n, size_px, size_px), labels int64 (n,), targets float32 (n, K) or
    None where the labels say it all."""

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None


@dataclass(frozen=True, eq=False)
class TrialParts:
    """batches to train on; validation to choose on; test to report, None where there is none."""

    batches: Batches
    validation: HeldOut
    test: HeldOut | None


@dataclass(frozen=True, eq=False)
class TrialFaces:
    """A data set and the way it is divided; `parts` gives a trial its faces.

    dataset   with labels, soft labels for trials with a teacher, subjects for protocol "subject"
    targets   what the hard part of a loss is measured against: "labels", or "distribution", the
              data set's targets. Only rows with a label of their own are scored on
    protocol  "own-split"  the data set's splits. Without a split "validation" a tenth of "train",
                           other people where subjects are known, stands in for it; a split "test"
                           is measured on where there is one
              "subject"    n_folds folds by subject; nobody stands in two parts
              "random"     n_folds random folds, the validation part is random too: people stand in
                           all parts, which is the paper's other way and says little of strangers
    n_folds, seed  of the folds, which have nothing to do with a trial's own seed. The validation
                   part is about as large as a test part

    It travels to worker processes. Raises DataError where the data set cannot be divided so,
    ValueError for settings out of range.
    """

    dataset: FaceDataset
    targets: str = "labels"
    size_px: int = 84
    protocol: str = "own-split"
    n_folds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            expected = ", ".join(PROTOCOLS)
            raise ValueError(f"protocol: expected one of {expected}, found {self.protocol!r}")
        if self.targets not in ("labels", "distribution"):
            raise ValueError(
                f"targets: expected 'labels' or 'distribution', found {self.targets!r}"
            )
        if self.dataset.labels is None:
            raise DataError("this dataset has no labels")
        if self.targets == "distribution" and self.dataset.targets is None:
            raise DataError("targets='distribution': this dataset has no distribution")
        if self.protocol == "own-split":
            self.dataset.in_split("train")  # raises without it
        elif self.protocol == "subject" and self.dataset.subjects is None:
            raise DataError("no subjects in this data set: only random folds can divide it")
        self._rows(None if self.protocol == "own-split" else 0)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: whoever receives this computes the key of what has arrived."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.dataset.classes

    @property
    def has_teacher(self) -> bool:
        return self.dataset.soft_labels is not None

    @cached_property
    def key(self) -> str:
        """sha256 of all that decides what a trial sees: every array of the data set but ids and
        rows, the classes, the settings, and the source of the modules that make batches of them."""
        n_folds = None if self.protocol == "own-split" else self.n_folds
        settings = (self.targets, self.size_px, self.protocol, n_folds, self.seed, self.classes)
        digest = hashlib.sha256(f"{settings}\n{_code_hash()}\n".encode())
        for f in fields(self.dataset):
            array = getattr(self.dataset, f.name)
            if isinstance(array, np.ndarray) and f.name not in ("ids", "rows"):
                if array.dtype.kind == "U":  # its width depends on the longest string
                    array = np.frombuffer("\n".join(array.tolist()).encode(), np.uint8)
                digest.update(f"{f.name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def parts(
        self,
        *,
        fold: int | None,
        seed: int,
        batch_size: int,
        augment: bool,
        with_teacher: bool,
        augment_strength: float = 1.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        flipped_teacher: bool = False,
        n_threads: int = 1,
    ) -> TrialParts:
        """A trial's faces.

        fold          number of the fold to measure on, from 0; None with protocol "own-split"
        seed          of the order of the images and of their augmentation
        augment_strength  see `Augmentation.of_strength`;  mixup, cutmix: see `Mixing`
        with_teacher  batches carry soft labels; flipped_teacher: those of the mirror image where
                      an image is mirrored
        The same arguments give the same faces, whatever n_threads.
        Raises DataError for a fold that there is not, a missing teacher, or an empty part.
        """
        if with_teacher and not self.has_teacher:
            raise DataError("a trial with a teacher needs soft labels; this data set has none")
        train, validation, test = self._rows(fold)
        faces = self.dataset.select(train)
        if flipped_teacher and with_teacher and faces.flipped_soft_labels is None:
            raise DataError("flipped_teacher: this teacher has no answers for mirror images")
        if not (flipped_teacher and with_teacher):
            faces = faces.with_soft_labels(faces.soft_labels if with_teacher else None)
        batches = Batches(
            faces,
            batch_size=batch_size,
            size_px=self.size_px,
            augment=Augmentation.of_strength(augment_strength) if augment else None,
            mix=Mixing(mixup, cutmix),
            seed=seed,
            targets=self.targets,
            n_threads=n_threads,
        )
        measured_on = None if test is None else self._held_out(test)
        return TrialParts(batches, self._held_out(validation), measured_on)

    def _rows(self, fold: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Row numbers of the training, validation and test part."""
        dataset = self.dataset
        labelled = np.ones(len(dataset), bool) if dataset.has_label is None else dataset.has_label
        usable = labelled if self.targets == "labels" else np.ones(len(dataset), bool)
        if self.protocol == "own-split":
            if fold is not None:
                raise DataError(f"fold {fold}: the data set's own split has no folds")
            train = np.flatnonzero((dataset.split == "train") & usable)
            validation = np.flatnonzero((dataset.split == "validation") & labelled)
            test = np.flatnonzero((dataset.split == "test") & labelled)
            if "validation" not in dataset.split:
                train, validation = split_off(dataset, train, self.seed)
            return train, validation[labelled[validation]], test if len(test) else None
        if fold is None or not 0 <= fold < self.n_folds:
            raise DataError(f"fold {fold}: expected 0 to {self.n_folds - 1}")
        by_subject = self.protocol == "subject"
        rows = np.flatnonzero(usable)
        around, test = fold_of(dataset, rows, self.n_folds, self.seed, fold, by_subject)
        n_inner, seed = max(self.n_folds - 1, 2), self.seed + 1 + fold
        train, validation = fold_of(dataset, around, n_inner, seed, 0, by_subject)
        return train, validation[labelled[validation]], test[labelled[test]]

    def _held_out(self, rows: np.ndarray) -> HeldOut:
        if not len(rows):
            raise DataError("no labelled images in a part that is to be scored on")
        faces = self.dataset.select(rows)
        images = faces.images
        if images.shape[1:] != (self.size_px, self.size_px):
            images = resize_images(images, self.size_px)
        return HeldOut(
            images, faces.labels, faces.targets if self.targets == "distribution" else None
        )


def with_soft_labels_of_train(
    dataset: FaceDataset, values: np.ndarray, flipped: np.ndarray | None = None
) -> FaceDataset:
    """The data set with soft labels for the rows of its split "train" alone, for "own-split".

    values: float32 (n of them, K), in the order of `dataset.in_split("train")`; flipped: as values,
    for the mirror images. A teacher need not answer for rows that are never trained on; theirs are
    0, and never read. Raises DataError for another number of rows.
    """
    rows = np.flatnonzero(dataset.split == "train")

    def spread(given: np.ndarray) -> np.ndarray:
        if len(given) != len(rows):
            raise DataError(f"soft labels for {len(given)} of {len(rows)} training images")
        all_values = np.zeros((len(dataset), given.shape[1]), np.float32)
        all_values[rows] = given
        return all_values

    return dataset.with_soft_labels(spread(values), None if flipped is None else spread(flipped))


def _code_hash() -> str:
    here, digest = Path(__file__).resolve().parent, hashlib.sha256()
    for name in _DECIDING:
        content = (here / f"{name}.py").read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
