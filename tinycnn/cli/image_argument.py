"""Reads the argument IMAGE of a command: a face of the network's own size, or a photo with one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ferdata.photos.faces import FRAMINGS
from ferdata.photos.photo import read_grey
from ferdata.photos.picture_formats import HEIC_AND_AVIF, picture_format

from ..ground.command_line import CannotError
from ..ground.messages import in_short
from ..ground.regular_file import open_regular
from ..input_spec import InputSpec
from ..pictures import PictureSizeError, read_picture
from .face_network import faces_in, is_of_faces, with_framing
from .model_argument import OpenedModel


def read_image(name: str, spec: InputSpec) -> np.ndarray:
    """The picture or .npy file `name` as uint8 (H, W) or (H, W, C).  Colours become grey if the
    network takes grey.

    Raises CannotError for a file that is not a picture, or does not fit the network.
    """
    path = Path(name)
    if not path.is_file():
        raise CannotError(f"{name}: {'not a file' if path.exists() else 'no such file'}")
    return _read_array(name, spec) if path.suffix == ".npy" else _read_picture(name, spec)


class GivenImage(NamedTuple):
    """What a network is given.

    pixels   uint8 (H, W) or (H, W, C)
    box      where the face was cut out of a photo: x, y, width, height in px of the upright photo.
             None if the file is the face itself
    n_faces  how many faces were found in the photo; 0 if none was searched for
    framing  how the face was cut out, "" if it was not
    """

    pixels: np.ndarray
    box: tuple[int, ...] | None = None
    n_faces: int = 0
    framing: str = ""


def read_face(name: str, model: OpenedModel, framing: str | None = None) -> GivenImage:
    """As `read_image`; but a picture of another size than the network takes is a photo, if the
    network takes faces cut out of photos: its largest face is cut out, with the network's framing.

    framing  of --framing, for a network that does not say its own
    Raises CannotError, also for a photo without a face.
    """
    spec, path = model.network.input_spec, Path(name)
    if not is_of_faces(spec) or path.suffix == ".npy" or not path.is_file():
        return GivenImage(read_image(name, spec))
    try:
        return GivenImage(read_image(name, spec))
    except CannotError as error:
        if read_grey(name).shape == spec.shape[:2]:  # a face, but not one that is read
            raise
        if not (spec.framing or framing):
            raise CannotError(
                f"{error}; or give --framing, one of {', '.join(FRAMINGS)}, with which the "
                "network's faces were cut: then it is cut here"
            ) from None
    framed = with_framing(spec, model.name, framing)
    faces = faces_in(name, framed.framing or "", framed.height_px)
    box = tuple(faces.boxes[0].tolist())
    return GivenImage(np.asarray(faces.images[0]), box, len(faces), framed.framing or "")


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
