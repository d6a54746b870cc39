"""The arrays that travel together through a step, as named structures, and views of parts of them.

All arrays are flat unless a shape says otherwise, C-contiguous, and of the network's dtype unless a
dtype is named.  `tinycnn.workspaces` allocates them; kernels only read and write.

Offsets in the table of operations (`operations.py`) count elements of one image.  In an array that
holds `capacity` images, an operation's part begins at offset * capacity, and its images follow one
another there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._jit import inline_helper


class Weights(NamedTuple):
    """The network's parameters, and what describes them."""

    operations: np.ndarray  # (n_operations,) records of `operations.OPERATION`
    parameters: np.ndarray  # (n_parameter_slots,) owned by the network
    transposed: np.ndarray  # (n_transposed,) weights as backward reads them, written by each step


class Batch(NamedTuple):
    """What a training step is given.  Of labels and targets one is empty."""

    x: np.ndarray  # (N * H * W * C)
    labels: np.ndarray  # (N,) int64 class indices
    targets: np.ndarray  # (N, K) distributions over the classes
    soft_labels: np.ndarray  # (N, K) the teacher's logits; empty where the loss needs none


class Activations(NamedTuple):
    """What the forward pass keeps for the backward pass."""

    batch_capacity: int  # images that `vectors` and `masks` hold: a whole batch
    vectors: np.ndarray  # (n_activations * batch_capacity) outputs that are needed for all images
    masks: np.ndarray  # (n_mask * batch_capacity) what dropout multiplies by, drawn by the network
    picture_capacity: int  # images that `pictures` and `argmax` hold: a chunk or a batch
    pictures: np.ndarray  # (n_activations * picture_capacity) the other outputs
    argmax: np.ndarray  # (n_argmax * picture_capacity) int32, winners of the max-poolings


class ForwardScratch(NamedTuple):
    """Memory that the forward pass of a chunk works in."""

    conv_output: np.ndarray  # (n_conv_output) one image's convolution before its pooling
    winograd: np.ndarray  # (n_winograd_scratch) see `conv2d_winograd.py`


class BackwardScratch(NamedTuple):
    """Memory that the backward pass of a chunk works in."""

    capacity: int  # images that `d_activations` holds: a chunk
    d_activations: np.ndarray  # (n_activations * capacity) gradients of outputs
    x_padded: np.ndarray  # (n_padded) these six: see WinnerScratch
    dx_padded: np.ndarray  # (n_padded)
    winner_gradients: np.ndarray  # (n_winners)
    winner_positions: np.ndarray  # (n_winners) int32
    winner_counts: np.ndarray  # (n_winners) int64
    winner_lists: np.ndarray  # (n_winner_lists) int32
    parameters: np.ndarray  # (n_parameter_slots) gradients of some images of the chunk


class WinnerScratch(NamedTuple):
    """Memory that `conv2d_maxpool2d_backward` works in, as views with their shapes."""

    x_padded: np.ndarray  # (padded_H, padded_W, C) an image with its padding
    dx_padded: np.ndarray  # (padded_H, padded_W, C) the gradient of that
    gradients: np.ndarray  # (2, F, L) of the winners, listed by filter and by position
    positions: np.ndarray  # (2, F, L) int32: the winners' positions, and their filters
    counts: np.ndarray  # (F,) int64: winners of each filter
    lists: np.ndarray  # (2, 3, max(F, OH * OW)) int32: where each list begins, ends and adds to


class Gradients(NamedTuple):
    """The gradients that a step computes."""

    d_vectors: np.ndarray  # (n_activations * batch_capacity) of dense layers' outputs
    chunks: np.ndarray  # (n_chunks, n_parameter_slots) of each chunk of the batch
    parameters: np.ndarray  # (n_parameter_slots) of the batch, owned by the network


class Results(NamedTuple):
    """What a step hands back, and what passes from its forward pass over the loss to backward."""

    logits: np.ndarray  # (N, K), or the outputs of a part of the network
    losses: np.ndarray  # (N,) float64
    dlogits: np.ndarray  # (N, K) gradient of the batch's mean loss
    target_rows: np.ndarray  # (N, K) the targets as smoothed distributions
    dx: np.ndarray  # (N * H * W * C) gradient of x; empty: not wanted


class Chunk(NamedTuple):
    """Some images of a batch that go through the operations together."""

    first: int  # number of its first image in the batch
    count: int  # images
    first_picture: int  # number of its first image in `Activations.pictures`


class Window(NamedTuple):
    """How a convolution's window moves over its input."""

    S: int  # stride, the same along both axes
    PT: int  # rows of padding above the input
    PL: int  # columns of padding to its left
    OH: int  # rows of the output
    OW: int  # columns of the output


@inline_helper
def view_2d(flat, start, n_rows, n_columns):
    """A matrix that begins at flat[start]."""
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
def weights_of(op, parameters):
    """The weights (KH, KW, C, F) of a convolution's record."""
    return view_4d(parameters, op.w_offset, op.KH, op.KW, op.C, op.F)


@inline_helper
def bias_of(op, parameters):
    """The bias (F,) of a record."""
    return parameters[op.b_offset : op.b_offset + op.F]


@inline_helper
def outputs(op, activations, chunk):
    """The part of `activations` that holds the operation's outputs for a chunk, flat."""
    size = op.OH * op.OW * op.F
    if op.y_in_pictures:
        at = op.y_offset * activations.picture_capacity + chunk.first_picture * size
        return activations.pictures[at : at + chunk.count * size]
    at = op.y_offset * activations.batch_capacity + chunk.first * size
    return activations.vectors[at : at + chunk.count * size]


@inline_helper
def winners(op, activations, chunk, count):
    """The argmax (count, OH, OW, F) of a pooling for a chunk."""
    at = op.argmax_offset * activations.picture_capacity
    at += chunk.first_picture * op.OH * op.OW * op.F
    return view_4d(activations.argmax, at, count, op.OH, op.OW, op.F)
