"""Oulu-CASIA NIR&VIS (Zhao et al. 2011): 80 people, six expressions, from neutral to the peak.

    OriginalImg/VL/Strong/P001/Anger/000.jpeg       (OriginalImg|Preprocess Img)/(VL|NI)/
                                                    (Strong|Weak|Dark)/subject/class/frame

VL is visible light, NI near infrared; Strong, Weak and Dark are illuminations. Folders of unpacked
archives may stand around it, once or more often (B_OriginalImg/B_OriginalImg/OriginalImg), or in
its place (B_OriginalImg/VL). Frames start at 000 or at 001, depending on the edition. There is no
neutral class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ferdata.errors import DataError
from ferdata.labels import OULU_CASIA
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join
from ferdata.sources.frames import LAST, checked_protocol, last, numbered

NAME = "oulu_casia"
LOOKS_LIKE = "Oulu-CASIA: folders VL or NI, Strong, Weak or Dark, then P001, P002, ..."
PROTOCOLS = ("paper", "last-frame", "last-three")
SPECTRA, ILLUMINATIONS = ("VL", "NI"), ("Strong", "Weak", "Dark")
IMAGES = ("original", "preprocessed")
N_SUBJECTS = 80

_SUBJECT = re.compile(r"P\d{3}", re.IGNORECASE)
_FRAME = re.compile(r"(?P<number>\d{1,6})\.(?:jpe?g|png|bmp)", re.IGNORECASE)


def recognised(tree: Tree) -> str | None:
    """Why this looks like Oulu-CASIA, or None."""
    for spectrum, illumination, place in _recordings(tree):
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

    protocol      "paper": the last three frames of VL Strong, 6 x 240 = 1440 images; "last-three":
                  the same of any recording; "last-frame": 480
    spectrum      "VL" or "NI";  illumination  "Strong", "Weak" or "Dark"
    images        "original" (photos) or "preprocessed" (cropped by the authors); None: what is
                  there, the originals if both are

    Raises DataError for anything that does not fit the layout, ValueError for unknown names.
    """
    n_last = LAST[checked_protocol(protocol, PROTOCOLS)]
    spectrum = _checked("spectrum", spectrum, SPECTRA)
    illumination = _checked("illumination", illumination, ILLUMINATIONS)
    if protocol == "paper" and (spectrum, illumination) != ("VL", "Strong"):
        raise ValueError(
            f"protocol: the paper's is VL Strong; for {spectrum} {illumination} ask for "
            f"'last-three'"
        )
    tree = Tree(path)
    images, top = _recording(tree, spectrum, illumination, images)
    listed = []
    for subject, person in tree.folders(top):
        if not _SUBJECT.fullmatch(subject):
            raise DataError(f"{tree.path(person)}: unexpected folder, expected one such as P001")
        labels_seen: dict[int, str] = {}
        for emotion, place in tree.folders(person):
            folder = tree.path(place)
            label = _label(emotion, folder)
            if label in labels_seen:
                raise DataError(f"{folder}: the same class as {labels_seen[label]}/ beside it")
            labels_seen[label] = emotion
            frames = numbered(tree.scan(place).images, _FRAME, folder, "000.jpeg")
            for name in last(frames, n_last, folder):
                listed.append(FaceFile(join(place, name), label, subject.upper()))
        if not labels_seen:
            raise DataError(f"{tree.path(person)}: no folders Anger, Disgust, ... in it")
    n_sequences = len(listed) // n_last
    n_published = N_SUBJECTS * n_last
    return face_files(
        tree.root,
        listed,
        OULU_CASIA,
        source=NAME,
        protocol=f"{protocol}, {images}, {spectrum} {illumination}",
        framing="paper" if images == "original" else None,
        extra={"sequences": n_sequences},
        published={
            "images": n_published * len(OULU_CASIA),
            "subjects": N_SUBJECTS,
            **dict.fromkeys(OULU_CASIA.classes, n_published),
            "sequences": N_SUBJECTS * len(OULU_CASIA),
        },
    )


def _checked(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{what}: expected one of {', '.join(known)}, found {value!r}")
    return value


def _label(emotion: str, folder: object) -> int:
    try:
        return OULU_CASIA.index(emotion)
    except DataError:
        raise DataError(
            f"{folder}: unexpected folder, expected one of {', '.join(OULU_CASIA.classes)}"
        ) from None


def _recordings(tree: Tree) -> Iterator[tuple[str, str, str]]:
    """(spectrum, illumination, place) of the folders that hold subject folders."""
    for above in tree.find(lambda name: name.upper() in SPECTRA):
        for name, place in tree.folders(above):
            if name.capitalize() not in ILLUMINATIONS:
                continue
            if any(_SUBJECT.fullmatch(n) for n in tree.scan(place).folders):
                yield tree.name(above).upper(), name.capitalize(), place


def _kind(tree: Tree, place: str) -> str:
    """ "original" or "preprocessed", by the nearest folder around `place` that says which."""
    parts = (tree.root.resolve() / place).parts
    for part in reversed(parts):
        letters = re.sub(r"[^a-z]", "", part.lower())
        for said, kind in (("originalimg", "original"), ("preprocessimg", "preprocessed")):
            if letters.endswith(said):
                return kind
    return "original"


def _recording(tree: Tree, spectrum: str, illumination: str, images: str | None) -> tuple[str, str]:
    """(kind of images, place) of the one recording that was asked for."""
    if images is not None:
        _checked("images", images, IMAGES)
    found: dict[str, list[str]] = {}
    others = set()
    for *recording, place in _recordings(tree):
        if recording == [spectrum, illumination]:
            found.setdefault(_kind(tree, place), []).append(place)
        else:
            others.add(" ".join(recording))
    kind = images or next((k for k in IMAGES if k in found), IMAGES[0])
    places = found.get(kind, [])
    if len(places) != 1:
        there = [str(tree.path(p)) for k in IMAGES for p in found.get(k, [])] + sorted(others)
        raise DataError(
            f"{tree.root}: expected one folder {spectrum}/{illumination} of {kind} images with "
            f"subject folders P001, P002, ..., found {len(places)}; there is: "
            f"{', '.join(there) or 'none of Oulu-CASIA'}"
        )
    return kind, places[0]
