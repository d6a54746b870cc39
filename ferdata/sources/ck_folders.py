"""CK+48 and other images of CK+ sorted into class folders: happy/S010_006_00000015.png.

The names keep CK+'s subject, sequence and frame, so the people are known. CK+48 has seven classes
and no neutral; copies with a neutral folder are read in CK+'s own class order.
"""

from __future__ import annotations

import os
import re

from ferdata.errors import DataError
from ferdata.labels import CK48, CK_PLUS, canonical_name
from ferdata.sources.ck_plus import N_LABELLED_SUBJECTS, SEQUENCES
from ferdata.sources.class_folders import Layout, layouts, listed_classes, the_layout
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree

NAME = "ck_folders"
LOOKS_LIKE = "CK+48 and its like: class folders of images named like S010_006_00000015.png"

_NAME = re.compile(r"(?P<subject>S\d{3,4})_(?P<sequence>\d{3})_\d{1,12}(?![0-9A-Za-z]).*")
_N_FRAMES = 3  # CK+48 holds the last three frames of each labelled sequence


def recognised(tree: Tree) -> str | None:
    """Why this looks like class folders of CK+ images, or None."""
    for layout in layouts(tree):
        if _has_ck_names(tree, layout):
            return "class folders of images with CK+'s names (subject_sequence_frame)"
    return None


def list_files(path: str | os.PathLike[str]) -> FaceFiles:
    """The images of all class folders, with the subjects that their names tell.

    Label space CK48, or CK_PLUS if there is a neutral folder. Raises DataError for anything that
    does not fit the layout, and if one sequence has two expressions.
    """
    tree = Tree(path)
    layout = the_layout(
        tree,
        lambda layout: _has_ck_names(tree, layout),
        "class folders of images named like S010_006_00000015.png",
    )
    classes = {canonical_name(name) for name in layout.class_names(tree)}
    label_space = CK_PLUS if "neutral" in classes else CK48
    listed = listed_classes(
        tree, layout, label_space, lambda name, at: _match(name, tree, at)["subject"]
    )
    _check_sequences(tree, listed, label_space.classes)
    sequences = {_sequence(f.path) for f in listed}
    published = {}
    if label_space is CK48 and layout.tops[0][0] is None:
        per_class = {name: _N_FRAMES * n for name, n in SEQUENCES.items()}
        published = {
            "images": sum(per_class.values()),
            "subjects": N_LABELLED_SUBJECTS,
            **per_class,
            "sequences": sum(SEQUENCES.values()),
        }
    return face_files(
        tree.root,
        listed,
        label_space,
        source=NAME,
        extra={"sequences": len(sequences)},
        published=published,
    )


def _has_ck_names(tree: Tree, layout: Layout) -> bool:
    """Whether the first image of the first class folder that has any is named as CK+'s are."""
    for _, _, place in layout.class_folders(tree):
        if images := tree.scan(place).images:
            return _NAME.fullmatch(images[0]) is not None
    return False


def _match(name: str, tree: Tree, at: str) -> re.Match[str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(
            f"{tree.path(at)}: its name does not tell the subject; expected one such as "
            f"S010_006_00000015.png"
        )
    return match


def _sequence(path: str) -> str:
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return f"{match['subject']}_{match['sequence']}"


def _check_sequences(tree: Tree, listed: list[FaceFile], classes: tuple[str, ...]) -> None:
    """A sequence goes from neutral to one expression: two others mean a wrong label."""
    expression: dict[str, FaceFile] = {}
    for f in listed:
        if classes[f.label] == "neutral":
            continue
        before = expression.setdefault(_sequence(f.path), f)
        if before.label != f.label:
            raise DataError(
                f"{tree.path(f.path)}: {classes[f.label]}, but {before.path} of the same sequence "
                f"is {classes[before.label]}"
            )
