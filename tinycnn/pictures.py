"""Makes a batch of images of single pictures: arrays, images of Pillow, or picture files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from .ground.messages import LONGEST_NAME, file_name, in_short, quoted
from .ground.regular_file import read_bytes_of
from .input_spec import InputSpec

CHANNELS = ("rgb", "bgr")
"""The order of an array's colours.  OpenCV's arrays are BGR; everything else is usually RGB."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Pillow's names of the file formats that are read.  EPS is not, as Pillow would start another
program for it; nor is WMF, which has drawing commands instead of pixels."""

MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
"""Pillow's names of pixel formats with up to 8 bits a channel, which it converts correctly."""

MAX_FILE_BYTES = 64 << 20


class PictureSizeError(ValueError):
    """A picture of another size than the network takes; the message ends with how to cut a face."""


def as_batch(pictures: Any, spec: InputSpec, channels: str) -> Any:
    """The pictures as one array (N, H, W) or (N, H, W, C), with RGB colours.

    pictures  one picture, a list or tuple of pictures, or an array of many.  A picture is an array
              of the network's size, an image of Pillow, or a file: its name, its content as bytes,
              or the open file.  Anything else is returned as it is
    channels  one of CHANNELS: the order of the colours of arrays.  Images and files have their own
    Raises ValueError for other channels, for files and images that cannot be read or are not of the
    network's size, and for a list of arrays of several shapes.
    """
    if channels not in CHANNELS:
        raise ValueError(f"channels is {quoted(channels)}; expected {' or '.join(CHANNELS)}")
    if isinstance(pictures, (list, tuple)) and pictures and all(map(_is_picture, pictures)):
        arrays = [
            _rgb(one, channels) if _is_array(one) else read_picture(one, spec) for one in pictures
        ]
        if spec.channels == 1:  # its axis is optional
            arrays = [one[..., 0] if one.shape[2:] == (1,) else one for one in arrays]
        shapes = list(dict.fromkeys(one.shape for one in arrays))
        if len(shapes) > 1:
            raise ValueError(f"the pictures have shapes {shapes[0]} and {shapes[1]}; expected one")
        return np.stack(arrays)
    if _is_array(pictures):
        H, W, C = spec.shape
        one = pictures.shape == (H, W, C) or (C == 1 and pictures.shape == (H, W))
        return _rgb(pictures[None] if one else pictures, channels)
    return read_picture(pictures, spec)[None] if _is_picture(pictures) else pictures


def read_picture(picture: Any, spec: InputSpec) -> np.ndarray:
    """A picture file or an image of Pillow as uint8 (H, W) or (H, W, 3).  Colours become grey if
    the network takes grey.

    Raises ValueError for what is no picture, PictureSizeError for one of another size.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    modes = {1: "L", 3: "RGB"}
    if spec.channels not in modes:
        raise ValueError(f"the network takes {spec.channels} channels; give the image as an array")
    name = _name(picture)
    try:
        image = picture
        if not isinstance(picture, Image.Image):
            image = Image.open(io.BytesIO(_content(picture, name)), formats=FORMATS)
        if image.mode not in MODES:
            raise _RefusedError(f"pixels of kind {image.mode}; expected 8-bit grey or RGB")
        # checked before decoding; the picture may have to be turned by 90 degrees
        _check_size(name, image.size, spec, or_turned=True)
        upright = ImageOps.exif_transpose(image)
        _check_size(name, upright.size, spec)
        return np.asarray(upright.convert(modes[spec.channels]))
    except UnidentifiedImageError:
        raise ValueError(f"{name}: not a picture; expected {', '.join(FORMATS)}") from None
    except _RefusedError as error:
        raise ValueError(f"{name}: {error}") from None
    except PictureSizeError:
        raise
    except Exception as error:  # damaged files raise many kinds of exception
        raise ValueError(f"{name}: damaged, or not a picture: {in_short(error)}") from None


class _RefusedError(Exception):
    """Why a picture is not read."""


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray)


def _is_picture(value: object) -> bool:
    """Whether it is an array, an image of Pillow or a file."""
    known = isinstance(value, (np.ndarray, str, os.PathLike, bytes, bytearray, memoryview))
    made_by = type(value).__mro__
    return known or hasattr(value, "read") or any(c.__module__ == "PIL.Image" for c in made_by)


def _name(picture: Any) -> str:
    """What messages call the picture."""
    if isinstance(picture, (str, os.PathLike)):
        name = os.fspath(picture)
        return file_name(name) if name else "''"
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return f"bytes ({len(picture):,})"
    name = getattr(picture, "name", "")
    return file_name(name) if isinstance(name, str) and name else "picture"


def _content(picture: Any, name: str) -> bytes:
    """What a picture file holds."""
    if isinstance(picture, (str, os.PathLike)):
        if not 0 < len(os.fspath(picture)) <= LONGEST_NAME:
            raise _RefusedError("not the name of a file")
        path = Path(picture)
        if not path.is_file():
            raise _RefusedError("not a file" if path.exists() else "no such file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _RefusedError(f"more than {MAX_FILE_BYTES:,} bytes, too much for one picture")
        return read_bytes_of(path, MAX_FILE_BYTES)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture)
    if getattr(picture, "seekable", bool)():
        picture.seek(0)
    content = picture.read()
    if not isinstance(content, bytes):
        raise _RefusedError(
            f"read() gives a {type(content).__name__}; open the file as bytes, 'rb'"
        )
    return content


def _rgb(pixels: np.ndarray, channels: str) -> np.ndarray:
    """An array of one picture or of many, (..., 3) in order RGB."""
    swap = channels == "bgr" and pixels.ndim > 2 and pixels.shape[-1] == 3
    return pixels[..., ::-1] if swap else pixels


def _check_size(
    name: str, found: tuple[int, int], spec: InputSpec, or_turned: bool = False
) -> None:
    """Check found (width, height) against the network's; or_turned: they may be exchanged."""
    expected = (spec.width_px, spec.height_px)
    if found != expected and not (or_turned and found == expected[::-1]):
        call = f'ferdata.find_faces(PHOTO, framing="{spec.framing}", size_px={spec.height_px})'
        if not spec.framing:
            call = f"ferdata.find_faces(PHOTO, size_px={spec.height_px})"
        raise PictureSizeError(
            f"{name}: {found[0]}x{found[1]} px; the network takes {spec.width_px}x"
            f"{spec.height_px}, only a face: cut it with {call}.images[0]"
        )
