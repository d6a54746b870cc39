"""Soft labels: what a teacher network, run elsewhere, says about each image.

A file is one of

    .npz  `logits` or `probabilities` (N, K) floats; which image each row is for, as one of
          `rows` (N,) int, `ids` (N,) str or `hashes` (N,) str; `classes` (K,) str.
          Optional: `logits_flipped` (or `probabilities_flipped`), of the same shape: the answers
          for the mirror images. No pickled objects.
    .csv  a header `row`, `id` or `hash`, then a column per class; one line per image. A first line
          `# logits` or `# probabilities` says which they are. Without that line they are
          probabilities if every line is a distribution, logits if there is a value below 0 or
          above 1 and no line is a distribution, and an error otherwise.

`ids` are the ids of a FaceDataset; `rows` its source file's 0-based row numbers (for FER2013 the
rows of the csv); `hashes` name an image by its pixels (`content_ids`), whatever it is called.
Entries may come in any order and may be more than the data set needs. A hash may be given again if
the answers agree: data sets have the same picture twice.

Several crops an image: `logits` (N, n_crops, K), or one entry a crop with `crop` (N,) int beside
(in a csv a second column `crop`); every image then needs the same crops, 0 to n_crops - 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.image_hashes import content_ids
from ferdata.labels import LabelMap, LabelSpace, label_map
from ferdata.regular_file import refuse_pipes
from ferdata.soft_label_checks import checked_fields, log_sum_exp
from ferdata.soft_label_files import (
    KEYS,
    KINDS,
    Parts,
    csv_parts,
    npz_parts,
    singular,
    write_csv,
    write_npz,
)

EXTRA_CLASSES = ("error", "drop", "renormalise")
CROPS = ("error", "mean", "keep")


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """A teacher's checked outputs, not yet aligned to any data set. Made by `load_soft_labels`.

    values               float32 (N, K), or (N, n_crops, K): logits, or log-probabilities with
                         probabilities below 1e-7 raised to 1e-7
    classes              K names, in the file's order
    ids / rows / hashes  (N,) str / int64 / str: one of them, the others are None; unique
    kind                 "logits" or "probabilities": what the file held
    floored_per_row      int64 (N,): how many probabilities of the row were raised
    source               the file, for messages
    flipped_values       as values, for the mirror images; None if the file has none
    """

    values: np.ndarray
    classes: tuple[str, ...]
    ids: np.ndarray | None
    rows: np.ndarray | None
    kind: str
    floored_per_row: np.ndarray
    source: str
    hashes: np.ndarray | None = None
    flipped_values: np.ndarray | None = None

    def __post_init__(self) -> None:
        given = [name for name in KEYS if getattr(self, name) is not None]
        if len(given) != 1 or len(getattr(self, given[0])) != len(self.values):
            raise DataError(
                f"{self.source}: expected as many {' or '.join(KEYS)} as the {len(self.values)} "
                "rows of values"
            )

    @property
    def key(self) -> tuple[str, np.ndarray]:
        """("ids", "rows" or "hashes", the (N,) array of that name)."""
        name = next(name for name in KEYS if getattr(self, name) is not None)
        return name, getattr(self, name)

    @property
    def n_crops(self) -> int | None:
        """Answers per image; None if there is one, without an axis for it."""
        return self.values.shape[1] if self.values.ndim == 3 else None


@dataclass(frozen=True)
class AlignReport:
    """What aligning did.

    n_used, n_unused  entries used and not used
    n_floored         probabilities raised to 1e-7 among those used
    kind              "logits" or "probabilities", as the file has them
    dropped           the teacher's classes that the data set lacks
    n_mostly_dropped  images of which the teacher gives more than half to those classes: what is
                      left of such an answer says little
    """

    n_used: int
    n_unused: int
    n_floored: int
    kind: str
    dropped: tuple[str, ...] = ()
    n_mostly_dropped: int = 0


def load_soft_labels(path: str | os.PathLike[str]) -> SoftLabels:
    """Read and check a teacher's file (.npz or .csv; see the module's docstring).

    Raises DataError: no such file, damaged, missing parts, lengths that differ, a class named
    twice, NaN or infinity, a row that is no distribution, an id or row given twice, a crop missing.
    """
    path = Path(path)
    if not os.path.isfile(path):
        refuse_pipes(path)
        raise DataError(f"{path}: {'a folder, no file' if os.path.isdir(path) else 'no such file'}")
    if path.suffix.lower() == ".csv":
        return SoftLabels(**checked_fields(path, csv_parts(path)))
    if path.suffix.lower() == ".npz":
        return SoftLabels(**checked_fields(path, npz_parts(path)))
    raise DataError(f"{path}: expected soft labels as .npz or .csv")


def save_soft_labels(
    path: str | os.PathLike[str],
    values: np.ndarray,
    kind: str,
    classes: Sequence[str],
    *,
    rows: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    hashes: np.ndarray | None = None,
    flipped: np.ndarray | None = None,
) -> None:
    """Write a teacher's outputs so that `load_soft_labels` reads them; whole or not at all.

    values   floats (N, K), or (N, n_crops, K): logits, or probabilities (not their logarithms)
    kind     "logits" or "probabilities"
    classes  K names in column order
    rows / ids / hashes   (N,): one of them, which image each entry is for
    flipped  as values, for the mirror images; .npz alone

    The path's suffix, .npz or .csv, decides the format. Values are stored as float32. Raises
    DataError for whatever `load_soft_labels` would refuse, ValueError for an unknown kind, not just
    one of rows, ids and hashes, or what a csv cannot hold, OSError if the file cannot be written.
    """
    path = Path(path)
    if kind not in KINDS:
        raise ValueError(f"kind: expected 'logits' or 'probabilities', found {kind!r}")
    given = {"rows": rows, "ids": ids, "hashes": hashes}
    named = [name for name, keys in given.items() if keys is not None]
    if len(named) != 1:
        raise ValueError(f"expected one of rows, ids and hashes, found {' and '.join(named) or 0}")
    if path.suffix.lower() not in (".npz", ".csv"):
        raise ValueError(f"{path}: expected a name that ends in .npz or .csv")
    key, keys = named[0], np.asarray(given[named[0]])
    if keys.ndim != 1 or keys.dtype.kind not in ("iu" if key == "rows" else "U"):
        expected = "whole numbers" if key == "rows" else "strings"
        raise DataError(f"{key}: expected {expected} (N,), found {keys.dtype} {keys.shape}")
    parts = Parts(
        kind=kind,
        values=_as_float32(values),
        flipped=None if flipped is None else _as_float32(flipped),
        classes=tuple(str(name) for name in classes),
        key=key,
        keys=keys,
        crop=None,
        place=lambda i: f"entry {i} ({singular(key)} {keys[i].item()!r})",
    )
    checked_fields(path, parts)
    (write_csv if path.suffix.lower() == ".csv" else write_npz)(path, parts)


def align_soft_labels(
    soft: SoftLabels,
    dataset: FaceDataset,
    *,
    extra_classes: str = "error",
    crops: str = "error",
    flipped: bool = False,
) -> tuple[np.ndarray, AlignReport]:
    """(values, report): float32 (N, K) in the row and class order of `dataset`.

    Rows are found by id, row number or hash, classes by name (known synonyms included); then
    `dataset.with_soft_labels(values)`.

    extra_classes  where the teacher has a class that the data set lacks:
                   "error"        refuse (default)
                   "drop"         leave its column out. That is all that logits need: any softmax
                                  over the others makes them a distribution again
                   "renormalise"  leave it out and divide probabilities by what is left. Logits have
                                  no sum to restore, so for them it is the same as "drop"
    crops          where there are several answers for an image:
                   "error"  refuse (default)
                   "mean"   their mean: of logits as logits, of probabilities as probabilities, as
                            a teacher averages its own test crops
                   "keep"   values are (N, n_crops, K); a FaceDataset does not hold these
    flipped        the answers for the mirror images, in the place of those for the images

    Raises DataError for a class too many or missing, an image without an entry, crops without a
    choice, or no answers for mirror images; ValueError for an unknown choice.
    """
    for name, value, known in (
        ("extra_classes", extra_classes, EXTRA_CLASSES),
        ("crops", crops, CROPS),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
    mapped = _class_map(soft, dataset, extra_classes)
    found = _entries_of(soft, dataset)
    values = soft.values
    if flipped:
        if soft.flipped_values is None:
            raise DataError(f"{soft.source}: has no answers for mirror images")
        values = soft.flipped_values
    values = values[found]
    if soft.n_crops is not None:
        if crops == "error":
            raise DataError(
                f"{soft.source}: {soft.n_crops} crops an image; choose crops='mean' or 'keep'"
            )
        values = _mean(values, soft.kind) if crops == "mean" else values
    used = np.unique(found)
    report = AlignReport(
        n_used=len(used),
        n_unused=len(soft.values) - len(used),
        n_floored=int(soft.floored_per_row[found].sum()),
        kind=soft.kind,
        dropped=mapped.dropped,
        n_mostly_dropped=_n_mostly_dropped(values, mapped),
    )
    columns = mapped.apply_columns(values.reshape(-1, len(soft.classes)))
    values = columns.reshape(*values.shape[:-1], len(dataset.classes))
    if extra_classes == "renormalise" and mapped.dropped and soft.kind == "probabilities":
        values = (values - log_sum_exp(values)).astype(np.float32)
    return values, report


def average_soft_labels(
    teachers: Sequence[SoftLabels], weights: Sequence[float] | None = None
) -> SoftLabels:
    """One teacher out of several: the mean of their probabilities, as log-probabilities.

    Probabilities (softmax of logits at temperature 1), not logits, are averaged: the logits of two
    networks have scales of their own, and the louder one would decide alone. weights: a number
    above 0 for each; None: all alike.

    The teachers must answer for the same images, by the same kind of key, in any order, with the
    same classes, in any order, and the same crops; the first one's orders are kept. Answers for
    mirror images are averaged where all have them. Raises DataError for what does not fit
    together, ValueError for no teachers or unfitting weights.
    """
    if not teachers:
        raise ValueError("no teachers to average")
    shares = np.ones(len(teachers)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(teachers),) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"weights: expected {len(teachers)} numbers above 0, found {weights!r}")
    shares = shares / shares.sum()
    first = teachers[0]
    orders = [_order_as(first, other) for other in teachers]
    with_flipped = all(other.flipped_values is not None for other in teachers)

    def mean(name: str) -> np.ndarray:
        total = None
        for other, (entries, columns), share in zip(teachers, orders, shares):
            values = getattr(other, name)[entries][..., columns].astype(np.float64)
            part = values - log_sum_exp(values) + np.log(share)
            total = part if total is None else np.logaddexp(total, part)
        return total.astype(np.float32)

    return replace(
        first,
        values=mean("values"),
        flipped_values=mean("flipped_values") if with_flipped else None,
        kind="probabilities",
        floored_per_row=np.sum([t.floored_per_row[e] for t, (e, _) in zip(teachers, orders)], 0),
        source=" + ".join(t.source for t in teachers),
    )


def load_teachers(
    paths: Sequence[str | os.PathLike[str]], dataset: FaceDataset
) -> tuple[np.ndarray, np.ndarray | None, AlignReport]:
    """(values, flipped, report): one teacher's file aligned to the data set, or the average of
    several; flipped: the answers for mirror images, None where there are none. What several answer
    for beyond the data set need not be the same. Errors as those of `load_soft_labels`,
    `average_soft_labels` and `align_soft_labels`."""
    teachers = [load_soft_labels(path) for path in paths]
    if len(teachers) == 1:
        (teacher,) = teachers
    else:
        teacher = average_soft_labels([_of_dataset(teacher, dataset) for teacher in teachers])
    values, report = align_soft_labels(teacher, dataset)
    flipped = None
    if teacher.flipped_values is not None:
        flipped, _ = align_soft_labels(teacher, dataset, flipped=True)
    return values, flipped, report


# ---- aligning --------------------------------------------------------------------------------


def _class_map(soft: SoftLabels, dataset: FaceDataset, extra_classes: str) -> LabelMap:
    if dataset.label_space is None:
        raise DataError(f"{soft.source}: this data set has no label space to align classes to")
    mapped = label_map(LabelSpace("teacher", soft.classes), dataset.label_space, allow_lossy=True)
    extra = mapped.dropped if extra_classes == "error" else ()
    for problem, names in (("extra", extra), ("missing", mapped.unfilled)):
        if names:
            raise DataError(
                f"{soft.source}: {problem} class {', '.join(names)}; expected "
                f"{', '.join(dataset.classes)} in any order"
                + ("; extra_classes='drop' leaves it out" if problem == "extra" else "")
            )
    return mapped


def _entries_of(soft: SoftLabels, dataset: FaceDataset) -> np.ndarray:
    """int64 (N,): the teacher's entry for each image of the data set."""
    key, given = soft.key
    if key == "rows" and dataset.rows is None:
        raise DataError(f"{soft.source}: has row numbers, but this data set's rows have none")
    wanted = {"ids": dataset.ids, "rows": dataset.rows}.get(key)
    if wanted is None:
        wanted = content_ids(dataset.images)
    position = {k: i for i, k in enumerate(given.tolist())}
    found = np.array([position.get(k, -1) for k in wanted.tolist()], dtype=np.int64)
    absent = np.flatnonzero(found < 0)
    if absent.size:
        first = f"{singular(key)} {wanted[absent[0]].item()!r}"
        if key == "hashes":
            first = f"{dataset.ids[absent[0]].item()!r} (size {dataset.images.shape[1:]}): {first}"
        raise DataError(
            f"{soft.source}: no entry for {absent.size} of {len(dataset)} images; "
            f"the first is {first}"
        )
    return found


def _of_dataset(soft: SoftLabels, dataset: FaceDataset) -> SoftLabels:
    """The entries of the data set's images alone."""
    entries = np.unique(_entries_of(soft, dataset))
    key, given = soft.key
    flipped = soft.flipped_values
    return replace(
        soft,
        values=soft.values[entries],
        floored_per_row=soft.floored_per_row[entries],
        flipped_values=None if flipped is None else flipped[entries],
        **{key: given[entries]},
    )


def _n_mostly_dropped(values: np.ndarray, mapped: LabelMap) -> int:
    """Images with more than half of the probability (of all crops together) on dropped classes."""
    dropped = np.array([i is None for i in mapped.indices])
    share = np.exp(values - log_sum_exp(values))[..., dropped].sum(axis=-1)  # (N,) or (N, n_crops)
    return int((share.mean(axis=tuple(range(1, share.ndim))) > 0.5).sum())


def _mean(values: np.ndarray, kind: str) -> np.ndarray:
    """(N, n_crops, K) -> float32 (N, K), see `align_soft_labels`."""
    values = values.astype(np.float64)
    if kind == "logits":
        return values.mean(axis=1).astype(np.float32)
    return np.log(np.exp(values).mean(axis=1)).astype(np.float32)


def _order_as(first: SoftLabels, other: SoftLabels) -> tuple[np.ndarray, np.ndarray]:
    """(entries, columns) that bring `other` into the order of `first`."""
    (key, wanted), (other_key, given) = first.key, other.key
    if key != other_key or first.n_crops != other.n_crops:
        ours, theirs = (
            f"{name}, {n or 'no'} crops"
            for name, n in ((key, first.n_crops), (other_key, other.n_crops))
        )
        raise DataError(f"{other.source}: has {theirs}; {first.source} has {ours}")
    position = {k: i for i, k in enumerate(given.tolist())}
    absent = [k for k in wanted.tolist() if k not in position]
    if absent or len(wanted) != len(given):
        raise DataError(
            f"{other.source}: answers for {len(given)} images, {first.source} for {len(wanted)}"
            + (f"; the first one missing is {singular(key)} {absent[0]!r}" if absent else "")
        )
    names = label_map(LabelSpace("", first.classes), LabelSpace("", other.classes), True)
    if names.dropped or names.unfilled:
        raise DataError(
            f"{other.source}: has classes {', '.join(other.classes)}; expected "
            f"{', '.join(first.classes)} in any order, as in {first.source}"
        )
    return np.array([position[k] for k in wanted.tolist()], np.int64), np.array(names.indices)


def _as_float32(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise DataError(f"values: expected numbers, found {values.dtype}")
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
