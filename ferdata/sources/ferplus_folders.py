"""FER+ as its authors' program writes it: FER2013Train/fer0000000.png and FER2013Train/label.csv.

The folders are FER2013Train, FER2013Valid and FER2013Test, with images of 48 x 48. Each has a
list without a header, in two forms: generate_training_data.py of github.com/microsoft/FERPlus
writes the name and the ten votes, the lists in that repository have the face's box between them.

    fer0000000.png,4,0,0,1,3,2,0,0,0,0
    fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0

The votes are in the order of FERPLUS10. The box is always the whole image. Images without a face
have no name in FER+ and are in no list. The numbers in the names are not rows of fer2013.csv (see
ferdata.sources.ferplus), so `rows` are unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ferdata.arguments import checked_option
from ferdata.errors import DataError
from ferdata.files.quoted_csv import quoted_rows
from ferdata.labels import FERPLUS8, FERPLUS10
from ferdata.sources import ferplus
from ferdata.sources.face_files import UNLABELLED, FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "ferplus_folders"
LOOKS_LIKE = "FER+ as its program writes it: FER2013Train/label.csv"
TARGETS = ("votes", "plurality", "majority")
SPLIT_COUNTS = {"in train": 28558, "in validation": 3579, "in test": 3573}
"""Images with a name in FER+."""

MAX_ROWS = 250_000

_FOLDERS = {"fer2013train": "train", "fer2013valid": "validation", "fer2013test": "test"}
_LIST = "label.csv"
_WHOLE = "(0, 0, 48, 48)"
_EXAMPLE = 'fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0'


def recognised(tree: Tree) -> str | None:
    """Why this looks like the output of FER+'s program, or None."""
    found = _folders(tree)
    return f"{tree.name(found[0])}/ with FER+'s {_LIST}" if found else None


def list_files(path: str | os.PathLike[str], target: str = "plurality") -> FaceFiles:
    """The images of all lists that the target keeps, with the distribution of their votes as
    `targets`, in label space FERPLUS8.

    target  as for ferdata.load_fer2013: "plurality": the label is the class with the most votes;
            images won by unknown or NF (no face) are left out. "majority": the class with more than
            half of the votes; images without one are left out. "votes": as "plurality", but images
            won by unknown or NF are kept for their other votes, without a label

    What is left out is counted. Raises DataError for anything that does not fit the layout, an
    image without votes and votes without an image; ValueError for an unknown target.
    """
    checked_option("target", target, TARGETS)
    tree = Tree(path)
    folders = _folders(tree)
    if not folders:
        raise DataError(f"{tree.root}: expected {LOOKS_LIKE}")
    splits: dict[str, str] = {}
    listed: list[tuple[str, str]] = []
    votes: list[list[int]] = []
    for folder in folders:
        split = _FOLDERS[tree.name(folder).lower()]
        if split in splits:
            raise DataError(
                f"{tree.path(folder)}: the same split as {tree.path(splits[split])}; give the path "
                "of one, or move one away"
            )
        splits[split] = folder
        list_file = tree.path(join(folder, _LIST))
        images = set(tree.scan(folder).images)
        line_of: dict[str, int] = {}
        for line, name, counts in _rows(list_file):
            where = f"{list_file} line {line}"
            if name in line_of:
                raise DataError(f"{where}: {name} is already in line {line_of[name]}")
            if name not in images:
                raise DataError(
                    f"{where}: no image {name[:80]!r} beside it: generate_training_data.py of FER+ "
                    "writes the images"
                )
            line_of[name] = line
            listed.append((join(folder, name), split))
            votes.append(counts)
        if without := sorted(images - set(line_of)):
            raise DataError(
                f"{tree.path(join(folder, without[0]))}: no votes in {list_file} ({len(without)} "
                "such images)"
            )
    lists = [join(folder, _LIST) for folder in folders]
    return _with_target(tree, listed, np.array(votes, dtype=np.uint8), target, lists)


def _with_target(
    tree: Tree, listed: list[tuple[str, str]], votes: np.ndarray, target: str, lists: list[str]
) -> FaceFiles:
    """listed: (relpath, split) of each image; votes uint8 (N, 10); lists: relpaths."""
    targets, voted = ferplus.vote_distribution(votes)
    winner = ferplus.majority if target == "majority" else ferplus.plurality
    labels, known = winner(votes)
    kept = voted if target == "votes" else known
    why = {
        "votes": "images without a vote for an expression",
        "plurality": "images won by unknown or no face",
        "majority": "images without a majority",
    }
    files = [
        FaceFile(relpath, int(labels[i]) if known[i] else UNLABELLED, split=split)
        for i, (relpath, split) in enumerate(listed)
        if kept[i]
    ]
    return face_files(
        tree.root,
        files,
        FERPLUS8,
        source=NAME,
        protocol=target,
        label_files=lists,
        left_out={why[target]: [listed[i][0] for i in np.flatnonzero(~kept)]},
        published=SPLIT_COUNTS if kept.all() else {},
        targets=targets[kept],
    )


def _folders(tree: Tree) -> list[str]:
    return [
        folder
        for folder in tree.find(lambda name: name.lower() in _FOLDERS)
        if _LIST in tree.scan(folder).files
    ]


def _rows(file: Path) -> Iterator[tuple[int, str, list[int]]]:
    """(line number, image, ten votes) of each row. Empty rows may only be at the end."""
    blank = 0
    for n, (line, fields) in enumerate(quoted_rows(file)):
        if n >= MAX_ROWS:
            raise DataError(f"{file} line {line}: more than {MAX_ROWS:,} rows")
        if not fields:
            blank = blank or line
            continue
        fields = [field.strip() for field in fields]
        name, *counts = fields
        if len(fields) == len(FERPLUS10) + 2 and counts[0] == _WHOLE:
            counts = counts[1:]
        if blank or len(counts) != len(FERPLUS10) or not name or not name.isprintable():
            shown = "" if blank else ",".join(fields)[:80]
            raise DataError(f"{file} line {blank or line}: {shown!r}, expected {_EXAMPLE}")
        numbers = ferplus.vote_counts([count.encode() for count in counts], f"{file} line {line}")
        yield line, name, numbers
