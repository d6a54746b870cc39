"""Convolutions with 3x3 taps and stride 1 by Winograd's algorithm: forward and both gradients.

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

The gradient of x is (1) with dy for x, and for w its taps in reverse order with channels and
filters exchanged (equation (4) of conv2d.py): the same code with another U.

The gradient of w.  For one tile, one channel and one filter, with dz = dL/dz (m x m):

    dL/dM = A dz A^T                               from (6), which is linear in M               (7)
    dL/dU[p] = sum over tiles of V[p] dL/dM[p]     from (5)                                     (8)
    dL/dw = G^T dL/dU G                            from (3), which is linear in w               (9)

Points.  0, +-3/4, +-3/2 for m = 4: they keep the numbers in the transforms near 1, and the errors
of y near 1e-6 of its largest value; with the usual 0, +-1, +-2 they are several times larger
(compare Barabasz et al. 2020, arXiv 1803.10986).  0, +-1 for m = 2.

Which convolutions are computed this way, and with which m: `conv2d_cost_model.py`.

Which convolutions are computed this way, and with which m: `conv2d_cost_model.py`.

The tiles of all images of a chunk are numbered, and done in blocks whose V and M fit in the cache.
V and M have whole vectors of channels for each tile; what is behind the last channel is not used.
Lavin and Gray 2015, arXiv 1509.09308.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..plan import Window
from ._jit import helper, inline_helper, kernel
from ._tile import multiply_add
from ._winograd import BYTES, clear, copy
from ._winograd_tiles import (
    PRODUCT_ROWS,
    make_gradient_tile,
    make_input_tile,
    make_output_tile,
    make_pooled_output_tile,
    make_weights_gradient,
    products_of_matrices,
)
from ._winograd_transforms import Transform
from .conv2d_cost_model import TAPS
from .windows import n_positions

F2 = Transform(2, TAPS, points=(0, 1, -1))
F4 = Transform(4, TAPS, points=(0, *(Fraction(k, 4) for k in (3, -3, 6, -6))))
G2, G4 = (np.array([[float(g) for g in row] for row in f.g_rows]) for f in (F2, F4))

_input_2, _gradient_2 = make_input_tile(F2), make_gradient_tile(F2)
_input_4, _gradient_4 = make_input_tile(F4), make_gradient_tile(F4)
_weights_gradient_2, _weights_gradient_4 = make_weights_gradient(F2), make_weights_gradient(F4)
_output_2, _pooled_2 = make_output_tile(F2), make_pooled_output_tile(F2)
_output_4, _pooled_4 = make_output_tile(F4), make_pooled_output_tile(F4)

GAP = 16  # elements between matrices, so that their rows do not map to the same sets of the cache
BLOCK_ELEMENTS = 1 << 16
"""Elements of V and M of a block of tiles: a fourth of a MB in float32."""


# ---- what the passes need -----------------------------------------------------------------------


class Layout(NamedTuple):
    """Sizes and offsets in the scratch of the passes."""

    n_tiles: int  # in a block
    C: int  # channels of V, whole vectors
    F: int  # filters of M, whole vectors
    V_size: int  # size of the matrix of one point in V
    M_size: int
    patch_at: int  # a t x t tile of x with its padding, or m x m of dy
    V_at: int
    M_at: int
    output_at: int  # one tile of outputs
    bias_at: int
    sums_at: int  # the gradient of U
    sums_size: int  # size of the matrix of one point in it
    end: int


def _layout(m, C, F, lanes):
    points = (m + 2) ** 2
    whole_C, whole_F = -(-C // lanes) * lanes, -(-F // lanes) * lanes
    n_tiles = BLOCK_ELEMENTS // (points * (whole_C + whole_F)) // PRODUCT_ROWS * PRODUCT_ROWS
    n_tiles = max(n_tiles, PRODUCT_ROWS)
    V_size, M_size = n_tiles * whole_C + GAP, n_tiles * whole_F + GAP
    V_at = points * max(C, F) + lanes
    M_at = V_at + points * V_size
    output_at = M_at + points * M_size
    bias_at = output_at + m * m * whole_F
    sums_at = bias_at + whole_F
    sums_size = C * whole_F + GAP
    end = sums_at + points * sums_size
    return Layout(
        n_tiles, whole_C, whole_F, V_size, M_size, 0, V_at, M_at, output_at, bias_at, sums_at,
        sums_size, end,
    )  # fmt: skip


_layout_compiled = inline_helper(_layout)


def scratch_size(m: int, C: int, F: int, itemsize: int = 4) -> int:
    """Elements of scratch that the passes need: `backward_input` exchanges C and F."""
    lanes = BYTES // itemsize
    return max(_layout(m, C, F, lanes).end, _layout(m, F, C, lanes).end)


def weights_size(m: int, C: int, F: int, itemsize: int = 4) -> int:
    """Elements of U: a matrix (C, F) for each point, F in whole vectors, and scratch."""
    lanes, t = BYTES // itemsize, m + 2
    whole_F = -(-F // lanes) * lanes
    return t * t * (C * whole_F + GAP) + (9 + 3 * t) * whole_F


# ---- the weights -------------------------------------------------------------------------------


@helper
def conv2d_winograd_3x3_weights(
    w, m, reverse, U_out
):  # pragma: no cover: its result is read by intrinsics, which only run compiled
    """Equation (3): w (3, 3, C, F) -> U_out, flat: for each point (a, b) a matrix (C, whole_F).

    reverse  1: the taps in reverse order, and channels and filters exchanged, for the gradient of x
    """
    t, G = m + 2, G4 if m == 4 else G2
    C, F = w.shape[2], w.shape[3]
    if reverse:
        C, F = F, C
    lanes = BYTES // w.itemsize
    row = -(-F // lanes) * lanes
    size = C * row + GAP
    taps = U_out[t * t * size : t * t * size + 9 * row].reshape((3, 3, row))
    half = U_out[t * t * size + 9 * row : t * t * size + (9 + 3 * t) * row].reshape((t, 3, row))
    taps[:] = 0
    for c in range(C):
        for k in range(3):
            for e in range(3):
                if reverse:
                    for f in range(F):
                        taps[k, e, f] = w[2 - k, 2 - e, f, c]
                else:
                    for f in range(F):
                        taps[k, e, f] = w[k, e, c, f]
        for a in range(t):
            g0, g1, g2 = w.dtype.type(G[a, 0]), w.dtype.type(G[a, 1]), w.dtype.type(G[a, 2])
            for e in range(3):
                for f in range(row):
                    half[a, e, f] = g0 * taps[0, e, f] + g1 * taps[1, e, f] + g2 * taps[2, e, f]
        for a in range(t):
            for b in range(t):
                g0, g1, g2 = w.dtype.type(G[b, 0]), w.dtype.type(G[b, 1]), w.dtype.type(G[b, 2])
                at = (a * t + b) * size + c * row
                u = U_out[at : at + row]
                for f in range(row):
                    u[f] = g0 * half[a, 0, f] + g1 * half[a, 1, f] + g2 * half[a, 2, f]


# ---- tiles -------------------------------------------------------------------------------------


@helper  # pragma: no cover: intrinsics only run compiled
def _load_patch(x, n, H, W, C, top, left, side, scratch, patch_at):
    """Copy a side x side tile of image n, with zeros outside the image."""
    first, last = max(-left, 0), max(min(W - left, side), 0)
    for k in range(side):
        at = patch_at + k * side * C
        if top + k < 0 or top + k >= H or first >= last:
            clear(side * C, scratch, at)
        else:
            clear(first * C, scratch, at)
            copy(
                (last - first) * C, x, ((n * H + top + k) * W + left + first) * C,
                scratch, at + first * C,
            )  # fmt: skip
            clear((side - last) * C, scratch, at + last * C)


class Grid(NamedTuple):
    """Where the tiles lie in a picture: tile (i, j) has the side x side values from
    (i*m - PT, j*m - PL) on."""

    m: int
    side: int  # t for inputs, m for gradients of outputs
    PT: int
    PL: int
    n_h: int  # tiles in a column
    n_w: int  # tiles in a row


@helper  # pragma: no cover: intrinsics only run compiled
def _transform_tiles(x, shape, grid, begin, end, scratch, patch_at, V_at, columns, V_size):
    """The tiles begin ... end - 1 transformed: equation (4), or (7) where they are m x m.

    x        flat, pictures of the shape (N, H, W, C)
    columns  of V, whole vectors
    """
    _, H, W, C = shape
    m, side, n_h, n_w = grid.m, grid.side, grid.n_h, grid.n_w
    n_vectors = columns // (BYTES // x.itemsize)
    for k in range(begin, end):
        n, i, j = k // (n_h * n_w), k // n_w % n_h, k % n_w
        top, left = i * m - grid.PT, j * m - grid.PL
        to = V_at + (k - begin) * columns
        is_inside = top >= 0 and left >= 0 and top + side <= H and left + side <= W
        if is_inside and C == columns:
            source, at, row = x, ((n * H + top) * W + left) * C, W * C
        else:
            _load_patch(x, n, H, W, C, top, left, side, scratch, patch_at)
            source, at, row = scratch, patch_at, side * C
        if side == m:
            if m == 4:
                _gradient_4(n_vectors, source, at, row, C, scratch, to, V_size)
            else:
                _gradient_2(n_vectors, source, at, row, C, scratch, to, V_size)
        elif m == 4:
            _input_4(n_vectors, source, at, row, C, scratch, to, V_size)
        else:
            _input_2(n_vectors, source, at, row, C, scratch, to, V_size)


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
    """The same with max-pooling, and then ReLU if `relu`.  An empty argmax is not written."""
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


@kernel
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
    lay = _layout_compiled(m, C, F, lanes)
    n_vectors, U_size = lay.F // lanes, C * lay.F + GAP
    V_at, M_at, z_at = lay.V_at, lay.M_at, lay.output_at
    clear(lay.F, scratch, lay.bias_at)
    copy(b.size, b, 0, scratch, lay.bias_at)
    xf, yf, af = x.reshape(-1), y_out.reshape(-1), argmax_out.reshape(-1)
    keep = int(argmax_out.size > 0)
    y_row, y_image = y_out.shape[2] * F, y_out.shape[1] * y_out.shape[2] * F
    grid = Grid(m, t, PT, PL, -(-rows // m), -(-columns // m))
    n_h, n_w = grid.n_h, grid.n_w
    total = N * n_h * n_w
    for begin in range(0, total, lay.n_tiles):
        end = min(begin + lay.n_tiles, total)
        _transform_tiles(
            xf, x.shape, grid, begin, end, scratch, lay.patch_at, V_at, lay.C, lay.V_size
        )
        products_of_matrices(  # (5)
            t * t, end - begin, n_vectors, C,
            scratch, V_at, lay.C, lay.V_size, U, 0, U_size, scratch, M_at, lay.M_size,
        )  # fmt: skip
        for k in range(begin, end):  # (6) and (2)
            n, i, j = k // (n_h * n_w), k // n_w % n_h * m, k % n_w * m
            height, width = min(rows - i, m), min(columns - j, m)
            m_at = M_at + (k - begin) * lay.F
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
                continue
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


# ---- backward ----------------------------------------------------------------------------------


@kernel
def conv2d_winograd_3x3_backward_params(
    x, dy, window, m, scratch, dw_out, db_out
):  # pragma: no cover: intrinsics only run compiled
    """Given x as in forward and dy = dL/dy (N, OH, OW, F) of a convolution without pooling; wanted
    dw = dL/dw (3, 3, C, F) and db = dL/db (F,), overwritten: equations (4) and (7)-(9).

        dL/db[f] = sum over n,i,j of dy[n,i,j,f]                                    from (2)
    """
    C, F = dw_out.shape[2], dw_out.shape[3]
    N, OH, OW, _ = dy.shape
    lanes, t = BYTES // x.itemsize, m + 2
    lay = _layout_compiled(m, C, F, lanes)
    V_at, Q_at = lay.V_at, lay.M_at
    xf, dyf = x.reshape(-1), dy.reshape(-1)
    db_out[:] = 0
    for k in range(N * OH * OW):
        for f in range(F):
            db_out[f] += dyf[k * F + f]
    n_h, n_w = -(-OH // m), -(-OW // m)
    inputs = Grid(m, t, window.PT, window.PL, n_h, n_w)
    outputs = Grid(m, m, 0, 0, n_h, n_w)
    total = N * n_h * n_w
    sums = scratch[lay.sums_at : lay.end]
    sums[:] = 0
    for begin in range(0, total, lay.n_tiles):
        end = min(begin + lay.n_tiles, total)
        _transform_tiles(
            xf, x.shape, inputs, begin, end, scratch, lay.patch_at, V_at, lay.C, lay.V_size
        )
        _transform_tiles(
            dyf, dy.shape, outputs, begin, end, scratch, lay.patch_at, Q_at, lay.F, lay.M_size
        )
        for p in range(t * t):  # (8)
            multiply_add(
                M=C, N=lay.F, K0=1, K1=end - begin,
                a=scratch, a_off=V_at + p * lay.V_size, am=1, a0=0, a1=lay.C,
                b=scratch, b_off=Q_at + p * lay.M_size, b0=0, b1=lay.F,
                c=sums, c_off=p * lay.sums_size, cm=lay.F,
            )  # fmt: skip
    dwf = dw_out.reshape(-1)
    for c in range(C):  # (9)
        target, at, tap = dwf, c * F, C * F
        if F < lay.F:
            target, at, tap = scratch, V_at, lay.F
        if m == 4:
            _weights_gradient_4(lay.F // lanes, sums, c * lay.F, lay.sums_size, target, at, tap)
        else:
            _weights_gradient_2(lay.F // lanes, sums, c * lay.F, lay.sums_size, target, at, tap)
        if F < lay.F:
            for k in range(TAPS * TAPS):
                copy(F, scratch, V_at + k * lay.F, dwf, (k * C + c) * F)


@kernel
def conv2d_winograd_3x3_backward_input(
    dy, w_t, U, window, m, scratch, dx_out
):  # pragma: no cover: intrinsics only run compiled
    """Given dy = dL/dy (N, OH, OW, F) and U from `conv2d_winograd_3x3_weights` with `reverse`;
    wanted dx = dL/dx (N, H, W, C), overwritten.  w_t (F, 3, 3, C) is not used: it is in U.

    With a' = 2 - a and e' = 2 - e, equation (4) of conv2d.py for stride 1 is

        dL/dx[n,h,v,c] = sum over a',e',f of dy[n, h-(2-PT)+a', v-(2-PL)+e', f] w[2-a',2-e',c,f]

    which is (1) with padding 2 - PT and 2 - PL.
    """
    PT, PL = 2 - window.PT, 2 - window.PL
    PB = dx_out.shape[1] + 2 - dy.shape[1] - PT
    PR = dx_out.shape[2] + 2 - dy.shape[2] - PL
    reverse = Window(3, 3, 1, 1, PT, PL, PB, PR)
    nothing = dx_out.reshape(-1)[:0]
    no_positions = nothing.view(np.int32).reshape((0, 0, 0, 0))
    conv2d_winograd_3x3_forward(
        dy, w_t, U, nothing, reverse, m, 0, 0, scratch, dx_out, no_positions
    )
