"""The layers of a network: what they are, which shapes they make, which parameters they have.

There is no arithmetic here: `plan.py` makes a plan from a list of layers and an input shape, and a
network runs the plan with the kernels or the reference.  Only a `CustomLayer`, a layer of the
user's own, defines its arithmetic itself.  Shapes exclude the batch axis: (H, W, C) for pictures,
(units,) for vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .activations import Dropout, LeakyReLU, PReLU, ReLU, Sigmoid, SpatialDropout2D, Tanh
from .base import CustomLayer, Layer, Shape, UnknownLayerError, entry_for
from .dense import Dense, Flatten
from .normalization import BatchNorm, ScaleShift
from .residual import Add, Residual
from .windows import (
    AveragePool2D,
    Conv2D,
    DepthwiseConv2D,
    GlobalAveragePool2D,
    MaxPool2D,
    WindowLayer,
)

LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        *(Conv2D, DepthwiseConv2D, MaxPool2D, AveragePool2D, GlobalAveragePool2D),
        *(ReLU, LeakyReLU, PReLU, Sigmoid, Tanh, Flatten, Dense, Dropout, SpatialDropout2D),
        *(BatchNorm, ScaleShift, Residual),
    )
}
"""The kinds of layers that a network can be made of, by name."""

STEP_LAYERS: tuple[type[Layer], ...] = (
    *(kind for kind in LAYERS.values() if kind is not Residual),
    Add,
)
"""The kinds of layers that the steps of a plan have: what every table of layers has entries for."""


def layer_from_config(
    config: Mapping[str, Any], custom_layers: Sequence[type[Layer]] = ()
) -> Layer:
    """The layer whose `Layer.config` is given; ValueError if there is no such layer.

    custom_layers  classes that are allowed besides LAYERS
    """
    values = dict(config)
    kind = values.pop("kind", None)
    known = {**LAYERS, **{own.__name__: own for own in custom_layers}}
    if kind not in known:
        raise ValueError(
            f"layer kind is {kind!r}; expected one of {', '.join(known)} (a class of your own is "
            "named in custom_layers)"
        )
    try:
        if kind == "Residual":
            for name in ("layers", "shortcut"):
                branch = values.get(name, [])
                values[name] = [layer_from_config(inner, custom_layers) for inner in branch]
        return known[kind](**values)
    except TypeError as error:
        raise ValueError(f"layer {kind} cannot be made from {values}: {error}") from None


__all__ = [
    "LAYERS",
    "STEP_LAYERS",
    "Add",
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "CustomLayer",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "PReLU",
    "ReLU",
    "Residual",
    "ScaleShift",
    "Shape",
    "Sigmoid",
    "SpatialDropout2D",
    "Tanh",
    "UnknownLayerError",
    "WindowLayer",
    "entry_for",
    "layer_from_config",
]
