"""A name that an image carries with it: the hash of its pixels."""

from __future__ import annotations

import hashlib

import numpy as np

from ferdata.errors import DataError


def content_ids(images: np.ndarray) -> np.ndarray:
    """str (N,): for each image its sha256 in 64 hex digits, over its shape and its pixels.

    images: uint8 (N, H, W). An image's id is that of the text "(H, W)" followed by its H * W bytes
    in row order, `sha256(b"(48, 48)" + image.tobytes())`. Images that are alike to the pixel have
    the same id. Raises DataError for other dtypes or shapes.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(
            f"images: expected uint8 of shape (N, H, W), found {images.dtype} {images.shape}"
        )
    start = hashlib.sha256(repr(tuple(images.shape[1:])).encode())
    found = []
    for image in np.ascontiguousarray(images):
        digest = start.copy()
        digest.update(image)
        found.append(digest.hexdigest())
    return np.array(found, dtype="<U64")
