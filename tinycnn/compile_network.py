"""Compiles the kernels of a network that is described by a text, in a process of its own."""

from __future__ import annotations

import json

from .input_spec import InputSpec
from .layers import layer_from_config
from .network import Network


def compile_prediction(description: str) -> None:
    """Compile what prediction needs and keep it in the cache.  description: as
    `first_predictions.description` gives it."""
    values = json.loads(description)
    layers = [layer_from_config(config) for config in values["layers"]]
    spec = InputSpec(*values["input_shape"])
    Network(layers, spec, dtype=values["dtype"], backend="numba", n_threads=1).load_kernels()
