"""From a photo to 84x84: find the faces, frame them as a network's training images were framed.

`fer2013`  the picture that FER2013 would hold: 48x48, from the forehead to the chin, enlarged to
           84x84 by `resize_images` as in training. A sharp 84x84 crop would show a network that
           was trained on enlarged 48x48 pictures something that it has never seen.
`paper`    as the published networks were fed (cuguilke/microexpnet): the box resized to 256x256,
           its pixels [32:256, 32:256] resized to 84x84 by plain bilinear interpolation.

The square of FER2013 around a found face: 1000 Training images (every third of the first 3000) were
enlarged to 120x120 and continued at their edges to 240x240; in the 65 % of them in which `detect`
finds the face, the box's centre lies at (0.500, 0.500) of the image (quartiles 0.48 and 0.52) and
its side is 0.983 of the image's (0.92 and 1.05). OpenCV's Haar cascade, with which FER2013
and the paper were made, gives (0.500, 0.496) and 0.983: its boxes and ours are the same size.

Shrinking is anti-aliased (Pillow's bilinear filter); beyond the photo its edge pixels repeat.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ferdata.detect import detect
from ferdata.errors import DataError
from ferdata.photo import checked_photo, read_grey, to_grey
from ferdata.warp import resize_images, resize_matrix, warp_images

FRAMINGS = ("paper", "fer2013")
SIZE_PX = 84

_FER2013_PX, _FER2013_SCALE = 48, 1 / 0.983
_PAPER_PX, _PAPER_CROP_PX = 256, 224
_PAPER_DEMO = (32, 32)
# (top, left), in the order of the authors' mirrorImages (which mirrors nothing).
_PAPER_OFFSETS = ((0, 0), (0, 5), (0, 32), (5, 0), (32, 0), (5, 5), (32, 32), (5, 32))


class FaceImages(np.ndarray):
    """uint8 (n, 84, 84) that know their framing, so that a network that learned from another one
    can refuse them; slices and copies know it too."""

    framing: str | None = None

    def __array_finalize__(self, source: object) -> None:
        self.framing = getattr(source, "framing", None)


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one photo: largest first, or in the order of the boxes that were given.

    images  FaceImages (n, 84, 84)  grey, framed
    boxes   int64 (n, 4)        x, y, width, height in px of the upright photo; a box of a face at
                                the edge may reach beyond it
    source  str                 the file, or "" for an array
    framing str | None          one of FRAMINGS: how the images were cut
    """

    images: np.ndarray
    boxes: np.ndarray
    source: str = ""
    framing: str | None = None

    def __len__(self) -> int:
        return len(self.images)


def find_faces(
    source: str | os.PathLike | np.ndarray,
    framing: str = "fer2013",
    *,
    boxes: np.ndarray | None = None,
) -> Faces:
    """The faces of a photo; an empty Faces (n = 0) if none is found.

    source   a file (`ferdata.photo` says what is read), or uint8 (H, W) or (H, W, 3)
    framing  one of FRAMINGS
    boxes    whole numbers (n, 4), x, y, width, height in px of the upright photo: taken as they
             are instead of looking for faces; at least half of each must lie in the photo

    Found are frontal faces of 24 px and of a twentieth of the photo's short side or more; see
    `ferdata.detect`. Raises DataError if the photo cannot be read or a box does not fit it,
    ValueError for an unknown framing.
    """
    check_framing(framing)
    is_array = isinstance(source, np.ndarray)
    grey = to_grey(checked_photo(source)) if is_array else read_grey(source)
    name = "" if is_array else os.fspath(source)
    found = detect(grey) if boxes is None else checked_boxes(boxes, grey, name or "photo")
    images = np.empty((len(found), SIZE_PX, SIZE_PX), np.uint8)
    for image, box in zip(images, found):
        image[:] = _framed(grey, box, framing)
    images = images.view(FaceImages)
    images.framing = framing
    return Faces(images, found, name, framing)


def frame_face(photo: np.ndarray, box: np.ndarray, framing: str) -> np.ndarray:
    """One face as a network wants it: uint8 (84, 84).

    photo    uint8 (H, W) or (H, W, 3)
    box      x, y, width, height in px, whole numbers; at least half of it in the photo. `fer2013`
             takes one that is not square as the square with its centre and its area
    framing  one of FRAMINGS

    Raises DataError and ValueError as `find_faces` does.
    """
    check_framing(framing)
    photo = checked_photo(photo)
    (box,) = checked_boxes(np.asarray(box)[None], photo, "photo")
    return _framed(to_grey(photo), box, framing)


def paper_face(photo: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The box of a photo as the paper crops from it: uint8 (256, 256). Raises as `frame_face`."""
    photo = checked_photo(photo)
    (box,) = checked_boxes(np.asarray(box)[None], photo, "photo")
    return _paper_face(to_grey(photo), box)


def paper_training_crops(face: np.ndarray) -> np.ndarray:
    """The paper's eight training crops: uint8 (8, 84, 84) from a `paper_face`, (256, 256).

    Squares of 224 px at (top, left) = (0, 0) (0, 5) (0, 32) (5, 0) (32, 0) (5, 5) (32, 32) (5, 32),
    in the order of the authors' code; number 6 is framing `paper`. Raises DataError.
    """
    face = np.asarray(face)
    if face.dtype != np.uint8 or face.shape != (_PAPER_PX, _PAPER_PX):
        raise DataError(f"face: expected uint8 (256, 256), found {face.dtype} {face.shape}")
    return np.stack([_paper_crop(face, offset) for offset in _PAPER_OFFSETS])


def check_framing(framing: str) -> None:
    if framing not in FRAMINGS:
        raise ValueError(f"framing: expected one of {', '.join(FRAMINGS)}, found {framing!r}")


def checked_boxes(boxes: np.ndarray, photo: np.ndarray, name: str) -> np.ndarray:
    """int64 (n, 4). Raises DataError unless at least half of each box lies in the photo."""
    boxes = np.asarray(boxes)
    if boxes.size == 0 and boxes.shape in ((0,), (0, 4)):
        return np.empty((0, 4), np.int64)
    whole = boxes.dtype.kind in "iu" or (
        boxes.dtype.kind == "f" and bool((np.isfinite(boxes) & (boxes == np.round(boxes))).all())
    )
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not whole:
        raise DataError(
            f"{name}: boxes: expected whole numbers of shape (n, 4), x, y, width, height; found "
            f"{boxes.dtype} {boxes.shape}"
        )
    height, width = photo.shape[:2]
    for i, (x, y, w, h) in enumerate(boxes.tolist()):
        shared_x, shared_y = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
        if min(w, h, shared_x, shared_y) < 1 or 2 * shared_x * shared_y < w * h:
            raise DataError(
                f"{name}: box {i} (x {x:g}, y {y:g}, {w:g} x {h:g} px) does not lie in the photo "
                f"of {width} x {height} px; expected at least half of it inside"
            )
    return boxes.astype(np.int64)


def resized(
    grey: np.ndarray, size_px: int, area: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """An area (left, top, right, bottom) of a photo, or all of it: uint8 (size_px, size_px).

    Anti-aliased where it shrinks; beyond the photo its edge pixels repeat.
    """
    height, width = grey.shape
    left, top, right, bottom = area or (0, 0, width, height)
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    x1, y1 = int(np.ceil(right)), int(np.ceil(bottom))
    inside = grey[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    beyond = ((max(-y0, 0), max(y1 - height, 0)), (max(-x0, 0), max(x1 - width, 0)))
    if any(map(any, beyond)):
        inside = np.pad(inside, beyond, mode="edge")
    picture = Image.fromarray(np.ascontiguousarray(inside))
    area = (left - x0, top - y0, right - x0, bottom - y0)
    return np.asarray(picture.resize((size_px, size_px), Image.Resampling.BILINEAR, area))


def _framed(grey: np.ndarray, box: np.ndarray, framing: str) -> np.ndarray:
    if framing == "paper":
        return _paper_crop(_paper_face(grey, box), _PAPER_DEMO)
    x, y, w, h = box.tolist()
    half = (w * h) ** 0.5 * _FER2013_SCALE / 2
    x, y = x + w / 2, y + h / 2
    small = resized(grey, _FER2013_PX, (x - half, y - half, x + half, y + half))
    return resize_images(small[None], SIZE_PX)[0]


def _paper_face(grey: np.ndarray, box: np.ndarray) -> np.ndarray:
    x, y, w, h = box.tolist()
    return resized(grey, _PAPER_PX, (x, y, x + w, y + h))


def _paper_crop(face: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    top, left = offset
    crop = face[top : top + _PAPER_CROP_PX, left : left + _PAPER_CROP_PX]
    matrix = resize_matrix(_PAPER_CROP_PX, _PAPER_CROP_PX, SIZE_PX)
    return warp_images(crop[None], matrix[None], SIZE_PX)[0]
