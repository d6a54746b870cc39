"""Finds where NaN or infinity began, after a training run has diverged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .network import Network
from .predictor import PREDICTION_BATCH
from .reference_backend import ReferenceBackend

THE_LOSS = "the loss"
"""`Origin.where` if all weights and outputs are finite."""


class Origin(NamedTuple):
    """Where NaN or infinity began."""

    where: str  # in words, with the layer's name
    is_of_last_update: bool  # whether the last update of the weights caused it


def origin(network: Network, images: np.ndarray | None) -> Origin:
    """What became NaN or infinite first, in the order of computation.

    network  its weights and the gradients of its last update
    images   uint8 (N, H, W[, C]), if their loss is not finite; None if the weights are not
    Weights are checked first, because they are older than the loss, and if they are not finite, the
    gradients of the last update, from the last layer to the first; then running statistics.  If all
    are finite, the reference runs the images layer by layer; if only the kernels overflow, the last
    layer is named.
    """
    bad_weights = _not_finite(network.parameters)
    if bad_weights:
        bad_gradients = _not_finite(network.gradients)
        if bad_gradients:
            return Origin(f"the gradients of {bad_gradients[-1]}", True)
        return Origin(f"the update of {bad_weights[0]}: its gradients were finite", True)
    bad_statistics = _not_finite(network.statistics)
    if bad_statistics:
        return Origin(f"the running statistics of {bad_statistics[0]}", True)
    assert images is not None
    return Origin(_first_output(network, images), False)


def _not_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the layers with NaN or infinity in their arrays, in the order of the network."""
    return [name.rsplit(".", 1)[0] for name, a in arrays.items() if not np.isfinite(a).all()]


def _first_output(network: Network, images: np.ndarray) -> str:
    """The first layer whose output for the images is not finite, in words."""
    reference = ReferenceBackend(network.plan, network.parameter_vector, network.gradient_vector)
    steps = network.plan.steps
    # a BatchNorm computes something else in prediction, from which a validation loss comes
    modes: list[dict[str, np.ndarray] | None] = [{}, None] if network.statistics else [{}]
    for start in range(0, len(images), PREDICTION_BATCH):
        x = network.scale(images[start : start + PREDICTION_BATCH])
        for masks in modes:
            for step, saved in zip(steps, reference.run(x, masks)):
                if not np.isfinite(saved.y).all():
                    return f"the output of {step.name}"
        if not np.isfinite(network.forward(x)).all():
            return f"the output of {steps[-1].name}"
    return THE_LOSS


class DivergedError(ArithmeticError):
    """Loss or weights became NaN or infinite.

    epoch, batch, step  when that began, all from 0; the step is the optimizer's
    where               what became so first: the outputs, gradients or update of a named layer
    The network has the weights from before this epoch again, and the folder has the checkpoint of
    the epoch before.  The optimizer must not be used any more.
    """

    def __init__(self, what: str, epoch: int, batch: int, step: int, where: str) -> None:
        super().__init__(what, epoch, batch, step, where)  # all arguments, so it can be pickled
        self.what, self.epoch, self.batch, self.step, self.where = what, epoch, batch, step, where

    def __str__(self) -> str:
        advice = "a lower learning rate usually helps"
        if self.where == THE_LOSS:
            advice = "the logits are finite: look at the targets and soft labels of that batch"
        return (
            f"{self.what}: training diverged in epoch {self.epoch}, batch {self.batch} (step "
            f"{self.step}), first in {self.where}; {advice}"
        )
