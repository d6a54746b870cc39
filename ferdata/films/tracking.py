"""Follows faces from frame to frame, and smooths what was found out about each of them.

The whole picture is searched in the first frame and in every fifth; in the others, only twice the
size of each known face around its last place, unless one of them is not found there. That is
faster, and loses fewer faces: a face that fills half of what is searched needs fewer votes (see
`ferdata.photos.detect`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ferdata.arguments import check_whole_numbers, checked_option
from ferdata.photos.detect import LEAST_SCORE, SMALLEST_PX, Sought, detect
from ferdata.photos.faces import FRAMINGS, SIZE_PX, Faces, checked_sought, framed_faces
from ferdata.photos.photo import read_grey
from ferdata.photos.picture_argument import Picture

SMOOTHING_S = 0.3
SEARCH_EVERY = 5
_KEPT_S, _OVERLAP, _AROUND, _SHRINK = 0.5, 0.3, 2.0, 0.7


@dataclass
class _Track:
    number: int
    box: np.ndarray
    seen_s: float


class TrackedFaces(NamedTuple):
    """The faces of a frame, largest first, and the number of each: the same in all frames in which
    it was followed, 1 for the first face of the film."""

    faces: Faces
    numbers: tuple[int, ...]


class FaceTracker:
    """Finds the faces in the frames of one film, in turn."""

    def __init__(
        self,
        framing: str = "fer2013",
        *,
        smallest_px: float | None = None,
        least_score: float = LEAST_SCORE,
        search_every: int = SEARCH_EVERY,
        size_px: int = SIZE_PX,
    ) -> None:
        """framing, smallest_px, least_score, size_px  as in `ferdata.find_faces`
        search_every  the whole picture is searched in every n-th frame; 1: in all

        Raises ValueError for values out of range.
        """
        self.framing = checked_option("framing", framing, FRAMINGS)
        self._sought = checked_sought(smallest_px, least_score)
        check_whole_numbers(1, search_every=search_every, size_px=size_px)
        self._size_px = size_px
        self._search_every, self._n_frames, self._n_faces = search_every, 0, 0
        self._tracks: list[_Track] = []

    def find(self, picture: Picture, time_s: float, *, channels: str = "rgb") -> TrackedFaces:
        """The faces of the next frame. A face that was not seen for half a second, and a face at
        another place, gets a new number.

        picture, channels  as in `ferdata.find_faces`
        time_s             the time of the frame in seconds
        """
        grey = read_grey(picture, channels=channels)
        self._tracks = [one for one in self._tracks if time_s - one.seen_s <= _KEPT_S]
        found: list[tuple[np.ndarray, float]] = []
        for track in self._tracks:
            near = self._near(grey, track.box)
            if near is not None and all(_overlap(near[0], box) < _OVERLAP for box, _ in found):
                found.append(near)
        whole = self._n_frames % self._search_every == 0
        if whole or not found or len(found) < len(self._tracks):
            boxes, scores = detect(grey, self._sought)
            found += [
                (box, score)
                for box, score in zip(boxes, scores.tolist())
                if all(_overlap(box, other) < _OVERLAP for other, _ in found)
            ]
        self._n_frames += 1
        found.sort(key=lambda one: (-one[0][2], one[0][0]))
        boxes = np.array([box for box, _ in found], np.int64).reshape(-1, 4)
        numbers = self._numbered(boxes, time_s)
        images = framed_faces(grey, boxes, self.framing, self._size_px)
        scores = np.array([score for _, score in found], np.float64)
        return TrackedFaces(Faces(images, boxes, "", self.framing, scores), numbers)

    def _near(self, grey: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, float] | None:
        """The box and score of a face that was last at `box`, or None."""
        x, y, side, _ = box.tolist()
        reach = round(side * (_AROUND - 1) / 2)
        left, top = max(x - reach, 0), max(y - reach, 0)
        part = np.ascontiguousarray(grey[top : y + side + reach, left : x + side + reach])
        smallest_px = max(_SHRINK * side, SMALLEST_PX)
        if not part.size or min(part.shape) < smallest_px:
            return None
        boxes, scores = detect(part, Sought(smallest_px, self._sought.least_score))
        if not len(boxes):
            return None
        boxes = boxes + np.array([left, top, 0, 0])
        overlaps = [_overlap(other, box) for other in boxes]
        best = int(np.argmax(overlaps))
        return (boxes[best], float(scores[best])) if overlaps[best] >= _OVERLAP else None

    def _numbered(self, boxes: np.ndarray, time_s: float) -> tuple[int, ...]:
        """The number of each box; the tracks are brought up to date. The pairs with most overlap
        come first."""
        pairs = sorted(
            (-_overlap(track.box, box), i, k)
            for i, track in enumerate(self._tracks)
            for k, box in enumerate(boxes)
        )
        of_box: dict[int, _Track] = {}
        taken: set[int] = set()
        for overlap, i, k in pairs:
            if -overlap >= _OVERLAP and i not in taken and k not in of_box:
                taken.add(i)
                of_box[k] = self._tracks[i]
        for k, box in enumerate(boxes):
            if k not in of_box:
                self._n_faces += 1
                of_box[k] = _Track(self._n_faces, box, time_s)
                self._tracks.append(of_box[k])
            of_box[k].box, of_box[k].seen_s = box, time_s
        return tuple(of_box[k].number for k in range(len(boxes)))


class ProbabilitySmoothing:
    """Exponential smoothing of each face's probabilities, so that its expression does not flicker:

        s(t) = k s(t') + (1 - k) p(t),  k = exp(-(t - t') / seconds)

    p are the probabilities in the frame at t, s the smoothed ones, t' the time of the face's frame
    before. In a face's first frame s = p.
    """

    def __init__(self, seconds: float = SMOOTHING_S) -> None:
        """seconds: the time constant; 0 switches it off. Raises ValueError below 0."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds: expected a number of 0 or more, found {seconds!r}")
        self.seconds = seconds
        self._last: dict[int, tuple[float, np.ndarray]] = {}

    def update(self, numbers: tuple[int, ...], probs: np.ndarray, time_s: float) -> np.ndarray:
        """The smoothed probabilities (n, K) of a frame.

        numbers  of its n faces, as from `FaceTracker`;  probs: (n, K);  time_s: of the frame
        """
        smoothed = np.array(probs, np.float64)
        for row, number in zip(smoothed, numbers):
            if number in self._last and self.seconds:
                before_s, before = self._last[number]
                kept = math.exp(-max(time_s - before_s, 0.0) / self.seconds)
                row[:] = kept * before + (1 - kept) * row
        self._last = {k: one for k, one in self._last.items() if time_s - one[0] <= _KEPT_S}
        self._last.update({number: (time_s, row) for number, row in zip(numbers, smoothed)})
        return smoothed


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The area that two squares share, as a part of what both cover."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = float(max(across, 0) * max(down, 0))
    return shared / (float(a[2] * a[3] + b[2] * b[3]) - shared)
