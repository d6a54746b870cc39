"""Depthwise convolution: each channel by itself, with D filters for each; forward, backward, NHWC.

    y[n,i,j,c*D+d] = b[c*D+d] + sum over a,e of x[n, i*SH-PT+a, j*SW-PL+e, c] w[a,e,c,d]    (1)
                     with a < KH, e < KW

Taps outside x count as zero and are never computed.  Runs of output positions are as in conv2d.py.
Each run is a call of `multiply_add_groups` (`_lane_tile.py`), whose lanes are channels.
Howard et al. 2017, "MobileNets", equation (3), where D = 1.
"""

from ._jit import helper, inline_helper, inline_kernel
from ._lane_tile import multiply_add_group_sums, multiply_add_groups
from ._views import flat_view, view_4d
from .arrays import bias_of, window_of
from .depthwise_conv2d_3x3 import (
    depthwise_conv2d_3x3_backward_input,
    depthwise_conv2d_3x3_backward_params,
    depthwise_conv2d_3x3_forward,
)
from .windows import end_inside, end_tap, first_inside, first_tap, run_end


@inline_kernel
def depthwise_conv2d_forward(x, w, b, window, y_out):
    """Equation (1).

    x       (N, H, W, C)    C-contiguous, float32 or float64; all other arrays alike
    w       (KH, KW, C, D)
    b       (C * D,)
    window  `plan.Window`; the padding below and to the right follows from the shape of y_out
    y_out   (N, OH, OW, C * D)  overwritten.  Backward needs x and w, but not y.
    """
    N, H, W, C = x.shape
    KH, KW, _, D = w.shape
    OH, OW, F = y_out.shape[1], y_out.shape[2], C * D
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, wf, yf = flat_view(x), flat_view(w), flat_view(y_out)
    for k in range(N * OH * OW):
        for f in range(F):
            yf[k * F + f] = b[f]
    for n in range(N):
        for i in range(OH):
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, KH, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, KW, W)
                multiply_add_groups(
                    M=j_end - j, C=C, D=D, K0=max(a1 - a0, 0), K1=max(e1 - e0, 0),
                    a=xf, a_off=((n * H + i * SH - PT + a0) * W + j * SW - PL + e0) * C,
                    am=SW * C, a0=W * C, a1=C,
                    b=wf, b_off=(a0 * KW + e0) * F, b0=KW * F, b1=F,
                    c=yf, c_off=((n * OH + i) * OW + j) * F, cm=F,
                )  # fmt: skip
                j = j_end


@inline_kernel
def depthwise_conv2d_backward_params(x, dy, window, dw_out, db_out):
    """Given x as in forward and dy = dL/dy (N, OH, OW, C*D); wanted dw = dL/dw and db = dL/db.

        dL/dw[a,e,c,d] = sum over n,i,j of dy[n,i,j,f] * dy[n,i,j,f]/dw[a,e,c,d], f = c*D+d;
                         the other outputs do not depend on it                      chain rule
        dy[n,i,j,f]/dw[a,e,c,d] = x[n, i*SH-PT+a, j*SW-PL+e, c]                     from (1)
        dL/dw[a,e,c,d] = sum over n,i,j of x[n, i*SH-PT+a, j*SW-PL+e, c] dy[n,i,j,c*D+d]     (2)
        dL/db[f] = sum over n,i,j of dy[n,i,j,f]                                    from (1) (3)

    dw_out (KH, KW, C, D) and db_out (C*D,) are overwritten.
    """
    N, H, W, C = x.shape
    KH, KW, _, D = dw_out.shape
    OH, OW, F = dy.shape[1], dy.shape[2], C * D
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, dyf, dwf = flat_view(x), flat_view(dy), flat_view(dw_out)
    dwf[:] = 0
    db_out[:] = 0
    for k in range(N * OH * OW):
        for f in range(F):
            db_out[f] += dyf[k * F + f]  # (3)
    for n in range(N):
        for a in range(KH):
            i0, i1 = first_inside(a, SH, PT), end_inside(a, OH, SH, PT, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, KW, W)
                multiply_add_groups(  # (2)
                    M=max(e1 - e0, 0), C=C, D=D, K0=max(i1 - i0, 0), K1=j_end - j,
                    a=xf, a_off=((n * H + i0 * SH - PT + a) * W + j * SW - PL + e0) * C,
                    am=C, a0=SH * W * C, a1=SW * C,
                    b=dyf, b_off=((n * OH + i0) * OW + j) * F, b0=OW * F, b1=F,
                    c=dwf, c_off=(a * KW + e0) * F, cm=F,
                )  # fmt: skip
                j = j_end


@inline_kernel
def depthwise_conv2d_backward_input(dy, w, window, dx_out):
    """Given dy = dL/dy (N, OH, OW, C*D) and w (KH, KW, C, D); wanted dx = dL/dx (N, H, W, C),
    overwritten.

        dL/dx[n,h,v,c] = sum over i,j,d of dy[n,i,j,c*D+d] * dy[n,i,j,c*D+d]/dx[n,h,v,c]
                                                                                    chain rule
        dy[n,i,j,c*D+d]/dx[n,h,v,c] = w[a,e,c,d] if h = i*SH-PT+a and v = j*SW-PL+e from (1)
        dL/dx[n,h,v,c] = sum over a,e,d of dy[n,(h+PT-a)/SH,(v+PL-e)/SW,c*D+d] w[a,e,c,d]    (4)
                         over the taps for which both quotients are whole and inside y

    Write v + PL = p*SW + u with u < SW.  Then v gets gradients by the taps e = u + t*SW, from the
    columns j = p - t of y, t < T.  For one u (a phase) this is a sum over a window of T columns of
    y with stride 1, which ends at column p and whose taps are in reverse order.  So its runs are
    those of `windows.py`, for tap T-1-t and padding T-1.  The same holds for h + PT = q*SH + r.
    """
    N, OH, OW, F = dy.shape
    KH, KW, C, D = w.shape
    H, W = dx_out.shape[1], dx_out.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    dyf, wf, dxf = flat_view(dy), flat_view(w), flat_view(dx_out)
    dxf[:] = 0
    for n in range(N):
        for h in range(H):
            q, r = (h + PT) // SH, (h + PT) % SH
            last_s = (KH - 1 - r) // SH
            s0, s1 = first_tap(q, 1, last_s), end_tap(q, 1, last_s, last_s + 1, OH)
            for u in range(SW):
                last_t = (KW - 1 - u) // SW
                p, p_end = -((u - PL) // SW), (W - 1 + PL - u) // SW + 1
                while p < p_end:
                    stop = run_end(p, p_end, 1, last_t, last_t + 1, OW)
                    t0, t1 = first_tap(p, 1, last_t), end_tap(p, 1, last_t, last_t + 1, OW)
                    i, j = q - last_s + s0, p - last_t + t0  # the first row and column of y
                    a, e = r + (last_s - s0) * SH, u + (last_t - t0) * SW  # the taps that see them
                    multiply_add_group_sums(  # (4)
                        M=stop - p, C=C, D=D, K0=max(s1 - s0, 0), K1=max(t1 - t0, 0),
                        a=dyf, a_off=((n * OH + i) * OW + j) * F, am=F, a0=OW * F, a1=F,
                        b=wf, b_off=(a * KW + e) * F, b0=-SH * KW * F, b1=-SW * F,
                        c=dxf, c_off=((n * H + h) * W + p * SW + u - PL) * C, cm=SW * C,
                    )  # fmt: skip
                    p = stop


# ---- the operation in a network; walk.py explains the arguments -----------------------------


@inline_helper
def _weights_of(op, parameters):
    return view_4d(parameters, op.w_offset, op.KH, op.KW, op.C, op.F // op.C)


@helper
def depthwise_conv2d_operation_forward(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    y_4d = view_4d(y, 0, chunk.n_images, op.OH, op.OW, op.F)
    w, b = _weights_of(op, weights.parameters), bias_of(op, weights.parameters)
    depthwise_conv2d_forward(x_4d, w, b, window_of(op), y_4d)


@helper
def depthwise_conv2d_operation_forward_3x3(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    y_4d = view_4d(y, 0, chunk.n_images, op.OH, op.OW, op.F)
    w, b = _weights_of(op, weights.parameters), bias_of(op, weights.parameters)
    depthwise_conv2d_3x3_forward(x_4d, w, b, window_of(op), op.fuses_relu, y_4d)


@helper
def depthwise_conv2d_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    dy_4d = view_4d(dy, 0, chunk.n_images, op.OH, op.OW, op.F)
    dw, db = _weights_of(op, sums), bias_of(op, sums)
    depthwise_conv2d_backward_params(x_4d, dy_4d, window_of(op), dw, db)
    if dx.size:
        w = _weights_of(op, weights.parameters)
        dx_4d = view_4d(dx, 0, chunk.n_images, op.H, op.W, op.C)
        depthwise_conv2d_backward_input(dy_4d, w, window_of(op), dx_4d)


@helper
def depthwise_conv2d_operation_backward_3x3(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    x_4d = view_4d(x, 0, chunk.n_images, op.H, op.W, op.C)
    dy_4d = view_4d(dy, 0, chunk.n_images, op.OH, op.OW, op.F)
    dw, db = _weights_of(op, sums), bias_of(op, sums)
    depthwise_conv2d_3x3_backward_params(x_4d, dy_4d, window_of(op), scratch.workspace, dw, db)
    if dx.size:
        w = _weights_of(op, weights.parameters)
        dx_4d = view_4d(dx, 0, chunk.n_images, op.H, op.W, op.C)
        depthwise_conv2d_3x3_backward_input(dy_4d, w, window_of(op), scratch.workspace, dx_4d)
