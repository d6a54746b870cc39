"""FER2013 as image folders: train/angry/Training_3908.jpg, test/angry/PrivateTest_88305.jpg.

Some copies name the folders by nouns: anger, happiness, sadness. The seven classes are numbered
alphabetically (neutral is 4; in the csv it is 6). One edition has train/ and test/, where test/
holds both PublicTest and PrivateTest; another has train/ and validation/. The row numbers of the
csv are lost, so FER+ cannot be joined.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from ferdata.arguments import checked_option
from ferdata.labels import FER2013_FOLDERS, canonical_name, is_known_class
from ferdata.photos.photo import FORMATS
from ferdata.sources.class_folders import Layout, layouts, list_images, only_layout
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "fer2013_folders"
LOOKS_LIKE = "FER2013 as folders: train/ and test/ of angry, disgust, ..., 48 x 48"
CLASSES = dict(
    angry=4953, disgust=547, fear=5121, happy=8989, neutral=6198, sad=6077, surprise=4002
)
"""Images by class in all of FER2013: 35,887."""
SPLIT_COUNTS = {"in train": 28709, "in validation": 3589, "in test": 3589}
SPLITS = ("folders", "names")
SIDE_PX = 48

_SEVEN = {canonical_name(name) for name in FER2013_FOLDERS.classes}
_USAGE = re.compile(r"(Training|PublicTest|PrivateTest)_.*")
_SPLIT_OF = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def recognised(tree: Tree) -> str | None:
    """Why this looks like FER2013's folders, or None."""
    for layout in layouts(tree):
        is_seven = _has_classes(tree, layout) and _has_no_others(tree, layout)
        if layout.has_splits and is_seven and _has_size(tree, layout):
            folders = ", ".join(f"{tree.name(relpath)}/" for _, relpath in layout.parents)
            return f"{folders} with FER2013's seven class folders of 48 x 48 images"
    return None


def list_files(path: str | os.PathLike[str], split: str = "folders") -> FaceFiles:
    """The images of all class folders.

    split  what decides an image's split. "folders": the folder train/, validation/ or test/ that
           holds it. "names": the beginning of its file name, which is the Usage in the csv:
           Training is "train", PublicTest "validation", PrivateTest "test"

    Raises DataError for anything that does not fit the layout, ValueError for an unknown `split`.
    """
    checked_option("split", split, SPLITS)
    tree = Tree(path)
    layout = only_layout(
        tree,
        lambda layout: layout.has_splits and _has_classes(tree, layout),
        f"train/ and test/ of the folders {', '.join(FER2013_FOLDERS.classes)}",
    )
    listed = list_images(tree, layout, FER2013_FOLDERS)
    if split == "names":
        listed = [replace(f, split=_split_by_name(f, tree)) for f in listed]
    published = {"images": sum(CLASSES.values()), **CLASSES}
    if split == "names":
        published |= SPLIT_COUNTS
    elif {s for s, _ in layout.parents} == {"train", "test"}:
        published |= {"in train": 28709, "in test": 7178}
    return face_files(
        tree.root,
        listed,
        FER2013_FOLDERS,
        source=NAME,
        protocol="" if split == "folders" else "split by names",
        published=published,
    )


def _classes(tree: Tree, relpath: str) -> set[str]:
    """The classes that a split's folders are named after, by canonical name."""
    return {canonical_name(name) for name in tree.scan(relpath).folders if is_known_class(name)}


def _has_classes(tree: Tree, layout: Layout) -> bool:
    """Whether every split has the seven classes. `list_files` refuses any further folders."""
    return all(_SEVEN <= _classes(tree, relpath) for _, relpath in layout.parents)


def _has_no_others(tree: Tree, layout: Layout) -> bool:
    """Whether no split has an eighth expression: with FER+'s contempt it is another data set."""
    return all(_classes(tree, relpath) <= _SEVEN for _, relpath in layout.parents)


def _has_size(tree: Tree, layout: Layout) -> bool:
    """Whether the first image is 48 x 48. True if there is none or it cannot be read."""
    from PIL import Image

    for _, _, relpath in layout.class_folders(tree):
        for name in tree.scan(relpath).images:
            try:
                with Image.open(tree.path(join(relpath, name)), formats=FORMATS) as image:
                    return image.size == (SIDE_PX, SIDE_PX)
            except Exception:  # reported, with the file's name, when the images are read
                return True
    return True


def _split_by_name(f: FaceFile, tree: Tree) -> str:
    example = "Training_3908.jpg, which tells the split; without such names use split='folders'"
    return _SPLIT_OF[tree.match(f.path, _USAGE, example)[1]]
