"""Readers of pictures and films."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.readers.archives import npy
from fuzz.readers.registry import Reader, reader, written


def pictures() -> dict[str, bytes]:
    from PIL import Image

    grey = Image.fromarray(np.arange(56, dtype=np.uint8).reshape(8, 7) * 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotated by 90 degrees

    def content(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return {
        "png": content(grey, "PNG"),
        "gif": content(grey, "GIF"),
        "bmp": content(grey, "BMP"),
        "webp": content(grey, "WEBP"),
        "pgm": content(grey, "PPM"),
        "jpg": content(grey, "JPEG"),
        "tif": content(grey, "TIFF"),
        "lzw.tif": content(grey, "TIFF", compression="tiff_lzw"),
        "float.tif": content(grey.convert("F").point(lambda v: v / 256), "TIFF"),
        "rgba.png": content(grey.convert("RGBA"), "PNG"),
        "p.png": content(grey.convert("P"), "PNG"),
        "rgba.webp": content(grey.convert("RGBA"), "WEBP", lossless=True),
        "turned.jpg": content(grey.convert("RGB"), "JPEG", exif=exif),
    }


@reader(share=0.4)
def photo(folder: Path) -> Reader:
    """A picture."""
    import ferdata

    read = written(folder, "photo", ferdata.read_photo)
    return Reader(read, (ferdata.DataError,), pictures)


def _films() -> dict[str, bytes]:
    """Four grey frames as MP4, if PyAV is installed; else the first bytes of films."""
    starts = {"mp4": bytes(4) + b"ftypisom", "avi": b"RIFF\x20\0\0\0AVI LIST", "ts": b"G" * 189}
    try:
        from ferdata.films.film_writer import FilmWriter

        with tempfile.TemporaryDirectory() as name:
            writer = FilmWriter(Path(name) / "a.mp4", 25)
            for k in range(4):
                writer.write(np.full((16, 16, 3), 60 * k, np.uint8), k / 25)
            writer.close()
            return {"film": (Path(name) / "a.mp4").read_bytes(), **starts}
    except ImportError:
        return starts


@reader(share=0.4)
def film(folder: Path) -> Reader:
    """The frames of a film; without PyAV only the recognition of its format."""
    import ferdata
    from ferdata.films.frames import film_format

    def read(path: object) -> None:
        for frame in ferdata.read_film(str(path)):
            if frame.number == 3:
                break

    try:
        import av  # noqa: F401
    except ImportError:
        read = film_format  # type: ignore[assignment]  # what it returns does not matter
    return Reader(written(folder, "film", read), (ferdata.DataError,), _films)


@reader(share=0.4)
def image_argument(folder: Path) -> Reader:
    """IMAGE on the command line of tinycnn: an .npy file if the first byte of the input is 0, else
    a picture; the rest of the input is its content."""
    from tinycnn import InputSpec
    from tinycnn.cli.image_argument import read_image
    from tinycnn.ground.command_line import CannotError

    spec, paths = InputSpec(8, 7), [folder / "image.npy", folder / "image.png"]

    def read(data: bytes) -> object:
        path = paths[min(data[0], 1) if data else 0]
        path.write_bytes(data[1:])
        return read_image(str(path), spec)

    def seeds() -> dict[str, bytes]:
        some = {n: b"\1" + c for n, c in pictures().items() if n in ("png", "jpg", "lzw.tif")}
        return {"npy": b"\0" + npy(np.zeros((8, 7), np.uint8)), **some}

    return Reader(read, (CannotError,), seeds)
