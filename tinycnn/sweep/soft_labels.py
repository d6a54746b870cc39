"""The soft labels that a teacher trained in a fold gives the fold's training images.

The file is an array of NumPy (.npy) without pickle: float32 (n, K), the teacher's logits in the
order of the training images and of the classes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np

from ..network import Network

FILE = "soft_labels.npy"
"""Name of the file in the folder of a trial."""


def mean_with_mirror_image(network: Network, chunks: Iterable[np.ndarray]) -> np.ndarray:
    """float32 (n, K): the mean of the logits of each image and of its mirror image.

    chunks: images of the network's input shape, such as uint8 (n, 84, 84).  Raises ValueError
    without images.
    """
    logits = [
        network.predict_logits(images)
        + network.predict_logits(np.ascontiguousarray(images[:, :, ::-1]))
        for images in chunks
    ]
    if not logits:
        raise ValueError("no images to make soft labels for")
    return (np.concatenate(logits) / 2).astype(np.float32)


def to_bytes(soft_labels: np.ndarray) -> bytes:
    """The content of the file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, soft_labels, allow_pickle=False)
    return file.getvalue()


def from_bytes(content: bytes) -> np.ndarray:
    """The soft labels in the content of a file.  Raises ValueError for anything but float32 (n, K)
    without NaN and infinity."""
    try:
        values = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises errors of many kinds for damaged headers
        raise ValueError(f"not an array of NumPy: {error}") from None
    if values.dtype != np.float32 or values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"expected finite float32 (n, K), found {values.dtype} {values.shape}")
    return values
