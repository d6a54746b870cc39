"""Compiles the kernels of a network that is described by a text, in a process of its own."""

from __future__ import annotations

import json

import numpy as np

from . import second_compiler
from .folding import fold
from .input_spec import InputSpec
from .layers import Flatten, Layer, ScaleShift, layer_from_config
from .network import Network


def compile_prediction(description: str) -> None:
    """Compile what prediction needs and keep it in the cache.  description: as
    `first_predictions.description` gives it."""
    network = _described(description)
    with second_compiler.helping(network.plan, network.dtype, training=False, is_asked=True):
        network.load_kernels()


def compile_backwards(job: str) -> None:
    """Compile the same, and for training what that needs, but the last part first: see
    `second_compiler.py`, whose jobs have the texts."""
    values = json.loads(job)
    network = _described(values["description"])
    # What every network needs comes last in the other process.
    small = _network([Flatten(), ScaleShift()], InputSpec(1, 1), network.dtype)
    small.load_kernels(training=values["training"])
    for compile_one in reversed(_parts(network, values["training"])):
        compile_one()
    second_compiler.note(network.plan, network.dtype, values["training"])


def _parts(network: Network, training: bool) -> list:
    """Functions that each compile a part of what a network needs, in the order in which a
    `KernelBackend` compiles them."""
    from .kernels.linking import PREDICTION, TRAINING, parts
    from .kernels.table import make_operations

    plan, dtype = network.plan, network.dtype
    table = make_operations(plan, dtype)
    folded = table
    if table.sizes.n_moments:
        folded = make_operations(fold(plan, network.parameter_vector, into_dense=False)[0], dtype)
    found = parts(folded.operations, dtype, PREDICTION)
    return [*found, *parts(table.operations, dtype, TRAINING)] if training else found


def _described(description: str) -> Network:
    values = json.loads(description)
    layers = [layer_from_config(config) for config in values["layers"]]
    return _network(layers, InputSpec(*values["input_shape"]), np.dtype(values["dtype"]))


def _network(layers: list[Layer], spec: InputSpec, dtype: np.dtype) -> Network:
    return Network(layers, spec, dtype=dtype, backend="numba", n_threads=1)
