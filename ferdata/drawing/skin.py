"""Draws the face without its features: outline, relief, wrinkles."""

from __future__ import annotations

import numpy as np

from ferdata.drawing.action_units import Landmarks, Side
from ferdata.drawing.canvas import Canvas
from ferdata.drawing.people import Identity

_CROWN_V = -1.01


def skin(canvas: Canvas, person: Identity, marks: Landmarks) -> np.ndarray:
    """Draws bare skin on a round head. Returns the coverage of the face, float32 (H, W)."""
    u, v = canvas.u * (1.0 / person.face_width), canvas.v
    middle = -0.15
    below = np.maximum((v - middle) * (1.0 / (marks.chin_v - middle)), 0.0)
    above = np.minimum((v - middle) * (1.0 / (middle - _CROWN_V)), 0.0)
    below2 = below * below
    u *= u
    u *= below2 * (1.4 * person.jaw_taper) - below * 0.06 + 1.0
    square = person.jaw_square
    inside = 1.0 - u - above * above - below2 * (below2 * square + (1.0 - square))
    canvas.height[:] = np.sqrt(np.maximum(inside + 0.04, 0.02)) * 0.62
    canvas.tone[:] = person.skin_tone
    return canvas.soft(inside * (0.5 * person.face_width))


def relief(canvas: Canvas, person: Identity, marks: Landmarks) -> None:
    """Shapes the brow ridge, eye sockets, nose, cheeks, chin and the area around the mouth."""
    spacing, eye_v = person.eye_spacing, person.eye_v
    canvas.mould(0.05, 0.0, eye_v - 0.16, 0.55, 0.14)
    for sign, side in zip((-1.0, 1.0), marks.sides):
        canvas.mould(-0.085, sign * spacing, eye_v - 0.01, 0.21, 0.15)
        canvas.tint(0.82, sign * (spacing - 0.07), eye_v - 0.06, 0.17, 0.11)
        cheek_u, cheek_v = side.cheek
        canvas.mould(0.075 * side.cheek_bulge, sign * cheek_u, cheek_v, 0.26, 0.20)
        canvas.tint(1.0 + 0.07 * side.cheek_bulge, sign * cheek_u, cheek_v - 0.02, 0.2, 0.14)
        canvas.mould(-0.03 * (1.0 - person.cheek_fullness), sign * 0.42, 0.42, 0.16, 0.25)
    _nose(canvas, person, marks)
    canvas.mould(0.06, 0.0, marks.mouth_v, 0.36, 0.22)
    lip_bottom = marks.mouth_v + marks.gap_lower + marks.lip_lower
    canvas.tint(0.84, 0.0, lip_bottom + 0.035, 0.17, 0.05)
    canvas.mould(0.05 + 0.03 * marks.chin_bunch, 0.0, marks.chin_v - 0.13, 0.2, 0.13)


def _nose(canvas: Canvas, person: Identity, marks: Landmarks) -> None:
    """Bridge, tip, wings, nostrils and the shadow below. The tip moves when the head turns."""
    swing_u, swing_v = 0.10 * canvas.yaw[0], 0.08 * canvas.pitch[0]
    tip_v = marks.nose_v - 0.05 + swing_v
    high, wide = person.nose_height, person.nose_width
    lean = swing_u / max(tip_v - person.eye_v, 0.1)
    middle_v = 0.5 * (person.eye_v + tip_v)
    canvas.mould(0.085 * high, 0.5 * swing_u, middle_v, 0.105, 0.38, lean)
    canvas.mould(0.10 * high, swing_u, tip_v - 0.02, 0.6 * wide + 0.045, 0.14)
    canvas.tint(0.74, swing_u, marks.nose_v + 0.025 + swing_v, wide * 1.15, 0.06)
    for sign, side in zip((-1.0, 1.0), marks.sides):
        wing_u, wing_v = side.nose_wing
        canvas.mould(0.07, sign * (wing_u - 0.03) + swing_u, wing_v - 0.04, 0.075, 0.075)
        canvas.tint(0.33, sign * wing_u * 0.50 + swing_u, wing_v + 0.008 + swing_v, 0.045, 0.030)
        canvas.tint(0.74, sign * (wing_u + 0.012) + swing_u, wing_v - 0.035, 0.035, 0.07)


def wrinkles(canvas: Canvas, person: Identity, marks: Landmarks) -> None:
    """Wrinkles from action units and age."""
    brow_v = 0.5 * (marks.sides[0].brow_inner[1] + marks.sides[1].brow_inner[1])
    forehead = max(marks.forehead_inner, marks.forehead_outer)
    if forehead > 0.03:
        reach = 0.22 + 0.22 * marks.forehead_outer
        where = canvas.window(0.0, brow_v - 0.2, reach, 0.16)
        u, v = canvas.u[where], canvas.v[where]
        # Brows raised as a whole make level wrinkles; raised only at their inner ends, arched ones.
        v = v + u * u * (0.25 if marks.forehead_outer >= marks.forehead_inner else -0.9)
        along = u * (1.0 / reach)
        for line_v, weight in ((-0.12, 0.75), (-0.195, 0.68), (-0.27, 0.45)):
            canvas.crease(where, v - (brow_v + line_v), along, 0.02, weight * forehead)
    if marks.frown > 0.03:
        where = canvas.window(0.0, brow_v + 0.02, 0.12, 0.14)
        u = canvas.u[where]
        along = (canvas.v[where] - (brow_v + 0.01)) * (1.0 / 0.13)
        for sign in (-1.0, 1.0):
            across = u - (along * 0.02 + 0.045) * sign
            canvas.crease(where, across, along, 0.022, 1.1 * marks.frown)
    if marks.nose_wrinkle > 0.03:
        top = person.eye_v - 0.02
        where = canvas.window(0.0, top + 0.06, 0.14, 0.14)
        u, v = canvas.u[where], canvas.v[where]
        size = np.sqrt(u * u + 0.0004)
        for k in range(3):
            across = v - (top + 0.05 * k) + size * (0.5 - 0.35 * k)
            along = u * (1.0 / (0.085 + 0.02 * k))
            canvas.crease(where, across, along, 0.02, 1.0 * marks.nose_wrinkle)
    for sign, side in zip((-1.0, 1.0), marks.sides):
        _cheek_folds(canvas, side, sign)
        _eye_folds(canvas, person, side, sign)
    if marks.chin_bunch > 0.03:
        bottom = marks.mouth_v + marks.gap_lower + marks.lip_lower + 0.04
        where = canvas.window(0.0, bottom + 0.03, 0.22, 0.10)
        u, v = canvas.u[where], canvas.v[where]
        canvas.crease(where, v - bottom - u * u * 1.6, u * 5.0, 0.028, marks.chin_bunch)
        for spot_u, spot_v in ((-0.06, 0.075), (0.05, 0.07), (0.0, 0.12), (-0.02, 0.05)):
            canvas.tint(1.0 - 0.22 * marks.chin_bunch, spot_u, bottom + spot_v, 0.035, 0.03)


def _cheek_folds(canvas: Canvas, side: Side, sign: float) -> None:
    """The fold from nose to mouth and the dimple, on one side."""
    corner_u, corner_v = side.mouth_corner
    if side.nasolabial > 0.03:
        wing_u, wing_v = side.nose_wing
        start_u, start_v = wing_u + 0.035, wing_v - 0.06
        stop_u, stop_v = corner_u + 0.075, max(corner_v + 0.02, wing_v + 0.06)
        middle = sign * 0.5 * (start_u + stop_u), 0.5 * (start_v + stop_v)
        where = canvas.window(*middle, 0.2, 0.5 * (stop_v - start_v) + 0.04)
        t = (canvas.v[where] - start_v) * (1.0 / (stop_v - start_v))
        across = canvas.u[where] * sign - (t * (stop_u - start_u + 0.09) - t * t * 0.09 + start_u)
        canvas.crease(where, across, t * 2.0 - 1.0, 0.038, 0.65 * side.nasolabial)
    if side.dimple > 0.03:
        where = canvas.window(sign * (corner_u + 0.05), corner_v, 0.06, 0.11)
        along = (canvas.v[where] - corner_v) * 10.0
        across = canvas.u[where] * sign + along * along * 0.03 - (corner_u + 0.045)
        canvas.crease(where, across, along, 0.038, 1.0 * side.dimple)
        canvas.mould(0.05 * side.dimple, sign * (corner_u + 0.13), corner_v - 0.02, 0.1, 0.12)


def _eye_folds(canvas: Canvas, person: Identity, side: Side, sign: float) -> None:
    """Crow's feet and the pouch under the eye, on one side."""
    eye_u, eye_v = person.eye_spacing, person.eye_v
    if side.crows_feet > 0.05:
        start = eye_u + person.eye_width
        where = canvas.window(sign * (start + 0.08), eye_v, 0.09, 0.12)
        out = canvas.u[where] * sign - start
        v = canvas.v[where] - eye_v
        along = out * (1.0 / 0.075) - 1.0
        for slope in (-0.55, 0.1, 0.7):
            canvas.crease(where, v - out * slope, along, 0.015, 0.75 * side.crows_feet)
    if side.eye_pouch > 0.05:
        below = eye_v + max(side.lid_lower, -0.02) + 0.055
        where = canvas.window(sign * (eye_u - 0.01), below, person.eye_width, 0.06)
        p = (canvas.u[where] * sign - (eye_u - 0.01)) * (1.0 / (person.eye_width * 0.95))
        across = canvas.v[where] + p * p * 0.045 - (below + 0.012)
        canvas.crease(where, across, p, 0.028, 0.7 * side.eye_pouch)
