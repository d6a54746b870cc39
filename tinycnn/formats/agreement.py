"""The check before an export is written: does the program compute the same as the network?"""

from __future__ import annotations

import numpy as np

from ..network import Network
from ..testing import logit_error

TOLERANCE = 1e-5
"""Largest allowed max|a - b| / max|b|; the float32 sums of two programs differ by about 1e-6."""


class ExportError(RuntimeError):
    """The program computes other logits than its network, or it could not be run."""


def exportable(network: Network) -> Network:
    """The network without BatchNorm, as exporters write it; `network` itself if it has none.

    Raises ValueError for a weight that is NaN or infinite, here or in float32: the check could not
    compare logits.
    """
    _check_finite(network)
    if not network.statistics:
        return network
    folded = network.folded()
    _check_finite(folded)
    return folded


def _check_finite(network: Network) -> None:
    for name, values in {**network.parameters, **network.statistics}.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity; such a network is not exported")
        largest = float(np.abs(values).max(initial=0.0))
        if largest > float(np.finfo(np.float32).max):
            raise ValueError(
                f"{name} holds {largest:.3g} in size, which is beyond float32; programs and models "
                "are exported in float32"
            )


def check_images(network: Network) -> np.ndarray:
    """Images (6, H, W, C) uint8 to compare a program and its network on: strong noise, faint
    noise, a ramp, and two images of one value."""
    return images_of_shape(network.input_spec.shape)


def images_of_shape(shape: tuple[int, ...]) -> np.ndarray:
    """The same for one image's shape."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, int(np.prod(shape))).reshape(shape)
    images = np.empty((6, *shape), np.uint8)  # one by one: the random numbers have 8 bytes each
    for k, (low, high) in enumerate([(0, 256), (0, 256), (100, 110)]):
        images[k] = rng.integers(low, high, shape)
    images[3], images[4], images[5] = ramp, 0, 77
    return images


def check_agreement(
    path: str,
    found: np.ndarray,
    expected: np.ndarray,
    quantity: str = "logits",
    tolerance: float = TOLERANCE,
) -> None:
    """Raise ExportError unless what the program found is within the tolerance of the network's.

    path, quantity: of the program and of its output, for the message
    """
    if found.shape != expected.shape:
        raise ExportError(f"{path}: {quantity} of shape {found.shape}; expected {expected.shape}")
    largest = float(np.abs(found).max(initial=0.0))
    error = logit_error(found, expected) if expected.any() else largest
    if not error <= tolerance:
        raise ExportError(
            f"{path}: its {quantity} differ from the network's by {error:.1e} of the largest; at "
            f"most {tolerance:.0e} is allowed.  Nothing was written"
        )


def check_probabilities(
    path: str, found: np.ndarray, logits: np.ndarray, temperature: float
) -> None:
    """Raise ExportError unless a program's probabilities are the softmax of its logits.

    temperature: of the network's calibration.  They are not compared with the network's own: where
    logits are large, those errors that `check_agreement` allows change probabilities much.
    """
    z = logits.astype(np.float64) / temperature
    e = np.exp(z - z.max(axis=1, keepdims=True))
    rounding = float(np.spacing(np.float32(np.abs(z).max(initial=0.0))))  # of z in float32
    tolerance = max(TOLERANCE, 2 * rounding)
    check_agreement(path, found, e / e.sum(axis=1, keepdims=True), "probabilities", tolerance)
