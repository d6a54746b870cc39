"""What an ONNX model's metadata say about its classes and pixels."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...input_spec import SCALINGS, InputSpec
from ...layers import Shape
from .errors import NotUsable, shown
from .model_file import OnnxGraph, array_of, graph_of

PRODUCER = "tinycnn"
"""The producer_name in models that `tinycnn.formats.onnx.save` writes."""


@dataclass(frozen=True)
class Description:
    """The metadata as far as they are read.

    start    the value in the graph that is the network's input: the file's input, or what the nodes
             make of it that scale the pixels in models written by tinycnn
    """

    start: str
    classes: tuple[str, ...] = ()
    scaling: str = SCALINGS[0]
    framing: str | None = None
    calibration_temperature: float = 1.0
    notes: tuple[str, ...] = ()


def description_of(graph: OnnxGraph, given: str, shape: Shape) -> Description:
    """The description of a model with the input `given`, of `shape` for one image.

    Metadata of models that tinycnn wrote must be right; of others, only "classes" is read, if it is
    a list of names.  Raises NotUsable.
    """
    said = {}
    for key, text in graph.metadata.items():
        if key in _CHECKS and (graph.producer == PRODUCER or key == "classes"):
            said[key] = _parsed(text)
    wrong = {key for key, value in said.items() if not _CHECKS[key](value)}
    if graph.producer != PRODUCER:
        if wrong:
            note = "its metadata 'classes' are no JSON list of different names: they are not read"
            return Description(given, notes=(note,))
        return Description(given, classes=tuple(said.get("classes", ())))
    for key in wrong:
        raise NotUsable(f"its metadata {key} = {shown(graph.metadata[key])} are not usable")
    start = _scaled(graph, given, shape, said.get("scaling", SCALINGS[0]))
    return Description(
        start or given,
        classes=tuple(said.get("classes", ())),
        scaling=said.get("scaling", SCALINGS[0]) if start else SCALINGS[0],
        framing=said.get("framing"),
        calibration_temperature=float(said.get("calibration_temperature", 1.0)),
        notes=() if start else ("its nodes that scale pixels were changed: they become layers",),
    )


def _parsed(text: str) -> Any:
    """JSON; None if it is none."""
    try:
        return json.loads(text[:1_000_000])
    except (ValueError, RecursionError):
        return None


def _are_names(value: Any) -> bool:
    names = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    return names and len(set(value)) == len(value)


def _is_temperature(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "classes": _are_names,
    "scaling": lambda value: value in SCALINGS,
    "framing": lambda value: value is None or isinstance(value, str),
    "calibration_temperature": _is_temperature,
}
"""Key in the metadata -> whether its value is one that tinycnn writes."""


def _scaled(graph: OnnxGraph, given: str, shape: Shape, scaling: str) -> str | None:
    """What the first nodes give, if they are those that tinycnn writes to scale pixels."""
    from onnx import helper

    from ..onnx import Graph, add_scaling

    if len(shape) != 3:
        return None
    part = Graph({})
    add_scaling(part, InputSpec(*shape, scaling=scaling))
    content = helper.make_graph(part.nodes, "scaling", [], [], part.constants)
    opset = helper.make_opsetid("", graph.opset)
    written = graph_of(helper.make_model(content, opset_imports=[opset]), graph.folder)
    found = graph.nodes[: len(written.nodes)]
    same_nodes = found == written.nodes
    same_constants = all(
        name in graph.tensors
        and np.array_equal(
            array_of(tensor, graph.folder), array_of(graph.tensors[name], graph.folder)
        )
        for name, tensor in written.tensors.items()
    )
    starts_there = not written.nodes or written.nodes[0].inputs[0] == given
    if not (same_nodes and same_constants and starts_there):
        return None
    return part.last if written.nodes else given
