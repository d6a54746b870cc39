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
    frames: dict[int, str], n: int, folder: Path, beside_first: bool = False
) -> list[str]:
    """The last n names. Raises DataError if there are fewer, or if the first frame, which is used
    as well (`beside_first`), is one of them."""
    needed = n + beside_first
    if len(frames) < needed:
        raise DataError(
            f"{folder}: {len(frames)} frames, the protocol needs {needed}: is the copy complete?"
        )
    return list(frames.values())[-n:]
