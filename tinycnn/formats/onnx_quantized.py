"""A quantised network as an ONNX model: ONNX's operators in float32 between QuantizeLinear and
DequantizeLinear ("QDQ"), which runtimes replace by operators on integers.

Input, output and metadata are those of `onnx.py`.  Weights are int8 with a scale for each filter,
biases int32, values uint8 with one scale.  A runtime may round sums of a pooling or of an Add to
the other of two nearest integers, so logits agree to about a hundredth of the largest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ground.atomic_file import write_atomically
from ..layers import Dense, Shape, entry_for
from ..plan import NETWORK_INPUT
from ..quantized.network import QuantizedNetwork
from ..quantized.program import WITH_WEIGHTS, Operation
from ..quantized.quantization import Quantization
from ..testing import logit_error
from .agreement import ExportError, images_of_shape
from .onnx import NODES, checked_model, finished_model, run_model
from .onnx_graph import Graph, add_scaling

TOLERANCE = 0.1
"""Largest allowed difference of logits, as a part of the largest: values of 8 bits that a runtime
rounds otherwise differ by far less, a wrong graph by more."""


def save_quantized(network: QuantizedNetwork, path: str | os.PathLike) -> None:
    """Write `network` to `path` as ONNX, after onnx's checker and a comparison of logits.

    Raises, before anything is written: ImportError without onnx, UnknownLayerError for a layer that
    `onnx.NODES` does not have, ExportError where the model disagrees with the network.  OSError: it
    cannot be written.
    """
    model = checked_model(str(path), lambda: quantized_model(network))
    images = images_of_shape(network.input_spec.shape)
    found = run_model(model, images.astype(np.float32))
    error = logit_error(found, network.predict_logits(images))
    if not error <= TOLERANCE:
        raise ExportError(
            f"{path}: its logits differ from the network's by {error:.1e} of the largest; at most "
            f"{TOLERANCE:.0e} is allowed.  Nothing was written"
        )
    write_atomically(path, model.SerializeToString())


class QuantizedGraph(Graph):
    """A graph that stores quantised parameters as integers.

    quantized  of a parameter's name: its scales, and the axis of the filters
    """

    def __init__(self) -> None:
        super().__init__({})
        self.named: dict[str, np.ndarray] = {}
        self.quantized: dict[str, tuple[np.ndarray, int]] = {}
        self.parameters = self.named
        self.n_added = 0

    def constant(self, name: str, values: npt.ArrayLike) -> str:
        if name not in self.quantized:
            return super().constant(name, values)
        scale, axis = self.quantized[name]
        integers = np.ascontiguousarray(values)
        zeros = self._stored(f"{name}_zero", np.zeros(len(scale), integers.dtype))
        inputs = [self._stored(f"{name}_integers", integers)]
        inputs += [self._stored(f"{name}_scale", scale), zeros]
        self.nodes.append(self.make_node("DequantizeLinear", inputs, [name], name, axis=axis))
        return name

    def _stored(self, name: str, values: np.ndarray) -> str:
        self.constants.append(self.from_array(np.array(values, order="C"), name))
        return name

    def convert(self, operator: str, quantization: Quantization, output: str) -> None:
        """QuantizeLinear or DequantizeLinear of the last value."""
        scale = self._stored(f"{output}_scale", np.array(quantization.scale, np.float32))
        zero = self._stored(f"{output}_zero", np.array(quantization.zero_point, np.uint8))
        self.add(operator, output, scale, zero)

    def new_name(self, stem: str) -> str:
        self.n_added += 1
        return f"{stem}_{self.n_added}"


def quantized_model(network: QuantizedNetwork) -> Any:
    """The onnx.ModelProto, unchecked."""
    program = network.program
    graph = QuantizedGraph()
    add_scaling(graph, network.input_spec)
    graph.add("Transpose", "images_nchw", perm=[0, 3, 1, 2])
    graph.convert("QuantizeLinear", program.input, "images_quantized")
    values = {NETWORK_INPUT: graph.last}
    for k, operation in enumerate(program.operations):
        graph.inputs = []
        for number in operation.inputs:
            graph.last = values[number]
            _reshape(graph, program.shape(number), operation.step.input_shape)
            name = graph.new_name(f"{operation.step.name}_input")
            graph.convert("DequantizeLinear", program.quantization(number), name)
            graph.inputs.append(graph.last)
        graph.last = graph.inputs[0]
        _keep_arrays(graph, operation, program.quantization(operation.inputs[0]))
        if operation.kind != "copy":
            entry_for(operation.step.layer, NODES, "tinycnn.formats.onnx.NODES")(
                graph, operation.step
            )
        else:
            _reshape(graph, operation.step.input_shape, operation.shape)
        _add_relu(graph, operation)
        if operation.output is not None:
            graph.convert("QuantizeLinear", operation.output, f"{operation.step.name}_quantized")
        values[k] = graph.last
    last = program.operations[-1]
    if last.output is not None:
        graph.convert("DequantizeLinear", last.output, "last_values")
        _reshape(graph, last.shape, program.plan.output_shape)
    graph.add("Identity", "logits")
    return finished_model(graph, network.input_spec, network.calibration_temperature)


def _reshape(graph: QuantizedGraph, shape: Shape, wanted: Shape) -> None:
    """A picture as a vector, which runs H, W, C, if a vector is wanted."""
    if len(shape) == 3 and len(wanted) == 1:
        graph.add("Transpose", graph.new_name("nhwc"), perm=[0, 2, 3, 1])
        graph.add("Flatten", graph.new_name("vector"), axis=1)


def _add_relu(graph: QuantizedGraph, operation: Operation) -> None:
    if operation.ceiling == math.inf:
        graph.add("Relu", f"{operation.step.name}_relu")
    elif operation.ceiling is not None:
        limits: Mapping[str, float] = {"min": 0.0, "max": operation.ceiling}
        names = [graph.constant(f"{operation.step.name}.{n}", v) for n, v in limits.items()]
        graph.add("Clip", f"{operation.step.name}_clipped", *names)


def _keep_arrays(graph: QuantizedGraph, operation: Operation, x: Quantization) -> None:
    """Give the graph the layer's parameters, as the functions in NODES read them."""
    name, arrays = operation.step.name, operation.arrays
    if operation.kind not in WITH_WEIGHTS:
        own = {f"{name}.{short}": a for short, a in arrays.items() if a.dtype == np.float32}
        graph.named.update(own)
        return
    scale, w = arrays["scale"], arrays["w"]
    if operation.kind == "depthwise":
        w = w.reshape(*w.shape[:2], operation.step.input_shape[2], -1)
    graph.named[f"{name}.w"], graph.named[f"{name}.b"] = w, arrays["b"]
    graph.quantized[f"{name}.w"] = scale, 1 if isinstance(operation.step.layer, Dense) else 0
    graph.quantized[f"{name}.b"] = x.scale * scale, 0
