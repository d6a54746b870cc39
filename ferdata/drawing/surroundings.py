"""Draws what surrounds or covers the face: background, neck, ears, hair, glasses, occluders."""

from __future__ import annotations

import numpy as np

from ferdata.drawing.action_units import Landmarks
from ferdata.drawing.canvas import Canvas, View, unit_clip
from ferdata.drawing.people import Identity

_ALL = (slice(None), slice(None))
_LOW_STYLES = ("long", "scarf")  # reach down beside the neck and hide the ears


def backdrop(canvas: Canvas, person: Identity, marks: Landmarks, view: View) -> None:
    """Overwrites the tone with background, hair behind the head, shoulders, neck and ears."""
    u, v, x, y = canvas.u, canvas.v, canvas.x, canvas.y
    canvas.tone = (y * 0.4 + x) * view.background_slope + view.background
    if person.hair_style in _LOW_STYLES:
        edge = _curtain_width(person) - np.abs(u) + np.minimum(np.maximum(v, 0.0) * 0.06, 0.06)
        sides = canvas.soft(edge, 0.05) * canvas.soft(v + 0.2, 0.1)
        canvas.paint(_ALL, sides, _hair_tone(canvas, person))
    side = np.abs(x)
    canvas.paint(_ALL, canvas.soft(y - side * 0.25 - 0.8, 0.06), person.clothes_tone)
    low = (slice(canvas.size_px // 2, None), slice(None))
    neck = canvas.soft(0.62 * person.face_width - side[low], 0.04)
    neck *= canvas.soft(v[low] - 0.45)
    light = unit_clip((v[low] - marks.chin_v) * 4.0) * 0.25 + 0.55
    canvas.paint(low, neck, light * person.skin_tone)
    if person.hair_style not in _LOW_STYLES:
        for sign in (-1.0, 1.0):
            ear_u = sign * (person.face_width + 0.015)
            where = canvas.window(ear_u, 0.02, 0.09, 0.17)
            a, b = (u[where] - ear_u) * (1.0 / 0.075), (v[where] - 0.02) * (1.0 / 0.155)
            a *= a
            cover = canvas.soft((1.0 - a - b * b) * 0.05)
            canvas.paint(where, cover, (a * 0.22 + 0.62) * person.skin_tone)


def _curtain_width(person: Identity) -> float:
    """Distance from the mid-line to the outer edge of long hair or a scarf."""
    return person.face_width + 0.06 + 0.8 * person.hair_volume


def _triangle(wave: np.ndarray) -> np.ndarray:
    """Triangle wave of period 1: 0 at whole numbers, 1 half-way between them."""
    return np.abs(wave - np.rint(wave)) * 2.0


def _hair_tone(canvas: Canvas, person: Identity) -> np.ndarray:
    """The tone of hair with strands, or of a scarf with folds: two triangle waves across it."""
    u, v = canvas.u, canvas.v
    if person.hair_style == "scarf":
        wave = np.abs(u) * 3.0 - v * 1.2
        base, depth = person.clothes_tone, 0.12
    else:
        wave = (u * (v * 0.5 + 1.0) + person.parting * 0.2) * 8.0
        if person.hair_style == "curly":
            wave += _triangle(v * 6.0)
        base, depth = person.hair_tone, 0.30
    shade = (_triangle(wave) + _triangle(wave * 0.37 + 0.2)) * (-0.5 * depth) + 1.0
    down = v + 0.75
    shade *= np.maximum(1.2 - u * u * 0.9 - down * down * 0.35, 0.5)
    return shade * base + 0.02


def hair(canvas: Canvas, person: Identity, marks: Landmarks, inside: np.ndarray) -> None:
    """Hair on skull, forehead and temples. inside: the coverage of the face."""
    style, line_v, width = person.hair_style, person.hairline_v, person.face_width
    u, v = canvas.u, canvas.v
    side = np.abs(u)
    u2 = u * u
    volume = person.hair_volume * {"curly": 1.6, "bald": 0.1}.get(style, 1.0)
    if style in _LOW_STYLES:
        half_width = _curtain_width(person)
    else:
        half_width = width + 0.03 + 0.35 * volume
    a = u * (1.0 / half_width)
    b = (v + 0.2) * (1.0 / (0.84 + volume))
    skull = canvas.soft((1.0 - a * a - b * b) * 0.4, 0.03)
    if style == "bald":
        cover = skull * canvas.soft(side + v * 0.12 - 0.93 * width, 0.06)
        cover *= canvas.soft(-0.02 - v, 0.12) * canvas.soft(v + 0.5, 0.25) * 0.85
    elif style in _LOW_STYLES:
        frame = (u2 + 1.0) * u2 * 0.9 - v + (line_v + 0.05)
        curtain = side - (0.94 if style == "long" else 0.88) * width
        if style == "long":
            frame += np.minimum(np.abs(u - person.parting * 0.25) * 0.35, 0.14) - 0.06
            curtain += np.minimum(v * v * 0.12, 0.05)
        cover = canvas.soft(np.maximum(frame, curtain), 0.03)
        cover *= np.maximum(skull, canvas.soft(v + 0.2, 0.15))
        around = canvas.soft(half_width - side + np.minimum(np.maximum(v, 0.0) * 0.06, 0.06), 0.05)
        cover *= around
        if style == "scarf":
            under = canvas.soft(v + u2 * 0.35 - (marks.chin_v - 0.06), 0.03)
            cover = np.maximum(cover, under * around)
        else:
            cover *= 1.0 - canvas.soft(v - 0.75, 0.3) * inside
    else:
        temple = canvas.soft(side - 0.95 * width, 0.05)
        if style == "fringe":
            edge = _triangle(u * 5.0 + person.parting) * 0.05 + u2 * 0.3 - v + (line_v + 0.16)
            cover = canvas.soft(edge, 0.04)
            temple *= canvas.soft(0.10 - v, 0.1)
        else:
            edge = (u2 * 1.3 + 0.25) * u2 - v + (line_v - 0.03)
            if style == "parted":
                edge += np.abs(u - 0.3 * person.parting) * 0.22
            cover = canvas.soft(edge, 0.08)
            temple *= canvas.soft(-0.02 - v, 0.1)
        cover = skull * np.maximum(cover, temple)
    canvas.paint(_ALL, cover, _hair_tone(canvas, person))


def glasses(canvas: Canvas, person: Identity) -> None:
    """Two rounded frames, bridge and temples; nothing if `Identity.glasses` is 0."""
    if person.glasses <= 0.0:
        return
    half = 0.010 + 0.013 * person.glasses
    tone = 0.08 if person.glasses > 0.4 else 0.35
    centre_v = person.eye_v + 0.02
    start, stop = person.eye_spacing + 0.21, 0.94 * person.face_width
    for sign in (-1.0, 1.0):
        where = canvas.window(sign * person.eye_spacing, centre_v, 0.25, 0.2)
        a = (canvas.u[where] * sign - person.eye_spacing) * (1.0 / 0.215)
        b = (canvas.v[where] - centre_v) * (1.0 / 0.165)
        a, b = a * a, b * b
        rim = np.sqrt(np.sqrt(a * a + b * b + a * b * 0.6)) - 1.0
        canvas.paint(where, canvas.soft(rim * -0.18) * 0.08, 0.95)
        canvas.paint(where, canvas.soft(half - np.abs(rim) * 0.18) * 0.9, tone)
        where = canvas.window(sign * 0.5 * (start + stop), centre_v - 0.05, 0.12, 0.05)
        out = canvas.u[where] * sign
        bar = np.minimum(half - np.abs(canvas.v[where] - (centre_v - 0.05)), out - start)
        canvas.paint(where, canvas.soft(np.minimum(bar, stop - out)) * 0.8, tone)
    where = canvas.window(0.0, centre_v - 0.06, 0.1, 0.06)
    u = canvas.u[where]
    bar = half - np.abs(canvas.v[where] - u * u * 2.0 - (centre_v - 0.06))
    bar = np.minimum(bar, (person.eye_spacing - 0.205) - np.abs(u))
    canvas.paint(where, canvas.soft(bar) * 0.9, tone)


def occluder(canvas: Canvas, person: Identity, view: View) -> None:
    """What hides a part of the face: fingers, a bar, a strand of hair or a soft spot."""
    if not view.occluder:
        return
    x, y = canvas.x - view.occluder_u, canvas.y - view.occluder_v
    a, b = x + y * view.occluder_lean, y - x * view.occluder_lean
    if view.occluder == "hand":
        outward = 1.0 if view.occluder_u > 0.0 else -1.0
        for k, tip in enumerate((0.10, 0.02, 0.03, 0.13)):
            across = b - 0.155 * (k - 1.5)
            cover = np.minimum(0.080 - np.abs(across), a * outward + (0.18 - tip))
            round_ = np.maximum(1.0 - across * across * 156.0, 0.0)
            skin = (round_ * 0.36 + 0.59) * person.skin_tone
            canvas.paint(_ALL, canvas.soft(cover, 0.03), skin)
        return
    tone = view.occluder_tone
    if view.occluder == "bar":
        cover = canvas.soft(0.13 - np.abs(b), 0.04)
    elif view.occluder == "strand":
        cover = canvas.soft(0.05 - np.abs(a + b * b * 0.25), 0.04) * 0.9
        tone = person.hair_tone
    else:
        cover = canvas.soft((1.0 - (a * a + b * b) * 13.0) * 0.15, 0.05)
    canvas.paint(_ALL, cover, tone)
