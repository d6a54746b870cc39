"""Draws at random which action units an emotion shows, how strongly, and how it is photographed.

The combinations are those of EMFACS (Friesen & Ekman 1983) and of the FACS investigator's guide:
happy 6+12, sadness 1+4+15, surprise 1+2+5+26, fear 1+2+4+5+7+20+26, anger 4+5+7+23,
disgust 9+15 or 10+17, contempt 12+14 on one side.
"""

from __future__ import annotations

from ferdata.drawing.action_units import ACTION_UNIT_NAMES
from ferdata.drawing.canvas import OCCLUDERS, View
from ferdata.drawing.seeded_random import SeededRandom

# {emotion: {action unit: (probability, least and greatest share of the overall strength)}}
# fmt: off
EMOTION_ACTION_UNITS: dict[str, dict[int, tuple[float, float, float]]] = {
    "neutral": {},
    "anger": {4: (0.97, 0.7, 1.1), 5: (0.45, 0.2, 0.8), 7: (0.80, 0.5, 1.0),
              17: (0.25, 0.2, 0.6), 23: (0.75, 0.5, 1.1), 24: (0.40, 0.4, 1.0)},
    "contempt": {12: (0.90, 0.35, 0.8), 14: (0.92, 0.6, 1.1)},
    "disgust": {4: (0.35, 0.2, 0.6), 6: (0.20, 0.2, 0.5), 7: (0.35, 0.2, 0.7),
                9: (0.80, 0.6, 1.1), 10: (0.65, 0.5, 1.1), 15: (0.35, 0.3, 0.7),
                17: (0.45, 0.3, 0.8), 25: (0.25, 0.2, 0.7)},
    "fear": {1: (0.95, 0.7, 1.1), 2: (0.80, 0.4, 0.9), 4: (0.85, 0.4, 0.9),
             5: (0.90, 0.6, 1.1), 7: (0.40, 0.2, 0.6), 20: (0.85, 0.6, 1.1),
             25: (0.75, 0.4, 1.0), 26: (0.50, 0.2, 0.6)},
    "happy": {6: (0.80, 0.5, 1.1), 12: (0.98, 0.6, 1.1), 25: (0.60, 0.5, 1.1),
              26: (0.15, 0.1, 0.5)},
    "sadness": {1: (0.95, 0.7, 1.1), 4: (0.75, 0.3, 0.8), 15: (0.90, 0.6, 1.1),
                17: (0.45, 0.3, 0.8), 43: (0.25, 0.1, 0.5)},
    "surprise": {1: (0.95, 0.7, 1.1), 2: (0.95, 0.7, 1.1), 5: (0.85, 0.4, 1.0),
                 25: (0.85, 0.4, 0.9), 26: (0.88, 0.5, 1.1)},
}
# fmt: on

# Action units that may also appear, whatever the emotion.
_STRAYS = (1, 2, 4, 5, 6, 7, 10, 12, 14, 15, 17, 20, 23, 24, 25, 43)


def full_expression(emotion: str) -> dict[int | str, float]:
    """The emotion's action units at full strength; for contempt on the person's left side.

    Raises ValueError for an unknown emotion.
    """
    if emotion not in EMOTION_ACTION_UNITS:
        known = ", ".join(EMOTION_ACTION_UNITS)
        raise ValueError(f"unknown emotion {emotion!r}; known: {known}")
    side = "L" if emotion == "contempt" else ""
    return {
        f"{side}{au}" if side else au: min(1.0, 0.5 * (low + high) * 1.1)
        for au, (chance, low, high) in EMOTION_ACTION_UNITS[emotion].items()
        if chance >= 0.5
    }


def habits(*key: int) -> dict[int, float]:
    """{action unit: how strongly this person moves it}, around 1.0. key: for SeededRandom."""
    rng = SeededRandom(0xAB, *key)
    overall = rng.around(1.05, 0.2)
    return {au: overall * rng.around(1.0, 0.3) for au in ACTION_UNIT_NAMES}


def random_action_units(
    emotion: str, rng: SeededRandom, habit: dict[int, float]
) -> dict[int | str, float]:
    """Action units of one image of an emotion: weak to strong, some left out, perhaps one added."""
    strength = rng.between(0.55, 1.2)
    both: dict[int, float] = {}
    for au, (chance, low, high) in EMOTION_ACTION_UNITS[emotion].items():
        # Both are drawn for every unit, so that its probability does not change the next numbers.
        seen, share = rng.chance(chance), rng.between(low, high)
        if seen:
            both[au] = strength * share * habit[au]
    stray = _STRAYS[int(rng.uniform() * len(_STRAYS))]
    if rng.chance(0.35):
        both[stray] = max(both.get(stray, 0.0), rng.between(0.05, 0.28))
    one_side = ("R" if rng.chance(0.5) else "L") if emotion == "contempt" else ""
    units: dict[int | str, float] = {}
    for au, intensity in sorted(both.items()):
        tilt = rng.around(0.0, 0.18)
        only = one_side if au in EMOTION_ACTION_UNITS["contempt"] else ""
        for side, share in (("R", 1.0 + tilt), ("L", 1.0 - tilt)):
            if only in ("", side):
                units[f"{side}{au}"] = min(1.0, intensity * share)
    return units


def random_view(rng: SeededRandom, noise_seed: int) -> View:
    """A View with random pose, light and camera, and sometimes something in front of the face."""
    light = rng.chance(0.2)  # hard light from one side
    occluded = rng.chance(0.10)
    return View(
        yaw_deg=rng.around(0.0, 20.0),
        pitch_deg=rng.around(0.0, 11.0),
        roll_deg=rng.around(0.0, 8.0),
        shift_u=rng.around(0.0, 0.06),
        shift_v=rng.around(-0.08, 0.06),
        scale=rng.around(1.17, 0.10),
        light_x=rng.around(0.0, 1.5 if light else 0.7),
        light_y=rng.around(-0.35, 0.7),
        ambient=rng.between(0.22, 0.4) if light else rng.between(0.4, 0.7),
        exposure=rng.around(1.0, 0.35),
        contrast=rng.around(1.05, 0.3),
        gaze_u=rng.around(0.0, 1.0),
        background=rng.between(0.05, 0.95),
        background_slope=rng.around(0.0, 0.3),
        blur=rng.uniform() * rng.uniform() * 1.3,
        noise=1.0 + 9.0 * rng.uniform() * rng.uniform(),
        noise_seed=noise_seed,
        occluder=OCCLUDERS[1 + int(rng.uniform() * 4)] if occluded else "",
        occluder_u=rng.around(0.0, 0.75),
        occluder_v=rng.around(0.15, 0.7),
        occluder_tone=rng.between(0.03, 0.6),
        occluder_lean=rng.around(0.0, 0.6),
    )
