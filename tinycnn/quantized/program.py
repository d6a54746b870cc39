"""A quantised network: operations on uint8 arrays, in their order.

`outline` says which operations a plan becomes.  A ReLU is done by the operation before it where
that is possible; any other activation, a PReLU or a ScaleShift is a table of 256 integers (for each
channel).  Dropout and Flatten are no operations.  What has no integer form (a user's own layer, and
sums of too many products) is computed in float32 from the values of its input.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .. import layers
from ..layers import CustomLayer, Layer, Shape, entry_for
from ..plan import NETWORK_INPUT, Plan, Step
from .quantization import LARGEST, MOST_PRODUCTS, Quantization

KINDS: dict[type[Layer], str] = {
    layers.Conv2D: "convolution",
    layers.DepthwiseConv2D: "depthwise",
    layers.Dense: "dense",
    layers.MaxPool2D: "max_pool",
    layers.AveragePool2D: "average_pool",
    layers.GlobalAveragePool2D: "average_pool",
    layers.Add: "add",
    **dict.fromkeys(
        (
            *(layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.Sigmoid, layers.Tanh),
            layers.ScaleShift,
        ),
        "table",
    ),
    **dict.fromkeys((layers.Dropout, layers.SpatialDropout2D, layers.Flatten), ""),
}
"""Layer class -> the kind of its operation; "": none.  BatchNorm has no entry: it is folded."""

WITH_WEIGHTS = ("convolution", "depthwise", "dense")
CLAMPED = (*WITH_WEIGHTS, "add", "average_pool")
"""Kinds that do a ReLU which follows."""
TO_LOGITS = ("dense", "average_pool")
"""Kinds that can give float32 values: the last operation then gives the logits without rounding."""
KEEP_QUANTIZATION = ("max_pool", "copy")
"""Kinds whose output has the quantization of the input."""


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of a quantised network.

    kind     see KINDS; "float": computed in float32
    step     of the folded plan
    inputs   numbers of the operations whose outputs it takes; NETWORK_INPUT for the network's input
    last     the name of the step whose output it gives: `step`, or a ReLU after it
    ceiling  the largest value of that ReLU; infinity without one; None: no ReLU follows
    output   quantization of its output; None: its output are the logits, in float32
    arrays   w (int8), scale (float32), b (int32) of an operation with weights; table (C or 1, 256)
             (uint8) of a table; the layer's own parameters, in float32, of the other kinds
    """

    kind: str
    step: Step
    inputs: tuple[int, ...]
    last: str
    ceiling: float | None
    output: Quantization | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The shape of the output for one image."""
        return self.step.output_shape

    @property
    def limits(self) -> tuple[int, int]:
        """low and high of equation (3)."""
        if self.output is None or self.ceiling is None:
            return 0, LARGEST
        high = LARGEST
        if self.ceiling < math.inf:
            high = int(self.output.quantized(np.array(self.ceiling, np.float32)))
        return self.output.zero_point, high


@dataclass(frozen=True, eq=False)
class Program:
    """A quantised network without its description of images and classes.

    plan   of the folded network
    input  quantization of the network's input
    """

    plan: Plan
    input: Quantization
    operations: tuple[Operation, ...]

    def quantization(self, number: int) -> Quantization:
        """How the integers that others read from operation `number` stand for real numbers; from
        the network's input, if that is NETWORK_INPUT."""
        found = self.input if number == NETWORK_INPUT else self.operations[number].output
        assert found is not None
        return found

    def shape(self, number: int) -> Shape:
        """The shape of the output of operation `number` for one image; NETWORK_INPUT likewise."""
        return self.plan.input_shape if number == NETWORK_INPUT else self.operations[number].shape

    @property
    def in_float(self) -> tuple[str, ...]:
        """Names of the steps that are computed in float32."""
        return tuple(o.step.name for o in self.operations if o.kind == "float")

    def first_in_floats(self) -> str:
        """The first layer that is computed in float32, in words for an error; "" if none is."""
        for operation in self.operations:
            if operation.kind == "float":
                layer = type(operation.step.layer).__name__
                return f"layer {operation.step.name} ({layer}) is computed in float32"
        return ""

    @property
    def n_weight_bytes(self) -> int:
        """Bytes of all arrays of the operations."""
        return sum(a.nbytes for o in self.operations for a in o.arrays.values())


def kind_of(step: Step) -> str:
    """The kind of a step's operation; "" for none."""
    if isinstance(step.layer, CustomLayer):
        return "float"
    kind = entry_for(step.layer, KINDS, "tinycnn.quantized.program.KINDS")
    if kind in WITH_WEIGHTS:
        w = step.layer.parameter_shapes(step.input_shape)["w"]
        n_products = math.prod(w[:2]) if kind == "depthwise" else math.prod(w[:-1])
        return "float" if n_products > MOST_PRODUCTS else kind
    if kind == "average_pool":
        window = step.window
        return "float" if window.KH * window.KW > MOST_PRODUCTS else kind
    return kind


def check_layers(plan: Plan) -> None:
    """Raise UnknownLayerError for a layer that has no entry in KINDS."""
    for step in plan.steps:
        if not isinstance(step.layer, layers.BatchNorm):
            kind_of(step)


def outline(plan: Plan) -> list[Operation]:
    """The operations of a folded plan, without quantizations and arrays."""
    n_readers = Counter(source for step in plan.steps for source in step.inputs)
    operations: list[Operation] = []
    places = {NETWORK_INPUT: NETWORK_INPUT}  # of the output of each step
    shared = {NETWORK_INPUT: n_readers[NETWORK_INPUT] > 1}  # whether several steps read it
    for k, step in enumerate(plan.steps):
        kind, source = kind_of(step), step.inputs[0]
        before, shares = places[source], shared[source]
        shared[k] = n_readers[k] > 1
        if kind == "" and not (isinstance(step.layer, layers.Flatten) and shares):
            places[k], shared[k] = before, shares or shared[k]
            continue
        if isinstance(step.layer, layers.ReLU) and before != NETWORK_INPUT and not shares:
            first = operations[before]
            if first.kind in CLAMPED:
                ceiling = math.inf if step.layer.max_value is None else step.layer.max_value
                ceiling = min(ceiling, math.inf if first.ceiling is None else first.ceiling)
                operations[before] = Operation(
                    first.kind, first.step, first.inputs, step.name, ceiling
                )
                places[k] = before
                continue
        places[k] = len(operations)
        inputs = tuple(places[number] for number in step.inputs)
        operations.append(Operation(kind or "copy", step, inputs, step.name, None))
    if not operations or places[len(plan.steps) - 1] != len(operations) - 1:
        raise ValueError("the last layer of the network does nothing in prediction")
    return operations


def complete_program(
    plan: Plan,
    operations: Sequence[Operation],
    given: Quantization,
    output_of: Callable[[Operation], Quantization],
    arrays_of: Callable[[Operation, Quantization], Mapping[str, np.ndarray]],
) -> Program:
    """The program of `outline`'s operations, with their numbers.

    given      quantization of the network's input
    output_of  returns that of an operation's output.  Not called for those that keep their input's,
               nor for an operation whose output are the logits in float32
    arrays_of  returns the arrays of an operation for the quantization of its (first) input
    """
    done: list[Operation] = []
    for k, operation in enumerate(operations):
        source = operation.inputs[0]
        x = given if source == NETWORK_INPUT else done[source].output
        assert x is not None
        exact = operation.kind == "float"
        exact |= operation.kind in TO_LOGITS and len(operation.shape) == 1
        if k == len(operations) - 1 and exact and operation.ceiling is None:
            output = None
        else:
            output = x if operation.kind in KEEP_QUANTIZATION else output_of(operation)
        operation = replace(operation, output=output)
        done.append(replace(operation, arrays=arrays_of(operation, x)))
    return Program(plan, given, tuple(done))


def weights_as_convolution(operation: Operation) -> np.ndarray:
    """The weights of an operation in the shape (KH, KW, C, F) of a convolution, int8.

    A dense layer becomes a convolution of 1 x 1 taps.  A filter of a depthwise convolution gets
    zeros for the channels that it does not see.
    """
    w = operation.arrays["w"]
    if operation.kind == "dense":
        return w[None, None]
    if operation.kind == "depthwise":
        KH, KW, C = w.shape[0], w.shape[1], operation.step.input_shape[2]
        whole = np.zeros((KH, KW, C, w.shape[2]), np.int8)
        D = w.shape[2] // C
        for f in range(w.shape[2]):
            whole[:, :, f // D, f] = w[:, :, f]
        return whole
    return w
