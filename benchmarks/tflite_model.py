"""A network as a .tflite model, for LiteRT, without TensorFlow.

It has the operators that TensorFlow's converter writes for such networks: BatchNorm folded, ReLU
part of the operator before it, padding "same" as a word.  The package ai-edge-litert brings the
classes of the file's schema, which the package flatbuffers writes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import NETWORK_INPUT, Node, Window, fused_relu
from .problem import Model

SCHEMA_VERSION = 3


def tflite_model(model: Model, batch: int) -> bytes:
    """The model file, for images (batch, H, W, C); the model has no BatchNorm.

    Raises ImportError without ai-edge-litert, ValueError for padding that has no name.
    """
    return _Writer(model, batch).content()


class _Writer:
    def __init__(self, model: Model, batch: int) -> None:
        import ai_edge_litert.schema_py_generated as schema

        self.schema, self.model, self.batch = schema, model, batch
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]  # the first is empty, by convention
        self.operators: list[Any] = []
        self.codes: list[int] = []

    def content(self) -> bytes:
        import flatbuffers

        schema, nodes = self.schema, self.model.nodes
        shape = (self.batch, *nodes[0].input_shape)
        numbers = {NETWORK_INPUT: self._tensor("images", shape, None)}
        relus = fused_relu(nodes)
        relus = {k: r for k, r in relus.items() if nodes[k].kind in FUSED}
        done = {relu: k for k, relu in relus.items()}
        for k, node in enumerate(nodes):
            if k in done:
                numbers[k] = numbers[done[k]]
                continue
            numbers[k] = self._tensor(f"v{k}", (self.batch, *node.shape), None)
            inputs = [numbers[source] for source in node.inputs]
            self._operator(node, inputs, numbers[k], k in relus)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self.tensors, self.operators, "main"
        graph.inputs, graph.outputs = [numbers[NETWORK_INPUT]], [numbers[len(nodes) - 1]]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = SCHEMA_VERSION, [graph], self.buffers
        model.description = "network"
        model.operatorCodes = [self._code(builtin) for builtin in self.codes]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: tuple[int, ...], values: np.ndarray | None) -> int:
        tensor = self.schema.TensorT()
        types = self.schema.TensorType
        integers = values is not None and values.dtype == np.int32
        tensor.name, tensor.shape = name, list(shape)
        tensor.type = types.INT32 if integers else types.FLOAT32
        if values is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _constant(self, name: str, values: np.ndarray) -> int:
        return self._tensor(name, values.shape, values)

    def _code(self, builtin: int) -> Any:
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, 1
        code.deprecatedBuiltinCode = min(builtin, 127)
        return code

    def _operator(self, node: Node, inputs: list[int], output: int, relu: bool) -> None:
        schema = self.schema
        builtin, options_name = OPERATORS[node.kind]
        operator, options = schema.OperatorT(), getattr(schema, f"{options_name}T")()
        activations = schema.ActivationFunctionType
        if node.kind in FUSED:
            options.fusedActivationFunction = activations.RELU if relu else activations.NONE
        if node.kind in ("conv", "depthwise", "dense"):
            w = self.model.weights[f"{node.name}.w"]
            no_bias = np.zeros(node.shape[-1], np.float32)
            inputs = inputs + [
                self._constant(f"{node.name}.w", _weights(node, w)),
                self._constant(f"{node.name}.b", self.model.weights.get(f"{node.name}.b", no_bias)),
            ]
            if node.kind == "depthwise":
                options.depthMultiplier = w.shape[3]
        if node.window is not None:
            options.strideH, options.strideW = node.window.SH, node.window.SW
            same = padding_is_same(node, node.window)
            options.padding = schema.Padding.SAME if same else schema.Padding.VALID
            if node.kind == "maxpool":
                options.filterHeight, options.filterWidth = node.window.KH, node.window.KW
            else:
                options.dilationHFactor = options.dilationWFactor = 1
        if node.kind == "mean":
            inputs = [*inputs, self._constant(f"{node.name} axes", np.array([1, 2], np.int32))]
            options.keepDims = False
        if node.kind == "flatten":
            shape = np.array([self.batch, *node.shape], np.int32)
            inputs = [*inputs, self._constant(f"{node.name} shape", shape)]
            options.newShape = shape.tolist()
        code = getattr(schema.BuiltinOperator, builtin)
        if code not in self.codes:
            self.codes.append(code)
        operator.opcodeIndex = self.codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions = options
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options_name)
        self.operators.append(operator)


OPERATORS = {
    "conv": ("CONV_2D", "Conv2DOptions"),
    "depthwise": ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"),
    "maxpool": ("MAX_POOL_2D", "Pool2DOptions"),
    "mean": ("MEAN", "ReducerOptions"),
    "dense": ("FULLY_CONNECTED", "FullyConnectedOptions"),
    "relu": ("RELU", "ReluOptions"),
    "flatten": ("RESHAPE", "ReshapeOptions"),
    "add": ("ADD", "AddOptions"),
}
"""Kind of a node -> operator, and the class of its options."""

FUSED = ("conv", "depthwise", "maxpool", "dense", "add")
"""Kinds of nodes that a ReLU behind them becomes a part of."""


def _weights(node: Node, w: np.ndarray) -> np.ndarray:
    if node.kind == "conv":
        return w.transpose(3, 0, 1, 2)  # (F, KH, KW, C)
    if node.kind == "depthwise":
        return w.reshape(1, *w.shape[:2], -1)  # (1, KH, KW, C * M)
    return w.T  # (units, fan_in)


def padding_is_same(node: Node, window: Window) -> bool:
    """Whether the padding is TensorFlow's "same"; False if there is none.  Raises ValueError for
    any other."""
    sides = (window.top, window.left, window.bottom, window.right)
    same = []
    for size, n_out, taps, stride in (
        (node.input_shape[0], node.shape[0], window.KH, window.SH),
        (node.input_shape[1], node.shape[1], window.KW, window.SW),
    ):
        total = max((n_out - 1) * stride + taps - size, 0)
        same.append((total // 2, total - total // 2, n_out == -(-size // stride)))
    (top, bottom, full_h), (left, right, full_w) = same
    if sides == (top, left, bottom, right) and full_h and full_w:
        return True
    if not any(sides):
        return False
    raise ValueError(f"{node.name}: padding {sides} is neither 'same' nor 'valid'")
