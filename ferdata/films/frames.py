"""Reads the frames of video files and cameras, with PyAV (the extra `video`).

A film is recognised by its content. FFmpeg, which PyAV calls, is told the format found here: of the
formats that it can read, some name other files or addresses on the network, and none of those is
among FORMATS.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ferdata.errors import DataError
from ferdata.files.regular_file import errors_naming, named_errors
from ferdata.photos.picture_formats import N_BYTES, format_of
from tinycnn.ground.messages import in_short

FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg")
"""FFmpeg's names; mov is also mp4, m4v and 3gp, matroska also webm, asf also wmv."""

MAX_PIXELS = 50_000_000
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


class Frame(NamedTuple):
    """One picture of a film.

    number     0 for the first
    time_s     seconds since the first frame
    pixels     uint8 (H, W, 3), RGB, upright
    n_dropped  frames that were passed over between the last one and this one
    """

    number: int
    time_s: float
    pixels: np.ndarray
    n_dropped: int = 0


def video_extra() -> ModuleType:
    """PyAV. Raises ImportError, which names the extra, without it."""
    try:
        import av
        import av.error
    except ImportError as error:
        raise ImportError(
            f'films and cameras need PyAV: pip install "tinycnn[video]" ({error})'
        ) from None
    return av


def film_format(path: str | os.PathLike) -> str | None:
    """Which of FORMATS a file has, by its first bytes; None if it is no film, or cannot be read."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            start = file.read(400)
    except (OSError, ValueError):
        return None
    if start[4:8] == b"ftyp":
        return None if format_of(start[:N_BYTES]) else "mov"
    if start[4:8] in (b"moov", b"mdat", b"wide"):
        return "mov"
    if start[:4] == b"RIFF":
        return "avi" if start[8:11] == b"AVI" else None
    for name, beginning in (
        ("matroska", b"\x1a\x45\xdf\xa3"),
        ("flv", b"FLV"),
        ("asf", b"\x30\x26\xb2\x75"),
        ("ogg", b"OggS"),
        ("mpeg", b"\0\0\1\xba"),
        ("mpegvideo", b"\0\0\1\xb3"),
    ):
        if start.startswith(beginning):
            return name
    packets = (start[0:1] + start[188:189], start[4:5] + start[196:197])
    return "mpegts" if b"GG" in packets else None  # "G" begins each packet of 188 or 192 bytes


class Film:
    """The frames of a video file, in the order of their times; to be used in a `with` block.

    name       the file
    rate       frames per second, as the file says
    n_damaged  parts that could not be decoded, so far; their frames are left out
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Raises DataError if the file is missing, no film, damaged, or has sound alone."""
        self.name, self.n_damaged = os.fspath(path), 0
        with named_errors(path, "cannot be read as a film"):
            with open(path, "rb"):  # FFmpeg's own messages name no file
                pass
            known = film_format(path)
            if known is None:
                raise DataError(f"{path}: not a film; expected one of {', '.join(FORMATS)}")
            self._av = video_extra_or_data_error()
            self._file = open(path, "rb")
            try:
                self._container = self._av.open(self._file, format=known)
                if not self._container.streams.video:
                    raise DataError(f"{path}: a film without pictures (it has sound alone)")
            except BaseException:
                self._file.close()
                raise
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = _rate(self._stream)

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        """Raises DataError for a frame with more than MAX_PIXELS pixels."""
        first_s, last_s, number = None, -1.0, 0
        for decoded in self._decoded():
            time_s = decoded.time
            if time_s is None or (first_s is not None and time_s - first_s <= last_s):
                time_s = (first_s or 0.0) + last_s + 1 / float(self.rate)
            if first_s is None:
                first_s = time_s
            last_s = time_s - first_s
            yield Frame(number, last_s, _upright_pixels(decoded, self.name))
            number += 1

    def _decoded(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._av.error.FFmpegError:  # a file that ends too early
                self.n_damaged += 1
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError:
                self.n_damaged += 1
                continue
            yield from frames


def read_film(path: str | os.PathLike) -> Iterator[Frame]:
    """The frames of a video file, one after the other. Needs the extra `video`.

    Raises DataError if it is missing, no film, damaged, or has sound alone; parts inside that
    cannot be decoded are an error after the last frame.
    """
    with Film(path) as film:
        yield from film
        if film.n_damaged:
            raise DataError(damage(film))


def damage(film: Film) -> str:
    """What to say of a film with damaged parts."""
    parts = "1 damaged part was" if film.n_damaged == 1 else f"{film.n_damaged} damaged parts were"
    return f"{film.name}: {parts} left out"


def open_camera(camera: str, size: tuple[int, int] = (640, 480), rate: int = 30) -> Camera:
    """A camera by number ("0") or by the name that the system gives it. Needs the extra `video`.

    size, rate  width and height in px, and frames per second, which the camera is asked for
    Raises DataError if there is none, or it is used by another program.
    """
    av = video_extra()
    system = _CAMERA_FORMATS.get(sys.platform)
    if system is None:
        raise DataError(f"camera {camera}: cameras of {sys.platform} are not supported")
    place = camera
    if camera.isdecimal():
        place = {"v4l2": f"/dev/video{camera}", "avfoundation": f"{camera}:none"}.get(system, "")
        if not place:
            raise DataError(f"camera {camera}: Windows knows cameras by name, 'video=NAME'")
    options = {"video_size": f"{size[0]}x{size[1]}", "framerate": str(rate)}
    with errors_naming(f"camera {camera}", "cannot be opened"):
        try:
            container = av.open(place, format=system, options=options)
        except FileNotFoundError:
            raise DataError(f"camera {camera}: there is no {place}") from None
    return Camera(f"camera {camera}", _camera_frames(container, f"camera {camera}"), rate)


def _camera_frames(container: Any, name: str) -> Iterator[np.ndarray]:
    with container:
        for decoded in container.decode(video=0):
            yield _upright_pixels(decoded, name)


class Camera:
    """The newest frame of a camera, each time one is asked for: those that come in between are
    dropped and counted. To be used in a `with` block.

    name  what messages call it
    rate  frames per second
    """

    def __init__(self, name: str, pictures: Iterable[np.ndarray], rate: float = 30) -> None:
        """pictures: uint8 (H, W, 3), RGB; read in a thread of its own, as fast as they come"""
        self.name, self.rate, self.n_damaged = name, Fraction(rate).limit_denominator(1001), 0
        self._pictures = pictures
        self._newest: tuple[int, float, np.ndarray] | None = None
        self._changed = threading.Condition()
        self._stopped = self._ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        self._thread.join(2)  # a camera that gives no picture must not hold up the end

    def __iter__(self) -> Iterator[Frame]:
        """Ends with the camera. Raises DataError if reading fails."""
        first_s, next_number = None, 0
        while True:
            with self._changed:
                while self._newest is None and not self._ended:
                    self._changed.wait(0.2)  # so that Ctrl-C is noticed on every system
                newest, self._newest = self._newest, None
            if newest is None:
                if self._error is not None:
                    raise DataError(f"{self.name}: {in_short(self._error)}") from self._error
                return
            number, time_s, pixels = newest
            first_s = time_s if first_s is None else first_s
            yield Frame(number, time_s - first_s, pixels, number - next_number)
            next_number = number + 1

    def _read(self) -> None:
        try:
            for number, pixels in enumerate(self._pictures):
                with self._changed:
                    self._newest = number, time.monotonic(), pixels
                    self._changed.notify()
                if self._stopped:
                    break
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()


def video_extra_or_data_error() -> ModuleType:
    """As `video_extra`, with DataError in place of ImportError."""
    try:
        return video_extra()
    except ImportError as error:
        raise DataError(str(error)) from None


def _rate(stream: Any) -> Fraction:
    for rate in (stream.average_rate, stream.base_rate):
        if rate and 1 <= rate <= 1000:
            return Fraction(rate)
    return Fraction(30)


def _upright_pixels(decoded: Any, name: str) -> np.ndarray:
    """uint8 (H, W, 3) of a frame of PyAV: turned as the film says, with square pixels."""
    if decoded.width * decoded.height > MAX_PIXELS:
        size = f"{decoded.width} x {decoded.height}"
        raise DataError(f"{name}: {size} px is more than {MAX_PIXELS:,} pixels")
    pixels = decoded.to_ndarray(format="rgb24")
    shape = getattr(decoded, "sample_aspect_ratio", None)
    if shape and shape != 1 and 0.25 <= shape <= 4:
        square = (max(round(decoded.width * float(shape)), 1), decoded.height)
        pixels = np.asarray(Image.fromarray(pixels).resize(square, Image.Resampling.BILINEAR))
    quarters = round((getattr(decoded, "rotation", 0) or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels
