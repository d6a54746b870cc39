"""Read photos as uint8 arrays: from files, from memory, or from objects of other libraries
(`ferdata.photos.picture_argument`). Colours are RGB. How each kind of picture is converted:

    EXIF rotation           applied: the array is upright. Broken EXIF is ignored, as in every
                            viewer (Pillow may warn of it)
    transparency            drawn on white (RGBA, LA, palettes, a PNG's transparent colour)
    palette, CMYK, YCbCr    converted to RGB
    1-bit                   0 and 255
    16-bit grey or RGB      the high byte of each value (v // 256): scaled, never clipped
    32-bit integers         treated as 16-bit; a value outside 0..65535 is an error
    floats                  0..1 becomes 0..255; a value outside 0..1, or NaN, is an error
    animations, pages       only the first image is read
    HEIC, AVIF              read with the extra `heif`; without it the error says what to install
    truncated, damaged      an error, never part of a picture. (A JPEG with wrong bits that can
                            still be decoded is not noticed by any decoder)

The size is checked before anything is decoded, so a small file that claims a huge picture costs
no memory. No global setting of Pillow or `warnings` is changed, so this is safe in threads.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ferdata.arguments import checked_option
from ferdata.errors import DataError
from ferdata.files.regular_file import errors_naming, named_errors
from ferdata.photos.picture_argument import CHANNELS, Content, Picture, told_apart
from ferdata.photos.picture_formats import FORMATS, HEIC_AND_AVIF, N_BYTES, format_of
from tinycnn.ground.masked_arrays import unmasked
from tinycnn.ground.messages import in_short

MAX_PIXELS = 50_000_000

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROWS_AT_ONCE = 64  # keeps intermediate arrays much smaller than the picture


def read_photo(picture: Picture, *, channels: str = "rgb") -> np.ndarray:
    """The picture, upright: uint8 (H, W) if it is grey, else RGB, (H, W, 3).

    picture   a file's name, its content, an open file, an image of Pillow, or uint8 (H, W),
              (H, W, 1) or (H, W, 3)
    channels  "rgb" or "bgr": the order of an array's colours. OpenCV's arrays are "bgr". Files and
              images of Pillow have their own order, whatever is given here

    The module's docstring says how each kind of picture is converted. Raises DataError, naming the
    file, if it is missing, not a regular file, not readable by this user, not a picture of a format
    in FORMATS or HEIC_AND_AVIF, truncated or damaged, or has more than MAX_PIXELS pixels; and for
    any other object, such as None. ValueError for unknown channels.
    """
    return _read(picture, channels, grey=False)


def read_grey(picture: Picture, *, channels: str = "rgb") -> np.ndarray:
    """The picture, converted to grey: uint8 (H, W). Arguments and errors as `read_photo`.

    A JPEG stores luma, which is used directly: that is faster than `to_grey` of its RGB values. The
    results differ by 1 because of rounding, and by more where a colour is clipped to fit RGB.
    """
    return to_grey(_read(picture, channels, grey=True))


def _read(picture: Picture, channels: str, grey: bool) -> np.ndarray:
    given = told_apart(picture)
    if isinstance(given, np.ndarray):
        return checked_photo(given, channels)
    checked_option("channels", channels, CHANNELS)
    if isinstance(given, Content):
        with errors_naming(given.name, "cannot be decoded as a picture"):
            return _decoded(io.BytesIO(given.data), given.name, grey)
    if isinstance(given, Image.Image):
        with errors_naming("photo", "cannot be decoded as a picture"):
            return _loaded(given, "photo")
    with named_errors(given, "cannot be decoded as a picture"), _open_picture(given) as file:
        return _decoded(file, given, grey)


def _decoded(file: BinaryIO, name: str, grey: bool) -> np.ndarray:
    """The picture in an open file."""
    image = _identified(file, name)
    if grey:
        _check_size(image.size, name)
        image.draft("L", image.size)  # for other formats this does nothing
    return _loaded(image, name)


def _loaded(image: Image.Image, name: str) -> np.ndarray:
    _check_size(image.size, name)
    image.load()
    return _upright(_as_array(image, name), _orientation(image))


def to_grey(photo: np.ndarray) -> np.ndarray:
    """uint8 (H, W) from (H, W) or (H, W, 3), RGB: luma, 0.299 R + 0.587 G + 0.114 B (ITU-R
    BT.601)."""
    return photo if photo.ndim == 2 else np.asarray(Image.fromarray(photo).convert("L"))


def checked_photo(photo: np.ndarray, channels: str = "rgb") -> np.ndarray:
    """`photo` as a contiguous array, RGB if it has colours.

    channels  one of CHANNELS: the order of its colours. Raises ValueError for any other
    Raises DataError unless it is uint8 (H, W), (H, W, 1) or (H, W, 3).
    """
    checked_option("channels", channels, CHANNELS)
    photo = unmasked("photo", photo)
    shape = photo.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    if photo.dtype != np.uint8 or not fits or 0 in shape:
        raise DataError(
            f"photo: expected uint8 of shape (H, W) or (H, W, 3), found {photo.dtype} {shape}"
            f"{_conversion(photo)}"
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise DataError(f"photo: {shape[1]} x {shape[0]} px is more than {MAX_PIXELS:,} pixels")
    if len(shape) == 3 and shape[2] == 1:
        photo = photo[..., 0]
    elif len(shape) == 3 and channels == "bgr":
        photo = photo[..., ::-1]
    return np.ascontiguousarray(photo)


def _conversion(photo: np.ndarray) -> str:
    """How to make a photo of this array, if that can be told."""
    shape = photo.shape
    if 0 in shape:
        return ""
    if photo.dtype == np.uint8 and len(shape) == 3 and shape[2] == 4:
        return ": without transparency it is photo[..., :3]"
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3):
        return ": the channels are the last axis; move them with np.moveaxis(photo, 0, -1)"
    if len(shape) == 4 and shape[-1] in (1, 3):
        return ": give one picture at a time"
    if photo.dtype.kind == "f" and 0 <= photo.min() and photo.max() <= 1:
        return ": convert pixels of 0 to 1 with (255 * photo).round().astype(np.uint8)"
    return ""


class _BoundedReader(io.BufferedReader):
    """A file whose `read` allocates no more than the file's size, whatever length is asked for (a
    damaged picture may claim any length)."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._n_bytes = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, self._n_bytes))


def _open_picture(path: str | os.PathLike) -> BinaryIO:
    if os.path.isdir(path):
        raise DataError(f"{path}: a folder; expected a picture file")
    return _BoundedReader(open(path, "rb", 0))


def _identified(file: BinaryIO, path: str | os.PathLike) -> Image.Image:
    """Image.open without its warning about large pictures: our own limit is lower."""
    Image.preinit()
    Image.init()
    start = file.read(N_BYTES)
    prefix = start[:16]
    if not prefix:
        raise DataError(f"{path}: an empty file (0 bytes)")
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP" and len(start) >= 30:
        _check_size(_webp_size(start), path)  # Pillow allocates it before it tells the size
    name = os.fspath(path)
    if (found := format_of(start)) in HEIC_AND_AVIF:
        file.seek(0)
        return _opened_with_extra(file, path, found)
    for format_name in FORMATS:
        factory, accepts = Image.OPEN.get(format_name, (None, None))
        if factory is None or (accepts is not None and accepts(prefix) is not True):
            continue
        file.seek(0)
        try:
            return factory(file, name)
        except (SyntaxError, UnidentifiedImageError) as error:
            raise DataError(f"{path}: a damaged {format_name} file ({in_short(error)})") from error
    raise DataError(
        f"{path}: not a picture; expected one of {', '.join((*FORMATS, *HEIC_AND_AVIF))}"
    )


def _opened_with_extra(file: BinaryIO, path: str | os.PathLike, found: str) -> Image.Image:
    """The picture in a HEIC or AVIF file. Raises DataError without the extra."""
    factory: Callable[..., Image.Image] | None = None
    if found == "AVIF":  # Pillow 11.3 and newer read it
        avif, accepts = Image.OPEN.get("AVIF", (None, None))
        start = file.read(N_BYTES)
        file.seek(0)
        if accepts is None or accepts(start) is True:
            factory = avif
    else:
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            pass
        else:
            factory = HeifImageFile
    if factory is None:
        raise DataError(
            f"{path}: {'an' if found == 'AVIF' else 'a'} {found} picture, which is read with the "
            f'extra heif: pip install "tinycnn[heif]"; or save it as JPEG or PNG'
        )
    try:
        return factory(file, os.fspath(path))
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{path}: a damaged {found} file ({in_short(error)})") from error


def _webp_size(start: bytes) -> tuple[int, int]:
    """(width, height) of the canvas, from the first chunk: https://developers.google.com/speed/
    webp/docs/riff_container. (1, 1) if that chunk is no picture: Pillow then reports it."""
    if start[12:16] == b"VP8X":
        return (
            int.from_bytes(start[24:27], "little") + 1,
            int.from_bytes(start[27:30], "little") + 1,
        )
    if start[12:16] == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if start[12:16] == b"VP8 ":
        bits = int.from_bytes(start[26:30], "little")
        return max(bits & 0x3FFF, 1), max(bits >> 16 & 0x3FFF, 1)
    return 1, 1


def _check_size(size: tuple[int, int], path: str | os.PathLike) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"{path}: a picture without pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{path}: {width} x {height} px is more than {MAX_PIXELS:,} pixels; make it smaller"
        )


def _as_array(image: Image.Image, path: str | os.PathLike) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    if mode == "I":
        return (_in_range(np.asarray(image), 65535, path) >> 8).astype(np.uint8)
    if mode == "F":
        values = _in_range(np.asarray(image), 1, path)
        starts = range(0, len(values), _ROWS_AT_ONCE)
        parts = (np.floor(values[k : k + _ROWS_AT_ONCE] * 255 + 0.5) for k in starts)
        return np.concatenate([part.astype(np.uint8) for part in parts])
    if mode in ("RGBA", "LA", "RGBa", "La", "PA") or "transparency" in image.info:
        grey = mode in ("L", "LA", "La", "1")
        image = _converted(image, "LA" if grey else "RGBA")
        on_white = Image.new("L" if grey else "RGB", image.size, "white")
        on_white.paste(image.convert(on_white.mode), mask=image.getchannel("A"))
        return np.asarray(on_white)
    return np.asarray(_converted(image, "L" if mode in ("L", "1") else "RGB"))


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in this mode. (Pillow's convert would copy it even if it already is.)"""
    return image if image.mode == mode and "transparency" not in image.info else image.convert(mode)


def _in_range(values: np.ndarray, highest: int, path: str | os.PathLike) -> np.ndarray:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= highest):  # NaN fails too
        raise DataError(
            f"{path}: {values.dtype} pixels from {low:g} to {high:g}; expected 0..{highest}. "
            f"Save it with 8 or 16 bits a channel"
        )
    return values


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation not in _UPRIGHT:
        return pixels
    return np.asarray(Image.fromarray(pixels).transpose(_UPRIGHT[orientation]))
