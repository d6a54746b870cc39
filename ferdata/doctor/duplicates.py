"""Finds images that show the same picture: with equal pixels, or nearly equal ones.

Near duplicates are copies of a picture that was saved again, brightened, cropped a little, mirrored
or given a watermark. They are found in two steps. First, each image is reduced to a thumbnail of
16 x 16 px. With its mean subtracted and scaled to length 1, the dot product of two thumbnails is
their correlation. Then pairs that correlate by CORRELATION or more are compared at 32 x 32 px with
the smooth parts removed, where different faces in the same pose and light no longer correlate. Of
the pairs found in FER2013, 60 chosen at random were looked at, and all show the same picture.

The N * N / 2 correlations are matrix products, computed in small blocks. Thumbnails are sorted by
their first principal component; two that are too far apart on it are never multiplied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

CORRELATION = 0.97
"""Least correlation at 16 x 16 px."""
FINE_CORRELATION = 0.5
"""Least correlation at 32 x 32 px, with the smooth parts removed."""
OTHER_SUBJECT_CORRELATION = 0.99
"""Least correlation at 16 x 16 px if two images are labelled as different people. Photos of two
people, taken in one studio and cropped alike, correlate by up to 0.98."""

MAX_PAIRS = 20_000
"""Most pairs that are returned. There are more if one picture occurs hundreds of times."""

_COARSE_PX, _FINE_PX, _SMOOTH_PX = 16, 32, 5
_LEAST_CONTRAST = 2.0  # standard deviation in grey levels; with less, too many images correlate
_N_AXES = 48  # principal components used
_BLOCK, _COLUMNS = 512, 8192  # the products of a block take 16 MiB


class NearPair(NamedTuple):
    """Indices of two images (first < second) and the correlation of their 16 x 16 px thumbnails.

    mirrored: they match when one of them is mirrored.
    """

    first: int
    second: int
    correlation: float
    mirrored: bool


def exact_groups(names: np.ndarray) -> list[np.ndarray]:
    """The indices of two or more images with the same name, an ascending int64 array for each name.

    names: str (N,), hashes of the images' pixels (`content_ids`).
    """
    _, group_of = np.unique(names, return_inverse=True)
    order = np.argsort(group_of.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(group_of.reshape(-1)))
    groups = [g for g in np.split(order, ends[:-1]) if len(g) > 1]
    return sorted(groups, key=lambda g: int(g[0]))


def near_pairs(
    images: np.ndarray,
    splits: np.ndarray | None = None,
    subjects: np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[NearPair], bool]:
    """(pairs, complete): pairs of images that show the same picture, most similar first.

    images    uint8 (N, H, W), no two of them equal
    splits    (N,): only pairs from different splits are searched for
    subjects  str (N,), the person shown: pairs of one person are left out, and images of different
              people must correlate by OTHER_SUBJECT_CORRELATION
    progress  progress(done, total): images compared as they are and mirrored, so total is about 2 N

    complete is False if there are more than MAX_PAIRS. Images with almost no contrast are left out.
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
            coarse, usable, axes, splits, subjects, mirrored, progress
        )
        complete &= all_of_them
        found += _confirmed(images, candidates, subjects is not None, coarse, mirrored)
    found.sort(key=lambda pair: (-pair.correlation, pair.first, pair.second))
    return found, complete


def _small(images: np.ndarray, size_px: int) -> np.ndarray:
    """float32 (N, size_px, size_px): thumbnails; each pixel is the mean of those it replaces."""
    size = (size_px, size_px)
    out = np.empty((len(images), *size), np.float32)
    for i, image in enumerate(images):
        out[i] = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    return out


def _unit(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (N, P): mean 0 and length 1; all 0 for thumbnails with almost no contrast."""
    flat = thumbnails.reshape(len(thumbnails), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    enough = length >= _LEAST_CONTRAST * np.sqrt(flat.shape[1])
    return np.where(enough, flat / np.where(enough, length, 1), 0).astype(np.float32)


def _axes(a: np.ndarray) -> np.ndarray:
    """float32 (P, 48): the first principal components of thumbnails (n, P), as unit vectors."""
    sample = a[:: max(1, len(a) // 8192)]
    return np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :_N_AXES]


def _candidates(
    coarse: np.ndarray,
    usable: np.ndarray,
    axes: np.ndarray,
    splits: np.ndarray | None,
    subjects: np.ndarray | None,
    mirrored: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, bool]:
    """(int64 (n, 2) with first < second, complete): pairs whose thumbnails may correlate enough.

    coarse  float32 (N, P), thumbnails as `_unit` makes them
    usable  indices of those with enough contrast
    axes    float32 (P, 48), the principal components

    With y the coordinates of a thumbnail on the axes, |y_a - y_b|^2 is at most
    |a - b|^2 = 2 (1 - correlation). So every pair that correlates enough fulfils
    y_a . y_b - |y_a|^2 / 2 - |y_b|^2 / 2 >= correlation - 1                                     (1)
    """
    least = (CORRELATION if subjects is None else OTHER_SUBJECT_CORRELATION) - 1
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
    if splits is not None:  # a pair from two splits has an image that is not in the largest split
        _, split_of = np.unique(splits[usable], return_inverse=True)
        rows = rows[split_of.reshape(-1)[rows] != np.bincount(split_of.reshape(-1)).argmax()]
    pairs, n = [np.empty((0, 2), np.int64)], 0
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        low = int(np.searchsorted(position, y[block[0], 0] - reach))
        high = int(np.searchsorted(position, y[block[-1], 0] + reach, side="right"))
        for column in range(low, high, _COLUMNS):
            stop = min(column + _COLUMNS, high)
            i, j = np.nonzero(left[block] @ right[column:stop].T >= least - 1e-5)  # (1)
            first, second = usable[block[i]], usable[order[column + j]]
            keep = first < second if splits is None else splits[first] != splits[second]
            if subjects is not None:
                keep &= subjects[first] != subjects[second]
            pairs.append(np.sort(np.stack([first[keep], second[keep]], axis=1), axis=1))
            n += int(keep.sum())
        if progress is not None:
            done = min(start + _BLOCK, len(rows)) + mirrored * len(rows)
            progress(done, 2 * len(rows))
        if n > MAX_PAIRS:
            break
    return np.unique(np.concatenate(pairs), axis=0)[:MAX_PAIRS], n <= MAX_PAIRS


def _with_lengths(y: np.ndarray, right: bool) -> np.ndarray:
    """y with two more columns: then a left row times a right row is the left side of (1)."""
    half = -0.5 * (y * y).sum(axis=1, keepdims=True)
    one = np.ones_like(half)
    return np.concatenate([y, one, half] if right else [y, half, one], axis=1, dtype=np.float32)


def _confirmed(
    images: np.ndarray, pairs: np.ndarray, has_subjects: bool, coarse: np.ndarray, mirrored: bool
) -> list[NearPair]:
    """The pairs that correlate enough at 16 x 16 px and at 32 x 32 px."""
    if not len(pairs):
        return []
    shape = (-1, _COARSE_PX, _COARSE_PX)
    second = coarse[pairs[:, 1]].reshape(shape)
    second = (second[:, :, ::-1] if mirrored else second).reshape(len(pairs), -1)
    correlation = (coarse[pairs[:, 0]] * second).sum(axis=1)
    keep = correlation >= (OTHER_SUBJECT_CORRELATION if has_subjects else CORRELATION)
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


def _edges(thumbnails: np.ndarray) -> np.ndarray:
    """float32 (n, size, size): thumbnails minus their local mean (5 x 5 px), scaled to length 1."""
    around = _SMOOTH_PX // 2
    padded = np.pad(thumbnails, ((0, 0), (around, around), (around, around)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_SMOOTH_PX, _SMOOTH_PX), (1, 2))
    edges = thumbnails - windows.mean(axis=(3, 4), dtype=np.float32)
    length = np.linalg.norm(edges, axis=(1, 2), keepdims=True)
    return edges / np.where(length > 0, length, 1)
