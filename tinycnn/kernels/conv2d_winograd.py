"""Forward pass of a stride-2 convolution by Winograd's algorithm, which needs fewer products.

    z[i,j,f] = sum over a < KH, e < KW, c < C of x[2i-PT+a, 2j-PL+e, c] w[a,e,c,f]              (1)
    y[i,j,f] = relu(b[f] + max over the pooling's window of z)                                  (2)

Phases.  Winograd's algorithm needs stride 1.  Write a = 2k + p and e = 2l + q with p, q < 2: then
(1) is the sum of four stride-1 convolutions, of phase (p, q) of the padded x with phase (p, q) of
w, a filter of r x r taps, r = KH/2:

    z[i,j,f] = sum over p,q,c of sum over k,l < r of x_pq[i+k, j+l, c] w_pq[k,l,c,f]            (3)
    x_pq[i,j,c] = x[2i+p-PT, 2j+q-PL, c],   w_pq[k,l,c,f] = w[2k+p, 2l+q, c, f]

Tiles.  (3) is a convolution with 4C channels.  A tile is m x m outputs.  With F(m, r) of
`_winograd_transforms.py` along both axes it takes t x t products for each channel and filter,
t = m + r - 1, and the channels are summed before the last transform:

    U = G w_pq G^T      for every filter, phase and channel, once for all images                (4)
    V = B^T d B         for the t x t inputs d of every tile, phase and channel                 (5)
    M[b,a] = sum over p,q,c of V[b,a] U[b,a],   z = A^T M A                                     (6)

With m = 3 there are 36 products instead of 144 for 8x8 taps, and 16 instead of 36 for 4x4 taps, for
each tile, phase, channel and filter.

Two implementations.  "Shallow", for one channel and 8x8 taps: a vector holds V of neighbouring
tiles of a row, and the sums (6) of a tile stay in registers until z is computed.  "Deep", for 4x4
taps and channels that fill whole vectors: a vector holds V of neighbouring channels, and (6) is,
for each of the t x t points, a product of matrices (tiles x 4C) (4C x F).

Rounding.  V and U are sums and differences of several values, so the errors in float32 are a few
times those of (1), below 1e-5 of the largest output.  A NaN or an infinity reaches all outputs of
its tiles, and a maximum in (2) may ignore a NaN or keep it; other images are not affected.
"""

from typing import NamedTuple

from ._jit import WINOGRAD, helper, inline_helper, inline_kernel
from ._views import flat_view
from ._winograd import (
    BYTES,
    FILTERS,
    ROWS,
    TILES,
    clear,
    copy,
    finish,
    make_deinterleave,
    make_input_transform,
    make_input_transform_of_planes,
    make_output_transform,
    make_products,
    make_weights_transform,
    matrix_product,
)
from ._winograd_transforms import Shorter, Transform
from .windows import n_positions

M_OUT = 3  # m of both transforms: a tile is 3 x 3 outputs
SHALLOW = Transform(M_OUT, 4, points=(0, 1, -1, 2, -2))
DEEP = Transform(M_OUT, 2, points=(0, 1, -1))
_SHORT = Shorter(DEEP)
T_SHALLOW, R_SHALLOW, T_DEEP, R_DEEP = SHALLOW.t, SHALLOW.r, DEEP.t, DEEP.r
LAST = T_DEEP - 2  # the last finite point of DEEP, which _SHORT does not have
GAP = 16  # elements between matrices, so that their rows do not map to the same sets of the cache
LINES = 2 * M_OUT  # how many rows of x one row of tiles begins below the row of tiles above it

_shallow_weights, _deep_weights = make_weights_transform(SHALLOW), make_weights_transform(DEEP)
_deinterleave = make_deinterleave(LINES)
_shallow_columns = make_input_transform(SHALLOW, SHALLOW)
_shallow_rows = make_input_transform_of_planes(SHALLOW)
_products = make_products(SHALLOW)
_deep_input, _deep_input_short = (
    make_input_transform(transform, DEEP) for transform in (DEEP, _SHORT)
)
_deep_output, _deep_output_bottom, _deep_output_right, _deep_output_corner = (
    make_output_transform(along_columns, along_rows, DEEP)
    for along_rows in (DEEP, _SHORT)
    for along_columns in (DEEP, _SHORT)
)


# ---- which convolutions, and what they need ----------------------------------------------------


def winograd_fits(op, dtype) -> bool:
    """Whether `conv2d_winograd_forward` can compute this convolution, and faster than directly.

    Only in float32: float64 is for checks, where all passes should use the direct sums.
    """
    lanes = BYTES // 4
    if not WINOGRAD or dtype != "float32" or (op.SH, op.SW) != (2, 2) or op.KH != op.KW:
        return False
    if max(op.PT, op.PL, op.PB, op.PR) >= op.KH:
        return False
    if op.pool and (op.pool_KH, op.pool_KW, op.pool_SH, op.pool_SW) != (2, 2, 2, 2):
        return False
    if op.pool and (op.pool_PT, op.pool_PL) != (0, 0):
        return False
    if op.F % (lanes * (FILTERS if op.C == 1 else 2)):
        return False
    if op.C == 1:
        return op.KH == 2 * SHALLOW.r and min(op.conv_OH, op.conv_OW) >= 4 * M_OUT
    return op.C % lanes == 0 and op.KH == 2 * DEEP.r and min(op.conv_OH, op.conv_OW) >= 2 * M_OUT


def winograd_sizes(op, itemsize: int = 4) -> tuple[int, int]:
    """Elements of U and of scratch that a convolution needs, for numbers of `itemsize` bytes."""
    lanes = BYTES // itemsize
    if op.C == 1:
        return T_SHALLOW**2 * 4 * op.F, _shallow_layout(op.F, op.conv_OW, lanes).end
    size = T_DEEP**2 * (4 * op.C * op.F + GAP)
    return size, _deep_layout(op.W, op.C, op.F, op.conv_OH, op.conv_OW).end


class ShallowLayout(NamedTuple):
    """Sizes and offsets in the scratch of `_shallow`, which begins with LINES padded rows of x."""

    n_w: int  # tiles in a row
    columns: int  # columns of a plane
    row: int  # size of a row of x, split into LINES planes
    y_row: int  # size of a row of z
    planes_at: int  # the rows of x of two rows of tiles, split into planes
    lines_at: int  # these after (5) along the columns
    V_at: int  # V of as many tiles as a vector has lanes
    outputs_at: int  # z of two rows of tiles
    end: int


class DeepLayout(NamedTuple):
    """Sizes and offsets in the scratch of `_deep`, which begins with 2t padded rows of x."""

    n_h: int  # tiles in a column
    n_w: int  # tiles in a row
    columns: int  # columns of a line
    V_size: int  # size of one of the t x t matrices of V
    M_size: int  # size of one of the t x t matrices of M
    y_row: int  # size of a row of z
    lines_at: int  # the rows of x of one row of tiles, after (5) along the columns
    V_at: int
    M_at: int
    outputs_at: int  # z of an image
    end: int


def _shallow_layout(F, OW, lanes):
    n_w = -(-OW // M_OUT)
    n_w += n_w % TILES
    columns = -(-(n_w + (2 * T_SHALLOW - 1) // LINES) // lanes) * lanes
    row = LINES * columns
    y_row = n_w * M_OUT * F
    planes_at = LINES * row
    lines_at = planes_at + 2 * LINES * row
    V_at = lines_at + 2 * T_SHALLOW * row + 2 * lanes
    outputs_at = V_at + 4 * T_SHALLOW**2 * lanes
    end = outputs_at + LINES * y_row
    return ShallowLayout(n_w, columns, row, y_row, planes_at, lines_at, V_at, outputs_at, end)


def _deep_layout(W, C, F, OH, OW):
    n_h, n_w = -(-OH // M_OUT), -(-OW // M_OUT)
    columns = 2 * (n_w * M_OUT + R_DEEP - 1)
    n_rows = -(-n_h * n_w // ROWS) * ROWS
    V_size, M_size = n_rows * 4 * C + GAP, n_rows * F + GAP
    y_row = n_w * M_OUT * F
    lines_at = 2 * T_DEEP * W * C
    V_at = lines_at + 2 * T_DEEP * columns * C
    M_at = V_at + T_DEEP**2 * V_size
    outputs_at = M_at + T_DEEP**2 * M_size
    end = outputs_at + n_h * M_OUT * y_row
    return DeepLayout(
        n_h, n_w, columns, V_size, M_size, y_row, lines_at, V_at, M_at, outputs_at, end
    )


_shallow_layout_compiled = inline_helper(_shallow_layout)
_deep_layout_compiled = inline_helper(_deep_layout)


# ---- the weights -------------------------------------------------------------------------------


@inline_helper
def conv2d_winograd_weights(w, U_out):  # pragma: no cover: intrinsics only run compiled
    """Equation (4): w (KH, KW, C, F) -> U_out, flat, as `conv2d_winograd_forward` reads it.

    One channel:    U[F / block, b, (p, q), a, block], block = FILTERS * lanes.
    More channels:  U[b, a, (p, q, c), f], with GAP elements after each matrix U[b, a].
    """
    KH, KW, C, F = w.shape
    lanes, wf = BYTES // w.itemsize, flat_view(w)
    block = FILTERS * lanes
    size = 4 * C * F + GAP
    for phase in range(4):
        for c in range(C):
            for f in range(0, F, lanes):
                w_at = ((phase // 2 * KW + phase % 2) * C + c) * F + f
                row, column = 2 * KW * C * F, 2 * C * F
                if C == 1:
                    first = f // block * block
                    u_at = (first * 4 * T_SHALLOW + phase * block) * T_SHALLOW + f - first
                    u_b = 4 * T_SHALLOW * block
                    _shallow_weights(wf, w_at, row, column, U_out, u_at, u_b, block)
                else:
                    u_at = (phase * C + c) * F + f
                    _deep_weights(wf, w_at, row, column, U_out, u_at, T_DEEP * size, size)


# ---- forward -----------------------------------------------------------------------------------


@helper  # pragma: no cover: intrinsics only run compiled
def _finish_rows(z, row, n_rows, first_row, OW, pool, b, relu, y, argmax, y_at, W):
    """Equation (2) for n_rows rows of z, from row `first_row` of the convolution's output on.

    If the number of rows (columns) is odd, the windows at the bottom (right) have one row (column).
    Positions in argmax count W for a row.  An empty argmax is not written.
    """
    F, window = b.size, 2 if pool else 1
    whole, PW = OW // window, -(-OW // window)
    keep = int(argmax.size > 0)
    for p in range(-(-n_rows // window)):
        height = min(n_rows - p * window, window)
        first = (first_row + p * window) * W
        for f in range(0, F, BYTES // y.itemsize):
            z_at, at = p * window * row + f, y_at + (first_row // window + p) * PW * F + f
            finish(
                whole, height, window, z, z_at, row, F, window * F,
                b, f, relu, y, at, F, keep, argmax, first, W,
            )  # fmt: skip
            if whole < PW:
                last = whole * window
                finish(
                    1, height, 1, z, z_at + last * F, row, F, 0,
                    b, f, relu, y, at + whole * F, F, keep, argmax, first + last, W,
                )  # fmt: skip


@helper  # pragma: no cover: intrinsics only run compiled
def _load_lines(block, n, H, W, PT, PL, columns, xf, scratch, planes_at):
    """Copy rows block*LINES ... (block + 1)*LINES - 1 of the padded image n, split into planes."""
    row, lanes = LINES * columns, BYTES // xf.itemsize
    first = block * LINES - PT
    start, end = min(max(0, -first), LINES), max(min(LINES, H - first), 0)
    if start > 0:
        clear(start * row, scratch, planes_at)
    if end < LINES:
        clear((LINES - end) * row, scratch, planes_at + end * row)
    for k in range(start, end):
        copy(min(W, row - PL), xf, (n * H + first + k) * W, scratch, k * row + PL)
    for j in range(0, columns, lanes):
        _deinterleave(
            end - start, scratch, start * row + j * LINES, row,
            scratch, planes_at + start * row + j, row, columns,
        )  # fmt: skip


@helper  # pragma: no cover: intrinsics only run compiled
def _shallow(x, U, b, window, rows, columns, pool, relu, scratch, y_out, argmax_out):
    """C = 1: one row of tiles at a time; a vector of V holds neighbouring tiles of the row.

    rows, columns  how many of z are computed
    Two rows of tiles give an even number of rows of z, so (2) is done after every second one.
    """
    N, H, W, _ = x.shape
    F = y_out.shape[3]
    xf, yf, af = flat_view(x), flat_view(y_out), flat_view(argmax_out)
    lanes, t = BYTES // x.itemsize, T_SHALLOW
    PT, PL = window.PT, window.PL
    OW = n_positions(W, PL, window.PR, 2 * R_SHALLOW, 2)
    layout = _shallow_layout_compiled(F, columns, lanes)
    n_w, row, y_row, V_at = layout.n_w, layout.row, layout.y_row, layout.V_at
    plane, planes_at, lines_at = layout.columns, layout.planes_at, layout.lines_at
    n_h = -(-rows // M_OUT)
    z = scratch[layout.outputs_at :]
    clear(LINES * row, scratch, 0)
    for n in range(N):
        y_at = n * y_out.shape[1] * y_out.shape[2] * F
        _load_lines(0, n, H, W, PT, PL, plane, xf, scratch, planes_at)
        for i in range(n_h):
            upper = planes_at + i % 2 * LINES * row
            lower = planes_at + (i + 1) % 2 * LINES * row
            _load_lines(i + 1, n, H, W, PT, PL, plane, xf, scratch, lower)
            for p in range(2):  # (5) down the columns, of rows 2k + p
                line = lines_at + p * t * row
                _shallow_columns(
                    row // lanes, scratch, upper + p * row, lower + p * row, 2 * row, lanes,
                    scratch, line, row, line + (t - 2) * row, lanes,
                )  # fmt: skip
            z_first = i % 2 * M_OUT * y_row
            for j in range(0, n_w, lanes):
                for p in range(2):  # (5) along the rows
                    for a in range(t):
                        _shallow_rows(
                            scratch, lines_at + (p * t + a) * row + j, plane,
                            scratch, V_at + (p * 2 * t + a) * lanes, t * lanes, 4 * t * lanes,
                        )  # fmt: skip
                for f in range(0, F, FILTERS * lanes):  # (6)
                    for tile in range(0, min(lanes, n_w - j), TILES):
                        z_at = z_first + (j + tile) * M_OUT * F + f
                        _products(scratch, V_at + tile, U, f * t * 4 * t, z, z_at, y_row, F)
            if i % 2 == 1 or i == n_h - 1:  # (2)
                first = i // 2 * 2 * M_OUT
                n_rows = min(2 * M_OUT, rows - first)
                _finish_rows(z, y_row, n_rows, first, columns, pool, b, relu, yf, af, y_at, OW)


@helper  # pragma: no cover: intrinsics only run compiled
def _deep(x, U, b, window, rows, columns, pool, relu, scratch, y_out, argmax_out):
    """C a multiple of the lanes: V of a whole image, then t x t products of matrices.

    rows, columns  how many of z are computed
    If they are not multiples of M_OUT, the last row (column) of tiles uses `Shorter`, which has no
    products at the last finite point.  So tile (i, j) is row i*n + j of the matrix of point (b, a),
    where n = n_w - 1 if b is the last finite point and the last column is short, else n = n_w.
    """
    N, H, W, C = x.shape
    F, t = y_out.shape[3], T_DEEP
    xf, yf, af = flat_view(x), flat_view(y_out), flat_view(argmax_out)
    lanes = BYTES // x.itemsize
    PT, PL = window.PT, window.PL
    OW = n_positions(W, PL, window.PR, 2 * R_DEEP, 2)
    layout = _deep_layout_compiled(W, C, F, rows, columns)
    n_h, n_w, V_at, y_row = layout.n_h, layout.n_w, layout.V_at, layout.y_row
    line_columns, lines_at = layout.columns, layout.lines_at
    V_size, M_size, U_size = layout.V_size, layout.M_size, 4 * C * F + GAP
    short_bottom, short_right = int(n_h * M_OUT > rows), int(n_w * M_OUT > columns)
    n_columns = min(W, line_columns - PL)
    line_size = line_columns * C
    M, z = scratch[layout.M_at :], scratch[layout.outputs_at :]
    for k in range(2 * t):  # the padding of the lines, which no image overwrites
        line = lines_at + k * line_size
        clear(PL * C, scratch, line)
        clear((line_columns - PL - n_columns) * C, scratch, line + (PL + n_columns) * C)
    for n in range(N):
        for i in range(n_h):
            first = LINES * i - PT
            if first >= 0 and first + 2 * t <= H:
                source, source_at = xf, (n * H + first) * W * C
            else:
                source, source_at = scratch, 0
                for k in range(2 * t):
                    if 0 <= first + k < H:
                        copy(W * C, xf, (n * H + first + k) * W * C, scratch, k * W * C)
                    else:
                        clear(W * C, scratch, k * W * C)
            for p in range(2):  # (5) down the columns, of rows 2k + p
                from_at = source_at + p * W * C
                to_at = lines_at + (p * t * line_columns + PL) * C
                if short_bottom == 1 and i == n_h - 1:
                    _deep_input_short(
                        n_columns * C // lanes, source, from_at, from_at + LINES * W * C,
                        2 * W * C, lanes, scratch, to_at, line_size, to_at, lanes,
                    )  # fmt: skip
                else:
                    _deep_input(
                        n_columns * C // lanes, source, from_at, from_at + LINES * W * C,
                        2 * W * C, lanes, scratch, to_at, line_size,
                        to_at + LAST * line_size, lanes,
                    )  # fmt: skip
            # (5) along the rows.  A short tile has no value for the last finite point, so the
            # matrices of that point have no row for it.
            for j in range(n_w):
                for phase in range(4):
                    line = lines_at + (phase // 2 * t * line_columns + phase % 2 + j * LINES) * C
                    for c in range(0, C, lanes):
                        from_at, to_at = line + c, V_at + phase * C + c
                        last_at = to_at + LAST * t * V_size
                        last_at += (i * (n_w - short_right) + j) * 4 * C
                        to_at += (i * n_w + j) * 4 * C
                        if short_right == 1 and j == n_w - 1:
                            _deep_input_short(
                                t, scratch, from_at, from_at + LINES * C, 2 * C, line_size,
                                scratch, to_at, t * V_size, to_at, V_size,
                            )  # fmt: skip
                        else:
                            _deep_input(
                                t, scratch, from_at, from_at + LINES * C, 2 * C, line_size,
                                scratch, to_at, t * V_size, last_at, V_size,
                            )  # fmt: skip
        for k in range(t * t):  # (6)
            tile_rows = n_h - (short_bottom if k % t == LAST else 0)
            tile_columns = n_w - (short_right if k // t == LAST else 0)
            matrix_product(
                -(-tile_rows * tile_columns // ROWS), F // (2 * lanes), 4 * C,
                scratch, V_at + k * V_size, U, k * U_size, M, k * M_size,
            )  # fmt: skip
        for i in range(n_h):
            for j in range(n_w):
                for f in range(0, F, lanes):
                    at, last = (i * n_w + j) * F + f, (i * (n_w - short_right) + j) * F + f
                    z_at = i * M_OUT * y_row + j * M_OUT * F + f
                    at_bottom = short_bottom == 1 and i == n_h - 1
                    at_right = short_right == 1 and j == n_w - 1
                    if at_bottom and at_right:
                        _deep_output_corner(M, at, at, t * M_size, M_size, z, z_at, y_row, F)
                    elif at_bottom:
                        _deep_output_bottom(M, at, last, t * M_size, M_size, z, z_at, y_row, F)
                    elif at_right:
                        _deep_output_right(M, at, at, t * M_size, M_size, z, z_at, y_row, F)
                    else:
                        _deep_output(M, at, last, t * M_size, M_size, z, z_at, y_row, F)
        y_at = n * y_out.shape[1] * y_out.shape[2] * F
        _finish_rows(z, y_row, rows, 0, columns, pool, b, relu, yf, af, y_at, OW)


@inline_kernel
def conv2d_winograd_forward(
    x, w, U, b, window, pool, relu, scratch, y_out, argmax_out
):  # pragma: no cover: intrinsics only run compiled
    """Equations (1) and (2) by (4)-(6).

    x        (N, H, W, C), C = 1 or a multiple of the lanes; see `winograd_fits`
    w        (KH, KW, C, F), 8 x 8 taps for one channel, 4 x 4 for more.  Only its shape is used:
             the values are read from U
    U        flat, from `conv2d_winograd_weights`
    b        (F,)
    window   `plan.Window` of the convolution, with a stride of 2 and less padding than taps
    pool     1: max-pool z over windows of 2 x 2, smaller ones at an odd border; 0: no pooling
    relu     1: apply ReLU; 0: do not
    scratch  flat, see `winograd_sizes`
    y_out    (N, OH, OW, F), with pooling half of OH and OW, rounded up or down
    argmax_out  int32, as y_out: position i*OW + j in z of the maximum of each pooling window (the
             first of equal ones), for backward.  With 0 images it is not written
    An image's result is the same, bit for bit, whatever other images are in the batch.
    """
    KH, KW = w.shape[0], w.shape[1]
    rows = n_positions(x.shape[1], window.PT, window.PB, KH, 2)
    columns = n_positions(x.shape[2], window.PL, window.PR, KW, 2)
    if pool:  # the row or column that a "valid" pooling leaves out is not computed
        rows, columns = min(rows, 2 * y_out.shape[1]), min(columns, 2 * y_out.shape[2])
    if w.shape[2] == 1:
        _shallow(x, U, b, window, rows, columns, pool, relu, scratch, y_out, argmax_out)
    else:
        _deep(x, U, b, window, rows, columns, pool, relu, scratch, y_out, argmax_out)
