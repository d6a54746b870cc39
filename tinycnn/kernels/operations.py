"""The table of operations: what the kernels walk, one record an operation, complete when made.

Layers that follow one another may become one operation: a ReLU is done with the layer before it,
and a convolution with the max-pooling behind it, image by image, so that the convolution's output
never leaves the cache.  (ReLU and max-pooling commute: the largest value of a window is also the
largest after ReLU.  Doing ReLU after the pooling saves three ReLUs in four.)

The table is cut into segments.  A segment is a range of operations that the kernels walk at one go,
chunk by chunk; a layer of the user's own (`tinycnn.layers.CustomLayer`), which takes the whole
batch, is a segment by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..layers import (
    Conv2D,
    CustomLayer,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Shape,
    entry_for,
)
from ..plan import Plan, Step, aligned
from ._winner_lists import LANES
from .conv2d_winograd import winograd_fits, winograd_sizes

CONV2D, MAXPOOL2D, DENSE, RELU, DROPOUT = range(5)
"""Values of a record's field `kind`."""

OPERATION = np.dtype(
    [
        (name, np.int64)
        for name in (
            # what it is; whether a ReLU and a pooling are part of it
            *("kind", "relu", "pool"),
            # shape of its input; a vector is 1 x 1 x units
            *("H", "W", "C"),
            # shape of its output; its offset; whether it lies in `arrays.Activations.pictures`
            *("OH", "OW", "F", "y_offset", "y_in_pictures"),
            # window of the convolution, and the convolution's own output where a pooling follows
            *("KH", "KW", "S", "PT", "PL", "conv_OH", "conv_OW"),
            # its input with all padding around it
            *("padded_H", "padded_W"),
            # window of the pooling, offset of its argmax, and windows that backward lists at a time
            *("pool_K", "pool_S", "pool_PT", "pool_PL", "argmax_offset", "n_listed"),
            # parameters; offset of the transposed weights; offset of the dropout mask
            *("w_offset", "b_offset", "w_t_offset", "mask_offset"),
            # whether forward takes `conv2d_winograd.py`; offset of the weights transformed for that
            *("winograd", "u_offset"),
        )
    ]
)

RECORD = np.dtype((np.record, OPERATION))
"""The same; its fields are attributes, without the JIT too."""

N_LISTED = 128
"""Most windows that the backward pass through a pooling lists at a time: the pixels that belong to
so many fit a core's first cache."""


@dataclass
class Sizes:
    """Sizes, in array elements, of what the operations need.  See `arrays.py`."""

    n_activations: int = 0
    n_argmax: int = 0
    n_mask: int = 0
    n_transposed: int = 0
    n_winograd_weights: int = 0
    # scratch, which the operations use one after the other
    n_conv_output: int = 0
    n_padded: int = 0
    n_winners: int = 0
    n_winner_lists: int = 0
    n_winograd_scratch: int = 0

    def take(self, name: str, size: int) -> int:
        """Set aside `size` more elements; returns where they begin."""
        offset: int = getattr(self, name)
        setattr(self, name, offset + aligned(size))
        return offset

    def share(self, name: str, size: int) -> None:
        """Make sure of `size` elements, which other operations use as well."""
        setattr(self, name, max(getattr(self, name), aligned(size)))


@dataclass(frozen=True)
class Segment:
    """Operations that the kernels walk at one go, or one layer of the user's own.

    operations  records; empty where `step` is given
    step        the user's layer in its place, or None
    n_outputs   values of an image that it hands on
    """

    operations: np.ndarray
    step: Step | None
    n_outputs: int


@dataclass(frozen=True)
class OperationTable:
    """The operations of a network, and what they need.

    operations    all records
    segments      the same, cut into segments: theirs are views
    mask_offsets  of each dropout layer, by name
    """

    operations: np.ndarray
    segments: tuple[Segment, ...]
    sizes: Sizes
    mask_offsets: dict[str, int]


def make_operations(plan: Plan, dtype: np.dtype) -> OperationTable:
    """The table for `plan`, for arrays of `dtype`.

    Raises UnknownLayerError for a layer whose class has no entry in RECORDS.
    """
    sizes, masks = Sizes(), {}
    records: list[np.record] = []
    ends: list[tuple[int, Step | None]] = []  # of each segment: number of records, user's step
    for group in _groups(plan.steps):
        first = group[0]
        if isinstance(first.layer, CustomLayer):
            ends += [(len(records), None), (len(records), first)]
            continue
        op = np.zeros(1, RECORD)[0]
        op.H, op.W, op.C = _as_picture(first.input_shape)
        op.OH, op.OW, op.F = _as_picture(group[-1].output_shape)
        op.y_offset = sizes.take("n_activations", op.OH * op.OW * op.F)
        fill = entry_for(first.layer, RECORDS, "tinycnn.kernels.operations.RECORDS")
        fill(op, group, plan, sizes, dtype)
        if isinstance(first.layer, Dropout):
            masks[first.name] = int(op.mask_offset)
        records.append(op)
    ends.append((len(records), None))
    operations = np.array(records, RECORD)
    segments: list[Segment] = []
    begin = 0
    for end, step in ends:
        part = operations[begin:end]
        if step is not None:
            segments.append(Segment(part, step, int(np.prod(step.output_shape))))
        elif part.size:
            _place_outputs(part)
            segments.append(Segment(part, None, int(part[-1].OH * part[-1].OW * part[-1].F)))
        begin = end
    return OperationTable(operations, tuple(segments), sizes, masks)


FUSED: tuple[tuple[type[Layer], ...], ...] = (
    (Conv2D, ReLU, MaxPool2D),
    (Conv2D, MaxPool2D, ReLU),
    (Conv2D, MaxPool2D),
    (Conv2D, ReLU),
    (Dense, ReLU),
)
"""Layers that follow one another and become one operation, longest first."""


def _groups(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps of each operation in turn; Flatten changes no value and needs none.

    No operation reaches across a Flatten: the shapes on its two sides differ.
    """
    k = 0
    while k < len(steps):
        kinds = tuple(type(step.layer) for step in steps[k : k + 3])
        n_steps = next((len(f) for f in FUSED if kinds[: len(f)] == f), 1)
        if kinds[0] is not Flatten:
            yield steps[k : k + n_steps]
        k += n_steps


def _place_outputs(table: np.ndarray) -> None:
    """Say which outputs of a segment lie in `pictures`: all but those that are needed for the whole
    batch, which begin with the output of the last operation on pictures."""
    n_pictures = 0
    for k, op in enumerate(table):
        if op.kind in (CONV2D, MAXPOOL2D):
            n_pictures = k + 1
    table["y_in_pictures"][: max(n_pictures - 1, 0)] = 1


# ---- a record for each kind of layer -----------------------------------------------------------

Record = Callable[[np.record, Sequence[Step], Plan, Sizes, np.dtype], None]
"""Fills in a record, whose shapes and y_offset are set, for the steps of one operation."""


def _conv2d(
    op: np.record, group: Sequence[Step], plan: Plan, sizes: Sizes, dtype: np.dtype
) -> None:
    first, layer = group[0], group[0].layer
    assert isinstance(layer, Conv2D)
    vertical, horizontal = layer.axes(first.input_shape)
    op.kind = CONV2D
    op.KH, op.KW, op.S = *layer.kernel_hw, layer.stride
    op.PT, op.PL = vertical.before, horizontal.before
    op.conv_OH, op.conv_OW, F = first.output_shape
    _parameters(op, first, plan, sizes)
    for step in group[1:]:
        if isinstance(step.layer, ReLU):
            op.relu = 1
        else:
            _pooling(op, step, sizes)
    if op.pool:
        n_positions = int(op.conv_OH * op.conv_OW)
        op.padded_H, op.padded_W = padded_size(op)
        op.n_listed = min(int(op.OH * op.OW), N_LISTED)
        sizes.share("n_conv_output", n_positions * F)
        sizes.share("n_padded", int(op.padded_H * op.padded_W * op.C))
        sizes.share("n_winners", 2 * F * (op.n_listed + LANES))
        sizes.share("n_winner_lists", 2 * 3 * max(F, n_positions))
    if winograd_fits(op, dtype):
        n_weights, n_scratch = winograd_sizes(op)
        op.winograd, op.u_offset = 1, sizes.take("n_winograd_weights", int(n_weights))
        sizes.share("n_winograd_scratch", int(n_scratch))


def _maxpool2d(
    op: np.record, group: Sequence[Step], plan: Plan, sizes: Sizes, dtype: np.dtype
) -> None:
    op.kind = MAXPOOL2D
    _pooling(op, group[0], sizes)


def _dense(op: np.record, group: Sequence[Step], plan: Plan, sizes: Sizes, dtype: np.dtype) -> None:
    op.kind, op.relu = DENSE, len(group) - 1
    _parameters(op, group[0], plan, sizes)


def _relu(op: np.record, group: Sequence[Step], plan: Plan, sizes: Sizes, dtype: np.dtype) -> None:
    op.kind, op.relu = RELU, 1


def _dropout(
    op: np.record, group: Sequence[Step], plan: Plan, sizes: Sizes, dtype: np.dtype
) -> None:
    op.kind = DROPOUT
    op.mask_offset = sizes.take("n_mask", int(np.prod(group[0].output_shape)))


def _no_record(
    op: np.record, group: Sequence[Step], plan: Plan, sizes: Sizes, dtype: np.dtype
) -> None:
    raise AssertionError("Flatten needs no operation")


RECORDS: dict[type[Layer], Record] = {
    Conv2D: _conv2d,
    MaxPool2D: _maxpool2d,
    Dense: _dense,
    ReLU: _relu,
    Dropout: _dropout,
    Flatten: _no_record,
}
"""How a layer becomes an operation, by its class."""


def _parameters(op: np.record, step: Step, plan: Plan, sizes: Sizes) -> None:
    op.w_offset, w_shape = plan.parameter_slots[f"{step.name}.w"]
    op.b_offset = plan.parameter_slots[f"{step.name}.b"][0]
    op.w_t_offset = sizes.take("n_transposed", int(np.prod(w_shape)))


def _pooling(op: np.record, step: Step, sizes: Sizes) -> None:
    layer = step.layer
    assert isinstance(layer, MaxPool2D)
    vertical, horizontal = layer.axes(step.input_shape)
    op.pool, op.pool_K, op.pool_S = 1, layer.size, layer.stride
    op.pool_PT, op.pool_PL = vertical.before, horizontal.before
    op.argmax_offset = sizes.take("n_argmax", int(np.prod(step.output_shape)))


def padded_size(op: np.record) -> tuple[int, int]:
    """Height and width of a convolution's input that holds every tap of every output position."""
    height = max((op.conv_OH - 1) * op.S + op.KH, op.PT + op.H)
    width = max((op.conv_OW - 1) * op.S + op.KW, op.PL + op.W)
    return int(height), int(width)


def _as_picture(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (1, 1, int(np.prod(shape)))
