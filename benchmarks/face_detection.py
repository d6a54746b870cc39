"""Face detection: misses, false alarms and time, beside OpenCV's cascades and YuNet.

    python -m benchmarks.face_detection
    python -m benchmarks.face_detection --yunet face_detection_yunet_2023mar.onnx

The set is made here. Backgrounds are scikit-image's own pictures without a face, shrunk to at most
640 px, in all eight orientations; any face found in them is a false alarm. Into the upright ones,
faces are pasted, one at a time: drawn by ferdata, and the 100 photos of faces in scikit-image's LFW
subset (25x25 px). A face is found if the centre of a box is within a quarter of the face's side;
all others are missed. OpenCV's cascade needs opencv-python-headless below 5; YuNet needs its model
file, which comes with no package. All search for faces of 24 px or more. The CPU time is of a
picture without a face.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .table import render

PICTURES = Path(str(files("skimage"))) / "data"
SIDES_PX = (24, 32, 48, 64, 96, 160)
Detector = Callable[[np.ndarray], np.ndarray]
"""Boxes (n, 4) in a grey picture: x, y, width, height."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.face_detection",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--faces", type=int, default=40, help="of each kind and size (40)")
    parser.add_argument("--yunet", metavar="FILE", help="the model file of YuNet")
    options = parser.parse_args(arguments)
    detectors = {**ours(), **opencv(options.yunet)}
    grounds = backgrounds()
    turned = [
        np.ascontiguousarray(np.rot90(picture[:, ::way], k))
        for picture in grounds
        for k in range(4)
        for way in (1, -1)
    ]
    pasted = {kind: pictures_of(kind, grounds, options.faces) for kind in ("drawn", "photos")}
    rows = []
    for name, detect in detectors.items():
        detect(turned[0])
        begin = time.process_time()
        n_false = sum(len(detect(picture)) for picture in turned)
        ms = 1e3 * (time.process_time() - begin) / len(turned)
        missed = [f"{100 * share_missed(detect, some):.0f} %" for some in pasted.values()]
        rows.append([name, *missed, f"{100 * n_false / len(turned):.1f}", f"{ms:.0f} ms"])
        print(name, file=sys.stderr)
    n = len(SIDES_PX) * options.faces
    print(f"{n} faces of each kind, {len(turned)} pictures without a face")
    header = ["detector", "drawn missed", "photos missed", "false in 100 pictures", "CPU time"]
    print(render(header, rows))
    return 0


def ours() -> dict[str, Detector]:
    from ferdata.photos.detect import Sought, detect

    def with_score(score: float) -> Detector:
        return lambda picture: detect(picture, Sought(24, score)).boxes

    return {f"ferdata, least score {score:g}": with_score(score) for score in (0.5, 1.0, 1.5, 2.0)}


def opencv(yunet: str | None) -> dict[str, Detector]:
    """OpenCV's detectors, as far as they are installed."""
    try:
        import cv2
    except ImportError:
        print("OpenCV is not installed", file=sys.stderr)
        return {}
    cv2.setNumThreads(1)
    found: dict[str, Detector] = {}
    if hasattr(cv2, "CascadeClassifier"):
        haar = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        for least in (3, 6, 12):
            cascade = cv2.CascadeClassifier(str(haar))
            found[f"OpenCV, Haar cascade, {least} neighbours"] = _cascade(cascade, least)
    if yunet is not None:
        network = cv2.FaceDetectorYN.create(yunet, "", (320, 320), 0.9)

        def by_yunet(picture: np.ndarray) -> np.ndarray:
            network.setInputSize(picture.shape[::-1])
            faces = network.detect(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))[1]
            return np.empty((0, 4)) if faces is None else faces[:, :4]

        found["OpenCV, YuNet"] = by_yunet
    return found


def _cascade(cascade: Any, least_neighbours: int) -> Detector:
    def detect(picture: np.ndarray) -> np.ndarray:
        return np.reshape(
            cascade.detectMultiScale(picture, 1.1, least_neighbours, 0, (24, 24)), (-1, 4)
        )

    return detect


def backgrounds() -> list[np.ndarray]:
    """The pictures without a face that come with scikit-image: grey, of at most 640 px."""
    from PIL import Image

    from ferdata.photos.photo import read_grey

    paths = sorted(PICTURES.glob("*.[pj][np]g"))
    images = [Image.fromarray(read_grey(p)) for p in paths if p.name != "astronaut.png"]
    for image in images:
        image.thumbnail((640, 640))
    return [np.asarray(image) for image in images]


def pictures_of(
    kind: str, grounds: list[np.ndarray], n: int
) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    """Pictures with one face each, and its x, y and side in px."""
    from PIL import Image

    import ferdata

    if kind == "drawn":
        faces = ferdata.render_faces(12, 1, seed=5).images
    else:
        subset = np.load(PICTURES / "lfw_subset.npy", allow_pickle=False)
        faces = (255 * subset[:100]).round().astype(np.uint8)
    rng, made = np.random.default_rng(0), []
    roomy = [picture for picture in grounds if min(picture.shape) >= 300]
    for side in SIDES_PX:
        for k in range(n):
            picture = roomy[k % len(roomy)].copy()
            face = Image.fromarray(faces[rng.integers(len(faces))])
            y, x = (int(rng.integers(length - side)) for length in picture.shape)
            how = Image.Resampling.BICUBIC if side > face.width else Image.Resampling.BOX
            picture[y : y + side, x : x + side] = np.asarray(face.resize((side, side), how))
            made.append((picture, (x, y, side)))
    return made


def share_missed(
    detect: Detector, pictures: list[tuple[np.ndarray, tuple[int, int, int]]]
) -> float:
    n_missed = 0
    for picture, (x, y, side) in pictures:
        boxes = np.asarray(detect(picture), np.float64).reshape(-1, 4)
        off = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - [x + side / 2, y + side / 2]).max(axis=1)
        n_missed += not (off < side / 4).any()
    return n_missed / len(pictures)


if __name__ == "__main__":
    sys.exit(main())
