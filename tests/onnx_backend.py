"""tinycnn as a backend of the `onnx` package, for its own tests of single nodes.

A node test gives a model of one node, whose weights are inputs too.  Here one input is what the
network depends on; all others are bound as constants, as they are in the models that tinycnn reads.
Then the reader makes layers of the node, as from a file, and a network of these layers runs on both
backends.  A tensor of any rank is one image or a batch of them:

- its first axis is the batch, as in a file;
- or else the whole tensor is one image, a vector of all its values (of pixels, for a reduction).

The values that come out are put in the order of the ONNX tensor, without arithmetic.  A node that
only has constants is computed as the reader computes constants.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx.backend.base import Backend, BackendRep

from tinycnn import InputSpec
from tinycnn.backend_choice import backend_in_use
from tinycnn.formats.onnx_import.constants import axes_of, evaluate
from tinycnn.formats.onnx_import.errors import Budget, NotUsable
from tinycnn.formats.onnx_import.found_layers import Arrangement, arrangements_of, layers_of
from tinycnn.formats.onnx_import.layer_graph import LayerNode
from tinycnn.formats.onnx_import.model_file import DTYPES, graph_of
from tinycnn.formats.onnx_import.operators import OPERATORS
from tinycnn.formats.onnx_import.values import vector_places
from tinycnn.layers import ScaleShift
from tinycnn.losses import log_softmax, softmax

LAYER_OPERATORS = set(OPERATORS) - {"Concat"}
"""Operators that layers express.  Of Concat they only express one use, at the end of a classifier;
otherwise it occurs with constants."""

BACKENDS = ["numpy", "numba"] if backend_in_use("auto") == "numba" else ["numpy"]


class TinycnnBackend(Backend):
    """What `onnx.backend.test.BackendTest` calls."""

    @classmethod
    def prepare(cls, model, device="CPU", **options):
        return PreparedModel(model)

    @classmethod
    def run_model(cls, model, inputs, device="CPU", **options):
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


class PreparedModel(BackendRep):
    def __init__(self, model):
        self.model = model

    def run(self, inputs, **options):
        """The outputs of the model, by all backends; NotUsable if the reader refuses the model."""
        (node,) = graph_of(self.model, Path()).nodes
        if any(isinstance(x, list) for x in inputs):
            raise NotUsable(f"{node}: its inputs are not all tensors")
        inputs = [np.asarray(x) for x in inputs]
        if not {x.dtype.name for x in inputs} <= set(DTYPES.values()):
            raise NotUsable(f"{node}: an input has a dtype that is not read")
        dependent = [k for k, x in enumerate(inputs) if x.dtype.kind == "f" and x.size]
        (output, *_) = self.model.graph.output
        is_number = DTYPES.get(output.type.tensor_type.elem_type, "f")[0] in "biu"
        if node.operator not in LAYER_OPERATORS or not dependent or is_number:
            return self._constants(inputs)
        reasons = []
        for k in dependent:
            for batched in (True, False):
                if batched and not inputs[k].ndim:
                    continue
                try:
                    return self._network(inputs, k, batched)
                except NotUsable as error:
                    reasons.append(error)
        raise reasons[0]

    def _bound(self, inputs, free):
        """The graph with all inputs but number `free` as constants; its one node."""
        model = type(self.model)()
        model.CopyFrom(self.model)
        if self._trains():
            attributes = [a for a in model.graph.node[0].attribute if a.name != "training_mode"]
            del model.graph.node[0].attribute[:], model.graph.node[0].output[1:]
            model.graph.node[0].attribute.extend(attributes)
            del model.graph.output[1:]
        graph = graph_of(model, Path())
        names = [given.name for given in graph.inputs]
        graph.arrays.update({n: x for k, (n, x) in enumerate(zip(names, inputs)) if k != free})
        if free is not None:
            shape = inputs[free].shape
            graph.inputs = [replace(graph.inputs[free], shape=(None, *shape[1:]))]
        return graph, graph.nodes[0]

    def _trains(self):
        """Whether the node is a BatchNormalization with the statistics of its batch."""
        (node,) = self.model.graph.node
        mode = {a.name: a.i for a in node.attribute}.get("training_mode", 0)
        return bool(node.op_type == "BatchNormalization" and mode)

    def _constants(self, inputs):
        graph, node = self._bound(inputs, None)
        return evaluate(node, [graph.arrays.get(name) for name in node.inputs], Budget())

    def _network(self, inputs, k, batched):
        graph, node = self._bound(inputs, k)
        x = inputs[k]
        if batched:
            arrangements = arrangements_of(x.shape[1:])
        else:
            arrangements = [Arrangement((1, 1, x.size), vector_places(x.shape)), *rows(x.shape)]
            arrangements += reduced_to_pixels(node, graph, x.shape)
        found = layers_of(graph, graph.inputs[0].name, arrangements, batched)
        if len(graph.outputs) != 1 or len(node.outputs) != 1:
            raise NotUsable(f"{node}: several outputs")
        if not any(entry.arrays for entry in found.nodes):
            found = with_scale_1(found)
        n_images = len(x) if batched else 1
        pictures = np.empty((n_images, found.arrangement.places.size), x.dtype)
        pictures[:, found.arrangement.places.ravel()] = x.reshape(n_images, -1)
        pictures = pictures.reshape(n_images, *found.arrangement.shape)
        dtype = np.float64 if x.dtype == np.float64 else np.float32
        answers = [self._run(found, pictures.astype(dtype), batched, name) for name in BACKENDS]
        for other in answers[1:]:
            for one, two in zip(answers[0], other):
                np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
        first = answers[-1][0].astype(DTYPES[graph.outputs[0].dtype])
        return [first, *answers[-1][1:]]

    def _run(self, found, pictures, batched, backend):
        """The outputs by one backend."""
        spec = InputSpec(*found.arrangement.shape)
        network = found.network(spec, pictures.dtype.type, backend, n_threads=1)
        vectors = network.forward(pictures, training=self._trains())
        places = found.places
        y = vectors[:, places.ravel()]
        y = y.reshape(-1, *places.shape[1:]) if batched else y.reshape(places.shape)
        if found.softmax is not None:
            y = over_axes(found.softmax, y, backend)
        if not self._trains():
            return [y]
        return [y, *(network.statistics[f"bn1.running_{name}"].copy() for name in ("mean", "var"))]


def with_scale_1(found):
    """The layers with a ScaleShift behind them that multiplies with 1: a network needs a layer with
    parameters."""
    n_values = found.places.size
    arrays = {"scale": np.ones(n_values), "shift": np.zeros(n_values)}
    node = LayerNode(ScaleShift(), arrays, (0,), (n_values,), "the end")
    return replace(found, layers=[*found.layers, ScaleShift()], nodes=[*found.nodes, node])


def rows(shape):
    """A matrix that is one image: its rows as pixels, or its columns."""
    if len(shape) < 2:
        return []
    n_rows, n_columns = math.prod(shape[:-1]), shape[-1]
    found = [Arrangement((n_rows, 1, n_columns), vector_places(shape))]
    if len(shape) == 2:
        found.append(Arrangement((n_columns, 1, n_rows), vector_places(shape[::-1]).T))
    return found


def reduced_to_pixels(node, graph, shape):
    """For a reduction of a tensor that is one image: what is reduced as pixels, the rest as
    channels."""
    if not node.operator.startswith("Reduce"):
        return []
    constants = [graph.arrays.get(name) for name in node.inputs]
    axes = axes_of(node, constants, 1, len(shape)) or list(range(len(shape)))
    others = [axis for axis in range(len(shape)) if axis not in axes]
    order = [*axes, *others]
    n_pixels = math.prod(shape[axis] for axis in axes)
    places = vector_places([shape[axis] for axis in order]).transpose(np.argsort(order))
    return [Arrangement((n_pixels, 1, math.prod(shape) // n_pixels), places)]


def over_axes(left_out, y, backend):
    """The softmax or log-softmax that the reader leaves out at the end."""
    function = softmax if left_out.node.operator == "Softmax" else log_softmax
    axes = left_out.axes
    others = [axis for axis in range(y.ndim) if axis not in axes]
    order = [*others, *axes]
    moved = y.transpose(order)
    rows = moved.reshape(-1, math.prod(y.shape[axis] for axis in axes))
    result = function(np.ascontiguousarray(rows), backend=backend)
    return result.reshape(moved.shape).transpose(np.argsort(order))
