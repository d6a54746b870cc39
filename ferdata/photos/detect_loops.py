"""The windows of `ferdata.photos.detect` in loops that Numba compiles.

`windows` has the arguments and results of the one in detect_arrays, its reference. It runs without
the interpreter's lock. Two things make it fast:

- (1) of `ferdata.photos.cascade` is computed in vectors, for 32 neighbouring windows of a row at
  once, until three in four of them have failed a stage; the others are continued one by one. With a
  step of 2 the sums of even and odd columns are stored apart, so that neighbouring windows are next
  to each other in memory.
- Resizing gives the same bits as Pillow along each axis (it is the fixed-point arithmetic of
  Pillow's Resample.c), but always adds whole rows. To resize the width, the picture is transposed.

Importing this module compiles it, or loads the code compiled before; it fails without Numba.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ferdata.jit import compile_cached, inner_loops
from ferdata.photos.cascade import WINDOW_PX

_SIDE_BY_SIDE, _LANES = 32, 8  # windows computed together; their number is a multiple of _LANES
# Line i of the spans of `_codes` begins at _i. As constants they show LLVM that no lines overlap.
_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11 = (np.uint64(_SIDE_BY_SIDE * i) for i in range(12))
_BITS = 22  # of Pillow's fixed-point weights


def _compiled(signature: str) -> Callable[[Callable], Callable]:
    return lambda function: compile_cached(function, signature)


# ---- resizing --------------------------------------------------------------------------------


@inner_loops
def _resized_rows(
    rows: np.ndarray, first_row: int, top: float, bottom: float, n_out: int
) -> np.ndarray:
    """The rows from top to bottom of a picture, resized to n_out rows: uint8 (n_out, m).

    rows  uint8 (n_in, m): the picture's rows from number first_row on, as many as are needed

    A row is a weighted mean of the rows around it. The weights are a triangle (bilinear filter),
    which is wider the more rows are shrunk to one.
    """
    n_in, m = rows.shape
    out, totals = np.empty((n_out, m), np.uint8), np.empty(m, np.int32)
    start = np.float64(np.float32(top))
    scale = np.float64(np.float32(bottom) - np.float32(top)) / n_out
    support = max(scale, 1.0)
    narrow = 1.0 / support
    weights = np.empty(2 * int(np.ceil(support)) + 1)
    for i in range(n_out):
        centre = start + (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        n = min(int(centre + support + 0.5), first_row + n_in) - first
        total = 0.0
        for t in range(n):
            weights[t] = max(1.0 - abs((t + first - centre + 0.5) * narrow), 0.0)
            total += weights[t]
        for c in range(m):
            totals[c] = 1 << (_BITS - 1)
        for t in range(n):
            weight = np.int32(0.5 + weights[t] / total * (1 << _BITS))
            row = first - first_row + t
            for c in range(m):
                product = np.int32(np.int32(rows[row, c]) * weight)
                totals[c] = np.int32(totals[c] + product)
        for c in range(m):
            out[i, c] = np.uint8(min(totals[c] >> np.int32(_BITS), np.int32(255)))
    return out


@inner_loops
def _transposed(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """An area of the image, transposed: uint8 (right - left, bottom - top)."""
    out = np.empty((right - left, bottom - top), np.uint8)
    for r in range(bottom - top):
        for c in range(right - left):
            out[c, r] = image[top + r, left + c]
    return out


# ---- the cascade -----------------------------------------------------------------------------


@inner_loops
def _sum(
    image: np.ndarray, top: int, left: int, h: int, w: int, step: int, part: int, sums: np.ndarray
) -> None:
    """The integral image of h x w pixels: the sum of the first r rows and c columns, written to
    sums[(r * step + c % step) * part + c // step]."""
    for r in range(h):
        of_row, here, up = np.int32(0), (r + 1) * step * part, np.int64(step * part)
        place, phase = here, 0
        for c in range(w):
            of_row += np.int32(image[top + r, left + c])
            phase += 1
            place += part
            if phase == step:
                phase = 0
                place -= step * part - 1
            sums[place] = sums[place - up] + of_row


@inner_loops
def _codes(
    sums: np.ndarray, at: np.ndarray, corner: int, n: int, spans: np.ndarray, codes: np.ndarray
) -> None:
    """(1) of n neighbouring windows. `spans` is scratch, one array for all that the second loop
    needs from the first: so LLVM sees that nothing overlaps, and uses vectors."""
    for i in range(4):
        for k in range(3):
            a, b = corner + at[4 * i + k], corner + at[4 * i + k + 1]
            line = np.uint64(3 * i + k) * _1
            for j in range(np.uint64(n)):
                spans[line + j] = sums[b + j] - sums[a + j]
    for j in range(np.uint64(n)):
        a0, a1, a2 = spans[j], spans[j + _1], spans[j + _2]
        b0, b1, b2 = spans[j + _3], spans[j + _4], spans[j + _5]
        c0, c1, c2 = spans[j + _6], spans[j + _7], spans[j + _8]
        d0, d1, d2 = spans[j + _9], spans[j + _10], spans[j + _11]
        centre = np.int32(c1 - b1)  # Numba computes every sum of integers in 64 bits
        codes[j] = (
            np.int32(np.int32(b0 - a0) >= centre) << np.int32(7)
            | np.int32(np.int32(b1 - a1) >= centre) << np.int32(6)
            | np.int32(np.int32(b2 - a2) >= centre) << np.int32(5)
            | np.int32(np.int32(c2 - b2) >= centre) << np.int32(4)
            | np.int32(np.int32(d2 - c2) >= centre) << np.int32(3)
            | np.int32(np.int32(d1 - c1) >= centre) << np.int32(2)
            | np.int32(np.int32(d0 - c0) >= centre) << np.int32(1)
            | np.int32(np.int32(c0 - b0) >= centre)
        )


@inner_loops
def _code(sums: np.ndarray, at: np.ndarray, corner: int) -> int:
    """(1) of one window."""
    s00, s01, s02 = sums[corner + at[0]], sums[corner + at[1]], sums[corner + at[2]]
    s03, s10, s11 = sums[corner + at[3]], sums[corner + at[4]], sums[corner + at[5]]
    s12, s13, s20 = sums[corner + at[6]], sums[corner + at[7]], sums[corner + at[8]]
    s21, s22, s23 = sums[corner + at[9]], sums[corner + at[10]], sums[corner + at[11]]
    s30, s31, s32 = sums[corner + at[12]], sums[corner + at[13]], sums[corner + at[14]]
    s33 = sums[corner + at[15]]
    centre = s22 - s12 - s21 + s11
    return (
        np.uint64(s11 - s01 - s10 + s00 >= centre) << np.uint64(7)
        | np.uint64(s12 - s02 - s11 + s01 >= centre) << np.uint64(6)
        | np.uint64(s13 - s03 - s12 + s02 >= centre) << np.uint64(5)
        | np.uint64(s23 - s13 - s22 + s12 >= centre) << np.uint64(4)
        | np.uint64(s33 - s23 - s32 + s22 >= centre) << np.uint64(3)
        | np.uint64(s32 - s22 - s31 + s21 >= centre) << np.uint64(2)
        | np.uint64(s31 - s21 - s30 + s20 >= centre) << np.uint64(1)
        | np.uint64(s21 - s11 - s20 + s10 >= centre)
    )


@_compiled(
    "(uint8[:, ::1], Array(float64, 1, 'C', True), Array(int64, 2, 'C', True), "
    "Array(float64, 1, 'C', True), int64, int64, int64, Array(int64, 1, 'C', True), "
    "Array(float32, 1, 'C', True), Array(int64, 2, 'C', True), Array(float32, 2, 'C', True))"
)
def windows(
    picture, area, sizes, around, step, at_least, stop_below, first, thresholds, blocks, leaves
):
    """See `detect_arrays.windows`; the last four arguments are its `tables`. (The decorator has the
    types of all of them.)"""
    n_stages, reach = len(thresholds), around[2]
    left, top, right, bottom = area
    finest, n_pixels = 0, 0
    for k in range(len(sizes)):
        n_pixels += sizes[k, 0] * sizes[k, 1]
        if sizes[k, 0] > sizes[finest, 0]:
            finest = k
    h, w = sizes[finest]
    far_x, far_y = max((right - left) / w, 1.0), max((bottom - top) / h, 1.0)
    begin_x, begin_y = max(int(left - far_x), 0), max(int(top - far_y), 0)
    end_x = min(int(right + far_x) + 1, picture.shape[1])
    end_y = min(int(bottom + far_y) + 1, picture.shape[0])
    columns = _transposed(picture, begin_y, end_y, begin_x, end_x)
    columns = _resized_rows(columns, begin_x, left, right, w)
    source = _transposed(columns, 0, w, 0, end_y - begin_y)
    source = _resized_rows(source, begin_y, top, bottom, h)
    columns = _transposed(source, 0, h, 0, w)

    part = w // step + 1
    sums = np.zeros((h + 1) * step * part + _SIDE_BY_SIDE, np.int32)
    offsets = np.empty((len(blocks), 16), np.uint64)
    for test in range(len(blocks)):
        for i in range(4):
            line = (blocks[test, 1] + i * blocks[test, 3]) * step
            for j in range(4):
                column = blocks[test, 0] + j * blocks[test, 2]
                phase, place = column & (step - 1), column >> (step - 1)  # of step 1 or 2
                offsets[test, 4 * i + j] = (line + phase) * part + place
    spans, codes = np.empty(12 * _SIDE_BY_SIDE, np.int32), np.empty(_SIDE_BY_SIDE, np.int32)
    scores, which = np.empty(_SIDE_BY_SIDE, np.float32), np.empty(_SIDE_BY_SIDE, np.int64)
    passed = np.empty(_SIDE_BY_SIDE, np.int64)
    found, n_found, most = np.empty((n_pixels, 4)), 0, 0
    for k in range(len(sizes)):
        if k == 1 and most < stop_below:
            break
        h, w = sizes[k]
        level = source
        if k != finest:
            level = _resized_rows(columns, 0, 0.0, source.shape[1], w)
            level = _transposed(level, 0, w, 0, source.shape[0])
            level = _resized_rows(level, 0, 0.0, source.shape[0], h)
        px_x, px_y = (right - left) / w, (bottom - top) / h
        row_0, column_0 = 0, 0
        if reach >= 0:
            column_0 = max(int(np.rint((around[0] - left) / px_x - WINDOW_PX / 2 - reach)), 0)
            row_0 = max(int(np.rint((around[1] - top) / px_y - WINDOW_PX / 2 - reach)), 0)
            h = min(h - row_0, WINDOW_PX + 2 * int(reach))
            w = min(w - column_0, WINDOW_PX + 2 * int(reach))
        if min(h, w) < WINDOW_PX:
            continue
        _sum(level, row_0, column_0, h, w, step, part, sums)
        n_columns = (w - WINDOW_PX) // step + 1
        for i in range((h - WINDOW_PX) // step + 1):
            for j_0 in range(0, n_columns, _SIDE_BY_SIDE):
                n = min(_SIDE_BY_SIDE, n_columns - j_0)
                n_whole = (n + _LANES - 1) // _LANES * _LANES
                corner = np.uint64(i * step * step * part + j_0)
                for j in range(n):
                    which[j], passed[j] = j, 0
                n_in, stage = n, 0
                while stage < n_stages and 4 * n_in > n:  # all together
                    for j in range(n):
                        scores[j] = 0
                    for test in range(first[stage], first[stage + 1]):
                        _codes(sums, offsets[test], corner, n_whole, spans, codes)
                        for j in range(n):
                            scores[j] += leaves[test, np.uint64(codes[j])]
                    n_still, stage = 0, stage + 1
                    for place in range(n_in):
                        j = which[place]
                        if scores[j] >= thresholds[stage - 1]:  # (2)
                            passed[j], which[n_still] = stage, j
                            n_still += 1
                    n_in = n_still
                for place in range(n_in):  # one by one
                    j, own = which[place], stage
                    while own < n_stages:
                        score = np.float32(0.0)
                        for test in range(first[own], first[own + 1]):
                            at = corner + np.uint64(j)
                            score += leaves[test, _code(sums, offsets[test], at)]
                        if score < thresholds[own]:  # (2)
                            break
                        own += 1
                    passed[j] = own
                for j in range(n):
                    most = max(most, passed[j])
                    if passed[j] >= at_least:
                        middle_x = column_0 + (j_0 + j) * step + WINDOW_PX / 2
                        middle_y = row_0 + i * step + WINDOW_PX / 2
                        found[n_found, 0], found[n_found, 3] = passed[j], k
                        found[n_found, 1] = left + middle_x * px_x
                        found[n_found, 2] = top + middle_y * px_y
                        n_found += 1
    return found[:n_found]
