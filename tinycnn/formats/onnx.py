"""A network as an ONNX model, for any runtime that reads ONNX; `load_network` reads such models.

    input   "images"  float32 (batch, H, W, C), pixels 0..255 as they are: the scaling of the
                      network's InputSpec is part of the graph
    output  "logits"  float32 (batch, K)

The batch may have any size.  BatchNorm is folded into the layers beside it.  Pads are written as
numbers: "same" padding is TensorFlow's, and not every runtime knows ONNX's name for it, SAME_UPPER.
The model's metadata_props hold, as JSON texts: classes, framing, scaling, calibration_temperature
(probabilities are softmax(logits / that)), and the InputSpec's mean and std if it has them.

Needs the extra `onnx`.  The model is checked on onnxruntime where that is installed (faster).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import layers
from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..input_spec import InputSpec
from ..layers import Layer, entry_for
from ..network import Network
from ..plan import NETWORK_INPUT, Step
from .agreement import ExportError, check_agreement, check_images, exportable
from .onnx_graph import Graph, add_scaling, per_channel
from .onnx_import import import_network, load_network

__all__ = ["NODES", "import_network", "load_network", "save", "to_bytes"]

OPSET, IR_VERSION = 13, 8
"""The oldest that have the operators in use, so that old runtimes read the file too."""


def save(network: Network, path: str | os.PathLike) -> None:
    """Write `network` to `path` as ONNX, after onnx's checker and a comparison of logits.

    Weights are float32.  Raises, before anything is written: ImportError without onnx,
    UnknownLayerError for a layer that NODES does not have, ValueError for weights that are not
    finite, ExportError where the model disagrees with the network.  OSError: it cannot be written.
    """
    write_atomically(path, to_bytes(network, name=os.fspath(path)))


def to_bytes(network: Network, name: str = "the ONNX model") -> bytes:
    """The file's content, checked.  name: for messages.  Errors as `save`."""
    model = checked_model(name, lambda: _model(exportable(network)))
    images = check_images(network)
    logits = run_model(model, images.astype(np.float32))
    check_agreement(str(name), logits, network.predict_logits(images))
    return model.SerializeToString()


def checked_model(name: str, make: Callable[[], Any]) -> Any:
    """The onnx.ModelProto that `make` returns.  Raises ImportError without onnx, ExportError if
    onnx's checker finds a fault."""
    try:
        import onnx
        import onnx.checker
        import onnx.shape_inference
    except ImportError as error:
        raise ImportError(
            f'ONNX models need the package onnx: pip install "tinycnn[onnx]" ({error})'
        ) from None
    model = make()
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name}: onnx's checker rejects the model: {error}") from None
    return model


def run_model(model: Any, images: np.ndarray) -> np.ndarray:
    """The model's logits, by onnxruntime or, without it, by onnx's own evaluator."""
    feed = {"images": images}
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        answers = ReferenceEvaluator(model).run(["logits"], feed)
        assert isinstance(answers, list)  # one array for each name that was asked for
        return answers[0]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # without VNNI it would cut off sums of products of 8 bits at 16 bits: see docs/quantised.md
    options.add_session_config_entry("session.x64quantprecision", "1")
    providers = ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
        return session.run(None, feed)[0]
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise ExportError(f"onnxruntime does not run the model: {error}") from None


def _model(network: Network) -> Any:
    graph = Graph(network.parameters)
    add_scaling(graph, network.input_spec)
    graph.add("Transpose", "images_nchw", perm=[0, 3, 1, 2])
    outputs = {NETWORK_INPUT: graph.last}
    for number, step in enumerate(network.plan.steps):
        graph.inputs = [outputs[source] for source in step.inputs]
        graph.last = graph.inputs[0]
        entry_for(step.layer, NODES, "tinycnn.formats.onnx.NODES")(graph, step)
        outputs[number] = graph.last
    graph.add("Identity", "logits")
    return finished_model(graph, network.input_spec, network.calibration_temperature)


def finished_model(graph: Graph, spec: InputSpec, calibration_temperature: float) -> Any:
    """The model of a graph from "images" to "logits"."""
    from onnx import TensorProto, helper

    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *spec.shape])
    logits = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, ["batch", len(spec.classes)]
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "tinycnn", [images], [logits], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="tinycnn",
        producer_version=__version__,
        ir_version=IR_VERSION,
    )
    described: dict[str, Any] = {
        "classes": spec.classes,
        "framing": spec.framing,
        "scaling": spec.scaling,
        "calibration_temperature": calibration_temperature,
    }
    described |= per_channel(spec)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in described.items()})
    return model


# ---- the layers ------------------------------------------------------------------------------


def _conv2d(graph: Graph, step: Step) -> None:
    w = graph.parameter(f"{step.name}.w", (3, 2, 0, 1))
    graph.add("Conv", step.name, w, *_bias(graph, step), **_window(step))


def _depthwise_conv2d(graph: Graph, step: Step) -> None:
    name = f"{step.name}.w"
    KH, KW, C, D = graph.parameters[name].shape
    w = graph.constant(name, graph.parameters[name].reshape(KH, KW, 1, C * D).transpose(3, 2, 0, 1))
    graph.add("Conv", step.name, w, *_bias(graph, step), group=C, **_window(step))


def _bias(graph: Graph, step: Step) -> list[str]:
    """Its bias, the last input of a node; none for a layer without."""
    name = f"{step.name}.b"
    return [graph.parameter(name)] if name in graph.parameters else []


def _average_pool(graph: Graph, step: Step) -> None:
    counted = int(step.counts_padding)
    graph.add("AveragePool", step.name, count_include_pad=counted, **_window(step))


def _global_average_pool(graph: Graph, step: Step) -> None:
    graph.add("GlobalAveragePool", f"{step.name}_nchw")
    graph.add("Flatten", step.name, axis=1)


def _dense(graph: Graph, step: Step) -> None:
    graph.add("Gemm", step.name, graph.parameter(f"{step.name}.w"), *_bias(graph, step))


def _scale_shift(graph: Graph, step: Step) -> None:
    graph.add("Mul", f"{step.name}_scaled", graph.per_channel(step, "scale"))
    graph.add("Add", step.name, graph.per_channel(step, "shift"))


def _relu(graph: Graph, step: Step) -> None:
    layer = step.layer
    assert isinstance(layer, layers.ReLU)
    if layer.max_value is None:
        graph.add("Relu", step.name)
    else:
        limits = (("min", 0.0), ("max", layer.max_value))
        names = [graph.constant(f"{step.name}.{name}", value) for name, value in limits]
        graph.add("Clip", step.name, *names)


def _leaky_relu(graph: Graph, step: Step) -> None:
    assert isinstance(step.layer, layers.LeakyReLU)
    graph.add("LeakyRelu", step.name, alpha=step.layer.negative_slope)


def _prelu(graph: Graph, step: Step) -> None:
    graph.add("PRelu", step.name, graph.per_channel(step, "alpha"))


def _flatten(graph: Graph, step: Step) -> None:
    if len(step.input_shape) == 3:
        graph.add("Transpose", f"{step.name}_nhwc", perm=[0, 2, 3, 1])  # it runs H, W, C
        graph.add("Flatten", step.name, axis=1)


NODES: dict[type[Layer], Callable[[Graph, Step], None]] = {
    layers.Conv2D: _conv2d,
    layers.DepthwiseConv2D: _depthwise_conv2d,
    layers.MaxPool2D: lambda graph, step: graph.add("MaxPool", step.name, **_window(step)),
    layers.AveragePool2D: _average_pool,
    layers.GlobalAveragePool2D: _global_average_pool,
    layers.ScaleShift: _scale_shift,
    layers.Add: lambda graph, step: graph.add("Add", step.name, graph.inputs[1]),
    layers.ReLU: _relu,
    layers.LeakyReLU: _leaky_relu,
    layers.PReLU: _prelu,
    layers.Sigmoid: lambda graph, step: graph.add("Sigmoid", step.name),
    layers.Tanh: lambda graph, step: graph.add("Tanh", step.name),
    layers.Flatten: _flatten,
    layers.Dense: _dense,
    # these do nothing in prediction
    **dict.fromkeys((layers.Dropout, layers.SpatialDropout2D), lambda graph, step: None),
}
"""Layer class -> the function that adds the nodes of a layer, given its step of the plan.

Pictures in the graph are (N, C, H, W).
"""


def _window(step: Step) -> dict[str, list[int]]:
    """Attributes of Conv and of poolings.  ONNX lists pads as top, left, bottom, right."""
    KH, KW, SH, SW, PT, PL, PB, PR = step.window
    return {"kernel_shape": [KH, KW], "strides": [SH, SW], "pads": [PT, PL, PB, PR]}
