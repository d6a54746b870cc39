"""Max-pooling behind a BatchNorm: done before its mean and variance are known.

BatchNorm multiplies the values of a channel c by gamma[c] r[c] and adds a number, with r[c] > 0
(equation (6) of batch_norm.py).  So with the sign s[c] of gamma[c], in each window

    max of (gamma r x + shift) = gamma r x[p] + shift,   p = the position of the largest s x    (1)

p (the winner) is known as soon as x is, while x is in the cache.  The BatchNorm, a ReLU behind it,
and backward the gradients of gamma and beta then go through the values of the winners alone, with
windows of 2x2 through a fourth of x.  Only dx needs all of x: by equation (14) of batch_norm.py,
with g the gradient of the BatchNorm's output at the winners and 0 elsewhere,

    dx[p] = gamma r g[p] + slope x[p] + offset                                                  (2)

which is no longer 0 anywhere.  So the convolution before the BatchNorm cannot use the winners alone
(`conv2d_maxpool2d.py`) for its gradients.

Of equal maxima the first wins.  Two values that differ can be equal after the BatchNorm, by
rounding; then another one of them wins here than if the BatchNorm was done first.
"""

from ._channel_rows import scale_rows
from ._jit import helper, inline_kernel
from ._views import flat_view, view_2d, view_4d
from ._window_max import add_to_winners, combine_windows, signed_window_max
from .arrays import pool_window_of, winners
from .batch_norm import (
    N_COEFFICIENTS,
    add_to_chunk_moments,
    backward_coefficients,
    moments_of,
)
from .scale_shift import scale_of, shift_of
from .windows import end_tap, first_tap, run_end


@inline_kernel
def batch_norm_maxpool2d_forward(x, gamma, window, scratch, y_out, argmax_out):
    """The values of x at the winners of (1).

    x           (N, H, W, C)
    gamma       (C,): its signs alone are used.  With gamma = 0 all values are equal: the first wins
    window      `plan.Window` of the pooling; each position covers a pixel of x or more
    scratch     (3, C) overwritten
    y_out       (N, OH, OW, C) overwritten
    argmax_out  (N, OH, OW, C) int32: position h*W + w of the winner, for backward
    """
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1], y_out.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, yf, argmax, sign = flat_view(x), flat_view(y_out), flat_view(argmax_out), scratch[0]
    for c in range(C):
        sign[c] = (gamma[c] > 0) * 1 - (gamma[c] < 0) * 1
    for n in range(N):
        for i in range(OH):
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, window.KH, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, window.KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, window.KW, W)
                first = (i * SH - PT + a0) * W + j * SW - PL + e0
                signed_window_max(
                    n_windows=j_end - j, C=C, n_rows=a1 - a0, n_columns=e1 - e0,
                    x=xf, x_off=(n * H * W + first) * C, S=SW, row_step=W * C, first=first, W=W,
                    factor=sign, y=yf, argmax=argmax, y_off=((n * OH + i) * OW + j) * C,
                )  # fmt: skip
                j = j_end


@inline_kernel
def batch_norm_maxpool2d_backward_input(
    x, dy, argmax, window, moments, gamma, epsilon, dgamma, dbeta, n, scratch, dx_out
):  # fmt: skip
    """Given x, gamma, window and argmax as in forward, dy (N, OH, OW, C), the gradient of the
    BatchNorm's output at the winners, its moments (2, C) and epsilon, and the gradients dgamma and
    dbeta of the whole batch, which has n values of each channel; wanted dx (N, H, W, C): equation
    (2), with slope and offset from equation (15) of batch_norm.py.

    scratch (3, C) and dx_out are overwritten.  Windows that overlap may have the same winner.
    """
    N, H, W, C = x.shape
    OH, OW = dy.shape[1], dy.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    scale = scratch[2]
    backward_coefficients(moments, gamma, epsilon, dgamma, dbeta, n, scale, scratch[0], scratch[1])
    dxf, dyf, winner = flat_view(dx_out), flat_view(dy), flat_view(argmax)
    if window.KH == window.KW == SH == SW == 2 and H == 2 * OH and W == 2 * OW and PT == PL == 0:
        xf, coefficients = flat_view(x), flat_view(scratch)
        for i in range(N * OH):  # one pass instead of two
            combine_windows(
                n_windows=OW, C=C, x=xf, x_off=i * 2 * W * C, row_step=W * C, g=dyf, argmax=winner,
                g_off=i * OW * C, k=coefficients, first=i % OH * 2 * W, W=W, out=dxf,
            )  # fmt: skip
        return
    for k in range(N):
        x_2d, dx_2d = x[k].reshape((H * W, C)), dx_out[k].reshape((H * W, C))
        scale_rows(x_2d, flat_view(scratch), 0, dx_2d)
        for i in range(OH):
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, window.KH, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, window.KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, window.KW, W)
                first = (i * SH - PT + a0) * W + j * SW - PL + e0
                add_to_winners(
                    n_windows=j_end - j, C=C, n_rows=a1 - a0, n_columns=e1 - e0,
                    g=dyf, argmax=winner, g_off=((k * OH + i) * OW + j) * C, factor=scale,
                    S=SW, first=first, W=W, out=dxf, out_off=(k * H * W + first) * C,
                    row_step=W * C,
                )  # fmt: skip
                j = j_end


# ---- passes of BATCH_MOMENTS with a pooling; walk.py explains the arguments --------------------


@helper
def batch_moments_operation_forward_pool(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    add_to_chunk_moments(op, statistics, x, scratch, chunk)
    n = chunk.n_images
    batch_norm_maxpool2d_forward(
        view_4d(x, 0, n, op.H, op.W, op.C), scale_of(op, weights.parameters), pool_window_of(op),
        view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C),
        view_4d(y, 0, n, op.OH, op.OW, op.C), winners(op, activations, chunk, n),
    )  # fmt: skip


@helper
def batch_moments_operation_backward_pool(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    n = chunk.n_images if dx.size else 0
    batch_norm_maxpool2d_backward_input(
        view_4d(x, 0, n, op.H, op.W, op.C), view_4d(dy, 0, n, op.OH, op.OW, op.C),
        winners(op, activations, chunk, n), pool_window_of(op), moments_of(op, statistics),
        scale_of(op, weights.parameters), op.epsilon, scale_of(op, gradients.parameters),
        shift_of(op, gradients.parameters), statistics.n_images * op.H * op.W,
        view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C), view_4d(dx, 0, n, op.H, op.W, op.C),
    )  # fmt: skip
