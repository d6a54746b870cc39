"""Both gradients of convolutions with 3x3 taps and stride 1, by Winograd's algorithm.

The letters and equations (1)-(6) are those of `conv2d_winograd_3x3.py`.  For one tile, one channel
and one filter, with dz = dL/dz (m x m):

    Q = dL/dM = A dz A^T                           from (6), which is linear in M               (7)
    dL/dU[p,c,f] = sum over tiles of V[p,c] Q[p,f]                      from (5)                (8)
    dL/dw = G^T dL/dU G                            from (3), which is linear in w               (9)
    dL/dV[p,c] = sum over f of Q[p,f] U[p,c,f]                          from (5)                (10)
    dL/dd = B dL/dV B^T                            from (4), which is linear in d               (11)

Tiles of inputs overlap: the gradient of a pixel of x is the sum of (11) over the tiles that it is
in.  (8) and (10) are products of matrices for each point: (C x tiles) (tiles x F) and (tiles x F)
(F x C).  Both need the same Q, which is computed once.

A convolution with a pooling behind it has another backward pass, `conv2d_maxpool2d.py`.
"""

from ._channel_rows import add_row_sums
from ._jit import helper, inline_kernel
from ._tile import multiply_add
from ._views import flat_view
from ._winograd import BYTES, clear, copy
from ._winograd_bands import make_columns_back, make_rows_back
from ._winograd_tiles import make_weights_gradient, products_of_matrices
from .conv2d_cost_model import TAPS
from .conv2d_winograd_3x3_tiles import (
    F2,
    F4,
    GAP,
    half_of,
    layout,
    make_grid,
    rows_of,
    segment_of,
    transform_segments,
)

_weights_gradient_2, _weights_gradient_4 = make_weights_gradient(F2), make_weights_gradient(F4)
_rows_back_2, _columns_back_2 = make_rows_back(F2), make_columns_back(F2)
_rows_back_4, _columns_back_4 = make_rows_back(F4), make_columns_back(F4)


@inline_kernel
def conv2d_winograd_3x3_backward(
    x, dy, w_t, U, window, m, scratch, dw_out, db_out, dx_out
):  # pragma: no cover: intrinsics only run compiled
    """Given x as in forward and dy = dL/dy (N, OH, OW, F) of a convolution without pooling; wanted
    dw = dL/dw (3, 3, C, F), db = dL/db (F,) and dx = dL/dx (N, H, W, C), overwritten: equations
    (7)-(11), and

        dL/db[f] = sum over n,i,j of dy[n,i,j,f]                                    from (2)    (12)

    w_t      (F, 3, 3, C), not used: the values are read from U
    U        flat, from `conv2d_winograd_3x3_weights` with `exchange`; not used without dx
    window, m, scratch  as in forward
    dx_out   or (0, H, W, C): then dx is not computed
    """
    C, F = dw_out.shape[2], dw_out.shape[3]
    N, OH, OW, _ = dy.shape
    lanes, t = BYTES // x.itemsize, m + 2
    lay = layout(m, C, F, lanes)
    V_at, Q_at = lay.V_at, lay.M_at
    xf, dyf, dxf = flat_view(x), flat_view(dy), flat_view(dx_out)
    db_out[:] = 0
    add_row_sums(dy.reshape((N * OH * OW, F)), db_out)  # (12)
    inputs = make_grid(m, t, window.PT, window.PL, OH, OW, lay.n_tiles)
    outputs = make_grid(m, m, 0, 0, OH, OW, lay.n_tiles)
    total = N * inputs.n_h * inputs.n_segments
    sums = scratch[lay.sums_at : lay.end]
    sums[:] = 0
    dxf[:] = 0
    clear(lay.row, scratch, lay.zeros_at)
    for begin in range(0, total, inputs.n_at_once):
        end = min(begin + inputs.n_at_once, total)
        transform_segments(xf, x.shape, inputs, begin, end, scratch, lay, V_at, lay.V_size)
        n_tiles = transform_segments(
            dyf, dy.shape, outputs, begin, end, scratch, lay, Q_at, lay.M_size
        )
        for p in range(t * t):  # (8)
            multiply_add(
                M=C, N=lay.F, K0=1, K1=n_tiles,
                a=scratch, a_off=V_at + p * lay.V_size, am=1, a0=0, a1=lay.C,
                b=scratch, b_off=Q_at + p * lay.M_size, b0=0, b1=lay.F,
                c=sums, c_off=p * lay.sums_size, cm=lay.F,
            )  # fmt: skip
        if dxf.size:
            products_of_matrices(  # (10); V is no longer needed
                t * t, n_tiles, lay.C // lanes, half_of(C, lanes), F,
                scratch, Q_at, lay.F, lay.M_size, U, 0, F * lay.C + GAP, scratch, V_at, lay.V_size,
            )  # fmt: skip
            _add_segments(dxf, x.shape, inputs, begin, end, scratch, lay)
            clear(lay.row, scratch, lay.zeros_at)
    _weights_gradient(sums, m, scratch, lay, dw_out)


@helper  # pragma: no cover: intrinsics only run compiled
def _add_segments(dx, shape, grid, begin, end, scratch, lay):
    """Equation (11) for the segments begin ... end - 1: dL/dV, which is where V was, added to dx,
    flat.  Pixels outside the picture are added to the row of zeros."""
    C, m = shape[3], grid.m
    lanes = BYTES // dx.itemsize
    n_vectors, tail, x_row, columns = C // lanes, C % lanes, shape[2] * C, lay.C
    done = 0
    for s in range(begin, end):
        segment = segment_of(s, grid)
        rows = rows_of(segment, shape, grid)
        count, band_row = segment[3], rows.n_pixels * columns + GAP
        for a in range(m + 2):
            clear(2 * columns, scratch, lay.band_at + a * band_row)
        at, n_pixels, vectors = lay.band_at + rows.begin * columns, rows.end - rows.begin, n_vectors
        if not tail:
            n_pixels, vectors = 1, n_pixels * n_vectors
        source = lay.V_at + done * columns
        if m == 4:
            _rows_back_4(
                count, columns // lanes, scratch, lay.band_at, band_row, columns,
                source, lay.V_size, columns,
            )  # fmt: skip
            _columns_back_4(
                n_pixels, vectors, tail, dx, rows.x_at, x_row, C, rows.first, rows.last,
                scratch, lay.zeros_at, at, band_row, columns,
            )  # fmt: skip
        else:
            _rows_back_2(
                count, columns // lanes, scratch, lay.band_at, band_row, columns,
                source, lay.V_size, columns,
            )  # fmt: skip
            _columns_back_2(
                n_pixels, vectors, tail, dx, rows.x_at, x_row, C, rows.first, rows.last,
                scratch, lay.zeros_at, at, band_row, columns,
            )  # fmt: skip
        done += count


@helper  # pragma: no cover: intrinsics only run compiled
def _weights_gradient(sums, m, scratch, lay, dw_out):
    """Equation (9) for every channel.  sums: dL/dU."""
    _, _, C, F = dw_out.shape
    n_vectors = lay.F // (BYTES // sums.itemsize)
    dwf, V_at = flat_view(dw_out), lay.V_at
    for c in range(C):
        target, at, tap = dwf, c * F, C * F
        if F < lay.F:
            target, at, tap = scratch, V_at, lay.F
        if m == 4:
            _weights_gradient_4(n_vectors, sums, c * lay.F, lay.sums_size, target, at, tap)
        else:
            _weights_gradient_2(n_vectors, sums, c * lay.F, lay.sums_size, target, at, tap)
        if F < lay.F:
            for k in range(TAPS * TAPS):
                copy(F, scratch, V_at + k * lay.F, dwf, (k * C + c) * F)
