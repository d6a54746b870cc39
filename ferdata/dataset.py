"""FaceDataset: face images with their labels, subjects, splits and soft labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np

from ferdata.class_choice import Classes, class_choice
from ferdata.errors import DataError
from ferdata.image_hashes import checked_images
from ferdata.labels import (
    LabelMap,
    LabelSpace,
    checked_labels,
    label_map,
    mapped_distributions,
    mapped_labels,
)
from ferdata.unread_files import UnreadFiles
from tinycnn.ground.distributions import ROW_SUM_TOLERANCE, first_wrong_row
from tinycnn.ground.masked_arrays import refuse_masked, unmasked
from tinycnn.ground.messages import plain

SPLITS = ("train", "validation", "test")

_N_SHOWN = 12  # classes in the text of a data set


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceDataset:
    """N grey face images and, where known, their labels, ids, people, splits and soft labels.

    images       uint8   (N, H, W)   0 black .. 255 white
    ids          str     (N,)        unique
    label_space  LabelSpace          class order of labels, targets and soft_labels
    labels       int64   (N,)        positions in label_space.classes
    has_label    bool    (N,)        False if an image has no label: `labels` then holds a
                                     placeholder. None: all True
    targets      float32 (N, K)      probability distributions over the classes (rows sum to 1)
    soft_labels  float32 (N, K)      a teacher's logits or log-probabilities
    flipped_soft_labels  the same    for the mirror images
    subjects     str     (N,)        the person shown
    split        str     (N,)        "train", "validation" or "test"
    rows         int64   (N,)        0-based row in the source file
    notes        sentences for the user: which columns of a list were read as what, how many
                 images were left out, ...
    unread       UnreadFiles         the files below the data set's folder that were not read

    All but images and ids may be None. Arrays are checked, converted to the dtypes above if that
    loses nothing, and kept as read-only views. Raises DataError for values that do not fit.
    """

    images: np.ndarray
    ids: np.ndarray
    label_space: LabelSpace | None = None
    labels: np.ndarray | None = None
    has_label: np.ndarray | None = None
    targets: np.ndarray | None = None
    soft_labels: np.ndarray | None = None
    flipped_soft_labels: np.ndarray | None = None
    subjects: np.ndarray | None = None
    split: np.ndarray | None = None
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    unread: UnreadFiles | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            refuse_masked(field.name, getattr(self, field.name))
        self._set("images", checked_images(self.images))
        for name, strings in (
            ("ids", self.ids),
            ("subjects", self.subjects),
            ("split", self.split),
        ):
            if strings is not None:
                self._set(name, self._checked_column(name, strings, "U", "strings"))
        self._check_unique_ids()
        self._check_split()
        self._check_labels()
        self._check_targets()
        self._check_soft_labels()
        if self.rows is not None:
            self._set("rows", self._checked_column("rows", self.rows, "iu", "integers"))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """A few lines: how many images of which size, what is known of them, and the classes."""
        height, width = self.images.shape[1:]
        others = ("images", "ids", "label_space", "notes", "unread")
        columns = [f.name for f in fields(self) if f.name not in others]
        known = [name.replace("_", " ") for name in columns if getattr(self, name) is not None]
        of_each = f" with {', '.join(known)}" if known else ""
        lines = [f"<FaceDataset: {len(self):,} images of {width}x{height} px{of_each}"]
        if self.known_labels is not None:
            shown = self.classes[:_N_SHOWN]
            counts = [f"{c} {int((self.known_labels == k).sum()):,}" for k, c in enumerate(shown)]
            counts += [f"{len(self.classes) - _N_SHOWN} more"] * (len(self.classes) > _N_SHOWN)
            lines.append(", ".join(counts))
        if self.split is not None:
            of_split = {name: len(self.rows_of_split(name)) for name in SPLITS}
            lines.append(", ".join(f"{name} {n:,}" for name, n in of_split.items() if n))
        lines += self.notes
        if self.unread is not None and self.unread.look_wrong:
            lines.append(plain(self.unread.summary()))
        return "\n  ".join(lines) + ">"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order. Raises DataError without a label space."""
        if self.label_space is None:
            raise DataError("this dataset has no label space, so no classes")
        return self.label_space.classes

    @property
    def known_labels(self) -> np.ndarray | None:
        """int64 (N,): the labels, -1 for an image without one; None if no labels are given."""
        if self.labels is None or self.has_label is None:
            return self.labels
        return np.where(self.has_label, self.labels, -1)

    def select(self, which: np.ndarray) -> FaceDataset:
        """The images that a bool mask (N,) selects, or those at integer indices, in their order."""
        which = unmasked("which", which)
        if which.ndim != 1 or (which.dtype.kind not in "biu" and which.size):
            raise DataError(
                f"select: expected a bool mask or integer indices, found {which.dtype} "
                f"{which.shape}"
            )
        if which.dtype.kind == "b":
            if which.shape != (len(self),):
                raise DataError(f"select: mask of {len(which)} for {len(self)} images")
            which = np.flatnonzero(which)
        elif which.size and (which.min() < 0 or which.max() >= len(self)):
            raise DataError(f"select: indices must lie in 0..{len(self) - 1}")
        which = which.astype(np.int64)
        arrays = {
            f.name: getattr(self, f.name)[which]
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        return replace(self, **arrays)

    def in_split(self, name: str) -> FaceDataset:
        """The images of one split. Raises DataError if there are none."""
        rows = self.rows_of_split(name)
        if not len(rows):
            found = ", ".join(s for s in SPLITS if len(self.rows_of_split(s))) or "none"
            raise DataError(f"no images in split {name!r}; splits present: {found}")
        return self.select(rows)

    def rows_of_split(self, name: str) -> np.ndarray:
        """int64: the numbers of the images in one split. Raises DataError without splits."""
        if self.split is None:
            raise DataError(f"no split {name!r}: this dataset has no splits")
        return np.flatnonzero(self.split == name)

    def labelled(self) -> FaceDataset:
        """The images that have a label (see `has_label`). Raises DataError without `labels`."""
        if self.labels is None:
            raise DataError("this dataset has no labels")
        return (
            self if self.has_label is None else replace(self.select(self.has_label), has_label=None)
        )

    def with_soft_labels(
        self, values: np.ndarray | None, flipped: np.ndarray | None = None
    ) -> FaceDataset:
        """The same images with these soft labels, and those of their mirror images: floats (N, K)
        in this dataset's order of images and classes."""
        return replace(self, soft_labels=values, flipped_soft_labels=flipped)

    def to_label_space(self, target: LabelSpace, allow_lossy: bool = False) -> FaceDataset:
        """The same images with labels, targets and soft labels in another label space, by name.

        If `target` lacks classes of this dataset, `allow_lossy` is needed, and they are dropped
        (`label_map(...).dropped` names them). Images labelled with one of them are left out.
        Targets lose their columns and are divided by the new sums; images with a sum of 0 are left
        out. Soft labels lose their columns. Classes that this dataset lacks get probability 0 in
        targets; soft labels have no such value: DataError.
        """
        if self.label_space is None:
            raise DataError("this dataset has no label space to map from")
        return self._mapped(label_map(self.label_space, target, allow_lossy))

    def with_classes(self, classes: Classes) -> FaceDataset:
        """The images of these classes, under these names, in this order; see
        `ferdata.class_choice`.

        Images of other classes are left out; `notes` says how many. What becomes of targets and
        soft labels: see `to_label_space`; those of classes that become one are added. Raises
        LabelError for a class that this dataset does not have.
        """
        if self.label_space is None:
            raise DataError("this dataset has no classes to choose from")
        chosen = class_choice(classes).among(self.classes, f"these {len(self):,} images")
        known = self.known_labels
        counts = {
            c: 0 if known is None else int((known == k).sum()) for k, c in enumerate(self.classes)
        }
        mapped = self._mapped(chosen.map_from(self.label_space))
        return replace(mapped, notes=(*self.notes, *chosen.notes(counts)))

    def _mapped(self, name_map: LabelMap) -> FaceDataset:
        """The images whose classes the map keeps, with labels, targets and soft labels mapped."""
        keep = np.ones(len(self), dtype=bool)
        labels = targets = None
        if self.labels is not None:
            labels, keep = mapped_labels(self.labels, self.has_label, name_map)
        if self.targets is not None:
            targets, has_targets = mapped_distributions(self.targets, name_map)
            keep = keep & has_targets
        kept = self if keep.all() else self.select(keep)
        return replace(
            kept,
            label_space=name_map.target,
            labels=None if labels is None else labels[keep],
            targets=None if targets is None else targets[keep],
            soft_labels=_mapped(kept.soft_labels, name_map),
            flipped_soft_labels=_mapped(kept.flipped_soft_labels, name_map),
        )

    def content_hash(self) -> str:
        """sha256 (64 hex digits) of the images' shape and pixels; labels do not change it."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.data)
        return digest.hexdigest()

    # Checks, in the order of the fields.

    def _set(self, name: str, value: np.ndarray) -> None:
        view = np.asarray(value).view()  # of NumPy's own class
        view.flags.writeable = False
        object.__setattr__(self, name, view)

    def _checked_column(self, name: str, values: np.ndarray, kinds: str, what: str) -> np.ndarray:
        """The values (N,) as strings or int64, if the kind of their dtype is one of `kinds`."""
        values = np.asarray(values)
        if kinds == "U" and values.size == 0:
            values = values.astype(np.str_)
        if values.dtype.kind not in kinds or values.shape != (len(self.images),):
            raise DataError(
                f"{name}: expected {len(self.images)} {what}, found {values.dtype} "
                f"of shape {values.shape}"
            )
        return values if kinds == "U" else values.astype(np.int64)

    def _checked_table(self, name: str, values: np.ndarray) -> np.ndarray:
        """float32 (N, K), finite."""
        if self.label_space is None:
            raise DataError(f"{name}: given without a label_space that orders its columns")
        values = np.asarray(values)
        expected = (len(self.images), len(self.label_space))
        if values.dtype.kind != "f" or values.shape != expected:
            raise DataError(
                f"{name}: expected floats of shape {expected} ({self.label_space.name}), "
                f"found {values.dtype} {values.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            raise DataError(f"{name}: {self._row_name(bad[0])} is not finite")
        return values.astype(np.float32)

    def _row_name(self, row: int) -> str:
        return f"row {int(row)} (id {str(self.ids[row])!r})"

    def _check_unique_ids(self) -> None:
        if len(set(self.ids.tolist())) != len(self.ids):
            names, counts = np.unique(self.ids, return_counts=True)
            raise DataError(f"ids: {str(names[counts > 1][0])!r} occurs more than once")

    def _check_split(self) -> None:
        if self.split is None:
            return
        bad = np.flatnonzero(~np.isin(self.split, SPLITS))
        if bad.size:
            raise DataError(
                f"split: {self._row_name(bad[0])} is in {str(self.split[bad[0]])!r}, "
                f"expected one of {', '.join(SPLITS)}"
            )

    def _check_labels(self) -> None:
        if self.labels is not None:
            if self.label_space is None:
                raise DataError("labels: given without a label_space that orders them")
            labels = self._checked_column("labels", self.labels, "iu", "integers")
            self._set("labels", checked_labels(labels, self.label_space))
        if self.has_label is not None:
            mask = np.asarray(self.has_label)
            if mask.dtype != bool or mask.shape != (len(self.images),) or self.labels is None:
                raise DataError(
                    f"has_label: expected {len(self.images)} bools, and labels, found "
                    f"{mask.dtype} {mask.shape}" + (", no labels" if self.labels is None else "")
                )
            self._set("has_label", mask)

    def _check_targets(self) -> None:
        if self.targets is None:
            return
        targets = self._checked_table("targets", self.targets)
        wrong = first_wrong_row(targets)
        if wrong is not None:
            raise DataError(
                f"targets: {self._row_name(wrong[0])} is no distribution (expected values of 0 or "
                f"more whose sum is 1 within {ROW_SUM_TOLERANCE})"
            )
        self._set("targets", targets)

    def _check_soft_labels(self) -> None:
        for name, values in (
            ("soft_labels", self.soft_labels),
            ("flipped_soft_labels", self.flipped_soft_labels),
        ):
            if values is not None:
                self._set(name, self._checked_table(name, values))


def _mapped(values: np.ndarray | None, name_map: LabelMap) -> np.ndarray | None:
    return None if values is None else name_map.apply_columns(values, logarithms=True)
