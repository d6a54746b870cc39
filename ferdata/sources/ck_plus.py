"""CK+ (Lucey et al. 2010): posed sequences from neutral to the peak of an expression.

    cohn-kanade-images/S005/001/S005_001_00000011.png     593 sequences of 123 people
    Emotion/S005/001/S005_001_00000011_emotion.txt        one float, as "   3.0000000e+00", for 327

Emotion/ may be called Emotion_labels/, either folder may contain a folder of the same name (nested
archives), and the images may be in extended-cohn-kanade-images/. FACS/ and Landmarks/ are ignored.
A sequence without an emotion file has no label. The numbers, from CK+'s ReadMe: 0 neutral 1 anger
2 contempt 3 disgust 4 fear 5 happy 6 sadness 7 surprise. No published file holds 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ferdata.arguments import checked_option
from ferdata.errors import DataError
from ferdata.files.regular_file import named_errors
from ferdata.labels import CK_PLUS
from ferdata.sources.face_files import UNLABELLED, FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join
from ferdata.sources.frames import N_LAST_FRAMES, frames_by_number, last_frames

NAME = "ck_plus"
LOOKS_LIKE = "CK+: cohn-kanade-images with folders S005, S010, ..."
PROTOCOLS = ("paper", "last-frame", "last-three")
SEQUENCES = dict(anger=45, contempt=18, disgust=59, fear=25, happy=69, sadness=28, surprise=83)
"""Labelled sequences by class, of 118 people."""
N_SEQUENCES, N_SUBJECTS, N_LABELLED_SUBJECTS = 593, 123, 118

_IMAGE_FOLDERS = {"cohn-kanade-images", "extended-cohn-kanade-images"}
_EMOTION_FOLDERS = {"emotion", "emotions", "emotion_labels"}
_OTHER_FOLDERS = {"facs", "facs_labels", "landmarks"}
_SUBJECT, _SEQUENCE = re.compile(r"S\d{3,4}"), re.compile(r"\d{3}")
_FRAME = r"_(?P<number>\d{1,12})(?:\.[a-z]{1,5})?"
_EMOTION_FILE = re.compile(r"(?P<sequence>S\d{3,4}_\d{3})_(?P<number>\d{1,12})_emotion\.txt")
_FLOAT = re.compile(r"\d(?:\.\d{0,40})?(?:[eE][+-]?0{1,3})?")
_MAX_EMOTION_BYTES = 256


def recognised(tree: Tree) -> str | None:
    """Why this looks like CK+, or None."""
    found = _with_subjects(tree, _IMAGE_FOLDERS)
    return f"{tree.name(found[0])}/ holds CK+'s subject folders" if found else None


def list_files(
    path: str | os.PathLike[str], protocol: str = "paper", unlabelled: bool = False
) -> FaceFiles:
    """The images of CK+ that a protocol takes.

    protocol    "paper": the last three frames of each labelled sequence with its label, and the
                first frame of every sequence as neutral, 1574 images in all. "last-frame" and
                "last-three": the last frames of labelled sequences alone, 327 and 981 images
    unlabelled  take the last frames of sequences without a label, too; their has_label is False

    Raises DataError for anything that does not fit the layout, ValueError for an unknown protocol.
    """
    n_last = N_LAST_FRAMES[checked_option("protocol", protocol, PROTOCOLS)]
    with_first = protocol == "paper"
    neutral = CK_PLUS.index("neutral")
    tree = Tree(path)
    images = _find_one(tree, _IMAGE_FOLDERS, "cohn-kanade-images")
    emotions = _find_one(tree, _EMOTION_FOLDERS, "Emotion or Emotion_labels")
    labels = _labels(tree, emotions)
    n_labelled, n_beyond_peak, n_sequences = len(labels), 0, 0
    people, listed, frames_left_out = set(), [], []
    for subject, sequence, relpath in _sequences(tree, images):
        n_sequences += 1
        people.add(subject)
        folder = tree.path(relpath)
        pattern = re.compile(f"{subject}_{sequence}{_FRAME}", re.IGNORECASE)
        example = f"{subject}_{sequence}_00000001.png"
        frames = frames_by_number(tree.scan(relpath).images, pattern, folder, example)
        label, peak = labels.pop(f"{subject}_{sequence}", (UNLABELLED, None))
        if peak is not None and peak not in frames:
            raise DataError(
                f"{folder}: no frame {peak}, which its emotion file names as the peak: is the copy "
                f"complete?"
            )
        n_beyond_peak += peak is not None and max(frames) > peak
        if with_first:
            first = next(iter(frames.values()))
            listed.append(FaceFile(join(relpath, first), neutral, subject))
        if label != UNLABELLED or unlabelled:
            for name in last_frames(frames, protocol, folder, beside_first=with_first):
                listed.append(FaceFile(join(relpath, name), label, subject))
        frames_left_out += [join(relpath, name) for name in frames.values()]
    if labels:
        raise DataError(
            f"{tree.path(images)}: no sequence {next(iter(labels)).replace('_', '/')}, but there "
            f"is a label for it in {tree.path(emotions)} ({len(labels)} such labels): is the copy "
            f"complete?"
        )
    extra = {
        "sequences": n_sequences,
        "labelled sequences": n_labelled,
        "subjects of all sequences": len(people),
    }
    if n_beyond_peak:
        extra["sequences that go on after their peak"] = n_beyond_peak
    return face_files(
        tree.root,
        listed,
        CK_PLUS,
        source=NAME,
        protocol=protocol + (" with unlabelled sequences" if unlabelled else ""),
        framing="paper",
        extra=extra,
        published=_published(n_last, with_first, unlabelled),
        left_out={
            "frames that the protocol does not take": frames_left_out,
            "emotion files": [emotions],
            "FACS codes and landmarks": tree.find(lambda name: name.lower() in _OTHER_FOLDERS),
        },
    )


def _published(n_last: int, with_first: bool, unlabelled: bool) -> dict[str, int]:
    """What FaceFiles.counts is for a complete copy."""
    classes = {name: n_last * n for name, n in SEQUENCES.items()}
    classes["neutral"] = N_SEQUENCES if with_first else 0
    n_labelled = sum(SEQUENCES.values())
    n_unlabelled = n_last * (N_SEQUENCES - n_labelled) if unlabelled else 0
    everyone = with_first or unlabelled
    return {
        "images": sum(classes.values()) + n_unlabelled,
        "subjects": N_SUBJECTS if everyone else N_LABELLED_SUBJECTS,
        **classes,
        **({"unlabelled": n_unlabelled} if unlabelled else {}),
        "sequences": N_SEQUENCES,
        "labelled sequences": n_labelled,
        "subjects of all sequences": N_SUBJECTS,
    }


def _with_subjects(tree: Tree, names: set[str]) -> list[str]:
    """The folders with one of these names that contain subject folders."""
    return [
        relpath
        for relpath in tree.find(lambda name: name.lower() in names)
        if any(_SUBJECT.fullmatch(name) for name in tree.scan(relpath).folders)
    ]


def _find_one(tree: Tree, names: set[str], called: str) -> str:
    """The only folder that `_with_subjects` finds, else DataError."""
    expected = f"one folder called {called} with CK+'s subject folders S005, S010, ..."
    return tree.only(_with_subjects(tree, names), expected)


def _sequences(tree: Tree, top: str) -> Iterator[tuple[str, str, str]]:
    """(subject, sequence, relpath), sorted. Raises DataError for a folder of another name."""
    for subject, person in tree.folders(top, _SUBJECT, "a subject such as S005"):
        for sequence, relpath in tree.folders(person, _SEQUENCE, "a sequence such as 001"):
            yield subject, sequence, relpath


def _labels(tree: Tree, top: str) -> dict[str, tuple[int, int]]:
    """{"S005_001": (label, number of the peak frame)} for each sequence with an emotion file."""
    labels = {}
    for subject, sequence, relpath in _sequences(tree, top):
        files = [f for f in tree.scan(relpath).files if f.lower().endswith(".txt")]
        if len(files) > 1:
            raise DataError(f"{tree.path(relpath)}: more than one label: {', '.join(files[:3])}")
        for name in files:
            file = tree.path(join(relpath, name))
            match = _EMOTION_FILE.fullmatch(name)
            if match is None or match["sequence"] != f"{subject}_{sequence}":
                raise DataError(
                    f"{file}: expected a name such as {subject}_{sequence}_00000011_emotion.txt"
                )
            labels[f"{subject}_{sequence}"] = _emotion(file), int(match["number"])
    if not labels:
        raise DataError(f"{tree.path(top)}: no emotion files: is the copy complete?")
    return labels


def _emotion(file: Path) -> int:
    """The label in an emotion file: one number such as 3.0000000e+00."""
    with named_errors(file), open(file, "rb") as opened:
        data = opened.read(_MAX_EMOTION_BYTES + 1)
    text = data.removeprefix(b"\xef\xbb\xbf").decode("ascii", "replace").strip(" \t\r\n")
    if len(data) <= _MAX_EMOTION_BYTES and _FLOAT.fullmatch(text):
        value = float(text)
        if value.is_integer() and 0 <= value < len(CK_PLUS):
            return int(value)
    raise DataError(
        f"{file}: found {text[:40]!r}, expected one number 0..{len(CK_PLUS) - 1} such as "
        f"3.0000000e+00 (a sequence without a label has no file)"
    )
