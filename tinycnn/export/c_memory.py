"""The C arrays for the values between layers, and which array each layer reads and writes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from ..layers import Flatten, Shape, entry_for
from ..plan import NETWORK_INPUT, Plan, Step
from .c_operations import OPERATIONS, COperation, c_name, is_plain_relu

INPUT = "input"
"""The C name of the network's input."""


@dataclass(frozen=True)
class Buffer:
    """A C array for a layer's output: height x width pixels.

    The picture begins after `above` rows and `left` columns.  The zeros around it are those that
    the windows of later layers read.  A vector is a picture of 1x1xunits.
    """

    name: str
    shape: Shape
    above: int
    left: int
    height: int
    width: int

    @property
    def n_values(self) -> int:
        return self.height * self.width * self.shape[2]

    @property
    def has_border(self) -> bool:
        return (self.height, self.width) != self.shape[:2]

    def declared(self) -> str:
        H, W, C = self.shape
        start = (self.above * self.width + self.left) * C
        values = f"{self.name}_values"
        at = f"{values} + {start}" if start else values
        return (
            f"static float {values}[{self.n_values}];\n"
            f"static const picture {self.name} = {{{at}, {self.width * C}, {H}, {W}, {C}}};"
        )


class Value(NamedTuple):
    """Where a layer's output is.

    picture    C name of the picture;  buffer: of the buffer that holds its values
    exclusive  whether only one later layer reads the buffer, which may then overwrite it
    """

    picture: str
    buffer: str
    exclusive: bool


class View(NamedTuple):
    """A vector of n_values in the array of a buffer that has no border."""

    name: str
    buffer: str
    n_values: int

    def declared(self) -> str:
        n = self.n_values
        return f"static const picture {self.name} = {{{self.buffer}_values, {n}, 1, 1, {n}}};"


@dataclass(frozen=True)
class Call:
    """A call in the program.

    inputs  C names of the pictures that it reads
    output  of the one that it writes
    copied  C name of a picture to copy to the only input first; None: nothing is copied
    relu    whether a ReLU that follows is part of the call
    """

    step: Step
    operation: COperation
    inputs: tuple[str, ...]
    output: str
    copied: str | None
    relu: bool


class Memory:
    """The buffers and calls of a network.

    buffers  by their C names, in the order of the layers
    views    further pictures in the same arrays: flattened ones
    calls    in their order; (from, to) are the C names of a picture that is copied, flattened
    output   C name of the logits' picture
    Raises UnknownLayerError for a layer that OPERATIONS does not have.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        table_name = "tinycnn.export.c_operations.OPERATIONS"
        self.operations = [entry_for(step.layer, OPERATIONS, table_name) for step in plan.steps]
        self.users: dict[int, list[int]] = defaultdict(list)
        for k, step in enumerate(plan.steps):
            for source in step.inputs:
                self.users[source].append(k)
        self.borders: dict[str, tuple[int, int, int, int]] = {}
        self._walk()  # finds out which zeros are read around each buffer
        self._walk()

    def _walk(self) -> None:
        self.buffers: dict[str, Buffer] = {}
        self.views: list[View] = []
        self.calls: list[Call | tuple[str, str]] = []
        values = {NETWORK_INPUT: self._new(INPUT, self.plan.input_shape, NETWORK_INPUT)}
        done: set[int] = set()  # ReLUs that are part of the call before
        for k, (step, operation) in enumerate(zip(self.plan.steps, self.operations)):
            inputs = [values[source] for source in step.inputs]
            given = inputs[0]
            alone = given.exclusive and len(self.users[k]) <= 1
            if isinstance(step.layer, Flatten) and len(step.input_shape) == 3:
                values[k] = self._flattened(k, given, alone)
                continue
            if operation is None or k in done:
                values[k] = given._replace(exclusive=alone)
                continue
            if operation.border is not None:
                self.borders[given.buffer] = self._wider(given.buffer, operation, step)
            relu = self._relu_after(k) if operation.applies_relu else None
            if relu is not None:
                done.add(relu)
            copied = None
            if operation.in_place and given.exclusive:
                values[k] = given._replace(exclusive=len(self.users[k]) <= 1)
            else:
                values[k] = self._new(c_name(step), step.output_shape, k)
                if operation.in_place:
                    copied, inputs = given.picture, [values[k]]
            pictures = tuple(value.picture for value in inputs)
            written = values[k].picture
            self.calls.append(Call(step, operation, pictures, written, copied, relu is not None))
        self.output = values[len(self.plan.steps) - 1].picture

    def _new(self, name: str, shape: Shape, k: int) -> Value:
        """A value with a buffer of its own, for the output of step k."""
        H, W, C = shape if len(shape) == 3 else (1, 1, shape[0])
        above, left, height, width = self.borders.get(name, (0, 0, H, W))
        self.buffers[name] = Buffer(name, (H, W, C), above, left, height, width)
        return Value(name, name, len(self.users[k]) <= 1)

    def _flattened(self, k: int, given: Value, alone: bool) -> Value:
        """The value as a vector: another view of its buffer, or a copy without the zeros around."""
        step = self.plan.steps[k]
        name, n = c_name(step), step.output_shape[0]
        if self.buffers[given.buffer].has_border:
            self.calls.append((given.picture, name))
            return self._new(name, (n,), k)
        self.views.append(View(name, given.buffer, n))
        return Value(name, given.buffer, alone)

    def _wider(self, buffer: str, operation: COperation, step: Step) -> tuple[int, int, int, int]:
        """The border of a buffer, so wide that also this step finds its zeros."""
        assert operation.border is not None
        H, W, _ = step.input_shape
        wanted = [self.borders.get(buffer, (0, 0, H, W)), operation.border(step)]
        above, left = (max(border[side] for border in wanted) for side in (0, 1))
        below = max(height - top - H for top, _, height, _ in wanted)
        right = max(width - first - W for _, first, _, width in wanted)
        return above, left, above + H + below, left + W + right

    def _relu_after(self, k: int) -> int | None:
        """The number of the ReLU that takes the output of step k, if nothing else does."""
        while len(self.users[k]) == 1:
            k = self.users[k][0]
            if is_plain_relu(self.plan.steps[k].layer):
                return k
            if self.operations[k] is not None:
                return None
        return None
