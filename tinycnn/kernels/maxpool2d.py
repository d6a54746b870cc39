"""Max-pooling: forward and backward, NHWC.

    y[n, i, j, c] = max over a < KH, e < KW of x[n, i*SH - PT + a, j*SW - PL + e, c]            (1)

Positions outside x are left out: padding adds no values.
"""

from ._jit import helper, inline_helper, inline_kernel
from ._views import flat_view, view_4d
from ._window_largest import window_largest
from ._window_max import window_max
from .arrays import pool_window_of, winners
from .windows import end_tap, first_tap, run_end


@inline_kernel
def maxpool2d_forward(x, window, y_out, argmax_out):
    """Equation (1).

    x           (N, H, W, C)    float32 or float64
    window      `plan.Window`; each position covers a pixel of x or more
    y_out       (N, OH, OW, C)  like x, overwritten
    argmax_out  (N, OH, OW, C)  int32, all that backward needs: position h*W + w, in its image, of
                                the maximum (the winner)
    Of equal maxima the first in row order wins, so one position gets the gradient.  Any number wins
    against NaN; in a window with nothing but NaN the first position wins.  One call of `window_max`
    does a run of windows (see conv2d.py).
    """
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1], y_out.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, yf, argmax = flat_view(x), flat_view(y_out), flat_view(argmax_out)
    for n in range(N):
        for i in range(OH):
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, window.KH, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, window.KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, window.KW, W)
                first = (i * SH - PT + a0) * W + j * SW - PL + e0
                window_max(
                    n_windows=j_end - j, C=C, n_rows=a1 - a0, n_columns=e1 - e0,
                    x=xf, x_off=(n * H * W + first) * C, S=SW, row_step=W * C, first=first, W=W,
                    y=yf, argmax=argmax, y_off=((n * OH + i) * OW + j) * C,
                )  # fmt: skip
                j = j_end


@inline_helper
def maxpool2d_largest(x, window, y_out):
    """The maxima of `maxpool2d_forward` without their positions, which only a backward pass needs.

    For prediction.  A window of NaN and -inf may have another maximum: see `window_largest`.
    """
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1], y_out.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, yf = flat_view(x), flat_view(y_out)
    for n in range(N):
        for i in range(OH):
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, window.KH, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, window.KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, window.KW, W)
                first = (i * SH - PT + a0) * W + j * SW - PL + e0
                window_largest(
                    n_windows=j_end - j, C=C, n_rows=a1 - a0, n_columns=e1 - e0,
                    x=xf, x_off=(n * H * W + first) * C, S=SW, row_step=W * C,
                    y=yf, y_off=((n * OH + i) * OW + j) * C,
                )  # fmt: skip
                j = j_end


@inline_kernel
def maxpool2d_backward(dy, argmax, dx_out):
    """Given dy = dL/dy (N, OH, OW, C) and forward's argmax; wanted dx = dL/dx (N, H, W, C).

        dL/dx[p] = sum over q of dL/dy[q] * dy[q]/dx[p]              chain rule                 (2)
        dy[q]/dx[p] = 1 if p = argmax[q] else 0                      from (1), one winner       (3)
        dL/dx[p] = sum over q with argmax[q] = p of dL/dy[q]         (3) in (2)                 (4)

    dx_out is overwritten.  Windows may overlap (stride < size): then one p may win several q, and
    the loop adds their gradients in row order.
    """
    N, OH, OW, C = dy.shape
    n_pixels = dx_out.shape[1] * dx_out.shape[2]
    dx = flat_view(dx_out)
    dx[:] = 0
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    p = argmax[n, i, j, c]
                    dx[(n * n_pixels + p) * C + c] += dy[n, i, j, c]  # (4)


# ---- the operation in a network; walk.py explains the arguments -------------------------------


@helper
def maxpool2d_operation_forward(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    y_4d = view_4d(y, 0, chunk.n_images, op.OH, op.OW, op.F)
    if training:
        argmax = winners(op, activations, chunk, chunk.n_images)
        maxpool2d_forward(x_4d, pool_window_of(op), y_4d, argmax)
    else:
        maxpool2d_largest(x_4d, pool_window_of(op), y_4d)


@helper
def maxpool2d_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    if dx.size:
        dy_4d = view_4d(dy, 0, chunk.n_images, op.OH, op.OW, op.F)
        dx_4d = view_4d(dx, 0, chunk.n_images, op.H, op.W, op.C)
        maxpool2d_backward(dy_4d, winners(op, activations, chunk, chunk.n_images), dx_4d)
