"""The network that the page explains: in float64, as it predicts.

Layers that do nothing in prediction are left out.  With its running statistics, a BatchNorm is a
scale and a shift of each channel (`folding.py`, equation (1)): a ScaleShift takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..folding import affine_of
from ..layers import BatchNorm, Layer, Residual, ScaleShift
from ..network import Network
from ..plan import Step, of_step
from .layer_kinds import explained


class FixedBatchNorm(NamedTuple):
    """A BatchNorm that a ScaleShift stands for.

    arrays  gamma, beta, running_mean and running_var, (C,), as in the given network
    """

    name: str
    layer: BatchNorm
    arrays: Mapping[str, np.ndarray]


class PredictionNetwork(NamedTuple):
    """batch_norms: what a ScaleShift stands for, by the name of the ScaleShift."""

    network: Network
    batch_norms: Mapping[str, FixedBatchNorm]


def in_prediction(network: Network, backend: str) -> PredictionNetwork:
    """A network in float64 that computes in training and prediction what the given one predicts."""
    origins: list[Step | None] = []
    layers = _without_training(network.layers, iter(network.plan.steps), origins)
    double = Network(layers, network.input_spec, backend=backend, dtype=np.float64)
    batch_norms: dict[str, FixedBatchNorm] = {}
    for step, origin in zip(double.plan.steps, origins, strict=True):
        if origin is None:
            continue  # its initial values are right
        arrays: Mapping[str, np.ndarray] = {
            **of_step(origin, network.parameters),
            **of_step(origin, network.statistics),
        }
        if isinstance(origin.layer, BatchNorm):
            batch_norms[step.name] = FixedBatchNorm(origin.name, origin.layer, arrays)
            arrays = affine_of(origin.layer, arrays)._asdict()
        for short, parameter in of_step(step, double.parameters).items():
            parameter[:] = arrays[short]
    return PredictionNetwork(double, batch_norms)


def _without_training(
    layers: Sequence[Layer], steps: Iterator[Step], origins: list[Step | None]
) -> list[Layer]:
    """The layers of one branch as they predict.

    steps    of the given network, from the branch's first on
    origins  the given step for each new one is appended; None if there is none
    """
    kept: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Residual):
            body = _without_training(layer.layers, steps, origins)
            if not body:  # only dropout, but a Residual needs a layer: scale 1, shift 0
                body.append(ScaleShift())
                origins.append(None)
            shortcut = _without_training(layer.shortcut, steps, origins)
            kept.append(Residual(body, shortcut))
            origins.append(next(steps))  # the Add
            continue
        step = next(steps)
        if isinstance(layer, BatchNorm):
            kept.append(ScaleShift())
        elif explained(layer).left_out:
            continue
        else:
            kept.append(layer)
        origins.append(step)
    return kept
