"""Networks that take faces cut out of photos: what `predict` and `export --to html` share."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ferdata.photos.faces import FRAMINGS

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
    spec = model.network.input_spec
    if isinstance(model, OpenedModel) and model.kind == "new weights":
        raise CannotError(f"{name}: has random weights; expected a network that was trained")
    H, W, C = spec.shape
    if H != W or C != 1:
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
