"""Soft labels: the outputs of a teacher network for each image, computed by another program.

They are read from one of these files:

    .npz  `logits` or `probabilities`, floats (N, K); `classes`, str (K,); and which image each row
          is for, as one of `rows`, int (N,), `ids`, str (N,), or `hashes`, str (N,).
          Optional: `logits_flipped` (or `probabilities_flipped`), of the same shape: the outputs
          for the mirror images. No pickled objects.
    .csv  a header: `row`, `id` or `hash`, then the class names; then one line per image. The file
          may begin with a line `# logits` or `# probabilities`. Without it, the values are taken
          for probabilities if every line is a distribution, and for logits if no line is one and
          some value is below 0 or above 1. Otherwise the file is refused.

Probabilities may be percentages: if every row sums to 100 (within 0.1), they are divided by 100.

`ids` are the ids of a FaceDataset; `rows` the 0-based row numbers of its source file (for FER2013
those of the csv); `hashes` identify an image by its pixels (`content_ids`). Entries may be in any
order, and there may be more than the data set needs. A hash may occur several times with the same
outputs, because some data sets contain a picture twice.

If the teacher saw several crops of each image, `logits` is (N, n_crops, K), or there is one entry
per crop and an array `crop`, int (N,), with its number (in a csv a second column `crop`). Every
image then needs the same crops, 0 to n_crops - 1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ferdata.arguments import checked_option
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.files.regular_file import refuse_pipes
from ferdata.image_hashes import content_ids
from ferdata.labels import LabelMap, LabelSpace, canonical_name, label_map
from ferdata.teachers.soft_label_checks import as_float32, checked_parts
from ferdata.teachers.soft_label_files import (
    KEYS,
    KINDS,
    Parts,
    csv_parts,
    npz_parts,
    singular,
    write_csv,
    write_npz,
)
from ferdata.teachers.teacher_outputs import (
    mean_over_crops,
    n_mostly_dropped,
)
from tinycnn.ground.distributions import log_sum_exp
from tinycnn.ground.masked_arrays import unmasked
from tinycnn.ground.messages import short_repr

EXTRA_CLASSES = ("error", "drop", "renormalise")
CROPS = ("error", "mean", "keep")


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """A teacher's checked outputs, in the order of its file. Made by `load_soft_labels`.

    values               float32 (N, K), or (N, n_crops, K): logits, or log-probabilities, where
                         probabilities below 1e-7 were raised to 1e-7
    classes              K names, in the file's order
    ids / rows / hashes  str / int64 / str (N,), unique: one of them is given, the others are None
    kind                 "logits" or "probabilities": what the file holds
    floored_per_row      int64 (N,): how many probabilities of the row were raised to 1e-7
    source               the file, for messages
    flipped_values       like values, for the mirror images; None if the file has none
    percentages          the file's probabilities are percentages, and have been divided by 100
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
    percentages: bool = False

    __repr__ = short_repr

    def __post_init__(self) -> None:
        given = self._given_keys()
        for name, array in (("values", self.values), *given):
            object.__setattr__(self, name, unmasked(name, array))
        if len(given) != 1 or len(given[0][1]) != len(self.values):
            raise DataError(
                f"{self.source}: expected as many {' or '.join(KEYS)} as the {len(self.values)} "
                "rows of values"
            )

    def _given_keys(self) -> list[tuple[str, np.ndarray]]:
        keys = (("ids", self.ids), ("rows", self.rows), ("hashes", self.hashes))
        return [(name, array) for name, array in keys if array is not None]

    @property
    def key(self) -> tuple[str, np.ndarray]:
        """("ids", "rows" or "hashes", the (N,) array of that name)."""
        return self._given_keys()[0]

    @property
    def n_crops(self) -> int | None:
        """The number of crops per image; None if `values` has no axis for them."""
        return self.values.shape[1] if self.values.ndim == 3 else None


@dataclass(frozen=True)
class AlignReport:
    """What `align_soft_labels` did.

    n_used, n_unused  number of entries used and not used
    n_floored         number of probabilities in the used entries that were raised to 1e-7
    kind              "logits" or "probabilities": what the file holds
    dropped           the teacher's classes that the data set lacks
    merged            {class of the data set: the teacher's classes whose probabilities were added}
    n_mostly_dropped  number of images for which these classes have more than half of the teacher's
                      probability: the rest of such an answer says little
    percentages       the file, or one of several, has percentages instead of probabilities
    """

    n_used: int
    n_unused: int
    n_floored: int
    kind: str
    dropped: tuple[str, ...] = ()
    n_mostly_dropped: int = 0
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    percentages: bool = False


def load_soft_labels(path: str | os.PathLike[str]) -> SoftLabels:
    """Read and check a teacher's file (.npz or .csv; see the module's docstring).

    Raises DataError if the file is missing, damaged or incomplete, if a class, id, row or crop
    occurs twice or a crop is missing, or for NaN, infinity, or probabilities that are no
    distribution.
    """
    path = Path(path)
    if not os.path.isfile(path):
        refuse_pipes(path)
        raise DataError(f"{path}: {'a folder, no file' if os.path.isdir(path) else 'no such file'}")
    if path.suffix.lower() not in (".npz", ".csv"):
        raise DataError(f"{path}: expected soft labels as .npz or .csv")
    parts = csv_parts(path) if path.suffix.lower() == ".csv" else npz_parts(path)
    parts, floored = checked_parts(path, parts)
    return SoftLabels(
        values=parts.values,
        classes=parts.classes,
        ids=parts.keys if parts.key == "ids" else None,
        rows=parts.keys.astype(np.int64) if parts.key == "rows" else None,
        hashes=parts.keys if parts.key == "hashes" else None,
        kind=parts.kind,
        floored_per_row=floored,
        source=str(path),
        flipped_values=parts.flipped,
        percentages=parts.percentages,
    )


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
    """Write a teacher's outputs to a file for `load_soft_labels`, completely or not at all.

    values   floats (N, K), or (N, n_crops, K): logits, or probabilities (not their logarithms)
    kind     "logits" or "probabilities"
    classes  K names in column order
    rows / ids / hashes   (N,): which image each entry is for; give one of the three
    flipped  like values, for the mirror images; only for .npz

    The path's suffix, .npz or .csv, decides the format. Values are stored as float32. Raises
    DataError for what `load_soft_labels` would refuse; ValueError for an unknown kind, more or less
    than one of rows, ids and hashes, or what a csv cannot hold; OSError if writing fails.
    """
    path = Path(path)
    checked_option("kind", kind, KINDS)
    given = {"rows": rows, "ids": ids, "hashes": hashes}
    named = [name for name, keys in given.items() if keys is not None]
    if len(named) != 1:
        raise ValueError(f"expected one of rows, ids and hashes, found {' and '.join(named) or 0}")
    if path.suffix.lower() not in (".npz", ".csv"):
        raise ValueError(f"{path}: expected a name that ends in .npz or .csv")
    key, keys = named[0], unmasked(named[0], given[named[0]])
    parts = Parts(
        kind=kind,
        values=as_float32(values),
        flipped=None if flipped is None else as_float32(flipped),
        classes=tuple(str(name) for name in classes),
        key=key,
        keys=keys,
        crop=None,
        place=lambda i: f"entry {i} ({singular(key)} {keys[i].item()!r})",
    )
    checked_parts(path, parts)
    write = write_csv if path.suffix.lower() == ".csv" else write_npz
    write(path, parts)


def align_soft_labels(
    soft: SoftLabels,
    dataset: FaceDataset,
    *,
    extra_classes: str = "error",
    crops: str = "error",
    flipped: bool = False,
) -> tuple[np.ndarray, AlignReport]:
    """(values, report): the teacher's outputs for each image of `dataset`, in its order of images
    and classes: float32 (N, K), for `dataset.with_soft_labels(values)`.

    Entries are matched by id, row number or hash, classes by name (known synonyms included). If the
    data set's classes were chosen or merged (ferdata.class_choice), the teacher may have the
    classes of the data or those that they became: the probabilities of merged classes are added,
    and classes that were left out of the data are left out here as with "drop".

    extra_classes  if the teacher has a class that the data set lacks:
                   "error"        raise DataError (default)
                   "drop"         leave its column out. Logits need nothing else: a softmax over the
                                  other columns gives a distribution
                   "renormalise"  leave it out and divide the other probabilities by their sum. For
                                  logits this is the same as "drop"
    crops          if there are several crops per image:
                   "error"  raise DataError (default)
                   "mean"   average them: logits as logits, probabilities as probabilities, as a
                            teacher averages its own test crops
                   "keep"   values are (N, n_crops, K), which a FaceDataset cannot hold
    flipped        use the outputs for the mirror images

    Raises DataError also for a missing class, an image without an entry, or missing outputs for
    mirror images; ValueError for an unknown option.
    """
    checked_option("extra_classes", extra_classes, EXTRA_CLASSES)
    checked_option("crops", crops, CROPS)
    mapped = class_map(soft, dataset, extra_classes)
    found = entries_of(soft, dataset)
    values = soft.values
    if flipped:
        if soft.flipped_values is None:
            raise DataError(f"{soft.source}: has no answers for mirror images")
        values = soft.flipped_values
    values = values[found]
    if soft.n_crops is not None:
        if crops == "error":
            raise DataError(
                f"{soft.source}: {soft.n_crops} crops an image; average them: crops='mean'"
            )
        values = mean_over_crops(values, soft.kind) if crops == "mean" else values
    used = np.unique(found)
    report = AlignReport(
        n_used=len(used),
        n_unused=len(soft.values) - len(used),
        n_floored=int(soft.floored_per_row[found].sum()),
        kind=soft.kind,
        dropped=mapped.dropped,
        n_mostly_dropped=n_mostly_dropped(values, mapped),
        merged=mapped.merged,
        percentages=soft.percentages,
    )
    columns = mapped.apply_columns(values.reshape(-1, len(soft.classes)), logarithms=True)
    values = columns.reshape(*values.shape[:-1], len(dataset.classes))
    if extra_classes == "renormalise" and mapped.dropped and soft.kind == "probabilities":
        values = (values - log_sum_exp(values)).astype(np.float32)
    return values, report


# ---- aligning --------------------------------------------------------------------------------


def class_map(soft: SoftLabels, dataset: FaceDataset, extra_classes: str) -> LabelMap:
    """The map of the teacher's classes to those of the data set. Raises DataError for extra and
    missing classes."""
    if dataset.label_space is None:
        raise DataError(f"{soft.source}: this data set has no label space to align classes to")
    mapped = label_map(LabelSpace("teacher", soft.classes), dataset.label_space, allow_lossy=True)
    left_out = {canonical_name(name) for name in dataset.label_space.left_out}
    extra = tuple(name for name in mapped.dropped if canonical_name(name) not in left_out)
    extra = extra if extra_classes == "error" else ()
    for problem, names in (("extra", extra), ("missing", mapped.unfilled)):
        if names:
            raise DataError(
                f"{soft.source}: {problem} class {', '.join(names)}; expected "
                f"{', '.join(dataset.classes)} in any order"
                + ("; extra_classes='drop' leaves it out" if problem == "extra" else "")
            )
    return mapped


def entries_of(soft: SoftLabels, dataset: FaceDataset) -> np.ndarray:
    """int64 (N,): the number of the teacher's entry for each image of the data set."""
    key, given = soft.key
    if key == "rows" and dataset.rows is None:
        raise DataError(f"{soft.source}: has row numbers, but this data set has no rows")
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
