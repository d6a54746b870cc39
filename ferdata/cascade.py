"""Is this window a frontal face? The cascade whose file ships with scikit-image.

The file (OpenCV's lbpcascade_frontalface, found by skimage.data) holds 20 stages of boosted tests
on multi-block local binary patterns. A window of 24x24 pixels is a face if every stage passes:

    code   8 bits, highest first: for the 8 blocks around a centre block, clockwise from the top
           left, is the block's sum >= the centre's?                                          (1)
    stage  sum over its tests of (the leaf that `code` selects) >= the stage's threshold      (2)

Source: Liao et al. 2007, "Learning Multi-scale Block Local Binary Patterns for Face Recognition".
`skimage.feature.Cascade` computes the same (a test holds them together) but tells only what its
search makes of it, in a quarter of a second for 320x320 pixels; here `stages_passed` is a kernel
that Numba compiles, or, without Numba, NumPy over all windows at once, some five times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from ferdata.jit import compiled

WINDOW_PX = 24

# Thresholds are sums of leaves that training just let pass, so rounding must not decide them.
_ROUNDING = 1e-5
# Blocks of the 3x3 as (row, column), in the order of the code's bits.
_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


class _Tables(NamedTuple):
    """The cascade as arrays: T tests in the order of their S stages."""

    first: np.ndarray  # uint64 (S + 1,): the tests of stage s are first[s]..first[s + 1] - 1
    thresholds: np.ndarray  # float32 (S,), less _ROUNDING
    blocks: np.ndarray  # int64 (T, 4): x, y, width, height of the top left block
    leaves: np.ndarray  # float32 (T, 256): the leaf of each code


def stages_passed(image: np.ndarray, step_px: int = 1) -> np.ndarray:
    """int8 (rows, columns): how many stages the window at (row, column) * step_px passes.

    image  uint8 (H, W), both at least WINDOW_PX; rows = (H - 24) // step_px + 1, columns alike
    """
    rows, columns = ((side - WINDOW_PX) // step_px + 1 for side in image.shape)
    out = np.empty((rows, columns), np.int8)
    tables, offsets = _tables(), _corner_offsets(image.shape[1] + 1)
    _kernel()(image, step_px, tables.first, tables.thresholds, offsets, tables.leaves, out)
    return out


def n_stages() -> int:
    """How many stages a face has to pass."""
    return len(_tables().thresholds)


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    from skimage.data import lbp_frontal_face_cascade_filename

    root = ElementTree.parse(lbp_frontal_face_cascade_filename()).getroot()[0]
    rects = [[int(number) for number in rect.text.split()] for rect in root.iter("rect")]
    first, thresholds, blocks, leaves = [0], [], [], []
    for stage in root.find("stages"):
        for test in stage.find("weakClassifiers"):
            _, _, block, *words = map(int, test.find("internalNodes").text.split())
            bits = np.array(words, np.int64).astype(np.uint32)[:, None] >> np.arange(32) & 1
            low, high = map(float, test.find("leafValues").text.split())
            blocks.append(rects[block])
            leaves.append(np.where(bits.ravel() == 1, low, high))
        first.append(len(blocks))
        thresholds.append(float(stage.find("stageThreshold").text) - _ROUNDING)
    return _Tables(
        np.array(first, np.uint64),
        np.array(thresholds, np.float32),
        np.array(blocks, np.int64),
        np.array(leaves, np.float32),
    )


@lru_cache(maxsize=128)
def _corner_offsets(row_length: int) -> np.ndarray:
    """uint64 (T, 16): the corners of each test's 3x3 blocks, as places in rows of sums."""
    x, y, w, h = _tables().blocks.T[..., None]
    rows, columns = y + np.arange(4) * h, x + np.arange(4) * w
    return (rows[:, :, None] * row_length + columns[:, None]).reshape(-1, 16).astype(np.uint64)


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., None]:
    """The compiled loops, or NumPy's where Numba fails. Made when first needed."""

    def signature(numba: Any) -> Any:
        def given(kind: Any, n_axes: int) -> Any:
            return numba.types.Array(kind, n_axes, "C", readonly=True)

        whole, real = numba.uint64, numba.float32
        tables = (given(whole, 1), given(real, 1), given(whole, 2), given(real, 2))
        return numba.void(given(numba.uint8, 2), numba.int64, *tables, numba.int8[:, ::1])

    return compiled(passed_loops, signature, passed_numpy)


def passed_loops(
    image: np.ndarray,
    step_px: int,
    first: np.ndarray,
    thresholds: np.ndarray,
    offsets: np.ndarray,
    leaves: np.ndarray,
    out: np.ndarray,
) -> None:
    """Equations (1) and (2), window by window. Unsigned places spare the test for negative ones."""
    height, width = image.shape
    row_length = width + 1
    sums = np.zeros((height + 1) * row_length, np.int32)  # at (r, c): of image[:r, :c]
    for r in range(height):
        of_row = np.int32(0)
        for c in range(width):
            of_row += np.int32(image[r, c])
            sums[(r + 1) * row_length + c + 1] = sums[r * row_length + c + 1] + of_row
    n_stages, one = np.uint64(len(thresholds)), np.uint64(1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            corner = np.uint64((i * row_length + j) * step_px)
            stage = np.uint64(0)
            while stage < n_stages:
                score = np.float32(0.0)
                for test in range(first[stage], first[stage + one]):
                    at = offsets[test]
                    s00, s01 = sums[corner + at[0]], sums[corner + at[1]]
                    s02, s03 = sums[corner + at[2]], sums[corner + at[3]]
                    s10, s11 = sums[corner + at[4]], sums[corner + at[5]]
                    s12, s13 = sums[corner + at[6]], sums[corner + at[7]]
                    s20, s21 = sums[corner + at[8]], sums[corner + at[9]]
                    s22, s23 = sums[corner + at[10]], sums[corner + at[11]]
                    s30, s31 = sums[corner + at[12]], sums[corner + at[13]]
                    s32, s33 = sums[corner + at[14]], sums[corner + at[15]]
                    centre = s22 - s12 - s21 + s11
                    code = (  # (1)
                        np.uint64(s11 - s01 - s10 + s00 >= centre) << np.uint64(7)
                        | np.uint64(s12 - s02 - s11 + s01 >= centre) << np.uint64(6)
                        | np.uint64(s13 - s03 - s12 + s02 >= centre) << np.uint64(5)
                        | np.uint64(s23 - s13 - s22 + s12 >= centre) << np.uint64(4)
                        | np.uint64(s33 - s23 - s32 + s22 >= centre) << np.uint64(3)
                        | np.uint64(s32 - s22 - s31 + s21 >= centre) << np.uint64(2)
                        | np.uint64(s31 - s21 - s30 + s20 >= centre) << np.uint64(1)
                        | np.uint64(s21 - s11 - s20 + s10 >= centre)
                    )
                    score += leaves[test, code]
                if score < thresholds[stage]:  # (2)
                    break
                stage += one
            out[i, j] = stage


def passed_numpy(
    image: np.ndarray,
    step_px: int,
    first: np.ndarray,
    thresholds: np.ndarray,
    offsets: np.ndarray,
    leaves: np.ndarray,
    out: np.ndarray,
) -> None:
    """The same, without Numba: test by test, for the windows that are still in."""
    sums = np.zeros((image.shape[0] + 1, image.shape[1] + 1), np.int32)
    sums[1:, 1:] = image.cumsum(0, np.int32).cumsum(1, np.int32)
    rows, columns = np.indices(out.shape).reshape(2, -1)
    corners = (rows * sums.shape[1] + columns) * step_px
    which = np.arange(out.size)
    out[:] = 0
    for stage, threshold in enumerate(thresholds):
        score = np.zeros(len(which), np.float32)
        for test in range(int(first[stage]), int(first[stage + 1])):
            places = offsets[test].astype(np.int64)[:, None] + corners
            point = sums.ravel()[places].reshape(4, 4, -1)
            total = point[1:, 1:] - point[1:, :-1] - point[:-1, 1:] + point[:-1, :-1]
            code = np.zeros(len(which), np.uint8)
            for i, j in _RING:
                code += code
                code += total[i, j] >= total[1, 1]
            score += leaves[test][code]
        keep = score >= threshold
        which, corners = which[keep], corners[keep]
        out.ravel()[which] = stage + 1
