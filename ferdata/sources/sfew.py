"""SFEW 2.0 (Dhall et al. 2011): faces from films, in class folders.

    Train_Aligned_Faces/Angry/Airheads_000519240_00000005.png

A file name holds the film, the time and the frame. The class folders Angry, Disgust, Fear, Happy,
Neutral, Sad and Surprise are in Train_Aligned_Faces, Val_Aligned_Faces (or Val_Aligned_Faces_new)
and Test_Aligned_Faces, each of which may be in Train, Val or Test; the labels of the test images
are not public, so these are in no class folders and are left out, counted. Without aligned faces,
the class folders are in Train and Val themselves and hold whole film frames of 720 x 576. Who is
shown is not known; the authors' splits have no person in common.
"""

from __future__ import annotations

import os
import re

from ferdata.errors import DataError
from ferdata.labels import SFEW, is_known_class
from ferdata.sources.class_folders import Layout, list_images
from ferdata.sources.face_files import FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "sfew"
LOOKS_LIKE = "SFEW: Train_Aligned_Faces/Angry/Airheads_000519240_00000005.png"

_FOLDER = re.compile(r"(train|val|test)(?P<aligned>_aligned_faces)?(?:_new)?", re.IGNORECASE)
_SPLIT_OF = {"train": "train", "val": "validation", "test": "test"}
_NAME = re.compile(r".+_\d{9}_\d{8}(?:\.[a-z]{1,5})?", re.IGNORECASE)


def recognised(tree: Tree) -> str | None:
    """Why this looks like SFEW, or None."""
    found = _with_classes(tree, aligned=True) or _with_classes(tree, aligned=False)
    return (
        f"{tree.name(found[0])}/ with class folders of images with SFEW's names" if found else None
    )


def list_files(path: str | os.PathLike[str]) -> FaceFiles:
    """The images of all class folders: the aligned faces, or the film frames if there are none.

    Raises DataError for anything that does not fit the layout, and two folders of one split.
    """
    tree = Tree(path)
    aligned = _with_classes(tree, aligned=True)
    parents = aligned or _with_classes(tree, aligned=False)
    if not parents:
        raise DataError(f"{tree.root}: expected {LOOKS_LIKE}")
    splits: dict[str, str] = {}
    for relpath in parents:
        split = _split(tree.name(relpath))
        if split in splits:
            raise DataError(
                f"{tree.path(relpath)}: the same split as {tree.path(splits[split])}; give the "
                "path of one, or move one away"
            )
        splits[split] = relpath
    layout = Layout("", tuple(splits.items()))
    film_frames = _with_classes(tree, aligned=False) if aligned else []
    return face_files(
        tree.root,
        list_images(tree, layout, SFEW),
        SFEW,
        source=NAME,
        protocol="aligned faces" if aligned else "film frames",
        framing=None if aligned else "fer2013",
        left_out={
            "images of test without labels": _unlabelled(tree),
            "film frames, whose aligned faces are read": film_frames,
        },
    )


def _with_classes(tree: Tree, aligned: bool) -> list[str]:
    """Folders with a split's name that hold at least two class folders, with SFEW's file names."""
    found = []
    for relpath in tree.find(lambda name: _FOLDER.fullmatch(name) is not None):
        match = _FOLDER.fullmatch(tree.name(relpath))
        classes = [inner for name, inner in tree.folders(relpath) if is_known_class(name)]
        if match is None or (match["aligned"] is not None) != aligned or len(classes) < 2:
            continue
        first = next((names[0] for c in classes if (names := tree.scan(c).images)), "")
        if _NAME.fullmatch(first):
            found.append(relpath)
    return found


def _split(name: str) -> str:
    return _SPLIT_OF[name.lower().partition("_")[0]]


def _unlabelled(tree: Tree) -> list[str]:
    """Images that lie in a folder of the test split itself."""
    folders = tree.find(lambda name: _FOLDER.fullmatch(name) is not None)
    return [
        join(folder, name)
        for folder in folders
        if _split(tree.name(folder)) == "test"
        for name in tree.scan(folder).images
    ]
