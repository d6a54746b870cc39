"""Named structures of the arrays that a step works on, and functions that return parts of them.

Arrays are C-contiguous; a size with one factor per axis is a shape, a product means that the array
is flat.  The dtype is the network's unless another is named.  `tinycnn.workspaces` allocates the
arrays; kernels only read and write them.

Outputs of operations are of two kinds.  "Vectors" are those of the last convolution or pooling and
of all operations after it: dense layers need them for the whole batch.  "Pictures" are those of the
operations before, which are needed for one chunk only.

Offsets in the table of operations (`operations.py`) count elements of one image.  In an array that
has room for `capacity` images, an operation's part begins at offset * capacity, and its images
follow one another there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..plan import Window
from ._jit import inline_helper


class Weights(NamedTuple):
    """The operations of a network, or of a part of it, and its parameters."""

    operations: np.ndarray  # (n_operations,) records of `operations.OPERATION`
    parameters: np.ndarray  # (n_parameter_slots,) owned by the network
    transposed: np.ndarray  # (n_transposed,) weights transposed for backward, once in each step


class Batch(NamedTuple):
    """The inputs of a training step.  One of labels and targets is empty."""

    x: np.ndarray  # (N * H * W * C)
    labels: np.ndarray  # (N,) int64 class indices
    targets: np.ndarray  # (N, K) distributions over the classes
    soft_labels: np.ndarray  # (N, K) the teacher's logits; empty if the loss needs none


class Activations(NamedTuple):
    """What the forward pass keeps for the backward pass."""

    batch_capacity: int  # images that `vectors` and `masks` have room for: a whole batch
    vectors: np.ndarray  # (n_activations * batch_capacity) outputs needed for the whole batch
    masks: np.ndarray  # (n_mask * batch_capacity) factors of dropout, drawn by the network
    picture_capacity: int  # images that `pictures` and `argmax` have room for: a chunk or a batch
    pictures: np.ndarray  # (n_activations * picture_capacity) the other outputs
    argmax: np.ndarray  # (n_argmax * picture_capacity) int32 positions of maxima (winners)


class ForwardScratch(NamedTuple):
    """Scratch memory of the forward pass of a chunk."""

    conv_output: np.ndarray  # (n_conv_output) one image's convolution, before its pooling
    winograd: np.ndarray  # (n_winograd_scratch) see `conv2d_winograd.py`


class BackwardScratch(NamedTuple):
    """Scratch memory of the backward pass of a chunk."""

    capacity: int  # images that `d_activations` has room for: a chunk
    d_activations: np.ndarray  # (n_activations * capacity) gradients of outputs
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

    d_vectors: np.ndarray  # (n_activations * batch_capacity) of the outputs of dense layers
    chunks: np.ndarray  # (n_chunks, n_parameter_slots) of the parameters, for each chunk
    parameters: np.ndarray  # (n_parameter_slots) the same for the batch, owned by the network


class Results(NamedTuple):
    """What a step returns, and what its loss passes on to the backward pass."""

    logits: np.ndarray  # (N, K), or the outputs of a part of the network
    losses: np.ndarray  # (N,) float64
    dlogits: np.ndarray  # (N, K) gradient of the batch's mean loss
    target_rows: np.ndarray  # (N, K) the targets as smoothed distributions
    dx: np.ndarray  # (N * H * W * C) gradient of x, or empty: then it is not computed


class Chunk(NamedTuple):
    """Consecutive images of a batch that go through the operations together."""

    first: int  # index of the first image in the batch
    n_images: int
    first_picture: int  # index of the first image in `Activations.pictures`


@inline_helper
def view_2d(flat, start, n_rows, n_columns):
    """A matrix (n_rows, n_columns) that begins at flat[start]."""
    return flat[start : start + n_rows * n_columns].reshape((n_rows, n_columns))


@inline_helper
def view_3d(flat, start, K, L, M):
    """An array (K, L, M) that begins at flat[start]."""
    return flat[start : start + K * L * M].reshape((K, L, M))


@inline_helper
def view_4d(flat, start, K, L, M, N):
    """An array (K, L, M, N) that begins at flat[start]: pictures or a convolution's weights."""
    return flat[start : start + K * L * M * N].reshape((K, L, M, N))


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
    return parameters[op.b_offset : op.b_offset + op.F]


@inline_helper
def rows(batch, chunk, size):
    """The part of a chunk in a flat array of a whole batch, `size` elements for each image."""
    return batch[chunk.first * size : (chunk.first + chunk.n_images) * size]


@inline_helper
def outputs(op, activations, chunk):
    """The operation's outputs for a chunk, flat."""
    size = op.OH * op.OW * op.F
    if op.y_in_pictures:
        at = op.y_offset * activations.picture_capacity + chunk.first_picture * size
        return activations.pictures[at : at + chunk.n_images * size]
    at = op.y_offset * activations.batch_capacity + chunk.first * size
    return activations.vectors[at : at + chunk.n_images * size]


@inline_helper
def winners(op, activations, chunk, n_images):
    """The argmax (n_images, OH, OW, F) of a pooling, for the first images of a chunk."""
    at = op.argmax_offset * activations.picture_capacity
    at += chunk.first_picture * op.OH * op.OW * op.F
    return view_4d(activations.argmax, at, n_images, op.OH, op.OW, op.F)
