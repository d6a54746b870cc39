"""Runs all operations of a network for a chunk of images, forward and backward.

`tinycnn.kernel_backend` calls these functions from several threads, each with other chunks.
Nothing is allocated here: the caller owns the structures of `arrays.py`.

The file of an operation has its passes, and adaptors that call these.  The adaptors of all
operations have the same arguments:

    op           the operation's record, see `operations.py`
    weights      `arrays.Weights`
    x, y         its input and output for the images of the chunk, flat
    dy, dx       the gradients of y and x; an empty dx is not computed
    activations  `arrays.Activations`
    scratch      `arrays.ForwardScratch`, or `arrays.BackwardScratch`
    sums         (n_parameter_slots) overwritten by backward: gradients of the parameters, summed
                 over the images of the chunk
    chunk        `arrays.Chunk`
    training     1 in a training step, 0 in prediction

To add an operation, give it a `kind` in `operations.py` and a branch in `walk_forward` and
`walk_backward`, and if it has weights in `program_transpose_weights` and `program_collect`.
"""

import math
from typing import NamedTuple

import numpy as np

from ._jit import helper, inline_helper
from ._shared_counter import take_number
from .arrays import (
    Activations,
    Chunk,
    ForwardScratch,
    Gradients,
    Weights,
    outputs,
    rows,
    weights_of,
)
from .averagepool2d import averagepool2d_operation_backward, averagepool2d_operation_forward
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
from .depthwise_conv2d import (
    depthwise_conv2d_operation_backward,
    depthwise_conv2d_operation_collect,
    depthwise_conv2d_operation_forward,
)
from .dropout import dropout_operation_backward, dropout_operation_forward
from .elementwise import add, assign
from .maxpool2d import maxpool2d_operation_backward, maxpool2d_operation_forward
from .operations import (
    AVERAGEPOOL2D,
    CONV2D,
    DENSE,
    DEPTHWISE_CONV2D,
    DROPOUT,
    MAXPOOL2D,
    MOVE_A_WINDOW,
)
from .relu import relu_backward, relu_forward

BLOCK = 4
"""Images in a block.  The backward pass goes through convolutions and poolings block by block, so
that the gradients of their outputs stay in the second-level cache."""


class Phase(NamedTuple):
    """What a phase of a training step does for each chunk, in this order: flags, 0 or 1."""

    forward: int
    loss: int
    backward: int


class Chunks(NamedTuple):
    """The chunks of a batch.  Threads that share `counter` take them in turn."""

    counter: np.ndarray  # (1,) int64: the next chunk; 0 before the first call
    n_chunks: int
    size: int  # images in each chunk; the last chunk of the batch may have fewer
    is_whole_step: int  # 1: one thread does all, also the work before the first and after the last


# ---- forward -----------------------------------------------------------------------------------


@inline_helper
def walk_forward(weights, winograd_weights, x, activations, scratch, chunk, training, outputs_out):
    """All operations for a chunk.  x: of the whole batch, flat; outputs_out: the same for the
    outputs of the last operation, of which those of the chunk are written.

    winograd_weights  None if the network has none: it is then compiled without Winograd
    """
    operations = weights.operations
    for k in range(operations.size):
        op = operations[k]
        if k == 0:
            x_k = rows(x, chunk, op.H * op.W * op.C)
        else:
            x_k = outputs(operations[k - 1], activations, chunk)
        y_k = outputs(op, activations, chunk)
        by_winograd = False
        if winograd_weights is not None:
            if op.winograd:
                by_winograd = True
                conv2d_winograd_operation_forward(
                    op, weights, winograd_weights, x_k, y_k, activations, scratch, chunk, training
                )
        if not by_winograd:
            if op.kind == CONV2D:
                conv2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == MAXPOOL2D:
                maxpool2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == DENSE:
                dense_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == DEPTHWISE_CONV2D:
                depthwise_conv2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == AVERAGEPOOL2D:
                averagepool2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == DROPOUT:
                dropout_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            else:
                assign(x_k, y_k)
            if op.relu:
                relu_forward(y_k, y_k)
        if k == operations.size - 1:
            assign(y_k, rows(outputs_out, chunk, op.OH * op.OW * op.F))


@helper
def program_predict(
    operations, parameters, winograd_weights, x, n_images, capacity, values, argmax, conv_output,
    winograd_scratch, outputs_out,
):  # fmt: skip
    """Outputs of some images, for prediction.  The arguments are arrays and not the structures of
    `arrays.py`: unpacking these from Python would take 3 % of the time that one image takes.

    x                 flat; outputs_out: flat, for n_images images or more
    capacity          images that `values` and `argmax` have room for
    values            (n_activations * capacity) the outputs of all operations
    argmax            (n_argmax * capacity) int32, scratch
    conv_output, winograd_scratch  as in `arrays.ForwardScratch`
    """
    weights = Weights(operations, parameters, parameters[:0])
    activations = Activations(capacity, values, parameters[:0], capacity, values, argmax)
    scratch = ForwardScratch(conv_output, winograd_scratch)
    chunk = Chunk(0, n_images, 0)
    walk_forward(weights, winograd_weights, x, activations, scratch, chunk, 0, outputs_out)


# ---- weights in the layouts that the passes read -----------------------------------------------


@helper
def program_winograd_weights(operations, parameters, winograd_weights_out):
    """The transformed weights of every operation that uses `conv2d_winograd.py`."""
    for k in range(operations.size):
        op = operations[k]
        if op.winograd:
            conv2d_winograd_weights(weights_of(op, parameters), winograd_weights_out[op.u_offset :])


@helper
def program_same_weights(operations, bits, other_bits):
    """Whether the weights that `program_winograd_weights` reads have the same bits in two parameter
    vectors, which are given as unsigned integers."""
    different = bits.dtype.type(0)
    for k in range(operations.size):
        op = operations[k]
        if op.winograd:
            w = bits[op.w_offset : op.w_offset + op.w_size]
            other_w = other_bits[op.w_offset : op.w_offset + op.w_size]
            for p in range(op.w_size):
                different |= w[p] ^ other_w[p]
    return different == 0


@helper
def program_transpose_weights(weights):
    """Overwrite `weights.transposed`, which the backward passes of a step read."""
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
    """The number of operations up to the last convolution or pooling."""
    n = 0
    for k in range(operations.size):
        if operations[k].kind in MOVE_A_WINDOW:
            n = k + 1
    return n


@inline_helper
def output_gradient(op, activations, gradients, scratch, chunk, n_done):
    """The gradient of the operation's output, for a chunk or for a block of a chunk.

    n_done  images of the chunk that come before the block
    The gradient of a dense layer's output is kept for the whole batch, in `gradients.d_vectors`,
    where `program_collect` needs it.  Others are in `scratch.d_activations`: those of vectors for
    the whole chunk, those of pictures for one block.
    """
    size = op.OH * op.OW * op.F
    if op.kind == DENSE:
        at = op.y_offset * activations.batch_capacity + chunk.first * size
        return gradients.d_vectors[at : at + chunk.n_images * size]
    at = op.y_offset * scratch.capacity
    if not op.y_in_pictures:
        at += n_done * size
    return scratch.d_activations[at : at + chunk.n_images * size]


@helper
def walk_backward(weights, x, d_outputs, activations, gradients, scratch, sums, chunk, dx_out):
    """All operations for a chunk, from the last to the first, after `walk_forward` with training
    = 1 for the same chunk.

    The operations after the last convolution or pooling are done for the whole chunk at once, then
    the others for one block of images at a time.

    x, d_outputs  of the batch, flat
    sums          (n_parameter_slots) overwritten: the chunk's gradients of the convolutions'
                  parameters; `program_collect` computes those of the dense layers
    dx_out        for the gradient of x, flat like x; or empty: then it is not computed
    """
    operations = weights.operations
    n_operations, n_pictures = operations.size, n_picture_operations(operations)
    n_blocks = -(-chunk.n_images // BLOCK) if n_pictures else 0
    for b in range(-1, n_blocks):  # -1: the whole chunk
        if b < 0:
            end, begin, n_done, n_images = n_operations, n_pictures, 0, chunk.n_images
        else:
            end, begin, n_done = n_pictures, 0, b * BLOCK
            n_images = min(BLOCK, chunk.n_images - n_done)
        block = Chunk(chunk.first + n_done, n_images, chunk.first_picture + n_done)
        block_sums = scratch.parameters if b > 0 else sums
        for k in range(end - 1, begin - 1, -1):
            op = operations[k]
            dy_k = output_gradient(op, activations, gradients, scratch, block, n_done)
            if k == n_operations - 1:
                assign(rows(d_outputs, block, op.OH * op.OW * op.F), dy_k)
            if k == 0:
                x_k = rows(x, block, op.H * op.W * op.C)
                dx_k = rows(dx_out, block, op.H * op.W * op.C)
            else:
                before = operations[k - 1]
                x_k = outputs(before, activations, block)
                dx_k = output_gradient(before, activations, gradients, scratch, block, n_done)
            if op.relu:
                relu_backward(outputs(op, activations, block), dy_k, dy_k)
            if op.kind == CONV2D:
                conv2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == DENSE:
                dense_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == MAXPOOL2D:
                maxpool2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == DEPTHWISE_CONV2D:
                depthwise_conv2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == AVERAGEPOOL2D:
                averagepool2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == DROPOUT:
                dropout_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif dx_k.size:
                assign(dy_k, dx_k)
            if b > 0 and (op.kind == CONV2D or op.kind == DEPTHWISE_CONV2D):
                add_block(op.w_offset, op.w_size, block_sums, sums)
                add_block(op.b_offset, op.F, block_sums, sums)


@helper
def add_block(offset, size, block_sums, sums):
    """Add a block's gradients of some parameters to those of the chunk's earlier blocks."""
    add(block_sums[offset : offset + size], sums[offset : offset + size])


@helper
def program_collect(weights, x, n_images, activations, gradients, share, n_shares):
    """The gradients of all parameters for the batch, after the backward pass of every chunk.

    This call does one share of the work, 0 <= share < n_shares; shares can run in parallel.  The
    gradients of convolutions are summed over `gradients.chunks`; those of dense layers are computed
    here, for the whole batch.  x: of the batch, flat.
    """
    operations, capacity = weights.operations, activations.batch_capacity
    for k in range(operations.size):
        op = operations[k]
        if op.kind == CONV2D and share == n_shares - 1:
            conv2d_operation_collect(op, weights, gradients)
        elif op.kind == DEPTHWISE_CONV2D and share == n_shares - 1:
            depthwise_conv2d_operation_collect(op, gradients)
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
    """rows_out = (1-a) * y + a / K, a = label_smoothing; y are the targets from `first` on.

    y are labels (N,), int64 class indices, or targets (N, K), distributions; the other is empty.
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
    """The mean of the losses, added in their order; 0 if there are none."""
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

    If a phase goes forward and backward, `activations` has the pictures of one chunk, which the
    next chunk overwrites, so that they stay in the cache.  Otherwise it has those of the batch.

    winograd_weights  as in `forward_operation`
    terms             `tinycnn.losses.LossTerms`
    The other arguments are structures of `arrays.py` and of this file.  Each chunk writes its own
    parts of `results` and `gradients.chunks`.
    Returns the mean of `results.losses`, which is the loss of the batch when all chunks are done.
    A whole step does not change `gradients.parameters` if the loss is not finite.
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
        keeps_one_chunk = phase.forward and phase.backward
        chunk = Chunk(first, end - first, 0 if keeps_one_chunk else first)
        if phase.forward:
            walk_forward(
                weights, winograd_weights, batch.x, activations, forward_scratch, chunk, 1,
                results.logits.reshape(-1),
            )  # fmt: skip
        if phase.loss:
            targets = results.target_rows[first:end]
            target_distributions(batch.labels, batch.targets, terms.label_smoothing, first, targets)
            teacher = batch.soft_labels[first:end] if batch.soft_labels.size else targets
            distillation_rows(
                results.logits[first:end], targets, teacher,
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
        done = Gradients(
            gradients.d_vectors, gradients.chunks[: chunks.n_chunks], gradients.parameters
        )
        program_collect(weights, batch.x, N, activations, done, 0, 1)
    return loss
