"""Forward pass of a stride-2 convolution with a fraction of the products: polyphase Winograd.

    z[i,j,f] = sum over a < KH, e < KW, c < C of x[2i-PT+a, 2j-PL+e, c] w[a,e,c,f]              (1)
    y[i,j,f] = relu(b[f] + max over the pooling's window of z)                                  (2)

Phases.  Write a = 2k + p and e = 2l + q with p, q < 2.  Phase (p, q) of w is a filter of r x r
taps, r = KH/2, that meets phase (p, q) of the padded x with stride 1:

    z[i,j,f] = sum over p,q,c of sum over k,l < r of x_pq[i+k, j+l, c] w_pq[k,l,c,f]            (3)
    x_pq[i,j,c] = x[2i+p-PT, 2j+q-PL, c],   w_pq[k,l,c,f] = w[2k+p, 2l+q, c, f]

Tiles.  (3) is a convolution of 4C channels.  Winograd's F(m, r) of `_winograd_transforms.py` along
both axes takes t x t products, t = m + r - 1, for m x m outputs d * w, summed over the channels
before the last transform:

    U = G w_pq G^T      of every filter, phase and channel, once for all images                 (4)
    V = B^T d B         of every tile of t x t of x_pq, phase and channel                       (5)
    M[b,a] = sum over p,q,c of V[b,a] U[b,a],   z = A^T M A                                     (6)

With m = 3 that is 36 products where (1) has 144 for 8x8 taps, and 16 for 36 for 4x4.

Order of work.  One channel (8x8 taps): lanes of V are tiles of a row, and the sums (6) of a tile
stay in registers until z.  C a multiple of the lanes (4x4 taps): lanes of V are channels, and (6)
is a product of matrices (tiles x 4C) (4C x F) for each of the t x t points.

Rounding.  V and U hold sums and differences of neighbours, which (1) does not form: errors in
float32 are a few times those of (1), below 1e-5 of the largest output.  A NaN or an infinity
reaches all outputs of its tiles, and a maximum of (2) may pass over a NaN or keep it; other images
are not touched.
"""

from ._jit import WINOGRAD, kernel
from ._winograd import (
    BYTES,
    FILTERS,
    ROWS,
    TILES,
    clear,
    copy,
    finish,
    make_at,
    make_bt,
    make_bt_planes,
    make_deinterleave,
    make_products,
    make_weights_transform,
    matrix_product,
)
from ._winograd_transforms import Shorter, Transform

M_OUT = 3  # m of both transforms: a tile gives 3 x 3 outputs
SHALLOW = Transform(M_OUT, 4, points=(0, 1, -1, 2, -2))
DEEP = Transform(M_OUT, 2, points=(0, 1, -1))
_SHORT = Shorter(DEEP)
T_SHALLOW, T_DEEP, R_DEEP = SHALLOW.t, DEEP.t, DEEP.r
LAST = T_DEEP - 2  # the last finite point of DEEP, which _SHORT has not
APART = 16  # elements between the t x t matrices of a tile row, lest they share sets of the cache
LINES = 2 * M_OUT  # rows of x that a row of tiles adds to those of the row of tiles above

_shallow_weights, _deep_weights = make_weights_transform(SHALLOW), make_weights_transform(DEEP)
_deinterleave = make_deinterleave(LINES)
_shallow_bt, _bt_planes = make_bt(SHALLOW, SHALLOW), make_bt_planes(SHALLOW)
_products = make_products(SHALLOW)
_bt, _bt_short = make_bt(DEEP, DEEP), make_bt(_SHORT, DEEP)
_at, _at_low = make_at(DEEP, DEEP, DEEP), make_at(_SHORT, DEEP, DEEP)
_at_narrow, _at_both = make_at(DEEP, _SHORT, DEEP), make_at(_SHORT, _SHORT, DEEP)


# ---- which convolutions, and what they need ----------------------------------------------------


def winograd_fits(op, dtype) -> bool:
    """Whether `conv2d_winograd_forward` does this convolution of a plan, and is worth it.

    float32 alone: in float64, which is for checks, every pass then has one arithmetic.
    """
    lanes = BYTES // 4
    if not WINOGRAD or dtype != "float32" or op.S != 2 or op.KH != op.KW:
        return False
    if op.pool and (op.pool_K, op.pool_S, op.pool_PT, op.pool_PL) != (2, 2, 0, 0):
        return False
    if op.F % (lanes * (FILTERS if op.C == 1 else 2)):
        return False
    if op.C == 1:
        return op.KH == 2 * SHALLOW.r and min(op.conv_OH, op.conv_OW) >= 4 * M_OUT
    return op.C % lanes == 0 and op.KH == 2 * DEEP.r and min(op.conv_OH, op.conv_OW) >= 2 * M_OUT


def winograd_sizes(H, W, C, F, PL, OH, OW) -> tuple[int, int]:
    """Elements of U and of scratch."""
    lanes = BYTES // 4
    if C == 1:
        return T_SHALLOW**2 * 4 * F, _shallow_parts(F, OW, lanes)[-1]
    return T_DEEP**2 * (4 * C * F + APART), _deep_parts(W, C, F, OH, OW)[-1]


def _shallow_parts(F, OW, lanes):
    """Sizes and places in scratch of `_shallow`: tiles a row, columns of a plane, elements of a row
    of planes and of a row of outputs; where the padded rows, planes, lines, V and outputs begin;
    and the end."""
    n_w = -(-OW // M_OUT)
    n_w += n_w % TILES
    columns = -(-(n_w + (2 * T_SHALLOW - 1) // LINES) // lanes) * lanes
    row = LINES * columns
    y_row = n_w * M_OUT * F
    planes_at = LINES * row
    lines_at = planes_at + 2 * LINES * row
    V_at = lines_at + 2 * T_SHALLOW * row + 2 * lanes
    buffer_at = V_at + 4 * T_SHALLOW**2 * lanes
    return n_w, columns, row, y_row, planes_at, lines_at, V_at, buffer_at, buffer_at + LINES * y_row


def _deep_parts(W, C, F, OH, OW):
    """Sizes and places in scratch of `_deep`: tiles of a column and a row, columns of a line,
    elements of one matrix of V and of M and of a row of outputs; where lines, V, M and outputs
    begin; and the end."""
    n_h, n_w = -(-OH // M_OUT), -(-OW // M_OUT)
    columns = 2 * (n_w * M_OUT + R_DEEP - 1)
    n_rows = -(-n_h * n_w // ROWS) * ROWS
    V_size, M_size = n_rows * 4 * C + APART, n_rows * F + APART
    y_row = n_w * M_OUT * F
    lines_at = 2 * T_DEEP * W * C
    V_at = lines_at + 2 * T_DEEP * columns * C
    M_at = V_at + T_DEEP**2 * V_size
    buffer_at = M_at + T_DEEP**2 * M_size
    end = buffer_at + n_h * M_OUT * y_row
    return n_h, n_w, columns, V_size, M_size, y_row, lines_at, V_at, M_at, buffer_at, end


_shallow_places = kernel(_shallow_parts, inline=True)
_deep_places = kernel(_deep_parts, inline=True)


# ---- the weights -------------------------------------------------------------------------------


def conv2d_winograd_weights(w, U_out):  # pragma: no cover: intrinsics run compiled alone
    """Equation (4): w (KH, KW, C, F) -> U_out, flat, as `conv2d_winograd_forward` reads it.

    One channel:  U[filters / block][b][p, q][a][block], block = FILTERS * lanes.
    Many:         U[b][a][p, q, c][f], APART elements between matrices.
    """
    KH, KW, C, F = w.shape
    lanes, wf = BYTES // w.itemsize, w.reshape(-1)
    block = FILTERS * lanes
    size = 4 * C * F + APART
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


conv2d_winograd_weights = kernel(conv2d_winograd_weights, inline=True)


# ---- forward -----------------------------------------------------------------------------------


@kernel  # pragma: no cover: intrinsics run compiled alone
def _finish_rows(z, row, F, n_rows, first_row, OW, pool, b, relu, y, argmax, y_at, W):
    """Equation (2) of rows 0 ... n_rows of z, of which the first is row `first_row` of the picture.

    An odd last row or column is a window of its own.  Positions in argmax count W a row; where it
    is empty they are not wanted.
    """
    window = 2 if pool else 1
    whole, PW = OW // window, -(-OW // window)
    keep = int(argmax.size > 0)
    for p in range(-(-n_rows // window)):
        height = min(n_rows - p * window, window)
        first = (first_row + p * window) * W
        for f in range(0, F, BYTES // y.itemsize):
            z_at, at = p * window * row + f, y_at + (first_row // window + p) * PW * F + f
            finish(
                *(whole, height, window, z, z_at, row, F, window * F),
                *(b, f, relu, y, at, F, keep, argmax, first, W),
            )
            if whole < PW:
                last = whole * window
                finish(
                    *(1, height, 1, z, z_at + last * F, row, F, 0),
                    *(b, f, relu, y, at + whole * F, F, keep, argmax, first + last, W),
                )


@kernel  # pragma: no cover: intrinsics run compiled alone
def _load_lines(block, n, H, W, PT, PL, columns, xf, scratch, planes_at):
    """LINES rows of the padded picture, each split into LINES planes of `columns`."""
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
            *(end - start, scratch, start * row + j * LINES, row),
            *(scratch, planes_at + start * row + j, row, columns),
        )


@kernel  # pragma: no cover: intrinsics run compiled alone
def _shallow(x, U, b, PT, PL, OH, OW, W_z, pool, relu, scratch, y_out, argmax_out):
    """C = 1: a row of tiles at a time, lanes of V are its tiles.

    Two rows of tiles have an even number of rows of z, so pooling follows every second one.
    """
    N, H, W, _ = x.shape
    F = y_out.shape[3]
    xf, yf, af = x.reshape(-1), y_out.reshape(-1), argmax_out.reshape(-1)
    lanes, t = BYTES // x.itemsize, T_SHALLOW
    places = _shallow_places(F, OW, lanes)
    n_w, columns, row, y_row, planes_at, lines_at, V_at, buffer_at, _ = places
    n_h = -(-OH // M_OUT)
    z = scratch[buffer_at:]
    clear(LINES * row, scratch, 0)
    for n in range(N):
        y_at = n * y_out.shape[1] * y_out.shape[2] * F
        _load_lines(0, n, H, W, PT, PL, columns, xf, scratch, planes_at)
        for i in range(n_h):
            here = planes_at + i % 2 * LINES * row
            below = planes_at + (i + 1) % 2 * LINES * row
            _load_lines(i + 1, n, H, W, PT, PL, columns, xf, scratch, below)
            for p in range(2):  # (5) down the columns, of rows 2k + p
                line = lines_at + p * t * row
                _shallow_bt(
                    *(row // lanes, scratch, here + p * row, below + p * row, 2 * row, lanes),
                    *(scratch, line, row, line + (t - 2) * row, lanes),
                )
            z_first = i % 2 * M_OUT * y_row
            for j in range(0, n_w, lanes):
                for p in range(2):  # (5) along the rows
                    for a in range(t):
                        _bt_planes(
                            *(scratch, lines_at + (p * t + a) * row + j, columns),
                            *(scratch, V_at + (p * 2 * t + a) * lanes, t * lanes, 4 * t * lanes),
                        )
                for f in range(0, F, FILTERS * lanes):  # (6)
                    for tile in range(0, min(lanes, n_w - j), TILES):
                        _products(
                            *(scratch, V_at + tile, U, f * t * 4 * t),
                            *(z, z_first + (j + tile) * M_OUT * F + f, y_row, F),
                        )
            if i % 2 == 1 or i == n_h - 1:  # (2)
                first = i // 2 * 2 * M_OUT
                n_rows = min(2 * M_OUT, OH - first)
                _finish_rows(z, y_row, F, n_rows, first, OW, pool, b, relu, yf, af, y_at, W_z)


@kernel  # pragma: no cover: intrinsics run compiled alone
def _deep(x, U, b, PT, PL, OH, OW, W_z, pool, relu, scratch, y_out, argmax_out):
    """C a multiple of the lanes: V of a whole image, then t x t products of matrices.

    Where the last tile of a row (column) has an output to spare it is a `Shorter` one, and the
    last finite point has products for the other tiles only: tile (i, j) of point (b, a) is row
    i * n + j of its matrix, with n = n_w - 1 for such a b and n_w for the others.
    """
    N, H, W, C = x.shape
    F, t = y_out.shape[3], T_DEEP
    xf, yf, af = x.reshape(-1), y_out.reshape(-1), argmax_out.reshape(-1)
    lanes = BYTES // x.itemsize
    places = _deep_places(W, C, F, OH, OW)
    n_h, n_w, columns, V_size, M_size, y_row, lines_at, V_at, M_at, buffer_at, _ = places
    low, narrow = int(n_h * M_OUT > OH), int(n_w * M_OUT > OW)
    U_size = 4 * C * F + APART
    n_columns = min(W, columns - PL)
    M, z = scratch[M_at:], scratch[buffer_at:]
    for k in range(2 * t):  # the padding of every line, once
        line = lines_at + k * columns * C
        clear(PL * C, scratch, line)
        clear((columns - PL - n_columns) * C, scratch, line + (PL + n_columns) * C)
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
                to_at = lines_at + (p * t * columns + PL) * C
                if low == 1 and i == n_h - 1:
                    _bt_short(
                        *(n_columns * C // lanes, source, from_at, from_at + LINES * W * C),
                        *(2 * W * C, lanes, scratch, to_at, columns * C, to_at, lanes),
                    )
                else:
                    _bt(
                        *(n_columns * C // lanes, source, from_at, from_at + LINES * W * C),
                        *(2 * W * C, lanes, scratch, to_at, columns * C),
                        *(to_at + LAST * columns * C, lanes),
                    )
            # (5) along the rows.  A short tile's last point has no line of its own: what is made of
            # it lies behind the rows that the products read.
            for j in range(n_w):
                for phase in range(4):
                    line = lines_at + (phase // 2 * t * columns + phase % 2 + j * LINES) * C
                    for c in range(0, C, lanes):
                        from_at, to_at = line + c, V_at + phase * C + c
                        last_at = to_at + LAST * t * V_size + (i * (n_w - narrow) + j) * 4 * C
                        to_at += (i * n_w + j) * 4 * C
                        if narrow == 1 and j == n_w - 1:
                            _bt_short(
                                *(t, scratch, from_at, from_at + LINES * C, 2 * C, columns * C),
                                *(scratch, to_at, t * V_size, to_at, V_size),
                            )
                        else:
                            _bt(
                                *(t, scratch, from_at, from_at + LINES * C, 2 * C, columns * C),
                                *(scratch, to_at, t * V_size, last_at, V_size),
                            )
        for k in range(t * t):  # (6)
            n_rows = n_h - (low if k % t == LAST else 0)
            n_columns_k = n_w - (narrow if k // t == LAST else 0)
            matrix_product(
                *(-(-n_rows * n_columns_k // ROWS), F // (2 * lanes), 4 * C),
                *(scratch, V_at + k * V_size, U, k * U_size, M, k * M_size),
            )
        for i in range(n_h):
            for j in range(n_w):
                for f in range(0, F, lanes):
                    at, last = (i * n_w + j) * F + f, (i * (n_w - narrow) + j) * F + f
                    z_at = i * M_OUT * y_row + j * M_OUT * F + f
                    is_low = low == 1 and i == n_h - 1
                    is_narrow = narrow == 1 and j == n_w - 1
                    if is_low and is_narrow:
                        _at_both(M, at, at, t * M_size, M_size, z, z_at, y_row, F)
                    elif is_low:
                        _at_low(M, at, last, t * M_size, M_size, z, z_at, y_row, F)
                    elif is_narrow:
                        _at_narrow(M, at, at, t * M_size, M_size, z, z_at, y_row, F)
                    else:
                        _at(M, at, last, t * M_size, M_size, z, z_at, y_row, F)
        y_at = n * y_out.shape[1] * y_out.shape[2] * F
        _finish_rows(z, y_row, F, OH, 0, OW, pool, b, relu, yf, af, y_at, W_z)


def conv2d_winograd_forward(
    x, w, U, b, PT, PL, OH, OW, pool, relu, scratch, y_out, argmax_out
):  # pragma: no cover: intrinsics run compiled alone
    """Equations (1) and (2) by (4)-(6).

    x        (N, H, W, C), C = 1 or a multiple of the lanes
    w        (KH, KW, C, F), 8 x 8 for one channel, 4 x 4 for more, F a multiple of the lanes; only
             its shape is read: the weights are in
    U        flat, from `conv2d_winograd_weights`
    PT, PL   rows and columns of padding before x
    OH, OW   rows and columns of z; pool  1: the largest of each 2x2 of them, of what there is at an
             odd border, where y_out is too small without it;  relu  1: negative results become 0
    scratch  flat, see `winograd_sizes`
    y_out    (N, OH, OW, F), or half of that, rounded up or down
    argmax_out  as y_out, int32: position i*OW + j in z of the winner of each pooling window, the
             first of equals, for backward; or of no image: not wanted
    An image's result depends on that image alone, to the bit.
    """
    rows, columns = OH, OW
    if pool:  # what a "valid" pooling leaves out is not computed
        rows, columns = min(OH, 2 * y_out.shape[1]), min(OW, 2 * y_out.shape[2])
    if w.shape[2] == 1:
        _shallow(x, U, b, PT, PL, rows, columns, OW, pool, relu, scratch, y_out, argmax_out)
    else:
        _deep(x, U, b, PT, PL, rows, columns, OW, pool, relu, scratch, y_out, argmax_out)


conv2d_winograd_forward = kernel(conv2d_winograd_forward, inline=True)
