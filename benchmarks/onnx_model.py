"""MicroExpNet as an ONNX model, encoded by hand, so that the package onnx is not needed.

An ONNX file is a protobuf message: a sequence of (field number, wire type, value).  The field
numbers in the docstrings are those of onnx.proto3 (ONNX 1.x, IR version 8).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .layouts import dense_rows_to_chw

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


def microexpnet_onnx(weights: Mapping[str, np.ndarray], batch: int) -> bytes:
    """The model file, for images (batch, 1, 84, 84).

    weights: with tinycnn's names and layout.  The pads are written out (top, left, bottom, right),
    because TensorFlow's padding "same" is not symmetric.
    """
    w = {k: v.transpose(3, 2, 0, 1) if v.ndim == 4 else v for k, v in weights.items()}
    w["dense1.w"] = dense_rows_to_chw(w["dense1.w"])
    two = [2, 2]
    nodes = [
        _node("Conv", [INPUT, "conv1.w", "conv1.b"], "z1", pads=[3, 3, 3, 3], strides=two),
        _node("Relu", ["z1"], "a1"),
        _node("MaxPool", ["a1"], "p1", kernel_shape=two, strides=two),
        _node("Conv", ["p1", "conv2.w", "conv2.b"], "z2", pads=[1, 1, 2, 2], strides=two),
        _node("Relu", ["z2"], "a2"),
        _node("MaxPool", ["a2"], "p2", kernel_shape=two, strides=two, pads=[0, 0, 1, 1]),
        _node("Flatten", ["p2"], "f", axis=1),
        _node("Gemm", ["f", "dense1.w", "dense1.b"], "z3"),
        _node("Relu", ["z3"], "a3"),
        _node("Gemm", ["a3", "dense2.w", "dense2.b"], OUTPUT),
    ]
    # GraphProto: node 1, name 2, initializer 5, input 11, output 12
    graph = b"".join(nodes) + _bytes(2, "MicroExpNet")
    graph += b"".join(_tensor(name, values) for name, values in w.items())
    graph += _value(11, INPUT, (batch, 1, 84, 84))
    graph += _value(12, OUTPUT, (batch, len(weights["dense2.b"])))
    # ModelProto: ir_version 1, graph 7, opset_import 8 {version 2}
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))
