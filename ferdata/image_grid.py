"""Puts many images on one: a grid of tiles, as in a contact sheet."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ferdata.dataset import FaceDataset


def grid(images: np.ndarray, n_columns: int, gap_px: int = 2) -> np.ndarray:
    """uint8 (H, W): images (n, h, w) from left to right, row by row, on white.

    There are at most n columns. Raises ValueError for no images, or n_columns below 1.
    """
    if not len(images) or n_columns < 1:
        raise ValueError(f"grid of {len(images)} images in {n_columns} columns: expected 1 or more")
    from skimage.util import montage

    n_columns = min(n_columns, len(images))
    shape = (-(-len(images) // n_columns), n_columns)
    sheet = montage(images, fill=255, grid_shape=shape, padding_width=gap_px)
    height, width = sheet.shape  # with a margin of gap_px around it
    return sheet[gap_px : height - gap_px, gap_px : width - gap_px]


def spread(n: int, n_wanted: int) -> np.ndarray:
    """int64: at most n_wanted of the numbers 0 .. n - 1, evenly spaced."""
    return np.arange(min(n, n_wanted)) * n // max(min(n, n_wanted), 1)


def in_shape(image: np.ndarray, height: int, width: int, longest_px: int) -> np.ndarray:
    """A thumbnail stretched back to the proportions height : width; its longer side longest_px."""
    if height == width and image.shape == (longest_px, longest_px):
        return image
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def by_class(dataset: FaceDataset) -> list[tuple[str, np.ndarray]]:
    """(class name, indices of its images) in class order, then ("without a label", indices) if any.

    For a data set without labels the only entry is ("", all indices).
    """
    labels = dataset.known_labels
    if labels is None:
        return [("", np.arange(len(dataset)))]
    parts = [(name, np.flatnonzero(labels == k)) for k, name in enumerate(dataset.classes)]
    unknown = np.flatnonzero(labels < 0)
    return [*parts, ("without a label", unknown)] if len(unknown) else parts
