"""Reads the argument IMAGE of a command: one picture of the network's own size, as uint8."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ferdata.photos.picture_formats import HEIC_AND_AVIF, picture_format

from ..ground.command_line import CannotError
from ..ground.messages import in_short
from ..ground.regular_file import open_regular
from ..input_spec import InputSpec
from ..pictures import PictureSizeError, read_picture


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
    try:
        return read_picture(name, spec)
    except PictureSizeError as error:
        raise CannotError(f"{error} and save it as .png or .npy") from None
    except ValueError as error:
        if (found := picture_format(name)) in HEIC_AND_AVIF:
            raise CannotError(f"{name}: a picture in {found}; save it as PNG or JPEG") from None
        raise CannotError(str(error)) from None


def _read_array(name: str, spec: InputSpec) -> np.ndarray:
    try:
        open_regular(name).close()  # refuses pipes and devices
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
