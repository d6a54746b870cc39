"""Protocols: which frames of a sequence, sorted by number, are taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ferdata.errors import DataError

N_LAST_FRAMES = {"last-frame": 1, "last-three": 3, "paper": 3}
"""{protocol: frames taken at the end of a sequence, where the expression is strongest}"""


def frames_by_number(
    names: Sequence[str], pattern: re.Pattern[str], folder: Path, example: str
) -> dict[int, str]:
    """{number: name} of a folder's images, sorted by number, the group "number" of `pattern`.

    Raises DataError for no images, a name that does not match, or two frames of one number.
    """
    frames: dict[int, str] = {}
    for name in names:
        match = pattern.fullmatch(name)
        if match is None:
            raise DataError(
                f"{folder / name}: not the name of a frame of this sequence, such as {example}"
            )
        number = int(match["number"])
        if number in frames:
            raise DataError(f"{folder}: {frames[number]} and {name} are both frame {number}")
        frames[number] = name
    if not frames:
        raise DataError(f"{folder}: a sequence without images")
    return dict(sorted(frames.items()))


def last_frames(
    frames: dict[int, str], protocol: str, folder: Path, beside_first: bool = False
) -> list[str]:
    """The last names, as many as the protocol takes. Raises DataError if there are fewer, or if the
    first frame, which it takes as well (`beside_first`), is one of them; the message says which
    protocol takes no more frames than there are."""
    n = N_LAST_FRAMES[protocol]
    needed = n + beside_first
    if len(frames) < needed:
        fitting = ("last-three", "last-frame")[len(frames) < N_LAST_FRAMES["last-three"] :]
        advice = " or ".join(f"protocol={name!r}" for name in fitting if name != protocol)
        raise DataError(
            f"{folder}: {len(frames)} frames, the protocol needs {needed}"
            + (" (the last 3, and the first as neutral)" if beside_first else "")
            + f": is the copy complete? If it has no more frames, take {advice}, which needs fewer"
        )
    return list(frames.values())[-n:]
