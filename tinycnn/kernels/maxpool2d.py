"""Max-pooling: forward and backward, NHWC.

    y[n, i, j, c] = max over a < K, e < K of x[n, i*S - PT + a, j*S - PL + e, c]                (1)

Positions outside x take no part: "same" padding never invents a value.
"""

from ._jit import kernel


@kernel
def maxpool2d_forward(x, K, S, PT, PL, y_out, argmax_out):
    """Equation (1).

    x           (N, H, W, C)    float32 or float64
    K, S        window and stride, the same along both axes;  PT, PL  padding before x
    y_out       (N, OH, OW, C)  like x, overwritten
    argmax_out  (N, OH, OW, C)  int32: flat index h*W + w of the winner in its image, all that
                                backward needs.
    A tie goes to the first position in row order, so the gradient has one owner.  NaN never wins
    against a number; a window of NaN alone gives NaN, owned by its first position.  The channel
    loop stands innermost and selects instead of branching: it runs in vectors.
    """
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1], y_out.shape[2]
    for n in range(N):
        for i in range(OH):
            h0, h1 = max(i * S - PT, 0), min(i * S - PT + K, H)
            for j in range(OW):
                w0, w1 = max(j * S - PL, 0), min(j * S - PL + K, W)
                y, argmax = y_out[n, i, j], argmax_out[n, i, j]
                for c in range(C):
                    y[c] = x[n, h0, w0, c]
                    argmax[c] = h0 * W + w0
                for h in range(h0, h1):
                    for w in range(w0, w1):
                        rival, position = x[n, h, w], h * W + w
                        for c in range(C):
                            wins = (rival[c] > y[c]) | ((y[c] != y[c]) & (rival[c] == rival[c]))
                            y[c] = rival[c] if wins else y[c]
                            argmax[c] = position if wins else argmax[c]


@kernel
def maxpool2d_backward(dy, argmax, dx_out):
    """Given dy = dL/dy (N, OH, OW, C) and forward's argmax; wanted dx = dL/dx (N, H, W, C).

        dL/dx[p] = sum over q of dL/dy[q] * dy[q]/dx[p]              chain rule                 (2)
        dy[q]/dx[p] = 1 if p = argmax[q] else 0                      from (1), one owner        (3)
        dL/dx[p] = sum over q with argmax[q] = p of dL/dy[q]         (3) in (2)                 (4)

    dx_out is overwritten.  Windows may overlap (S < K): then one p owns several q, and the loop
    adds them in row order.
    """
    N, OH, OW, C = dy.shape
    n_pixels = dx_out.shape[1] * dx_out.shape[2]
    dx = dx_out.reshape(-1)
    dx[:] = 0
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    p = argmax[n, i, j, c]
                    dx[(n * n_pixels + p) * C + c] += dy[n, i, j, c]  # (4)
