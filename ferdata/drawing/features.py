"""Draws the features of a face: eyes, brows, mouth, beard."""

from __future__ import annotations

import numpy as np

from ferdata.drawing.action_units import Landmarks, Side
from ferdata.drawing.canvas import Canvas, unit_clip
from ferdata.drawing.people import Identity


def eye(canvas: Canvas, person: Identity, side: Side, sign: float, gaze_u: float) -> None:
    """One eye: eyeball between the lids, iris, pupil, reflection, lashes, fold of the upper lid.

    sign: -1 for the person's right side, 1 for the left.
    """
    half = person.eye_width
    where = canvas.window(sign * person.eye_spacing, person.eye_v - 0.02, half * 1.2, 0.15)
    out = canvas.u[where] * sign - person.eye_spacing
    v = canvas.v[where] + out * person.eye_tilt - person.eye_v
    p = out * (1.0 / half)
    arch = 1.0 - p * p
    skew = p * 0.22
    top = v + arch * (1.0 - skew) * side.lid_upper  # distances below the upper lid ...
    bottom = arch * (1.0 + skew) * side.lid_lower - v  # ... and above the lower one
    opening = canvas.soft(np.minimum(top, bottom), 0.012)
    within = canvas.soft(arch * (half * 0.5), 0.03)
    canvas.paint(where, opening, 0.48 + 0.38 * person.skin_tone)
    a, b = out - sign * gaze_u * 0.05, v + 0.010
    radius = np.sqrt(a * a + b * b)
    canvas.paint(where, opening * canvas.soft(0.066 - radius), person.iris_tone)
    canvas.paint(where, opening * canvas.soft(0.030 - radius), 0.03)
    shadow = unit_clip(1.0 - top * 22.0)  # of the upper lid on the eyeball
    canvas.tone[where] *= 1.0 - opening * shadow * 0.45
    a, b = a + sign * 0.018, b + 0.024  # a reflection, on the same side in both eyes
    canvas.paint(where, opening * canvas.soft(0.014 - np.sqrt(a * a + b * b)), 0.95)
    lash = canvas.soft(0.013 - np.abs(top + 0.004))
    canvas.paint(where, lash * within * 0.85, 0.06)
    rim = canvas.soft(0.006 - np.abs(bottom + 0.006), 0.02)
    canvas.tone[where] *= 1.0 - rim * within * 0.35
    fold = v + (1.0 - p * p * 0.75) * (0.039 + 0.81 * side.lid_upper)
    canvas.crease(where, fold, p * 0.95, 0.02, 0.6)


def brow(canvas: Canvas, person: Identity, side: Side, sign: float) -> None:
    """One brow: a tapered arch through its three landmarks, slightly raised."""
    (u0, v0), (u1, v1), (u2, v2) = side.brow_inner, side.brow_middle, side.brow_outer
    low, high = min(v0, v1, v2), max(v0, v1, v2)
    middle = sign * 0.5 * (u0 + u2), 0.5 * (low + high)
    where = canvas.window(*middle, 0.22, 0.5 * (high - low) + 0.08)
    out, v = canvas.u[where] * sign, canvas.v[where]
    # Parabola through the three points (Lagrange's form).
    a, b, c = out - u0, out - u1, out - u2
    spine = b * c * (v0 / ((u0 - u1) * (u0 - u2)))
    spine += a * c * (v1 / ((u1 - u0) * (u1 - u2)))
    spine += a * b * (v2 / ((u2 - u0) * (u2 - u1)))
    off = np.abs(v - spine)
    along = unit_clip(a * (1.0 / (u2 - u0)))
    thick = (1.0 - along * along * 0.65) * person.brow_thickness
    slope = abs(v1 - v0) / (u1 - u0)
    cover = canvas.soft(thick - off * (1.0 / (1.0 + 0.4 * slope)), 0.03)
    cover *= canvas.soft(a, 0.05)
    cover *= canvas.soft(-c, 0.05)
    tone = min(person.hair_tone * 0.8 + 0.04, 0.6 * person.skin_tone)
    canvas.paint(where, cover * person.brow_strength, tone)
    ridge = np.maximum(1.0 - off * 11.0, 0.0) * along * unit_clip(c * -8.0)
    canvas.height[where] += ridge * 0.025


def mouth(canvas: Canvas, person: Identity, marks: Landmarks) -> None:
    """The lips, the line between them, and the inside of an open mouth."""
    right, left = marks.sides
    high = min(right.mouth_corner[1], left.mouth_corner[1], marks.mouth_v - 0.13)
    low = max(right.mouth_corner[1], left.mouth_corner[1], marks.mouth_v)
    low = max(low, marks.mouth_v + marks.gap_lower + marks.lip_lower) + 0.06
    reach_u = max(right.mouth_corner[0], left.mouth_corner[0]) + 0.04
    where = canvas.window(0.0, 0.5 * (low + high), reach_u, 0.5 * (low - high) + 0.02)
    u, v = canvas.u[where], canvas.v[where]
    on_left = u > 0.0
    s = u * np.where(
        on_left, np.float32(1.0 / left.mouth_corner[0]), np.float32(-1.0 / right.mouth_corner[0])
    )
    s2 = np.minimum(s * s, 1.2)
    rise = np.where(
        on_left,
        np.float32(left.mouth_corner[1] - marks.mouth_v),
        np.float32(right.mouth_corner[1] - marks.mouth_v),
    )
    line = rise * s2 * (s2 * 0.55 + 0.45) + marks.mouth_v
    arch = np.maximum(1.0 - s2, 0.0)
    round_ = np.sqrt(arch)
    square = marks.upper_lip_square
    inner_top = line - (round_ * (1.0 - square) + (1.0 - s2 * s2 * s2) * square) * marks.gap_upper
    inner_bottom = line + (round_ + arch) * (0.5 * marks.gap_lower)
    bow = np.maximum(1.0 - s2 * 16.0, 0.0)  # the dip of the upper lip
    outer_top = inner_top - (arch * (round_ * 0.35 + 0.65) - bow * 0.22) * marks.lip_upper
    outer_bottom = inner_bottom + (round_ * 0.35 + arch * 0.65) * marks.lip_lower
    within = canvas.soft(1.0 - s, 0.05)
    below_top, below_gap = v - inner_top, v - inner_bottom
    lip = person.skin_tone * (1.0 - 0.55 * person.lip_strength)
    upper = canvas.soft(np.minimum(v - outer_top, -below_top), 0.02) * within
    lower = canvas.soft(np.minimum(outer_bottom - v, below_gap), 0.02) * within
    canvas.paint(where, upper, lip * 0.84)
    full = unit_clip(below_gap * (1.0 / max(marks.lip_lower, 0.02)))
    full = full * (1.0 - full)
    canvas.paint(where, lower, (full * 0.9 + 0.86) * lip)
    canvas.height[where] += upper * 0.012 + lower * full * 0.10
    if marks.gap_upper + marks.gap_lower > 0.004:
        _open_mouth(canvas, person, marks, where, below_top, below_gap, within, s2)
    seam = canvas.soft(0.010 - np.abs(below_top), 0.02) * within
    seam *= (1.0 - s2 * 0.35) * (0.55 + 0.35 * marks.lip_press)
    canvas.paint(where, seam, 0.22 * person.skin_tone)
    for sign, side in zip((-1.0, 1.0), marks.sides):
        out, down = side.mouth_corner
        canvas.tint(0.62, sign * (out - 0.005), down, 0.045, 0.035)
    if marks.lip_press > 0.05:
        for offset in (-0.065, 0.07):
            canvas.mould(0.03 * marks.lip_press, 0.0, marks.mouth_v + offset, 0.2, 0.05)


def _open_mouth(
    canvas: Canvas,
    person: Identity,
    marks: Landmarks,
    where: tuple[slice, slice],
    below_top: np.ndarray,
    below_gap: np.ndarray,
    within: np.ndarray,
    s2: np.ndarray,
) -> None:
    """The inside of the mouth, upper teeth and tongue, in the window `where`.

    `below_top` and `below_gap` are distances below the top and the bottom of the opening, `within`
    is the coverage between the corners, `s2` the squared distance from the middle (1 at a corner).
    """
    gap = marks.gap_upper + marks.gap_lower
    hole = canvas.soft(np.minimum(below_top, -below_gap), 0.012) * within
    canvas.paint(where, hole * min(1.0, gap / 0.03), 0.07)
    if gap > 0.02:
        tooth = 0.03 + min(0.065, 0.6 * gap) * marks.teeth
        teeth = canvas.soft(tooth - below_top, 0.02) * hole * (1.0 - s2 * s2 * 0.55)
        canvas.paint(where, teeth * (0.25 + 0.75 * marks.teeth), 0.74 + 0.2 * person.skin_tone)
    if gap > 0.1:
        tongue = np.maximum(1.0 - s2 * 2.2, 0.0) * unit_clip(below_gap * 10.0 + 1.0)
        canvas.paint(where, tongue * hole * 0.8, 0.42 * person.skin_tone)


def beard(canvas: Canvas, person: Identity, marks: Landmarks) -> None:
    """Darkens the skin where the beard and the moustache are; nothing if both are 0."""
    dark = min(person.hair_tone + 0.03, 0.55 * person.skin_tone)
    if person.beard > 0.0:
        where = canvas.window(0.0, 0.75, person.face_width + 0.1, 0.75)
        u, v = canvas.u[where], canvas.v[where]
        u2 = u * u
        cover = canvas.soft(v - (marks.nose_v + 0.17) + np.minimum(u2 * 0.95, 0.33), 0.10)
        middle_v = marks.mouth_v + 0.5 * marks.gap_lower
        b = v - middle_v
        tall = 0.5 * marks.gap_lower + 0.10
        lips = 1.35 - u2 * 12.0 - b * b * (1.0 / (tall * tall))
        cover *= 1.0 - unit_clip(lips)
        canvas.paint(where, cover * (0.85 * person.beard), dark)
    if person.moustache > 0.0:
        lip_top = marks.mouth_v - marks.gap_upper - 0.6 * marks.lip_upper
        right, left = marks.sides
        middle = 0.5 * (marks.nose_v + lip_top) + 0.02
        where = canvas.window(0.0, middle + 0.03, 0.33, 0.17)
        u, v = canvas.u[where], canvas.v[where]
        drop = np.where(
            u > 0.0, np.float32(left.mouth_corner[1]), np.float32(right.mouth_corner[1])
        )
        spine = (drop * 0.8 + (0.05 - 0.8 * marks.mouth_v)) * (u * u) * (1.0 / 0.075) + middle
        half = 0.31 * max(lip_top - marks.nose_v, 0.05)
        cover = canvas.soft(half - np.abs(v - spine), 0.03)
        cover *= canvas.soft(0.27 - np.abs(u), 0.06)
        canvas.paint(where, cover * (0.85 * person.moustache), dark)
