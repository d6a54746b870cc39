"""Average pooling: forward and backward, NHWC.

    y[n,i,j,c] = sum over a < KH, e < KW of x[n, i*SH-PT+a, j*SW-PL+e, c] / T[i,j]              (1)

Positions outside x add nothing.  T[i,j] is KH*KW if padding is counted, else the number of
positions inside x.  A global average is one window as large as x.
"""

from ._jit import helper, inline_kernel
from ._views import flat_view, view_4d
from ._window_mean import window_mean
from .arrays import window_of
from .windows import end_tap, first_tap, run_end


@inline_kernel
def averagepool2d_forward(x, window, count_padding, y_out):
    """Equation (1), with sums in float64.  Backward needs neither x nor y.

    x              (N, H, W, C)    float32 or float64
    window         `plan.Window`; each position covers a pixel of x or more
    count_padding  1: padding is counted; 0: it is not
    y_out          (N, OH, OW, C)  like x, overwritten
    One call of `window_mean` does a run of windows (see conv2d.py).
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
                n_taps = window.KH * window.KW if count_padding else (a1 - a0) * (e1 - e0)
                window_mean(
                    n_windows=j_end - j, C=C, n_rows=a1 - a0, n_columns=e1 - e0,
                    x=xf, x_off=((n * H + i * SH - PT + a0) * W + j * SW - PL + e0) * C, S=SW,
                    row_step=W * C, n_taps=n_taps, y=yf, y_off=((n * OH + i) * OW + j) * C,
                )  # fmt: skip
                j = j_end


@inline_kernel
def averagepool2d_backward(dy, window, count_padding, dx_out):
    """Given dy = dL/dy (N, OH, OW, C); wanted dx = dL/dx (N, H, W, C).

        dL/dx[n,h,v,c] = sum over i,j of dL/dy[n,i,j,c] * dy[n,i,j,c]/dx[n,h,v,c]   chain rule (2)
        dy[n,i,j,c]/dx[n,h,v,c] = 1 / T[i,j] if the window of (i, j) covers (h, v)  from (1)   (3)
        dL/dx[n,h,v,c] = sum over those (i, j) of dL/dy[n,i,j,c] / T[i,j]           (3) in (2) (4)

    dx_out is overwritten.
    """
    N, OH, OW, C = dy.shape
    H, W = dx_out.shape[1], dx_out.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    dyf, dx = flat_view(dy), flat_view(dx_out)
    dx[:] = 0
    for n in range(N):
        for i in range(OH):
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, window.KH, H)
            for j in range(OW):
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, window.KW, W)
                n_taps = window.KH * window.KW if count_padding else (a1 - a0) * (e1 - e0)
                dy_at = ((n * OH + i) * OW + j) * C
                for h in range(i * SH - PT + a0, i * SH - PT + a1):
                    dx_at = ((n * H + h) * W + j * SW - PL + e0) * C
                    for e in range(e1 - e0):  # (4)
                        at = dx_at + e * C
                        add_share(dyf[dy_at : dy_at + C], n_taps, dx[at : at + C])


@helper
def add_share(x, n_shares, y_out):
    """y += x / n_shares.  The loop runs over slices, whose indices begin at 0, so that LLVM
    vectorises it."""
    factor = x.dtype.type(1.0 / n_shares)
    for k in range(y_out.size):
        y_out[k] += x[k] * factor


# ---- the operation in a network; walk.py explains the arguments -----------------------------


@helper
def averagepool2d_operation_forward(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    y_4d = view_4d(y, 0, chunk.n_images, op.OH, op.OW, op.F)
    averagepool2d_forward(x_4d, window_of(op), op.count_padding, y_4d)


@helper
def averagepool2d_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    if dx.size:
        dy_4d = view_4d(dy, 0, chunk.n_images, op.OH, op.OW, op.F)
        dx_4d = view_4d(dx, 0, chunk.n_images, op.H, op.W, op.C)
        averagepool2d_backward(dy_4d, window_of(op), op.count_padding, dx_4d)
