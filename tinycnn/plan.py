"""From layers and an input shape to a plan: each layer's name, shapes and parameter offsets.

The parameters of all layers are stored in one flat array, and their gradients in another, at the
same offsets.  Behind the parameters follow the statistics (of BatchNorm) and zeros for the biases
that layers do not have; optimizers change neither.  Each tensor begins on a 64-byte boundary (in
float32).  Both backends use the plan: the reference runs its steps, and `kernels/operations.py`
makes the table of operations from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .layers import (
    LAYERS,
    Add,
    AveragePool2D,
    CustomLayer,
    GlobalAveragePool2D,
    Layer,
    Residual,
    Shape,
    WindowLayer,
)

ALIGNMENT = 16  # array elements: 64 bytes of float32


def aligned(size: int) -> int:
    """`size` rounded up, so that the next tensor begins on a 64-byte boundary (in float32)."""
    return -(-size // ALIGNMENT) * ALIGNMENT


NETWORK_INPUT = -1

WORK_OF_ELEMENT = 8
"""An element that a layer computes costs as much time as this many multiply-adds, as measured."""


class Window(NamedTuple):
    """How the window of a convolution or pooling moves over the layer's input."""

    KH: int  # rows of the window
    KW: int  # columns of the window
    SH: int  # vertical stride
    SW: int  # horizontal stride
    PT: int  # rows of padding above the input
    PL: int  # columns of padding to its left
    PB: int  # rows of padding below it
    PR: int  # columns of padding to its right


@dataclass(frozen=True)
class Step:
    """A layer of a network with its name and shapes.

    inputs  of each input: the number of the step whose output it is, from 0; NETWORK_INPUT for the
            network's input.  Only an Add has two inputs, of the same shape
    """

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    inputs: tuple[int, ...]

    @property
    def n_parameters(self) -> int:
        shapes = self.layer.parameter_shapes(self.input_shape).values()
        return sum(math.prod(shape) for shape in shapes)

    @property
    def n_multiply_adds(self) -> int:
        """For one image, with the products on padding: every weight is used once at every position
        of the output.  Layers without weights called w count as none."""
        shapes = self.layer.parameter_shapes(self.input_shape)
        return math.prod(shapes["w"]) * math.prod(self.output_shape[:-1]) if "w" in shapes else 0

    @property
    def window(self) -> Window:
        """The window of a `WindowLayer`; that of a global average is the whole picture."""
        layer = self.layer
        if isinstance(layer, GlobalAveragePool2D):
            H, W, _ = self.input_shape
            return Window(H, W, 1, 1, 0, 0, 0, 0)
        assert isinstance(layer, WindowLayer)
        rows, columns = layer.axes(self.input_shape)
        return Window(
            *layer.kernel_hw,
            *layer.stride_hw,
            rows.before,
            columns.before,
            rows.after,
            columns.after,
        )

    @property
    def counts_padding(self) -> bool:
        """Whether it is an average pooling that counts padding."""
        return isinstance(self.layer, AveragePool2D) and self.layer.count_padding


@dataclass(frozen=True, repr=False)
class Plan:
    """The steps of a network and the layout of its parameters.

    layers             what the plan was made from
    parameter_slots    offset and shape of each parameter in the flat array, by name (conv1.w)
    statistic_slots    the same for the statistics (bn1.running_mean)
    unused_bias_slots  the same for the zeros of each layer without a bias, by the layer's name
    n_trained_slots    elements at the beginning of that array that optimizers change
    n_parameter_slots  elements of that array
    """

    layers: tuple[Layer, ...]
    input_shape: Shape
    steps: tuple[Step, ...]
    parameter_slots: dict[str, tuple[int, Shape]]
    statistic_slots: dict[str, tuple[int, Shape]]
    unused_bias_slots: dict[str, tuple[int, Shape]]
    n_trained_slots: int
    n_parameter_slots: int

    def __repr__(self) -> str:
        sizes = "x".join(map(str, self.input_shape))
        outputs = "x".join(map(str, self.output_shape))
        n = len(self.steps)
        return f"<Plan {sizes} -> {outputs}: {n} steps, {self.n_parameters:,} parameters>"

    @property
    def output_shape(self) -> Shape:
        return self.steps[-1].output_shape

    @property
    def work(self) -> int:
        """About how long one image takes in prediction, in multiply-adds of a convolution: an
        element of a layer's output takes as long as WORK_OF_ELEMENT of them."""
        n_elements = sum(math.prod(step.output_shape) for step in self.steps)
        return sum(step.n_multiply_adds for step in self.steps) + WORK_OF_ELEMENT * n_elements

    @property
    def n_parameters(self) -> int:
        """The number of trained parameters."""
        return sum(math.prod(shape) for _, shape in self.parameter_slots.values())

    def bias_offset(self, step: Step) -> int:
        """Where the bias of a step begins: its parameter b, or the zeros in its place."""
        slot = self.parameter_slots.get(f"{step.name}.b")
        return (slot or self.unused_bias_slots[step.name])[0]


def build_plan(layers: Sequence[Layer], input_shape: Shape) -> Plan:
    """The plan of a network for pictures of `input_shape` (H, W, C).

    Raises ValueError if a layer cannot take the output of the one before it (the message names the
    layer), if the last output is not a vector, or if no layer has parameters; TypeError for
    anything that is not a layer, or a layer of a class that tinycnn cannot run.
    """
    steps: list[Step] = []
    shape = tuple(input_shape)
    _, shape = _append_steps(steps, layers, (NETWORK_INPUT, shape), "")
    if not steps or len(shape) != 1:
        raise ValueError(
            f"a network ends in a vector of logits; these layers give shape {shape}: end them with "
            "Flatten() and Dense(n_classes)"
        )
    parameters, n_trained_slots = _slots(
        0, _named_shapes((step, step.layer.parameter_shapes(step.input_shape)) for step in steps)
    )
    if not parameters:
        raise ValueError("a network needs a layer with parameters: Conv2D or Dense")
    statistics, end = _slots(
        n_trained_slots,
        _named_shapes((step, step.layer.statistic_shapes(step.input_shape)) for step in steps),
    )
    unused = {step.name: step.layer.unused_bias_shape(step.input_shape) for step in steps}
    zeros, end = _slots(end, {name: shape for name, shape in unused.items() if shape})
    return Plan(
        layers=tuple(layers),
        input_shape=tuple(input_shape),
        steps=tuple(steps),
        parameter_slots=parameters,
        statistic_slots=statistics,
        unused_bias_slots=zeros,
        n_trained_slots=n_trained_slots,
        n_parameter_slots=end,
    )


Source = tuple[int, Shape]
"""Where a layer's input comes from: the number of a step or NETWORK_INPUT, and its shape."""


def _append_steps(
    steps: list[Step], layers: Sequence[Layer], source: Source, prefix: str
) -> Source:
    """Append the steps of `layers`, one after the other; returns the last.

    prefix  of their names: "" or "residual1."
    """
    names = layer_names(layers)
    for k, layer in enumerate(layers):
        _check_class(layer, f"layer {prefix}{k + 1}")
        name = prefix + next(names)
        index, shape = source
        if isinstance(layer, Residual):
            body, body_shape = _append_steps(steps, layer.layers, source, f"{name}.")
            other, other_shape = _append_steps(steps, layer.shortcut, source, f"{name}.shortcut.")
            add = Add()
            try:
                shape = add.output_shape_of(body_shape, other_shape)
            except ValueError as error:
                raise ValueError(f"layer {name}: {error}") from None
            steps.append(Step(f"{name}.{add.stem}", add, shape, shape, (body, other)))
        else:
            try:
                output_shape = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"layer {name}: {error}") from None
            steps.append(Step(name, layer, shape, output_shape, (index,)))
        source = len(steps) - 1, steps[-1].output_shape
    return source


def layer_names(layers: Iterable[Layer]) -> Iterator[str]:
    """The names that layers have in a plan, without a prefix: conv1, relu1, conv2, ..."""
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.stem] = counts.get(layer.stem, 0) + 1
        yield f"{layer.stem}{counts[layer.stem]}"


def _check_class(layer: Layer, where: str) -> None:
    if not isinstance(layer, Layer):
        raise TypeError(f"{where} is {layer!r}; expected a layer such as ReLU()")
    if type(layer) not in LAYERS.values() and not isinstance(layer, CustomLayer):
        raise TypeError(
            f"{where} is {layer!r}, of a class that tinycnn cannot run: derive the class "
            "from tinycnn.CustomLayer and define the functions that its docstring names"
        )


def _named_shapes(shapes: Iterable[tuple[Step, dict[str, Shape]]]) -> dict[str, Shape]:
    return {
        f"{step.name}.{short}": shape
        for step, of_step in shapes
        for short, shape in of_step.items()
    }


def _slots(begin: int, shapes: Mapping[str, Shape]) -> tuple[dict[str, tuple[int, Shape]], int]:
    """Offset and shape of arrays that follow one another from `begin`; where the last one ends."""
    slots: dict[str, tuple[int, Shape]] = {}
    for name, shape in shapes.items():
        slots[name] = (begin, shape)
        begin += aligned(math.prod(shape))
    return slots, begin


def named_views(slots: Mapping[str, tuple[int, Shape]], flat: np.ndarray) -> dict[str, np.ndarray]:
    """Views of the arrays that begin at `slots` in a flat array, by name."""
    return {
        name: flat[offset : offset + math.prod(shape)].reshape(shape)
        for name, (offset, shape) in slots.items()
    }


class StepArrays(NamedTuple):
    """A step of the plan with its parameters, gradients and statistics, by short name."""

    step: Step
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    statistics: Mapping[str, np.ndarray]


def step_arrays(plan: Plan, parameters: np.ndarray, gradients: np.ndarray) -> list[StepArrays]:
    """Every step, with views of its arrays in the flat ones."""
    named = (
        named_views(plan.parameter_slots, parameters),
        named_views(plan.parameter_slots, gradients),
        named_views(plan.statistic_slots, parameters),
    )
    return [StepArrays(step, *(of_step(step, arrays) for arrays in named)) for step in plan.steps]


def of_step(step: Step, named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one step, from all named conv1.w, conv1.b, ..., by short name (w, b)."""
    prefix = f"{step.name}."
    return {name[len(prefix) :]: a for name, a in named.items() if name.startswith(prefix)}
