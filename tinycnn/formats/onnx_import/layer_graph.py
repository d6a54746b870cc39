"""The network as a graph of our layers, and from there to a list with Residuals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ...layers import (
    Add,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Layer,
    Residual,
    ScaleShift,
    Shape,
)
from ...plan import NETWORK_INPUT
from .errors import NotUsable

MAX_NESTED = 32
"""Most Residuals inside one another."""


@dataclass(frozen=True)
class LayerNode:
    """A layer with its parameters and statistics by short name (float64 or as in the file).

    inputs  numbers of the layers that it reads, or NETWORK_INPUT; an Add has two
    origin  the ONNX node it comes from, for messages
    """

    layer: Layer
    arrays: Mapping[str, np.ndarray]
    inputs: tuple[int, ...]
    shape: Shape
    origin: str


@dataclass
class LayerGraph:
    """Layers in an order in which each comes after those that it reads."""

    input_shape: Shape
    nodes: list[LayerNode] = field(default_factory=list)
    _flattened: dict[int, int] = field(default_factory=dict)

    def shape(self, number: int) -> Shape:
        """The shape of the output of that layer."""
        return self.input_shape if number == NETWORK_INPUT else self.nodes[number].shape

    def add(
        self, layer: Layer, source: int, origin: object, arrays: Mapping[str, np.ndarray]
    ) -> int:
        """Append a layer behind the layer `source`; returns its number.

        Raises NotUsable if it cannot take that layer's output.
        """
        given = self.shape(source)
        try:
            shape = layer.output_shape(given)
        except ValueError as error:
            raise NotUsable(f"{origin}: {error}") from None
        self.nodes.append(LayerNode(layer, arrays, (source,), shape, str(origin)))
        return len(self.nodes) - 1

    def add_sum(self, first: int, second: int, origin: object) -> int:
        """Append the sum of two layers' outputs, which have the same shape."""
        shape = self.shape(first)
        self.nodes.append(LayerNode(Add(), {}, (first, second), shape, str(origin)))
        return len(self.nodes) - 1

    def flattened(self, source: int) -> int:
        """The number of a layer with the same output as a vector: `source`, or a Flatten."""
        if len(self.shape(source)) == 1:
            return source
        if source not in self._flattened:
            self._flattened[source] = self.add(Flatten(), source, "Flatten", {})
        return self._flattened[source]


# ---- constants that belong to one another ----------------------------------------------------


def merged(graph: LayerGraph, end: int) -> tuple[LayerGraph, int]:
    """The part of the graph that leads to layer `end`, with fewer ScaleShifts.

    Two after one another become one, and a shift behind a convolution or dense layer without bias
    becomes its bias.  Returns the graph and its last layer.
    """
    uses = Counter({end: 1})
    for k in range(len(graph.nodes) - 1, -1, -1):
        if uses[k]:
            uses.update(graph.nodes[k].inputs)
    kept = LayerGraph(graph.input_shape)
    number = {NETWORK_INPUT: NETWORK_INPUT}
    for k, node in enumerate(graph.nodes):
        if not uses[k]:
            continue
        first = node.inputs[0]
        source = number[first]
        before = kept.nodes[source] if source != NETWORK_INPUT and uses[first] == 1 else None
        joined = _joined(before, node)
        if joined is not None:
            kept.nodes[source] = joined
        else:
            kept.nodes.append(replace(node, inputs=tuple(number[i] for i in node.inputs)))
            source = len(kept.nodes) - 1
        number[k] = source
    return kept, number[end]


def _joined(before: LayerNode | None, node: LayerNode) -> LayerNode | None:
    """A ScaleShift and the layer before it as one layer; None if they stay two.

    before  None if another layer reads it too
    """
    if before is None or not isinstance(node.layer, ScaleShift):
        return None
    scale, shift = node.arrays["scale"], node.arrays["shift"]
    layer, arrays = before.layer, before.arrays
    if isinstance(layer, ScaleShift):
        both = {"scale": arrays["scale"] * scale, "shift": arrays["shift"] * scale + shift}
        return replace(before, arrays=both)
    if not isinstance(layer, (Conv2D, DepthwiseConv2D, Dense)):
        return None
    if layer.use_bias or not (scale == 1).all():
        return None
    return replace(before, layer=replace(layer, use_bias=True), arrays={**arrays, "b": shift})


# ---- Residuals -------------------------------------------------------------------------------


Parts = list[tuple[Layer, list[LayerNode]]]
"""Layers one after the other, each with the nodes that it consists of: several for a Residual."""


def as_list(graph: LayerGraph, end: int) -> tuple[list[Layer], list[LayerNode]]:
    """The layers that lead to layer `end`, with a Residual for each sum.

    Also returns the layers' nodes in the order in which a plan has their steps, without the Adds.
    The branches of a sum begin at the last layer that all ways to both summands pass: the nearest
    common dominator.  Raises NotUsable if a layer would be in two branches.
    """
    dominator = _dominators(graph)
    placed: set[int] = set()

    def chain(start: int, last: int, n_nested: int) -> Parts:
        """The layers behind `start` up to `last`, each with the nodes that it consists of."""
        if n_nested > MAX_NESTED:
            raise NotUsable(f"more than {MAX_NESTED} sums inside one another")
        parts: Parts = []
        while last != start:
            node = graph.nodes[last]
            if last in placed:
                raise NotUsable(
                    f"{node.origin}: its output goes into sums that overlap; tinycnn adds branches "
                    "that lie side by side or inside one another, as Residual does"
                )
            placed.add(last)
            if not isinstance(node.layer, Add):
                parts.append((node.layer, [node]))
                last = node.inputs[0]
                continue
            last = dominator[last]
            one, other = (chain(last, branch, n_nested + 1) for branch in node.inputs)
            parts.append(_sum(one, other, node))
        return parts[::-1]

    parts = chain(NETWORK_INPUT, end, 0)
    return [layer for layer, _ in parts], [node for _, nodes in parts for node in nodes]


def _sum(one: Parts, other: Parts, node: LayerNode) -> tuple[Layer, list[LayerNode]]:
    """The sum of two branches as a Residual.  The longer branch comes first."""
    if len(one) < len(other):
        one, other = other, one
    if not one:  # x + x
        ones = np.ones(node.shape[-1:])
        double = replace(node, layer=ScaleShift(), arrays={"scale": 2 * ones, "shift": 0 * ones})
        return double.layer, [double]
    body, shortcut = (tuple(layer for layer, _ in branch) for branch in (one, other))
    nodes = [inner for branch in (one, other) for _, nodes in branch for inner in nodes]
    return Residual(body, shortcut), nodes


def _dominators(graph: LayerGraph) -> dict[int, int]:
    """Of each layer, the last layer before it that every way to it passes."""
    dominator: dict[int, int] = {}
    depth = {NETWORK_INPUT: 0}  # the number of such layers, one before the other
    for k, node in enumerate(graph.nodes):
        at = node.inputs[0]
        for other in node.inputs[1:]:
            while at != other:  # the deeper one goes up, until both meet
                if depth[at] >= depth[other]:
                    at = dominator[at]
                else:
                    other = dominator[other]
        dominator[k] = at
        depth[k] = depth[at] + 1
    return dominator
