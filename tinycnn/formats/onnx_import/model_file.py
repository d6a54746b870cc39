"""From the bytes of an ONNX file to its nodes, constants and input, with every size checked.

The `onnx` package reads the protobuf message.  Before that the message is scanned: a message of a
few megabytes can consist of millions of empty parts, and each would take hundreds of bytes.
Formats: onnx/onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...ground.file_names import lies_in
from ...ground.regular_file import open_regular, read_bytes_of
from ..protobuf import BYTES, DamagedData, fields
from .errors import NotUsable, shown
from .nodes import FIRST_OPSET, Attribute, OnnxNode

MAX_FILE_BYTES = 1 << 28
"""A network of a million parameters in float64 takes 8 MB."""

MAX_FIELDS = 1 << 20
"""Most parts of the message: nodes, names, dimensions, numbers that are not packed."""

MAX_NODES = 1 << 13
"""Most nodes of a graph, constants and all."""

MAX_DEPTH = 12
"""Most graphs inside graphs."""

MAX_AXES = 8

DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64"},
}
"""ONNX's number of a dtype -> NumPy's name.  Tensors of other dtypes are refused."""

FLOATS = {1, 10, 11}

_NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "leaf", 14: "leaf", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph", 3: "leaf", 4: "leaf"},
    "function": {7: "node", 9: "leaf", 11: "attribute", 12: "value"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "leaf"},
    "node": {5: "attribute", 9: "leaf"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type"},
    "tensor": {3: "leaf", 13: "leaf", 16: "leaf"},
    "value": {2: "type", 4: "leaf"},
    "type": {1: "tensor type", 4: "wrapped type", 5: "map type", 9: "wrapped type"},
    "wrapped type": {1: "type"},
    "map type": {2: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "leaf"},
    "leaf": {},
}
"""Messages inside messages: kind -> field number -> kind.  A "leaf" holds only plain values."""


@dataclass(frozen=True)
class TensorSpec:
    """What the file says of an input or output.

    dtype  ONNX's number, 0 if it is not a tensor;  shape: None for a free axis, or altogether
    """

    name: str
    dtype: int
    shape: tuple[int | None, ...] | None


@dataclass
class OnnxGraph:
    """The main graph of a model.

    tensors     initialisers that were not converted to arrays yet, by name: see `constant`
    metadata    metadata_props
    """

    nodes: list[OnnxNode]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    opset: int
    producer: str
    metadata: Mapping[str, str]
    tensors: dict[str, Any]
    folder: Path
    arrays: dict[str, np.ndarray]

    def constant(self, name: str) -> np.ndarray | None:
        """The initialiser of that name, if there is one."""
        if name not in self.arrays and name in self.tensors:
            self.arrays[name] = array_of(self.tensors[name], self.folder)
        return self.arrays.get(name)


def read_graph(path: str | os.PathLike) -> OnnxGraph:
    """The main graph of the model in a file.

    Raises ImportError without onnx, FileNotFoundError, OSError, NotUsable.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    n_bytes = Path(path).stat().st_size
    if n_bytes > MAX_FILE_BYTES:
        raise NotUsable(f"{n_bytes:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    return graph_of(parse(read_bytes_of(path, MAX_FILE_BYTES)), Path(path).parent)


def parse(data: bytes) -> Any:
    """The ModelProto in `data`.  Raises ImportError without onnx, NotUsable."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            f'ONNX models need the package onnx: pip install "tinycnn[onnx]" ({error})'
        ) from None
    try:
        _count_fields(memoryview(data), "model", MAX_FIELDS, 0)
    except DamagedData as error:
        raise NotUsable(f"not an ONNX model, or damaged: {error}") from None
    try:
        return onnx.ModelProto.FromString(data)
    except Exception as error:  # each implementation of protobuf has its own exceptions
        kind = type(error).__name__
        raise NotUsable(f"not an ONNX model, or damaged: protobuf reports {kind}") from None


def _count_fields(message: memoryview, kind: str, n_left: int, depth: int) -> int:
    """Of n_left fields that a message may have, those that are left after it.

    Raises DamagedData, and NotUsable if there are more.
    """
    if depth > 4 * MAX_DEPTH:
        raise NotUsable("its graphs lie more than a dozen deep in one another")
    nested = _NESTED[kind]
    for number, wire_type, value in fields(message):
        n_left -= 1
        if n_left < 0:
            raise NotUsable(f"more than {MAX_FIELDS:,} parts; a network for tinycnn has fewer")
        if number in nested and wire_type == BYTES:
            assert isinstance(value, memoryview)
            n_left = _count_fields(value, nested[number], n_left, depth + 1)
    return n_left


def graph_of(model: Any, folder: Path) -> OnnxGraph:
    """The main graph of a ModelProto.  folder: of its external data.  Raises NotUsable."""
    if not model.HasField("graph"):
        raise NotUsable("not an ONNX model, or damaged: it has no graph")
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 1))
    if opset < FIRST_OPSET:
        raise NotUsable(
            f"operator set {opset}; {FIRST_OPSET} and later are read: onnx.version_converter can "
            "convert the model"
        )
    if len(model.graph.node) > MAX_NODES:
        raise NotUsable(f"{len(model.graph.node):,} nodes; at most {MAX_NODES:,} are read")
    functions = {(function.domain, function.name) for function in model.functions}
    graph = model.graph
    if graph.sparse_initializer:
        raise NotUsable("it has sparse initialisers, which are not read: store them dense")
    nodes = [_node(k, node, opset, functions) for k, node in enumerate(graph.node)]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    if len(tensors) != len(graph.initializer):
        raise NotUsable("damaged: two initialisers have the same name")
    _check_names(nodes, {*tensors, *(value.name for value in graph.input)})
    return OnnxGraph(
        nodes=nodes,
        inputs=[_spec(value) for value in graph.input if value.name not in tensors],
        outputs=[_spec(value) for value in graph.output],
        opset=opset,
        producer=model.producer_name,
        metadata={entry.key: entry.value for entry in model.metadata_props},
        tensors=tensors,
        folder=folder,
        arrays={},
    )


def _node(number: int, node: Any, opset: int, functions: set[tuple[str, str]]) -> OnnxNode:
    read = OnnxNode(number, node.name, node.op_type, list(node.input), list(node.output), opset, {})
    if (node.domain, node.op_type) in functions:
        raise read.error(
            "a function that the model defines: onnx.inliner.inline_local_functions replaces such "
            "nodes by their content"
        )
    if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        read.operator = f"{node.domain}.{node.op_type}"
    read.attributes = {entry.name: _attribute(read, entry) for entry in node.attribute}
    return read


def _attribute(node: OnnxNode, entry: Any) -> Attribute:
    """The value of an attribute.  Numbers of kinds: AttributeProto.AttributeType."""
    if entry.type == 1:
        return _decimal(entry.f)
    if entry.type == 2:
        return int(entry.i)
    if entry.type == 3:
        return entry.s.decode("utf-8", "replace")
    if entry.type == 4:
        try:
            return array_of(entry.t, None)
        except NotUsable as error:
            raise node.error(f"attribute {shown(entry.name)}: {error}") from None
    if entry.type == 6:
        return [_decimal(value) for value in entry.floats]
    if entry.type == 7:
        return [int(value) for value in entry.ints]
    if entry.type == 8:
        return [value.decode("utf-8", "replace") for value in entry.strings]
    return None


def _decimal(value: float) -> float:
    """The shortest decimal number that is this one in float32, which attributes have: 0.2 and not
    0.20000000298."""
    return float(str(np.float32(value)))


def _spec(value: Any) -> TensorSpec:
    kind = value.type
    if not kind.HasField("tensor_type"):
        return TensorSpec(value.name, 0, None)
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return TensorSpec(value.name, tensor.elem_type, None)
    shape = tuple(
        int(axis.dim_value) if axis.HasField("dim_value") else None for axis in tensor.shape.dim
    )
    if len(shape) > MAX_AXES or any(size is not None and size < 0 for size in shape):
        raise NotUsable(f"{shown(value.name)} has {len(shape)} axes, or a negative size")
    return TensorSpec(value.name, tensor.elem_type, shape)


def _check_names(nodes: list[OnnxNode], given: set[str]) -> None:
    """Raise NotUsable where two nodes give the same value, or a node gives an input.

    given  names of inputs and initialisers
    """
    known = set(given)
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in known:
                raise node.error(f"its output {shown(name)} is also that of another node")
            known.add(name)


# ---- tensors ---------------------------------------------------------------------------------


def array_of(tensor: Any, folder: Path | None) -> np.ndarray:
    """A TensorProto as an array.

    folder  where external data may lie; None: nowhere
    Raises NotUsable for a dtype that is not read, or for data that do not fill the shape.
    """
    about = f"tensor {shown(tensor.name)}"
    if tensor.data_type not in DTYPES:
        raise NotUsable(
            f"{about} has dtype number {tensor.data_type} of ONNX, which is not read; expected "
            f"one of {', '.join(DTYPES.values())}"
        )
    dtype = np.dtype(DTYPES[tensor.data_type])
    shape = tuple(int(size) for size in tensor.dims)
    too_large = math.prod(max(size, 1) for size in shape) > MAX_FILE_BYTES
    if len(shape) > MAX_AXES or any(size < 0 for size in shape) or too_large:
        raise NotUsable(f"{about} is damaged or too large: shape {shape[:MAX_AXES]}")
    if tensor.data_location == 1:
        data = _external(tensor, about, folder, math.prod(shape) * dtype.itemsize)
        values = np.frombuffer(data, dtype.newbyteorder("<"))
    elif tensor.HasField("raw_data"):
        if len(tensor.raw_data) != math.prod(shape) * dtype.itemsize:
            raise NotUsable(f"{about} is damaged: {len(tensor.raw_data)} bytes for shape {shape}")
        values = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"))
    else:
        values = _listed(tensor, dtype)
    if values.size != math.prod(shape):
        raise NotUsable(f"{about} is damaged: {values.size} values for shape {shape}")
    return values.astype(dtype).reshape(shape)


def _listed(tensor: Any, dtype: np.dtype) -> np.ndarray:
    """Values that are not stored as bytes but as a list of numbers."""
    if dtype == np.float32:
        return np.array(tensor.float_data, np.float32)
    if dtype == np.float64:
        return np.array(tensor.double_data, np.float64)
    if dtype == np.int64:
        return np.array(tensor.int64_data, np.int64)
    if dtype in (np.uint32, np.uint64):
        return np.array(tensor.uint64_data, np.uint64).astype(dtype)
    numbers = np.array(tensor.int32_data, np.int32)
    if dtype == np.float16:  # each number holds the bits of a value
        return numbers.astype(np.uint16).view(np.float16)
    return numbers.astype(dtype)


def _external(tensor: Any, about: str, folder: Path | None, n_bytes: int) -> bytes:
    """The bytes of a tensor that lie in another file.

    That file must be in the folder of the model or below it, also after links are followed.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    where = f"{about}: its external data {shown(location)}"
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", n_bytes))
    except ValueError:
        raise NotUsable(f"{where}: offset and length are not numbers") from None
    if folder is None or not location or "\0" in location:
        raise NotUsable(f"{where} cannot be found")
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, location.replace("\\", "/")))
    if not lies_in(path, root):
        raise NotUsable(f"{where} would lie outside of the model's folder: it is not read")
    if not os.path.isfile(path):
        raise NotUsable(f"{where}: no such file beside the model")
    size = os.path.getsize(path)
    if length != n_bytes or offset < 0 or offset + length > size or length > MAX_FILE_BYTES:
        raise NotUsable(
            f"{where}: {length} bytes from byte {offset} on; the tensor has {n_bytes} and the file "
            f"{size}"
        )
    with open_regular(path) as file:
        file.seek(offset)
        return file.read(n_bytes)
