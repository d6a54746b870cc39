"""FaceFiles: which image files of a data set to read, and what is known about each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ferdata.errors import DataError
from ferdata.labels import LabelSpace, checked_labels

UNLABELLED = -1
"""In a FaceFile: no label. In arrays the stand-in is 0, beside has_label = False."""


@dataclass(frozen=True, slots=True)
class FaceFile:
    """One image: path relative to the root with forward slashes, label, and what else is known."""

    path: str
    label: int = UNLABELLED
    subject: str | None = None
    split: str | None = None
    row: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceFiles:
    """The images of a data set as a source lists them: nothing is read yet.

    source       the source's name;  protocol  which images it took, in words ("" : all)
    root         the folder that paths start from
    paths        N paths relative to root, with forward slashes: the ids of the images
    label_space  class order of labels
    labels       int64 (N,)   0 where has_label is False
    has_label    bool  (N,)   None: all True
    subjects     str   (N,)   the person shown, or None
    split        str   (N,)   "train", "validation" or "test", or None
    rows         int64 (N,)   0-based row of the file that lists them, or None
    framing      how its photos become faces (ferdata.faces); None: they are faces already, resized
    extra        counts that the arrays do not show, such as {"sequences": 593}
    published    the counts of `counts` that a complete copy of the data set has; {} if unknown
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
    framing: str | None = None
    protocol: str = ""
    extra: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> list[Path]:
        """The N files: root / path."""
        return [self.root / path for path in self.paths]

    @property
    def counts(self) -> dict[str, int]:
        """images, subjects, splits, each class by its name, unlabelled images, then `extra`."""
        found = {"images": len(self)}
        if self.subjects is not None:
            found["subjects"] = len(set(self.subjects.tolist()))
        if self.split is not None:
            names, n = np.unique(self.split, return_counts=True)
            found |= {f"in {name}": int(k) for name, k in zip(names.tolist(), n)}
        known = self.labels if self.has_label is None else self.labels[self.has_label]
        per_class = np.bincount(known, minlength=len(self.label_space))
        found |= {name: int(k) for name, k in zip(self.label_space.classes, per_class)}
        if self.has_label is not None:
            found["unlabelled"] = int((~self.has_label).sum())
        return found | self.extra

    def summary(self) -> str:
        """One line: source, protocol and counts."""
        name = f"{self.source} ({self.protocol})" if self.protocol else self.source
        return f"{name}: " + ", ".join(f"{n} {what}" for what, n in self.counts.items())


def face_files(
    root: Path, listed: list[FaceFile], label_space: LabelSpace, **about: object
) -> FaceFiles:
    """FaceFiles of `listed`, in its order; `about` are the other fields of FaceFiles.

    Raises DataError if nothing is listed, a path occurs twice, or a label is outside its space.
    """
    if not listed:
        raise DataError(f"{root}: no images found")
    seen: set[str] = set()
    for f in listed:
        if f.path in seen:
            raise DataError(f"{root / f.path}: listed more than once; each image has one label")
        seen.add(f.path)
    labels = np.array([f.label for f in listed], dtype=np.int64)
    has_label = labels != UNLABELLED
    labels = np.where(has_label, labels, 0)
    return FaceFiles(
        root=root,
        paths=tuple(f.path for f in listed),
        label_space=label_space,
        labels=checked_labels(labels, label_space),
        has_label=None if has_label.all() else has_label,
        subjects=_column(listed, "subject"),
        split=_column(listed, "split"),
        rows=_column(listed, "row"),
        **about,
    )


def _column(listed: list[FaceFile], name: str) -> np.ndarray | None:
    """The values of one field as an array, None where no image has one."""
    values = [getattr(f, name) for f in listed]
    if all(v is None for v in values):
        return None
    for f, v in zip(listed, values):
        if v is None:
            raise DataError(f"{f.path}: no {name}, but other images have one")
    return np.array(values)
