"""Makes data sets in the layouts of the published ones, from the built-in faces.

Small trees hold drawn photos in which a face can be found and framed.  Full-size trees are only for
listings: every name is a hard link to the same tiny image.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ferdata.sources.rendered import render_faces

CK_CLASSES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
CK_LABELLED = {1: 45, 2: 18, 3: 59, 4: 25, 5: 69, 6: 28, 7: 83}
"""Labelled sequences by the number in the emotion files: 327."""
OULU_EMOTIONS = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
EMOTION_FORMS = ("   {}.0000000e+00\n", "{}.0000000e+00", "   {}.0000000e+00\r\n", "{}\n", "{}.0\n")

_FACES = {}


def faces():
    """A small data set, drawn only once: 4 people with one image of each of 8 classes."""
    if not _FACES:
        _FACES["faces"] = render_faces(4, 1, seed=3, size_px=160)
    return _FACES["faces"]


def photo(person: int, emotion: str, width_px: int, height_px: int) -> np.ndarray:
    """uint8 (H, W): the drawn face of one of four people, in the middle of a plain photo."""
    drawn = faces()
    of_class = drawn.labels == drawn.label_space.index(emotion)
    face = drawn.images[of_class][person]
    side = min(width_px, height_px, face.shape[0])
    face = np.asarray(Image.fromarray(face).resize((side, side)))
    canvas = np.full((height_px, width_px), int(np.median(face[0])), np.uint8)
    top, left = (height_px - side) // 2, (width_px - side) // 2
    canvas[top : top + side, left : left + side] = face
    return canvas


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


class Linked:
    """Writes one tiny image, then links to it under many names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.original = save(root.parent / "tiny.png", np.full((4, 4), 90, np.uint8))
        self._folders: set[Path] = set()

    def __call__(self, place: str) -> None:
        path = self.root / place
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        os.link(self.original, path)


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def ck_frame(sequence: str, number: int) -> str:
    """ "S005/001", 11 -> "S005/001/S005_001_00000011.png"."""
    return f"{sequence}/{sequence.replace('/', '_')}_{number:08d}.png"


def ck_emotion(emotion: Path, sequence: str, number: int, text: str) -> Path:
    return write(
        emotion / sequence / f"{sequence.replace('/', '_')}_{number:08d}_emotion.txt", text
    )


def ck_plus(
    root: Path,
    sequences: dict[str, tuple[int | None, int]],
    images: str = "cohn-kanade-images",
    emotion: str = "Emotion",
) -> Path:
    """CK+ with drawn photos.  sequences: {"S005/001": (number of the class or None, frames)}."""
    for i, (sequence, (label, n_frames)) in enumerate(sequences.items()):
        for number in range(1, n_frames + 1):
            name = "neutral" if label is None or number == 1 else CK_CLASSES[label]
            save(root / images / ck_frame(sequence, number), photo(i % 4, name, 320, 245))
        if label is None:
            (root / emotion / sequence).mkdir(parents=True)
        else:
            ck_emotion(root / emotion, sequence, n_frames, f"   {label}.0000000e+00\n")
    return root


def full_ck_plus(root: Path) -> Path:
    """CK+ in full: 593 sequences of 123 people, 327 of them labelled, FACS/ and Landmarks/."""
    link = Linked(root)
    labels = [label for label, n in CK_LABELLED.items() for _ in range(n)]
    labels += [None] * (593 - len(labels))
    people = [f"S{5 + 7 * i:03d}" for i in range(123)]
    n_of_person = dict.fromkeys(people, 0)
    for i, label in enumerate(labels):
        # The last five people have only unlabelled sequences.
        person = people[i % 118] if label is not None or i >= 593 - 200 else people[118 + i % 5]
        n_of_person[person] += 1
        sequence = f"{person}/{n_of_person[person]:03d}"
        n_frames = 5 + i % 11
        for number in range(1, n_frames + 1):
            link(f"cohn-kanade-images/{ck_frame(sequence, number)}")
        if label is not None:
            text = EMOTION_FORMS[i % len(EMOTION_FORMS)].format(label)
            ck_emotion(root / "Emotion", sequence, n_frames, text)
        elif i % 2:
            (root / "Emotion" / sequence).mkdir(parents=True)
        name = f"{sequence.replace('/', '_')}_{n_frames:08d}"
        write(root / "FACS" / sequence / f"{name}_facs.txt", "   1.0000000e+00   0.0000000e+00\n")
        write(root / "Landmarks" / sequence / f"{name}_landmarks.txt", "   2.0e+02   2.0e+02\n")
    write(root / "cohn-kanade-images" / people[0] / ".DS_Store", b"\0")
    return root


def oulu_casia(
    root: Path, n_people: int = 2, top: str = "OriginalImg/VL/Strong", first: int = 0
) -> Path:
    """Oulu-CASIA with drawn photos: four frames per sequence."""
    for person in range(n_people):
        for emotion in OULU_EMOTIONS:
            folder = root / top / f"P{person + 1:03d}" / emotion
            for number in range(first, first + 4):
                name = "neutral" if number == first else emotion.lower()
                save(folder / f"{number:03d}.jpeg", photo(person, name, 320, 240), quality=90)
    return root


def full_oulu_casia(
    root: Path, tops: tuple[str, ...] = ("OriginalImg/VL/Strong",), first: int = 0
) -> Path:
    """Oulu-CASIA in full: 80 people, six expressions, sequences of 5 to 15 frames."""
    link = Linked(root)
    for top in tops:
        for person in range(80):
            for i, emotion in enumerate(OULU_EMOTIONS):
                for number in range(first, first + 5 + (person + i) % 11):
                    link(f"{top}/P{person + 1:03d}/{emotion}/{number:03d}.jpeg")
    return root
