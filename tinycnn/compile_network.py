"""Compiles the kernels of a network that is described by a text, in a process of its own."""

from __future__ import annotations

import json

import numpy as np

from . import second_compiler
from .input_spec import InputSpec
from .layers import Flatten, Layer, ScaleShift, layer_from_config
from .needed_functions import functions_of_network
from .network import Network


def compile_prediction(description: str) -> None:
    """Compile what prediction needs and keep it in the cache.  description: as
    `first_predictions.description` gives it."""
    network = _described(description)
    with second_compiler.helping(network.plan, network.dtype, training=False, is_asked=True):
        network.load_kernels()


def compile_backwards(job: str) -> None:
    """Compile what prediction or training needs, the last part first.  job: as
    `second_compiler.start` makes it."""
    values = json.loads(job)
    network = _described(values["description"])
    # What every network needs is the last part.
    small = _network([Flatten(), ScaleShift()], InputSpec(1, 1), network.dtype)
    small.load_kernels(training=values["training"])
    functions = functions_of_network(network.plan, network.parameter_vector, values["training"])
    for kind, function in reversed(functions):
        kind.address(function, network.dtype)
    second_compiler.note(network.plan, network.dtype, values["training"])


def _described(description: str) -> Network:
    values = json.loads(description)
    layers = [layer_from_config(config) for config in values["layers"]]
    return _network(layers, InputSpec(*values["input_shape"]), np.dtype(values["dtype"]))


def _network(layers: list[Layer], spec: InputSpec, dtype: np.dtype) -> Network:
    return Network(layers, spec, dtype=dtype, backend="numba", n_threads=1)
