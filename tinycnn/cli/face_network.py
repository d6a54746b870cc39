"""Networks that take faces cut out of photos, and the faces of a photo for them: what `predict`,
`explain`, `face` and `export --to html` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from ferdata.photos.detect import SMALLEST_PX
from ferdata.photos.faces import FRAMINGS, Faces, find_faces

from ..ground.command_line import CannotError, number
from ..input_spec import InputSpec
from .model_argument import OpenedModel, OpenedQuantized


def add_framing_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--framing",
        choices=FRAMINGS,
        help="how faces were cut out of the photos that the network was trained on; needed only "
        "for a model file that does not record it",
    )


def probability(text: str) -> float:
    return number(float, text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def framed_spec(model: OpenedModel | OpenedQuantized, name: str, given: str | None) -> InputSpec:
    """The network's input spec, with its framing, which `given` (--framing) may add.

    name  of the model, for messages
    Raises CannotError if the network's faces cannot be cut out of photos, or if it was never
    trained.
    """
    if isinstance(model, OpenedModel) and model.kind == "new weights":
        raise CannotError(f"{name}: has random weights; expected a network that was trained")
    return with_framing(model.network.input_spec, name, given)


def is_of_faces(spec: InputSpec) -> bool:
    """Whether the images have the shape of faces cut out of photos: square, 1 channel."""
    H, W, C = spec.shape
    return H == W and C == 1


def with_framing(spec: InputSpec, name: str, given: str | None) -> InputSpec:
    """As `framed_spec`, also for a network with random weights."""
    H, W, C = spec.shape
    if not is_of_faces(spec):
        raise CannotError(f"{name}: takes {H}x{W}x{C} images; faces are square and have 1 channel")
    framing = spec.framing or given
    if framing is None:
        raise CannotError(
            f"{name}: does not say how its faces were cut; give --framing, one of "
            f"{', '.join(FRAMINGS)}"
        )
    if given and given != framing:
        raise CannotError(f"{name}: learned from framing {framing}, not {given}")
    if framing not in FRAMINGS:
        raise CannotError(f"{name}: its framing is {framing}; known are {', '.join(FRAMINGS)}")
    return replace(spec, framing=framing)


def faces_in(photo: str, framing: str, size_px: int) -> Faces:
    """The faces of a photo, largest first, found as `tinycnn predict` finds them.

    size_px  side of a crop
    Raises CannotError if there is none, DataError (a ValueError) if the photo cannot be read.
    """
    faces = find_faces(photo, framing, size_px=size_px)
    if not len(faces):
        raise CannotError(
            f"{photo}: no face found; the search finds upright faces seen from the front, of "
            f"{SMALLEST_PX} px or more. Turn or enlarge the photo, or cut the face out yourself "
            f"and save it as a picture of {size_px}x{size_px} px"
        )
    return faces


def place(box: Sequence[int]) -> str:
    """A face's box in words: x, y, width, height in px of the upright photo."""
    x, y, width, height = box
    return f"x {x}, y {y}, {width}x{height} px"
