"""The graph of an ONNX model while it is written, and its nodes that scale the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..input_spec import InputSpec
from ..plan import Step


class Graph:
    """The nodes and constants of a model so far.

    parameters  of the network, by name ("conv1.w")
    inputs      names of the values that the layer reads
    last        name of the newest value: the layer's first input until it adds a node
    """

    def __init__(self, parameters: Mapping[str, np.ndarray]) -> None:
        from onnx import helper, numpy_helper

        self.parameters = parameters
        self.make_node, self.from_array = helper.make_node, numpy_helper.from_array
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "images"
        self.inputs: list[str] = []

    def add(self, operation: str, output: str, *others: str, **attributes: Any) -> None:
        """output = operation(last, others...), an ONNX operator with its attributes."""
        self.nodes.append(
            self.make_node(operation, [self.last, *others], [output], output, **attributes)
        )
        self.last = output

    def constant(self, name: str, values: npt.ArrayLike) -> str:
        """Store values under `name`, as float32.  Returns the name."""
        self.constants.append(self.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def parameter(self, name: str, axes: Sequence[int] | None = None) -> str:
        """Store the network's parameter of that name, with its axes in the order `axes`."""
        values = self.parameters[name]
        return self.constant(name, values if axes is None else values.transpose(axes))

    def per_channel(self, step: Step, short: str) -> str:
        """Store a parameter (C,) of a layer so that it is broadcast to the layer's output."""
        name = f"{step.name}.{short}"
        shape = (-1, 1, 1) if len(step.output_shape) == 3 else (-1,)
        return self.constant(name, self.parameters[name].reshape(shape))


def add_scaling(graph: Graph, spec: InputSpec) -> None:
    """Scale the pixels, by the formulas of kernels/scale_images.py.  `load_network` knows these
    nodes again."""
    if spec.scaling == "unit":
        graph.add("Div", "scaled", graph.constant("255", 255))
    elif spec.scaling == "standardized":
        graph.add("ReduceMean", "mean", axes=[1, 2, 3], keepdims=1)
        graph.last = "images"
        graph.add("Sub", "centred", "mean")
        graph.add("Mul", "squared", "centred")
        graph.add("ReduceMean", "variance", axes=[1, 2, 3], keepdims=1)
        graph.add("Sqrt", "deviation")
        graph.add("Max", "divisor", graph.constant("floor", 1 / np.sqrt(np.prod(spec.shape))))
        graph.last = "centred"
        graph.add("Div", "scaled", "divisor")
    operators = {"mean": ("Sub", "shifted"), "std": ("Div", "normalized")}
    for name, values in per_channel(spec).items():  # pictures are still (N, H, W, C)
        operator, output = operators[name]
        graph.add(operator, output, graph.constant(f"channel_{name}", values))


def per_channel(spec: InputSpec) -> dict[str, tuple[float, ...]]:
    """The spec's mean and std, in this order, if they are given."""
    return {name: values for name, values in (("mean", spec.mean), ("std", spec.std)) if values}
