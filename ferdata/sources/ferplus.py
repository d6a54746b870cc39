"""FER+: ten taggers' votes for each row of FER2013 (Barsoum et al. 2016, arXiv 1608.01041).

The file is `fer2013new.csv` of github.com/microsoft/FERPlus. It is joined to FER2013 by row, never
by image name: after row 59 the numbers in the names differ from the row numbers, and rows without
a face have no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferdata.errors import DataError
from ferdata.files.cache import cached_arrays
from ferdata.labels import FERPLUS8, FERPLUS10
from ferdata.sources.csv_file import csv_rows, shown

USAGES = (b"Training", b"PublicTest", b"PrivateTest")
"""Values of the Usage column, also in FER2013's csv. Arrays of usages hold indices into it."""
N_TAGGERS = 10

_COUNTS = {str(n).encode(): n for n in range(N_TAGGERS + 1)}
_CACHE_KIND = "ferplus-1"  # change it when the arrays of _parsed change


def is_votes(names: Sequence[str]) -> bool:
    """Whether these column names, in lower case, are those of FER+."""
    return {"usage", *(c.lower() for c in FERPLUS10.classes)} <= set(names)


def load_votes(path: Path, cache: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(votes, usage): uint8 (N, 10) in the class order of FERPLUS10; uint8 (N,), indices of USAGES.

    A row has at most ten votes; one row of the published file has nine. Raises DataError, naming
    the line, for anything wrong in the file.
    """
    arrays = cached_arrays(path, _CACHE_KIND, lambda: _parsed(path), cache)
    return arrays["votes"], arrays["usage"]


def usage_code(field: bytes, path: Path, line: int) -> int:
    """Index of a Usage field in USAGES. Raises DataError for an unknown one."""
    if field not in USAGES:
        expected = ", ".join(u.decode() for u in USAGES)
        raise DataError(f"{path} line {line}: Usage {shown(field)}, expected one of {expected}")
    return USAGES.index(field)


def vote_counts(fields: Sequence[bytes], where: str) -> list[int]:
    """The ten votes of a row, in the order of FERPLUS10. Raises DataError, which begins with
    `where`."""
    try:
        counts = [_COUNTS[f] for f in fields]
    except KeyError as error:
        column = FERPLUS10.classes[fields.index(error.args[0])]
        raise DataError(
            f"{where}: {column} has {shown(error.args[0])} votes, expected a whole number "
            f"0..{N_TAGGERS}"
        ) from None
    if sum(counts) > N_TAGGERS:
        raise DataError(f"{where}: {sum(counts)} votes, expected at most {N_TAGGERS}")
    return counts


def _parsed(path: Path) -> dict[str, np.ndarray]:
    votes, usages = [], []
    for line, (usage, *fields) in csv_rows(path, ("Usage", *FERPLUS10.classes)):
        votes.append(vote_counts(fields, f"{path} line {line}"))
        usages.append(usage_code(usage, path, line))
    return {"votes": np.array(votes, dtype=np.uint8), "usage": np.array(usages, dtype=np.uint8)}


def vote_distribution(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(targets, known): the share of each emotion among a row's votes for the eight emotions.

    votes    uint8 (N, 10)   in the order of FERPLUS10
    targets  float32 (N, 8)  in the order of FERPLUS8; 0 where known is False
    known    bool (N,)       whether the row has a vote for one of the eight emotions

    Votes for unknown and NF (no face) are not counted, even where they win.
    """
    emotions = votes[:, : len(FERPLUS8)].astype(np.float64)
    total = emotions.sum(axis=1, keepdims=True)
    known = total[:, 0] > 0
    return (emotions / np.where(total > 0, total, 1)).astype(np.float32), known


def plurality(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels, known): the class with the most votes, over all ten columns.

    votes   uint8 (N, 10)  in the order of FERPLUS10
    labels  int64 (N,)     in FERPLUS8; where known is False, the emotion with the most votes
    known   bool (N,)      False where unknown or NF wins, or nobody voted

    A tie goes to the first class in the order of FERPLUS10, as in the published code (argmax). So
    an emotion wins a tie with unknown or NF.
    """
    winner = votes.argmax(axis=1)
    known = (winner < len(FERPLUS8)) & (votes.sum(axis=1) > 0)
    return votes[:, : len(FERPLUS8)].argmax(axis=1).astype(np.int64), known


def majority(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels, known): the class with more than half of the votes, after removing outliers.

    votes   uint8 (N, 10)  in the order of FERPLUS10
    labels  int64 (N,)     in FERPLUS8; 0 where known is False
    known   bool (N,)      False where no class wins, or unknown or NF does

    As in the published code (microsoft/FERPlus, ferplus.py, mode "majority"), classes with a single
    vote lose it, and the winner must have more than half of the votes that remain.
    """
    kept = np.where(votes > 1, votes, 0).astype(np.int64)
    winner = kept.argmax(axis=1)
    known = (2 * kept.max(axis=1) > kept.sum(axis=1)) & (winner < len(FERPLUS8))
    return np.where(known, winner, 0).astype(np.int64), known
