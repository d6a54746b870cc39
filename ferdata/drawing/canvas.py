"""The canvas: pixels with face coordinates, on which tone and relief are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OCCLUDERS = ("", "hand", "bar", "strand", "blob")

_SPHERE = 1.5  # radius, in face units, of the sphere that stands for the head when it turns
_KEEP = 0.4  # the front of the face moves sideways by this share of the radius times sin(yaw)

Window = tuple[slice, slice]
"""(rows, columns)"""


@dataclass(frozen=True)
class View:
    """Pose, light and camera of one image. The default is frontal, evenly lit and without noise.

    Angles are in degrees: yaw > 0 turns the head to the right of the image, pitch > 0 down, roll >
    0 clockwise. Shifts are in face units, tones 0 .. 1. `light_x` and `light_y` point to the light
    (right, down). `noise` is a standard deviation in grey levels, `blur` 0 .. 1. `occluder` is one
    of OCCLUDERS ("" for none), centred at (`occluder_u`, `occluder_v`). Raises ValueError for an
    angle beyond 45 degrees, a scale of 0 or less, or an unknown occluder.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    shift_u: float = 0.0
    shift_v: float = -0.08
    scale: float = 1.15
    light_x: float = -0.25
    light_y: float = -0.35
    ambient: float = 0.5
    exposure: float = 1.0
    contrast: float = 1.0
    gaze_u: float = 0.0
    background: float = 0.55
    background_slope: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    occluder: str = ""
    occluder_u: float = 0.0
    occluder_v: float = 0.0
    occluder_tone: float = 0.5
    occluder_lean: float = 0.0

    def __post_init__(self) -> None:
        angles = {"yaw_deg": self.yaw_deg, "pitch_deg": self.pitch_deg, "roll_deg": self.roll_deg}
        for name, degrees in angles.items():
            if not abs(degrees) <= 45.0:
                raise ValueError(f"{name} is {degrees}; expected -45 .. 45")
        if not self.scale > 0.0:
            raise ValueError(f"scale is {self.scale}; expected more than 0")
        if self.occluder not in OCCLUDERS:
            known = ", ".join(repr(kind) for kind in OCCLUDERS)
            raise ValueError(f"unknown occluder {self.occluder!r}; known: {known}")


def sine_cosine(degrees: float) -> tuple[float, float]:
    """(sin, cos) from Taylor polynomials, for |degrees| <= 90. The error is at most 3e-5."""
    a = degrees * 0.017453292519943295
    q = a * a
    sine = a * (1.0 - q / 6.0 * (1.0 - q / 20.0 * (1.0 - q / 42.0 * (1.0 - q / 72.0))))
    cosine = 1.0 - q / 2.0 * (1.0 - q / 12.0 * (1.0 - q / 30.0 * (1.0 - q / 56.0)))
    return sine, cosine


def unit_clip(x: np.ndarray) -> np.ndarray:
    """x clipped to 0 .. 1 in place. (On small windows the overhead of np.clip is large.)"""
    np.maximum(x, 0.0, out=x)
    return np.minimum(x, 1.0, out=x)


class Canvas:
    """Face coordinates `u`, `v` of every pixel, its `tone`, and the `height` of the relief there.

    `x`, `y` are the coordinates before the turn by yaw and pitch.
    """

    def __init__(self, view: View, size_px: int) -> None:
        self.size_px = size_px
        self.pixel = 2.0 / (size_px * view.scale)
        self.shift, self.scale = (view.shift_u, view.shift_v), view.scale
        self.yaw, self.pitch = sine_cosine(view.yaw_deg), sine_cosine(view.pitch_deg)
        self.roll = sine_cosine(view.roll_deg)
        axis = (np.arange(size_px, dtype=np.float32) * 2.0 + 1.0) / size_px - 1.0
        x = ((axis - view.shift_u) / view.scale)[None, :]
        y = ((axis - view.shift_v) / view.scale)[:, None]
        (sr, cr), (sy, cy), (sp, cp) = self.roll, self.yaw, self.pitch
        self.x, self.y = x * cr + y * sr, y * cr - x * sr
        # A pixel is a point of the sphere z = R - (x^2 + y^2) / 2R, turned back by yaw and pitch.
        depth = (self.x * self.x + self.y * self.y) * (-0.5 / _SPHERE) + _KEEP * _SPHERE
        self.u = self.x * cy - depth * sy
        self.v = self.y * cp - depth * sp
        self.tone = np.empty_like(self.u)
        self.height = np.empty_like(self.u)

    def to_px(self, u: float, v: float) -> tuple[float, float]:
        """(column, row) of a face coordinate, by iteration. Whole numbers are pixel centres."""
        (sr, cr), (sy, cy), (sp, cp) = self.roll, self.yaw, self.pitch
        x, y = u, v
        for _ in range(3):
            depth = (x * x + y * y) * (-0.5 / _SPHERE) + _KEEP * _SPHERE
            x, y = (u + depth * sy) / cy, (v + depth * sp) / cp
        x, y = x * cr - y * sr, y * cr + x * sr
        half = 0.5 * self.size_px
        return (
            (x * self.scale + self.shift[0] + 1.0) * half - 0.5,
            (y * self.scale + self.shift[1] + 1.0) * half - 0.5,
        )

    def window(self, u: float, v: float, du: float, dv: float) -> Window:
        """The pixels of u +- du, v +- dv, with a margin that suffices if the head is turned."""
        column, row = self.to_px(u, v)
        lean = abs(self.roll[0])
        reach_x = 1.25 * (du + lean * dv) / self.pixel + 1.5
        reach_y = 1.25 * (dv + lean * du) / self.pixel + 1.5
        top, bottom = int(max(row - reach_y, 0.0)), int(max(row + reach_y + 1.0, 0.0))
        start, stop = int(max(column - reach_x, 0.0)), int(max(column + reach_x + 1.0, 0.0))
        return slice(top, bottom), slice(start, stop)

    def soft(self, distance: np.ndarray, width: float = 0.0) -> np.ndarray:
        """Coverage 0 .. 1 from signed distances to an edge (positive inside), blurred over `width`
        or one pixel, whichever is more."""
        cover = distance * (1.0 / max(self.pixel, width))
        cover += 0.5
        return unit_clip(cover)

    def bump(
        self, u: float, v: float, du: float, dv: float, lean: float = 0.0
    ) -> tuple[Window, np.ndarray]:
        """(window, values) of a smooth hill of height 1 at (u, v) that is 0 beyond +- du, +- dv.

        `lean` shears the hill: at v' its middle is u + lean * (v' - v).
        """
        where = self.window(u, v, du + abs(lean) * dv, dv)
        b = self.v[where] - v
        a = (self.u[where] - u - b * lean) * (1.0 / du)
        b = b * (1.0 / dv)
        hill = np.maximum(1.0 - (a * a + b * b), 0.0)
        return where, hill * hill

    def mould(
        self, amount: float, u: float, v: float, du: float, dv: float, lean: float = 0.0
    ) -> None:
        """Adds a smooth hill of height `amount` to the relief, or a dent if that is below 0."""
        where, hill = self.bump(u, v, du, dv, lean)
        self.height[where] += hill * amount

    def tint(self, factor: float, u: float, v: float, du: float, dv: float) -> None:
        """Multiplies the tone by `factor` at the centre of a smooth spot, less towards its edge."""
        where, hill = self.bump(u, v, du, dv)
        self.tone[where] *= hill * (factor - 1.0) + 1.0

    def crease(
        self, where: Window, across: np.ndarray, along: np.ndarray, width: float, depth: float
    ) -> None:
        """A wrinkle: `across` is the distance from its line, `along` the position on the line,
        which fades out towards -1 and 1."""
        across = across * (1.0 / max(width, 0.8 * self.pixel))
        fade = np.maximum(1.0 - along * along, 0.0)
        line = np.maximum(1.0 - across * across, 0.0) * fade
        # A line narrower than a pixel is drawn about a pixel wide, so it has to be fainter.
        line *= depth * min(1.0, width / self.pixel)
        self.height[where] -= line * 0.02
        self.tone[where] *= line * -0.5 + 1.0

    def paint(self, where: Window, cover: np.ndarray, tone: float | np.ndarray) -> None:
        """Blends `tone` into the canvas, with weight `cover` 0 .. 1."""
        patch = self.tone[where]
        patch += (tone - patch) * cover
