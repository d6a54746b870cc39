"""A network as plain data, which the files of the other engines build their own form from.

They import nothing of tinycnn: its import would count in their start-up time and memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tinycnn.plan import Plan, Step

NETWORK_INPUT = -1

KINDS = {
    "Conv2D": "conv",
    "DepthwiseConv2D": "depthwise",
    "MaxPool2D": "maxpool",
    "GlobalAveragePool2D": "mean",
    "Dense": "dense",
    "BatchNorm": "batch_norm",
    "ReLU": "relu",
    "Flatten": "flatten",
    "Add": "add",
}
"""Class of a layer -> `Node.kind`."""


class Window(NamedTuple):
    """Of a convolution or pooling: size, stride, and padding on each side, vertical first."""

    KH: int
    KW: int
    SH: int
    SW: int
    top: int
    left: int
    bottom: int
    right: int


class Node(NamedTuple):
    """One layer of a network.

    kind         one of the values of KINDS
    name         its parameters are name.w, name.b and so on
    inputs       numbers of the nodes whose outputs it takes; NETWORK_INPUT for the images
    input_shape, shape  of its (first) input and of its output, for one image: (H, W, C) or (units,)
    flattened    of a dense layer behind a "flatten": the shape of the picture before that
    window       of "conv", "depthwise", "maxpool"
    epsilon, momentum  of "batch_norm"; momentum is the share of the old running value
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    flattened: tuple[int, ...] = ()
    window: Window | None = None
    epsilon: float = 0.0
    momentum: float = 0.0


def nodes_of(plan: Plan) -> tuple[Node, ...]:
    """The nodes of a plan, in the order of the forward pass.

    Raises ValueError for a layer that KINDS does not have.
    """
    return tuple(_node(plan, step) for step in plan.steps)


def _node(plan: Plan, step: Step) -> Node:
    from tinycnn.layers import BatchNorm, Flatten, ReLU

    layer = step.layer
    kind = KINDS.get(type(layer).__name__)
    if kind is None or isinstance(layer, ReLU) and layer.max_value is not None:
        raise ValueError(f"the benchmarks cannot build {layer!r} in other engines")
    node = Node(kind, step.name, step.inputs, step.input_shape, step.output_shape)
    if kind in ("conv", "depthwise", "maxpool"):
        node = node._replace(window=Window(*step.window))
    if isinstance(layer, BatchNorm):
        node = node._replace(epsilon=layer.epsilon, momentum=layer.momentum)
    if kind == "dense" and step.inputs[0] != NETWORK_INPUT:
        before = plan.steps[step.inputs[0]]
        if isinstance(before.layer, Flatten):
            node = node._replace(flattened=before.input_shape)
    return node


def to_json(nodes: Sequence[Node]) -> str:
    return json.dumps(nodes)


def from_json(text: str) -> tuple[Node, ...]:
    """The inverse of `to_json`."""
    return tuple(_from_list(values) for values in json.loads(text))


def _from_list(values: list[Any]) -> Node:
    given = dict(zip(Node._fields, values))
    given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    if given["window"] is not None:
        given["window"] = Window(*given["window"])
    return Node(**given)


def no_longer_needed(nodes: Sequence[Node]) -> list[tuple[int, ...]]:
    """For each node, the inputs that no later node takes.  Engines that run node by node free them,
    as a program written by hand would."""
    last_use = {source: k for k, node in enumerate(nodes) for source in node.inputs}
    return [
        tuple(sorted({source for source in node.inputs if last_use[source] == k}))
        for k, node in enumerate(nodes)
    ]


def fused_relu(nodes: Sequence[Node]) -> dict[int, int]:
    """Nodes that a ReLU follows directly, and that nothing else follows -> the number of the
    ReLU."""
    n_users = Counter(source for node in nodes for source in node.inputs)
    return {
        node.inputs[0]: k
        for k, node in enumerate(nodes)
        if node.kind == "relu" and node.inputs[0] >= 0 and n_users[node.inputs[0]] == 1
    }
