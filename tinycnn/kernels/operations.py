"""The table of operations that the kernels run: one record for each operation.

Several layers can become one operation: a ReLU is done with the layer before it, and a convolution
with the max-pooling after it, image by image, so that the convolution's output stays in the cache.
(ReLU and max-pooling commute, because ReLU never changes which value of a window is the largest.
After a 2x2 pooling there is a fourth of the values to apply it to.)

The table is split into segments.  A segment is a range of operations that the kernels run in one
call for each chunk of images.  A layer of the user's own (`tinycnn.layers.CustomLayer`), which
takes the whole batch, is a segment by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
from ..plan import Plan, Step, Window, aligned
from ._winner_lists import LANES
from .conv2d_winograd import winograd_fits, winograd_sizes

CONV2D, MAXPOOL2D, DENSE, RELU, DROPOUT = range(5)
"""Values of a record's field `kind`."""

POOL_WINDOW = tuple(f"pool_{name}" for name in Window._fields)
"""Fields of a record for the window of a pooling."""

FIELDS = (
    # what it is; whether a ReLU and a pooling are part of it
    "kind", "relu", "pool",
    # shape of its input; a vector is 1 x 1 x units
    "H", "W", "C",
    # shape of its output; its offset; whether it is stored in `arrays.Activations.pictures`
    "OH", "OW", "F", "y_offset", "y_in_pictures",
    # window and output size of the convolution
    *Window._fields, "conv_OH", "conv_OW",
    # size of its padded input, if a pooling follows
    "padded_H", "padded_W",
    # window of the pooling; offset of its argmax; how many windows backward lists at a time
    *POOL_WINDOW, "argmax_offset", "n_listed",
    # offsets of parameters, of transposed weights and of the dropout mask
    "w_offset", "b_offset", "w_t_offset", "mask_offset",
    # whether forward uses `conv2d_winograd.py`; offset of the weights transformed for that
    "winograd", "u_offset",
)  # fmt: skip

OPERATION = np.dtype([(name, np.int64) for name in FIELDS])

RECORD = np.dtype((np.record, OPERATION))
"""The same with fields as attributes, which runs without the JIT need."""

N_LISTED = 128
"""The backward pass through a pooling lists at most this many windows at a time: their pixels fit
in the first-level cache."""


@dataclass
class Sizes:
    """Sizes, in elements, of the arrays that the operations need.  See `arrays.py`."""

    n_activations: int = 0
    n_argmax: int = 0
    n_mask: int = 0
    n_transposed: int = 0
    n_winograd_weights: int = 0
    # scratch, which all operations use in turn
    n_conv_output: int = 0
    n_padded: int = 0
    n_winners: int = 0
    n_winner_lists: int = 0
    n_winograd_scratch: int = 0

    def reserve(self, name: str, size: int) -> int:
        """Make an array larger by `size` elements; returns the offset of these."""
        offset: int = getattr(self, name)
        setattr(self, name, offset + aligned(size))
        return offset

    def reserve_scratch(self, name: str, size: int) -> None:
        """Make a scratch array at least `size` elements large."""
        setattr(self, name, max(getattr(self, name), aligned(size)))


@dataclass(frozen=True)
class Segment:
    """Operations that the kernels run in one call, or one layer of the user's own.

    operations  records; empty for a layer of the user's own
    step        that layer, or None
    n_outputs   number of output values for one image
    """

    operations: np.ndarray
    step: Step | None
    n_outputs: int


@dataclass(frozen=True)
class OperationTable:
    """The operations of a network, and the sizes of the arrays that they need.

    operations    all records
    segments      the same split into segments, whose records are views of `operations`
    mask_offsets  offset of the mask of each dropout layer, by name
    """

    operations: np.ndarray
    segments: tuple[Segment, ...]
    sizes: Sizes
    mask_offsets: dict[str, int]


def make_operations(plan: Plan, dtype: np.dtype) -> OperationTable:
    """The table for `plan`, for arrays of `dtype`.

    Raises UnknownLayerError for a layer whose class has no entry in RECORDS.
    """
    needs = Needs(plan, dtype, Sizes())
    mask_offsets: dict[str, int] = {}
    records: list[np.record] = []
    ends: list[tuple[int, Step | None]] = []  # of each segment: end of its records, user's layer
    for group in _groups(plan.steps):
        first = group[0]
        if isinstance(first.layer, CustomLayer):
            ends += [(len(records), None), (len(records), first)]
            continue
        op = np.zeros(1, RECORD)[0]
        op.H, op.W, op.C = _as_picture(first.input_shape)
        op.OH, op.OW, op.F = _as_picture(group[-1].output_shape)
        op.y_offset = needs.sizes.reserve("n_activations", op.OH * op.OW * op.F)
        fill = entry_for(first.layer, RECORDS, "tinycnn.kernels.operations.RECORDS")
        fill(op, group, needs)
        if isinstance(first.layer, Dropout):
            mask_offsets[first.name] = int(op.mask_offset)
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
            _mark_pictures(part)
            segments.append(Segment(part, None, int(part[-1].OH * part[-1].OW * part[-1].F)))
        begin = end
    return OperationTable(operations, tuple(segments), needs.sizes, mask_offsets)


FUSED: tuple[tuple[type[Layer], ...], ...] = (
    (Conv2D, ReLU, MaxPool2D),
    (Conv2D, MaxPool2D, ReLU),
    (Conv2D, MaxPool2D),
    (Conv2D, ReLU),
    (Dense, ReLU),
)
"""Sequences of layers that become one operation, longest first."""


def _groups(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps of each operation.  Flatten changes no value: it becomes no operation, and no
    operation extends across it, because the shapes before and after it differ."""
    k = 0
    while k < len(steps):
        kinds = tuple(type(step.layer) for step in steps[k : k + 3])
        n_steps = next((len(f) for f in FUSED if kinds[: len(f)] == f), 1)
        if kinds[0] is not Flatten:
            yield steps[k : k + n_steps]
        k += n_steps


def _mark_pictures(table: np.ndarray) -> None:
    """Set y_in_pictures: 1 for the operations of a segment before its last convolution or pooling.
    The outputs of that one and of the operations after it are needed for the whole batch."""
    on_pictures = np.flatnonzero(np.isin(table["kind"], (CONV2D, MAXPOOL2D)))
    if on_pictures.size:
        table["y_in_pictures"][: on_pictures[-1]] = 1


# ---- a record for each kind of layer -----------------------------------------------------------


class Needs(NamedTuple):
    """What a record is filled in from, besides its steps.  `sizes` grows with each record."""

    plan: Plan
    dtype: np.dtype
    sizes: Sizes


Fill = Callable[[np.record, Sequence[Step], Needs], None]
"""Fills in the record of an operation from its steps; shapes and y_offset are set already."""


def _conv2d(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    first, sizes = group[0], needs.sizes
    op.kind = CONV2D
    _window(op, Window._fields, first)
    op.conv_OH, op.conv_OW, F = first.output_shape
    _parameters(op, first, needs)
    for step in group[1:]:
        if isinstance(step.layer, ReLU):
            op.relu = 1
        else:
            _pooling(op, step, sizes)
    if op.pool:
        n_positions = int(op.conv_OH * op.conv_OW)
        height = int(max((op.conv_OH - 1) * op.SH + op.KH, op.PT + op.H))
        width = int(max((op.conv_OW - 1) * op.SW + op.KW, op.PL + op.W))
        op.padded_H, op.padded_W = height, width
        op.n_listed = min(int(op.OH * op.OW), N_LISTED)
        sizes.reserve_scratch("n_conv_output", n_positions * F)
        sizes.reserve_scratch("n_padded", height * width * int(op.C))
        sizes.reserve_scratch("n_winners", 2 * F * (op.n_listed + LANES))
        sizes.reserve_scratch("n_winner_lists", 2 * 3 * max(F, n_positions))
    if winograd_fits(op, needs.dtype):
        n_weights, n_scratch = winograd_sizes(op)
        op.winograd, op.u_offset = 1, sizes.reserve("n_winograd_weights", int(n_weights))
        sizes.reserve_scratch("n_winograd_scratch", int(n_scratch))


def _maxpool2d(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = MAXPOOL2D
    _pooling(op, group[0], needs.sizes)


def _dense(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind, op.relu = DENSE, len(group) - 1
    _parameters(op, group[0], needs)


def _relu(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind, op.relu = RELU, 1


def _dropout(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = DROPOUT
    op.mask_offset = needs.sizes.reserve("n_mask", int(np.prod(group[0].output_shape)))


def _no_record(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    raise AssertionError("Flatten becomes no operation")


RECORDS: dict[type[Layer], Fill] = {
    Conv2D: _conv2d,
    MaxPool2D: _maxpool2d,
    Dense: _dense,
    ReLU: _relu,
    Dropout: _dropout,
    Flatten: _no_record,
}
"""Fills in the record of an operation, by the class of its first layer."""


def _parameters(op: np.record, step: Step, needs: Needs) -> None:
    op.w_offset, w_shape = needs.plan.parameter_slots[f"{step.name}.w"]
    op.b_offset = needs.plan.bias_offset(step)
    op.w_t_offset = needs.sizes.reserve("n_transposed", int(np.prod(w_shape)))


def _window(op: np.record, names: tuple[str, ...], step: Step) -> None:
    for name, value in zip(names, step.window):
        op[name] = value


def _pooling(op: np.record, step: Step, sizes: Sizes) -> None:
    op.pool = 1
    _window(op, POOL_WINDOW, step)
    op.argmax_offset = sizes.reserve("n_argmax", int(np.prod(step.output_shape)))


def _as_picture(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (1, 1, int(np.prod(shape)))
