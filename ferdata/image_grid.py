"""Many images on one: a grid of tiles, for contact sheets."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ferdata.dataset import FaceDataset

_PAPER = 255


def grid(images: np.ndarray, n_columns: int, gap_px: int = 2) -> np.ndarray:
    """uint8 (H, W): images (n, h, w) from left to right, row by row, on white.

    No wider than its images. Raises ValueError for no images, or n_columns below 1.
    """
    if not len(images) or n_columns < 1:
        raise ValueError(f"grid of {len(images)} images in {n_columns} columns: expected 1 or more")
    n, h, w = images.shape
    n_columns = min(n_columns, n)
    n_rows = -(-n // n_columns)
    sheet = np.full((n_rows * (h + gap_px), n_columns * (w + gap_px)), _PAPER, np.uint8)
    for i, image in enumerate(images):
        top, left = i // n_columns * (h + gap_px), i % n_columns * (w + gap_px)
        sheet[top : top + h, left : left + w] = image
    return sheet[: sheet.shape[0] - gap_px, : sheet.shape[1] - gap_px]


def spread(n: int, n_wanted: int) -> np.ndarray:
    """int64: at most n_wanted of 0 .. n - 1, spread evenly."""
    return np.arange(min(n, n_wanted)) * n // max(min(n, n_wanted), 1)


def in_shape(image: np.ndarray, height: int, width: int, longest_px: int) -> np.ndarray:
    """A squared thumbnail in its picture's own proportions again, no side above longest_px."""
    if height == width and image.shape == (longest_px, longest_px):
        return image
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def by_class(dataset: FaceDataset) -> list[tuple[str, np.ndarray]]:
    """(class name, indices) in class order, unlabelled images last; one ("", all) without labels.

    Classes without an image have no indices.
    """
    if dataset.labels is None:
        return [("", np.arange(len(dataset)))]
    own = np.ones(len(dataset), bool) if dataset.has_label is None else dataset.has_label
    parts = [
        (name, np.flatnonzero(own & (dataset.labels == k)))
        for k, name in enumerate(dataset.classes)
    ]
    return parts if own.all() else [*parts, ("without a label", np.flatnonzero(~own))]
