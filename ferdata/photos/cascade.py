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
# The outer blocks of the 3x3, (row, column), in the order of the code's bits.
_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


class Tables(NamedTuple):
    """The cascade as arrays: S stages with T tests in all, stage after stage."""

    first: np.ndarray  # int64 (S + 1,): the tests of stage s are first[s]..first[s + 1] - 1
    thresholds: np.ndarray  # float32 (S,), _ROUNDING subtracted
    blocks: np.ndarray  # int64 (T, 4): x, y, width, height of the top left block
    leaves: np.ndarray  # float32 (T, 256): the leaf of each code


@lru_cache(maxsize=1)
def tables() -> Tables:
    """The cascade, read from its file at the first call."""
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

    Each test is done for all windows that have passed every stage so far.
    """
    first, thresholds, blocks, leaves = tables()
    out = np.zeros([(side - WINDOW_PX) // step_px + 1 for side in image.shape], np.int8)
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1), np.int32)
    sums[1:, 1:] = image.cumsum(0, np.int32).cumsum(1, np.int32)
    top, left = np.indices(out.shape).reshape(2, -1) * step_px
    which = np.arange(out.size)
    for stage, threshold in enumerate(thresholds):
        score = np.zeros(len(which), np.float32)
        for test in range(first[stage], first[stage + 1]):
            x, y, w, h = blocks[test]
            lines, columns = np.arange(4)[:, None, None], np.arange(4)[:, None]
            point = sums[top + y + h * lines, left + x + w * columns]
            total = point[1:, 1:] - point[1:, :-1] - point[:-1, 1:] + point[:-1, :-1]
            code = np.zeros(len(which), np.uint8)
            for i, j in _RING:  # (1)
                code += code
                code += total[i, j] >= total[1, 1]
            score += leaves[test][code]
        keep = score >= threshold  # (2)
        which, top, left = which[keep], top[keep], left[keep]
        out.ravel()[which] = stage + 1
    return out
