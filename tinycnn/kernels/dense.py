"""Fully connected layer: forward and backward.

y[n, u] = b[u] + sum over k < fan_in of x[n, k] w[k, u]                                     (1)
"""

from ._jit import kernel
from ._tile import multiply_add


@kernel
def dense_forward(x, w, b, y_out):
    """Equation (1).

    x      (N, fan_in)      C-contiguous, float32 or float64; all other arrays alike
    w      (fan_in, units)
    b      (units,)
    y_out  (N, units)       overwritten.  Backward needs x and w.
    """
    N, K = x.shape
    U = w.shape[1]
    for n in range(N):
        for u in range(U):
            y_out[n, u] = b[u]
    xf, wf, yf = x.reshape(-1), w.reshape(-1), y_out.reshape(-1)
    multiply_add(N, U, 1, K, xf, 0, K, 0, 1, wf, 0, 0, U, yf, 0, U)


@kernel
def dense_backward_params(x, dy, dw_out, db_out):
    """Given x as in forward and dy = dL/dy (N, units); wanted dw = dL/dw and db = dL/db.

        dL/dw[k, u] = sum over n of dy[n, u] * dy[n, u]/dw[k, u]                     chain rule
                    = sum over n of dy[n, u] x[n, k]                                 from (1)   (2)
        dL/db[u]    = sum over n of dy[n, u]                                         from (1)   (3)

    dw_out (fan_in, units) and db_out (units,) are overwritten.
    """
    dense_backward_rows(x, dy, 0, x.shape[1], dw_out)
    dense_backward_bias(dy, db_out)


@kernel
def dense_backward_rows(x, dy, first, end, dw_out):
    """(2) for the rows first <= k < end of dw alone: several threads may share the work."""
    N, K = x.shape
    U = dy.shape[1]
    dw_out[first:end] = 0
    xf, dyf, dwf = x.reshape(-1), dy.reshape(-1), dw_out.reshape(-1)
    multiply_add(end - first, U, 1, N, xf, first, 1, 0, K, dyf, 0, 0, U, dwf, first * U, U)


@kernel
def dense_backward_bias(dy, db_out):
    """(3) alone."""
    db_out[:] = 0
    for n in range(dy.shape[0]):
        for u in range(dy.shape[1]):
            db_out[u] += dy[n, u]


@kernel
def dense_transpose_weights(w, w_t_out):
    """w (fan_in, units) -> w_t_out (units, fan_in), for backward."""
    for k in range(w.shape[0]):
        for u in range(w.shape[1]):
            w_t_out[u, k] = w[k, u]


@kernel
def dense_backward_input(dy, w_t, dx_out):
    """Given dy = dL/dy (N, units) and w_t (units, fan_in) from `dense_transpose_weights`; wanted
    dx = dL/dx (N, fan_in), overwritten.

        dL/dx[n, k] = sum over u of dy[n, u] * dy[n, u]/dx[n, k]                     chain rule
                    = sum over u of dy[n, u] w[k, u]                                 from (1)   (4)
    """
    N, U = dy.shape
    K = w_t.shape[1]
    dx_out[:] = 0
    dyf, wf, dxf = dy.reshape(-1), w_t.reshape(-1), dx_out.reshape(-1)
    multiply_add(N, K, 1, U, dyf, 0, U, 0, 1, wf, 0, 0, K, dxf, 0, K)  # (4)
