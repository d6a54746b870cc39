"""The table of operations that the kernels run: one record for each operation.

Several layers can become one operation: an activation is done with the layer before it, and a
convolution with the max-pooling after it, image by image, so that the convolution's output stays in
the cache.

A ReLU before a max-pooling is done after it: a 2x2 pooling leaves a fourth of the values.  Outputs
and gradients stay the same, because ReLU keeps the order of the values; where it makes different
values equal, so that another one may be the winner, their gradient is 0.  The same is true of a
ReLU with a largest value, but not of other activations: they may round two values to the same one.

The table is split into segments.  A segment is a range of operations that the kernels run in one
call for each chunk of images.  A layer of the user's own (`tinycnn.layers.CustomLayer`), which
takes the whole batch, is a segment by itself.
"""

from __future__ import annotations

import math
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
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Shape,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
    entry_for,
)
from ..plan import Plan, Step, aligned
from ._winner_lists import LANES
from .conv2d_winograd import winograd_fits, winograd_sizes

CONV2D, MAXPOOL2D, DENSE, ACTIVATION, PRELU, DROPOUT = range(6)
"""Values of a record's field `kind`."""

NO_ACTIVATION, RELU, CLIPPED_RELU, LEAKY_RELU, SIGMOID, TANH = range(6)
"""Values of a record's field `activation`."""

FIELDS = (
    # what it is; the activation that is applied to its output; whether a pooling is part of it
    "kind", "activation", "pool",
    # shape of its input; a vector is 1 x 1 x units
    "H", "W", "C",
    # shape of its output; its offset; whether it is stored in `arrays.Activations.pictures`
    "OH", "OW", "F", "y_offset", "y_in_pictures",
    # window and output size of the convolution
    "KH", "KW", "S", "PT", "PL", "conv_OH", "conv_OW",
    # size of its padded input, if a pooling follows
    "padded_H", "padded_W",
    # window of the pooling; offset of its argmax; how many windows backward lists at a time
    "pool_K", "pool_S", "pool_PT", "pool_PL", "argmax_offset", "n_listed",
    # offsets of parameters (w: of a PReLU's alpha), of transposed weights and of the dropout mask;
    # values of the mask for one image
    "w_offset", "b_offset", "w_t_offset", "mask_offset", "mask_size",
    # whether forward uses `conv2d_winograd.py`; offset of the weights transformed for that
    "winograd", "u_offset",
)  # fmt: skip

OPERATION = np.dtype([*((name, np.int64) for name in FIELDS), ("activation_value", np.float64)])
"""activation_value: the largest value of a clipped ReLU, the negative slope of a leaky one."""

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


ACTIVATIONS: tuple[type[Layer], ...] = (ReLU, LeakyReLU, Sigmoid, Tanh)
"""Activations that are applied in place, to the output of any operation: see `activations.py`."""

FUSED: tuple[tuple[type[Layer], ...], ...] = (
    (Conv2D, ReLU, MaxPool2D),
    *((Conv2D, MaxPool2D, kind) for kind in ACTIVATIONS),
    (Conv2D, MaxPool2D),
    *((first, kind) for first in (Conv2D, Dense) for kind in ACTIVATIONS),
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
    op.KH, op.KW, op.S, _, op.PT, op.PL, _, _ = first.window
    op.conv_OH, op.conv_OW, F = first.output_shape
    _parameters(op, first, needs)
    for step in group[1:]:
        if isinstance(step.layer, MaxPool2D):
            _pooling(op, step, sizes)
        else:
            _activation(op, step)
    if op.pool:
        n_positions = int(op.conv_OH * op.conv_OW)
        height = int(max((op.conv_OH - 1) * op.S + op.KH, op.PT + op.H))
        width = int(max((op.conv_OW - 1) * op.S + op.KW, op.PL + op.W))
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
    op.kind = DENSE
    _parameters(op, group[0], needs)
    for step in group[1:]:
        _activation(op, step)


def _activation_alone(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = ACTIVATION
    _activation(op, group[0])


def _prelu(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = PRELU
    op.w_offset = needs.plan.parameter_slots[f"{group[0].name}.alpha"][0]


def _dropout(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    layer = group[0].layer
    assert isinstance(layer, Dropout)
    op.kind, op.mask_size = DROPOUT, math.prod(layer.mask_shape(group[0].output_shape))
    op.mask_offset = needs.sizes.reserve("n_mask", int(op.mask_size))


def _no_record(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    raise AssertionError("Flatten becomes no operation")


RECORDS: dict[type[Layer], Fill] = {
    Conv2D: _conv2d,
    MaxPool2D: _maxpool2d,
    Dense: _dense,
    **dict.fromkeys(ACTIVATIONS, _activation_alone),
    PReLU: _prelu,
    Dropout: _dropout,
    SpatialDropout2D: _dropout,
    Flatten: _no_record,
}
"""Fills in the record of an operation, by the class of its first layer."""


def _parameters(op: np.record, step: Step, needs: Needs) -> None:
    op.w_offset, w_shape = needs.plan.parameter_slots[f"{step.name}.w"]
    op.b_offset = needs.plan.parameter_slots[f"{step.name}.b"][0]
    op.w_t_offset = needs.sizes.reserve("n_transposed", int(np.prod(w_shape)))


def _activation(op: np.record, step: Step) -> None:
    layer = step.layer
    if isinstance(layer, ReLU):
        op.activation, op.activation_value = RELU, 0.0
        if layer.max_value is not None:
            op.activation, op.activation_value = CLIPPED_RELU, layer.max_value
    elif isinstance(layer, LeakyReLU):
        op.activation, op.activation_value = LEAKY_RELU, layer.negative_slope
    else:
        op.activation = SIGMOID if isinstance(layer, Sigmoid) else TANH


def _pooling(op: np.record, step: Step, sizes: Sizes) -> None:
    op.pool = 1
    op.pool_K, _, op.pool_S, _, op.pool_PT, op.pool_PL, _, _ = step.window
    op.argmax_offset = sizes.reserve("n_argmax", int(np.prod(step.output_shape)))


def _as_picture(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (1, 1, int(np.prod(shape)))
