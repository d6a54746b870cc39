"""JAFFE (Lyons et al. 1998): KA.AN1.39.tiff, 213 photos of 10 women, 256 x 256 grey.

A file name holds the person (KA), the expression (AN anger, DI disgust, FE fear, HA happiness, NE
neutral, SA sadness, SU surprise), the number of the take, and a running number. The images are in
one folder, or in class folders whose names must agree with the file names.
"""

from __future__ import annotations

import os
import re

from ferdata.errors import DataError
from ferdata.labels import JAFFE
from ferdata.sources.class_folders import check_class_folder
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "jaffe"
LOOKS_LIKE = "JAFFE: KA.AN1.39.tiff"
CODES = dict(
    AN="anger", DI="disgust", FE="fear", HA="happiness", NE="neutral", SA="sadness", SU="surprise"
)
CLASSES = dict(anger=30, disgust=29, fear=32, happiness=31, neutral=30, sadness=31, surprise=30)
"""Images by class in a complete copy."""
N_SUBJECTS = 10

_NAME = re.compile(
    r"(?P<subject>[A-Z]{2})\.(?P<code>[A-Z]{2})\d{1,3}\.\d{1,4}(\.[a-z]{1,5})?",
    re.IGNORECASE,
)


def recognised(tree: Tree) -> str | None:
    """Why this looks like JAFFE, or None."""
    for folder in _folders(tree):
        name = next(n for n in tree.scan(folder).images if _NAME.fullmatch(n))
        return f"images with JAFFE's names, such as {join(folder, name)}"
    return None


def list_files(path: str | os.PathLike[str]) -> FaceFiles:
    """All images, with the person and the expression that their names give.

    Raises DataError for an image with another kind of name, an unknown expression, a class folder
    that contradicts the name, and the same name in two folders.
    """
    tree = Tree(path)
    listed = []
    seen: dict[str, str] = {}
    for folder in _folders(tree):
        for name in tree.scan(folder).images:
            relpath = join(folder, name)
            subject, label = _read_name(tree, relpath)
            check_class_folder(tree, relpath, JAFFE.classes[label])
            stem = os.path.splitext(name)[0].upper()
            if stem in seen:
                raise DataError(f"{tree.path(relpath)}: the same name as {seen[stem]}")
            seen[stem] = relpath
            listed.append(FaceFile(relpath, label, subject))
    if not listed:
        raise DataError(f"{tree.root}: no images named like KA.AN1.39.tiff")
    return face_files(
        tree.root,
        listed,
        JAFFE,
        source=NAME,
        framing="paper",
        published={"images": sum(CLASSES.values()), "subjects": N_SUBJECTS, **CLASSES},
    )


def _folders(tree: Tree) -> list[str]:
    """The folders with at least one image named as in JAFFE, with a known expression."""
    return [
        folder
        for folder in tree.find(lambda name: True)
        if any(
            (match := _NAME.fullmatch(name)) and match["code"].upper() in CODES
            for name in tree.scan(folder).images
        )
    ]


def _read_name(tree: Tree, relpath: str) -> tuple[str, int]:
    """(subject, label) from a file name."""
    match = tree.match(relpath, _NAME, "KA.AN1.39.tiff")
    code = match["code"].upper()
    if code not in CODES:
        raise DataError(
            f"{tree.path(relpath)}: unknown expression {code!r}, expected one of {', '.join(CODES)}"
        )
    return match["subject"].upper(), JAFFE.index(CODES[code])
