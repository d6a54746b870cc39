"""From layers and an input shape to a plan: names, shapes, offsets, and a table of operations.

Parameters of all layers lie in one flat array, gradients in another of the same layout; each
tensor starts on a 64-byte boundary.  `steps` is the network layer by layer, which the reference
walks.  `operations` is what the kernels walk: flat records in which ReLU is folded into the layer
before it, and a convolution and the pooling behind it are one operation, done image by image so
that the convolution's output never leaves the cache.  (ReLU and max-pooling commute: the largest
value of a window survives ReLU as the largest.  Folding them saves three ReLUs in four.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU, Shape

CONV2D, MAXPOOL2D, DENSE, RELU, DROPOUT = range(5)

OPERATION = np.dtype(
    [
        (name, np.int64)
        for name in (
            # what, and whether a ReLU or a pooling is part of it
            *("kind", "relu", "pool"),
            # input: offset of its activations (-1: the network's input) and shape; a vector is
            # 1 x 1 x units
            *("x_offset", "H", "W", "C"),
            # output of the operation
            *("y_offset", "OH", "OW", "F"),
            # window of the convolution, and the convolution's own output where a pooling follows
            *("KH", "KW", "S", "PT", "PL", "conv_OH", "conv_OW"),
            # its input with all padding around it
            *("padded_H", "padded_W"),
            # window of the pooling, offset of its argmax, and windows that backward lists at a time
            *("pool_K", "pool_S", "pool_PT", "pool_PL", "argmax_offset", "listed"),
            # parameters; offset of the transposed weights; offset of the dropout mask
            *("w_offset", "b_offset", "w_t_offset", "mask_offset"),
            # whether forward takes kernels/conv2d_winograd.py, and offset of the weights as that
            # wants them: 0 here, for only the kernels know the host; `backends` fills them in
            *("winograd", "u_offset"),
        )
    ]
)

LISTED = 128
"""Most windows that the backward pass through a pooling lists at a time: with them go so many
pixels as a core's first cache holds."""

LIST_END = 8  # array elements behind a list: a block of kernels/_winner_lists.py

ALIGNMENT = 16  # array elements: 64 bytes of float32


def aligned(size: int) -> int:
    """`size`, rounded up so that what follows begins on a 64-byte boundary (of float32)."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Step:
    """One layer in its place: its name in the network and its shapes."""

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class Plan:
    """A network laid out.  Sizes are in array elements; those of activations are for one image."""

    input_shape: Shape
    steps: tuple[Step, ...]
    parameter_slots: dict[str, tuple[int, Shape]]
    n_parameter_slots: int
    operations: np.ndarray
    n_activations: int
    n_argmax: int
    n_mask: int
    n_conv_output: int
    n_transposed: int
    n_padded: int
    n_winners: int
    n_targets: int

    @property
    def output_shape(self) -> Shape:
        return self.steps[-1].output_shape

    @property
    def n_parameters(self) -> int:
        return sum(int(np.prod(shape)) for _, shape in self.parameter_slots.values())


def build_plan(layers: Sequence[Layer], input_shape: Shape) -> Plan:
    """Lay `layers` out for pictures of `input_shape` (H, W, C).

    Raises ValueError naming the layer that cannot take what the one before it gives, where the
    last layer gives no vector, and where no layer has parameters; TypeError for what is no layer.
    """
    steps: list[Step] = []
    slots: dict[str, tuple[int, Shape]] = {}
    counts: dict[str, int] = {}
    shape, offset = tuple(input_shape), 0
    for k, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"layer {k + 1} is {layer!r}; expected a layer such as ReLU()")
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
    return Plan(tuple(input_shape), tuple(steps), slots, offset, **_operations(steps, slots))


FUSED = (
    (Conv2D, ReLU, MaxPool2D),
    (Conv2D, MaxPool2D, ReLU),
    (Conv2D, MaxPool2D),
    (Conv2D, ReLU),
    (Dense, ReLU),
)
"""Layers that follow one another and are done as one operation, longest first."""

KINDS = {Conv2D: CONV2D, MaxPool2D: MAXPOOL2D, Dense: DENSE, ReLU: RELU, Dropout: DROPOUT}


def _groups(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps of each operation in turn; Flatten changes no value and needs none.

    Nothing is folded across a Flatten: the shapes on its two sides differ.
    """
    k = 0
    while k < len(steps):
        kinds = tuple(type(step.layer) for step in steps[k : k + 3])
        n_steps = next((len(f) for f in FUSED if kinds[: len(f)] == f), 1)
        if kinds[0] is not Flatten:
            yield steps[k : k + n_steps]
        k += n_steps


def _operations(steps: Sequence[Step], slots: dict[str, tuple[int, Shape]]) -> dict:
    """The table of operations for the kernels, and the sizes of what they work in."""
    names = ("n_activations", "n_argmax", "n_mask", "n_transposed")
    scratch_names = ("n_conv_output", "n_padded", "n_winners", "n_targets")
    sizes = dict.fromkeys(names + scratch_names, 0)

    def take(size_name: str, shape: Shape) -> int:
        offset = sizes[size_name]
        sizes[size_name] += aligned(int(np.prod(shape)))
        return offset

    def take_scratch(size_name: str, shape: Shape) -> None:  # operations use it in turn
        sizes[size_name] = max(sizes[size_name], aligned(int(np.prod(shape))))

    table: list[np.ndarray] = []
    x_offset = -1
    for group in _groups(steps):
        first, layer = group[0], group[0].layer
        op = np.zeros((), OPERATION)
        op["kind"] = KINDS[type(layer)]
        op["x_offset"] = x_offset
        op["H"], op["W"], op["C"] = _as_picture(first.input_shape)
        op["OH"], op["OW"], op["F"] = _as_picture(group[-1].output_shape)
        op["y_offset"] = x_offset = take("n_activations", group[-1].output_shape)
        if isinstance(layer, (Conv2D, Dense)):
            op["w_offset"], w_shape = slots[f"{first.name}.w"]
            op["b_offset"] = slots[f"{first.name}.b"][0]
            op["w_t_offset"] = take("n_transposed", w_shape)
        if isinstance(layer, Conv2D):
            vertical, horizontal = layer.axes(first.input_shape)
            op["KH"], op["KW"], op["S"] = *layer.kernel_hw, layer.stride
            op["PT"], op["PL"] = vertical.before, horizontal.before
            op["conv_OH"], op["conv_OW"] = first.output_shape[:2]
        if isinstance(layer, Dropout):
            op["mask_offset"] = take("n_mask", first.output_shape)
        for step in group:
            if isinstance(step.layer, ReLU):
                op["relu"] = 1
            if isinstance(step.layer, MaxPool2D):
                vertical, horizontal = step.layer.axes(step.input_shape)
                op["pool"], op["pool_K"], op["pool_S"] = 1, step.layer.size, step.layer.stride
                op["pool_PT"], op["pool_PL"] = vertical.before, horizontal.before
                op["argmax_offset"] = take("n_argmax", step.output_shape)
        if isinstance(layer, Conv2D) and op["pool"]:
            OH, OW, F = first.output_shape
            padded_H, padded_W = padded_size(op)
            op["padded_H"], op["padded_W"] = padded_H, padded_W
            take_scratch("n_conv_output", first.output_shape)
            take_scratch("n_padded", (padded_H, padded_W, int(op["C"])))
            op["listed"] = min(int(op["OH"] * op["OW"]), LISTED)
            take_scratch("n_winners", (2, F, int(op["listed"]) + LIST_END))
            take_scratch("n_targets", (2, 3, max(F, OH * OW)))
        table.append(op)
    # np.record: fields are attributes without the JIT too
    return dict(operations=np.array(table, np.dtype((np.record, OPERATION))), **sizes)


def padded_size(op: np.ndarray) -> tuple[int, int]:
    """Height and width of a convolution's input that holds every tap of every output position."""
    height = max((op["conv_OH"] - 1) * op["S"] + op["KH"], op["PT"] + op["H"])
    width = max((op["conv_OW"] - 1) * op["S"] + op["KW"], op["PL"] + op["W"])
    return int(height), int(width)


def _as_picture(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (1, 1, shape[0])
