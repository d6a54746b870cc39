"""The expressions in films and from cameras, for `tinycnn predict`: frame by frame, each face
followed and its probabilities smoothed; and the annotated film."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ferdata.films.film_writer import FilmWriter
from ferdata.films.frames import Camera, Film
from ferdata.films.tracking import FaceTracker, ProbabilitySmoothing
from ferdata.photos.faces import Faces

from ..classify import Classification, classifications
from ..ground.output_files import refuse_files_of_others
from ..network import Network
from ..quantized.network import QuantizedNetwork
from .annotated_photo import annotated


class Moment(NamedTuple):
    """The frame of a film that faces are from.

    number, time_s  of the frame
    tracks          the number of each face: the same in every frame in which it was followed
    pixels          uint8 (H, W, 3), RGB
    rate            of the film, in frames per second
    n_dropped       frames of a camera that were passed over since the last one
    """

    number: int
    time_s: float
    tracks: tuple[int, ...]
    pixels: np.ndarray
    rate: float
    n_dropped: int


def frame_predictions(
    film: Film | Camera, network: Network | QuantizedNetwork, args: argparse.Namespace
) -> Iterator[tuple[Faces, tuple[Classification, ...], Moment]]:
    """The faces of each frame, with the answer for each."""
    tracker = FaceTracker(
        network.input_spec.framing or "",
        smallest_px=args.smallest_px,
        least_score=args.least_score,
        size_px=network.input_spec.height_px,
    )
    smoothing = ProbabilitySmoothing(args.smoothing)
    for frame in film:
        faces, numbers = tracker.find(frame.pixels, frame.time_s)
        probs = network.predict_proba(np.asarray(faces.images))
        probs = smoothing.update(numbers, probs, frame.time_s)
        answers = tuple(classifications(probs, network.classes, args.unsure_below))
        rate = float(film.rate)
        yield (
            faces,
            answers,
            Moment(frame.number, frame.time_s, numbers, frame.pixels, rate, frame.n_dropped),
        )


class AnnotatedFilm:
    """Writes the annotated copy of a film: FOLDER/film.mp4."""

    def __init__(self, folder: Path, film: Path, rate: float) -> None:
        """Raises OSError."""
        self.film = film
        path = film_copy_path(folder, film)
        refuse_files_of_others([path])
        self._writer = FilmWriter(path, rate)

    def write(self, faces: Faces, answers: tuple[Classification, ...], moment: Moment) -> None:
        picture = annotated(moment.pixels, faces, answers)
        with ctrl_c_afterwards():  # half a frame would damage the film
            self._writer.write(np.asarray(picture), moment.time_s)

    def close(self) -> None:
        """Complete the film, also one that was stopped."""
        with ctrl_c_afterwards():
            try:
                self._writer.close()
            except BaseException:
                self._writer.discard()
                raise


def film_copy_path(folder: Path, film: Path) -> Path:
    """The annotated copy of a film."""
    return folder / (film.name if film.suffix.lower() == ".mp4" else f"{film.name}.mp4")


def camera_recording(camera: str, folder: Path | None) -> Path:
    """The name of a camera's annotated film in the folder: it holds the date and, if there is one
    of this second, a number, as no recording may be lost."""
    plain = "".join(c if c.isalnum() else "-" for c in camera)
    stem = f"camera-{plain}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (f"{stem}{suffix}.mp4" for suffix in ("", *(f"-{n}" for n in range(2, 100))))
    return Path(next(name for name in names if folder is None or not (folder / name).exists()))


@contextlib.contextmanager
def ctrl_c_afterwards() -> Iterator[None]:
    """Within this block Ctrl-C waits until the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main thread
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if pressed:
        raise KeyboardInterrupt
