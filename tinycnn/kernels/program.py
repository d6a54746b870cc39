"""Walks a network's operations for a chunk of images, forward and backward.

Chunks are the unit of parallel work: `tinycnn.kernel_backend` calls these functions from several
threads, each with chunks of its own.  Nothing is allocated here; the structures of `arrays.py`
belong to the caller.

The passes of an operation stand in its kernel file, and with them its adaptors, which all have the
same arguments:

    op           its record in the table, see `operations.py`
    weights      `arrays.Weights`
    x, y         its input and output for the images of the chunk, flat
    dy, dx       the gradients of these; an empty dx is not wanted
    activations  `arrays.Activations`
    scratch      `arrays.ForwardScratch`, or `arrays.BackwardScratch`
    sums         (n_parameter_slots) where backward writes the gradients of the chunk's parameters
    chunk        `arrays.Chunk`
    training     1 in a training step, 0 in prediction

To add an operation, give it a `kind` in `operations.py` and a branch in each function here that is
called `..._operation`.
"""

import math
from typing import NamedTuple

import numpy as np

from ._jit import helper, inline_helper
from ._shared_counter import take_number
from .arrays import Activations, Chunk, ForwardScratch, Gradients, Weights, outputs, weights_of
from .conv2d_operation import (
    conv2d_operation_backward,
    conv2d_operation_collect,
    conv2d_operation_forward,
    conv2d_operation_transpose,
    conv2d_winograd_operation_forward,
)
from .conv2d_winograd import conv2d_winograd_weights
from .cross_entropy import distillation_rows
from .dense import (
    dense_operation_backward,
    dense_operation_collect,
    dense_operation_forward,
    dense_operation_transpose,
)
from .dropout import dropout_operation_backward, dropout_operation_forward
from .elementwise import add, assign
from .maxpool2d import maxpool2d_operation_backward, maxpool2d_operation_forward
from .operations import CONV2D, DENSE, DROPOUT, MAXPOOL2D
from .relu import relu_backward, relu_forward

BLOCK = 4
"""Images of which the backward pass keeps the gradients of pictures at a time: so many stay in a
core's second cache."""


class Phase(NamedTuple):
    """What is done for each chunk of a batch, one after the other: flags, 0 or 1."""

    forward: int
    loss: int
    backward: int


class Chunks(NamedTuple):
    """The chunks of a batch.  Threads that share `counter` take them in turn."""

    counter: np.ndarray  # (1,) int64: the next chunk; 0 before the first call
    n_chunks: int
    size: int  # images of every chunk but the batch's last
    is_whole_step: int  # 1: one thread does all; what comes before and after the chunks is done too


# ---- forward -----------------------------------------------------------------------------------


@inline_helper
def forward_operation(op, weights, winograd_weights, x, y, activations, scratch, chunk, training):
    """One operation for a chunk of images: x -> y.

    winograd_weights  None for a network that has none: it is then compiled without Winograd
    """
    done = False
    if winograd_weights is not None:
        if op.winograd:
            conv2d_winograd_operation_forward(
                op, weights, winograd_weights, x, y, activations, scratch, chunk, training
            )
            done = True
    if not done:
        if op.kind == CONV2D:
            conv2d_operation_forward(op, weights, x, y, activations, scratch, chunk, training)
        elif op.kind == MAXPOOL2D:
            maxpool2d_operation_forward(op, weights, x, y, activations, scratch, chunk, training)
        elif op.kind == DENSE:
            dense_operation_forward(op, weights, x, y, activations, scratch, chunk, training)
        elif op.kind == DROPOUT:
            dropout_operation_forward(op, weights, x, y, activations, scratch, chunk, training)
        else:
            assign(x, y)
        if op.relu:
            relu_forward(y, y)


@inline_helper
def walk_forward(weights, winograd_weights, x, activations, scratch, chunk, training, outputs_out):
    """All operations for a chunk of the batch x, flat: the last one's outputs go to outputs_out,
    flat, of the batch."""
    operations = weights.operations
    for k in range(operations.size):
        op = operations[k]
        if k == 0:
            size_x = op.H * op.W * op.C
            x_k = x[chunk.first * size_x : (chunk.first + chunk.count) * size_x]
        else:
            x_k = outputs(operations[k - 1], activations, chunk)
        y_k = outputs(op, activations, chunk)
        forward_operation(
            op, weights, winograd_weights, x_k, y_k, activations, scratch, chunk, training
        )
        if k == operations.size - 1:
            size_y = op.OH * op.OW * op.F
            assign(y_k, outputs_out[chunk.first * size_y : (chunk.first + chunk.count) * size_y])


@helper
def program_predict(
    operations, parameters, winograd_weights, x, count, capacity, values, argmax, conv_output,
    winograd_scratch, outputs_out,
):  # fmt: skip
    """Outputs of `count` images for prediction.  The arguments are arrays and not the structures of
    `arrays.py`: for one image, unpacking those from Python would take 3 % of the time.

    x                 flat; outputs_out: flat, `count` images or more
    capacity          images that the workspace holds
    values            (n_activations * capacity) the outputs of all operations
    argmax            (n_argmax * capacity) int32, scratch
    conv_output, winograd_scratch  of `arrays.ForwardScratch`
    """
    weights = Weights(operations, parameters, parameters[:0])
    activations = Activations(capacity, values, parameters[:0], capacity, values, argmax)
    scratch = ForwardScratch(conv_output, winograd_scratch)
    chunk = Chunk(0, count, 0)
    walk_forward(weights, winograd_weights, x, activations, scratch, chunk, 0, outputs_out)


# ---- weights in the layouts that the passes read -----------------------------------------------


@helper
def program_winograd_weights(operations, parameters, winograd_weights_out):
    """The transformed weights of every operation that is done by Winograd."""
    for k in range(operations.size):
        op = operations[k]
        if op.winograd:
            conv2d_winograd_weights(weights_of(op, parameters), winograd_weights_out[op.u_offset :])


@helper
def program_same_weights(operations, bits, other_bits):
    """Whether the weights that `program_winograd_weights` reads are the same bits in two vectors of
    parameters, given as unsigned integers."""
    different = bits.dtype.type(0)
    for k in range(operations.size):
        op = operations[k]
        if op.winograd:
            size = op.KH * op.KW * op.C * op.F
            one = bits[op.w_offset : op.w_offset + size]
            other = other_bits[op.w_offset : op.w_offset + size]
            for p in range(size):
                different |= one[p] ^ other[p]
    return different == 0


@helper
def program_transpose_weights(weights):
    """Write `weights.transposed`, for the backward passes of a step."""
    operations = weights.operations
    for k in range(operations.size):
        op = operations[k]
        if op.kind == CONV2D:
            conv2d_operation_transpose(op, weights)
        elif op.kind == DENSE:
            dense_operation_transpose(op, weights)


# ---- backward ----------------------------------------------------------------------------------


@helper
def n_picture_operations(operations):
    """The number of operations up to the last one on pictures; behind them are vectors alone."""
    n = 0
    for k in range(operations.size):
        if operations[k].kind == CONV2D or operations[k].kind == MAXPOOL2D:
            n = k + 1
    return n


@inline_helper
def output_gradient(op, activations, gradients, scratch, chunk, n_done):
    """Where the gradient of the operation's output lies, for a chunk or a block of one.

    n_done  images of the chunk that come before the block
    That of a dense layer lies in `gradients.d_vectors`, for the whole batch: `program_collect`
    needs it there.  Others lie in `scratch.d_activations`: what comes from vectors for the whole
    chunk, what operations on pictures hand to one another for one block.
    """
    size = op.OH * op.OW * op.F
    if op.kind == DENSE:
        at = op.y_offset * activations.batch_capacity + chunk.first * size
        return gradients.d_vectors[at : at + chunk.count * size]
    at = op.y_offset * scratch.capacity
    if not op.y_in_pictures:
        at += n_done * size
    return scratch.d_activations[at : at + chunk.count * size]


@inline_helper
def backward_operation(op, weights, x, dy, dx, activations, scratch, sums, chunk):
    """One operation for a chunk of images: dy -> dx, and the gradients of its parameters."""
    if op.kind == CONV2D:
        conv2d_operation_backward(op, weights, x, dy, dx, activations, scratch, sums, chunk)
    elif op.kind == DENSE:
        dense_operation_backward(op, weights, x, dy, dx, activations, scratch, sums, chunk)
    elif op.kind == MAXPOOL2D:
        maxpool2d_operation_backward(op, weights, x, dy, dx, activations, scratch, sums, chunk)
    elif op.kind == DROPOUT:
        dropout_operation_backward(op, weights, x, dy, dx, activations, scratch, sums, chunk)
    elif dx.size:
        assign(dy, dx)


@inline_helper
def walk_backward(weights, x, d_outputs, activations, gradients, scratch, sums, chunk, dx_out):
    """All operations for a chunk, from the last to the first, after `walk_forward` with training
    = 1 for the same chunk.

    What lies behind the pictures is done for the whole chunk at once, the pictures for BLOCK images
    at a time.

    x, d_outputs  flat, of the batch
    sums          (n_parameter_slots): overwritten by the chunk's gradients of the convolutions;
                  `program_collect` computes those of the dense layers
    dx_out        flat like x, for the gradient of x; empty: not wanted
    """
    operations = weights.operations
    n_operations, n_pictures = operations.size, n_picture_operations(operations)
    n_blocks = -(-chunk.count // BLOCK) if n_pictures else 0
    for block in range(-1, n_blocks):
        if block < 0:
            top, bottom, n_done, n = n_operations, n_pictures, 0, chunk.count
        else:
            top, bottom, n_done = n_pictures, 0, block * BLOCK
            n = min(BLOCK, chunk.count - n_done)
        here = Chunk(chunk.first + n_done, n, chunk.first_picture + n_done)
        block_sums = scratch.parameters if block > 0 else sums
        for k in range(top - 1, bottom - 1, -1):
            op = operations[k]
            size_y = op.OH * op.OW * op.F
            dy_k = output_gradient(op, activations, gradients, scratch, here, n_done)
            if k == n_operations - 1:
                assign(d_outputs[here.first * size_y : (here.first + n) * size_y], dy_k)
            if k == 0:
                size_x = op.H * op.W * op.C
                x_k = x[here.first * size_x : (here.first + n) * size_x]
                dx_k = dx_out[here.first * size_x : (here.first + n) * size_x]
            else:
                before = operations[k - 1]
                x_k = outputs(before, activations, here)
                dx_k = output_gradient(before, activations, gradients, scratch, here, n_done)
            if op.relu:
                relu_backward(outputs(op, activations, here), dy_k, dy_k)
            backward_operation(op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, here)
            if block > 0 and op.kind == CONV2D:
                add_block(op.w_offset, op.KH * op.KW * op.C * op.F, block_sums, sums)
                add_block(op.b_offset, op.F, block_sums, sums)


@helper
def add_block(offset, size, block_sums, sums):
    """Add the gradients of a block's parameters to those of the chunk's earlier blocks."""
    add(block_sums[offset : offset + size], sums[offset : offset + size])


@helper
def program_collect(weights, x, n_images, activations, gradients, share, n_shares):
    """The gradients of all parameters, once every chunk has gone backward: one share of the work,
    0 <= share < n_shares.  Shares may be done side by side.

    Those of the convolutions are summed over `gradients.chunks`; those of dense layers are
    computed here, for the whole batch.  x: flat, of the batch.
    """
    operations, capacity = weights.operations, activations.batch_capacity
    for k in range(operations.size):
        op = operations[k]
        if op.kind == CONV2D and share == n_shares - 1:
            conv2d_operation_collect(op, weights, gradients)
        elif op.kind == DENSE:
            if k == 0:
                x_k = x
            else:
                x_k = activations.vectors[operations[k - 1].y_offset * capacity :]
            dense_operation_collect(
                op, weights, x_k, gradients, n_images, capacity, share, n_shares
            )


# ---- a training step ---------------------------------------------------------------------------


@helper
def target_distributions(labels, targets, label_smoothing, first, rows_out):
    """Rows `first` on of the targets as distributions (1-a) * y + a / K, a = label_smoothing.

    labels (N,) int64 classes, or targets (N, K); one of them is empty.
    """
    n, K = rows_out.shape
    keep = rows_out.dtype.type(1.0 - label_smoothing)
    even = rows_out.dtype.type(label_smoothing / K)
    for r in range(n):
        for k in range(K):
            if labels.size:
                y = rows_out.dtype.type(labels[first + r] == k)
            else:
                y = targets[first + r, k]
            rows_out[r, k] = keep * y + even if label_smoothing else y


@helper
def mean_loss(losses):
    """The mean of the losses, summed in their order; 0 of none."""
    total = 0.0
    for n in range(losses.size):
        total += losses[n]
    return total / max(losses.size, 1)


@helper
def program_step(
    weights, winograd_weights, batch, terms, phase, chunks, activations, forward_scratch,
    gradients, backward_scratch, results,
):  # fmt: skip
    """One phase of a training step, for the chunks that this call takes, one after the other.

    Where a phase goes forward and backward, `activations` holds the pictures of one chunk, which
    the next chunk overwrites: they never leave the cache.  Otherwise it holds those of the batch.

    winograd_weights  as in `forward_operation`
    terms             `tinycnn.losses.LossTerms`
    The other arguments are the structures of `arrays.py` and of this file.  Each chunk writes its
    own rows of `results` and of `gradients.chunks`.
    Returns the mean loss of the batch, which means something once all chunks are done.  A whole
    step leaves `gradients.parameters` as they were where that is not finite.
    """
    N = results.logits.shape[0]
    if chunks.is_whole_step:
        if winograd_weights is not None:
            program_winograd_weights(weights.operations, weights.parameters, winograd_weights)
        program_transpose_weights(weights)
    while True:
        c = take_number(chunks.counter)
        if c >= chunks.n_chunks:
            break
        first = c * chunks.size
        end = min(first + chunks.size, N)
        in_turn = phase.forward and phase.backward
        chunk = Chunk(first, end - first, 0 if in_turn else first)
        if phase.forward:
            walk_forward(
                weights, winograd_weights, batch.x, activations, forward_scratch, chunk, 1,
                results.logits.reshape(-1),
            )  # fmt: skip
        if phase.loss:
            rows = results.target_rows[first:end]
            target_distributions(batch.labels, batch.targets, terms.label_smoothing, first, rows)
            teacher = batch.soft_labels[first:end] if batch.soft_labels.size else rows
            distillation_rows(
                results.logits[first:end], rows, teacher,
                terms.temperature, terms.soft_weight, terms.soft_scale, N,
                results.losses[first:end], results.dlogits[first:end],
            )  # fmt: skip
        if phase.backward:
            walk_backward(
                weights, batch.x, results.dlogits.reshape(-1), activations, gradients,
                backward_scratch, gradients.chunks[c], chunk, results.dx,
            )  # fmt: skip
    loss = mean_loss(results.losses)
    if chunks.is_whole_step and math.isfinite(loss):
        used = Gradients(
            gradients.d_vectors, gradients.chunks[: chunks.n_chunks], gradients.parameters
        )
        program_collect(weights, batch.x, N, activations, used, 0, 1)
    return loss
