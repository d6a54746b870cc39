"""FER2013 as image folders: train/angry/Training_3908.jpg, test/angry/PrivateTest_88305.jpg.

Seven classes, alphabetical as folders are (neutral is 4; in the csv it is 6). One edition has
train/ and test/, where test/ holds PublicTest and PrivateTest together; another train/ and
validation/. Row numbers are lost, so FER+ cannot be joined.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from ferdata.errors import DataError
from ferdata.labels import FER2013_FOLDERS
from ferdata.photo import FORMATS
from ferdata.sources.class_folders import Layout, layouts, listed_classes, the_layout
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "fer2013_folders"
LOOKS_LIKE = "FER2013 as folders: train/ and test/ with angry, disgust, fear, happy, ... of 48 x 48"
CLASSES = dict(
    angry=4953, disgust=547, fear=5121, happy=8989, neutral=6198, sad=6077, surprise=4002
)
"""Images by class in all of FER2013: 35,887."""
SPLITS = ("folders", "names")
SIDE_PX = 48

_USAGE = re.compile(r"(Training|PublicTest|PrivateTest)_.*")
_SPLIT_OF = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def recognised(tree: Tree) -> str | None:
    """Why this looks like FER2013's folders, or None."""
    for layout in layouts(tree):
        if _has_splits(layout) and _has_classes(tree, layout) and _has_size(tree, layout):
            folders = ", ".join(f"{tree.name(place)}/" for _, place in layout.tops)
            return f"{folders} with FER2013's seven class folders of 48 x 48 images"
    return None


def list_files(path: str | os.PathLike[str], split: str = "folders") -> FaceFiles:
    """The images of all class folders.

    split  "folders": train/ is "train", test/ "test", validation/ "validation". "names": by the
           beginning of the file names, as the csv's Usage: Training "train", PublicTest
           "validation", PrivateTest "test"

    Raises DataError for anything that does not fit the layout, ValueError for an unknown `split`.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    tree = Tree(path)
    layout = the_layout(
        tree,
        lambda layout: _has_splits(layout) and _has_classes(tree, layout),
        f"train/ and test/ of the folders {', '.join(FER2013_FOLDERS.classes)}",
    )
    listed = listed_classes(tree, layout, FER2013_FOLDERS)
    if split == "names":
        listed = [replace(f, split=_split_by_name(f, tree)) for f in listed]
    published = {"images": sum(CLASSES.values()), **CLASSES}
    if split == "names":
        published |= {"in train": 28709, "in validation": 3589, "in test": 3589}
    elif {s for s, _ in layout.tops} == {"train", "test"}:
        published |= {"in train": 28709, "in test": 7178}
    return face_files(
        tree.root,
        listed,
        FER2013_FOLDERS,
        source=NAME,
        protocol="" if split == "folders" else "split by names",
        published=published,
    )


def _has_splits(layout: Layout) -> bool:
    return layout.tops[0][0] is not None


def _has_classes(tree: Tree, layout: Layout) -> bool:
    """Whether each split has the seven classes; further folders are left to the listing."""
    return all(
        set(FER2013_FOLDERS.classes) <= {name.lower() for name in tree.scan(place).folders}
        for _, place in layout.tops
    )


def _has_size(tree: Tree, layout: Layout) -> bool:
    """Whether the first image is 48 x 48, as far as it can be read."""
    for _, _, place in layout.class_folders(tree):
        for name in tree.scan(place).images:
            return _size(tree, join(place, name)) in (None, (SIDE_PX, SIDE_PX))
    return True


def _size(tree: Tree, place: str) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(tree.path(place), formats=FORMATS) as image:
            return image.size
    except Exception:  # unreadable: said when the images are read, with the file's name
        return None


def _split_by_name(f: FaceFile, tree: Tree) -> str:
    match = _USAGE.fullmatch(f.path.rpartition("/")[2])
    if match is None:
        raise DataError(
            f"{tree.path(f.path)}: its name does not tell the split; expected Training_..., "
            f"PublicTest_... or PrivateTest_..., or ask for split='folders'"
        )
    return _SPLIT_OF[match[1]]
