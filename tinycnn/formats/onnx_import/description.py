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
    options  of the InputSpec: how pixels become that value, and the framing
    """

    start: str
    options: dict[str, Any]
    classes: tuple[str, ...] = ()
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
    wrong = [key for key, value in said.items() if not _CHECKS[key](value)]
    if graph.producer != PRODUCER:
        if wrong:
            note = "its metadata 'classes' are no JSON list of different names: they are not read"
            return Description(given, {}, notes=(note,))
        return Description(given, {}, classes=tuple(said.get("classes", ())))
    for key in wrong:
        raise NotUsable(f"its metadata {key} = {shown(graph.metadata[key])} are not usable")
    options = {key: said[key] for key in (*_SCALING, "framing") if key in said}
    start = given
    notes: tuple[str, ...] = ()
    if len(shape) == 3:
        try:
            spec = InputSpec(*shape, **options)
        except ValueError as error:
            raise NotUsable(f"its metadata are not usable: {error}") from None
        scaled = _scaled(graph, given, spec)
        if scaled is None:
            options = {key: value for key, value in options.items() if key not in _SCALING}
            notes = ("its nodes that scale pixels were changed: they become layers",)
        start = scaled or given
    return Description(
        start,
        options,
        classes=tuple(said.get("classes", ())),
        calibration_temperature=float(said.get("calibration_temperature", 1.0)),
        notes=notes,
    )


def _parsed(text: str) -> Any:
    """JSON; None if it is none."""
    try:
        return json.loads(text[:1_000_000])
    except (ValueError, RecursionError):
        return None


def are_names(value: Any) -> bool:
    """Whether this is a list or tuple of different names."""
    listed = isinstance(value, (list, tuple))
    return listed and all(isinstance(n, str) and n for n in value) and len(set(value)) == len(value)


def _is_temperature(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) in (int, float) for number in value)


_SCALING = ("scaling", "mean", "std")
"""The options of an InputSpec that the nodes at the beginning of a model depend on."""

_CHECKS: dict[str, Callable[[Any], bool]] = {
    "classes": are_names,
    "scaling": lambda value: value in SCALINGS,
    "mean": _are_numbers,
    "std": _are_numbers,
    "framing": lambda value: value is None or isinstance(value, str),
    "calibration_temperature": _is_temperature,
}
"""Key in the metadata -> whether its value is one that tinycnn writes."""


def _scaled(graph: OnnxGraph, given: str, spec: InputSpec) -> str | None:
    """What the first nodes give, if they are those that tinycnn writes to scale pixels."""
    from onnx import helper

    from ..onnx_graph import Graph, add_scaling

    part = Graph({})
    add_scaling(part, spec)
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
