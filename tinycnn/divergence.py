"""Where training stopped being finite.  Asked only once it has: training itself pays nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .network import PREDICTION_BATCH, Network
from .reference_backend import ReferenceBackend

THE_LOSS = "the loss"
"""Where everything before it is finite."""


class Origin(NamedTuple):
    """where: in words, with the layer's name.  is_of_last_update: it began in the step whose update
    the weights had last, not in what was computed from them since."""

    where: str
    is_of_last_update: bool


def origin(network: Network, images: np.ndarray | None) -> Origin:
    """What became NaN or infinite first, in the order of computation.

    network  as it is when the loss of uint8 images (N, H, W[, C]) is found not to be finite, or
             (images None) the weights themselves: its gradients are those of the last update
    Weights are looked at first, for they are older than the loss; if they are lost, the gradients
    that made them say where that began, from the last layer to the first.  Otherwise the images
    are run again, layer by layer, by the reference: what overflows in the kernels alone is put
    down to the last layer.
    """
    lost = _not_finite(network.parameters)
    if lost:
        gradients = _not_finite(network.gradients)
        if gradients:
            return Origin(f"the gradients of {gradients[-1]}", True)
        return Origin(f"the update of {lost[0]}: its gradients were finite", True)
    return Origin(_first_output(network, images), False)


def _not_finite(arrays: dict[str, np.ndarray]) -> list[str]:
    """Names of the layers that have such values, in the order of the network."""
    return [name.rsplit(".", 1)[0] for name, a in arrays.items() if not np.isfinite(a).all()]


def _first_output(network: Network, images: np.ndarray) -> str:
    vectors = network.parameter_vector, network.gradient_vector
    reference = ReferenceBackend(network.plan, *vectors)
    steps = network.plan.steps
    for start in range(0, len(images), PREDICTION_BATCH):
        x = network.scale(images[start : start + PREDICTION_BATCH])
        reference.forward(x, masks={})
        for step, saved in zip(steps, reference.saved):
            if not np.isfinite(saved.y).all():
                return f"the output of {step.name}"
        if not np.isfinite(network.forward(x)).all():
            return f"the output of {steps[-1].name}"
    return THE_LOSS
