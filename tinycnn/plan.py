"""From layers and an input shape to a plan: each layer's name, shapes and parameter offsets.

The parameters of all layers are stored in one flat array, and their gradients in another, at the
same offsets.  Each tensor begins on a 64-byte boundary (in float32).  Both backends use the plan:
the reference runs its steps, and `kernels/operations.py` makes the table of operations from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .layers import LAYERS, CustomLayer, Layer, Shape, WindowLayer

ALIGNMENT = 16  # array elements: 64 bytes of float32


def aligned(size: int) -> int:
    """`size` rounded up, so that the next tensor begins on a 64-byte boundary (in float32)."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class StepWindow(NamedTuple):
    """How the window of a convolution or pooling moves over the layer's input."""

    KH: int  # rows of the window
    KW: int  # columns of the window
    S: int  # stride, the same along both axes
    PT: int  # rows of padding above the input
    PL: int  # columns of padding to its left
    PB: int  # rows of padding below it
    PR: int  # columns of padding to its right


@dataclass(frozen=True)
class Step:
    """A layer of a network with its name and shapes."""

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape

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
    def window(self) -> StepWindow:
        layer = self.layer
        assert isinstance(layer, WindowLayer)
        rows, columns = layer.axes(self.input_shape)
        KH, KW = layer.kernel_hw
        S = layer.stride
        return StepWindow(KH, KW, S, rows.before, columns.before, rows.after, columns.after)


@dataclass(frozen=True, repr=False)
class Plan:
    """The steps of a network and the layout of its parameters.

    parameter_slots    offset and shape of each parameter in the flat array, by name (conv1.w)
    n_parameter_slots  elements of that array
    """

    input_shape: Shape
    steps: tuple[Step, ...]
    parameter_slots: dict[str, tuple[int, Shape]]
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
    def n_parameters(self) -> int:
        return sum(int(np.prod(shape)) for _, shape in self.parameter_slots.values())


def build_plan(layers: Sequence[Layer], input_shape: Shape) -> Plan:
    """The plan of a network for pictures of `input_shape` (H, W, C).

    Raises ValueError if a layer cannot take the output of the one before it (the message names the
    layer), if the last output is not a vector, or if no layer has parameters; TypeError for
    anything that is not a layer, or a layer of a class that tinycnn cannot run.
    """
    steps: list[Step] = []
    slots: dict[str, tuple[int, Shape]] = {}
    counts: dict[str, int] = {}
    shape, offset = tuple(input_shape), 0
    for k, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layer {k + 1} is {layer!r}; expected a layer such as ReLU()")
        if type(layer) not in LAYERS.values() and not isinstance(layer, CustomLayer):
            raise TypeError(
                f"layer {k + 1} is {layer!r}, of a class that tinycnn cannot run: derive the class "
                "from tinycnn.CustomLayer and define the functions that its docstring names"
            )
        counts[layer.stem] = counts.get(layer.stem, 0) + 1
        name = f"{layer.stem}{counts[layer.stem]}"
        try:
            step = Step(name, layer, shape, layer.output_shape(shape))
        except ValueError as error:
            raise ValueError(f"layer {name}: {error}") from None
        for short, parameter_shape in layer.parameter_shapes(shape).items():
            slots[f"{name}.{short}"] = (offset, parameter_shape)
            offset += aligned(int(np.prod(parameter_shape)))
        steps.append(step)
        shape = step.output_shape
    if not steps or len(shape) != 1:
        raise ValueError(
            f"a network ends in a vector of logits; these layers give shape {shape}: end them with "
            "Flatten() and Dense(n_classes)"
        )
    if not slots:
        raise ValueError("a network needs a layer with parameters: Conv2D or Dense")
    return Plan(tuple(input_shape), tuple(steps), slots, offset)


def named_views(plan: Plan, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Views of all parameters in a flat array, by name."""
    return {
        name: flat[offset : offset + int(np.prod(shape))].reshape(shape)
        for name, (offset, shape) in plan.parameter_slots.items()
    }


class StepArrays(NamedTuple):
    """A step of the plan with its parameters and gradients, by short name."""

    step: Step
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]


def step_arrays(plan: Plan, parameters: np.ndarray, gradients: np.ndarray) -> list[StepArrays]:
    """Every step, with views of its parameters and gradients in the flat arrays."""
    by_name, gradient_by_name = named_views(plan, parameters), named_views(plan, gradients)
    return [
        StepArrays(step, of_step(step, by_name), of_step(step, gradient_by_name))
        for step in plan.steps
    ]


def of_step(step: Step, named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one step, from all named conv1.w, conv1.b, ..., by short name (w, b)."""
    prefix = f"{step.name}."
    return {name[len(prefix) :]: a for name, a in named.items() if name.startswith(prefix)}
