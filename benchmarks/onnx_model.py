"""A network as an ONNX model, encoded by hand, so that the package onnx is not needed.

An ONNX file is a protobuf message: a sequence of (field number, wire type, value).  The field
numbers in the docstrings are those of onnx.proto3 (ONNX 1.x, IR version 8).
"""

from __future__ import annotations

import numpy as np

from .graph import NETWORK_INPUT, Node
from .layouts import conv_to_oihw, dense_rows_to_chw, depthwise_to_oihw
from .problem import Model

INPUT, OUTPUT = "images", "logits"
IR_VERSION, OPSET = 8, 13
FLOAT = 1  # TensorProto.DataType
INT, INTS = 2, 7  # AttributeProto.AttributeType


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _attribute(name: str, value: int | list[int]) -> bytes:
    """AttributeProto: name 1, i 3, ints 8, type 20."""
    if isinstance(value, int):
        return _bytes(1, name) + _number(3, value) + _number(20, INT)
    return _bytes(1, name) + b"".join(_number(8, v) for v in value) + _number(20, INTS)


def _node(operation: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    """Field node (1) of a GraphProto, a NodeProto: input 1, output 2, op_type 4, attribute 5."""
    parts = [_bytes(1, name) for name in inputs] + [_bytes(2, output), _bytes(4, operation)]
    parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
    return _bytes(1, b"".join(parts))


def _tensor(name: str, values: np.ndarray) -> bytes:
    """Field initializer (5) of a GraphProto, a TensorProto: dims 1, data_type 2, name 8, raw_data
    9."""
    dims = b"".join(_number(1, n) for n in values.shape)
    data = np.ascontiguousarray(values, "<f4").tobytes()
    return _bytes(5, dims + _number(2, FLOAT) + _bytes(8, name) + _bytes(9, data))


def _value(field: int, name: str, shape: tuple[int, ...]) -> bytes:
    """ValueInfoProto: name 1, type 2 {tensor_type 1 {elem_type 1, shape 2 {dim 1 {value 1}}}}."""
    dims = b"".join(_bytes(1, _number(1, n)) for n in shape)
    tensor_type = _number(1, FLOAT) + _bytes(2, dims)
    return _bytes(field, _bytes(1, name) + _bytes(2, _bytes(1, tensor_type)))


def onnx_model(model: Model, batch: int) -> bytes:
    """The model file, for images (batch, C, H, W); the model has no BatchNorm.

    The pads are written out (top, left, bottom, right), because TensorFlow's padding "same" is not
    symmetric.
    """
    names = {NETWORK_INPUT: INPUT}
    parts: list[bytes] = []
    tensors: dict[str, np.ndarray] = {}
    for k, node in enumerate(model.nodes):
        names[k] = OUTPUT if k == len(model.nodes) - 1 else f"v{k}"
        inputs, window = [names[source] for source in node.inputs], node.window
        options: dict[str, int | list[int]] = {}
        if node.kind in ("conv", "depthwise", "dense"):
            tensors[f"{node.name}.w"] = _weights(model, node)
            inputs.append(f"{node.name}.w")
            if f"{node.name}.b" in model.weights:
                tensors[f"{node.name}.b"] = model.weights[f"{node.name}.b"]
                inputs.append(f"{node.name}.b")
        if window is not None:
            options["pads"] = [window.top, window.left, window.bottom, window.right]
            options["strides"] = [window.SH, window.SW]
        if window is not None and node.kind == "maxpool":
            options["kernel_shape"] = [window.KH, window.KW]
        if node.kind == "depthwise":
            options["group"] = node.input_shape[2]
        if node.kind == "mean":
            parts.append(_node("GlobalAveragePool", inputs, f"mean{k}"))
            inputs = [f"mean{k}"]
        if node.kind in ("mean", "flatten"):
            options["axis"] = 1
        parts.append(_node(OPERATIONS[node.kind], inputs, names[k], **options))
    H, W, C = model.nodes[0].input_shape
    # GraphProto: node 1, name 2, initializer 5, input 11, output 12
    graph = b"".join(parts) + _bytes(2, "network")
    graph += b"".join(_tensor(name, values) for name, values in tensors.items())
    graph += _value(11, INPUT, (batch, C, H, W))
    graph += _value(12, OUTPUT, (batch, *model.nodes[-1].shape))
    # ModelProto: ir_version 1, graph 7, opset_import 8 {version 2}
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


OPERATIONS = {
    "conv": "Conv",
    "depthwise": "Conv",
    "maxpool": "MaxPool",
    "mean": "Flatten",
    "dense": "Gemm",
    "relu": "Relu",
    "flatten": "Flatten",
    "add": "Add",
}
"""Kind of a node -> ONNX operator; the mean over a picture is a GlobalAveragePool before it."""


def _weights(model: Model, node: Node) -> np.ndarray:
    w = model.weights[f"{node.name}.w"]
    if node.kind == "dense":
        return dense_rows_to_chw(w, node.flattened) if node.flattened else w
    return conv_to_oihw(w) if node.kind == "conv" else depthwise_to_oihw(w)
