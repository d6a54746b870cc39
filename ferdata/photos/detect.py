"""Find the frontal faces in a grey picture with the cascade classifier, coarse to fine.

The cascade's windows are always 24x24 px. To find faces of s px, the picture is resized by 24 / s.

1. Search: face sizes differ by a factor of 1.2; every second window along each axis is tested. A
   window that passes 14 of the 20 stages is a candidate.
2. Verify: all windows within 4 px of a candidate are tested, at 5 sizes that differ by a factor of
   1.1: 405 windows. At a face, many of them pass all stages; elsewhere only a few do. (If no window
   of the candidate's own size passes 17 stages, the other sizes are skipped.) The face is the mean
   of the windows that pass, its votes are their number. If the votes are few, step 2 is repeated
   around that mean, as long as this gives more votes.
3. A face's score is its votes, divided by 11, or by 5 if it is at least a fifth of the picture's
   short side: fewer windows have that size, so fewer pass by chance. Faces with a score below 1 are
   dropped, if no other least score is asked for. Of overlapping faces the one with most votes is
   kept.

Sizes are searched in four bands, from large to small, and a face that overlaps one of an earlier
band is dropped. A search for the largest face can therefore stop after the first band that has a
face, and gives the same face as a full search.

Measured on scikit-image's pictures: no false face in the 20 without a face; false faces in 11 of
166 if these are also rotated and mirrored. Of 1000 images of FER2013, posed and spontaneous, padded
by repeating their edges, it finds the face in 65 %; OpenCV's Haar cascade, with the paper's
settings, in 61 %. Both need a frontal face, within some 15 degrees of upright and not covered.

The picture is first padded by an eighth of its short side, repeating its edge, so that a face that
fills the picture is found. The box of such a face may reach beyond the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ferdata.jit import PHOTOS, warn_once
from ferdata.photos import detect_arrays
from ferdata.photos.cascade import WINDOW_PX, tables

SMALLEST_PX = 24
SMALLEST_FRACTION = 1 / 20
"""Faces smaller than either are not searched for, unless asked for: in px, and relative to the
short side. The classifier's windows are no smaller than SMALLEST_PX."""

LEAST_SCORE = 1.0
"""Faces with a lower score are dropped, unless asked for. See `benchmarks.face_detection`."""

_MARGIN = 1 / 8
_SEARCH_FACTOR, _SEARCH_STEP_PX, _SEARCH_STAGES = 1.2, 2, 14
_VERIFY_FACTORS, _VERIFY_PX, _VERIFY_STAGES = (1.0, 1.1, 1.1**-1, 1.1**2, 1.1**-2), 4, 17
_VOTES, _VOTES_IF_LARGE, _LARGE, _VOTES_TO_LOOK_AGAIN = 11, 5, 1 / 5, 2
_BANDS = (0.4, 0.2, 0.1, 0.0)
_MAX_CANDIDATES = 200
_PHOTO_S = 0.25  # that NumPy takes to search a photo, about

Windows = Callable[..., np.ndarray]
_SAME_PLACE, _SAME_SIZE, _OVERLAPPING = 0.125, 1.3, 0.3


class Face(NamedTuple):
    """A square of side px around (x, y), all in px, with the number of windows that support it."""

    votes: int
    x: float
    y: float
    px: float

    def on(self, k: int, margin: int) -> Face:
        """This face in the photo's px. This picture is the photo, padded by `margin` after it was
        shrunk by the factor k."""
        return Face(self.votes, (self.x - margin) * k, (self.y - margin) * k, self.px * k)


class Sought(NamedTuple):
    """What counts as a face.

    smallest_px  the side of the smallest face, SMALLEST_PX or more; None: SMALLEST_PX, or
                 SMALLEST_FRACTION of the picture's short side if that is more
    least_score  faces with a lower score are dropped
    """

    smallest_px: float | None = None
    least_score: float = LEAST_SCORE


class Detected(NamedTuple):
    """The faces of a picture, largest first.

    boxes   int64 (n, 4): x, y, width, height in px
    scores  float64 (n,)
    """

    boxes: np.ndarray
    scores: np.ndarray


def detect(grey: np.ndarray, sought: Sought = Sought()) -> Detected:
    """The faces in uint8 (H, W)."""
    faces = [face for band in _faces_by_size(grey, sought) for face in band]
    boxes = _whole_boxes(faces)
    short = min(grey.shape)
    scores = np.array([face.votes / _votes_needed(face, short) for face in faces], np.float64)
    order = np.lexsort((boxes[:, 0], -boxes[:, 2]))
    return Detected(boxes[order], scores[order])


def largest_face(grey: np.ndarray) -> np.ndarray | None:
    """The box of the first face of `detect`, or None. Smaller faces are not searched for."""
    for band in _faces_by_size(grey, Sought()):
        if band:
            boxes = _whole_boxes(band)
            return boxes[np.lexsort((boxes[:, 0], -boxes[:, 2]))[0]]
    return None


def _votes_needed(face: Face, short: int) -> int:
    """The votes of a score of 1, in a picture with this short side."""
    return _VOTES_IF_LARGE if face.px >= _LARGE * short else _VOTES


def _faces_by_size(grey: np.ndarray, sought: Sought) -> Iterator[list[Face]]:
    """The faces of each band of sizes, from large to small; no two faces overlap."""
    windows_of = _windows_for_a_photo()
    short = min(grey.shape)
    smallest_px, least_score = sought
    if smallest_px is None:
        smallest_px = max(SMALLEST_FRACTION * short, SMALLEST_PX)
    size = float(short)
    kept: list[Face] = []
    for band in _BANDS:
        sizes = []
        while size >= max(band * short, smallest_px):
            sizes.append(size)
            size /= _SEARCH_FACTOR
        if not sizes:
            continue
        # The largest factor at which the picture need not be enlarged again for step 2.
        k = max(int(sizes[-1] * min(_VERIFY_FACTORS) / WINDOW_PX), 1)
        margin = int(short * _MARGIN / k)
        picture = detect_arrays.reduced(grey, k, margin)
        found: list[Face] = []
        for candidate in _search(windows_of, picture, [px / k for px in sizes]):
            if any(_is_within(candidate.on(k, margin), face) for face in kept + found):
                continue
            face = _verified(windows_of, picture, candidate)
            while _VOTES_TO_LOOK_AGAIN <= face.votes < _VOTES:
                again = _verified(windows_of, picture, face)
                if again.votes <= face.votes:
                    break
                face = again
            face = face.on(k, margin)
            if face.votes and face.votes >= least_score * _votes_needed(face, short):
                found.append(face)
        new: list[Face] = []
        for face in sorted(found, reverse=True):
            if not any(_overlap(face, other) for other in kept + new):
                new.append(face)
        kept += new
        yield new


def _search(windows_of: Windows, picture: np.ndarray, sizes_px: list[float]) -> list[Face]:
    """Step 1: candidates, best first; their `votes` are the number of stages passed."""
    height, width = picture.shape
    sizes = _at_least_a_window(
        [[height * WINDOW_PX / px, width * WINDOW_PX / px] for px in reversed(sizes_px)]
    )
    area, everywhere = np.array([0.0, 0.0, width, height]), np.array([0.0, 0.0, -1.0])
    windows = windows_of(
        picture, area, sizes, everywhere, _SEARCH_STEP_PX, _SEARCH_STAGES, 0, *tables()
    )
    found = [Face(int(n), x, y, sizes_px[-1 - int(k)]) for n, x, y, k in windows.tolist()]
    kept: list[Face] = []
    for face in sorted(found, reverse=True):
        if len(kept) == _MAX_CANDIDATES:
            break
        if not any(
            max(abs(face.x - other.x), abs(face.y - other.y)) < _SAME_PLACE * other.px
            and other.px / _SAME_SIZE < face.px < other.px * _SAME_SIZE
            for other in kept
        ):
            kept.append(face)
    return kept


def _verified(windows_of: Windows, picture: np.ndarray, candidate: Face) -> Face:
    """Step 2: the mean of the windows near a candidate that pass all stages."""
    _, x, y, face_px = candidate
    window_px = face_px / WINDOW_PX
    reach = window_px * max(_VERIFY_FACTORS) * (WINDOW_PX / 2 + _VERIFY_PX)
    left, right = max(x - reach, 0.0), min(x + reach, float(picture.shape[1]))
    top, bottom = max(y - reach, 0.0), min(y + reach, float(picture.shape[0]))
    sides = np.array([bottom - top, right - left])
    sizes = _at_least_a_window([sides / (window_px * factor) for factor in _VERIFY_FACTORS])
    area, around = np.array([left, top, right, bottom]), np.array([x, y, _VERIFY_PX])
    n_stages = len(tables().thresholds)
    windows = windows_of(picture, area, sizes, around, 1, n_stages, _VERIFY_STAGES, *tables())
    if not len(windows):
        return candidate._replace(votes=0)
    of_level = (sides / sizes).mean(axis=1) * WINDOW_PX
    _, x, y, _ = windows.mean(axis=0).tolist()
    return Face(len(windows), x, y, float(of_level[windows[:, 3].astype(int)].mean()))


def _at_least_a_window(sizes: ArrayLike) -> np.ndarray:
    return np.maximum(np.round(np.array(sizes, np.float64)), WINDOW_PX).astype(np.int64)


def _windows_for_a_photo() -> Windows:
    """The `windows` of the compiled loops; of NumPy, while they are not loaded."""
    if not _arithmetic.cache_info().currsize and PHOTOS.takes(_PHOTO_S):
        return _numpy_windows
    return _arithmetic().windows


def _numpy_windows(*arguments: Any) -> np.ndarray:
    with PHOTOS.working():
        return detect_arrays.windows(*arguments)


@lru_cache(maxsize=1)
def _arithmetic() -> ModuleType:
    """The compiled loops, or NumPy's version if Numba fails. Loaded when first needed."""
    try:
        import ferdata.photos.detect_loops as loops
    except Exception as error:  # Numba is missing, refuses this NumPy, or cannot compile
        warn_once(error)
        return detect_arrays
    return loops


def _is_within(candidate: Face, face: Face) -> bool:
    return max(abs(candidate.x - face.x), abs(candidate.y - face.y)) < face.px / 4


def _overlap(a: Face, b: Face) -> bool:
    """Whether the shared area is more than _OVERLAPPING of the smaller face."""
    reach, smaller = (a.px + b.px) / 2, min(a.px, b.px)
    shared_x = min(reach - abs(a.x - b.x), smaller)
    shared_y = min(reach - abs(a.y - b.y), smaller)
    return min(shared_x, shared_y) > 0 and shared_x * shared_y > _OVERLAPPING * smaller**2


def _whole_boxes(faces: list[Face]) -> np.ndarray:
    """int64 (n, 4): x, y, width, height, in whole px."""
    boxes = [[face.x - face.px / 2, face.y - face.px / 2, face.px, face.px] for face in faces]
    return np.floor(np.array(boxes, np.float64).reshape(-1, 4) + 0.5).astype(np.int64)
