"""FER2013 (Goodfellow et al. 2013) from its csv, with or without the FER+ votes.

The file is fer2013.csv, fer2013.csv.gz, a .zip, .tar or .tar.gz with the csv inside (the download
of the challenge is a zip that holds icml_face_data.csv, train.csv, test.csv and fer2013.tar.gz),
or icml_face_data.csv. Each row has `emotion` (0 angry 1 disgust 2 fear 3 happy 4 sad 5 surprise 6
neutral), `pixels` (2304 grey values, 48 x 48 in row order) and `Usage` (Training, PublicTest,
PrivateTest). The challenge's train.csv has no Usage; its rows are those of Training. Known
defects stay in: row 5274 is blank with another row's votes, 12 images have one grey value, and
280 images of PublicTest are in Training as well.

ckextended.csv (kaggle.com/datasets/davilsena/ckdataset) holds 920 faces of CK+ in the same
columns; its number 7 is contempt. Who is shown is not known.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from ferdata.arguments import checked_option
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.files.cache import cached_arrays
from ferdata.files.regular_file import refuse_pipes
from ferdata.labels import CK_EXTENDED, FER2013, FERPLUS8, LabelSpace
from ferdata.sources import fer2013_folders, ferplus
from ferdata.sources.csv_file import Progress, csv_header, csv_rows, shown
from ferdata.sources.folder_tree import Tree, join

SIDE_PX = 48
N_PIXELS = SIDE_PX * SIDE_PX
TARGETS = ("labels", "votes", "plurality", "majority")

FILES = (
    *("fer2013.csv", "fer2013.csv.gz", "fer2013.zip", "fer2013.tar", "fer2013.tar.gz"),
    *("fer2013.tgz", "icml_face_data.csv", "ckextended.csv"),
    "challenges-in-representation-learning-facial-expression-recognition-challenge.zip",
)
MEMBERS = ("fer2013.csv", "icml_face_data.csv", "ckextended.csv", "train.csv")
"""File names to prefer in an archive, in this order."""

_TRAIN_ALONE = "train.csv"
"""Read from a folder if it has FER2013's header and none of FILES is there: it is part of them."""
_SPLITS = np.array(("train", "validation", "test"))  # in the order of ferplus.USAGES
_EMOTIONS = {str(n).encode(): n for n in range(len(CK_EXTENDED))}
_CONTEMPT = CK_EXTENDED.index("contempt")
_N_TRAIN = 28_709
_N_ROWS = (35_887, _N_TRAIN)
"""Of FER2013, and of its train.csv; a file with so many rows has no contempt."""
_CK_EXTENDED_CLASSES = dict(
    angry=45, disgust=59, fear=25, happy=69, sad=28, surprise=83, neutral=593, contempt=18
)  # a frame of each of CK+'s labelled sequences, and a neutral frame of every sequence
_CACHE_KIND = "fer2013-2"  # change it when the arrays of _parsed change
_ROWS_AT_ONCE = 16  # their text fits the processor's cache; the fastest of 1, 4, 16, 64


def find_csv(tree: Tree) -> list[str]:
    """Relpaths of the files named as in FILES, in the root and in the folders directly below it;
    without any, of the files train.csv with FER2013's header."""
    beside = [
        join(folder, name)
        for folder in tree.find(lambda name: True)
        if "/" not in folder
        for name in tree.scan(folder).files
    ]
    found = [relpath for relpath in beside if tree.name(relpath).lower() in FILES]
    if found:
        return found
    trains = [relpath for relpath in beside if tree.name(relpath).lower() == _TRAIN_ALONE]
    return [relpath for relpath in trains if _has_header(tree.path(relpath))]


def is_fer2013(names: Sequence[str]) -> bool:
    """Whether these column names, in lower case, are FER2013's; train.csv has no Usage."""
    return {"emotion", "pixels"} <= set(names)


def _has_header(path: Path) -> bool:
    try:
        return is_fer2013(csv_header(path))
    except DataError:
        return False


def published_counts(dataset: FaceDataset) -> dict[str, int]:
    """What ferdata.sources.face_files.counts_of gives for a complete copy of the file that this
    data set was read from: fer2013.csv, train.csv or ckextended.csv."""
    if dataset.label_space == CK_EXTENDED:
        return {"images": sum(_CK_EXTENDED_CLASSES.values()), **_CK_EXTENDED_CLASSES}
    if dataset.split is None:
        return {"images": _N_TRAIN}
    classes = fer2013_folders.CLASSES
    return {"images": sum(classes.values()), **fer2013_folders.SPLIT_COUNTS, **classes}


def load_fer2013(
    path: str | os.PathLike[str],
    votes: str | os.PathLike[str] | None = None,
    target: str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> FaceDataset:
    """FER2013 with its own labels, or with the votes of FER+.

    path      the csv, .csv.gz, .zip, .tar or .tar.gz; the images are uint8 (N, 48, 48)
    votes     fer2013new.csv (FER+), joined by row; each row must have the same Usage as in `path`
    target    what to train on. Rows without it are dropped:
              "labels"     the csv's own label, in label space FER2013. Every row has one. The
                           default without votes
              "votes"      the distribution of the votes for the eight emotions; a row needs one
                           such vote. The default with votes. Rows where "unknown" or "NF" (no face)
                           won are kept for their other votes, but have no label: `has_label` is
                           False, and `dataset.labelled()` leaves them out. `labels` is the
                           plurality label
              "plurality"  the class with the most votes; rows won by unknown or NF are dropped
              "majority"   the class with more than half of the votes, not counting the votes of
                           classes with only one; rows without such a class are dropped
              All but "labels" use label space FERPLUS8 and carry the distribution of the votes as
              `targets`. For ties and details see ferdata.sources.ferplus
    cache     keep a parsed copy (ferdata.files.cache) for the next run
    progress  progress(done, total), in bytes of the file at `path`; not called for a cached copy

    Training becomes split "train", PublicTest "validation", PrivateTest "test"; without a column
    Usage there are no splits. `rows` are the rows of the csv, from 0, and `ids` "fer2013/00000" and
    so on; those of dropped rows are left out. A file with number 7 is CK+'s ckextended.csv: label
    space CK_EXTENDED, ids "ck_extended/00000".

    Raises DataError, naming file and line, for anything wrong in the files; ValueError for an
    unknown target, or one that does not fit `votes`.
    """
    if target is None:
        target = "labels" if votes is None else "votes"
    checked_option("target", target, TARGETS)
    if (target == "labels") != (votes is None):
        raise ValueError(
            f"target={target!r} needs FER+'s fer2013new.csv: votes=..."
            if votes is None
            else f"target={target!r} does not use votes: omit votes=..."
        )
    path = Path(path)
    refuse_pipes(path)
    if votes is not None:
        refuse_pipes(votes)
    faces = cached_arrays(path, _CACHE_KIND, lambda: _parsed(path, progress), cache)
    labels = faces["emotion"].astype(np.int64)
    if votes is None:
        n_contempt = int((labels == _CONTEMPT).sum())
        if not n_contempt:
            return _dataset(faces, FER2013, labels=labels)
        note = f"emotion 7, which FER2013 does not have, is contempt ({n_contempt:,}), as in CK+"
        return replace(_dataset(faces, CK_EXTENDED, labels=labels), notes=(note,))
    if "usage" not in faces:
        raise DataError(
            f"{path}: no column Usage, by which the rows of {votes} are checked; the votes belong "
            f"to fer2013.csv or icml_face_data.csv"
        )
    counts = _joined_votes(Path(votes), path, faces["usage"], cache)
    targets, voted = ferplus.vote_distribution(counts)
    winner = ferplus.majority if target == "majority" else ferplus.plurality
    labels, known = winner(counts)
    keep = voted if target == "votes" else known
    has_label = known if target == "votes" else None
    return _dataset(faces, FERPLUS8, keep, labels=labels, has_label=has_label, targets=targets)


def _dataset(
    faces: dict[str, np.ndarray],
    label_space: LabelSpace,
    keep: np.ndarray | None = None,
    *,
    labels: np.ndarray,
    has_label: np.ndarray | None = None,
    targets: np.ndarray | None = None,
) -> FaceDataset:
    """The rows where `keep` (bool (N,)) is True, or all; every array is given for all rows."""
    n = len(faces["images"])
    rows = np.arange(n) if keep is None else np.flatnonzero(keep)
    name = label_space.name if label_space is CK_EXTENDED else "fer2013"
    return FaceDataset(
        images=faces["images"] if len(rows) == n else faces["images"][rows],
        ids=np.array([f"{name}/{r:05d}" for r in rows.tolist()], dtype=np.str_),
        label_space=label_space,
        labels=labels[rows],
        has_label=None if has_label is None else has_label[rows],
        targets=None if targets is None else targets[rows],
        split=_SPLITS[faces["usage"][rows]] if "usage" in faces else None,
        rows=rows,
    )


def _joined_votes(votes: Path, path: Path, usage: np.ndarray, cache: bool) -> np.ndarray:
    """The votes, uint8 (N, 10). Raises DataError unless both files have the same Usage by row."""
    counts, votes_usage = ferplus.load_votes(votes, cache)
    if len(counts) != len(usage):
        raise DataError(
            f"{votes}: votes for {len(counts)} rows, but {path} has {len(usage)}; the two are "
            f"joined by row and must have the same rows"
        )
    differs = np.flatnonzero(votes_usage != usage)
    if differs.size:
        row = int(differs[0])
        found, expected = (ferplus.USAGES[u[row]].decode() for u in (votes_usage, usage))
        raise DataError(
            f"{votes} line {row + 2}: Usage {found!r}, but that row of {path} is {expected!r}; "
            f"the two are joined by row"
        )
    return counts


def _parsed(path: Path, progress: Progress | None) -> dict[str, np.ndarray]:
    """images uint8 (N, 48, 48), emotion uint8 (N,), and usage uint8 (N,) if there is one."""
    has_usage = _has_usage(path)
    columns = ("emotion", "pixels", *(("Usage",) if has_usage else ()))
    images, emotions, usages = [], [], []
    contempt_in = 0
    rows = csv_rows(path, columns, MEMBERS, progress)
    while block := list(islice(rows, _ROWS_AT_ONCE)):
        for line, (emotion, _, *usage) in block:
            if emotion not in _EMOTIONS:
                raise DataError(f"{path} line {line}: emotion {shown(emotion)}, expected 0..6")
            emotions.append(_EMOTIONS[emotion])
            if emotions[-1] == _CONTEMPT:
                contempt_in = contempt_in or line
            usages += [ferplus.usage_code(field, path, line) for field in usage]
        texts = [fields[1] for _, fields in block]
        pixels = _pixels_of_all(texts)
        if pixels is None:
            pixels = np.stack([_pixels(t, path, line) for t, (line, _) in zip(texts, block)])
        images.append(pixels)
    if contempt_in and len(emotions) in _N_ROWS:
        raise DataError(f"{path} line {contempt_in}: emotion '7', expected 0..6")
    parsed = {
        "images": np.concatenate(images).reshape(-1, SIDE_PX, SIDE_PX),
        "emotion": np.array(emotions, dtype=np.uint8),
    }
    return parsed | ({"usage": np.array(usages, dtype=np.uint8)} if has_usage else {})


def _has_usage(path: Path) -> bool:
    """Whether there is a column Usage. True for what is no csv: reading it says what is wrong."""
    try:
        return "usage" in csv_header(path, MEMBERS)
    except DataError:
        return True


def _pixels_of_all(texts: list[bytes]) -> np.ndarray | None:
    """uint8 (len(texts), 2304) from several rows' texts, or None if `_pixels` has to be used.

    This is the fast path. It only reads numbers 0..255 of one to three digits with one space
    between them, 2304 in each text, and computes each from the digits in front of the next space.
    """
    if any(t.count(b" ") != N_PIXELS - 1 for t in texts):
        return None
    chars = np.frombuffer(b"  " + b" ".join(texts) + b" ", dtype=np.uint8)
    digits = chars - np.uint8(ord("0"))  # uint8 wraps: anything but a digit becomes 10 or more
    spaces = chars == ord(" ")
    ends = np.flatnonzero(spaces)[1:]  # the second space is just before the first number
    lengths = np.diff(ends) - 1
    if not ((digits < 10) | spaces).all() or lengths.min() < 1 or lengths.max() > 3:
        return None
    ends = ends[1:]
    values = digits[ends - 1].astype(np.uint16)
    values += np.where(lengths > 1, digits[ends - 2], 0).astype(np.uint16) * 10
    values += np.where(lengths > 2, digits[ends - 3], 0).astype(np.uint16) * 100
    if values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(len(texts), N_PIXELS)


def _pixels(text: bytes, path: Path, line: int) -> np.ndarray:
    """uint8 (2304,) from one row's text. Slow; raises DataError that says what is wrong."""
    tokens = text.split()
    values = np.zeros(len(tokens), dtype=np.uint8)
    for i, token in enumerate(tokens):
        if not token.isdigit() or len(token) > 9 or int(token) > 255:
            raise DataError(
                f"{path} line {line}: pixel {i + 1} is {shown(token)}, "
                f"expected a whole number 0..255"
            )
        values[i] = int(token)
    if len(values) != N_PIXELS:
        raise DataError(
            f"{path} line {line}: {len(values)} pixels, expected {N_PIXELS} ({SIDE_PX} x {SIDE_PX})"
        )
    return values
