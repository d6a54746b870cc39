"""Load any data set for training, and split off a validation part if it has none."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ferdata.class_choice import Classes
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.folds import check_split, random_folds, subject_folds, subjects_and_labels
from ferdata.labels import MICROEXPNET8
from ferdata.sources import dataset_loading, fer2013_folders, ferplus_folders

_N_SPLIT_OFF = 10


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """A data set with labels; targets: what to train against, "labels" or "distribution"; framing:
    how its faces were cropped, one of FRAMINGS, or None if that is unknown."""

    dataset: FaceDataset
    targets: str
    framing: str | None


def open_training_faces(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    classes: Classes | None = None,
    votes: str | os.PathLike[str] | None = None,
    target: str = "labels",
    framing: str | None = dataset_loading.DEFAULT,
    on_missing: str = "error",
    size_px: int = dataset_loading.SIZE_PX,
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> TrainingFaces:
    """Load the data set at `path` with labels or distributions.

    votes, target  FER+'s votes for FER2013's csv, and how they become labels: see load_fer2013. The
                   classes are then those of MICROEXPNET8. The folders that FER+'s program writes
                   hold their votes: `target` says how these become labels, and "labels" is
                   "plurality"

    The other arguments are those of `ferdata.open`.

    Images without a label are left out, unless they have a distribution. Raises what ferdata.open
    raises, DataError for votes with another data set than FER2013, or if there are no labels, and
    ValueError for a target other than "labels" where there are no votes.
    """
    is_packed = source is None and dataset_loading.is_packed(path)
    if source is None and not is_packed:
        source = dataset_loading.identify(path, source, classes, options).source
    cutting: dict[str, Any] = dict(
        framing=framing, on_missing=on_missing, size_px=size_px, n_workers=n_workers
    )
    has_votes = source == ferplus_folders.NAME or bool(votes)
    if not has_votes:  # with votes, the classes are chosen from those of MICROEXPNET8
        options["classes"] = classes
    if source == dataset_loading.FER2013_CSV:
        if votes or target != "labels":
            options |= {"votes": votes, "target": target}  # refused if there are no votes
        dataset = dataset_loading.open(path, source, progress=progress, **cutting, **options)
        if votes:
            dataset = _of_microexpnet8(dataset, classes)
        targets = "distribution" if votes and target == "votes" else "labels"
        return TrainingFaces(dataset, targets, "fer2013")
    found = source or "a packed data set"
    if votes:
        raise DataError(f"{path}: votes belong to FER2013's csv, and this is {found}")
    if target != "labels":
        if not has_votes:
            raise ValueError(f"target={target!r} needs votes, and {found} has none")
        options["target"] = target
    if is_packed:
        dataset, framing = dataset_loading.open(path, **cutting, **options), None
    else:
        files = dataset_loading.list_files(path, source, **options)
        dataset = dataset_loading.load_listed(files, progress=progress, **cutting)
        if framing == dataset_loading.DEFAULT:
            is_fer2013 = source in (fer2013_folders.NAME, ferplus_folders.NAME)
            framing = "fer2013" if is_fer2013 else files.framing
    if has_votes:
        dataset = _of_microexpnet8(dataset, classes)
        if target == "votes":
            return TrainingFaces(dataset, "distribution", framing)
    if dataset.labels is None:
        raise DataError(f"{path}: no labels to train against")
    dataset = dataset.labelled()
    if not len(dataset):
        raise DataError(f"{path}: none of its images has a label")
    return TrainingFaces(dataset, "labels", framing)


def _of_microexpnet8(dataset: FaceDataset, classes: Classes | None) -> FaceDataset:
    """The data set with the classes of MICROEXPNET8, or those that are chosen from them."""
    dataset = dataset.to_label_space(MICROEXPNET8)
    return dataset if classes is None else dataset.with_classes(classes)


def with_validation(dataset: FaceDataset, seed: int = 0) -> tuple[FaceDataset, str]:
    """(the data set with splits "train" and "validation", a sentence that says what was done).

    If it has both already, it is returned as it is, with "". Else a tenth of "train" becomes the
    validation part, or a tenth of all images if there are no splits. If subjects are known, no
    subject is in both parts; if not, the images are chosen at random. Raises DataError if there are
    splits but no "train", or too few images.
    """
    split = dataset.split
    if split is None:
        split = np.full(len(dataset), "train", "<U10")
        dataset = replace(dataset, split=split)
    dataset.in_split("train")  # raises DataError if it is empty
    if "validation" in split:
        return dataset, ""
    _, validation = split_off(dataset, dataset.rows_of_split("train"), seed)
    split = split.astype("<U10")
    split[validation] = "validation"
    told = (
        f"no validation part in this data set: {len(validation):,} images of train are used for it"
    )
    if dataset.subjects is not None:
        n = len(set(dataset.subjects[validation].tolist()))
        told += f", all those of {n} {'person' if n == 1 else 'people'}"
    return replace(dataset, split=split), told


def split_off(dataset: FaceDataset, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(nine tenths, one tenth) of these rows; if subjects are known, none is in both."""
    subjects = dataset.subjects
    most = len(rows) if subjects is None else len(np.unique(subjects[rows]))
    n_folds = max(min(_N_SPLIT_OFF, most), 2)
    return fold_of(dataset, rows, n_folds, seed, 0, by_subject=subjects is not None)


def fold_of(
    dataset: FaceDataset, rows: np.ndarray, n_folds: int, seed: int, fold: int, by_subject: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(training rows, validation rows) of one of n_folds folds of these rows."""
    if by_subject:
        subjects, labels = subjects_and_labels(dataset)
        subjects, labels = subjects[rows], None if labels is None else labels[rows]
        sides = subject_folds(subjects, labels, n_folds, seed)[fold]
        check_split(subjects, sides)
    else:
        sides = random_folds(len(rows), n_folds, seed)[fold]
    return rows[sides.train], rows[sides.validation]
