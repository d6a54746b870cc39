"""Writes frames to an MP4 file (H.264, no sound), with PyAV (the extra `video`)."""

from __future__ import annotations

import contextlib
import os
import secrets
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ferdata.films.frames import video_extra
from tinycnn.ground.atomic_file import replace_file
from tinycnn.ground.mark import MARK

TICKS = 60_000  # a second has so many: whole numbers for 24, 25, 30, 50 and 60 frames per second
CODECS = ("libx264", "mpeg4")
"""H.264, or where FFmpeg was built without it, the older MPEG-4."""


class FilmWriter:
    """A film that is complete when it is closed. Until then it is a part file in the same folder,
    `.<name>.<8 hex digits>.part`."""

    def __init__(self, path: str | os.PathLike, rate: float) -> None:
        """rate: frames per second; frames have their own times, whatever it is. Raises OSError."""
        self._av = video_extra()
        self.path = Path(path)
        self._part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        with open(self._part, "xb"):  # so that an error has the system's own message
            pass
        self._container = self._av.open(str(self._part), "w", format="mp4")
        self._container.metadata["comment"] = MARK
        self._rate, self._last = Fraction(rate).limit_denominator(1001), -1
        self._stream: Any = None
        self._size = (0, 0)

    def write(self, pixels: np.ndarray, time_s: float) -> None:
        """Add a frame, uint8 (H, W, 3), RGB, that is shown from time_s (seconds) on.

        Times must not fall from frame to frame. A frame of another size than the first is resized
        to the first one's size.
        """
        if self._stream is None:
            self._begin(pixels)
        width, height = self._size
        if pixels.shape[:2] != (height, width):
            padded = np.pad(
                pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), "edge"
            )
            if padded.shape[:2] != (height, width):
                padded = np.asarray(Image.fromarray(pixels).resize((width, height)))
            pixels = padded
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        self._last = max(round(time_s * TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def _begin(self, pixels: np.ndarray) -> None:
        height, width = pixels.shape[:2]
        self._size = (
            width + width % 2,
            height + height % 2,
        )  # H.264 with YUV 4:2:0 needs even ones
        codec = next(name for name in CODECS if name in self._av.codecs_available)
        options = {"preset": "veryfast", "crf": "20"} if codec == "libx264" else {}
        self._stream = self._container.add_stream(codec, rate=self._rate, options=options)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        if codec == "mpeg4":
            self._stream.bit_rate = 4_000_000
        self._stream.codec_context.time_base = Fraction(1, TICKS)

    def close(self) -> None:
        """Complete the film and give it its name. Without any frame, no file is left."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._stream is None:
            self._part.unlink()
        else:
            replace_file(self._part, self.path)

    def discard(self) -> None:
        """Remove the part file."""
        with contextlib.suppress(Exception):
            self._container.close()
        self._part.unlink(missing_ok=True)
