"""The images of a sweep's trials: a training, a validation and a test part for each trial.

The parts share no image. With folds by subject they share no person either. The test part is one
side of a fold, and the validation part is taken from the other side: what is chosen on it (an
epoch, a temperature) is chosen without looking at the test part.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ferdata.arguments import checked_option
from ferdata.batches import TARGETS, Batches
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.training.batch_options import BATCHES_VERSION, BatchOptions, make_batches
from ferdata.training.training_faces import fold_of, split_off
from ferdata.warp import resize_images
from tinycnn.ground.messages import short_repr

PROTOCOLS = ("own-split", "subject", "random")


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images to measure a network on: uint8 (n, size_px, size_px), labels int64 (n,), targets
    float32 (n, K), or None if the loss is computed from the labels."""

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None

    __repr__ = short_repr


@dataclass(frozen=True, eq=False)
class TrialParts:
    """batches to train on, validation to choose on, and test to report; test may be None."""

    batches: Batches
    validation: HeldOut
    test: HeldOut | None


class TrialOptions(BatchOptions, Protocol):
    """fold: number of the fold to measure on, from 0; None with protocol "own-split"."""

    @property
    def fold(self) -> int | None: ...


@dataclass(frozen=True, eq=False)
class TrialFaces:
    """A data set and how it is divided; `parts` returns the images of one trial.

    dataset   must have labels; soft labels for trials with a teacher, subjects for "subject"
    targets   what the loss compares with, besides a teacher: "labels", or "distribution", the data
              set's targets. Unlabelled images are never in the validation or test part
    protocol  "own-split"  the data set's splits. If there is no split "validation", a tenth of
                           "train" is used, no subject being in both if subjects are known
              "subject"    n_folds folds by subject; no subject is in two parts
              "random"     n_folds random folds, and a random validation part. People are in all
                           parts, so the scores say little about other people; the paper reports
                           such scores too
    n_folds, seed  of the folds; a trial has another seed of its own. The validation part is about
                   as large as a test part

    It is sent to worker processes. Raises DataError if the data set cannot be divided in this way,
    ValueError for settings out of range.
    """

    dataset: FaceDataset
    targets: str = "labels"
    protocol: str = "own-split"
    n_folds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        checked_option("protocol", self.protocol, PROTOCOLS)
        checked_option("targets", self.targets, TARGETS)
        if self.dataset.labels is None:
            raise DataError("this dataset has no labels")
        if self.targets == "distribution" and self.dataset.targets is None:
            raise DataError("targets='distribution': this dataset has no distribution")
        if self.protocol == "own-split":
            self.dataset.in_split("train")  # raises DataError if it is empty
        self._rows(None if self.protocol == "own-split" else 0)  # raises if it cannot be divided

    def __getstate__(self) -> dict[str, Any]:
        """Only the fields: the receiver computes `key` again, from the data that has arrived."""
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
        """sha256 of everything that decides what a trial sees: every array of the data set but ids
        and rows, the classes, the settings, and BATCHES_VERSION."""
        n_folds = None if self.protocol == "own-split" else self.n_folds
        settings = (self.targets, self.protocol, n_folds, self.seed, self.classes)
        digest = hashlib.sha256(f"{settings}\n{BATCHES_VERSION}\n".encode())
        for f in fields(self.dataset):
            array = getattr(self.dataset, f.name)
            if isinstance(array, np.ndarray) and f.name not in ("ids", "rows"):
                if array.dtype.kind == "U":  # whose bytes depend on the longest string
                    array = np.frombuffer("\n".join(array.tolist()).encode(), np.uint8)
                digest.update(f"{f.name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def parts(self, options: TrialOptions, n_threads: int = 1) -> TrialParts:
        """The images of one trial.  options: such as a `tinycnn.sweep.Trial`; n_threads: see
        `Batches`.  The result does not depend on it.

        Raises DataError for a fold that does not exist, a missing teacher, or an empty part.
        """
        train, validation, test = self._rows(options.fold)
        batches = make_batches(
            self.dataset.select(train),
            options,
            targets=self.targets,
            n_threads=n_threads,
        )
        px = options.input_px
        return TrialParts(
            batches,
            self._held_out(validation, px),
            None if test is None else self._held_out(test, px),
        )

    def _rows(self, fold: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Row numbers of the training, validation and test part."""
        dataset = self.dataset
        labelled = np.ones(len(dataset), bool) if dataset.has_label is None else dataset.has_label
        usable = labelled if self.targets == "labels" else np.ones(len(dataset), bool)
        if self.protocol == "own-split":
            if fold is not None:
                raise DataError(f"fold {fold}: the data set's own split has no folds")
            train, validation, test = map(dataset.rows_of_split, ("train", "validation", "test"))
            train, test = train[usable[train]], test[labelled[test]]
            if not len(validation):
                train, validation = split_off(dataset, train, self.seed)
            return train, validation[labelled[validation]], test if len(test) else None
        if fold is None or not 0 <= fold < self.n_folds:
            raise DataError(f"fold {fold}: expected 0 to {self.n_folds - 1}")
        by_subject = self.protocol == "subject"
        rows = np.flatnonzero(usable)
        rest, test = fold_of(dataset, rows, self.n_folds, self.seed, fold, by_subject)
        n_inner, seed = max(self.n_folds - 1, 2), self.seed + 1 + fold
        train, validation = fold_of(dataset, rest, n_inner, seed, 0, by_subject)
        return train, validation[labelled[validation]], test[labelled[test]]

    def _held_out(self, rows: np.ndarray, size_px: int) -> HeldOut:
        faces = self.dataset.select(rows)
        if not len(faces) or faces.labels is None:
            raise DataError("no labelled images in the validation or test part")
        images = faces.images
        if images.shape[1:] != (size_px, size_px):
            images = resize_images(images, size_px)
        return HeldOut(
            images, faces.labels, faces.targets if self.targets == "distribution" else None
        )


def with_soft_labels_of_train(
    dataset: FaceDataset, values: np.ndarray, flipped: np.ndarray | None = None
) -> FaceDataset:
    """The data set with soft labels for its split "train" only, for protocol "own-split".

    values   float32 (n, K), in the order of `dataset.in_split("train")`
    flipped  the same for the mirror images

    The soft labels of the other splits are set to 0; they are never read. Raises DataError for
    another number of rows.
    """
    rows = dataset.rows_of_split("train")

    def spread(given: np.ndarray) -> np.ndarray:
        if len(given) != len(rows):
            raise DataError(f"soft labels for {len(given)} of {len(rows)} training images")
        all_values = np.zeros((len(dataset), given.shape[1]), np.float32)
        all_values[rows] = given
        return all_values

    return dataset.with_soft_labels(spread(values), None if flipped is None else spread(flipped))
