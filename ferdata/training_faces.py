"""What a network is trained on: any data set that ferdata.open reads, with a validation part."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ferdata import dataset_loading
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.folds import check_split, random_folds, subject_folds
from ferdata.labels import MICROEXPNET8
from ferdata.sources import fer2013_folders

_N_SPLIT_OFF = 10


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """dataset; targets: what is trained against, "labels" or "distribution"; framing: how its faces
    were cut (a name of FRAMINGS), None where the data set does not say it."""

    dataset: FaceDataset
    targets: str
    framing: str | None


def open_training_faces(
    path: str | os.PathLike[str],
    *,
    votes: str | os.PathLike[str] | None = None,
    target: str = "labels",
    on_missing: str = "error",
    progress: Callable[[int, int], None] | None = None,
) -> TrainingFaces:
    """Whatever ferdata.open recognises at `path`, with labels or distributions to train against.

    votes, target  FER+'s votes for FER2013's csv, and what is made of them, as load_fer2013 takes
                   them; classes are then those of MICROEXPNET8
    on_missing     what to do with photos without a face, as ferdata.load_faces takes it

    Images without a label are left out, unless they have a distribution. Raises what ferdata.open
    raises, and DataError for votes beside any other data set, or no labels at all.
    """
    if dataset_loading.is_packed(path):
        source = "a packed data set"
    else:
        source = dataset_loading.recognise(path).source
    if source == dataset_loading.FER2013_CSV:
        options = {"votes": votes, "target": target} if votes else {}
        dataset = dataset_loading.open(path, source, progress=progress, **options)
        if votes:
            dataset = dataset.to_label_space(MICROEXPNET8)
        targets = "distribution" if votes and target == "votes" else "labels"
        return TrainingFaces(dataset, targets, "fer2013")
    if votes:
        raise DataError(f"{path}: votes belong to FER2013's csv, and this is {source}")
    if source in dataset_loading.SOURCES:
        files = dataset_loading.list_files(path, source)
        dataset = dataset_loading.load_listed(files, on_missing=on_missing, progress=progress)
        framing = "fer2013" if source == fer2013_folders.NAME else files.framing
    else:
        dataset, framing = dataset_loading.open(path), None
    if dataset.labels is None:
        raise DataError(f"{path}: no labels to train against")
    dataset = dataset.labelled()
    if not len(dataset):
        raise DataError(f"{path}: none of its images has a label")
    return TrainingFaces(dataset, "labels", framing)


def with_validation(dataset: FaceDataset, seed: int = 0) -> tuple[FaceDataset, str]:
    """(data set, what was done): with splits "train" and "validation", and "" if it had them.

    Without a validation part a tenth of "train", or of everything where there is no split, becomes
    it: other people where subjects are known, images at random where not. Raises DataError for a
    data set with splits of which none is "train", or that is too small.
    """
    if dataset.split is None:
        dataset = replace(dataset, split=np.full(len(dataset), "train", "<U10"))
    dataset.in_split("train")  # raises without it
    if "validation" in dataset.split:
        return dataset, ""
    rows = np.flatnonzero(dataset.split == "train")
    train, validation = split_off(dataset, rows, seed)
    split = dataset.split.astype("<U10")
    split[validation] = "validation"
    told = f"no validation part in this data set: {len(validation):,} images of train are it"
    if _knows_people(dataset):
        n = len(set(dataset.subjects[validation].tolist()))
        told += f", all those of {n} {'person' if n == 1 else 'people'}"
    return replace(dataset, split=split), told


def split_off(dataset: FaceDataset, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(nine tenths, a tenth) of these rows: other people where subjects are known."""
    by_subject = _knows_people(dataset)
    most = len(np.unique(dataset.subjects[rows])) if by_subject else len(rows)
    return fold_of(dataset, rows, max(min(_N_SPLIT_OFF, most), 2), seed, 0, by_subject)


def fold_of(
    dataset: FaceDataset, rows: np.ndarray, n: int, seed: int, which: int, by_subject: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of these rows (those of all but one fold, those of the which-th of n folds)."""
    if by_subject:
        subjects, labels = dataset.subjects[rows], dataset.labels[rows]
        if dataset.has_label is not None:
            labels = np.where(dataset.has_label[rows], labels, -1)
        fold = subject_folds(subjects, labels, n, seed)[which]
        check_split(subjects, fold)
    else:
        fold = random_folds(len(rows), n, seed)[which]
    return rows[fold.train], rows[fold.validation]


def _knows_people(dataset: FaceDataset) -> bool:
    return dataset.subjects is not None
