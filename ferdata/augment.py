"""Random small changes of a face: shift, rotation, scale, mirror image.

Each change is a matrix, multiplied by the matrix of the resize: an image is interpolated only once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ferdata.warp import resize_matrix


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes. Each is drawn uniformly, independently of the others.

    shift_px      largest shift along each axis, in pixels of the output image
    rotation_deg  largest rotation in either direction, about the centre of the output image
    scale         (smallest, largest) factor of the face's size, about the centre
    flip          mirror left and right, with probability 1/2. A mirrored face has the same
                  expression, so labels and targets stay as they are

    Where a change would show what is outside the image, its edge pixels are repeated. Raises
    ValueError for a setting out of range.
    """

    shift_px: float = 5.0
    rotation_deg: float = 10.0
    scale: tuple[float, float] = (0.9, 1.1)
    flip: bool = True

    def __post_init__(self) -> None:
        for name, value in (("shift_px", self.shift_px), ("rotation_deg", self.rotation_deg)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name}: expected 0 or more, found {value}")
        try:
            low, high = (float(s) for s in self.scale)
        except (TypeError, ValueError):
            raise ValueError(f"scale: expected (smallest, largest), found {self.scale}") from None
        if not 0.01 <= low <= high <= 100:
            raise ValueError(
                f"scale: expected 0.01 <= smallest <= largest <= 100, found {self.scale}"
            )

    @classmethod
    def of_strength(cls, strength: float) -> Augmentation:
        """The default ranges times `strength`: 1 gives the defaults, 0 only mirror images.

        Raises ValueError for less than 0 or more than 9.
        """
        if not 0 <= strength <= 9:
            raise ValueError(f"strength: expected 0 to 9, found {strength}")
        default = cls()
        low, high = (1 + (edge - 1) * strength for edge in default.scale)
        return cls(default.shift_px * strength, default.rotation_deg * strength, (low, high))

    def matrices(
        self, rng: np.random.Generator, n: int, height_px: int, width_px: int, size_px: int
    ) -> np.ndarray:
        """Random matrices for `warp_images`, from (height_px, width_px) to size_px squared:
        float64 (n, 2, 3).

        Matrix k depends on n as well: to change an image in the same way whatever batch it is in,
        draw the matrices of all images at once.
        """
        shift_px = rng.uniform(-self.shift_px, self.shift_px, (n, 2))
        angle_rad = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg, n))
        scale = rng.uniform(*self.scale, n)
        mirrored = (rng.random(n) < 0.5) & self.flip
        return affine_matrices(shift_px, angle_rad, scale, mirrored, height_px, width_px, size_px)


def affine_matrices(
    shift_px: np.ndarray,
    angle_rad: np.ndarray,
    scale: np.ndarray,
    mirrored: np.ndarray,
    height_px: int,
    width_px: int,
    size_px: int,
) -> np.ndarray:
    """float64 (n, 2, 3) for `warp_images`: output (i, j, 1) -> source (y, x).

    The face is resized, mirrored, scaled and rotated counter-clockwise (as seen on a screen) about
    the output's centre m, then moved by shift_px (n, 2) = (down, right). The warp needs the inverse
    of these changes: with p = (i, j),

        q = A (p - m - shift) + m,    A = diag(1, -1 if mirrored) [[cos, sin], [-sin, cos]] / scale

    and the resize matrix then maps q to the source.
    """
    cos, sin = np.cos(angle_rad) / scale, np.sin(angle_rad) / scale
    sign = np.where(mirrored, -1.0, 1.0)
    back = np.stack([np.stack([cos, sin], -1), np.stack([-sin * sign, cos * sign], -1)], 1)
    middle = np.full(2, (size_px - 1) / 2)
    offset = middle - np.einsum("nij,nj->ni", back, middle + shift_px)
    resize = resize_matrix(height_px, width_px, size_px)
    return np.concatenate(
        [resize[:, :2] @ back, (offset @ resize[:, :2].T + resize[:, 2])[:, :, None]], axis=2
    )
