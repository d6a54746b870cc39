"""Named structures of the arrays that a step works on, and functions that return parts of them.

Arrays are C-contiguous; a size with one factor per axis is a shape, a product means that the array
is flat.  The dtype is the network's unless another is named.  `tinycnn.workspaces` allocates the
arrays; kernels only read and write them.

Some outputs of operations are needed for the whole batch, others by their own chunk alone, and some
are computed again in backward.  They are stored in different arrays, and so are their gradients.
`training_memory.py` decides in which.

Offsets in the table of operations (`operations.py`) count elements of one image.  In an array that
has room for `capacity` images, an operation's part begins at offset * capacity, and its images
follow one another there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..plan import Window
from ._jit import inline_helper
from ._views import view_1d, view_4d


class Weights(NamedTuple):
    """The operations of a network and its parameters."""

    operations: np.ndarray  # (n_operations,) records of `operations.OPERATION`
    parameters: np.ndarray  # (n_parameter_slots,) owned by the network
    transposed: np.ndarray  # (n_transposed,) weights transposed for backward, once in each step
    # as `parameters`, for the weights of dense layers: another array only in the prediction of a
    # network with BatchNorm, see `kernel_prediction.py`
    dense_parameters: np.ndarray
    # (n_prepared,) weights in the layouts that forward passes read: transformed for Winograd's
    # algorithm, or packed, see `packed_weights.py`
    prepared: np.ndarray


class Batch(NamedTuple):
    """The inputs of a training step.  One of labels and targets is empty."""

    x: np.ndarray  # (N * H * W * C)
    labels: np.ndarray  # (N,) int64 class indices
    targets: np.ndarray  # (N, K) distributions over the classes
    soft_labels: np.ndarray  # (N, K) the teacher's logits; empty if the loss needs none
    sample_weights: np.ndarray  # (N,) factors of the samples' losses; empty if all are 1


class Activations(NamedTuple):
    """What the forward pass keeps for the backward pass."""

    batch_capacity: int  # images that `batch_outputs` and `masks` have room for: a whole batch
    batch_outputs: np.ndarray  # (n_activations * batch_capacity) needed for the whole batch
    masks: np.ndarray  # (n_mask * batch_capacity) factors of dropout, drawn by the network
    chunk_capacity: (
        int  # images that `chunk_outputs` and `argmax` have room for: a chunk or a batch
    )
    chunk_outputs: np.ndarray  # (n_activations * chunk_capacity) needed by their chunk alone
    argmax: np.ndarray  # (n_argmax * chunk_capacity) int32 positions of maxima (winners)
    block_capacity: int  # images that `block_outputs` has room for: a block or more
    # (n_block_outputs * block_capacity) not kept: backward computes them again for each block
    block_outputs: np.ndarray


class BatchStatistics(NamedTuple):
    """Means and variances of the channels that the BatchNorm layers normalise, in a training step.

    See `batch_norm.py`.  Each layer has a part of 2 * C values.  Without such layers, and in
    prediction, the arrays are empty.
    """

    n_images: int  # in the batch
    most_chunks: int  # that `chunk_moments` has room for
    chunk_moments: np.ndarray  # (n_moments * most_chunks) float64, of each chunk
    moments: np.ndarray  # (n_moments) float64, of the batch


NO_STATISTICS = BatchStatistics(0, 0, np.zeros(0), np.zeros(0))


class ForwardScratch(NamedTuple):
    """Scratch memory of the forward pass of a chunk."""

    conv_output: np.ndarray  # (n_conv_output) one image's convolution, before its pooling
    # (n_workspace) of `conv2d_winograd*.py`, `depthwise_conv2d_3x3.py`, `scale_shift.py`
    workspace: np.ndarray
    channels: np.ndarray  # (n_channel_scratch) a few values for each channel


class BackwardScratch(NamedTuple):
    """Scratch memory of the backward pass of a chunk."""

    capacity: int  # images that `d_activations` has room for: a chunk
    d_activations: np.ndarray  # (n_chunk_gradients * capacity) gradients of outputs
    added_dx: np.ndarray  # (n_added_dx * capacity) a gradient that is then added to another
    channels: np.ndarray  # (n_channel_scratch) a few values for each channel
    workspace: np.ndarray  # (n_workspace) the same array as that of the forward pass
    x_padded: np.ndarray  # (n_padded) this and the next five: see WinnerScratch
    dx_padded: np.ndarray  # (n_padded)
    winner_gradients: np.ndarray  # (n_winners)
    winner_positions: np.ndarray  # (n_winners) int32
    winner_counts: np.ndarray  # (n_winners) int64
    winner_lists: np.ndarray  # (n_winner_lists) int32
    parameters: np.ndarray  # (n_parameter_slots) gradients of the parameters, for one block


class WinnerScratch(NamedTuple):
    """Scratch memory of `conv2d_maxpool2d_backward`, as views with their shapes.

    It lists the winners twice: by filter (index 0) and by position (index 1).
    """

    x_padded: np.ndarray  # (padded_H, padded_W, C) an image with its padding
    dx_padded: np.ndarray  # (padded_H, padded_W, C) its gradient
    gradients: np.ndarray  # (2, F, L) of the winners
    positions: np.ndarray  # (2, F, L) int32: [0] positions of the winners, [1] their filters
    counts: np.ndarray  # (F,) int64: winners of each filter
    lists: np.ndarray  # (2, 3, max(F, OH * OW)) int32: begin, end and target of each list


class Gradients(NamedTuple):
    """The gradients that a step computes."""

    batch_outputs: np.ndarray  # (n_batch_gradients * batch_capacity) needed for the whole batch
    chunks: np.ndarray  # (n_chunks, n_parameter_slots) of the parameters, for each chunk
    parameters: np.ndarray  # (n_parameter_slots) the same for the batch, owned by the network


class Results(NamedTuple):
    """What a step returns, and what its loss passes on to the backward pass."""

    logits: np.ndarray  # (N, K)
    losses: np.ndarray  # (N,) float64
    dlogits: np.ndarray  # (N, K) gradient of the batch's mean loss
    target_rows: np.ndarray  # (N, K) the targets as smoothed distributions
    dx: np.ndarray  # (N * H * W * C) gradient of x, or empty: then it is not computed


class Chunk(NamedTuple):
    """Consecutive images of a batch that go through the operations together."""

    number: int  # of the chunk in its batch
    first: int  # index of the first image in the batch
    n_images: int
    first_kept: int  # index of the first image in `Activations.chunk_outputs` and `argmax`
    n_done: int  # images of the chunk that come before these, if these are only a block of it


class Stage(NamedTuple):
    """Operations that run chunk by chunk: numbers begin <= k < end of the table."""

    first: int  # of the layers of the user's own that run before them: first <= k < begin
    begin: int
    block_end: int  # behind the last one on pictures: these are done block by block
    end: int
    block: int  # most images in a block


@inline_helper
def window_of(op):
    """The window of a convolution, from its record."""
    return Window(op.KH, op.KW, op.SH, op.SW, op.PT, op.PL, op.PB, op.PR)


@inline_helper
def pool_window_of(op):
    """The window of the pooling, from the record of a max-pooling or of a convolution before it."""
    return Window(
        op.pool_KH, op.pool_KW, op.pool_SH, op.pool_SW,
        op.pool_PT, op.pool_PL, op.pool_PB, op.pool_PR,
    )  # fmt: skip


@inline_helper
def weights_of(op, parameters):
    """The weights (KH, KW, C, F) of a convolution, from its record."""
    return view_4d(parameters, op.w_offset, op.KH, op.KW, op.C, op.F)


@inline_helper
def bias_of(op, parameters):
    """The bias (F,) of a convolution or dense layer, from its record."""
    return view_1d(parameters, op.b_offset, op.F)


@inline_helper
def rows(batch, chunk, size):
    """The part of a chunk in a flat array of a whole batch, `size` elements for each image; of an
    empty array (a gradient that is not computed), nothing."""
    return batch[chunk.first * size : (chunk.first + chunk.n_images) * size]


@inline_helper
def outputs(op, activations, chunk):
    """The operation's outputs for a chunk, flat; those that are not kept, for a block of it."""
    size = op.OH * op.OW * op.F
    if op.y_in_block:
        at = op.y_offset * activations.block_capacity
        return view_1d(activations.block_outputs, at, chunk.n_images * size)
    if op.y_in_chunk:
        at = op.y_offset * activations.chunk_capacity + chunk.first_kept * size
        return view_1d(activations.chunk_outputs, at, chunk.n_images * size)
    at = op.y_offset * activations.batch_capacity + chunk.first * size
    return view_1d(activations.batch_outputs, at, chunk.n_images * size)


@inline_helper
def output_gradient(op, activations, gradients, scratch, chunk):
    """The gradient of the operation's output, for a chunk or for a block of a chunk.

    A gradient that is needed for the whole batch is in `gradients.batch_outputs`.  The others are
    in `scratch.d_activations`, for one block or for the whole chunk.
    """
    size = op.OH * op.OW * op.F
    if op.dy_in_batch:
        at = op.dy_offset * activations.batch_capacity + chunk.first * size
        return view_1d(gradients.batch_outputs, at, chunk.n_images * size)
    at = op.dy_offset * scratch.capacity
    if not op.dy_in_block:
        at += chunk.n_done * size
    return view_1d(scratch.d_activations, at, chunk.n_images * size)


@inline_helper
def winners(op, activations, chunk, n_images):
    """The argmax (n_images, OH, OW, F) of a pooling, for the first images of a chunk."""
    at = op.argmax_offset * activations.chunk_capacity
    at += chunk.first_kept * op.OH * op.OW * op.F
    return view_4d(activations.argmax, at, n_images, op.OH, op.OW, op.F)
