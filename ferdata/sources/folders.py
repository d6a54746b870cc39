"""Images in class folders, from anywhere: angry/1.png, or train/angry/1.png and test/angry/2.png.

The classes are the folders' names in alphabetical order. The names must be names of emotions. Other
names, and numbers above all, do not say which class they stand for or in which order the classes
are; `classes` says both, and which folders are left out.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ferdata.class_choice import (
    LEFT_OUT,
    ClassChoice,
    Classes,
    advice_on_names,
    class_choice,
    is_number,
)
from ferdata.errors import DataError
from ferdata.labels import is_known_class
from ferdata.name_suggestions import likely_class
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


def recognised(tree: Tree, classes: Classes | None = None) -> str | None:
    """Why this looks like class folders, or None.  classes: as in `list_files`."""
    is_class = is_known_class if classes is None else _is_class(tree, class_choice(classes))
    found = layouts(tree, is_class)
    if not found:
        return None
    names = sorted(filter(is_class, found[0].class_names(tree)))
    splits = [f"{tree.name(relpath)}/" for split, relpath in found[0].parents if split]
    return (
        "folders named after classes: "
        + ", ".join(names)
        + (f" in {', '.join(splits)}" if splits else "")
    )


def list_files(path: str | os.PathLike[str], classes: Classes | None = None) -> FaceFiles:
    """The images of all class folders.

    classes  which folders are used, as which classes: see ferdata.class_choice. None: all, in
             alphabetical order, if all of them have names of emotions

    The images are taken to show only the face; for photos, ask ferdata.open for a framing. Raises
    DataError for anything that does not fit the layout.
    """
    tree = Tree(path)
    if classes is not None:
        return _chosen(tree, class_choice(classes))
    layout = only_layout(
        tree,
        lambda _: True,
        "folders named after emotions (name those of other classes: classes=...)",
    )
    names = sorted(layout.class_names(tree))
    for _, name, relpath in layout.class_folders(tree):
        if not is_known_class(name):
            likely = likely_class(name)
            raise DataError(
                f"{tree.path(relpath)}: the name is not a known class"
                + (f" (like {likely!r})" if likely else "")
                + f"; rename the folder, move it away, or {advice_on_names(names)}"
            )
    space = alphabetical_label_space(NAME, names)
    return face_files(tree.root, list_images(tree, layout, space), space, source=NAME)


def _chosen(tree: Tree, choice: ClassChoice) -> FaceFiles:
    """The images of the folders that the list of classes names."""
    layout = only_layout(
        tree,
        lambda _: True,
        f"folders {', '.join(of for of, _ in choice.pairs)}",
        _is_class(tree, choice),
    )
    chosen = choice.among(sorted(layout.class_names(tree)), str(tree.path(layout.top)))
    listed = list_images(tree, layout, chosen.space, label_of=chosen.label_of)
    counts: Counter[str] = Counter()
    others = []
    for _, name, relpath in layout.class_folders(tree):
        counts[name] += len(tree.scan(relpath).images)
        if chosen.label_of[name] is None:
            others.append(relpath)
    files = face_files(tree.root, listed, chosen.space, source=NAME, left_out={LEFT_OUT: others})
    return replace(files, notes=chosen.notes(counts))


def _is_class(tree: Tree, choice: ClassChoice) -> Callable[[str], bool]:
    """Tells the names of class folders: those of emotions and those in the list of classes. If no
    folders have such names, and the list may name numbers, numbers."""

    def is_named(name: str) -> bool:
        return is_known_class(name) or choice.mentions(name)

    return is_named if choice.has_pairs or layouts(tree, is_named) else is_number
