"""What is known while the nodes of an ONNX graph are read, and checks of their inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...layers import Layer
from .errors import Budget
from .layer_graph import LayerGraph
from .nodes import OnnxNode
from .values import ADDED, Value, is_complete, per_channel

Given = Value | np.ndarray | None
"""An input of a node: it depends on the network's input, or it is a constant, or left out."""


@dataclass
class Reading:
    """What is known while the nodes are read.

    batched     the first axis of the network's input is the batch, of which this is one image
    batch_size  number of images that the file's shapes are made for; 1 if any number
    unbiased_running_var  as in BatchNorm: how the file's program updates running variances
    pictures    shapes of three axes that the nodes gave to an image
    n_read      number of nodes that were read
    notes       what a user should know about the network
    classes     names of the classes, if a node has them
    """

    graph: LayerGraph
    budget: Budget
    batched: bool = True
    batch_size: int = 1
    unbiased_running_var: bool = False
    pictures: list[tuple[int, ...]] = field(default_factory=list)
    n_read: int = 0
    notes: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()

    def value(self, node: OnnxNode, inputs: Sequence[Given], k: int = 0) -> Value:
        """Input number k of a node, which must be computed from the network's input.

        NotUsable if it is a constant or left out.
        """
        value = inputs[k] if k < len(inputs) else None
        if not isinstance(value, Value):
            raise node.error(
                f"input {k + 1} is a constant or left out; expected something that is computed "
                "from the network's input"
            )
        return value

    def constant(self, node: OnnxNode, inputs: Sequence[Given], k: int, what: str) -> np.ndarray:
        """Input k, which must be a constant: weights."""
        array = self.constant_or_none(node, inputs, k, what)
        if array is None:
            raise node.error(f"input {k + 1}, {what}, is missing")
        return array

    def constant_or_none(
        self, node: OnnxNode, inputs: Sequence[Given], k: int, what: str
    ) -> np.ndarray | None:
        value = inputs[k] if k < len(inputs) else None
        if isinstance(value, Value):
            raise node.error(
                f"input {k + 1}, {what}, is computed from the network's input; the layers of "
                "tinycnn have constant weights"
            )
        return value

    def constants_only(self, node: OnnxNode, inputs: Sequence[Given]) -> list[np.ndarray | None]:
        """All inputs behind the first, for the functions of constants.py; the first is None."""
        rest = range(1, len(inputs))
        return [None, *(self.constant_or_none(node, inputs, k, "a setting") for k in rest)]

    def layer(self, node: OnnxNode, layer: Layer, value: Value, **arrays: np.ndarray) -> Value:
        """The tensor behind a layer that keeps every value at its place."""
        return replace(value, source=self.graph.add(layer, value.source, node, arrays))

    def reshaped(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The same values in the same order, in another shape."""
        if len(shape) == 4:
            self.pictures.append(shape[1:])
        return value.moved(value.places.reshape(shape))

    def complete(self, node: OnnxNode, value: Value) -> Value:
        """The tensor itself, if it has every value of its layer once."""
        self.budget.spend(value.places.size)
        if not is_complete(value, math.prod(self.graph.shape(value.source))):
            what = "zeros that a Pad added" if (value.places == ADDED).any() else "a part of them"
            raise node.error(
                f"its input is the output of a layer with {what}; Pad is read in front of a "
                "convolution or pooling, and nothing may cut a picture"
            )
        return value

    def channels(
        self, node: OnnxNode, value: Value, *constants: np.ndarray
    ) -> tuple[Value, list[np.ndarray]]:
        """For a node that adds constants to a tensor or multiplies with them: the tensor, and each
        constant as a vector (C,) with a number for each channel.

        The channels are those of the layer whose output the tensor is.  If the tensor is (N, K),
        that output is flattened first, so that each of the K values is a channel.
        """
        self.complete(node, value)
        shape = np.broadcast_shapes(value.shape, *(constant.shape for constant in constants))
        if math.prod(shape) != value.places.size:
            raise node.error(
                f"a constant of {constants[0].shape} makes a tensor of {value.shape} larger"
            )
        value = value.moved(value.places.reshape(shape))
        if len(value.shape) == 2:
            value = replace(value, source=self.graph.flattened(value.source))
        own_shape = self.graph.shape(value.source)
        for _ in constants:
            self.budget.spend(value.places.size)
        vectors = [per_channel(value, constant, own_shape) for constant in constants]
        found = [vector for vector in vectors if vector is not None]
        if len(found) < len(vectors):
            raise node.error(
                f"a constant of shape {constants[0].shape} differs between the pixels of a channel "
                f"of {own_shape}; the nearest is one number for each channel"
            )
        return value, found


Reader = Callable[[OnnxNode, Sequence[Given], Reading], Given]
"""Appends the layers of a node to the graph of a Reading, and returns the node's output.

All inputs are given; at least one depends on the network's input.  Raises NotUsable.
"""
