"""The same picture more than once: alike to the pixel, or alike to the eye.

Near duplicates (a picture saved anew, brightened, cropped a little, mirrored, with a watermark) are
found in two steps. Pictures of 16 x 16 px, without their mean and scaled to length 1, have as
product of two of them the correlation; pairs of `CORRELATION` and more are looked at again at
32 x 32 px, without all that is smooth, where another face in the same pose and light no longer
fits. On FER2013 all of 60 pairs looked at, drawn at random from those found, are the same picture.

Comparing all N * N / 2 pairs is a matrix product, done in blocks that stay small. Pictures are
sorted along the axis on which they differ most: those further apart on it than a pair may be are
never multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

CORRELATION = 0.97
FINE_CORRELATION = 0.5
STRANGERS_CORRELATION = 0.99
"""For two people with different names: in one studio, cut out alike, strangers come to 0.98."""

MAX_PAIRS = 20_000
"""More pairs than this are not listed: then one picture stands there hundreds of times."""

_COARSE_PX, _FINE_PX, _SMOOTH_PX = 16, 32, 5
_LEAST_CONTRAST = 2.0  # standard deviation in grey levels; below it a picture is like many others
_N_AXES = 48
_BLOCK, _COLUMNS = 512, 8192  # a block's products take 16 MiB


class NearPair(NamedTuple):
    """Two images (first < second), the correlation of their thumbnails, and whether mirrored."""

    first: int
    second: int
    correlation: float
    mirrored: bool


def exact_groups(names: np.ndarray) -> list[np.ndarray]:
    """Indices of each two or more images with the same name (`content_ids`); by first image.

    names: str (N,). Gives int64 arrays, ascending.
    """
    _, group_of = np.unique(names, return_inverse=True)
    order = np.argsort(group_of.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(group_of.reshape(-1)))
    groups = [g for g in np.split(order, ends[:-1]) if len(g) > 1]
    return sorted(groups, key=lambda g: int(g[0]))


def near_pairs(
    images: np.ndarray,
    sides: np.ndarray | None = None,
    strangers: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[NearPair], bool]:
    """(pairs, complete): images that show the same picture, most alike first.

    images     uint8 (N, H, W); give only one of those that are alike to the pixel
    sides      (N,), anything comparable: only pairs of two different sides are looked for
    strangers  str (N,), who is shown: pairs of one person do not count, and two people have to be
               more alike (STRANGERS_CORRELATION)
    progress   progress(done, total), counting pictures compared, twice N in all

    complete is False where there are more than MAX_PAIRS. Pictures almost without contrast are left
    out. Source of the thresholds: see the module's docstring.
    """
    if not len(images):
        return [], True
    coarse = _unit(_small(images, _COARSE_PX))
    usable = np.flatnonzero(coarse.any(axis=1))
    axes = _axes(coarse[usable])
    found: list[NearPair] = []
    complete = True
    for mirrored in (False, True):
        candidates, all_of_them = _candidates(
            coarse, usable, axes, sides, strangers, mirrored, progress
        )
        complete &= all_of_them
        found += _confirmed(images, candidates, strangers is not None, coarse, mirrored)
    found.sort(key=lambda pair: (-pair.correlation, pair.first, pair.second))
    return found, complete


def _small(images: np.ndarray, size_px: int) -> np.ndarray:
    """float32 (N, size_px, size_px), each pixel the mean of those that it covers."""
    size = (size_px, size_px)
    out = np.empty((len(images), *size), np.float32)
    for i, image in enumerate(images):
        out[i] = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    return out


def _unit(pictures: np.ndarray) -> np.ndarray:
    """float32 (N, P): without mean, of length 1; all 0 for pictures almost without contrast."""
    flat = pictures.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    enough = length >= _LEAST_CONTRAST * np.sqrt(flat.shape[1])
    return np.where(enough, flat / np.where(enough, length, 1), 0).astype(np.float32)


def _axes(a: np.ndarray) -> np.ndarray:
    """float32 (P, 48): the directions in which pictures (n, P) vary most, unit vectors."""
    sample = a[:: max(1, len(a) // 8192)]
    return np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :_N_AXES]


def _candidates(
    coarse: np.ndarray,
    usable: np.ndarray,
    axes: np.ndarray,
    sides: np.ndarray | None,
    strangers: np.ndarray | None,
    mirrored: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, bool]:
    """(int64 (n, 2) with first < second, complete): pairs whose thumbnails may correlate enough.

    With y the first coordinates of a picture in the axes of most variance, |y_a - y_b|^2 is at most
    |a - b|^2 = 2 (1 - correlation): so y_a . y_b - |y_a|^2 / 2 - |y_b|^2 / 2 >= correlation - 1 (1)
    holds for every pair wanted.
    """
    least = (CORRELATION if strangers is None else STRANGERS_CORRELATION) - 1
    a = coarse[usable]
    if not len(a):
        return np.empty((0, 2), np.int64), True
    y = a @ axes
    z = y
    if mirrored:
        z = a.reshape(-1, _COARSE_PX, _COARSE_PX)[:, :, ::-1].reshape(len(a), -1) @ axes
    order = np.argsort(z[:, 0], kind="stable")
    left, right = _with_lengths(y, False), _with_lengths(z, True)[order]
    position, reach = z[order, 0], np.sqrt(-2 * least)
    rows = np.argsort(y[:, 0], kind="stable")
    if sides is not None:  # a pair of two sides has one image outside the largest side, at least
        names, side_of = np.unique(sides[usable], return_inverse=True)
        rows = rows[side_of.reshape(-1)[rows] != np.bincount(side_of.reshape(-1)).argmax()]
    pairs, n = [np.empty((0, 2), np.int64)], 0
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        low = int(np.searchsorted(position, y[block[0], 0] - reach))
        high = int(np.searchsorted(position, y[block[-1], 0] + reach, side="right"))
        for column in range(low, high, _COLUMNS):
            stop = min(column + _COLUMNS, high)
            i, j = np.nonzero(left[block] @ right[column:stop].T >= least - 1e-5)  # (1)
            first, second = usable[block[i]], usable[order[column + j]]
            keep = first < second if sides is None else sides[first] != sides[second]
            if strangers is not None:
                keep &= strangers[first] != strangers[second]
            pairs.append(np.sort(np.stack([first[keep], second[keep]], axis=1), axis=1))
            n += int(keep.sum())
        if progress is not None:
            done = min(start + _BLOCK, len(rows)) + mirrored * len(rows)
            progress(done, 2 * len(rows))
        if n > MAX_PAIRS:
            break
    return np.unique(np.concatenate(pairs), axis=0)[:MAX_PAIRS], n <= MAX_PAIRS


def _with_lengths(y: np.ndarray, right: bool) -> np.ndarray:
    """Two columns more, so that a product of left and right rows is the left side of (1)."""
    half = -0.5 * (y * y).sum(axis=1, keepdims=True)
    one = np.ones_like(half)
    return np.concatenate([y, one, half] if right else [y, half, one], axis=1, dtype=np.float32)


def _confirmed(
    images: np.ndarray, pairs: np.ndarray, strangers: bool, coarse: np.ndarray, mirrored: bool
) -> list[NearPair]:
    """The pairs that correlate enough in both sizes."""
    if not len(pairs):
        return []
    shape = (-1, _COARSE_PX, _COARSE_PX)
    second = coarse[pairs[:, 1]].reshape(shape)
    second = (second[:, :, ::-1] if mirrored else second).reshape(len(pairs), -1)
    correlation = (coarse[pairs[:, 0]] * second).sum(axis=1)
    keep = correlation >= (STRANGERS_CORRELATION if strangers else CORRELATION)
    pairs, correlation = pairs[keep], correlation[keep]
    shown, where = np.unique(pairs, return_inverse=True)
    fine = _edges(_small(images[shown], _FINE_PX))
    where = where.reshape(pairs.shape)
    other = fine[where[:, 1]]
    other = other[:, :, ::-1] if mirrored else other
    keep = (fine[where[:, 0]] * other).sum(axis=(1, 2)) >= FINE_CORRELATION
    return [
        NearPair(int(i), int(j), float(c), mirrored)
        for (i, j), c in zip(pairs[keep], correlation[keep])
    ]


def _edges(pictures: np.ndarray) -> np.ndarray:
    """float32 (n, size, size): each picture less its running mean, of length 1."""
    around = _SMOOTH_PX // 2
    padded = np.pad(pictures, ((0, 0), (around, around), (around, around)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_SMOOTH_PX, _SMOOTH_PX), (1, 2))
    edges = pictures - windows.mean(axis=(3, 4), dtype=np.float32)
    length = np.linalg.norm(edges, axis=(1, 2), keepdims=True)
    return edges / np.where(length > 0, length, 1)
