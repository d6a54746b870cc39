"""KDEF (Lundqvist, Flykt and Ohman 1998): AF01ANS.JPG, 4900 photos of 70 people, 562 x 762.

A file name holds the session (A or B), the person (F or M, then a number), the expression (AF
afraid, AN angry, DI disgusted, HA happy, NE neutral, SA sad, SU surprised) and the view (FL full
left profile, HL half left profile, S straight, HR half right, FR full right): kdef.se, "About
KDEF". The images are in a folder for each person, KDEF/AF01/, in class folders, whose names must
agree, or in any other. Both sessions show the same person. A few published files have names of
another kind, such as AF31V.JPG; they are left out and counted.
"""

from __future__ import annotations

import os
import re

from ferdata.arguments import checked_option
from ferdata.errors import DataError
from ferdata.labels import KDEF
from ferdata.sources.class_folders import check_class_folder
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join

NAME = "kdef"
LOOKS_LIKE = "KDEF: AF01ANS.JPG"
CODES = dict(zip(("AF", "AN", "DI", "HA", "NE", "SA", "SU"), KDEF.classes))
VIEWS = {"straight": ("S",), "half": ("HL", "S", "HR"), "all": ("FL", "HL", "S", "HR", "FR")}
"""The letters of the views that each value of `views` takes."""

N_SUBJECTS, N_SESSIONS = 70, 2

_NAME = re.compile(
    r"(?P<session>[AB])(?P<subject>[FM]\d{2})(?P<code>AF|AN|DI|HA|NE|SA|SU)"
    r"(?P<view>FL|HL|S|HR|FR)(?:\.[a-z]{1,5})?",
    re.IGNORECASE,
)


def recognised(tree: Tree) -> str | None:
    """Why this looks like KDEF, or None."""
    for folder in tree.find(lambda name: True):
        for name in tree.scan(folder).images:
            if _NAME.fullmatch(name):
                return f"images with KDEF's names, such as {join(folder, name)}"
    return None


def list_files(path: str | os.PathLike[str], views: str = "straight") -> FaceFiles:
    """The images of the views asked for, with the person and the expression that their names give.

    views  "straight": faces that look into the camera, 980 images. "half": half profiles as well.
           "all": full profiles as well, 4900 images; in most of them no face is found

    Raises DataError for a class folder that contradicts the name, and the same name in two folders;
    ValueError for unknown `views`.
    """
    taken = VIEWS[checked_option("views", views, tuple(VIEWS))]
    tree = Tree(path)
    listed = []
    seen: dict[str, str] = {}
    other_views, other_names = [], []
    for folder in tree.find(lambda name: True):
        images = [(name, _NAME.fullmatch(name)) for name in tree.scan(folder).images]
        if not any(match for _, match in images):
            continue
        for name, match in images:
            relpath = join(folder, name)
            if match is None:
                other_names.append(relpath)
                continue
            stem = os.path.splitext(name)[0].upper()
            if stem in seen:
                raise DataError(f"{tree.path(relpath)}: the same name as {seen[stem]}")
            seen[stem] = relpath
            class_name = CODES[match["code"].upper()]
            check_class_folder(tree, relpath, class_name)
            if match["view"].upper() in taken:
                subject = match["subject"].upper()
                listed.append(FaceFile(relpath, KDEF.index(class_name), subject))
            else:
                other_views.append(relpath)
    if not listed:
        raise DataError(f"{tree.root}: no images named like AF01ANS.JPG of views={views!r}")
    n_of_class = N_SUBJECTS * N_SESSIONS * len(taken)
    return face_files(
        tree.root,
        listed,
        KDEF,
        source=NAME,
        protocol=f"{views} views",
        framing="paper",
        left_out={
            "images of other views": other_views,
            "images with names of another kind": other_names,
        },
        published={
            "images": n_of_class * len(KDEF),
            "subjects": N_SUBJECTS,
            **dict.fromkeys(KDEF.classes, n_of_class),
        },
    )
