"""Readers of ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fuzz.readers.registry import Reader, reader, written


@reader(share=1)
def onnx_model(folder: Path) -> Reader:
    """An ONNX model."""
    from tinycnn.formats.onnx import load_network
    from tinycnn.formats.safetensors import ModelFileError

    read = written(folder, "model.onnx", lambda path: load_network(path, backend="numpy"))
    return Reader(
        read,
        (ModelFileError,),
        lambda: {name: model.SerializeToString() for name, model in _onnx_models().items()},
    )


@reader(share=1)
def onnx_graph(folder: Path) -> Reader:
    """The same as JSON, so that damage meets names, sizes and attributes and not lengths."""
    from google.protobuf import json_format
    from onnx import ModelProto

    from tinycnn.formats.onnx import load_network
    from tinycnn.formats.safetensors import ModelFileError

    path = folder / "model.onnx"

    def read(data: bytes) -> object:
        try:
            model = json_format.Parse(data.decode("utf-8", "replace"), ModelProto())
        except (json_format.ParseError, RecursionError):
            return None
        path.write_bytes(model.SerializeToString())
        return load_network(path, backend="numpy")

    as_json = lambda model: json_format.MessageToJson(model, indent=0).encode()
    return Reader(
        read,
        (ModelFileError,),
        lambda: {name: as_json(model) for name, model in _onnx_models().items()},
    )


def _onnx_models() -> dict[str, Any]:
    """Small models with the operators that PyTorch, Keras and scikit-learn's converter write."""
    from onnx import TensorProto, helper, numpy_helper

    node, rng = helper.make_node, np.random.default_rng(0)

    def model(nodes: list[Any], shape: list[Any], constants: dict[str, Any], opset: int) -> Any:
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
        tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
        graph = helper.make_graph(nodes, "g", [given], [output], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])

    floats = lambda *shape: np.asarray(rng.standard_normal(shape), np.float32)
    block = [
        node("Pad", ["x", "pads"], ["padded"]),
        node("Conv", ["padded", "w1"], ["a"], kernel_shape=[3, 3], strides=[2, 1]),
        node("BatchNormalization", ["a", *"ssmv"], ["b"], epsilon=0.001),
        node("LeakyRelu", ["b"], ["c"], alpha=0.125),
        node("Conv", ["c", "w2", "s"], ["d"], group=2, auto_pad="SAME_LOWER"),
        node("PRelu", ["d", "slope"], ["e"]),
        node("Add", ["e", "c"], ["f"]),
        node("AveragePool", ["f"], ["g"], kernel_shape=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1),
        node("Clip", ["g", "low", "high"], ["h"]),
        node("Shape", ["h"], ["size"]),
        node("Gather", ["size", "zero"], ["batch"]),
        node("Concat", ["batch", "rest"], ["target"], axis=0),
        node("Reshape", ["h", "target"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["z"], transB=1, alpha=0.5),
        node("Softmax", ["z"], ["y"], axis=-1),
    ]
    constants: dict[str, Any] = {"pads": [0, 0, 1, 0, 0, 0, 0, 1], "w1": floats(2, 1, 3, 3)}
    constants |= {"s": floats(2), "m": floats(2), "v": np.ones(2, np.float32), "zero": [0]}
    constants |= {"w2": floats(2, 1, 2, 2), "slope": floats(2, 1, 1), "rest": [-1]}
    constants |= {"low": np.float32(-1), "high": np.float32(2)}
    constants |= {"w3": floats(3, 24), "b3": floats(3)}
    dense = [
        node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        node("DequantizeLinear", ["w", "scale", "point"], ["weights"]),
        node("Conv", ["a", "weights", "b"], ["c"], pads=[0, 0, 1, 1], dilations=[1, 1]),
        node("Relu", ["c"], ["d"]),
        node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        node("ReduceMean", ["e"], ["f"], axes=[2, 3], keepdims=1),
        node("Squeeze", ["f", "axes"], ["g"]),
        node("Dropout", ["g"], ["h"]),
        node("MatMul", ["h", "w2"], ["i"]),
        node("Add", ["i", "s"], ["j"]),
        node("Mul", ["s", "j"], ["k"]),
        node("Tanh", ["k"], ["y"]),
    ]
    quantised: dict[str, Any] = {"w": rng.integers(-9, 9, (2, 1, 2, 2), np.int8), "b": floats(2)}
    quantised |= {"scale": np.float32(0.25), "point": np.int8(1), "axes": [2, 3]}
    quantised |= {"w2": floats(2, 3), "s": floats(3)}
    return {
        "block": model(block, ["n", 1, 6, 5], constants, 13),
        "dense": model(dense, ["n", 4, 4, 1], quantised, 17),
    }


@reader(share=0.5)
def onnx_external(folder: Path) -> Reader:
    """Where an ONNX model says that its weights lie: file, first byte and length, a line each.  No
    file outside of the model's folder may be opened."""
    from onnx import TensorProto, helper

    from tinycnn.formats.onnx import load_network
    from tinycnn.formats.onnx_import import model_file
    from tinycnn.formats.safetensors import ModelFileError

    inside, path = folder / "model", folder / "model/model.onnx"
    inside.mkdir()
    for place in (inside / "weights.bin", folder / "outside.bin"):
        place.write_bytes(np.arange(12, dtype="<f4").tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(4, 3))
    weights.data_location = TensorProto.EXTERNAL
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size))
        for name, size in (("x", 4), ("y", 3))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    open_regular = model_file.open_regular

    def open_inside(opened: Any) -> Any:
        assert Path(opened).resolve().parent == inside.resolve(), opened
        return open_regular(opened)

    def read(data: bytes) -> object:
        external = model.graph.initializer[0].external_data
        del external[:]
        lines = data.decode("utf-8", "replace").split("\n")
        for key, value in zip(("location", "offset", "length"), lines):
            external.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())
        with mock.patch.object(model_file, "open_regular", open_inside):
            return load_network(path, backend="numpy")

    seeds = {"good": b"weights.bin\n0\n48", "alone": b"weights.bin", "up": b"../outside.bin\n0"}
    return Reader(read, (ModelFileError,), lambda: seeds)
