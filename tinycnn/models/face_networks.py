"""The networks for faces that a training run can train, by name."""

from __future__ import annotations

from typing import NamedTuple

from .residual48 import LARGE, SMALL, Widths

MICROEXPNET = "microexpnet"


class FaceNetwork(NamedTuple):
    """input_px: the side of the images that it takes;  widths: of a residual network."""

    input_px: int
    widths: Widths | None = None


FACE_NETWORKS = {
    MICROEXPNET: FaceNetwork(84),
    "residual48": FaceNetwork(48, SMALL),
    "residual48-large": FaceNetwork(48, LARGE),
}
