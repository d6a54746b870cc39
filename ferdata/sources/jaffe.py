"""JAFFE (Lyons et al. 1998): KA.AN1.39.tiff, 213 photos of 10 women, 256 x 256 grey.

A name tells the person (KA), the expression (AN anger, DI disgust, FE fear, HA happiness, NE
neutral, SA sadness, SU surprise) with the number of the try, and a running number. The images stand
in one folder, or in class folders that have to agree with the names.
"""

from __future__ import annotations

import os
import re

from ferdata.errors import DataError
from ferdata.labels import JAFFE, canonical_name, is_known_class
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "jaffe"
LOOKS_LIKE = "JAFFE: images named like KA.AN1.39.tiff"
CODES = dict(
    AN="anger", DI="disgust", FE="fear", HA="happiness", NE="neutral", SA="sadness", SU="surprise"
)
CLASSES = dict(anger=30, disgust=29, fear=32, happiness=31, neutral=30, sadness=31, surprise=30)
"""Images by class in a complete copy."""
N_SUBJECTS = 10

_NAME = re.compile(
    r"(?P<subject>[A-Z]{2})\.(?P<code>[A-Z]{2})\d{1,3}\.\d{1,4}\.(tiff?|png|jpe?g|bmp)",
    re.IGNORECASE,
)


def recognised(tree: Tree) -> str | None:
    """Why this looks like JAFFE, or None."""
    for place in _holders(tree):
        name = next(n for n in tree.scan(place).images if _NAME.fullmatch(n))
        return f"images with JAFFE's names, such as {join(place, name)}"
    return None


def list_files(path: str | os.PathLike[str]) -> FaceFiles:
    """All images, with the person and the expression that their names tell.

    Raises DataError for an image of another name, an unknown expression, a class folder that says
    otherwise, one name in two folders.
    """
    tree = Tree(path)
    listed, seen = [], {}
    for place in _holders(tree):
        for name in tree.scan(place).images:
            at = join(place, name)
            subject, label = _read_name(name, tree, at)
            _check_class_folder(tree, place, at, label)
            stem = os.path.splitext(name)[0].upper()
            if stem in seen:
                raise DataError(f"{tree.path(at)}: the same name as {seen[stem]}")
            seen[stem] = at
            listed.append(FaceFile(at, label, subject))
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


def _holders(tree: Tree) -> list[str]:
    """The folders with at least one image of such a name and known expression."""
    return [
        place
        for place in tree.find(lambda name: True)
        if any(
            (match := _NAME.fullmatch(name)) and match["code"].upper() in CODES
            for name in tree.scan(place).images
        )
    ]


def _read_name(name: str, tree: Tree, at: str) -> tuple[str, int]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"{tree.path(at)}: expected a name such as KA.AN1.39.tiff")
    code = match["code"].upper()
    if code not in CODES:
        raise DataError(
            f"{tree.path(at)}: unknown expression {code!r}, expected one of {', '.join(CODES)}"
        )
    return match["subject"].upper(), JAFFE.index(CODES[code])


def _check_class_folder(tree: Tree, place: str, at: str, label: int) -> None:
    folder = tree.name(place)
    says = JAFFE.classes[label]
    if is_known_class(folder) and canonical_name(folder) != canonical_name(says):
        raise DataError(f"{tree.path(at)}: {says} by its name, but stands in {folder}/")
