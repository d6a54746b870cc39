"""2-D convolution (cross-correlation, as every CNN library means it): forward and backward, NHWC.

    y[n,i,j,f] = b[f] + sum over a,e,c of x[n, i*SH-PT+a, j*SW-PL+e, c] w[a,e,c,f]          (1)
                 with a < KH, e < KW, c < C

Taps outside x count as zero and are never computed; a window with no tap inside x gives y = b.  A
run is a range of output positions along an axis whose windows have the same taps inside x: one long
run in the middle, short ones at the borders (see `windows.py`).  Each run is one sum of products, a
call of `multiply_add` (`_tile.py`).
"""

from ._channel_rows import add_row_sums
from ._jit import inline_helper, inline_kernel
from ._tile import ROWS, multiply_add, products
from ._views import flat_view
from .windows import end_inside, end_tap, first_inside, first_tap, run_end


@inline_kernel
def conv2d_forward(x, w, b, window, y_out):
    """Equation (1).

    x      (N, H, W, C)    C-contiguous, float32 or float64; all other arrays alike
    w      (KH, KW, C, F)
    b      (F,)
    window  `plan.Window`; the padding below and to the right follows from the shape of y_out
    y_out  (N, OH, OW, F)  overwritten.  Backward needs x and w, but not y.
    """
    conv2d_relu_forward(x, flat_view(w), w.shape[3], b, window, 0, y_out)


@inline_helper
def conv2d_relu_forward(x, w, panel, b, window, relu, y_out):
    """Equation (1), followed by ReLU if `relu` is 1.  Arguments as of `conv2d_forward`.

    w      flat, in panels of `panel` columns: F, or fewer for weights from `pack_weights`
    With 1x1 taps and stride 1 all pixels are treated alike, so those of all images are taken as one
    long row.
    """
    N, H, W, C = x.shape
    KH, KW = window.KH, window.KW
    OH, OW, F = y_out.shape[1], y_out.shape[2], y_out.shape[3]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, yf = flat_view(x), flat_view(y_out)
    if KH == KW == SH == SW == 1 and H == OH and W == OW:
        N, H, W, OH, OW = 1, 1, N * H * W, 1, N * OH * OW
    for n in range(N):
        i = 0
        while i < OH:
            i_end = run_end(i, OH, SH, PT, KH, H)
            a0, a1 = first_tap(i, SH, PT), end_tap(i, SH, PT, KH, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, KW, W)
                x_at = ((n * H + i * SH - PT + a0) * W + j * SW - PL + e0) * C
                w_at = (a0 * KW + e0) * C * panel
                y_at = ((n * OH + i) * OW + j) * F
                taps, row = max(a1 - a0, 0), max(e1 - e0, 0) * C
                # Each call computes M outputs of an image row; where these are too few for a tile,
                # M outputs of an image column.
                n_calls, M = i_end - i, j_end - j
                a_call, am, c_call, cm = SH * W * C, SW * C, OW * F, F
                if M < n_calls and M < ROWS:
                    n_calls, M = M, n_calls
                    a_call, am, c_call, cm = am, a_call, cm, c_call
                for k in range(n_calls):
                    for f in range(0, F, panel):
                        products(
                            M=M, N=panel, K0=taps, K1=row,
                            a=xf, a_off=x_at + k * a_call, am=am, a0=W * C, a1=1,
                            b=w, b_off=f * KH * KW * C + w_at, b0=KW * C * panel, b1=panel,
                            bias=b[f:], relu=relu,
                            c=yf, c_off=y_at + k * c_call + f, cm=cm,
                        )  # fmt: skip
                j = j_end
            i = i_end


@inline_kernel
def conv2d_backward_params(x, dy, window, dw_out, db_out):
    """Given x as in forward and dy = dL/dy (N, OH, OW, F); wanted dw = dL/dw and db = dL/db.

        dL/dw[a,e,c,f] = sum over n,i,j of dy[n,i,j,f] * dy[n,i,j,f]/dw[a,e,c,f]    chain rule
        dy[n,i,j,f]/dw[a,e,c,f] = x[n, i*SH-PT+a, j*SW-PL+e, c]                     from (1)
        dL/dw[a,e,c,f] = sum over n,i,j of x[n, i*SH-PT+a, j*SW-PL+e, c] dy[n,i,j,f]         (2)
        dL/db[f] = sum over n,i,j of dy[n,i,j,f]                                    from (1) (3)

    dw_out (KH, KW, C, F) and db_out (F,) are overwritten.  For a fixed tap row a, the elements of x
    at (e, c) are contiguous.  So one call computes all KW*C rows of dw[a] that a run of columns j
    contributes to; in a border column these are fewer.
    """
    N, H, W, C = x.shape
    KH, KW, _, F = dw_out.shape
    OH, OW = dy.shape[1], dy.shape[2]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    xf, dyf, dwf = flat_view(x), flat_view(dy), flat_view(dw_out)
    dwf[:] = 0
    db_out[:] = 0
    add_row_sums(dy.reshape((N * OH * OW, F)), db_out)  # (3)
    for n in range(N):
        for a in range(KH):
            i0, i1 = first_inside(a, SH, PT), end_inside(a, OH, SH, PT, H)
            j = 0
            while j < OW:
                j_end = run_end(j, OW, SW, PL, KW, W)
                e0, e1 = first_tap(j, SW, PL), end_tap(j, SW, PL, KW, W)
                x_at = ((n * H + i0 * SH - PT + a) * W + j * SW - PL + e0) * C
                multiply_add(  # (2)
                    M=max(e1 - e0, 0) * C, N=F, K0=max(i1 - i0, 0), K1=j_end - j,
                    a=xf, a_off=x_at, am=1, a0=SH * W * C, a1=SW * C,
                    b=dyf, b_off=((n * OH + i0) * OW + j) * F, b0=OW * F, b1=F,
                    c=dwf, c_off=(a * KW + e0) * C * F, cm=F,
                )  # fmt: skip
                j = j_end


@inline_kernel
def conv2d_transpose_weights(w, w_t_out):
    """Copy the weights w (KH, KW, C, F) to w_t_out (F, KH, KW, C): the order of axes in which the
    backward passes read them."""
    KH, KW, C, F = w.shape
    for a in range(KH):
        for e in range(KW):
            for c in range(C):
                for f in range(F):
                    w_t_out[f, a, e, c] = w[a, e, c, f]


@inline_kernel
def conv2d_backward_input(dy, w_t, window, dx_out):
    """Given dy = dL/dy (N, OH, OW, F) and w_t (F, KH, KW, C) from `conv2d_transpose_weights`;
    wanted dx = dL/dx (N, H, W, C), overwritten.

        dL/dx[n,h,v,c] = sum over i,j,f of dy[n,i,j,f] * dy[n,i,j,f]/dx[n,h,v,c]    chain rule
        dy[n,i,j,f]/dx[n,h,v,c] = w[a,e,c,f] if h = i*SH-PT+a and v = j*SW-PL+e     from (1)
        dL/dx[n,h,v,c] = sum over a,e,f of dy[n,(h+PT-a)/SH,(v+PL-e)/SW,f] w[a,e,c,f]        (4)
                         over the taps for which both quotients are whole and inside y

    Columns v with the same remainder of (v + PL) / SW get gradients from the same taps e.  They are
    the rows of a tile: SW columns apart in x and one column apart in y.
    """
    N, OH, OW, F = dy.shape
    KH, KW = w_t.shape[1], w_t.shape[2]
    H, W, C = dx_out.shape[1], dx_out.shape[2], dx_out.shape[3]
    SH, SW, PT, PL = window.SH, window.SW, window.PT, window.PL
    dyf, wf, dxf = flat_view(dy), flat_view(w_t), flat_view(dx_out)
    dxf[:] = 0
    for n in range(N):
        for h in range(H):
            for a in range((h + PT) % SH, KH, SH):
                i = (h + PT - a) // SH
                if 0 <= i < OH:
                    for e in range(KW):
                        j0, j1 = first_inside(e, SW, PL), end_inside(e, OW, SW, PL, W)
                        multiply_add(  # (4), one tap of all columns that see it
                            M=max(j1 - j0, 0), N=C, K0=1, K1=F,
                            a=dyf, a_off=((n * OH + i) * OW + j0) * F, am=F, a0=0, a1=1,
                            b=wf, b_off=(a * KW + e) * C, b0=0, b1=KH * KW * C,
                            c=dxf, c_off=((n * H + h) * W + j0 * SW - PL + e) * C, cm=SW * C,
                        )  # fmt: skip
