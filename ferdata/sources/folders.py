"""Any folder of class folders: angry/1.png, or train/angry/1.png beside test/angry/2.png.

The classes are the folders, in alphabetical order. Folders must be named after emotions; others,
and numbers above all, say nothing about the class order of anyone: `classes` names them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ferdata.errors import DataError
from ferdata.labels import LabelSpace, is_known_class
from ferdata.sources.class_folders import (
    Layout,
    alphabetical,
    layouts,
    listed_classes,
    the_layout,
)
from ferdata.sources.face_files import FaceFiles, face_files
from ferdata.sources.folder_tree import Tree

NAME = "folders"
LOOKS_LIKE = "any images: folders named after classes (anger, happy, ...), or train/, test/ of them"


def recognised(tree: Tree) -> str | None:
    """Why this looks like class folders, or None."""
    found = layouts(tree)
    if not found:
        return None
    names = sorted(filter(is_known_class, found[0].class_names(tree)))
    splits = [f"{tree.name(place)}/" for split, place in found[0].tops if split]
    return (
        "folders named after classes: "
        + ", ".join(names)
        + (f" in {', '.join(splits)}" if splits else "")
    )


def list_files(
    path: str | os.PathLike[str], classes: Sequence[str] | LabelSpace | None = None
) -> FaceFiles:
    """The images of all class folders.

    classes  names of the class folders in label order; None: the folders, if all are named after
             emotions, in alphabetical order

    Images are taken as faces already cropped; ask ferdata.open for a framing if they are photos.
    Raises DataError for anything that does not fit the layout.
    """
    tree = Tree(path)
    if classes is None:
        layout = the_layout(tree, lambda _: True, "folders named after classes")
        _check_known(tree, layout)
        label_space = alphabetical(tree, layout, NAME)
    else:
        named = classes if isinstance(classes, LabelSpace) else LabelSpace(NAME, tuple(classes))
        label_space = named
        layout = the_layout(
            tree,
            lambda _: True,
            f"folders {', '.join(named.classes)}",
            lambda name: _is_in(name, named),
        )
    return face_files(
        tree.root, listed_classes(tree, layout, label_space), label_space, source=NAME
    )


def _check_known(tree: Tree, layout: Layout) -> None:
    for _, name, place in layout.class_folders(tree):
        if not is_known_class(name):
            raise DataError(
                f"{tree.path(place)}: no known class by its name; rename the folder, move it away, "
                f"or name all class folders in order: classes=(...)"
            )


def _is_in(name: str, space: LabelSpace) -> bool:
    try:
        space.index(name)
    except DataError:
        return False
    return True
