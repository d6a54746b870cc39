"""What a picture may be given as: a file's name, its content, an open file, an image of Pillow, or
an array. This module only tells these apart; `ferdata.photos.photo` reads them."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferdata.errors import DataError
from ferdata.files.regular_file import checked_file_name, errors_naming

FilePath: TypeAlias = "str | os.PathLike[str]"
Picture: TypeAlias = (
    "FilePath | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]"
)
"""A file's name; the content of a file (JPEG, PNG, ...); a file that is open for reading bytes; an
image of Pillow; or pixels."""

CHANNELS = ("rgb", "bgr")
"""The order of an array's colours. OpenCV's arrays are BGR; everything else is usually RGB."""

EXPECTED = (
    "expected the name of a picture file, its content as bytes, an open file, an image of Pillow "
    "or an array"
)


class Content(NamedTuple):
    """The bytes of a picture file, and what to call them in messages."""

    data: bytes
    name: str


@runtime_checkable
class _Readable(Protocol):
    def read(self) -> Any: ...


@runtime_checkable
class _ArrayLike(Protocol):
    def __array__(self) -> np.ndarray: ...


def told_apart(picture: Picture) -> str | Content | Image.Image | np.ndarray:
    """A file's name, the content of a file, an image, or an array (of any dtype and shape).

    An open file is read from its beginning if it can go back there. Raises DataError for anything
    else; its message never quotes the content.
    """
    if isinstance(picture, (str, os.PathLike)):
        return checked_file_name(picture)
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return Content(bytes(picture), f"bytes ({len(memoryview(picture).cast('B')):,})")
    if isinstance(picture, (Image.Image, np.ndarray)):
        return picture
    if isinstance(picture, _Readable):
        return _content(picture)
    if isinstance(picture, _ArrayLike) and not isinstance(picture, (list, tuple, np.generic)):
        with errors_naming("photo", f"a {type(picture).__name__} that gives no array"):
            return np.asarray(picture)
    raise DataError(f"photo: {_why_not(picture)}; {EXPECTED}")


def file_name(picture: Picture) -> str:
    """The name, if the picture is given by the name of its file, or ""."""
    return checked_file_name(picture) if isinstance(picture, (str, os.PathLike)) else ""


def _content(file: _Readable) -> Content:
    """What an open file holds."""
    told = getattr(file, "name", None)
    name = checked_file_name(told) if isinstance(told, str) and told else "open file"
    with errors_naming(name):
        if getattr(file, "seekable", bool)():
            file.seek(0)  # type: ignore[attr-defined]  # a file that says that it is seekable
        data = file.read()
    if isinstance(data, str):
        raise DataError(f"{name}: opened as text; open it as bytes: open(..., 'rb')")
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise DataError(f"{name}: read() gives a {type(data).__name__}; expected bytes")
    return Content(bytes(data), name)


def _why_not(value: object) -> str:
    if value is None:
        return (
            "None is no picture (OpenCV's read() gives None at the end of a video, imread() for "
            "a file that it cannot read)"
        )
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], bool):
        return "a tuple (found, frame), as OpenCV's read() gives it: give the frame alone"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value):,}: give one picture at a time"
    return f"found {type(value).__name__}"
