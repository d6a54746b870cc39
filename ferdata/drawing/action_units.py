"""Computes the landmarks of a face from a person's proportions and action units.

An action unit (AU) is the movement of one facial muscle or a few, as numbered in the Facial Action
Coding System (Ekman, Friesen & Hager 2002). Face units and axes are those of people.py. The right
side of the person is on the left of the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from ferdata.drawing.people import Identity

ActionUnits = Mapping[int | str, float]

ACTION_UNIT_NAMES: dict[int, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    43: "eye closure",
}


@dataclass(frozen=True)
class Side:
    """Landmarks of one half of the face.

    Points are (out, v), where `out` is the distance from the mid-line. `lid_upper` and `lid_lower`
    are heights of the lids above and below the eye's axis, the other single numbers amounts.
    """

    brow_inner: tuple[float, float]
    brow_middle: tuple[float, float]
    brow_outer: tuple[float, float]
    lid_upper: float
    lid_lower: float
    mouth_corner: tuple[float, float]
    nose_wing: tuple[float, float]
    cheek: tuple[float, float]
    cheek_bulge: float
    nasolabial: float
    crows_feet: float
    dimple: float
    eye_pouch: float


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of a face: positions (names with _v), heights (gaps, lips) and amounts.

    `sides[0]` is the person's right half (left in the image), `sides[1]` the left half.
    """

    sides: tuple[Side, Side]
    mouth_v: float
    gap_upper: float
    gap_lower: float
    lip_upper: float
    lip_lower: float
    upper_lip_square: float
    teeth: float
    nose_v: float
    nose_wrinkle: float
    frown: float
    forehead_inner: float
    forehead_outer: float
    chin_v: float
    chin_bunch: float
    lip_press: float


def parse_action_units(action_units: ActionUnits) -> dict[int, tuple[float, float]]:
    """Intensities as {AU: (right, left)} for every known AU; 0.0 if it is not given.

    Keys are numbers for both sides (12), or "R12" and "L12" for the person's right and left side.
    Raises ValueError for an unknown AU or an intensity outside 0 .. 1.
    """
    right = dict.fromkeys(ACTION_UNIT_NAMES, 0.0)
    left = dict(right)
    for key, intensity in action_units.items():
        text = str(key).upper()
        side, digits = (text[0], text[1:]) if text[:1] in ("R", "L") else ("", text)
        if not digits.isdigit() or int(digits) not in ACTION_UNIT_NAMES:
            known = " ".join(str(au) for au in ACTION_UNIT_NAMES)
            raise ValueError(f"unknown action unit {key!r}; known: {known} (or R12, L12, ...)")
        intensity = float(intensity)
        if not (isfinite(intensity) and 0.0 <= intensity <= 1.0):
            raise ValueError(f"intensity of action unit {key!r} is {intensity}; expected 0 .. 1")
        if side != "L":
            right[int(digits)] = max(right[int(digits)], intensity)
        if side != "R":
            left[int(digits)] = max(left[int(digits)], intensity)
    return {au: (right[au], left[au]) for au in ACTION_UNIT_NAMES}


def _side(person: Identity, au: dict[int, float], jaw: float) -> Side:
    """Landmarks of one half of the face. au: intensities on this side; jaw: how far it drops."""
    inner_up = 0.135 * au[1] + 0.03 * au[2] - 0.105 * au[4] - 0.06 * au[9]
    middle_up = 0.075 * au[1] + 0.10 * au[2] - 0.085 * au[4] - 0.045 * au[9]
    outer_up = -0.025 * au[1] + 0.135 * au[2] - 0.035 * au[4] - 0.01 * au[9] - 0.015 * au[6]
    brow_in = 0.115 - 0.045 * au[4] * (1.0 - 0.4 * au[1])
    spacing = person.eye_spacing
    tilt = person.brow_tilt
    closing = 1.0 - au[43]
    squeeze = au[6] + 0.7 * au[7] + 0.5 * au[9]
    lid_upper = person.eye_open * (1.0 - 0.30 * au[7] - 0.12 * au[6] - 0.22 * au[4] - 0.2 * au[9])
    lid_upper = (lid_upper + 0.050 * au[5]) * closing
    lid_lower = 0.58 * person.eye_open - 0.026 * min(squeeze, 1.5) + 0.010 * au[5] * (1.0 - au[7])
    corner_out = (
        person.mouth_width
        + 0.085 * au[12]
        + 0.085 * au[20]
        + 0.012 * au[14]
        - 0.035 * au[24]
        - 0.02 * au[23]
        - 0.055 * jaw * (1.0 - 0.8 * max(au[12], au[20]))
        - 0.02 * au[17]
    )
    corner_up = (
        0.125 * au[12] + 0.03 * au[14] - 0.095 * au[15] - 0.02 * au[20] - 0.03 * au[17] * au[15]
    )
    corner_v = person.mouth_v - person.mouth_rest - corner_up + 0.055 * jaw
    return Side(
        brow_inner=(brow_in, person.brow_v + tilt - inner_up),
        brow_middle=(spacing + 0.03, person.brow_v - person.brow_arch - middle_up),
        brow_outer=(spacing + 0.215, person.brow_v + 0.035 - tilt - outer_up),
        lid_upper=lid_upper,
        lid_lower=lid_lower,
        mouth_corner=(corner_out, corner_v),
        nose_wing=(
            person.nose_width * (1.0 + 0.10 * au[12] + 0.12 * au[9] + 0.06 * au[10]),
            person.nose_v - 0.045 * au[9] - 0.02 * au[10],
        ),
        cheek=(0.37, 0.17 - 0.07 * max(au[6], 0.7 * au[12])),
        cheek_bulge=0.4 * person.cheek_fullness + 0.8 * au[6] + 0.6 * au[12],
        nasolabial=min(
            1.2,
            0.45 * person.age + 0.6 * au[12] + 0.2 * au[6] + 0.75 * au[9] + 0.75 * au[10],
        ),
        crows_feet=au[6] * (0.55 + 0.45 * person.age) + 0.25 * au[7] + 0.2 * person.age,
        dimple=au[14],
        eye_pouch=0.35 * person.age + 0.6 * au[6] + 0.4 * au[7] + 0.4 * au[9],
    )


def face_landmarks(person: Identity, action_units: ActionUnits) -> Landmarks:
    """Landmarks of `person` with these action units. Raises what `parse_action_units` raises."""
    both = parse_action_units(action_units)
    right = {au: pair[0] for au, pair in both.items()}
    left = {au: pair[1] for au, pair in both.items()}
    mean = {au: 0.5 * (pair[0] + pair[1]) for au, pair in both.items()}
    jaw = mean[26]
    tight = max(mean[23], mean[24])
    part = mean[25]
    raise_lip = max(0.045 * mean[9], 0.06 * mean[10])
    smile = mean[12]
    gap_upper = 0.026 * part + 0.03 * jaw + 0.030 * smile * part + raise_lip * (0.35 + 0.65 * part)
    gap_lower = (
        0.022 * part + 0.20 * jaw + 0.03 * mean[16] + (0.05 * smile + 0.035 * mean[20]) * part
    )
    keep_shut = 1.0 - 0.85 * max(mean[17] * (1.0 - jaw), mean[24])
    gap_upper, gap_lower = gap_upper * keep_shut, gap_lower * keep_shut
    thin = 1.0 - 0.62 * tight
    stretch = 1.0 - 0.30 * smile - 0.25 * mean[20]
    return Landmarks(
        sides=(_side(person, right, jaw), _side(person, left, jaw)),
        mouth_v=person.mouth_v - 0.035 * mean[17] - raise_lip * 0.55 + 0.02 * jaw + 0.018 * smile,
        gap_upper=gap_upper,
        gap_lower=gap_lower,
        lip_upper=person.lip_upper * thin * stretch * (1.0 - 0.25 * mean[10]),
        lip_lower=person.lip_lower * thin * stretch * (1.0 + 0.45 * mean[17] * (1.0 - tight)),
        upper_lip_square=min(1.0, mean[10] + 0.7 * mean[9]),
        teeth=min(1.0, 0.25 + smile + mean[10] + mean[20] + 0.5 * mean[9]),
        nose_v=person.nose_v - 0.028 * mean[9] - 0.01 * mean[10],
        nose_wrinkle=mean[9],
        frown=min(1.0, mean[4] + 0.5 * mean[9]) * (0.75 + 0.25 * person.age),
        forehead_inner=min(1.0, mean[1] * (0.6 + 0.5 * person.age) + 0.25 * person.age),
        forehead_outer=min(1.0, mean[2] * (0.6 + 0.5 * person.age) + 0.25 * person.age),
        chin_v=person.chin_v + 0.115 * jaw - 0.02 * mean[17],
        chin_bunch=mean[17],
        lip_press=max(0.6 * mean[23], mean[24]),
    )
