"""CK+48 and similar copies of CK+, sorted into class folders: happy/S010_006_00000015.png.

The file names are those of CK+, subject_sequence_frame, so the people are known. CK+48 has seven
classes and no neutral: it holds the last three frames of each labelled sequence. A copy with a
folder "neutral" gets all eight classes of CK+, in its order.
"""

from __future__ import annotations

import os
import re

from ferdata.arguments import checked_option
from ferdata.errors import DataError
from ferdata.labels import CK48, CK_PLUS, LabelSpace, canonical_name
from ferdata.sources.ck_plus import N_LABELLED_SUBJECTS, PROTOCOLS, SEQUENCES
from ferdata.sources.class_folders import Layout, layouts, list_images, only_layout
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree
from ferdata.sources.frames import N_LAST_FRAMES

NAME = "ck_folders"
LOOKS_LIKE = "CK+48: class folders of S010_006_00000015.png"

_NAME = re.compile(
    r"(?P<sequence>(?P<subject>S\d{3,4})_\d{3})_(?P<number>\d{1,12})(?![0-9A-Za-z]).*"
)
_EXAMPLE = "S010_006_00000015.png"
_N_FRAMES = 3  # CK+48 holds the last three frames of each labelled sequence


def recognised(tree: Tree) -> str | None:
    """Why this looks like class folders of CK+ images, or None."""
    for layout in layouts(tree):
        if _has_ck_names(tree, layout):
            return "class folders of images with CK+'s names (subject_sequence_frame)"
    return None


def list_files(path: str | os.PathLike[str], protocol: str | None = None) -> FaceFiles:
    """The images of all class folders, with the subjects that their names give.

    protocol  None: all images. "last-frame", "last-three": of each sequence with an expression the
              last frames alone, and no neutral images, as for CK+ itself. "paper": the last three,
              and all neutral images, which a copy without a folder "neutral" does not have

    Label space CK48, or CK_PLUS if there is a neutral folder. Raises DataError for anything that
    does not fit the layout, for one sequence with two expressions, and for a protocol that the copy
    has not enough images for; ValueError for an unknown protocol.
    """
    if protocol is not None:
        checked_option("protocol", protocol, PROTOCOLS)
    tree = Tree(path)
    layout = only_layout(
        tree,
        lambda layout: _has_ck_names(tree, layout),
        f"class folders of images named like {_EXAMPLE}",
    )
    classes = {canonical_name(name) for name in layout.class_names(tree)}
    label_space = CK_PLUS if "neutral" in classes else CK48
    listed = list_images(
        tree, layout, label_space, lambda relpath: tree.match(relpath, _NAME, _EXAMPLE)["subject"]
    )
    n_sequences = _check_sequences(tree, listed, label_space.classes)
    n_last, everything = _N_FRAMES, [f.path for f in listed]
    if protocol is not None:
        listed = _of_protocol(tree, listed, protocol, label_space)
        n_last = N_LAST_FRAMES[protocol]
    published = {}
    if label_space is CK48 and not layout.has_splits:
        per_class = {name: n_last * n for name, n in SEQUENCES.items()}
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
        protocol=protocol or "",
        extra={"sequences": n_sequences},
        left_out={"images that the protocol does not take": everything},
        published=published,
    )


def _of_protocol(
    tree: Tree, listed: list[FaceFile], protocol: str, label_space: LabelSpace
) -> list[FaceFile]:
    """The images that the protocol takes, in the same order."""
    if protocol == "paper" and label_space is CK48:
        raise DataError(
            f"{tree.root}: no folder neutral; the paper's protocol takes the first, neutral frame "
            "of each sequence too. protocol='last-three' and protocol='last-frame' fit this copy"
        )
    sequences: dict[str, list[tuple[int, FaceFile]]] = {}
    neutral = set()
    for f in listed:
        match = tree.match(f.path, _NAME, _EXAMPLE)
        if label_space.classes[f.label] == "neutral":
            neutral.add(f.path)
        else:
            sequences.setdefault(match["sequence"], []).append((int(match["number"]), f))
    taken = set(neutral) if protocol == "paper" else set()
    for name, frames in sequences.items():
        n = N_LAST_FRAMES[protocol]
        if len(frames) < n:
            raise DataError(
                f"{tree.root}: {len(frames)} frames of sequence {name}, the protocol needs {n}; "
                "protocol='last-frame' needs one"
            )
        frames.sort(key=lambda frame: frame[0])
        taken |= {f.path for _, f in frames[-n:]}
    return [f for f in listed if f.path in taken]


def _has_ck_names(tree: Tree, layout: Layout) -> bool:
    """Whether the first image found in the class folders has a name of CK+."""
    for _, _, folder in layout.class_folders(tree):
        if images := tree.scan(folder).images:
            return _NAME.fullmatch(images[0]) is not None
    return False


def _check_sequences(tree: Tree, listed: list[FaceFile], classes: tuple[str, ...]) -> int:
    """The number of sequences. Raises DataError for a sequence with two different expressions.

    A sequence goes from neutral to one expression, so a second one is a wrong label.
    """
    sequences = set()
    expression: dict[str, FaceFile] = {}
    for f in listed:
        sequence = tree.match(f.path, _NAME, _EXAMPLE)["sequence"]
        sequences.add(sequence)
        if classes[f.label] == "neutral":
            continue
        other = expression.setdefault(sequence, f)
        if other.label != f.label:
            raise DataError(
                f"{tree.path(f.path)}: {classes[f.label]}, but {other.path} of the same sequence "
                f"is {classes[other.label]}"
            )
    return len(sequences)
