"""What a person looks like: proportions, hair, skin, age.

Lengths are in face units: 1.0 is half the side of the image at scale 1. The origin is on the
mid-line of the face, between the eyes and the nose; `u` grows to the right, `v` downwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from ferdata.drawing.seeded_random import SeededRandom

HAIR_STYLES = ("short", "parted", "fringe", "long", "bald", "curly", "scarf")


@dataclass(frozen=True)
class Identity:
    """One person. Lengths are in face units, tones 0 (black) to 1 (white), amounts 0 to 1.

    Raises ValueError unless `hair_style` is one of HAIR_STYLES.
    """

    face_width: float = 0.64
    jaw_taper: float = 0.30
    jaw_square: float = 0.35
    chin_v: float = 0.90
    cheek_fullness: float = 0.5
    eye_spacing: float = 0.28
    eye_v: float = -0.12
    eye_width: float = 0.15
    eye_open: float = 0.060
    eye_tilt: float = 0.0
    iris_tone: float = 0.15
    brow_v: float = -0.31
    brow_thickness: float = 0.034
    brow_tilt: float = 0.0
    brow_arch: float = 0.035
    brow_strength: float = 0.85
    nose_v: float = 0.24
    nose_width: float = 0.125
    nose_height: float = 1.0
    mouth_v: float = 0.50
    mouth_width: float = 0.26
    mouth_rest: float = 0.0
    lip_upper: float = 0.045
    lip_lower: float = 0.062
    lip_strength: float = 0.35
    skin_tone: float = 0.66
    hair_tone: float = 0.15
    hair_style: str = "short"
    hair_volume: float = 0.10
    hairline_v: float = -0.60
    parting: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    glasses: float = 0.0
    age: float = 0.2
    clothes_tone: float = 0.4

    def __post_init__(self) -> None:
        if self.hair_style not in HAIR_STYLES:
            raise ValueError(
                f"unknown hair_style {self.hair_style!r}; known: {', '.join(HAIR_STYLES)}"
            )

    @classmethod
    def random(cls, *key: int) -> Identity:
        """A random person, always the same for the same integers, such as (seed, subject)."""
        rng = SeededRandom(0x1D, *key)
        skin = rng.between(0.36, 0.86)
        age = rng.uniform() * rng.uniform() * 1.2
        masculine = rng.chance(0.5)
        grey = age > 0.5 and rng.chance(0.6)
        hair = rng.between(0.45, 0.85) if grey else rng.between(0.04, 0.22)
        if not grey and skin > 0.66 and rng.chance(0.35):
            hair = rng.between(0.3, 0.62)
        styles = (
            ("short", "short", "short", "parted", "bald", "curly")
            if masculine
            else ("long", "long", "parted", "fringe", "fringe", "curly", "scarf")
        )
        style = styles[int(rng.uniform() * len(styles))]
        beard = rng.between(0.35, 1.0) if masculine and rng.chance(0.35) else 0.0
        moustache = beard if rng.chance(0.85) else 0.0
        if masculine and rng.chance(0.08):
            moustache = rng.between(0.6, 1.0)
        return cls(
            face_width=rng.around(0.645, 0.085),
            jaw_taper=rng.around(0.22 if masculine else 0.38, 0.26),
            jaw_square=rng.around(0.5 if masculine else 0.3, 0.35),
            chin_v=rng.around(0.90, 0.07),
            cheek_fullness=rng.uniform(),
            eye_spacing=rng.around(0.28, 0.035),
            eye_v=rng.around(-0.12, 0.03),
            eye_width=rng.around(0.148, 0.028),
            eye_open=rng.around(0.060, 0.018),
            eye_tilt=rng.around(0.05, 0.16),
            iris_tone=rng.between(0.05, 0.25) if hair < 0.25 else rng.between(0.1, 0.45),
            brow_v=rng.around(-0.315, 0.035),
            brow_thickness=rng.around(0.038 if masculine else 0.027, 0.015),
            brow_tilt=rng.around(0.0, 0.035),
            brow_arch=rng.around(0.025 if masculine else 0.045, 0.025),
            brow_strength=rng.between(0.55, 1.0),
            nose_v=rng.around(0.235, 0.035),
            nose_width=rng.around(0.128, 0.035),
            nose_height=rng.around(1.0, 0.35),
            mouth_v=rng.around(0.505, 0.025),
            mouth_width=rng.around(0.255, 0.045),
            mouth_rest=rng.around(0.0, 0.018),
            lip_upper=rng.around(0.045, 0.020),
            lip_lower=rng.around(0.062, 0.024),
            lip_strength=rng.between(0.12, 0.35) if masculine else rng.between(0.25, 0.7),
            skin_tone=skin,
            hair_tone=hair,
            hair_style=style,
            hair_volume=rng.around(0.10, 0.07),
            hairline_v=rng.around(-0.58, 0.10) - (0.12 if masculine and age > 0.45 else 0.0),
            parting=rng.between(-0.9, 0.9),
            beard=beard,
            moustache=moustache,
            glasses=rng.between(0.3, 1.0) if rng.chance(0.22) else 0.0,
            age=age,
            clothes_tone=rng.between(0.05, 0.9),
        )
