"""Oulu-CASIA NIR&VIS (Zhao et al. 2011): 80 people, six expressions, from neutral to the peak.

    OriginalImg/VL/Strong/P001/Anger/000.jpeg       (OriginalImg|Preprocess Img)/(VL|NI)/
                                                    (Strong|Weak|Dark)/subject/class/frame

VL is visible light, NI near infrared; Strong, Weak and Dark are illuminations. Unpacking the
archives may add folders above OriginalImg (B_OriginalImg/B_OriginalImg/OriginalImg), or replace it
(B_OriginalImg/VL). Frames start at 000 or 001, depending on the edition. There is no neutral class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ferdata.arguments import checked_option
from ferdata.errors import DataError
from ferdata.labels import OULU_CASIA
from ferdata.sources.class_folders import label_of_folder
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join
from ferdata.sources.frames import N_LAST_FRAMES, frames_by_number, last_frames

NAME = "oulu_casia"
LOOKS_LIKE = "Oulu-CASIA: VL or NI, Strong, Weak or Dark, then P001, ..."
PROTOCOLS = ("paper", "last-frame", "last-three")
SPECTRA, ILLUMINATIONS = ("VL", "NI"), ("Strong", "Weak", "Dark")
IMAGES = ("original", "preprocessed")
N_SUBJECTS = 80

_SUBJECT = re.compile(r"P\d{3}", re.IGNORECASE)
_FRAME = re.compile(r"(?P<number>\d{1,6})(?:\.[a-z]{1,5})?", re.IGNORECASE)


def recognised(tree: Tree) -> str | None:
    """Why this looks like Oulu-CASIA, or None."""
    for spectrum, illumination, _ in _recordings(tree):
        return f"{spectrum}/{illumination}/ holds Oulu-CASIA's subject folders"
    return None


def list_files(
    path: str | os.PathLike[str],
    protocol: str = "paper",
    spectrum: str = "VL",
    illumination: str = "Strong",
    images: str | None = None,
) -> FaceFiles:
    """The images of Oulu-CASIA that a protocol takes.

    protocol      "paper": the last three frames of each sequence in VL Strong, 6 x 240 = 1440
                  images; "last-three": the same of any spectrum and illumination; "last-frame":
                  the last frame alone, 480 images
    spectrum      "VL" or "NI"
    illumination  "Strong", "Weak" or "Dark"
    images        "original" (photos) or "preprocessed" (cropped by the authors); None: whichever
                  is there, "original" if both are

    Raises DataError for anything that does not fit the layout, ValueError for unknown names.
    """
    n_last = N_LAST_FRAMES[checked_option("protocol", protocol, PROTOCOLS)]
    spectrum = checked_option("spectrum", spectrum, SPECTRA)
    illumination = checked_option("illumination", illumination, ILLUMINATIONS)
    if protocol == "paper" and (spectrum, illumination) != ("VL", "Strong"):
        raise ValueError(
            f"protocol: the paper's is VL Strong; for {spectrum} {illumination} ask for "
            f"'last-three'"
        )
    tree = Tree(path)
    images, top = _find_recording(tree, spectrum, illumination, images)
    listed, frames_left_out = [], []
    for subject, person in tree.folders(top, _SUBJECT, "one such as P001"):
        seen: dict[int, str] = {}
        for emotion, relpath in tree.folders(person):
            folder = tree.path(relpath)
            label = label_of_folder(emotion, OULU_CASIA, folder)
            if label in seen:
                raise DataError(f"{folder}: the same class as {seen[label]}/ beside it")
            seen[label] = emotion
            frames = frames_by_number(tree.scan(relpath).images, _FRAME, folder, "000.jpeg")
            for name in last_frames(frames, protocol, folder):
                listed.append(FaceFile(join(relpath, name), label, subject.upper()))
            frames_left_out += [join(relpath, name) for name in frames.values()]
        if not seen:
            raise DataError(f"{tree.path(person)}: no folders Anger, Disgust, ... in it")
    other_recordings = [relpath for _, _, relpath in _recordings(tree) if relpath != top]
    n_published = N_SUBJECTS * n_last
    return face_files(
        tree.root,
        listed,
        OULU_CASIA,
        source=NAME,
        protocol=f"{protocol}, {images}, {spectrum} {illumination}",
        framing="paper" if images == "original" else None,
        extra={"sequences": len(listed) // n_last},
        published={
            "images": n_published * len(OULU_CASIA),
            "subjects": N_SUBJECTS,
            **dict.fromkeys(OULU_CASIA.classes, n_published),
            "sequences": N_SUBJECTS * len(OULU_CASIA),
        },
        left_out={
            "frames that the protocol does not take": frames_left_out,
            "files of other recordings": other_recordings,
        },
    )


def _recordings(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """(spectrum, illumination, relpath) of each folder that contains subject folders."""
    for parent in tree.find(lambda name: name.upper() in SPECTRA):
        for name, relpath in tree.folders(parent):
            if name.capitalize() not in ILLUMINATIONS:
                continue
            if any(_SUBJECT.fullmatch(n) for n in tree.scan(relpath).folders):
                yield tree.name(parent).upper(), name.capitalize(), relpath


def _kind(tree: Tree, relpath: str) -> str:
    """ "original" or "preprocessed", from the nearest enclosing folder whose name tells it."""
    parts = (tree.root.resolve() / relpath).parts
    for part in reversed(parts):
        letters = re.sub(r"[^a-z]", "", part.lower())
        for ending, kind in (("originalimg", "original"), ("preprocessimg", "preprocessed")):
            if letters.endswith(ending):
                return kind
    return "original"


def _find_recording(
    tree: Tree, spectrum: str, illumination: str, images: str | None
) -> tuple[str, str]:
    """(kind of images, relpath) of the only recording asked for, else DataError."""
    if images is not None:
        checked_option("images", images, IMAGES)
    found: dict[str, list[str]] = {}
    others = set()
    for *recording, relpath in _recordings(tree):
        if recording == [spectrum, illumination]:
            found.setdefault(_kind(tree, relpath), []).append(relpath)
        else:
            others.add(" ".join(recording))
    kind = images or next((k for k in IMAGES if k in found), IMAGES[0])
    folders = found.get(kind, [])
    if len(folders) != 1:
        there = [str(tree.path(p)) for k in IMAGES for p in found.get(k, [])] + sorted(others)
        raise DataError(
            f"{tree.root}: expected one folder {spectrum}/{illumination} of {kind} images with "
            f"subject folders P001, P002, ..., found {len(folders)}; there is: "
            f"{', '.join(there) or 'nothing of Oulu-CASIA'}"
        )
    return kind, folders[0]
