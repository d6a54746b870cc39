"""The head of a network, its last layer with weights, for other classes than it was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .evaluation import check_network
from .input_spec import InputSpec
from .layers import Conv2D, Dense, Dropout, GlobalAveragePool2D, Layer
from .network import Network
from .plan import layer_names, of_step

AFTER_THE_HEAD = (Dropout, GlobalAveragePool2D)
"""Layers that may follow the head; each channel of their output is one of its units."""


def with_classes(
    network: Network,
    classes: Sequence[str],
    *,
    canonical_name: Callable[[str], str] = str.lower,
    seed: int = 0,
) -> Network:
    """A network for `classes` that keeps all weights of `network` but those of other classes.

    In the head, the last dense layer (or a last convolution before a global average), a class that
    `network` has keeps its column of weights and its bias; a new class gets new weights (Xavier
    uniform, bias 0).  All other layers keep their weights and statistics.  The new network has
    arrays of its own, and no calibration.

    classes         names, in the order of the new network's logits
    canonical_name  names with the same result are one class: `ferdata.labels.canonical_name` knows
                    that "happy" is "happiness".  By default only upper and lower case are the same
    seed            for the new weights
    Raises ValueError if the classes are no distinct names, or if the network ends in other layers.
    """
    check_network(network)
    if isinstance(classes, str):
        raise ValueError(f"classes is {classes!r}; expected a list of names")
    spec = replace(network.input_spec, classes=tuple(classes))
    if not spec.classes:
        raise ValueError("classes is empty; expected the names of the new network's classes")
    kept = kept_classes(network.classes, spec.classes, canonical_name)
    return with_head(network, spec, kept, seed=seed)


def kept_classes(
    old: Sequence[str], new: Sequence[str], canonical_name: Callable[[str], str] = str.lower
) -> dict[str, str]:
    """{new class: the old class that is the same}, for the new classes that have one."""
    by_name = {canonical_name(name): name for name in reversed(old)}
    found = {name: name if name in old else by_name.get(canonical_name(name)) for name in new}
    return {name: same for name, same in found.items() if same is not None}


def with_head(
    network: Network,
    spec: InputSpec,
    kept: dict[str, str],
    *,
    bias_std: float = 0.0,
    backend: str | None = None,
    n_threads: int | None = None,
    seed: int = 0,
) -> Network:
    """`with_classes` for known `kept_classes`.  spec: that of `network` with other classes;
    bias_std: deviation of the biases of new classes; backend: None is that of `network`."""
    position = head_position(network.layers)
    head = network.layers[position]
    names = spec.classes
    if isinstance(head, Dense):
        head = replace(head, units=len(names))
    else:
        assert isinstance(head, Conv2D)
        head = replace(head, filters=len(names))
    layers = [*network.layers[:position], head, *network.layers[position + 1 :]]
    made = Network(
        layers, spec, backend=backend or network.backend, dtype=network.dtype,
        n_threads=n_threads or network._threads.argument, seed=seed,
    )  # fmt: skip
    made.initialise(np.random.default_rng([seed, 0]), bias_std=bias_std)
    head_name = _head_name(network)
    for old, new in ((network.parameters, made.parameters), (network.statistics, made.statistics)):
        for name, array in old.items():
            if name.rsplit(".", 1)[0] != head_name:
                new[name][:] = array
    step = next(step for step in network.plan.steps if step.name == head_name)
    for short, array in of_step(step, network.parameters).items():
        for name, same in kept.items():
            column = made.parameters[f"{head_name}.{short}"][..., names.index(name)]
            column[...] = array[..., network.classes.index(same)]
    return made


def head_position(layers: Sequence[Layer]) -> int:
    """The index of the head among the layers.  Raises ValueError if they end in others."""
    k = len(layers) - 1
    while k > 0 and isinstance(layers[k], AFTER_THE_HEAD):
        k -= 1
    is_convolution = isinstance(layers[k], Conv2D) and k < len(layers) - 1
    if not isinstance(layers[k], Dense) and not is_convolution:
        raise ValueError(
            f"the network ends in {type(layers[k]).__name__}; expected a last Dense layer, whose "
            "columns are the classes"
        )
    return k


def _head_name(network: Network) -> str:
    """The name of the head in the plan."""
    return list(layer_names(network.layers))[head_position(network.layers)]


def rate_factors(network: Network, first_layers_rate: float) -> tuple[tuple[int, float], ...]:
    """The optimizer's `rate_factors` for the network's trained_vector: all layers before the head
    learn with `first_layers_rate` times the learning rate.  Raises ValueError as `head_position`,
    and for a factor that is not a number of 0 or more.
    """
    is_number = isinstance(first_layers_rate, (int, float, np.number))
    if not is_number or not 0 <= first_layers_rate < math.inf:
        raise ValueError(f"first_layers_rate is {first_layers_rate!r}; expected 0 or more")
    if first_layers_rate == 1:
        return ()
    position = head_position(network.layers)
    if not position:
        return ()
    offset, _ = network.plan.parameter_slots[f"{_head_name(network)}.w"]
    n_frozen = network.plan.n_trained_slots - network.trained_vector.size
    return ((offset - n_frozen, float(first_layers_rate)),)
