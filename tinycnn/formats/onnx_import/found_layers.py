"""From the nodes of an ONNX graph to a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...input_spec import InputSpec
from ...layers import Layer, Shape
from ...network import Network
from ...plan import NETWORK_INPUT, build_plan
from ..safetensors import check_work
from .constants import evaluate
from .errors import Budget, NotUsable, shown
from .layer_graph import LayerGraph, LayerNode, as_list, merged
from .model_file import DTYPES, FLOATS, OnnxGraph, TensorSpec
from .nodes import OnnxNode
from .operators import read_node
from .reading import Given, Reading
from .values import Softmaxed, Value, is_complete, picture_places, vector_places

MAX_ARRANGEMENTS = 8


@dataclass(frozen=True)
class Arrangement:
    """How the network's input of `shape` (H, W, C) lies in the file's input: the places of its
    elements, for one image, as in `Value`."""

    shape: Shape
    places: np.ndarray


@dataclass(frozen=True)
class FoundLayers:
    """The layers of a network, whose output is a vector.

    nodes    the layers with their parameters, in the order of the plan's steps, without Adds
    places   the places of the graph's output in that vector, as in `Value`
    softmax  what is left out at the end
    """

    arrangement: Arrangement
    layers: list[Layer]
    nodes: list[LayerNode]
    places: np.ndarray
    softmax: Softmaxed | None
    notes: list[str]
    classes: tuple[str, ...]

    def network(self, spec: InputSpec, dtype: type, backend: str, n_threads: int | None) -> Network:
        """The network with the parameters of the file.

        Raises NotUsable where the layers do not fit together, or for values that are not finite.
        """
        try:
            check_work(build_plan(self.layers, spec.shape))
            network = Network(self.layers, spec, backend=backend, dtype=dtype, n_threads=n_threads)
        except ValueError as error:
            raise NotUsable(str(error)) from None
        steps = [step for step in network.plan.steps if len(step.inputs) == 1]
        arrays: dict[str, np.ndarray] = {}
        for step, node in zip(steps, self.nodes, strict=True):
            for short, values in node.arrays.items():
                with np.errstate(over="ignore"):
                    converted = np.asarray(values, network.dtype)
                if not np.isfinite(converted).all():
                    raise NotUsable(f"{node.origin}: its parameter {short} holds NaN or infinity")
                arrays[f"{step.name}.{short}"] = converted
        network.set_parameters(arrays)
        return network


def network_input(graph: OnnxGraph) -> TensorSpec:
    """The one input of the graph.  NotUsable if there are several, or its shape is not known."""
    if len(graph.inputs) != 1:
        names = ", ".join(shown(given.name) for given in graph.inputs[:5])
        raise NotUsable(
            f"{len(graph.inputs)} inputs ({names}); a network of tinycnn has one, and "
            "constants are initialisers"
        )
    (given,) = graph.inputs
    if given.shape is None or not given.shape or any(size is None for size in given.shape[1:]):
        sizes = [] if given.shape is None else ["?" if s is None else s for s in given.shape]
        raise NotUsable(
            f"its input {shown(given.name)} has the shape ({', '.join(map(str, sizes))}); "
            "all sizes but the first, the batch, must be numbers: export it with fixed sizes"
        )
    if given.dtype not in DTYPES:
        raise NotUsable(f"its input {shown(given.name)} is none of numbers")
    n_values = math.prod(size or 0 for size in given.shape[1:])
    if not 1 <= n_values <= Budget.MOST_AT_ONCE:
        raise NotUsable(
            f"its input {shown(given.name)} has {n_values:,} values; expected 1 to "
            f"{Budget.MOST_AT_ONCE:,}"
        )
    return given


def network_output(graph: OnnxGraph) -> str:
    """The name of the output that holds the logits or probabilities."""
    outputs = [output for output in graph.outputs if output.dtype in (0, *FLOATS)]
    if len(outputs) != 1:
        names = ", ".join(shown(output.name) for output in graph.outputs[:5])
        raise NotUsable(f"its outputs are {names}; a network of tinycnn has one output of floats")
    return outputs[0].name


def layers_of(
    graph: OnnxGraph, start: str, arrangements: Iterable[Arrangement], batched: bool = True
) -> FoundLayers:
    """The layers between the value `start` and the output.

    start         the file's input, or what scales the pixels of it
    arrangements  of `start`: the first one that fits is taken.  If none does, the pictures are
                  tried that the nodes make of the input
    batched       the first axis of the input is the batch; else the whole input is one image
    Raises NotUsable: that of the arrangement with which most nodes could be read.
    """
    output = network_output(graph)
    nodes = _needed(graph, start, output)
    batch_size = (network_input(graph).shape or (1,))[0] or 1
    waiting = list(arrangements)
    tried: set[tuple[Shape, bytes]] = set()
    n_most_read, reason = -1, NotUsable("no arrangement was tried")
    while waiting:
        arrangement = waiting.pop(0)
        key = (arrangement.shape, arrangement.places.tobytes())
        if key in tried or len(tried) == MAX_ARRANGEMENTS:
            continue
        tried.add(key)
        reading = Reading(
            LayerGraph(arrangement.shape),
            Budget(),
            batched=batched,
            batch_size=batch_size,
            unbiased_running_var=graph.producer == "pytorch",
        )
        try:
            return _read(graph, nodes, start, output, arrangement, reading)
        except NotUsable as error:
            if reading.n_read > n_most_read:
                # its traceback would keep all arrays of this arrangement
                n_most_read, reason = reading.n_read, error.with_traceback(None)
        shape = arrangement.places.shape[1:]
        for picture in reading.pictures:
            if math.prod(picture) == math.prod(shape):
                waiting += [_channels_first(picture, shape), _channels_last(picture, shape)]
    try:
        raise reason
    finally:
        del reason  # else the error and this call would refer to each other


def _needed(graph: OnnxGraph, start: str, output: str) -> list[OnnxNode]:
    """The nodes that the output depends on, in the order of the file."""
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    needed: dict[int, OnnxNode] = {}
    waiting = [output]
    while waiting:
        name = waiting.pop()
        node = producers.get(name)
        if name != start and node is not None and node.number not in needed:
            needed[node.number] = node
            waiting.extend(node.inputs)
    return [needed[number] for number in sorted(needed)]


def _read(
    graph: OnnxGraph,
    nodes: Sequence[OnnxNode],
    start: str,
    output: str,
    arrangement: Arrangement,
    reading: Reading,
) -> FoundLayers:
    reading.budget.spend(arrangement.places.size)
    known: dict[str, Given] = {"": None, start: Value(NETWORK_INPUT, arrangement.places)}
    for node in nodes:
        inputs = [_given(graph, known, node, name) for name in node.inputs]
        if any(isinstance(value, Value) for value in inputs):
            known[node.outputs[0]] = read_node(node, inputs, reading)
        else:
            arrays = [value for value in inputs if not isinstance(value, Value)]
            known.update(zip(node.outputs, evaluate(node, arrays, reading.budget)))
        reading.n_read += 1
    value = known.get(output)
    if not isinstance(value, Value):
        raise NotUsable(f"its output {shown(output)} does not depend on its input")
    if not is_complete(value, math.prod(reading.graph.shape(value.source))):
        raise NotUsable(f"its output {shown(output)} is a part of the output of a layer, or padded")
    graph_of_layers, end = merged(reading.graph, reading.graph.flattened(value.source))
    layers, layer_nodes = as_list(graph_of_layers, end)
    return FoundLayers(
        arrangement,
        layers,
        layer_nodes,
        value.places,
        value.softmax,
        reading.notes,
        reading.classes,
    )


def _given(graph: OnnxGraph, known: dict[str, Given], node: OnnxNode, name: str) -> Given:
    """The value that a node reads."""
    if name not in known:
        constant = graph.constant(name)
        if constant is None:
            raise node.error(
                f"its input {shown(name)} is no initialiser, and no node before it gives it (or "
                "only as a second output): the model is damaged, or goes in a circle"
            )
        known[name] = constant
    return known[name]


# ---- arrangements of the input ---------------------------------------------------------------


CHANNELS_LAST = ("tinycnn", "tf2onnx")
"""Programs that write models for pictures (H, W, C), by their producer_name."""


def arrangements_of(shape: Sequence[int], producer: str = "") -> list[Arrangement]:
    """What the file's input, of `shape` for one image, may be, the likeliest first.

    A file does not say whether pictures are (C, H, W) or (H, W, C).  Mostly the layers show it;
    otherwise the program that wrote it, or a number of channels that pictures usually have.
    """
    if len(shape) == 3:
        first, _, last = shape
        both = [_channels_first(shape), _channels_last(shape)]
        is_last = producer in CHANNELS_LAST or (last in (1, 3) and first not in (1, 3))
        return both[::-1] if is_last else both
    if len(shape) == 2:
        rows, columns = shape
        return [
            _channels_last((rows, columns, 1), shape),
            _channels_first((rows, 1, columns), shape),
            _channels_last((1, rows, columns), shape),
        ]
    return [_channels_last((1, 1, math.prod(shape)), shape)]


def _channels_first(picture: Sequence[int], shape: Sequence[int] | None = None) -> Arrangement:
    """An input (C, H, W); its `shape` in the file may have fewer axes."""
    C, H, W = picture
    places = picture_places((H, W, C))
    return Arrangement((H, W, C), places.reshape(1, *(picture if shape is None else shape)))


def _channels_last(picture: Sequence[int], shape: Sequence[int] | None = None) -> Arrangement:
    """An input (H, W, C); its `shape` in the file may have fewer axes."""
    H, W, C = picture
    return Arrangement((H, W, C), vector_places((1, *(picture if shape is None else shape))))
