"""Fully connected layer: forward and backward.

y[n, u] = b[u] + sum over k < fan_in of x[n, k] w[k, u]                                     (1)
"""

from ._jit import helper, inline_helper, inline_kernel
from ._row_product import BYTES, packed_row_product, reads_panels, row_product
from ._tile import multiply_add, products
from ._views import flat_view, view_2d, view_3d
from .arrays import bias_of
from .elementwise import sum_rows
from .packed_weights import pack_weights

ROWS_AT_ONCE = 96
"""Rows of the gradient of w that are computed together: of 64 images these are 24 KB of x."""


@inline_kernel
def dense_forward(x, w, b, y_out):
    """Equation (1).

    x      (N, fan_in)      C-contiguous, float32 or float64; all other arrays alike
    w      (fan_in, units)
    b      (units,)
    y_out  (N, units)       overwritten.  Backward needs x and w.
    """
    dense_columns_forward(x, flat_view(w), w.shape[1], b, 0, y_out)


@inline_helper
def dense_columns_forward(x, wf, w_columns, b, relu, y_out):
    """The same, followed by ReLU if `relu` is 1, for as many columns of w as y_out has.

    wf  flat, from the first weight of the first of these columns on; w has w_columns columns
    """
    N, K = x.shape
    U = y_out.shape[1]
    xf, yf = flat_view(x), flat_view(y_out)
    if N == 1 and U * y_out.itemsize >= BYTES:
        row_product(
            N=U, K=K, x=xf, x_off=0, w=wf, w_off=0, wk=w_columns, bias=b, relu=relu,
            y=yf, y_off=0,
        )  # fmt: skip
    else:
        _panel_forward(x, wf, w_columns, 0, U, b, relu, y_out)


@inline_helper
def dense_packed_forward(x, packed, b, relu, y_out):
    """The same for all columns of weights that `pack_weights` has packed."""
    n_panels, K, n_columns = packed.shape
    if x.shape[0] == 1 and reads_panels(n_columns, x.itemsize):
        packed_row_product(
            N=n_panels * n_columns, K=K, columns=n_columns, x=flat_view(x), x_off=0,
            w=flat_view(packed), w_off=0, bias=b, relu=relu, y=flat_view(y_out), y_off=0,
        )  # fmt: skip
    else:
        for p in range(n_panels):
            panel = flat_view(packed[p])
            _panel_forward(x, panel, n_columns, p * n_columns, n_columns, b, relu, y_out)


@inline_helper
def _panel_forward(x, wf, w_columns, u, n_columns, b, relu, y_out):
    """The columns u <= k < u + n_columns of y; the first of them are the first in wf."""
    N, K = x.shape
    products(
        M=N, N=n_columns, K0=1, K1=K,
        a=flat_view(x), a_off=0, am=K, a0=0, a1=1,
        b=wf, b_off=0, b0=0, b1=w_columns, bias=b[u:], relu=relu,
        c=flat_view(y_out), c_off=u, cm=y_out.shape[1],
    )  # fmt: skip


@inline_kernel
def dense_backward_params(x, dy, dw_out, db_out):
    """Given x as in forward and dy = dL/dy (N, units); wanted dw = dL/dw and db = dL/db.

        dL/dw[k, u] = sum over n of dy[n, u] * dy[n, u]/dw[k, u]                     chain rule
                    = sum over n of dy[n, u] x[n, k]                                 from (1)   (2)
        dL/db[u]    = sum over n of dy[n, u]                                         from (1)   (3)

    dw_out (fan_in, units) and db_out (units,) are overwritten.
    """
    dense_backward_rows(x, dy, 0, x.shape[1], dw_out)
    sum_rows(dy, db_out)  # (3)


@inline_helper
def dense_backward_rows(x, dy, first, end, dw_out):
    """(2) for the rows first <= k < end of dw, so that several threads can share the work.

    ROWS_AT_ONCE rows at a time: their columns of x stay in the first-level cache, from one block of
    units to the next.
    """
    N, K = x.shape
    U = dy.shape[1]
    xf, dyf, dwf = flat_view(x), flat_view(dy), flat_view(dw_out)
    for k in range(first, end, ROWS_AT_ONCE):
        n_rows = min(end - k, ROWS_AT_ONCE)
        dw_out[k : k + n_rows] = 0
        multiply_add(
            M=n_rows, N=U, K0=1, K1=N,
            a=xf, a_off=k, am=1, a0=0, a1=K,
            b=dyf, b_off=0, b0=0, b1=U,
            c=dwf, c_off=k * U, cm=U,
        )  # fmt: skip


@inline_kernel
def dense_transpose_weights(w, w_t_out):
    """w (fan_in, units) -> w_t_out (P, units, fan_in / P) for backward: the transpose of w in P
    panels of columns, as in `packed_weights.py`."""
    n_panels, U, n_columns = w_t_out.shape
    for p in range(n_panels):
        first = p * n_columns
        for u in range(U):
            for k in range(n_columns):
                w_t_out[p, u, k] = w[first + k, u]


@inline_kernel
def dense_backward_input(dy, w_t, dx_out):
    """Given dy = dL/dy (N, units) and w_t from `dense_transpose_weights`; wanted dx = dL/dx
    (N, fan_in), overwritten.

        dL/dx[n, k] = sum over u of dy[n, u] * dy[n, u]/dx[n, k]                     chain rule
                    = sum over u of dy[n, u] w[k, u]                                 from (1)   (4)
    """
    (N, U), (n_panels, _, n_columns) = dy.shape, w_t.shape
    dx_out[:] = 0
    dyf, wf, dxf = flat_view(dy), flat_view(w_t), flat_view(dx_out)
    for p in range(n_panels):
        multiply_add(  # (4)
            M=N, N=n_columns, K0=1, K1=U,
            a=dyf, a_off=0, am=U, a0=0, a1=1,
            b=wf, b_off=p * U * n_columns, b0=0, b1=n_columns,
            c=dxf, c_off=p * n_columns, cm=dx_out.shape[1],
        )  # fmt: skip


# ---- the operation in a network; walk.py explains the arguments -------------------------------


@helper
def dense_operation_forward(op, weights, statistics, x, y, activations, scratch, chunk, training):
    fan_in = op.H * op.W * op.C
    wf, b = weights.dense_parameters[op.w_offset :], bias_of(op, weights.parameters)
    x_2d, y_2d = view_2d(x, 0, chunk.n_images, fan_in), view_2d(y, 0, chunk.n_images, op.F)
    if is_packed(op, weights):
        dense_packed_forward(x_2d, _packed(op, weights), b, op.fuses_relu, y_2d)
    else:
        dense_columns_forward(x_2d, wf, op.w_columns, b, op.fuses_relu, y_2d)


@inline_helper
def is_packed(op, weights):
    """Whether there are packed weights.  The caller decides whether packing pays."""
    return op.panel < op.w_columns and weights.prepared.size > op.prepared_offset


@inline_helper
def _packed(op, weights):
    n_panels, fan_in = op.F // op.panel, op.H * op.W * op.C
    return view_3d(weights.prepared, op.prepared_offset, n_panels, fan_in, op.panel)


@helper
def dense_operation_pack_weights(op, weights):
    if is_packed(op, weights):
        fan_in = op.H * op.W * op.C
        w = view_2d(weights.dense_parameters, op.w_offset, fan_in, op.w_columns)
        pack_weights(w, _packed(op, weights))


@helper
def dense_operation_transpose(op, weights):
    fan_in = op.H * op.W * op.C
    w = view_2d(weights.parameters, op.w_offset, fan_in, op.F)
    dense_transpose_weights(w, _transposed(op, weights))


@inline_helper
def _transposed(op, weights):
    n_panels = op.H * op.W * op.C // op.transposed_panel
    return view_3d(weights.transposed, op.w_t_offset, n_panels, op.F, op.transposed_panel)


@helper
def dense_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    if dx.size:
        fan_in = op.H * op.W * op.C
        dy_2d = view_2d(dy, 0, chunk.n_images, op.F)
        dx_2d = view_2d(dx, 0, chunk.n_images, fan_in)
        dense_backward_input(dy_2d, _transposed(op, weights), dx_2d)


@helper
def dense_operation_collect(op, weights, x, gradients, n_images, capacity, share, n_shares):
    """The gradients of w and b, for the whole batch at once and not chunk by chunk: a dense layer
    has many weights, and a chunk's few images would make each sum short."""
    fan_in = op.H * op.W * op.C
    dy = view_2d(gradients.batch_outputs, op.dy_offset * capacity, n_images, op.F)
    first, end = fan_in * share // n_shares, fan_in * (share + 1) // n_shares
    dw = view_2d(gradients.parameters, op.w_offset, fan_in, op.F)
    dense_backward_rows(view_2d(x, 0, n_images, fan_in), dy, first, end, dw)
    if share == 0:
        sum_rows(dy, bias_of(op, gradients.parameters))  # (3)
