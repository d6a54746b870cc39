"""Reads the argument IMAGE of a command: one picture of the network's own size, as uint8."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ferdata.photos.picture_formats import HEIC_AND_AVIF, picture_format

from ..ground.command_line import CannotError
from ..ground.messages import in_short
from ..input_spec import InputSpec

MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
"""Pillow's names of pixel formats with up to 8 bits a channel, which it converts correctly."""

MAX_FILE_BYTES = 64 << 20

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Pillow's names of the file formats that are read.  EPS is not, as Pillow would start another
program for it; nor is WMF, which has drawing commands instead of pixels."""


def read_image(name: str, spec: InputSpec) -> np.ndarray:
    """The picture or .npy file `name` as uint8 (H, W) or (H, W, C).  Colours become grey if the
    network takes grey.

    Raises CannotError for a file that is not a picture, or does not fit the network.
    """
    path = Path(name)
    if not path.is_file():
        raise CannotError(f"{name}: {'not a file' if path.exists() else 'no such file'}")
    return _read_array(name, spec) if path.suffix == ".npy" else _read_picture(name, spec)


def _read_picture(name: str, spec: InputSpec) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    modes = {1: "L", 3: "RGB"}
    if spec.channels not in modes:
        raise CannotError(f"the network takes {spec.channels} channels; give the image as .npy")
    try:
        if Path(name).stat().st_size > MAX_FILE_BYTES:
            raise CannotError(f"{name}: more than {MAX_FILE_BYTES:,} bytes, too much for a face")
        content = io.BytesIO(Path(name).read_bytes())
        with Image.open(content, formats=FORMATS) as file:
            if file.mode not in MODES:
                raise CannotError(f"{name}: pixels of kind {file.mode}; expected 8-bit grey or RGB")
            # checked before decoding; the picture may have to be turned by 90 degrees
            _check_size(name, file.size, spec, or_turned=True)
            upright = ImageOps.exif_transpose(file)
            _check_size(name, upright.size, spec)
            return np.asarray(upright.convert(modes[spec.channels]))
    except UnidentifiedImageError:
        if (found := picture_format(name)) in HEIC_AND_AVIF:
            raise CannotError(f"{name}: a picture in {found}; save it as PNG or JPEG") from None
        raise CannotError(f"{name}: not a picture; expected {', '.join(FORMATS)}") from None
    except CannotError:
        raise
    except Exception as error:  # damaged files raise many kinds of exception
        raise CannotError(f"{name}: damaged, or not a picture: {in_short(error)}") from None


def _check_size(
    name: str, found: tuple[int, int], spec: InputSpec, or_turned: bool = False
) -> None:
    """Check found (width, height) against the network's; or_turned: they may be exchanged."""
    expected = (spec.width_px, spec.height_px)
    if found != expected and not (or_turned and found == expected[::-1]):
        call = f'ferdata.find_faces(PHOTO, framing="{spec.framing}")'
        if not spec.framing:
            call = "ferdata.find_faces(PHOTO)"
        raise CannotError(
            f"{name}: {found[0]}x{found[1]} px; the network takes {spec.width_px}x"
            f"{spec.height_px}, only a face: cut it with {call}.images[0] and save it as .png or "
            ".npy"
        )


def _read_array(name: str, spec: InputSpec) -> np.ndarray:
    try:
        array = np.load(name, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python, which raises many kinds
        raise CannotError(
            f"{name}: not a .npy file of plain numbers, or damaged: {in_short(error)}"
        ) from None
    H, W, C = spec.shape
    fits = array.shape == (H, W, C) or (C == 1 and array.shape == (H, W))
    if array.dtype != np.uint8 or not fits:
        expected = f"({H}, {W})" if C == 1 else f"({H}, {W}, {C})"
        raise CannotError(
            f"{name}: {array.dtype} of shape {array.shape}; expected uint8 {expected}"
        )
    return np.array(array)
