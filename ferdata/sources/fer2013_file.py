"""Which file is FER2013's csv: by its name in a folder, by the names of its columns."""

from __future__ import annotations

from collections.abc import Sequence

from ferdata.labels import FERPLUS10
from ferdata.sources.folder_tree import Tree, join

FILES = ("fer2013.csv", "fer2013.csv.gz", "fer2013.zip", "icml_face_data.csv")


def find_csv(tree: Tree) -> list[str]:
    """Places of files with FER2013's names, in the folder and in those directly inside it."""
    return [
        join(place, name)
        for place in tree.find(lambda name: True)
        if place.count("/") == 0
        for name in tree.scan(place).files
        if name.lower() in FILES
    ]


def is_fer2013(names: Sequence[str]) -> bool:
    """Whether these column names, in lower case, are FER2013's."""
    return {"emotion", "pixels", "usage"} <= set(names)


def is_votes(names: Sequence[str]) -> bool:
    """Whether these column names, in lower case, are those of FER+."""
    return {"usage", *(c.lower() for c in FERPLUS10.classes)} <= set(names)
