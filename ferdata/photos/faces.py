"""Find the faces of a photo and crop them to squares, as a network's training images were cropped.

A way of cropping is called a framing:

`fer2013`  the crop that FER2013 would hold: 48x48, from the forehead to the chin, then resized by
           `resize_images` as in training. A network trained on enlarged 48x48 images has never seen
           a sharp 84x84 crop.
`paper`    the crop that the published networks were given (cuguilke/microexpnet): the face's box
           resized to 256x256, then its pixels [32:256, 32:256] resized to 84x84 by plain bilinear
           interpolation. (Other sizes: with anti-aliasing.)

How FER2013's crop lies around a detected box was measured on 1000 Training images (every third of
the first 3000), enlarged to 120x120 and padded to 240x240 by repeating their edges. In the 65 % in
which `detect` finds the face, the box's centre is at (0.500, 0.500) of the image (quartiles 0.48
and 0.52) and its side is 0.983 of the image's (0.92 and 1.05). OpenCV's Haar cascade, with which
FER2013 and the paper were made, gives (0.500, 0.496) and 0.983: boxes of the same size.

Shrinking is anti-aliased (Pillow's bilinear filter); outside the photo its edge pixels repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ferdata.arguments import check_whole_numbers, checked_option
from ferdata.errors import DataError
from ferdata.photos.detect import LEAST_SCORE, SMALLEST_PX, Sought, detect
from ferdata.photos.photo import read_grey
from ferdata.photos.picture_argument import Picture, file_name
from ferdata.warp import resize_images, resize_matrix, warp_images
from tinycnn.ground.messages import quoted, short_repr

FRAMINGS = ("paper", "fer2013")
SIZE_PX = 84
"""The side of a crop, unless another is asked for: what MicroExpNet takes."""

_FER2013_PX, _FER2013_SCALE = 48, 1 / 0.983
_PAPER_PX, _PAPER_CROP_PX = 256, 224
_PAPER_DEMO = (32, 32)
# (top, left), in the order of the authors' function mirrorImages (which mirrors nothing).
_PAPER_OFFSETS = ((0, 0), (0, 5), (0, 32), (5, 0), (32, 0), (5, 5), (32, 32), (5, 32))


class FaceImages(np.ndarray):
    """Grey faces, uint8 (n, size_px, size_px), with their framing, which slices and copies keep. A
    network that was trained with another framing can then refuse them."""

    framing: str | None = None

    def __array_finalize__(self, source: object) -> None:
        self.framing = source.framing if isinstance(source, FaceImages) else None


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of one photo: largest first, or in the order of the boxes that were given.

    images   FaceImages (n, size_px, size_px)  grey crops
    boxes    int64 (n, 4)  x, y, width, height in px of the upright photo. The box of a face at the
                           edge may reach beyond the photo
    source   str           the file, or "" if the photo was not given by the name of its file
    framing  str | None    how the images were cropped: one of FRAMINGS
    scores   float64 (n,)  how sure the search is of each face: 1 is just enough, 3 is usual for a
                           clear face (`ferdata.photos.detect`); None if the boxes were given
    """

    images: np.ndarray
    boxes: np.ndarray
    source: str = ""
    framing: str | None = None
    scores: np.ndarray | None = None

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.images)


def find_faces(
    source: Picture,
    framing: str = "fer2013",
    *,
    boxes: np.ndarray | None = None,
    channels: str = "rgb",
    smallest_px: float | None = None,
    least_score: float = LEAST_SCORE,
    size_px: int = SIZE_PX,
) -> Faces:
    """The faces of a photo; an empty Faces (n = 0) if none is found.

    source       a file's name, its content, an open file, an image of Pillow, or uint8 (H, W) or
                 (H, W, 3). `ferdata.photos.photo` says which files are read
    framing      one of FRAMINGS
    boxes        whole numbers (n, 4), x, y, width, height in px of the upright photo: these are
                 used, and no faces are searched for. At least half of each must lie in the photo
    channels     "rgb" or "bgr": the order of an array's colours. OpenCV's arrays are "bgr"
    smallest_px  the side of the smallest face that is searched for, 24 or more; None: 24, or a
                 twentieth of the photo's short side if that is more
    least_score  faces with a lower score are left out: 0.5 finds more faces and more false ones, 2
                 fewer of both (the numbers: docs/film.md)
    size_px      the side of a crop: what the network takes, `network.input_spec.height_px`

    The search finds frontal faces; see `ferdata.photos.detect`. Raises DataError if the photo
    cannot be read (None cannot) or a box does not fit it, ValueError for an unknown framing or
    channels, or for numbers out of range.
    """
    checked_option("framing", framing, FRAMINGS)
    check_whole_numbers(1, size_px=size_px)
    sought = checked_sought(smallest_px, least_score)
    grey, name = read_grey(source, channels=channels), file_name(source)
    scores = None
    if boxes is None:
        found, scores = detect(grey, sought)
    else:
        found = checked_boxes(boxes, grey, name or "photo")
    return Faces(framed_faces(grey, found, framing, size_px), found, name, framing, scores)


def checked_sought(smallest_px: float | None, least_score: float) -> Sought:
    """Both as a Sought. Raises ValueError unless they are numbers of 24 or more, and above 0."""
    if smallest_px is not None and not _is_number(smallest_px, SMALLEST_PX):
        raise ValueError(
            f"smallest_px: expected a number of {SMALLEST_PX} or more, found {quoted(smallest_px)}"
            ". To find smaller faces, enlarge the photo"
        )
    if not _is_number(least_score, 0) or least_score == 0:
        raise ValueError(f"least_score: expected a number above 0, found {quoted(least_score)}")
    return Sought(smallest_px, least_score)


def _is_number(value: object, least: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    return bool(least <= value < float("inf"))


def framed_faces(
    grey: np.ndarray, boxes: np.ndarray, framing: str, size_px: int = SIZE_PX
) -> FaceImages:
    """The faces in boxes that were checked. grey: uint8 (H, W)"""
    images = np.empty((len(boxes), size_px, size_px), np.uint8).view(FaceImages)
    images.framing = framing
    for image, box in zip(images, boxes):
        image[:] = _framed(grey, box, framing, size_px)
    return images


def frame_face(
    photo: Picture,
    box: np.ndarray,
    framing: str,
    *,
    channels: str = "rgb",
    size_px: int = SIZE_PX,
) -> np.ndarray:
    """Crop one face for a network: uint8 (size_px, size_px).

    photo    what `find_faces` takes; `channels` likewise
    box      x, y, width, height in px, whole numbers; at least half of it in the photo. `fer2013`
             replaces a box that is not square by the square with the same centre and area
    framing  one of FRAMINGS
    size_px  what the network takes

    Raises DataError and ValueError as `find_faces` does.
    """
    checked_option("framing", framing, FRAMINGS)
    check_whole_numbers(1, size_px=size_px)
    grey, box = _grey_and_box(photo, box, channels)
    return _framed(grey, box, framing, size_px)


def paper_face(photo: Picture, box: np.ndarray, *, channels: str = "rgb") -> np.ndarray:
    """A photo's box resized to uint8 (256, 256), to be cropped. Arguments and errors as
    `frame_face`."""
    return _paper_face(*_grey_and_box(photo, box, channels))


def _grey_and_box(photo: Picture, box: np.ndarray, channels: str) -> tuple[np.ndarray, np.ndarray]:
    grey = read_grey(photo, channels=channels)
    (box,) = checked_boxes(np.asarray(box)[None], grey, file_name(photo) or "photo")
    return grey, box


def paper_training_crops(face: np.ndarray) -> np.ndarray:
    """The paper's eight training crops: uint8 (8, 84, 84) from a `paper_face`, (256, 256).

    Squares of 224 px at (top, left) = (0, 0) (0, 5) (0, 32) (5, 0) (32, 0) (5, 5) (32, 32) (5, 32),
    in the order of the authors' code; number 6 is framing `paper`. Raises DataError.
    """
    face = np.asarray(face)
    if face.dtype != np.uint8 or face.shape != (_PAPER_PX, _PAPER_PX):
        raise DataError(f"face: expected uint8 (256, 256), found {face.dtype} {face.shape}")
    return np.stack([_paper_crop(face, offset, SIZE_PX) for offset in _PAPER_OFFSETS])


def checked_boxes(boxes: np.ndarray, photo: np.ndarray, name: str) -> np.ndarray:
    """The boxes as int64 (n, 4). Raises DataError, beginning with `name`, if they are not whole
    numbers or less than half of a box lies in the photo."""
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
    """An area (left, top, right, bottom) of a photo, or all of it, as uint8 (size_px, size_px).

    Shrinking is anti-aliased; outside the photo its edge pixels repeat.
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


def _framed(grey: np.ndarray, box: np.ndarray, framing: str, size_px: int) -> np.ndarray:
    if framing == "paper":
        return _paper_crop(_paper_face(grey, box), _PAPER_DEMO, size_px)
    x, y, w, h = box.tolist()
    half = (w * h) ** 0.5 * _FER2013_SCALE / 2
    x, y = x + w / 2, y + h / 2
    small = resized(grey, _FER2013_PX, (x - half, y - half, x + half, y + half))
    return resize_images(small[None], size_px)[0]


def _paper_face(grey: np.ndarray, box: np.ndarray) -> np.ndarray:
    x, y, w, h = box.tolist()
    return resized(grey, _PAPER_PX, (x, y, x + w, y + h))


def _paper_crop(face: np.ndarray, offset: tuple[int, int], size_px: int) -> np.ndarray:
    top, left = offset
    crop = face[top : top + _PAPER_CROP_PX, left : left + _PAPER_CROP_PX]
    if size_px != SIZE_PX:
        return resized(crop, size_px)
    matrix = resize_matrix(_PAPER_CROP_PX, _PAPER_CROP_PX, SIZE_PX)
    return warp_images(crop[None], matrix[None], SIZE_PX)[0]
