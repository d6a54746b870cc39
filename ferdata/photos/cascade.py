"""A cascade classifier that says whether a window of 24x24 pixels shows a frontal face.

Its file (OpenCV's lbpcascade_frontalface) comes with scikit-image. It holds 20 stages of boosted
tests on multi-block local binary patterns. A window is a face if it passes every stage:

    code   8 bits, one for each of the 8 blocks around a centre block, clockwise from the top left,
           the highest bit first: is the block's sum >= the centre block's sum?               (1)
    stage  passed if the sum over its tests of leaf[code] >= the stage's threshold            (2)

Source: Liao et al. 2007, "Learning Multi-scale Block Local Binary Patterns for Face Recognition".
`skimage.feature.Cascade` computes the same (a test compares the two), but it returns only the boxes
of its own search, after a quarter of a second for 320x320 pixels. This file tests all windows of an
image at once, in NumPy; `ferdata.photos.detect_loops` does it in compiled loops.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from tinycnn.ground.package_files import package_text

WINDOW_PX = 24

# Subtracted from every threshold. Training set a threshold to the score of some window that must
# just pass it, and that window must not fail because of a rounding error.
_ROUNDING = 1e-5
# The outer blocks of the 3x3, counted row by row, in the order of the code's bits.
_RING = np.array([0, 1, 2, 5, 8, 7, 6, 3])


class Tables(NamedTuple):
    """The cascade as arrays: S stages with T tests in all, stage after stage."""

    first: np.ndarray  # int64 (S + 1,): the tests of stage s are first[s]..first[s + 1] - 1
    thresholds: np.ndarray  # float32 (S,), _ROUNDING subtracted
    blocks: np.ndarray  # int64 (T, 4): x, y, width, height of the top left block
    leaves: np.ndarray  # float32 (T, 256): the leaf of each code


@lru_cache(maxsize=1)
def tables() -> Tables:
    """The tables of scikit-image's cascade.  Its file is read at the first call alone."""
    text = package_text("skimage", "data/lbpcascade_frontalface_opencv.xml")
    root = ElementTree.fromstring(text)[0]
    rects = [[int(number) for number in (rect.text or "").split()] for rect in root.iter("rect")]
    first, thresholds, blocks, leaves = [0], [], [], []
    for stage in root.iterfind("stages/*"):
        for test in stage.iterfind("weakClassifiers/*"):
            _, _, block, *words = map(int, test.findtext("internalNodes", "").split())
            bits = np.array(words, np.int64).astype(np.uint32)[:, None] >> np.arange(32) & 1
            low, high = map(float, test.findtext("leafValues", "").split())
            blocks.append(rects[block])
            leaves.append(np.where(bits.ravel() == 1, low, high))
        first.append(len(blocks))
        thresholds.append(float(stage.findtext("stageThreshold", "")) - _ROUNDING)
    return Tables(
        np.array(first, np.int64),
        np.array(thresholds, np.float32),
        np.array(blocks, np.int64),
        np.array(leaves, np.float32),
    )


def stages_passed(image: np.ndarray, step_px: int = 1) -> np.ndarray:
    """How many stages each window passes before it fails one: int8 (rows, columns).

    image    uint8 (H, W), both at least WINDOW_PX
    step_px  entry (i, j) is for the window whose top left corner is pixel (i, j) * step_px;
             rows = (H - 24) // step_px + 1, columns likewise

    The tests of a stage are done for all windows that have passed every stage so far, a few
    thousand at a time.
    """
    out = np.zeros([(side - WINDOW_PX) // step_px + 1 for side in image.shape], np.int8)
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1), np.int32)
    sums[1:, 1:] = image.cumsum(0, np.int32).cumsum(1, np.int32)
    stages = _stages(sums.shape[1])
    top, left = np.indices(out.shape).reshape(2, -1) * step_px
    corners, passed = top * sums.shape[1] + left, out.ravel()
    for k in range(0, len(corners), _AT_ONCE):
        _pass_stages(sums.ravel(), corners[k : k + _AT_ONCE], stages, passed[k : k + _AT_ONCE])
    return out


_AT_ONCE = 4096


class _Stage(NamedTuple):
    """A stage with T tests, for sums of one width."""

    threshold: np.float32
    points: (
        np.ndarray
    )  # int64 (T, 4, 4, 1): the corners of the 3x3 blocks, counted from the window's
    leaves: np.ndarray  # float32 (256 T,)
    first_leaf: np.ndarray  # int64 (T, 1)


@lru_cache(maxsize=32)
def _stages(width: int) -> list[_Stage]:
    first, thresholds, blocks, leaves = tables()
    x, y, w, h = blocks.T[:, :, None, None]
    points = (y + h * np.arange(4)[:, None]) * width + x + w * np.arange(4)
    of_stage = [slice(begin, end) for begin, end in zip(first[:-1], first[1:])]
    return [
        _Stage(
            threshold, points[tests][..., None], leaves[tests].ravel(),
            256 * np.arange(tests.stop - tests.start)[:, None],
        )
        for threshold, tests in zip(thresholds, of_stage)
    ]  # fmt: skip


def _pass_stages(
    sums: np.ndarray, corners: np.ndarray, stages: list[_Stage], passed: np.ndarray
) -> None:
    """Overwrites `passed` (n,) for the windows whose top left corners are given, as indices of
    `sums`."""
    which = np.arange(len(corners))
    for number, stage in enumerate(stages, 1):
        point = sums.take(stage.points + corners)
        total = point[:, 1:, 1:] - point[:, 1:, :-1] - point[:, :-1, 1:] + point[:, :-1, :-1]
        total = total.reshape(len(total), 9, -1)
        codes = np.packbits(total[:, _RING] >= total[:, 4:5], axis=1)[:, 0]  # (1)
        scores = stage.leaves.take(stage.first_leaf + codes)
        keep = scores.cumsum(axis=0)[-1] >= stage.threshold  # (2), added in the order of the tests
        which, corners = which[keep], corners[keep]
        passed[which] = number
        if not len(which):
            break
