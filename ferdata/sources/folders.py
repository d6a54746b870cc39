"""Images in class folders, from anywhere: angry/1.png, or train/angry/1.png and test/angry/2.png.

The classes are the folders' names in alphabetical order. The names must be names of emotions. Other
names, and numbers above all, do not say which class they stand for or in which order the classes
are; `classes` gives both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ferdata.errors import DataError
from ferdata.labels import LabelSpace, canonical_name, is_known_class
from ferdata.sources.class_folders import (
    alphabetical_label_space,
    layouts,
    list_images,
    only_layout,
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
    splits = [f"{tree.name(relpath)}/" for split, relpath in found[0].parents if split]
    return (
        "folders named after classes: "
        + ", ".join(names)
        + (f" in {', '.join(splits)}" if splits else "")
    )


def list_files(
    path: str | os.PathLike[str], classes: Sequence[str] | LabelSpace | None = None
) -> FaceFiles:
    """The images of all class folders.

    classes  names of the class folders in label order; None: alphabetical, if all of them are names
             of emotions

    The images are taken to show only the face; for photos, ask ferdata.open for a framing. Raises
    DataError for anything that does not fit the layout.
    """
    tree = Tree(path)
    if classes is None:
        layout = only_layout(
            tree,
            lambda _: True,
            "folders named after emotions (name those of other classes: classes=...)",
        )
        for _, name, relpath in layout.class_folders(tree):
            if not is_known_class(name):
                raise DataError(
                    f"{tree.path(relpath)}: the name is not a known class; rename the folder, move "
                    f"it away, or give the names of all class folders in label order: classes=..."
                )
        space = alphabetical_label_space(NAME, sorted(layout.class_names(tree)))
    else:
        space = classes if isinstance(classes, LabelSpace) else LabelSpace(NAME, tuple(classes))
        names = {canonical_name(name) for name in space.classes}
        layout = only_layout(
            tree,
            lambda _: True,
            f"folders {', '.join(space.classes)}",
            lambda name: canonical_name(name) in names,
        )
    return face_files(tree.root, list_images(tree, layout, space), space, source=NAME)
