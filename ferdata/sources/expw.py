"""ExpW, Expression in-the-Wild (Zhang et al. 2015): photos, and a list of the faces in them.

    label/label.lst        lines such as "angry_actor_104.jpg 0 28 113 226 311 22.9362 0"
    image/origin/*.jpg     the photos, from all parts of the archive

The eight fields of a line, from the list's readme: image_name, face_id_in_image, face_box_top,
face_box_left, face_box_right, face_box_bottom, face_box_cofidence (sic), expression_label. The
labels are 0 angry 1 disgust 2 fear 3 happy 4 sad 5 surprise 6 neutral. A photo may show several
faces: each is one image of the data set, cut out by its own box. People and splits are not known.
The confidence is not used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ferdata.errors import DataError
from ferdata.files.path_traversal import leaves_folder
from ferdata.files.quoted_csv import utf8_lines
from ferdata.labels import EXPW
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "expw"
LOOKS_LIKE = "ExpW: label.lst and the photos that it lists"
N_FACES = 91_793
MAX_LINES = 1_000_000

_LINE = re.compile(
    r"(?P<name>\S(?:.{0,250}\S)?) (?P<face>\d{1,4})"
    r" (?P<top>-?\d{1,6}) (?P<left>-?\d{1,6}) (?P<right>-?\d{1,6}) (?P<bottom>-?\d{1,6})"
    r" (?P<confidence>-?\d{1,9}(?:\.\d{0,20})?(?:e[+-]?\d{1,3})?) (?P<label>\d{1,2})"
)
_EXAMPLE = "angry_actor_104.jpg 0 28 113 226 311 22.9362 0"


def recognised(tree: Tree) -> str | None:
    """Why this looks like ExpW, or None."""
    for relpath in _lists(tree):
        try:
            first = next(utf8_lines(tree.path(relpath)), "")
        except DataError:
            continue
        if _LINE.fullmatch(first.strip()):
            return f"ExpW's list of faces, {relpath}"
    return None


def list_files(path: str | os.PathLike[str]) -> FaceFiles:
    """Every face of the list, with the box that cuts it out.

    A line that is in the list twice is taken once, and counted. Raises DataError for a wrong line,
    two different lines for one face, a photo that is not there, and none or several lists.
    """
    tree = Tree(path)
    list_relpath = tree.only(_lists(tree), "one list of faces called label.lst")
    list_file = tree.path(list_relpath)
    listed = []
    lines: dict[str, tuple[int, str]] = {}
    folder: str | None = None
    n_repeated = 0
    for line, match in _lines(list_file):
        name, where = match["name"], f"{list_file} line {line}"
        if folder is None:
            folder = tree.only(_folders(tree, name), f"one folder with the photo {name[:80]!r}")
            photos = frozenset(tree.scan(folder).files)
        if name not in photos:
            raise DataError(
                f"{where}: no photo {name[:80]!r} in {tree.path(folder)}: is the copy complete?"
            )
        face = _face(match, join(folder, name), line - 1, where)
        before, text = lines.setdefault(face.id, (line, match[0]))
        if before == line:
            listed.append(face)
        elif text == match[0]:
            n_repeated += 1
        else:
            raise DataError(
                f"{where}: face {match['face']} of {name[:80]!r} is already in line {before}, with "
                "other numbers; remove one of the lines"
            )
    if not listed:
        raise DataError(f"{list_file}: empty, expected lines such as {_EXAMPLE!r}")
    return face_files(
        tree.root,
        listed,
        EXPW,
        source=NAME,
        framing="fer2013",
        label_files=[list_relpath],
        rows_left_out={"lines of the list that repeat another": n_repeated},
        published={"images": N_FACES},
    )


def _face(match: re.Match[str], relpath: str, row: int, where: str) -> FaceFile:
    left, top, right, bottom = (int(match[side]) for side in ("left", "top", "right", "bottom"))
    if left >= right or top >= bottom:
        raise DataError(
            f"{where}: a box from left {left} to right {right}, top {top} to bottom {bottom}: "
            "expected left < right and top < bottom"
        )
    label = int(match["label"])
    if label >= len(EXPW):
        raise DataError(f"{where}: label {label}, expected 0..{len(EXPW) - 1}")
    box = (left, top, right - left, bottom - top)
    return FaceFile(relpath, label, row=row, face=match["face"], box=box)


def _lists(tree: Tree) -> list[str]:
    return [
        join(folder, name)
        for folder in tree.find(lambda name: True)
        for name in tree.scan(folder).files
        if name.lower() == "label.lst"
    ]


def _folders(tree: Tree, photo: str) -> list[str]:
    """The folders with a photo of this name."""
    return [folder for folder in tree.find(lambda name: True) if photo in tree.scan(folder).files]


def _lines(file: Path) -> Iterator[tuple[int, re.Match[str]]]:
    """(line number from 1, the parts of the line). Blank lines may only be at the end."""
    blank = 0
    for line, text in enumerate(utf8_lines(file), start=1):
        if line > MAX_LINES:
            raise DataError(f"{file} line {line}: more than {MAX_LINES:,} lines")
        text = text.strip()
        if not text:
            blank = blank or line
            continue
        match = _LINE.fullmatch(text)
        if blank or match is None or leaves_folder(match["name"]) or "/" in match["name"]:
            raise DataError(
                f"{file} line {blank or line}: {'' if blank else text[:80]!r}, expected eight "
                f"fields such as {_EXAMPLE!r}"
            )
        yield line, match
