"""Damaged copies of faces, to measure how well a network stands blur, noise and bad light.

The kinds follow Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common
corruptions and perturbations", arXiv 1903.12261, as far as they occur with a camera and a face
search. Strengths are for faces of 48 px; with other sizes, lengths grow in proportion.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ferdata.image_hashes import checked_images
from ferdata.warp import warp_images

_OF_PX = 48
"""The side of the faces that the strengths are given for."""


def corrupted_faces(images: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    """Damaged copies of faces: uint8 (N, H, H), like `images`.

    kind  one of CORRUPTIONS;  seed  of the noise, and of the direction of the shifts
    The same arguments give the same bits. Raises DataError for other images, ValueError for an
    unknown kind.
    """
    images = checked_images(images)
    if kind not in CORRUPTIONS:
        raise ValueError(f"kind is {kind!r:.80}; expected one of {', '.join(CORRUPTIONS)}")
    return CORRUPTIONS[kind](images, np.random.default_rng(seed))


def _blurred(images: np.ndarray, deviation_px: float) -> np.ndarray:
    """With a Gaussian of this deviation."""
    from scipy.ndimage import gaussian_filter  # imported here: it takes long

    deviation_px *= images.shape[1] / _OF_PX
    return _rounded(gaussian_filter(images.astype(np.float32), (0, deviation_px, deviation_px)))


def _noisy(images: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """With normal noise of this deviation, in grey levels."""
    return _rounded(images + rng.normal(0, deviation, images.shape))


def _dark(images: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """With this share of the light, and the noise of a camera in such light: grey levels with a
    deviation of 4."""
    return _noisy(images * share, 4.0, rng)


def _small(images: np.ndarray, small_px: int) -> np.ndarray:
    """As faces that were so small in their photo: shrunk with anti-aliasing and enlarged again."""
    from PIL import Image

    out = np.empty_like(images)
    size = images.shape[2], images.shape[1]
    for image, target in zip(images, out):
        small = Image.fromarray(image).resize((small_px, small_px), Image.Resampling.BILINEAR)
        target[:] = small.resize(size, Image.Resampling.BILINEAR)
    return out


def _shifted(images: np.ndarray, shift_px: float, rng: np.random.Generator) -> np.ndarray:
    """Moved by this distance in a random direction, as by a crop that is off the centre."""
    side = images.shape[1]
    angles_rad = rng.uniform(0, 2 * np.pi, len(images))
    matrices = np.zeros((len(images), 2, 3))
    matrices[:, [0, 1], [0, 1]] = 1.0
    matrices[:, 0, 2] = np.sin(angles_rad) * shift_px * side / _OF_PX
    matrices[:, 1, 2] = np.cos(angles_rad) * shift_px * side / _OF_PX
    return warp_images(images, matrices, side)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


CORRUPTIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "blur, 1 px": lambda images, rng: _blurred(images, 1.0),
    "blur, 2 px": lambda images, rng: _blurred(images, 2.0),
    "noise, 10 grey levels": lambda images, rng: _noisy(images, 10.0, rng),
    "noise, 25 grey levels": lambda images, rng: _noisy(images, 25.0, rng),
    "a quarter of the light": lambda images, rng: _dark(images, 0.25, rng),
    "faces of 24 px": lambda images, rng: _small(images, 24),
    "faces of 16 px": lambda images, rng: _small(images, 16),
    "3 px off the centre": lambda images, rng: _shifted(images, 3.0, rng),
    "6 px off the centre": lambda images, rng: _shifted(images, 6.0, rng),
}
"""Kind of damage -> function of faces and a generator."""
