"""The operation of a Conv2D layer, which includes a max-pooling that follows it.

It calls these kernels:

    forward   as the record's `winograd` says, `conv2d_winograd_forward` or
              `conv2d_winograd_3x3_forward` (both with pooling and ReLU).  Otherwise
              `conv2d_columns_forward` as `by_columns` says, or `conv2d_relu_forward`; if a pooling
              follows that these do not do, image by image, so that the convolution's output is
              still in the cache for `maxpool2d_forward` (`maxpool2d_largest` in prediction)
    backward  `conv2d_maxpool2d_backward` if a pooling follows; otherwise
              `conv2d_winograd_3x3_backward`, or `conv2d_backward_params` and `_input`

walk.py explains the arguments.
"""

from ._jit import inline_helper
from ._winner_lists import LANES
from .arrays import (
    WinnerScratch,
    bias_of,
    pool_window_of,
    view_3d,
    view_4d,
    weights_of,
    window_of,
    winners,
)
from .conv2d import (
    conv2d_backward_input,
    conv2d_backward_params,
    conv2d_relu_forward,
    conv2d_transpose_weights,
)
from .conv2d_columns import conv2d_columns_forward
from .conv2d_maxpool2d import conv2d_maxpool2d_backward, conv2d_transpose_weights_back
from .conv2d_winograd import conv2d_winograd_forward, conv2d_winograd_weights
from .conv2d_winograd_3x3 import conv2d_winograd_3x3_forward
from .conv2d_winograd_3x3_backward import conv2d_winograd_3x3_backward
from .conv2d_winograd_3x3_tiles import conv2d_winograd_3x3_weights
from .elementwise import sum_chunks
from .maxpool2d import maxpool2d_forward, maxpool2d_largest
from .operations import COLUMNS_AND_POOL, STRIDE_1, STRIDE_2


@inline_helper
def conv2d_operation_forward(op, weights, x, y, activations, scratch, chunk, training):
    w, b = weights_of(op, weights.parameters), bias_of(op, weights.parameters)
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    y_4d = view_4d(y, 0, chunk.n_images, op.OH, op.OW, op.F)
    argmax = winners(op, activations, chunk, op.pool * training * chunk.n_images)
    z = view_4d(scratch.conv_output, 0, op.pool, op.conv_OH, op.conv_OW, op.F)
    pools_images = op.pool
    if op.by_columns == COLUMNS_AND_POOL and not training or op.by_columns and not op.pool:
        pools_images = 0
        conv2d_columns_forward(
            x_4d, w, b, window_of(op), op.pool, op.fuses_relu, scratch.workspace, y_4d
        )
    elif not op.pool:
        conv2d_relu_forward(x_4d, w, b, window_of(op), op.fuses_relu, y_4d)
    for n in range(pools_images * chunk.n_images):
        image = slice(n, n + 1)
        if op.by_columns:
            conv2d_columns_forward(x_4d[image], w, b, window_of(op), 0, 0, scratch.workspace, z)
        else:
            conv2d_relu_forward(x_4d[image], w, b, window_of(op), 0, z)
        if training:
            maxpool2d_forward(z, pool_window_of(op), y_4d[image], argmax[image])
        else:
            maxpool2d_largest(z, pool_window_of(op), y_4d[image])


@inline_helper
def conv2d_winograd_operation_forward(
    op, weights, winograd_weights, x, y, activations, scratch, chunk, training
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    y_4d = view_4d(y, 0, chunk.n_images, op.OH, op.OW, op.F)
    w, b = weights_of(op, weights.parameters), bias_of(op, weights.parameters)
    U, relu = winograd_weights[op.u_offset :], op.fuses_relu
    argmax = winners(op, activations, chunk, op.pool * training * chunk.n_images)
    if op.winograd == STRIDE_2:
        conv2d_winograd_forward(
            x_4d, w, U, b, window_of(op), op.pool, relu, scratch.workspace, y_4d, argmax
        )
    else:
        conv2d_winograd_3x3_forward(
            x_4d, w, U, b, window_of(op), op.tile, op.pool, relu, scratch.workspace, y_4d, argmax
        )


@inline_helper
def conv2d_operation_winograd_weights(op, parameters, winograd_weights_out):
    w, U = weights_of(op, parameters), winograd_weights_out[op.u_offset :]
    if op.winograd == STRIDE_2:
        conv2d_winograd_weights(w, U)
    else:
        conv2d_winograd_3x3_weights(w, op.tile, 0, U)


@inline_helper
def conv2d_operation_transpose(op, weights):
    w = weights_of(op, weights.parameters)
    if op.winograd == STRIDE_1 and not op.pool:
        conv2d_winograd_3x3_weights(w, op.tile, 1, weights.transposed[op.w_t_offset :])
    else:
        w_t = view_4d(weights.transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
        conv2d_transpose_weights(w, w_t)


@inline_helper
def conv2d_operation_backward(op, weights, x, dy, dx, activations, scratch, sums, chunk):
    """If a pooling follows, the gradient of w is stored in `sums` as (F, KH, KW, C)."""
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    dy_4d = view_4d(dy, 0, chunk.n_images, op.OH, op.OW, op.F)
    dx_4d = view_4d(dx, 0, chunk.n_images if dx.size else 0, op.H, op.W, op.C)
    w_t = view_4d(weights.transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
    db = bias_of(op, sums)
    if op.pool:
        L, n_lists = op.n_listed + LANES, max(op.F, op.conv_OH * op.conv_OW)
        winner_scratch = WinnerScratch(
            x_padded=view_3d(scratch.x_padded, 0, op.padded_H, op.padded_W, op.C),
            dx_padded=view_3d(scratch.dx_padded, 0, op.padded_H, op.padded_W, op.C),
            gradients=view_3d(scratch.winner_gradients, 0, 2, op.F, L),
            positions=view_3d(scratch.winner_positions, 0, 2, op.F, L),
            counts=scratch.winner_counts[: op.F],
            lists=view_3d(scratch.winner_lists, 0, 2, 3, n_lists),
        )
        dw = view_4d(sums, op.w_offset, op.F, op.KH, op.KW, op.C)
        conv2d_maxpool2d_backward(
            x_4d, dy_4d, winners(op, activations, chunk, chunk.n_images), w_t, window_of(op),
            winner_scratch, dw, db, dx_4d,
        )  # fmt: skip
    elif op.winograd == STRIDE_1:
        dw = view_4d(sums, op.w_offset, op.KH, op.KW, op.C, op.F)
        conv2d_winograd_3x3_backward(
            x_4d, dy_4d, w_t, weights.transposed[op.w_t_offset :], window_of(op), op.tile,
            scratch.workspace, dw, db, dx_4d,
        )  # fmt: skip
    else:
        dw = view_4d(sums, op.w_offset, op.KH, op.KW, op.C, op.F)
        conv2d_backward_params(x_4d, dy_4d, window_of(op), dw, db)
        if dx.size:
            conv2d_backward_input(dy_4d, w_t, window_of(op), dx_4d)


@inline_helper
def conv2d_operation_collect(op, weights, gradients):
    """If a pooling follows: sum the gradients of w of all chunks.  `weights.transposed`, no longer
    needed, is the scratch."""
    dw_t = weights.transposed[op.w_t_offset : op.w_t_offset + op.w_size]
    sum_chunks(gradients.chunks, op.w_offset, dw_t)
    conv2d_transpose_weights_back(
        view_4d(dw_t, 0, op.F, op.KH, op.KW, op.C), weights_of(op, gradients.parameters)
    )
