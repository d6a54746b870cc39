"""The record of each kind of operation: the fields that the kernels read, and what fills them in.

Several layers can become one operation: an activation is done with the layer before it, and a
convolution with the max-pooling after it, image by image, so that the convolution's output stays in
the cache.  A max-pooling behind a BatchNorm is done before it: see `batch_norm_maxpool2d.py`.

A ReLU before a max-pooling is done after it: a 2x2 pooling leaves a fourth of the values.  Outputs
and gradients stay the same, because ReLU keeps the order of the values; where it makes different
values equal, so that another one may be the winner, their gradient is 0.  The same is true of a
ReLU with a largest value, but not of other activations: they may round two values to the same one.

`table.py` makes the table of a network's operations from these records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import layers
from ..layers import Layer, entry_for
from ..plan import Plan, Step, Window, aligned
from . import conv2d_1x1, conv2d_columns, depthwise_conv2d_3x3
from ._winner_lists import LANES
from .batch_norm import N_COEFFICIENTS
from .conv2d_cost_model import backward_tile_size, forward_way
from .conv2d_winograd import winograd_fits, winograd_sizes
from .conv2d_winograd_3x3_tiles import scratch_size, weights_size
from .packed_weights import panel_columns

CONV2D, MAXPOOL2D, DENSE, ACTIVATION, PRELU, DROPOUT, ADD, CUSTOM = range(8)
SCALE_SHIFT, BATCH_NORM, BATCH_MOMENTS = range(8, 11)
AVERAGEPOOL2D, DEPTHWISE_CONV2D = range(11, 13)
VIEW = 13
"""Values of a record's field `kind`.  A VIEW computes nothing: its output is a part of another
one's, see `two_tables.py`."""

NO_ACTIVATION, RELU, CLIPPED_RELU, LEAKY_RELU, SIGMOID, TANH = range(6)
"""Values of a record's field `activation`."""

NO_WINOGRAD, STRIDE_2, STRIDE_1 = range(3)
"""Values of a record's field `winograd`: which of the files `conv2d_winograd*.py` does forward."""

NO_COLUMNS, COLUMNS, COLUMNS_AND_POOL = range(3)
"""Values of a record's field `by_columns`: whether `conv2d_columns.py` does a convolution forward,
and with it the pooling, in prediction."""

POOL_WINDOW = tuple(f"pool_{name}" for name in Window._fields)
"""Fields of a record for the window of a pooling."""

FIELDS = (
    # what it is; the activation that is applied to its output; whether that is a ReLU which the
    # forward kernel does itself; whether a pooling is part of it
    "kind", "activation", "fuses_relu", "pool",
    # the operation whose output it takes, -1 for the network's input; the same of the second input
    # of an ADD; whether dx is added to what operations behind it have stored; the same of dx2
    "x_from", "x2_from", "adds_dx", "adds_dx2",
    # shape of its input; a vector is 1 x 1 x units
    "H", "W", "C",
    # shape of its output; offset of the output, and of its gradient.  Whether the output is in
    # `arrays.Activations.chunk_outputs`; whether it is not kept but computed again in backward, and
    # in `arrays.Activations.block_outputs`, for one block alone.  Whether its gradient is in
    # `arrays.Gradients.batch_outputs`; if not, it is in `arrays.BackwardScratch.d_activations`:
    # whether for one block alone
    "OH", "OW", "F", "y_offset", "dy_offset",
    "y_in_chunk", "y_in_block", "dy_in_batch", "dy_in_block",
    # window of a convolution or average pooling; output size of the convolution
    *Window._fields, "conv_OH", "conv_OW",
    # whether `conv2d_columns.py` does the convolution
    "by_columns",
    # whether a depthwise convolution takes `depthwise_conv2d_3x3.py`, forward and backward
    "is_3x3", "is_3x3_backward",
    # whether an average pooling counts padding
    "count_padding",
    # size of its padded input, if a pooling follows
    "padded_H", "padded_W",
    # window of the pooling; offset of its argmax; how many windows backward lists at a time
    *POOL_WINDOW, "argmax_offset", "n_listed",
    # offsets and sizes of up to two parameters; whether their gradients are sums over the chunks
    "w_offset", "w_size", "b_offset", "b_size", "sums_chunks",
    # columns of the weights of a dense layer; an operation may do some of them alone; columns of a
    # panel of the weights, and of a dense layer's transposed weights: all, or fewer if they are
    # packed
    "w_columns", "panel", "transposed_panel",
    # offset of the weights in the layout that backward reads; offset of the dropout mask; values of
    # the mask for one image
    "w_t_offset", "mask_offset", "mask_size",
    # by which of Winograd's algorithms; outputs of its tiles along an axis, for STRIDE_1; the same
    # of `conv2d_winograd_3x3_backward.py`, 0 if another file does backward; offset of the weights
    # transformed for forward, or packed
    "winograd", "tile", "backward_tile", "prepared_offset",
    # offsets of a BatchNorm's moments and running statistics; whether it divides by n - 1; whether
    # its input has gone through a pooling that stood behind it
    "moments_offset", "running_mean_offset", "running_var_offset", "unbiased", "is_behind_pool",
    # addresses of the functions that do it in this process, 0 for none: see `linking.py`
    "forward_function", "activate_function", "backward_function", "activate_backward_function",
    "prepare_function", "transpose_function", "collect_function",
)  # fmt: skip
"""Fields of whole numbers."""

FLOAT_FIELDS = ("momentum", "epsilon", "activation_value")
"""activation_value: the largest value of a clipped ReLU, the negative slope of a leaky one."""

OPERATION = np.dtype(
    [(name, np.int64) for name in FIELDS] + [(name, np.float64) for name in FLOAT_FIELDS]
)

RECORD = np.dtype((np.record, OPERATION))
"""The same with fields as attributes, which runs without the JIT need."""

N_LISTED = 128
"""The backward pass through a pooling lists at most this many windows at a time: their pixels fit
in the first-level cache."""


@dataclass
class Sizes:
    """Sizes, in elements, of the arrays that the operations need.  See `arrays.py`."""

    n_activations: int = 0  # outputs that are kept
    n_block_outputs: int = 0  # outputs that backward computes again
    n_batch_gradients: int = 0  # gradients of outputs, for the whole batch
    n_chunk_gradients: int = 0  # the other gradients of outputs
    n_argmax: int = 0
    n_mask: int = 0
    n_transposed: int = 0
    n_prepared: int = 0
    n_packed: int = 0  # weights of dense layers, behind the others that are prepared
    n_moments: int = 0
    # scratch, which all operations use in turn
    n_conv_output: int = 0
    n_padded: int = 0
    n_winners: int = 0
    n_winner_lists: int = 0
    n_workspace: int = 0
    n_added_dx: int = 0
    n_channel_scratch: int = 0

    def reserve(self, name: str, size: int) -> int:
        """Make an array larger by `size` elements; returns the offset of these."""
        offset: int = getattr(self, name)
        setattr(self, name, offset + aligned(size))
        return offset

    def reserve_scratch(self, name: str, size: int) -> None:
        """Make a scratch array at least `size` elements large."""
        setattr(self, name, max(getattr(self, name), aligned(size)))


ACTIVATIONS: tuple[type[Layer], ...] = (layers.ReLU, layers.LeakyReLU, layers.Sigmoid, layers.Tanh)
"""Activations that are applied in place, to the output of any operation: see `activations.py`."""

POOLED: tuple[type[Layer], ...] = (layers.Conv2D, layers.BatchNorm)

FUSED: tuple[tuple[type[Layer], ...], ...] = (
    *((first, layers.ReLU, layers.MaxPool2D) for first in POOLED),
    *((first, layers.MaxPool2D, kind) for first in POOLED for kind in ACTIVATIONS),
    *((first, layers.MaxPool2D) for first in POOLED),
    *(
        (first, kind)
        for first in (
            layers.Conv2D,
            layers.DepthwiseConv2D,
            layers.Dense,
            layers.Add,
            layers.BatchNorm,
            layers.ScaleShift,
        )
        for kind in ACTIVATIONS
    ),
)
"""Sequences of layers that become one operation, longest first."""


# ---- a record for each kind of layer -----------------------------------------------------------


class Needs(NamedTuple):
    """What a record is filled in from, besides its steps.  `sizes` grows with each record."""

    plan: Plan
    dtype: np.dtype
    sizes: Sizes


Fill = Callable[[np.record, Sequence[Step], Needs], None]
"""Fills in the record of an operation from its steps.  Its shapes are set already; what
depends on the other operations is set afterwards: see `table.py` and `training_memory.py`."""


def _conv2d(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    first, sizes = group[0], needs.sizes
    op.kind = CONV2D
    _window(op, Window._fields, first)
    op.conv_OH, op.conv_OW, F = first.output_shape
    _parameters(op, first, needs.plan, "w", "b")
    for step in group[1:]:
        if isinstance(step.layer, layers.MaxPool2D):
            _pooling(op, step, sizes)
        else:
            _activation(op, [step])
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
    elif conv2d_1x1.fits(op):
        sizes.reserve_scratch("n_channel_scratch", int(op.C))
    n_transposed, op.panel = int(op.w_size), F
    op.fuses_relu = op.activation == RELU and not op.pool
    if winograd_fits(op, needs.dtype):
        n_weights, n_scratch = winograd_sizes(op)
        op.winograd, op.prepared_offset = STRIDE_2, sizes.reserve("n_prepared", int(n_weights))
        op.fuses_relu = op.activation == RELU
        sizes.reserve_scratch("n_workspace", int(n_scratch))
    elif (way := forward_way(op, needs.dtype)).tile:
        op.winograd, op.tile = STRIDE_1, way.tile
        op.fuses_relu = op.activation == RELU
        op.prepared_offset = sizes.reserve("n_prepared", weights_size(way.tile, int(op.C), F))
        sizes.reserve_scratch("n_workspace", scratch_size(way.tile, int(op.C), F))
    elif way.by_columns:
        op.by_columns = COLUMNS_AND_POOL if conv2d_columns.pools(op) else COLUMNS
        n_scratch = conv2d_columns.scratch_size(op, needs.dtype.itemsize)
        sizes.reserve_scratch("n_workspace", n_scratch)
    else:
        op.panel = panel_columns(F, needs.dtype.itemsize)
        if op.panel < F:
            op.prepared_offset = sizes.reserve("n_prepared", int(op.w_size))
    if not op.pool and (m := backward_tile_size(op, needs.dtype)):
        op.backward_tile, n_transposed = m, weights_size(m, F, int(op.C))
        sizes.reserve_scratch("n_workspace", scratch_size(m, int(op.C), F))
    op.w_t_offset = sizes.reserve("n_transposed", n_transposed)


def _depthwise_conv2d(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = DEPTHWISE_CONV2D
    _activation(op, group[1:])
    _window(op, Window._fields, group[0])
    _parameters(op, group[0], needs.plan, "w", "b")
    if depthwise_conv2d_3x3.forward_fits(op):
        op.is_3x3, op.fuses_relu = 1, op.activation == RELU
    if depthwise_conv2d_3x3.backward_fits(op):
        op.is_3x3_backward = 1
        needs.sizes.reserve_scratch("n_workspace", depthwise_conv2d_3x3.scratch_size(op))


def _averagepool2d(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind, op.count_padding = AVERAGEPOOL2D, group[0].counts_padding
    _window(op, Window._fields, group[0])


def _maxpool2d(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = MAXPOOL2D
    _pooling(op, group[0], needs.sizes)


def _dense(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = DENSE
    _parameters(op, group[0], needs.plan, "w", "b")
    op.w_t_offset = needs.sizes.reserve("n_transposed", int(op.w_size))
    op.transposed_panel = panel_columns(int(op.H * op.W * op.C), needs.dtype.itemsize)
    op.w_columns, op.panel = op.F, panel_columns(int(op.F), needs.dtype.itemsize)
    if op.panel < op.F:
        op.prepared_offset = needs.sizes.reserve("n_packed", int(op.w_size))
    op.sums_chunks = 0  # computed for the whole batch at once
    _activation(op, group[1:])
    op.fuses_relu = op.activation == RELU


def _activation_alone(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = ACTIVATION
    _activation(op, group)


def _prelu(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = PRELU
    _parameters(op, group[0], needs.plan, "alpha", None)


def _dropout(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    layer = group[0].layer
    assert isinstance(layer, layers.Dropout)
    op.kind, op.mask_size = DROPOUT, math.prod(layer.mask_shape(group[0].output_shape))
    op.mask_offset = needs.sizes.reserve("n_mask", int(op.mask_size))


def _add(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = ADD
    _activation(op, group[1:])
    op.fuses_relu = op.activation == RELU


def _scale_shift(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = SCALE_SHIFT
    _activation(op, group[1:])
    op.fuses_relu = op.activation == RELU
    _parameters(op, group[0], needs.plan, "scale", "shift")
    needs.sizes.reserve_scratch("n_workspace", 2 * int(op.C))


def _batch_norm(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    op.kind = BATCH_NORM
    for step in group[1:]:
        if isinstance(step.layer, layers.MaxPool2D):
            _pooling(op, step, needs.sizes)
        else:
            _activation(op, [step])
    op.fuses_relu = op.activation == RELU
    first, plan = group[0], needs.plan
    layer = first.layer
    assert isinstance(layer, layers.BatchNorm)
    op.momentum, op.epsilon, op.unbiased = layer.momentum, layer.epsilon, layer.unbiased_running_var
    _parameters(op, first, plan, "gamma", "beta")
    op.running_mean_offset = plan.statistic_slots[f"{first.name}.running_mean"][0]
    op.running_var_offset = plan.statistic_slots[f"{first.name}.running_var"][0]
    op.moments_offset = needs.sizes.reserve("n_moments", 2 * int(op.C))
    needs.sizes.reserve_scratch("n_channel_scratch", N_COEFFICIENTS * int(op.C))


def _no_record(op: np.record, group: Sequence[Step], needs: Needs) -> None:
    raise AssertionError("Flatten becomes no operation")


RECORDS: dict[type[Layer], Fill] = {
    layers.Conv2D: _conv2d,
    layers.DepthwiseConv2D: _depthwise_conv2d,
    layers.MaxPool2D: _maxpool2d,
    layers.AveragePool2D: _averagepool2d,
    layers.GlobalAveragePool2D: _averagepool2d,
    layers.Dense: _dense,
    **dict.fromkeys(ACTIVATIONS, _activation_alone),
    layers.PReLU: _prelu,
    layers.Dropout: _dropout,
    layers.SpatialDropout2D: _dropout,
    layers.Add: _add,
    layers.ScaleShift: _scale_shift,
    layers.BatchNorm: _batch_norm,
    layers.Flatten: _no_record,
}
"""Fills in the record of an operation, by the class of its first layer."""


def is_prepared(op: np.record) -> bool:
    """Whether the forward pass reads the operation's weights in another layout."""
    return bool(op.winograd or 0 < op.panel < op.F)


def fill_of(layer: Layer) -> Fill:
    """The entry of a layer; UnknownLayerError if its class is not in RECORDS."""
    return entry_for(layer, RECORDS, "tinycnn.kernels.operations.RECORDS")


def _parameters(op: np.record, step: Step, plan: Plan, w: str, b: str | None) -> None:
    """Store in the record where the layer's parameters are in the flat array of all parameters.

    w, b  their names in the layer: "w" and "b" of a convolution, "gamma" and "beta" of a BatchNorm;
          b is None if the layer has one parameter alone
    """
    op.w_offset, w_shape = plan.parameter_slots[f"{step.name}.{w}"]
    op.w_size, op.sums_chunks = int(np.prod(w_shape)), 1
    if b == "b":
        op.b_offset, op.b_size = plan.bias_offset(step), op.F
    elif b is not None:
        op.b_offset, op.b_size = plan.parameter_slots[f"{step.name}.{b}"][0], op.F


def _activation(op: np.record, steps: Sequence[Step]) -> None:
    """Store in the record the activation that `steps` has, if any.

    steps  the activation layer that the operation applies to its output, or none
    """
    for layer in (step.layer for step in steps):
        if isinstance(layer, layers.ReLU):
            op.activation, op.activation_value = RELU, 0.0
            if layer.max_value is not None:
                op.activation, op.activation_value = CLIPPED_RELU, layer.max_value
        elif isinstance(layer, layers.LeakyReLU):
            op.activation, op.activation_value = LEAKY_RELU, layer.negative_slope
        else:
            op.activation = SIGMOID if isinstance(layer, layers.Sigmoid) else TANH


def _window(op: np.record, names: tuple[str, ...], step: Step) -> None:
    """Store the step's window in the fields `names`."""
    for name, value in zip(names, step.window):
        op[name] = value


def _pooling(op: np.record, step: Step, sizes: Sizes) -> None:
    op.pool = 1
    _window(op, POOL_WINDOW, step)
    op.argmax_offset = sizes.reserve("n_argmax", int(np.prod(step.output_shape)))
