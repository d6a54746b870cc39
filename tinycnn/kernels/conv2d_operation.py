"""The operation of a Conv2D layer, which includes a max-pooling that follows it.

Each function here is one way of doing a pass.  `linking.py` chooses by the record.  Where a pooling
follows that the convolution's kernel does not do, both are done image by image, so that the
convolution's output is still in the cache for `maxpool2d_forward` (`maxpool2d_largest` in
prediction).

walk.py explains the arguments.
"""

from ._jit import helper, inline_helper
from ._views import view_2d, view_3d, view_4d
from ._winner_lists import LANES
from .arrays import (
    WinnerScratch,
    bias_of,
    pool_window_of,
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
from .conv2d_1x1 import conv2d_1x1_backward
from .conv2d_columns import conv2d_columns_forward
from .conv2d_maxpool2d import conv2d_maxpool2d_backward, conv2d_transpose_weights_back
from .conv2d_winograd import conv2d_winograd_forward, conv2d_winograd_weights
from .conv2d_winograd_3x3 import conv2d_winograd_3x3_forward
from .conv2d_winograd_3x3_backward import conv2d_winograd_3x3_backward
from .conv2d_winograd_3x3_tiles import conv2d_winograd_3x3_weights
from .elementwise import sum_chunks
from .maxpool2d import maxpool2d_forward, maxpool2d_largest
from .packed_weights import pack_weights


@inline_helper
def _parameters(op, weights):
    return weights_of(op, weights.parameters), bias_of(op, weights.parameters)


@inline_helper
def _pictures(op, x, y, n_images):
    """The flat x and y, or its gradient, as pictures."""
    x_4d = view_4d(x, 0, n_images, op.H, op.W, op.C)
    return x_4d, view_4d(y, 0, n_images, op.OH, op.OW, op.F)


@inline_helper
def _pool(op, z, y, argmax, training):
    """The pooling of one image's convolution z."""
    if training:
        maxpool2d_forward(z, pool_window_of(op), y, argmax)
    else:
        maxpool2d_largest(z, pool_window_of(op), y)


@inline_helper
def _conv_output(op, scratch):
    """Scratch memory that holds the convolution of one image until the pooling has read it."""
    return view_4d(scratch.conv_output, 0, 1, op.conv_OH, op.conv_OW, op.F)


@inline_helper
def _argmax(op, activations, chunk, training):
    """The argmax of the pooling in a training step; otherwise empty."""
    return winners(op, activations, chunk, op.pool * training * chunk.n_images)


@inline_helper
def _prepared(op, weights):
    """The weights in the layout that the forward pass reads, flat."""
    return weights.prepared[op.prepared_offset :]


@inline_helper
def _panels(op, weights):
    """The weights in panels, flat."""
    if op.panel < op.F:
        return _prepared(op, weights)
    return weights.parameters[op.w_offset :]


@helper
def conv2d_operation_forward(op, weights, statistics, x, y, activations, scratch, chunk, training):
    w, b = _panels(op, weights), bias_of(op, weights.parameters)
    x_4d, y_4d = _pictures(op, x, y, chunk.n_images)
    conv2d_relu_forward(x_4d, w, op.panel, b, window_of(op), op.fuses_relu, y_4d)


@helper
def conv2d_operation_forward_pool(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    w, b = _panels(op, weights), bias_of(op, weights.parameters)
    x_4d, y_4d = _pictures(op, x, y, chunk.n_images)
    z, argmax = _conv_output(op, scratch), _argmax(op, activations, chunk, training)
    for n in range(chunk.n_images):
        image = slice(n, n + 1)
        conv2d_relu_forward(x_4d[image], w, op.panel, b, window_of(op), 0, z)
        _pool(op, z, y_4d[image], argmax[image], training)


@helper
def conv2d_operation_forward_columns(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    """The kernel also does the pooling, if one follows: in prediction alone."""
    (w, b), (x_4d, y_4d) = _parameters(op, weights), _pictures(op, x, y, chunk.n_images)
    conv2d_columns_forward(
        x_4d, w, b, window_of(op), op.pool, op.fuses_relu, scratch.workspace, y_4d
    )


@helper
def conv2d_operation_forward_columns_pool(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    (w, b), (x_4d, y_4d) = _parameters(op, weights), _pictures(op, x, y, chunk.n_images)
    z, argmax = _conv_output(op, scratch), _argmax(op, activations, chunk, training)
    for n in range(chunk.n_images):
        image = slice(n, n + 1)
        conv2d_columns_forward(x_4d[image], w, b, window_of(op), 0, 0, scratch.workspace, z)
        _pool(op, z, y_4d[image], argmax[image], training)


@helper
def conv2d_operation_forward_winograd(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    """The kernel also does the pooling, if one follows."""
    (w, b), (x_4d, y_4d) = _parameters(op, weights), _pictures(op, x, y, chunk.n_images)
    conv2d_winograd_forward(
        x_4d, w, _prepared(op, weights), b, window_of(op), op.pool, op.fuses_relu,
        scratch.workspace, y_4d, _argmax(op, activations, chunk, training),
    )  # fmt: skip


@helper
def conv2d_operation_forward_winograd_3x3(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    """The kernel also does the pooling, if one follows."""
    (w, b), (x_4d, y_4d) = _parameters(op, weights), _pictures(op, x, y, chunk.n_images)
    conv2d_winograd_3x3_forward(
        x_4d, w, _prepared(op, weights), b, window_of(op), op.tile, op.pool,
        op.fuses_relu, scratch.workspace, y_4d, _argmax(op, activations, chunk, training),
    )  # fmt: skip


@helper
def conv2d_operation_winograd_weights(op, weights):
    conv2d_winograd_weights(weights_of(op, weights.parameters), _prepared(op, weights))


@helper
def conv2d_operation_winograd_3x3_weights(op, weights):
    U = _prepared(op, weights)
    conv2d_winograd_3x3_weights(weights_of(op, weights.parameters), op.tile, 0, U)


@helper
def conv2d_operation_pack_weights(op, weights):
    n_rows = op.KH * op.KW * op.C
    packed = view_3d(weights.prepared, op.prepared_offset, op.F // op.panel, n_rows, op.panel)
    pack_weights(view_2d(weights.parameters, op.w_offset, n_rows, op.F), packed)


@helper
def conv2d_operation_transpose(op, weights):
    w_t = view_4d(weights.transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
    conv2d_transpose_weights(weights_of(op, weights.parameters), w_t)


@helper
def conv2d_operation_transpose_winograd_3x3(op, weights):
    U = weights.transposed[op.w_t_offset :]
    conv2d_winograd_3x3_weights(weights_of(op, weights.parameters), op.backward_tile, 1, U)


@helper
def conv2d_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    x_4d, dy_4d = _pictures(op, x, dy, chunk.n_images)
    dw = view_4d(sums, op.w_offset, op.KH, op.KW, op.C, op.F)
    conv2d_backward_params(x_4d, dy_4d, window_of(op), dw, bias_of(op, sums))
    if dx.size:
        w_t = view_4d(weights.transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
        dx_4d = view_4d(dx, 0, chunk.n_images, op.H, op.W, op.C)
        conv2d_backward_input(dy_4d, w_t, window_of(op), dx_4d)


@helper
def conv2d_operation_backward_1x1(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    P = chunk.n_images * op.H * op.W
    conv2d_1x1_backward(
        view_2d(x, 0, P, op.C), view_2d(dy, 0, P, op.F),
        view_2d(weights.transposed, op.w_t_offset, op.F, op.C), scratch.channels[: op.C],
        view_2d(sums, op.w_offset, op.C, op.F), bias_of(op, sums),
        view_2d(dx, 0, P if dx.size else 0, op.C),
    )  # fmt: skip


@helper
def conv2d_operation_backward_winograd_3x3(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    x_4d, dy_4d = _pictures(op, x, dy, chunk.n_images)
    dx_4d = view_4d(dx, 0, chunk.n_images if dx.size else 0, op.H, op.W, op.C)
    w_t = view_4d(weights.transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
    dw = view_4d(sums, op.w_offset, op.KH, op.KW, op.C, op.F)
    conv2d_winograd_3x3_backward(
        x_4d, dy_4d, w_t, weights.transposed[op.w_t_offset :], window_of(op), op.backward_tile,
        scratch.workspace, dw, bias_of(op, sums), dx_4d,
    )  # fmt: skip


@helper
def conv2d_operation_backward_pool(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    """The gradient of w is stored in `sums` as (F, KH, KW, C)."""
    x_4d, dy_4d = _pictures(op, x, dy, chunk.n_images)
    dx_4d = view_4d(dx, 0, chunk.n_images if dx.size else 0, op.H, op.W, op.C)
    w_t = view_4d(weights.transposed, op.w_t_offset, op.F, op.KH, op.KW, op.C)
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
        winner_scratch, dw, bias_of(op, sums), dx_4d,
    )  # fmt: skip


@helper
def conv2d_operation_collect_pool(op, weights, x, gradients, n_images, capacity, share, n_shares):
    """Sum the gradients of w and b of all chunks: one share does it.  `weights.transposed`, no
    longer needed, is the scratch."""
    if share == n_shares - 1:
        dw_t = weights.transposed[op.w_t_offset : op.w_t_offset + op.w_size]
        sum_chunks(gradients.chunks, op.w_offset, dw_t)
        conv2d_transpose_weights_back(
            view_4d(dw_t, 0, op.F, op.KH, op.KW, op.C), weights_of(op, gradients.parameters)
        )
        sum_chunks(gradients.chunks, op.b_offset, bias_of(op, gradients.parameters))
