"""A whole network in one call: walks the plan's table of operations for a chunk of images.

Chunks are the unit of parallel work: `tinycnn.backends` calls these functions from several
threads, each with its own chunk.  Nothing is allocated here; every array is a part of a flat
workspace that the caller owns, found by the offsets in the table (`tinycnn.plan.OPERATION`).

Two kinds of workspace.  `vectors` and `masks` hold `capacity` images, a whole batch in training;
`pictures` and `argmax` hold `room` images: they are large, and where the backward pass of a chunk
follows its forward pass at once they are a chunk's, again and again, and never leave the cache.
Operation k owns [offset * capacity, (offset + size) * capacity) of the one and as much times `room`
of the other, so that the images of a chunk lie together: from image `first` on, and from `slot`
on.
"""

import math

import numpy as np

from ._jit import kernel
from ._winner_lists import LANES
from .conv2d import (
    conv2d_backward_input,
    conv2d_backward_params,
    conv2d_forward,
    conv2d_transpose_weights,
)
from .conv2d_maxpool2d import conv2d_maxpool2d_backward, conv2d_transpose_weights_back
from .conv2d_winograd import conv2d_winograd_forward, conv2d_winograd_weights
from .cross_entropy import distillation_rows
from .dense import (
    dense_backward_bias,
    dense_backward_input,
    dense_backward_rows,
    dense_forward,
    dense_transpose_weights,
)
from .dropout import dropout_backward, dropout_forward
from .maxpool2d import maxpool2d_backward, maxpool2d_forward
from .relu import assign, relu_backward, relu_forward

CONV2D, MAXPOOL2D, DENSE, RELU, DROPOUT = range(5)  # as in plan.py; a test compares them

ROW_SUM_TOLERANCE = 1e-3  # as in losses.py

BLOCK = 4  # images of which the backward pass keeps the gradients of pictures at a time


def part(flat, start, n, H, W, C):
    """n pictures of (H, W, C) that begin at flat[start]."""
    return flat[start : start + n * H * W * C].reshape((n, H, W, C))


part = kernel(part, inline=True)


def weights(flat, start, KH, KW, C, F):
    """A convolution's weights, (KH, KW, C, F), that begin at flat[start]."""
    return flat[start : start + KH * KW * C * F].reshape((KH, KW, C, F))


weights = kernel(weights, inline=True)


def matrix(flat, start, n_rows, n_columns):
    """A matrix that begins at flat[start]."""
    return flat[start : start + n_rows * n_columns].reshape((n_rows, n_columns))


matrix = kernel(matrix, inline=True)


def operation_forward(
    op, parameters, x_flat, y_flat, argmax, argmax_at, mask, conv_output, training, count
):  # fmt: skip
    """One operation of the table for `count` images: x_flat -> y_flat.

    argmax[argmax_at:] takes the winners of a pooling; mask is what dropout multiplies by.
    """
    size_x, size_y = op.H * op.W * op.C, op.OH * op.OW * op.F
    if op.kind == CONV2D:
        w = weights(parameters, op.w_offset, op.KH, op.KW, op.C, op.F)
        b = parameters[op.b_offset : op.b_offset + op.F]
        if op.pool:
            z = part(conv_output, 0, 1, op.conv_OH, op.conv_OW, op.F)
            for n in range(count):
                x_n = part(x_flat, n * size_x, 1, op.H, op.W, op.C)
                y_n = part(y_flat, n * size_y, 1, op.OH, op.OW, op.F)
                winner = part(argmax, argmax_at + n * size_y, 1, op.OH, op.OW, op.F)
                conv2d_forward(x_n, w, b, op.S, op.PT, op.PL, z)
                maxpool2d_forward(z, op.pool_K, op.pool_S, op.pool_PT, op.pool_PL, y_n, winner)
        else:
            x_4d = part(x_flat, 0, count, op.H, op.W, op.C)
            y_4d = part(y_flat, 0, count, op.OH, op.OW, op.F)
            conv2d_forward(x_4d, w, b, op.S, op.PT, op.PL, y_4d)
    elif op.kind == MAXPOOL2D:
        x_4d = part(x_flat, 0, count, op.H, op.W, op.C)
        y_4d = part(y_flat, 0, count, op.OH, op.OW, op.F)
        winner = part(argmax, argmax_at, count, op.OH, op.OW, op.F)
        maxpool2d_forward(x_4d, op.pool_K, op.pool_S, op.pool_PT, op.pool_PL, y_4d, winner)
    elif op.kind == DENSE:
        w = matrix(parameters, op.w_offset, size_x, op.F)
        b = parameters[op.b_offset : op.b_offset + op.F]
        x_2d, y_2d = matrix(x_flat, 0, count, size_x), matrix(y_flat, 0, count, op.F)
        dense_forward(x_2d, w, b, y_2d)
    elif op.kind == DROPOUT and training:
        dropout_forward(x_flat, mask, y_flat)
    else:
        assign(x_flat, y_flat)
    if op.relu:
        relu_forward(y_flat, y_flat)


operation_forward = kernel(operation_forward, inline=True)


@kernel
def n_picture_operations(operations):
    """The operations up to the last that sees a picture: behind them are vectors alone."""
    n = 0
    for k in range(operations.size):
        if operations[k].kind == CONV2D or operations[k].kind == MAXPOOL2D:
            n = k + 1
    return n


def output_of(operations, k, n_pictures, pictures, slot, room, vectors, first, capacity, count):
    """What operation k gives, for `count` images.

    What the last picture operation hands on counts as a vector: a dense layer's weight gradient
    needs it for the whole batch.
    """
    op = operations[k]
    size = op.OH * op.OW * op.F
    if k < n_pictures - 1:
        at = op.y_offset * room + slot * size
        return pictures[at : at + count * size]
    at = op.y_offset * capacity + first * size
    return vectors[at : at + count * size]


output_of = kernel(output_of, inline=True)


@kernel
def program_forward(
    operations, parameters, U, x, first, slot, count, capacity, room,
    vectors, pictures, argmax, masks, conv_output, scratch, training, logits_out,
):  # fmt: skip
    """Forward pass of images first ... first + count, whose pictures take the slots from `slot` on.

    U, scratch   of `conv2d_winograd.py`, for operations that the table gives to it: an operation's
                 part of U begins at its u_offset.  U is None where there is none: such a program is
                 compiled without it
    x            flat (N * H * W * C)
    conv_output  scratch for one image's convolution before its pooling
    training     1: dropout multiplies by its mask, and winners of poolings are kept for backward;
                 0: dropout does nothing, and argmax is scratch
    logits_out   flat (N * K)
    """
    n_pictures = n_picture_operations(operations)
    for k in range(operations.size):
        op = operations[k]
        size_x, size_y = op.H * op.W * op.C, op.OH * op.OW * op.F
        if k == 0:
            x_flat = x[first * size_x : (first + count) * size_x]
        else:
            x_flat = output_of(
                operations, k - 1, n_pictures, pictures, slot, room, vectors, first, capacity, count
            )
        y_flat = output_of(
            operations, k, n_pictures, pictures, slot, room, vectors, first, capacity, count
        )
        argmax_at = op.argmax_offset * room + slot * size_y
        mask_at = op.mask_offset * capacity + first * size_y
        winograd = 0
        if U is not None:
            winograd = op.winograd
            if winograd:
                w = weights(parameters, op.w_offset, op.KH, op.KW, op.C, op.F)
                b = parameters[op.b_offset : op.b_offset + op.F]
                x_4d = part(x_flat, 0, count, op.H, op.W, op.C)
                y_4d = part(y_flat, 0, count, op.OH, op.OW, op.F)
                winner = part(argmax, argmax_at, op.pool * training * count, op.OH, op.OW, op.F)
                conv2d_winograd_forward(
                    x_4d, w, U[op.u_offset :], b, op.PT, op.PL, op.conv_OH, op.conv_OW,
                    op.pool, op.relu, scratch, y_4d, winner,
                )  # fmt: skip
        if not winograd:
            mask = masks[mask_at : mask_at + count * size_y]
            operation_forward(
                op, parameters, x_flat, y_flat, argmax, argmax_at, mask, conv_output, training,
                count,
            )  # fmt: skip
        if k == operations.size - 1:
            assign(y_flat, logits_out[first * size_y : (first + count) * size_y])


@kernel
def program_winograd_weights(operations, parameters, U_out):
    """The transformed weights of every operation that takes them."""
    for k in range(operations.size):
        op = operations[k]
        if op.winograd:
            w = weights(parameters, op.w_offset, op.KH, op.KW, op.C, op.F)
            conv2d_winograd_weights(w, U_out[op.u_offset :])


@kernel
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


@kernel
def program_transpose_weights(operations, parameters, transposed):
    """Every layer's weights turned for the backward pass, once a step."""
    for k in range(operations.size):
        op = operations[k]
        size_x = op.H * op.W * op.C
        if op.kind == CONV2D:
            w = weights(parameters, op.w_offset, op.KH, op.KW, op.C, op.F)
            w_t = weights(transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
            conv2d_transpose_weights(w, w_t)
        elif op.kind == DENSE:
            w = matrix(parameters, op.w_offset, size_x, op.F)
            dense_transpose_weights(w, matrix(transposed, op.w_t_offset, op.F, size_x))


def output_gradient(
    operations, k, n_pictures, dense_gradients, capacity, d_activations, d_room, first, done, n
):
    """Where the gradient of operation k's output lies, for n images of a chunk after `done` others.

    That of a dense layer lies in dense_gradients, for the whole batch: `program_collect` needs it.
    What is handed on to the pictures lies in d_activations for all images of the chunk; what
    pictures hand on to one another lies there for these images alone.
    """
    op = operations[k]
    size = op.OH * op.OW * op.F
    if op.kind == DENSE:
        at = op.y_offset * capacity + (first + done) * size
        return dense_gradients[at : at + n * size]
    at = op.y_offset * d_room
    if k >= n_pictures - 1:
        at += done * size
    return d_activations[at : at + n * size]


output_gradient = kernel(output_gradient, inline=True)


@kernel
def program_backward(
    operations, transposed, x, dlogits, first, slot, count, capacity, room,
    vectors, pictures, argmax, masks, dense_gradients, d_activations, d_room,
    x_padded, dx_padded, winners_g, winners_at, counts, targets, block_out, gradients_out, dx_out,
):  # fmt: skip
    """Backward pass of images first ... first + count, after a forward pass with training = 1 that
    had the same `slot`.

    What lies behind the pictures is done for all images at once, the pictures for BLOCK images at a
    time: their gradients then stay in a core's second cache.

    x, dlogits     flat, of the whole batch
    dense_gradients, d_activations   in the layout of the workspaces, for `capacity` and for
                   `d_room` images, overwritten: see `output_gradient`.  d_room >= count
    x_padded, dx_padded, winners_g, winners_at, counts, targets: scratch of conv2d_maxpool2d.py
    block_out      scratch, as gradients_out
    gradients_out  flat, the layout of the parameters: this chunk's sums of the convolutions, those
                   before a pooling as (F, KH, KW, C).  `program_collect` does the dense layers
    dx_out         flat like x, for the gradient of the network's input; empty: not wanted
    """
    n_operations, n_pictures = operations.size, n_picture_operations(operations)
    n_blocks = -(-count // BLOCK) if n_pictures else 0
    for block in range(-1, n_blocks):
        if block < 0:
            top, bottom, done, n = n_operations, n_pictures, 0, count
        else:
            top, bottom, done = n_pictures, 0, block * BLOCK
            n = min(BLOCK, count - done)
        start, place = first + done, slot + done
        for k in range(top - 1, bottom - 1, -1):
            op = operations[k]
            size_x, size_y = op.H * op.W * op.C, op.OH * op.OW * op.F
            y_flat = output_of(
                operations, k, n_pictures, pictures, place, room, vectors, start, capacity, n
            )
            dy_flat = output_gradient(
                operations, k, n_pictures, dense_gradients, capacity, d_activations, d_room,
                first, done, n,
            )  # fmt: skip
            if k == n_operations - 1:
                assign(dlogits[start * size_y : (start + n) * size_y], dy_flat)
            if k == 0:
                x_at, wants_dx = start * size_x, dx_out.size > 0
                x_flat = x[x_at : x_at + n * size_x]
                dx_flat = dx_out[x_at : x_at + n * size_x] if wants_dx else dx_out
            else:
                wants_dx = True
                x_flat = output_of(
                    operations, k - 1, n_pictures, pictures, place, room,
                    vectors, start, capacity, n,
                )  # fmt: skip
                dx_flat = output_gradient(
                    operations, k - 1, n_pictures, dense_gradients, capacity, d_activations,
                    d_room, first, done, n,
                )  # fmt: skip
            argmax_at = op.argmax_offset * room + place * size_y
            if op.relu:
                relu_backward(y_flat, dy_flat, dy_flat)
            if op.kind == CONV2D:
                dy = part(dy_flat, 0, n, op.OH, op.OW, op.F)
                n_weights = op.KH * op.KW * op.C * op.F
                sums = block_out if block else gradients_out
                dw_flat = sums[op.w_offset : op.w_offset + n_weights]
                db = sums[op.b_offset : op.b_offset + op.F]
                x_4d = part(x_flat, 0, n, op.H, op.W, op.C)
                dx = part(dx_flat, 0, n if wants_dx else 0, op.H, op.W, op.C)
                w_t = weights(transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
                if op.pool:
                    winner = part(argmax, argmax_at, n, op.OH, op.OW, op.F)
                    L, n_targets = op.listed + LANES, max(op.F, op.conv_OH * op.conv_OW)
                    conv2d_maxpool2d_backward(
                        x_4d, dy, winner, w_t, op.conv_OH, op.conv_OW, op.S, op.PT, op.PL,
                        part(x_padded, 0, 1, op.padded_H, op.padded_W, op.C)[0],
                        part(dx_padded, 0, 1, op.padded_H, op.padded_W, op.C)[0],
                        part(winners_g, 0, 1, 2, op.F, L)[0], part(winners_at, 0, 1, 2, op.F, L)[0],
                        counts[: op.F], part(targets, 0, 1, 2, 3, n_targets)[0],
                        weights(dw_flat, 0, op.F, op.KH, op.KW, op.C), db, dx,
                    )  # fmt: skip
                else:
                    dw = weights(dw_flat, 0, op.KH, op.KW, op.C, op.F)
                    conv2d_backward_params(x_4d, dy, op.S, op.PT, op.PL, dw, db)
                    if wants_dx:
                        conv2d_backward_input(dy, w_t, op.S, op.PT, op.PL, dx)
                if block:
                    add(dw_flat, gradients_out[op.w_offset : op.w_offset + n_weights])
                    add(db, gradients_out[op.b_offset : op.b_offset + op.F])
            elif not wants_dx:
                pass
            elif op.kind == DENSE:
                w_t = matrix(transposed, op.w_t_offset, op.F, size_x)
                dy_2d = matrix(dy_flat, 0, n, op.F)
                dense_backward_input(dy_2d, w_t, matrix(dx_flat, 0, n, size_x))
            elif op.kind == MAXPOOL2D:
                dy = part(dy_flat, 0, n, op.OH, op.OW, op.F)
                winner = part(argmax, argmax_at, n, op.OH, op.OW, op.F)
                maxpool2d_backward(dy, winner, part(dx_flat, 0, n, op.H, op.W, op.C))
            elif op.kind == DROPOUT:
                mask_at = op.mask_offset * capacity + start * size_y
                dropout_backward(dy_flat, masks[mask_at : mask_at + n * size_y], dx_flat)
            else:
                assign(dy_flat, dx_flat)


@kernel
def program_collect(
    operations, x, n_images, capacity, vectors, dense_gradients,
    chunk_gradients, turned, share, n_shares, gradients_out,
):  # fmt: skip
    """The gradients of all parameters, after `program_backward` has done every chunk: one share of
    them, 0 <= share < n_shares.  Shares may be done side by side.

    Those of the convolutions are the sums over the chunks, (n_chunks, parameters); a dense layer's
    are made here for the whole batch at once: its weights are many and its images' sums short.
    turned         scratch in the layout of the transposed weights
    gradients_out  flat, the layout of the parameters
    """
    for k in range(operations.size):
        op = operations[k]
        size_x = op.H * op.W * op.C
        if op.kind == CONV2D and share == n_shares - 1:
            n_weights = op.KH * op.KW * op.C * op.F
            dw = gradients_out[op.w_offset : op.w_offset + n_weights]
            if op.pool:
                dw_turned = turned[op.w_t_offset : op.w_t_offset + n_weights]
                sum_chunks(chunk_gradients, op.w_offset, dw_turned)
                conv2d_transpose_weights_back(
                    weights(dw_turned, 0, op.F, op.KH, op.KW, op.C),
                    weights(dw, 0, op.KH, op.KW, op.C, op.F),
                )
            else:
                sum_chunks(chunk_gradients, op.w_offset, dw)
            db = gradients_out[op.b_offset : op.b_offset + op.F]
            sum_chunks(chunk_gradients, op.b_offset, db)
        elif op.kind == DENSE:
            x_flat = x if op.x_offset < 0 else vectors[op.x_offset * capacity :]
            x_2d = matrix(x_flat, 0, n_images, size_x)
            dy_2d = matrix(dense_gradients, op.y_offset * capacity, n_images, op.F)
            first, end = size_x * share // n_shares, size_x * (share + 1) // n_shares
            dw_2d = matrix(gradients_out, op.w_offset, size_x, op.F)
            dense_backward_rows(x_2d, dy_2d, first, end, dw_2d)
            if share == 0:
                dense_backward_bias(dy_2d, gradients_out[op.b_offset : op.b_offset + op.F])


@kernel
def sum_chunks(chunk_gradients, first, gradients_out):
    """gradients_out = sum over chunks of their elements from `first` on, in chunk order whatever
    the threads did."""
    gradients_out[:] = 0
    for chunk in range(chunk_gradients.shape[0]):
        add(chunk_gradients[chunk, first : first + gradients_out.size], gradients_out)


@kernel
def add(x, y_out):
    """y += x, element by element."""
    for k in range(y_out.size):
        y_out[k] += x[k]


@kernel
def target_distributions(labels, targets, label_smoothing, first, rows_out):
    """Rows `first` on of the targets as distributions (1-a) * y + a / K, a = label_smoothing.

    labels (N,) int64 classes, or targets (N, K); one of them is empty.  A row that is none, by a
    class that does not exist or numbers that do not sum to 1, becomes NaN, and so its loss.
    """
    n, K = rows_out.shape
    keep = rows_out.dtype.type(1.0 - label_smoothing)
    even = rows_out.dtype.type(label_smoothing / K)
    for r in range(n):
        total = 0.0
        for k in range(K):
            if labels.size:
                y = rows_out.dtype.type(labels[first + r] == k)
            else:
                y = targets[first + r, k]
            total += np.float64(y) if y >= 0 else math.inf
            rows_out[r, k] = keep * y + even if label_smoothing else y
        if not abs(total - 1.0) <= ROW_SUM_TOLERANCE:
            rows_out[r, :] = math.nan


@kernel
def all_finite(x):
    """Whether no element of a flat array is NaN or infinite."""
    total = x.dtype.type(0)
    for k in range(x.size):
        total += x[k] - x[k]  # 0, or NaN
    return total == 0


@kernel
def mean_loss(losses):
    """Their mean, summed in their order; 0 of none."""
    total = 0.0
    for n in range(losses.size):
        total += losses[n]
    return total / max(losses.size, 1)


@kernel
def program_distil(
    operations, parameters, transposed, U, x, labels, targets, soft_labels,
    temperature, soft_weight, soft_scale, label_smoothing,
    chunk, end_chunk, chunk_size, alone, capacity, room,
    vectors, pictures, argmax, masks, conv_output, scratch, dense_gradients, d_activations, d_room,
    x_padded, dx_padded, winners_g, winners_at, counts, lists, block_out,
    chunk_gradients, logits_out, losses_out, dlogits_out, target_rows_out, gradients_out,
):  # fmt: skip
    """Forward pass, loss and backward pass of the chunks chunk ... end_chunk of a batch, one after
    the other: what one leaves of its pictures the next overwrites.

    labels, targets, label_smoothing   see `target_distributions`
    soft_labels (N, K), or empty: weight 0; with temperature, soft_weight and soft_scale of the
                kernel `distillation`
    chunk_size  images of every chunk but the last; room and d_room hold so many
    alone       1: these chunks are the whole batch, and the weights are turned before them and the
                gradients collected after them, if all losses are finite.  0: the caller does that
    chunk_gradients (n_chunks, parameters), losses_out (N,) float64, logits_out, dlogits_out and
    target_rows_out (N, K) or longer: the rows of these chunks are written.  What cannot be learned
    from, a soft label that is not finite or no target, has the loss NaN.
    Returns the mean loss of the batch, which means something when all chunks are done.
    The other arguments are those of the passes above.
    """
    N = losses_out.size
    logits, dlogits = logits_out.reshape(-1), dlogits_out.reshape(-1)
    if alone:
        if U is not None:
            program_winograd_weights(operations, parameters, U)
        program_transpose_weights(operations, parameters, transposed)
    for c in range(chunk, end_chunk):
        first = c * chunk_size
        count = min(chunk_size, N - first)
        end = first + count
        program_forward(
            operations, parameters, U, x, first, 0, count, capacity, room,
            vectors, pictures, argmax, masks, conv_output, scratch, 1, logits,
        )  # fmt: skip
        rows = target_rows_out[first:end]
        target_distributions(labels, targets, label_smoothing, first, rows)
        teacher = soft_labels[first:end] if soft_labels.size else rows
        losses = losses_out[first:end]
        distillation_rows(
            logits_out[first:end], rows, teacher, temperature, soft_weight, soft_scale, N,
            losses, dlogits_out[first:end],
        )  # fmt: skip
        if not all_finite(teacher.reshape(-1)):
            losses[:] = math.nan
        program_backward(
            operations, transposed, x, dlogits, first, 0, count, capacity, room,
            vectors, pictures, argmax, masks, dense_gradients, d_activations, d_room,
            x_padded, dx_padded, winners_g, winners_at, counts, lists, block_out,
            chunk_gradients[c], x[:0],
        )  # fmt: skip
    loss = mean_loss(losses_out)
    if alone and math.isfinite(loss):
        program_collect(
            operations, x, N, capacity, vectors, dense_gradients,
            chunk_gradients[:end_chunk], transposed, 0, 1, gradients_out,
        )  # fmt: skip
    return loss
