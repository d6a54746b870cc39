"""FaceFiles: the image files of a data set, and what is known about each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import LabelSpace, checked_labels
from ferdata.sources.folder_tree import find_unread
from ferdata.unread_files import UnreadFiles
from tinycnn.ground.messages import short_repr

UNLABELLED = -1
"""A FaceFile without a label. FaceFiles has label 0 there, and has_label = False."""


@dataclass(frozen=True, slots=True)
class FaceFile:
    """One face: the path of its image relative to the root, with forward slashes, and what is known
    of it.

    face  which of the faces in its image it is, if there can be several; None: the only one
    box   where in the image it is: x, y, width, height in px; None: not known
    """

    path: str
    label: int = UNLABELLED
    subject: str | None = None
    split: str | None = None
    row: int | None = None
    face: str | None = None
    box: tuple[int, int, int, int] | None = None

    @property
    def id(self) -> str:
        return self.path if self.face is None else f"{self.path}#{self.face}"


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceFiles:
    """The image files of a data set, listed but not read yet.

    source       name of the source that listed them
    protocol     which images it took, in words; "" for all of them
    root         the folder that paths are relative to
    paths        N paths relative to root, with forward slashes
    ids          N names, unique; None: the paths. An image with several faces is in `paths` more
                 than once, and its ids end in "#0", "#1", ...
    label_space  class order of labels
    labels       int64 (N,)   0 where has_label is False
    has_label    bool  (N,)   None: all True
    subjects     str   (N,)   the person shown, or None
    split        str   (N,)   "train", "validation" or "test", or None
    rows         int64 (N,)   0-based row in the file that lists them, or None
    boxes        int64 (N, 4) where in its image each face is, x, y, width, height; None: not known
    targets      float32 (N, K)  probability distributions over the classes, or None
    framing      how faces are cut out of photos (ferdata.FRAMINGS); None: whole images are resized
    extra        counts that the arrays do not show, such as {"sequences": 593}
    published    what `counts` is for a complete copy of the data set; {} if unknown
    notes        sentences for the user: which columns of a list are used, what is left out, ...
    unread       the files below root that are not among them
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    label_space: LabelSpace
    labels: np.ndarray
    has_label: np.ndarray | None = None
    subjects: np.ndarray | None = None
    split: np.ndarray | None = None
    rows: np.ndarray | None = None
    ids: tuple[str, ...] | None = None
    boxes: np.ndarray | None = None
    targets: np.ndarray | None = None
    framing: str | None = None
    protocol: str = ""
    extra: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unread: UnreadFiles = field(default_factory=UnreadFiles)

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> list[Path]:
        """The full paths of the N files."""
        return [self.root / path for path in self.paths]

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the N images: `ids`, or else the paths."""
        return self.paths if self.ids is None else self.ids

    @property
    def counts(self) -> dict[str, int]:
        """Those of `counts_of`, unlabelled images, and `extra`."""
        found = counts_of(self)
        if self.has_label is not None:
            found["unlabelled"] = int((~self.has_label).sum())
        return found | self.extra

    def summary(self) -> str:
        """One line: source, protocol and counts."""
        name = f"{self.source} ({self.protocol})" if self.protocol else self.source
        return f"{name}: " + ", ".join(f"{n} {what}" for what, n in self.counts.items())


def counts_of(data: FaceFiles | FaceDataset) -> dict[str, int]:
    """Number of images, subjects, images by split ("in train") and by class, as far as known."""
    found = {"images": len(data)}
    if data.subjects is not None:
        found["subjects"] = len(set(data.subjects.tolist()))
    if data.split is not None:
        names, n = np.unique(data.split, return_counts=True)
        found |= {f"in {name}": int(k) for name, k in zip(names.tolist(), n)}
    if data.labels is not None and data.label_space is not None:
        known = data.labels if data.has_label is None else data.labels[data.has_label]
        per_class = np.bincount(known, minlength=len(data.label_space))
        found |= dict(zip(data.label_space.classes, per_class.tolist()))
    return found


def face_files(
    root: Path,
    listed: list[FaceFile],
    label_space: LabelSpace,
    *,
    source: str,
    protocol: str = "",
    framing: str | None = None,
    extra: dict[str, int] | None = None,
    published: dict[str, int] | None = None,
    targets: np.ndarray | None = None,
    label_files: Iterable[str] = (),
    left_out: Mapping[str, Iterable[str]] | None = None,
    rows_left_out: Mapping[str, int] | None = None,
) -> FaceFiles:
    """FaceFiles of `listed`, in the same order; the other arguments are fields of FaceFiles.

    All other files below root become `unread`, with two exceptions that a source names:

    label_files    relpaths of the files that hold the labels
    left_out       {reason: relpaths of files or folders}: what the source leaves out on purpose,
                   such as {"frames that the protocol does not take": [...]}. Files that are
                   `listed` may lie in such a folder
    rows_left_out  {reason: number}: rows of a list that are not taken, such as {"rows without a
                   face (10)": 82414}; counted with what is left out

    Raises DataError if nothing is listed, a face occurs twice, a label is outside its space, or
    some images but not all have a subject, a split, a row or a box.
    """
    if not listed:
        raise DataError(f"{root}: no images found")
    seen: set[str] = set()
    for f in listed:
        if f.id in seen:
            raise DataError(f"{root / f.id}: listed more than once; each image has one label")
        seen.add(f.id)
    unread = find_unread(root, (f.path for f in listed), label_files, left_out)
    rows = {what: n for what, n in (rows_left_out or {}).items() if n}
    labels = np.array([f.label for f in listed], dtype=np.int64)
    has_label = labels != UNLABELLED
    labels = np.where(has_label, labels, 0)
    return FaceFiles(
        source=source,
        root=root,
        paths=tuple(f.path for f in listed),
        label_space=label_space,
        labels=checked_labels(labels, label_space),
        has_label=None if has_label.all() else has_label,
        subjects=_column("subject", listed, [f.subject for f in listed]),
        split=_column("split", listed, [f.split for f in listed]),
        rows=_column("row", listed, [f.row for f in listed]),
        ids=None if all(f.face is None for f in listed) else tuple(f.id for f in listed),
        boxes=_column("box", listed, [f.box for f in listed]),
        targets=targets,
        framing=framing,
        protocol=protocol,
        extra=extra or {},
        published=published or {},
        unread=replace(unread, left_out={**unread.left_out, **rows}),
    )


def _column(
    name: str, listed: list[FaceFile], values: Sequence[str | int | tuple[int, ...] | None]
) -> np.ndarray | None:
    """The values as an array, or None if all are None. Raises DataError if only some are."""
    if all(v is None for v in values):
        return None
    for f, v in zip(listed, values):
        if v is None:
            raise DataError(f"{f.path}: no {name}, but other images have one")
    return np.array(values)
