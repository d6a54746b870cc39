"""Whether a program that was written from a network answers as the network does."""

from __future__ import annotations

import numpy as np

from ..network import Network
from ..testing import logit_error

TOLERANCE = 1e-5
"""Of max|a - b| / max|b|: the float32 sums of two programs differ by about 1e-6."""


class ExportError(RuntimeError):
    """A program that does not answer as its network, or could not be run to find out."""


def check_exportable(network: Network) -> None:
    """Raise ValueError where a weight is NaN or infinite: no program could be checked."""
    for name, parameter in network.parameters.items():
        if not np.isfinite(parameter).all():
            raise ValueError(f"{name} holds NaN or infinity; such a network is not exported")


def check_images(network: Network) -> np.ndarray:
    """Images (6, H, W, C) uint8 on which a program is compared: noise, strong and faint, a ramp,
    and one value everywhere."""
    shape = network.input_spec.shape
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, int(np.prod(shape))).reshape(shape)
    images = [
        *rng.integers(0, 256, (2, *shape)),
        *rng.integers(100, 110, (1, *shape)),
        *(ramp, np.zeros(shape), np.full(shape, 77)),
    ]
    return np.array(images).astype(np.uint8)


def check_agreement(what: str, logits: np.ndarray, expected: np.ndarray) -> None:
    """Raise ExportError unless the program's logits are the network's, to TOLERANCE of the
    largest.  what: for the message."""
    if logits.shape != expected.shape:
        raise ExportError(f"{what}: logits of shape {logits.shape}; the network's {expected.shape}")
    largest = float(np.abs(logits).max(initial=0.0))
    error = logit_error(logits, expected) if expected.any() else largest
    if not error <= TOLERANCE:
        raise ExportError(
            f"{what}: its logits differ from the network's by {error:.1e} of the largest; at most "
            f"{TOLERANCE:.0e} is allowed.  Nothing was written"
        )
