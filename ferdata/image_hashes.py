"""Checks of images, and ids made from their pixels."""

from __future__ import annotations

import hashlib

import numpy as np

from ferdata.errors import DataError
from tinycnn.ground.masked_arrays import unmasked


def checked_images(images: np.ndarray) -> np.ndarray:
    """The images, contiguous. Raises DataError unless they are uint8 (N, H, W), H and W above 0."""
    images = unmasked("images", images)
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        raise DataError(
            f"images: expected uint8 of shape (N, H, W), found {images.dtype} {images.shape}"
        )
    return np.ascontiguousarray(images)


def content_ids(images: np.ndarray) -> np.ndarray:
    """str (N,): the sha256 of each image's shape and pixels, as 64 hex digits.

    images: uint8 (N, H, W). What is hashed is the text "(H, W)" followed by the H * W bytes in row
    order: `sha256(b"(48, 48)" + image.tobytes())`. Images with equal pixels have the same id.
    Raises DataError for another dtype or shape.
    """
    images = checked_images(images)
    start = hashlib.sha256(repr(tuple(images.shape[1:])).encode())
    found = []
    for image in images:
        digest = start.copy()
        digest.update(image)
        found.append(digest.hexdigest())
    return np.array(found, dtype="<U64")
