"""Draws one face: all of its parts in order, then light and camera."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ferdata.drawing import features, surroundings
from ferdata.drawing.action_units import ActionUnits, face_landmarks
from ferdata.drawing.canvas import Canvas, View
from ferdata.drawing.people import Identity
from ferdata.drawing.seeded_random import SeededRandom
from ferdata.drawing.skin import relief, skin, wrinkles


def draw_face(
    identity: Identity,
    action_units: ActionUnits,
    view: View | None = None,
    size_px: int = 84,
) -> np.ndarray:
    """One face as a grey image, uint8 (size_px, size_px). It depends only on the arguments.

    action_units  {AU number, or "R12" or "L12" for the person's right or left side: intensity in
                  0 .. 1}, such as {6: 0.8, 12: 1.0}

    Raises ValueError for an unknown action unit, an intensity outside 0 .. 1, or a size below 16.
    """
    view = View() if view is None else view
    if size_px < 16:
        raise ValueError(f"size_px is {size_px}; a face needs at least 16")
    marks = face_landmarks(identity, action_units)
    canvas = Canvas(view, size_px)
    inside = skin(canvas, identity, marks)
    relief(canvas, identity, marks)
    wrinkles(canvas, identity, marks)
    features.beard(canvas, identity, marks)
    for sign, side in zip((-1.0, 1.0), marks.sides):
        features.eye(canvas, identity, side, sign, view.gaze_u)
        features.brow(canvas, identity, side, sign)
    features.mouth(canvas, identity, marks)
    face = _lit(canvas, view)
    surroundings.backdrop(canvas, identity, marks, view)
    canvas.paint((slice(None), slice(None)), inside, face)
    surroundings.hair(canvas, identity, marks, inside)
    surroundings.glasses(canvas, identity)
    surroundings.occluder(canvas, identity, view)
    return _photograph(canvas.tone, view)


def _lit(canvas: Canvas, view: View) -> np.ndarray:
    """float32 (H, W): the tone of the lit face, from ambient and diffuse light and some shine."""
    z = canvas.height * (0.25 * canvas.size_px)  # makes differences over two pixels slopes
    slope_x, slope_y = np.empty_like(z), np.empty_like(z)
    np.subtract(z[:, 2:], z[:, :-2], out=slope_x[:, 1:-1])
    slope_x[:, 0], slope_x[:, -1] = slope_x[:, 1], slope_x[:, -2]
    np.subtract(z[2:], z[:-2], out=slope_y[1:-1])
    slope_y[0], slope_y[-1] = slope_y[1], slope_y[-2]
    length = sqrt(view.light_x * view.light_x + view.light_y * view.light_y + 1.0)
    facing = 1.0 - slope_x * view.light_x - slope_y * view.light_y
    facing /= np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    facing = np.maximum(facing * (1.0 / length), 0.0)
    shine = facing
    for _ in range(4):  # facing to the power of 16
        shine = shine * shine
    light = facing * (1.15 * (1.0 - view.ambient)) + view.ambient
    return light * canvas.tone + shine * 0.06


def _photograph(tone: np.ndarray, view: View) -> np.ndarray:
    """uint8 (H, W): the tone after exposure, contrast, blur and noise, in grey levels."""
    grey = tone * (255.0 * view.exposure * view.contrast) + 127.5 * (1.0 - view.contrast)
    if view.blur > 0.0:
        side = 0.30 * min(view.blur, 1.0)
        for _ in range(2):
            neighbours = grey[2:] + grey[:-2]
            grey[1:-1] = grey[1:-1] * (1.0 - 2.0 * side) + neighbours * side
            grey = np.ascontiguousarray(grey.T)
    if view.noise > 0.0:
        grain = SeededRandom(0x6E, view.noise_seed).grain(grey.size).reshape(grey.shape)
        grey += grain.astype(np.float32) * np.float32(view.noise / 147.8)
    grey = np.minimum(np.maximum(np.floor(grey + 0.5), 0.0), 255.0)
    return grey.astype(np.uint8)
