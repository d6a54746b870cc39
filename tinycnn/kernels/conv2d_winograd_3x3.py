"""Convolutions with 3x3 taps and stride 1 by Winograd's algorithm: forward.

    z[i,j,f] = sum over a,e < 3, c < C of x[i-PT+a, j-PL+e, c] w[a,e,c,f]                       (1)
    y[i,j,f] = relu(b[f] + max over the pooling's window of z)                                  (2)

A tile is m x m outputs, which need t x t inputs d, t = m + 2.  With F(m, 3) of
`_winograd_transforms.py` along both axes, for every tile:

    U = G w G^T         for every channel and filter, once for all images                       (3)
    V = B^T d B         for every channel                                                       (4)
    M[p] = sum over c of V[p,c] U[p,c,:]     for each of the t*t points p                       (5)
    z = A^T M A         for every filter                                                        (6)

(5) is, for each point, a product of matrices (tiles x C) (C x F).  It takes t*t products for m*m
outputs instead of 9 m*m: a fourth for m = 4, four ninths for m = 2.

Points.  0, +-3/4, +-3/2 for m = 4: they keep the numbers in the transforms near 1, and the errors
of y near 1e-6 of its largest value; with the usual 0, +-1, +-2 they are several times larger
(compare Barabasz et al. 2020, arXiv 1803.10986).  0, +-1 for m = 2.

Which convolutions are computed this way, and with which m: `conv2d_cost_model.py`.  The gradients:
`conv2d_winograd_3x3_backward.py`.  The weights, and how inputs are transformed:
`conv2d_winograd_3x3_tiles.py`.
Lavin and Gray 2015, arXiv 1509.09308.
"""

from typing import NamedTuple

from ._jit import helper, inline_kernel
from ._views import flat_view
from ._winograd import BYTES, clear, copy
from ._winograd_tiles import make_output_tile, make_pooled_output_tile, products_of_matrices
from .conv2d_cost_model import TAPS
from .conv2d_winograd_3x3_tiles import (
    F2,
    F4,
    GAP,
    half_of,
    layout,
    make_grid,
    segment_of,
    transform_segments,
)
from .windows import n_positions

_output_2, _pooled_2 = make_output_tile(F2), make_pooled_output_tile(F2)
_output_4, _pooled_4 = make_output_tile(F4), make_pooled_output_tile(F4)


class Place(NamedTuple):
    """Where a tile of outputs belongs."""

    height: int  # outputs of the tile that exist: fewer than m at the lower and right border
    width: int
    y_at: int  # of its first value in y
    y_row: int  # elements of a row of y
    first: int  # position of its first output in z
    W: int  # columns of z


@helper  # pragma: no cover: intrinsics only run compiled
def _store_part(tile, m, F, columns, place, y):
    """Store those outputs of a tile that exist.  columns: filters of `tile`, whole vectors."""
    for i in range(place.height):
        for j in range(place.width):
            copy(F, tile, (i * m + j) * columns, y, place.y_at + i * place.y_row + j * F)


@helper  # pragma: no cover: intrinsics only run compiled
def _pool_part(tile, m, F, columns, place, relu, y, argmax):
    """Store the largest of every 2x2 outputs of a tile, after ReLU if `relu`, and its position in
    argmax, unless that is empty."""
    for i in range(0, place.height, 2):
        for j in range(0, place.width, 2):
            at = place.y_at + i // 2 * place.y_row + j // 2 * F
            for f in range(F):
                best, where = tile[(i * m + j) * columns + f], 0
                for k in range(1, 4):
                    di, dj = k // 2, k % 2
                    if i + di < place.height and j + dj < place.width:
                        value = tile[((i + di) * m + j + dj) * columns + f]
                        if value > best:
                            best, where = value, di * place.W + dj
                if relu and best <= 0:
                    best = y.dtype.type(0)
                y[at + f] = best
                if argmax.size:
                    argmax[at + f] = place.first + i * place.W + j + where


# ---- forward -----------------------------------------------------------------------------------


@inline_kernel
def conv2d_winograd_3x3_forward(
    x, w, U, b, window, m, pool, relu, scratch, y_out, argmax_out
):  # pragma: no cover: intrinsics only run compiled
    """Equations (1) and (2) by (4)-(6).

    x        (N, H, W, C)
    w        (3, 3, C, F), not used: the values are read from U
    U        flat, from `conv2d_winograd_3x3_weights`
    b        (F,), or (0,): without bias
    window   `plan.Window` of the convolution, 3 x 3 with stride 1 and less padding than taps
    m        2 or 4, as for U
    pool     1: max-pool z over windows of 2 x 2, smaller ones at an odd border; 0: no pooling
    relu     1: apply ReLU; 0: do not
    scratch  flat, see `scratch_size`
    y_out    (N, OH, OW, F), with pooling half of OH and OW, rounded up or down
    argmax_out  int32, as y_out: position i*OW + j in z of the maximum of each pooling window (the
             first of equal ones), for backward.  With 0 images it is not written
    An image's result is the same, bit for bit, whatever other images are in the batch.
    """
    N, H, W, C = x.shape
    F = y_out.shape[3]
    PT, PL = window.PT, window.PL
    OW = n_positions(W, PL, window.PR, TAPS, 1)
    rows, columns = n_positions(H, PT, window.PB, TAPS, 1), OW
    shrink = 2 if pool else 1
    if pool:  # the row or column that a "valid" pooling leaves out is not computed
        rows, columns = min(rows, 2 * y_out.shape[1]), min(columns, 2 * y_out.shape[2])
    lanes, t = BYTES // x.itemsize, m + 2
    lay = layout(m, C, F, lanes)
    n_vectors, U_size = lay.F // lanes, C * lay.F + GAP
    V_at, M_at, z_at = lay.V_at, lay.M_at, lay.output_at
    clear(lay.F, scratch, lay.bias_at)
    copy(b.size, b, 0, scratch, lay.bias_at)
    clear(lay.row, scratch, lay.zeros_at)
    xf, yf, af = flat_view(x), flat_view(y_out), flat_view(argmax_out)
    keep = int(argmax_out.size > 0)
    y_row, y_image = y_out.shape[2] * F, y_out.shape[1] * y_out.shape[2] * F
    grid = make_grid(m, t, window.PT, window.PL, rows, columns, lay.n_tiles)
    total = N * grid.n_h * grid.n_segments
    for begin in range(0, total, grid.n_at_once):
        end = min(begin + grid.n_at_once, total)
        n_tiles = transform_segments(xf, x.shape, grid, begin, end, scratch, lay, V_at, lay.V_size)
        products_of_matrices(  # (5)
            t * t, n_tiles, n_vectors, half_of(F, lanes), C,
            scratch, V_at, lay.C, lay.V_size, U, 0, U_size, scratch, M_at, lay.M_size,
        )  # fmt: skip
        m_at = M_at
        for s in range(begin, end):  # (6) and (2)
            n, i, j_begin, count = segment_of(s, grid)
            i *= m
            height = min(rows - i, m)
            for k in range(count):
                j = (j_begin + k) * m
                width = min(columns - j, m)
                y_at = n * y_image + i // shrink * y_row + j // shrink * F
                first = i * OW + j
                is_whole = height == m and width == m and F == lay.F
                if is_whole and pool:
                    if m == 4:
                        _pooled_4(
                            n_vectors, scratch, m_at, lay.M_size, scratch, lay.bias_at, relu,
                            yf, y_at, y_row, F, keep, af, first, OW,
                        )  # fmt: skip
                    else:
                        _pooled_2(
                            n_vectors, scratch, m_at, lay.M_size, scratch, lay.bias_at, relu,
                            yf, y_at, y_row, F, keep, af, first, OW,
                        )  # fmt: skip
                else:
                    target, at, row, column = yf, y_at, y_row, F
                    if not is_whole:
                        target, at, row, column = scratch, z_at, m * lay.F, lay.F
                    relu_here = 0 if pool else relu  # of pooled outputs after the pooling
                    if m == 4:
                        _output_4(
                            n_vectors, scratch, m_at, lay.M_size, scratch, lay.bias_at, relu_here,
                            target, at, row, column,
                        )  # fmt: skip
                    else:
                        _output_2(
                            n_vectors, scratch, m_at, lay.M_size, scratch, lay.bias_at, relu_here,
                            target, at, row, column,
                        )  # fmt: skip
                    if not is_whole:
                        place = Place(height, width, y_at, y_row, first, OW)
                        if pool:
                            _pool_part(scratch[z_at:], m, F, lay.F, place, relu, yf, af)
                        else:
                            _store_part(scratch[z_at:], m, F, lay.F, place, yf)
                m_at += lay.F
