"""Weights from PyTorch: the state_dict of a module, saved as a safetensors file.

    safetensors.torch.save_file(module.state_dict(), "module.safetensors")        # in PyTorch
    load_torch_weights(network, "module.safetensors", {"conv1": "features.0", "dense1": "fc"})

PyTorch stores convolutions as OIHW, dense layers as (units, fan_in), and flattens pictures in the
order C, H, W.  Here they are HWIO, (fan_in, units) and H, W, C.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np

from ..ground.messages import plain
from ..layers import (
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Layer,
    PReLU,
    entry_for,
)
from ..network import Network
from ..plan import NETWORK_INPUT, Plan, Step
from .safetensors import ModelFileError, read

Order = np.ndarray | None
"""Of each value of a vector, its place in the same vector in PyTorch; None if they are the same."""


def load_torch_weights(network: Network, path: str | os.PathLike, names: Mapping[str, str]) -> None:
    """Set all parameters and statistics of a network to those of a PyTorch module.

    path   a safetensors file with the module's state_dict
    names  of each layer with parameters ("conv1"), the submodule's name in PyTorch ("features.0")
    Raises FileNotFoundError; ModelFileError for a damaged file, and for a tensor that is missing,
    left over, not finite or of another shape than the layer's; ValueError for wrong keys of
    `names`; UnknownLayerError for a layer that PARAMETERS does not have.  Then nothing has changed.
    """
    own = {**network.plan.parameter_slots, **network.plan.statistic_slots}
    layers = {name.rpartition(".")[0] for name in own}
    if set(names) != layers:
        raise ValueError(
            f"names has the keys {', '.join(sorted(names))}; expected the layers with parameters: "
            f"{', '.join(sorted(layers))}"
        )
    tensors, _ = read(path)
    taken: dict[str, np.ndarray] = {}
    used: set[str] = set()
    orders = _orders(network.plan)
    for step in network.plan.steps:
        if step.name not in layers:
            continue
        parts = entry_for(step.layer, PARAMETERS, "tinycnn.formats.torch_weights.PARAMETERS")
        order = orders[step.inputs[0]]
        for short, (theirs, converted) in parts.items():
            name = f"{step.name}.{short}"
            if name not in own:  # a layer without bias
                continue
            source = f"{names[step.name]}.{theirs}"
            if source not in tensors:
                raise ModelFileError(f"{path}: no tensor {source!r} for {name}")
            taken[name] = _converted(path, source, tensors[source], converted, step, order)
            if taken[name].shape != own[name][1]:
                raise ModelFileError(
                    f"{path}: {source!r} has shape {tensors[source].shape}, which does not fit "
                    f"{name} of shape {own[name][1]}"
                )
            used.add(source)
    left = [n for n in tensors if n not in used and not n.endswith(".num_batches_tracked")]
    if left:
        some = ", ".join(plain(name) for name in sorted(left)[:5])
        raise ModelFileError(f"{path}: the network has no layer for {some} ({len(left)} tensors)")
    network.set_parameters(taken)


Converted = Callable[[np.ndarray, Step, Order], np.ndarray]


def _converted(
    path: str | os.PathLike,
    source: str,
    tensor: np.ndarray,
    converted: Converted,
    step: Step,
    order: Order,
) -> np.ndarray:
    """A tensor of PyTorch in our layout.  ModelFileError for one that cannot be used."""
    if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
        raise ModelFileError(f"{path}: {source!r} is {tensor.dtype}, or not finite")
    try:
        return converted(tensor, step, order)
    except (ValueError, IndexError):
        raise ModelFileError(
            f"{path}: {source!r} has shape {tensor.shape}, which does not fit the layer {step.name}"
        ) from None


def _as_it_is(tensor: np.ndarray, step: Step, order: Order) -> np.ndarray:
    return tensor


def _per_channel(tensor: np.ndarray, step: Step, order: Order) -> np.ndarray:
    """One value for each channel, or one for all."""
    values = np.broadcast_to(tensor, step.input_shape[-1:])
    return values if order is None else values[order]


def _conv2d(tensor: np.ndarray, step: Step, order: Order) -> np.ndarray:
    return tensor.transpose(2, 3, 1, 0)


def _depthwise(tensor: np.ndarray, step: Step, order: Order) -> np.ndarray:
    """(C * M, 1, KH, KW) -> (KH, KW, C, M)"""
    n_filters, one, KH, KW = tensor.shape
    C = step.input_shape[2]
    return tensor.reshape(C, n_filters // C * one, KH, KW).transpose(2, 3, 0, 1)


def _dense(tensor: np.ndarray, step: Step, order: Order) -> np.ndarray:
    return tensor.T if order is None else tensor.T[order]


PARAMETERS: dict[type[Layer], dict[str, tuple[str, Converted]]] = {
    Conv2D: {"w": ("weight", _conv2d), "b": ("bias", _as_it_is)},
    DepthwiseConv2D: {"w": ("weight", _depthwise), "b": ("bias", _as_it_is)},
    Dense: {"w": ("weight", _dense), "b": ("bias", _as_it_is)},
    BatchNorm: {
        "gamma": ("weight", _per_channel),
        "beta": ("bias", _per_channel),
        "running_mean": ("running_mean", _per_channel),
        "running_var": ("running_var", _per_channel),
    },
    PReLU: {"alpha": ("weight", _per_channel)},
}
"""Layer class -> of each parameter, its name in PyTorch and what changes its layout."""


def _orders(plan: Plan) -> dict[int, Order]:
    """Of each step's output, how PyTorch orders it: Flatten changes it, Dense does not depend on
    it, all other layers of vectors keep it."""
    orders: dict[int, Order] = {NETWORK_INPUT: None}
    for number, step in enumerate(plan.steps):
        orders[number] = orders[step.inputs[0]]
        if isinstance(step.layer, Dense) or len(step.output_shape) == 3:
            orders[number] = None
        elif isinstance(step.layer, Flatten) and len(step.input_shape) == 3:
            H, W, C = step.input_shape
            orders[number] = np.arange(H * W * C).reshape(C, H, W).transpose(1, 2, 0).ravel()
    return orders
