"""Cross-validation folds: by subject, with one subject left out, or at random.

A network that has seen a person's face scores better on that person's other images, and in
sequences such as CK+ neighbouring frames are almost the same picture. For an honest score, all
images of a subject must therefore be on the same side of a fold: either trained on or measured on.
Random folds ignore this; the paper reports them too. Only `random_folds` makes them, and
`check_split` and `split_by` refuse a fold with a subject on both sides, unless that is allowed
explicitly.

The folds depend only on the arguments: the same seed gives the same folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ferdata.arguments import check_whole_numbers
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from tinycnn.ground.masked_arrays import refuse_masked, unmasked
from tinycnn.ground.messages import short_repr

_N_SHOWN = 5
_LEAST_GAIN = 1e-12  # a smaller gain may be a rounding error, and the search might never end


class Fold(NamedTuple):
    """int64 indices (n,) of the images to train on and of those to measure on, each ascending."""

    train: np.ndarray
    validation: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def subject_folds(
    data: FaceDataset | np.ndarray | Sequence[str],
    labels: np.ndarray | None = None,
    n_folds: int = 10,
    seed: int = 0,
) -> list[Fold]:
    """Folds in which no subject is on both sides, with the classes balanced as well as possible.

    data    a FaceDataset with subjects, or the subjects (N,): strings or whole numbers
    labels  ints (N,), the classes to balance; None: the data set's labels, with unlabelled images
            as one more class. Without any labels only the numbers of images are balanced

    Each image is measured in exactly one fold. The subjects are shuffled by the seed, sorted by
    their number of images, and dealt to the folds in turn. Then single subjects are moved, and
    pairs swapped, as long as that brings the folds closer to equal shares of every class.
    For folds inside a fold's training part, pass `dataset.select(fold.train)`; the indices of the
    result then count within that part.

    Raises DataError without subjects or with fewer of them than folds, ValueError for n_folds below
    2 or a negative seed.
    """
    subjects, labels = subjects_and_labels(data, labels)
    check_whole_numbers(2, n_folds=n_folds)
    check_whole_numbers(0, seed=seed)
    names, subject_of = np.unique(subjects, return_inverse=True)
    if len(names) < n_folds:
        raise DataError(f"{n_folds} folds by subject need as many subjects, found {len(names)}")
    shares = _class_shares(subject_of.reshape(-1), labels, len(names))
    fold_of = _dealt(shares, n_folds, np.random.default_rng(seed))
    return list(_folds(fold_of[subject_of.reshape(-1)], n_folds))


def leave_one_subject_out(data: FaceDataset | np.ndarray | Sequence[str]) -> Iterator[Fold]:
    """One fold for each subject, in the order of their names: that subject is measured on.

    `data` is as in `subject_folds`. Raises DataError for fewer than two subjects.
    """
    subjects, _ = subjects_and_labels(data)
    names, subject_of = np.unique(subjects, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"leaving one subject out needs two or more, found {len(names)}")
    return _folds(subject_of.reshape(-1), len(names))


def random_folds(data: FaceDataset | int, n_folds: int = 10, seed: int = 0) -> list[Fold]:
    """Folds of images shuffled without regard to subjects; their sizes differ by at most 1.

    data: a data set or a number of images. If people have several images, most of them are on both
    sides, and the score says little about faces that the network has not seen. `split_by` accepts
    such a fold only with shared_subjects=True.
    Raises DataError for fewer images than folds, ValueError for n_folds below 2 or a negative seed.
    """
    n = data if isinstance(data, (int, np.integer)) else len(data)
    check_whole_numbers(2, n_folds=n_folds)
    check_whole_numbers(0, seed=seed)
    if n < n_folds:
        raise DataError(f"{n_folds} folds need as many images, found {n}")
    fold_of = np.empty(n, dtype=np.int64)
    fold_of[np.random.default_rng(seed).permutation(n)] = np.arange(n) % n_folds
    return list(_folds(fold_of, n_folds))


def check_split(data: FaceDataset | np.ndarray | Sequence[str], fold: Fold) -> None:
    """Raise DataError if a subject or an image is on both sides of a fold, and name it.

    `data` is as in `subject_folds`; without subjects only the images are checked.
    """
    subjects = data.subjects if isinstance(data, FaceDataset) else unmasked("subjects", data)
    refuse_masked("fold.train", fold.train)
    refuse_masked("fold.validation", fold.validation)
    both = np.intersect1d(fold.train, fold.validation)
    if both.size:
        raise DataError(f"{both.size} images are on both sides; the first is number {both[0]}")
    if subjects is not None:
        _refuse(np.intersect1d(subjects[fold.train], subjects[fold.validation]).tolist())


def split_by(
    dataset: FaceDataset, fold: Fold, *, shared_subjects: bool = False
) -> tuple[FaceDataset, FaceDataset]:
    """(train, validation): the images of the two sides of a fold.

    Raises DataError if an image is on both sides, or a subject is (see `check_split`).
    shared_subjects: allow subjects on both sides, as in `random_folds`.
    """
    check_split(np.arange(len(dataset)) if shared_subjects else dataset, fold)
    return dataset.select(fold.train), dataset.select(fold.validation)


def shared_subjects(dataset: FaceDataset) -> list[str]:
    """The subjects that are in more than one of the data set's own splits, sorted."""
    if dataset.subjects is None or dataset.split is None:
        return []
    names, subject_of = np.unique(dataset.subjects, return_inverse=True)
    parts, part_of = np.unique(dataset.split, return_inverse=True)
    seen = np.zeros((len(names), len(parts)), dtype=bool)
    seen[subject_of.reshape(-1), part_of.reshape(-1)] = True
    return names[seen.sum(axis=1) > 1].tolist()


def refuse_shared_subjects(dataset: FaceDataset) -> None:
    """Raise DataError if a subject is in more than one of the data set's own splits."""
    _refuse(shared_subjects(dataset))


def _refuse(names: list[str] | list[int]) -> None:
    if names:
        shown = ", ".join(str(name) for name in names[:_N_SHOWN])
        shown += f" and {len(names) - _N_SHOWN} more" if len(names) > _N_SHOWN else ""
        raise DataError(
            f"{len(names)} subject{'s' * (len(names) > 1)} on both sides of the split: {shown}; "
            "use subject_folds, or allow shared subjects"
        )


def subjects_and_labels(
    data: FaceDataset | np.ndarray | Sequence[str], labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(subjects (N,), labels (N,) or None) of the arguments of `subject_folds`, checked. The labels
    of a data set's unlabelled images are -1."""
    if isinstance(data, FaceDataset):
        if data.subjects is None:
            raise DataError("no subjects in this data set: only random_folds can divide it")
        subjects = data.subjects
        if labels is None:
            labels = data.known_labels
    else:
        subjects = unmasked("subjects", data)
        if subjects.ndim != 1 or (subjects.dtype.kind not in "Uiu" and subjects.size):
            raise DataError(
                f"subjects: expected strings or whole numbers of shape (N,), found "
                f"{subjects.dtype} {subjects.shape}"
            )
    if labels is not None:
        labels = unmasked("labels", labels)
        if labels.shape != subjects.shape or labels.dtype.kind not in "iu":
            raise DataError(
                f"labels: expected {len(subjects)} integers, one for each image, found "
                f"{labels.dtype} {labels.shape}"
            )
    return subjects, labels


def _class_shares(subject_of: np.ndarray, labels: np.ndarray | None, n: int) -> np.ndarray:
    """float64 (n subjects, K + 1): which share of each class's images, and of all images in the
    last column, shows the subject.

    Counted in shares, a rare class weighs as much as a frequent one. The last column keeps the
    folds equally large, and makes sure that no subject's row is all 0.
    """
    if labels is None:
        labels = np.zeros_like(subject_of)
    classes, class_of = np.unique(labels, return_inverse=True)
    counts = np.zeros((n, len(classes) + 1))
    np.add.at(counts, (subject_of, class_of.reshape(-1)), 1)
    counts[:, -1] = counts.sum(axis=1)
    return counts / counts.sum(axis=0)


def _dealt(
    shares: np.ndarray, n_folds: int, rng: np.random.Generator, n_rounds: int = 3
) -> np.ndarray:
    """A fold for each subject, int64 (n subjects,), that makes J small: the sum of share^2 over all
    folds and classes.

    The shares of a class add up to 1 over the folds, so J is least if each fold has 1 / n_folds.
    """
    order = rng.permutation(len(shares))
    order = order[np.argsort(-shares[order, -1], kind="stable")]
    fold_of = np.empty(len(shares), dtype=np.int64)
    fold_of[order] = np.arange(len(shares)) % n_folds
    folds = np.zeros((n_folds, shares.shape[1]))
    np.add.at(folds, fold_of, shares)
    for _ in range(n_rounds):
        if not sum(_improved(shares, fold_of, folds, s) for s in order):
            break
    return fold_of


def _improved(shares: np.ndarray, fold_of: np.ndarray, folds: np.ndarray, s: int) -> bool:
    """Move subject s to another fold, or swap it with one there, if that lowers J; in place.

    Swapping s (in fold a) and t (in fold b) changes J by 2 d.(b - a + d) with d = s - t; a move is
    a swap with a row of zeros. The change is never negative for a = b, nor if s would leave an
    empty fold behind.
    """
    here, mine = fold_of[s], shares[s]
    d = mine - shares
    swap = (d * (folds[fold_of] - folds[here] + d)).sum(axis=1)
    move = (mine * (folds - folds[here] + mine)).sum(axis=1)
    t, f = int(swap.argmin()), int(move.argmin())
    if min(swap[t], move[f]) > -_LEAST_GAIN:
        return False
    if swap[t] < move[f]:
        f, mine, fold_of[t] = int(fold_of[t]), d[t], here
    fold_of[s] = f
    folds[here] -= mine
    folds[f] += mine
    return True


def _folds(fold_of: np.ndarray, n_folds: int) -> Iterator[Fold]:
    for f in range(n_folds):
        yield Fold(np.flatnonzero(fold_of != f), np.flatnonzero(fold_of == f))
