"""Label spaces: the names and the order of a data set's classes, and maps between them.

Every data set has the same seven or eight emotions in another order and under other names. A label
is a position in this order, so it means nothing without its `LabelSpace`, and labels are converted
by class name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ferdata.errors import DataError
from tinycnn.ground.distributions import log_sum_exp
from tinycnn.ground.file_names import composed
from tinycnn.ground.masked_arrays import unmasked

# Each line: the name by which a class is compared, then its other names.
_SPELLINGS = (
    ("anger", "angry"),
    ("contempt", "contemptuous"),
    ("disgust", "disgusted"),
    ("fear", "fearful", "afraid"),
    ("happiness", "happy"),
    ("neutral", "neutrality"),
    ("nf", "not a face", "non-face"),
    ("sadness", "sad"),
    ("surprise", "surprised"),
    ("unknown",),
)
_CANONICAL = {spelling: names[0] for names in _SPELLINGS for spelling in names}


class LabelError(DataError):
    """A label space is invalid or lacks a class, or a label is outside its space."""


def is_known_class(name: str) -> bool:
    """Whether `name` is one of the names of a class in this module."""
    return name.strip().lower() in _CANONICAL


def canonical_name(name: str) -> str:
    """The same name for all names of one class: "Happy" and "happiness" -> "happiness".

    Case, surrounding blanks and how accents are written do not matter. A name without a known
    synonym is returned as it is, in lower case.
    """
    key = composed(name).strip().lower()
    return _CANONICAL.get(key, key)


@dataclass(frozen=True)
class LabelSpace:
    """An ordered tuple of class names; a label is a position in it.

    made_of   for each class the names that it has in the data, if classes were chosen, renamed or
              merged (see ferdata.class_choice); (): they are the names of the classes
    left_out  names in the data whose images were left out

    A teacher's classes are matched with the names in the data too: see `label_map`. Raises
    LabelError for no classes, a blank name, or two names of one class.
    """

    name: str
    classes: tuple[str, ...]
    made_of: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(str(c) for c in self.classes))
        if not self.classes:
            raise LabelError(f"label space {self.name!r} has no classes")
        seen: dict[str, str] = {}
        for c in self.classes:
            key = canonical_name(c)
            if not key:
                raise LabelError(f"label space {self.name!r} has a class without a name")
            if key in seen:
                raise LabelError(
                    f"label space {self.name!r} names one class twice: {seen[key]!r} and {c!r}"
                )
            seen[key] = c
        if self.made_of and len(self.made_of) != len(self.classes):
            raise LabelError(
                f"label space {self.name!r}: made_of has {len(self.made_of)} entries for "
                f"{len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.classes)

    def index(self, name: str) -> int:
        """Position of the class called `name` (any known spelling). Raises LabelError."""
        key = canonical_name(name)
        for i, c in enumerate(self.classes):
            if canonical_name(c) == key:
                return i
        raise LabelError(f"{self.name!r} has no class {name!r}; it has {', '.join(self.classes)}")

    def canonical_name(self, name: str) -> str:
        """As the function `canonical_name`; for a class whose name is new, because one class of the
        data was renamed, that of its name in the data."""
        if self.made_of and name in self.classes and not is_known_class(name):
            in_the_data = self.made_of[self.classes.index(name)]
            if len(in_the_data) == 1:
                return canonical_name(in_the_data[0])
        return canonical_name(name)


# The order of the published MicroExpNet checkpoints and of this project's networks.
MICROEXPNET8 = LabelSpace(
    "microexpnet8",
    ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"),
)
_FERPLUS_EMOTIONS = tuple("neutral happiness surprise sadness anger disgust fear contempt".split())
# The column order of fer2013new.csv: its eight emotions, and all ten columns.
FERPLUS8 = LabelSpace("ferplus8", _FERPLUS_EMOTIONS)
FERPLUS10 = LabelSpace("ferplus10", (*_FERPLUS_EMOTIONS, "unknown", "NF"))
# FER2013's csv numbers its classes in this order ...
FER2013 = LabelSpace("fer2013", ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
# ... and a folder per class, listed alphabetically, puts neutral at 4.
FER2013_FOLDERS = LabelSpace("fer2013_folders", tuple(sorted(FER2013.classes)))
# A csv with FER2013's header and CK+'s faces, ckextended.csv, adds contempt as number 7.
CK_EXTENDED = LabelSpace("ck_extended", (*FER2013.classes, "contempt"))
# ExpW's list numbers its classes as FER2013's csv does.
EXPW = LabelSpace("expw", FER2013.classes)
# CK+: the numbers in its emotion files (its ReadMe: "0=neutral, 1=anger, ... 7=surprise").
CK_PLUS = LabelSpace("ck_plus", MICROEXPNET8.classes)
# CK+48 and its like: seven class folders, alphabetical, no neutral.
CK48 = LabelSpace("ck48", tuple(sorted(set(CK_PLUS.classes) - {"neutral"})))
# Oulu-CASIA: six class folders, alphabetical, no neutral and no contempt.
OULU_CASIA = LabelSpace(
    "oulu_casia", ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
)
# RAF-DB's list numbers its basic emotions 1..7 in this order.
RAF_DB = LabelSpace(
    "raf_db", ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
)
# RAF-DB's other list, of compound emotions, numbers them 1..11 in this order.
RAF_DB_COMPOUND = LabelSpace(
    "raf_db_compound",
    (
        *("happily surprised", "happily disgusted", "sadly fearful", "sadly angry"),
        *("sadly surprised", "sadly disgusted", "fearfully angry", "fearfully surprised"),
        *("angrily surprised", "angrily disgusted", "disgustedly surprised"),
    ),
)
# AffectNet's numbers 0..7; copies without contempt have the first seven.
AFFECTNET8 = LabelSpace(
    "affectnet8",
    ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"),
)
AFFECTNET7 = LabelSpace("affectnet7", AFFECTNET8.classes[:7])
# KDEF: the order of the two letters in its file names, AF AN DI HA NE SA SU, with its own words.
KDEF = LabelSpace("kdef", ("afraid", "angry", "disgusted", "happy", "neutral", "sad", "surprised"))
# SFEW: seven class folders, alphabetical.
SFEW = LabelSpace("sfew", FER2013_FOLDERS.classes)
# JAFFE: the order of the two letters in its file names, AN DI FE HA NE SA SU.
JAFFE = LabelSpace(
    "jaffe", ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
)


@dataclass(frozen=True)
class LabelMap:
    """A map by class name from one label space to another; made by `label_map`.

    indices   for each source class its position in the target, or None if the target lacks it;
              source classes that the target merges have the same position
    dropped   the source classes that the target lacks
    unfilled  the target classes that the source lacks
    """

    source: LabelSpace
    target: LabelSpace
    indices: tuple[int | None, ...]
    dropped: tuple[str, ...]
    unfilled: tuple[str, ...]

    @property
    def merged(self) -> dict[str, tuple[str, ...]]:
        """{target class: the source classes that become it}, where there are several."""
        parts = {
            name: tuple(c for c, i in zip(self.source.classes, self.indices) if i == k)
            for k, name in enumerate(self.target.classes)
        }
        return {name: classes for name, classes in parts.items() if len(classes) > 1}

    def keeps(self, labels: np.ndarray) -> np.ndarray:
        """bool (N,): whether each label's class exists in the target. labels: ints (N,)."""
        kept = np.array([i is not None for i in self.indices])
        return kept[checked_labels(labels, self.source)]

    def apply(self, labels: np.ndarray) -> np.ndarray:
        """int64 (N,): the labels in the target space. labels: ints (N,) in the source space.

        Raises LabelError if a label's class is dropped by this map: select with `keeps` first.
        """
        labels = unmasked("labels", labels)
        kept = self.keeps(labels)
        if not kept.all():
            first = int(np.flatnonzero(~kept)[0])
            raise LabelError(
                f"label {self.source.classes[int(labels[first])]!r} (entry {first}, "
                f"{int((~kept).sum())} in all) has no class in {self.target.name!r}; "
                f"first select the entries for which LabelMap.keeps is True"
            )
        table = np.array([-1 if i is None else i for i in self.indices], dtype=np.int64)
        return table[labels]

    def apply_columns(
        self, values: np.ndarray, fill: float | None = None, *, logarithms: bool = False
    ) -> np.ndarray:
        """The columns of `values` (N, len(source)) in the target's order: (N, len(target)).

        Columns of dropped classes are left out. Columns of unfilled classes get the value `fill`;
        if there are any and `fill` is None, LabelError is raised. Columns of classes that become
        one class are added; with `logarithms` the values are logits or log-probabilities, and what
        is added are their exponentials. The dtype stays the same.
        """
        values = unmasked("values", values)
        if values.ndim != 2 or values.shape[1] != len(self.source):
            raise LabelError(
                f"expected (N, {len(self.source)}) values for {self.source.name!r}, "
                f"found shape {values.shape}"
            )
        if self.unfilled and fill is None:
            raise LabelError(
                f"{self.source.name!r} has no values for {', '.join(self.unfilled)} "
                f"of {self.target.name!r}"
            )
        moved = np.empty((len(values), len(self.target)), values.dtype)
        if self.unfilled:
            moved.fill(fill)
        for j in set(self.indices) - {None}:
            columns = values[:, [i for i, position in enumerate(self.indices) if position == j]]
            if columns.shape[1] == 1:
                moved[:, j] = columns[:, 0]
            elif logarithms:
                moved[:, j] = log_sum_exp(columns)[:, 0]
            else:
                moved[:, j] = columns.sum(axis=1)
        return moved


def label_map(source: LabelSpace, target: LabelSpace, allow_lossy: bool = False) -> LabelMap:
    """The map from `source` to `target` by class name, known synonyms included.

    If classes of `target` were chosen, renamed or merged (`made_of`), `source` may have the names
    that are in the data or those of the target's classes; classes that the target merges then
    become one. If a name is both, it is the name of a class if all of the source's names are.

    Raises LabelError if `target` lacks a class of `source`. With `allow_lossy` the map drops that
    class instead.
    """
    positions = {canonical_name(c): i for i, c in enumerate(target.classes)}
    if not all(canonical_name(c) in positions for c in source.classes):
        positions |= {canonical_name(c): i for i, of in enumerate(target.made_of) for c in of}
    indices = tuple(positions.get(canonical_name(c)) for c in source.classes)
    dropped = tuple(c for c, i in zip(source.classes, indices) if i is None)
    unfilled = tuple(c for i, c in enumerate(target.classes) if i not in indices)
    if dropped and not allow_lossy:
        raise LabelError(
            f"{target.name!r} has no class for {', '.join(dropped)} of {source.name!r}; "
            f"pass allow_lossy=True to drop them"
        )
    return LabelMap(source, target, indices, dropped, unfilled)


def mapped_distributions(rows: np.ndarray, name_map: LabelMap) -> tuple[np.ndarray, np.ndarray]:
    """(rows in the target space (N, len(target)), whether anything is left of them bool (N,)).

    rows: distributions, floats (N, len(source)). Columns of dropped classes are left out, and what
    is left of a row is divided by its sum. The target's other classes get 0.
    """
    moved = name_map.apply_columns(rows, fill=0.0)
    sums = moved.sum(axis=1, keepdims=True)
    if name_map.dropped:
        moved = moved / np.where(sums > 0, sums, 1)
    return moved, sums[:, 0] > 0


def mapped_labels(
    labels: np.ndarray, has_label: np.ndarray | None, name_map: LabelMap
) -> tuple[np.ndarray, np.ndarray]:
    """(labels in the target space int64 (N,), which images are kept bool (N,)).

    labels: ints (N,). has_label: bool (N,), False for an image without a label, which is kept;
    None: all have one. Images of dropped classes are not kept; they get label 0, as do images
    without a label.
    """
    known = np.ones(len(labels), bool) if has_label is None else has_label
    kept = name_map.keeps(labels) | ~known
    moved = np.zeros(len(labels), np.int64)
    moved[kept & known] = name_map.apply(labels[kept & known])
    return moved, kept


def checked_labels(labels: np.ndarray, space: LabelSpace) -> np.ndarray:
    """The labels as an array. Raises LabelError unless they are integers (N,) inside `space`."""
    labels = unmasked("labels", labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise LabelError(
            f"expected integer labels of shape (N,), found {labels.dtype} {labels.shape}"
        )
    bad = np.flatnonzero((labels < 0) | (labels >= len(space)))
    if bad.size:
        raise LabelError(
            f"label {int(labels[bad[0]])} (entry {int(bad[0])}) is outside {space.name!r}: "
            f"expected 0..{len(space) - 1}"
        )
    return labels
