"""FER2013 (Goodfellow et al. 2013) as people have it, with or without the FER+ votes.

Files: fer2013.csv, .csv.gz, .zip with the csv inside, icml_face_data.csv. Each row has `emotion`
(0 angry 1 disgust 2 fear 3 happy 4 sad 5 surprise 6 neutral), `pixels` (2304 grey values, 48 x 48
in row order) and `Usage` (Training, PublicTest, PrivateTest). Known defects are left in: row 5274
is blank with another row's votes, 12 images are constant, 280 PublicTest images are in Training
as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from ferdata.cache import cached_arrays
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import FER2013, FERPLUS8, LabelSpace
from ferdata.regular_file import refuse_pipes
from ferdata.sources.csv_file import Progress, csv_rows, shown
from ferdata.sources.ferplus import (
    USAGES,
    load_votes,
    majority,
    plurality,
    usage_code,
    vote_distribution,
)

SIDE_PX = 48
N_PIXELS = SIDE_PX * SIDE_PX
TARGETS = ("labels", "votes", "plurality", "majority")

_SPLITS = np.array(("train", "validation", "test"))  # in the order of USAGES
_EMOTIONS = {str(n).encode(): n for n in range(len(FER2013))}
_MEMBERS = ("fer2013.csv", "icml_face_data.csv")
_CACHE_KIND = "fer2013-1"  # change it when the arrays of _parsed change
_ROWS_AT_ONCE = 16  # their text stays in the processor's cache: the fastest of 1, 4, 16, 64


def load_fer2013(
    path: str | os.PathLike[str],
    votes: str | os.PathLike[str] | None = None,
    target: str | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> FaceDataset:
    """FER2013 with its own labels, or with what FER+ says about it.

    path      the csv, .csv.gz or .zip; images come as uint8 (N, 48, 48)
    votes     fer2013new.csv (FER+), joined by row; it must have as many rows, Usage by Usage
    target    what the rows must have, and so which rows are dropped:
              "labels"     the csv's own label; label space FER2013, nothing dropped (default
                           without votes)
              "votes"      a vote for one of the eight emotions (default with votes). Rows won by
                           unknown or NF are kept: their few emotion votes still say something.
                           `labels` is the plurality label; `has_label` is False for those rows,
                           and `dataset.labelled()` selects the others, to be scored on
              "plurality"  most of the ten votes; rows won by unknown or NF are dropped
              "majority"   more than half of the votes once single votes are removed
              All but "labels" use label space FERPLUS8 and carry the vote distribution as
              `targets`. Ties and details: ferdata.sources.ferplus.
    cache     keep a packed copy (ferdata.cache) for the next run
    progress  progress(done, total), in bytes of the file at `path`; not called on a cached copy

    Training becomes split "train", PublicTest "validation", PrivateTest "test". `rows` holds the
    csv's 0-based row numbers and `ids` "fer2013/00000" and so on, also after rows were dropped.

    Raises DataError, naming file and line, for anything else in the files; ValueError for an
    unknown or unfitting target.
    """
    if target is None:
        target = "labels" if votes is None else "votes"
    if target not in TARGETS:
        raise ValueError(f"target: expected one of {', '.join(TARGETS)}, found {target!r}")
    if (target == "labels") != (votes is None):
        raise ValueError(
            f"target {target!r} "
            + ("needs votes=<fer2013new.csv>" if votes is None else "does not use votes: omit them")
        )
    path = Path(path)
    for file in (path, *([] if votes is None else [votes])):
        refuse_pipes(file)
    faces = _faces(path, cache, progress)
    if votes is None:
        return _dataset(faces, FER2013, labels=faces["emotion"].astype(np.int64))
    counts = _joined_votes(Path(votes), path, faces["usage"], cache)
    targets, voted = vote_distribution(counts)
    labels, known = majority(counts) if target == "majority" else plurality(counts)
    keep = voted if target == "votes" else known
    has_label = known if target == "votes" else None
    return _dataset(faces, FERPLUS8, keep, labels=labels, has_label=has_label, targets=targets)


def _dataset(
    faces: dict[str, np.ndarray],
    label_space: LabelSpace,
    keep: np.ndarray | None = None,
    **known: np.ndarray | None,
) -> FaceDataset:
    n = len(faces["images"])
    rows = np.arange(n) if keep is None else np.flatnonzero(keep)
    return FaceDataset(
        images=faces["images"] if len(rows) == n else faces["images"][rows],
        ids=np.array([f"fer2013/{r:05d}" for r in rows.tolist()], dtype=np.str_),
        label_space=label_space,
        split=_SPLITS[faces["usage"][rows]],
        rows=rows,
        **{name: None if array is None else array[rows] for name, array in known.items()},
    )


def _joined_votes(votes: Path, path: Path, usage: np.ndarray, cache: bool) -> np.ndarray:
    """The votes, after checking that the two files tell of the same rows."""
    counts, votes_usage = load_votes(votes, cache)
    if len(counts) != len(usage):
        raise DataError(
            f"{votes}: votes for {len(counts)} rows, but {path} has {len(usage)}; the two are "
            f"joined by row and must have the same rows"
        )
    differs = np.flatnonzero(votes_usage != usage)
    if differs.size:
        row = int(differs[0])
        found, expected = (USAGES[u[row]].decode() for u in (votes_usage, usage))
        raise DataError(
            f"{votes} line {row + 2}: Usage {found!r}, but that row of {path} is {expected!r}; "
            f"the two are joined by row"
        )
    return counts


def _faces(path: Path, cache: bool, progress: Progress | None) -> dict[str, np.ndarray]:
    """images uint8 (N, 48, 48), emotion uint8 (N,), usage uint8 (N,): from cache or csv."""
    if not cache:
        return _parsed(path, progress)
    return cached_arrays(path, _CACHE_KIND, lambda: _parsed(path, progress))


def _parsed(path: Path, progress: Progress | None) -> dict[str, np.ndarray]:
    images, emotions, usages = [], [], []
    rows = csv_rows(path, ("emotion", "Usage", "pixels"), _MEMBERS, progress)
    for block in _blocks(rows):
        for line, (emotion, usage, _) in block:
            if emotion not in _EMOTIONS:
                raise DataError(f"{path} line {line}: emotion {shown(emotion)}, expected 0..6")
            emotions.append(_EMOTIONS[emotion])
            usages.append(usage_code(usage, path, line))
        texts = [fields[2] for _, fields in block]
        pixels = _pixels_at_once(texts)
        if pixels is None:
            pixels = np.stack([_pixels(t, path, line) for t, (line, _) in zip(texts, block)])
        images.append(pixels)
    return {
        "images": np.concatenate(images).reshape(-1, SIDE_PX, SIDE_PX),
        "emotion": np.array(emotions, dtype=np.uint8),
        "usage": np.array(usages, dtype=np.uint8),
    }


def _blocks(rows: Iterator) -> Iterator[list]:
    while block := list(islice(rows, _ROWS_AT_ONCE)):
        yield block


def _pixels_at_once(texts: list[bytes]) -> np.ndarray | None:
    """uint8 (len(texts), 2304), or None unless every text is 2304 plain numbers 0..255.

    A number's value is read off the characters in front of the space that ends it. Whatever is
    unusual, right or wrong, is left to `_pixels`: this one only has to be sure.
    """
    if any(t.count(b" ") != N_PIXELS - 1 for t in texts):
        return None
    chars = np.frombuffer(b"  " + b" ".join(texts) + b" ", dtype=np.uint8)
    digits = chars - np.uint8(ord("0"))  # uint8 wraps: anything but a digit becomes 10 or more
    spaces = chars == ord(" ")
    ends = np.flatnonzero(spaces)[1:]  # the second leading space ends nothing: it begins the first
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
    """uint8 (2304,) from one row's text, slowly, or the DataError that says what is wrong."""
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
