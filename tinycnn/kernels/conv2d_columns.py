"""The convolution of pictures by a few filters: vectors of neighbouring output columns.

`conv2d.py` keeps the filters of a position in the lanes of a vector.  Six filters leave ten of 16
lanes empty.  Here the lanes are positions of one output row that follow one another, and each
filter has vectors of its own:

    z[i, f, j] = b[f] + sum over a,e,c of p[c, i*SH+a, j+e] w[a,e,c,f]        a < KH, e < KW    (1)
    y[i, j, f] = z[i, f, j], or the largest of z[2i..2i+1, f, 2j..2j+1]                         (2)

p is the padded picture, channel by channel, so that the values of neighbouring positions are
neighbours in memory: for that the stride along a row must be 1.  The terms of a sum are added in
the order a, e, c, as in `conv2d.py`, and a tap on the padding adds a product with 0.  So both files
give the same bits, unless weights are infinite or NaN.  `_filter_rows.py` computes (1) and
`_channels_last.py` (2).
"""

from typing import NamedTuple

from ._channels_last import MOST_CHANNELS, channels_last, split_channels
from ._filter_rows import copy_row, filter_rows
from ._jit import TILE, helper, inline_helper, inline_kernel
from ._tile import SLOW_MASKS
from ._views import flat_view
from .windows import n_positions

BYTES = TILE.vector_bytes


class Costs(NamedTuple):
    """In products of a vector; fitted to measured times."""

    reordering: float  # of a vector of z, into the order of (2)
    pooled: float  # the same, if the largest are taken first
    splitting: float  # of a value of several channels, which is copied into p by vectors
    splitting_singly: float  # one by one: in rows shorter than a vector, or of too many channels
    few_lanes: float  # of a product by `conv2d.py` with a vector that filters fill only partly
    pooling: float  # of a position by `maxpool2d.py`, for a vector that filters fill
    pooling_few_lanes: float  # for one that they fill partly


COSTS = Costs(5, 2, 2, 2, 1.25, 3, 7) if SLOW_MASKS else Costs(3, 3, 2, 5, 1, 0, 4)


class Layout(NamedTuple):
    """Sizes in the scratch, in elements.  p begins at 0."""

    columns: int  # of z: OW, in whole vectors
    pitch: int  # from a row of p to the next one
    height: int  # rows of p
    z_at: int  # z, for two i
    row: int  # elements of z for one i
    buffer_at: int  # of `channels_last`
    end: int


def _layout(OH, OW, C, F, KH, KW, SH, lanes):
    columns = -(-OW // lanes) * lanes
    pitch, height = columns + KW - 1, (OH - 1) * SH + KH
    z_at, row = C * height * pitch, F * columns
    buffer_at = z_at + 2 * row + lanes
    return Layout(columns, pitch, height, z_at, row, buffer_at, buffer_at + F * lanes)


_layout_compiled = inline_helper(_layout)


def scratch_size(op, itemsize: int) -> int:
    """Elements of scratch for the convolution of a record."""
    OH, OW, SH = int(op.conv_OH), int(op.conv_OW), int(op.SH)
    lanes = BYTES // itemsize
    return _layout(OH, OW, int(op.C), int(op.F), int(op.KH), int(op.KW), SH, lanes).end


def pools(op) -> bool:
    """Whether the pooling behind a convolution is that of (2)."""
    window = (op.pool_KH, op.pool_KW, op.pool_SH, op.pool_SW, op.pool_PT, op.pool_PL)
    is_whole = (op.OH, op.OW) == (op.conv_OH // 2, op.conv_OW // 2)
    return bool(op.pool and window == (2, 2, 2, 2, 0, 0) and is_whole)


def is_faster(op, itemsize: int) -> bool:
    """Whether this file computes a convolution faster than `conv2d.py` does.  The shapes alone
    decide, so that the choice is always the same."""
    if op.SW != 1 or op.F > MOST_CHANNELS:
        return False
    lanes, OW, F = BYTES // itemsize, int(op.conv_OW), int(op.F)
    n_full, has_rest = F // lanes, F % lanes > 0
    by_filters = int(op.KH * op.KW * op.C) * OW * (n_full + COSTS.few_lanes * has_rest)
    if pools(op):
        by_filters += OW * (COSTS.pooling * n_full + COSTS.pooling_few_lanes * has_rest)
    return row_cost(op, itemsize) < by_filters


def row_cost(op, itemsize: int) -> float:
    """What an output row takes, in products of a vector."""
    lanes, OW, W, C = BYTES // itemsize, int(op.conv_OW), int(op.W), int(op.C)
    n_vectors, taps = int(op.F) * -(-OW // lanes), int(op.KH * op.KW) * C
    products = n_vectors * (taps + (COSTS.pooled if pools(op) else COSTS.reordering))
    if C == 1:
        return products
    is_by_vectors = W >= lanes and C <= MOST_CHANNELS
    return products + OW * C * (COSTS.splitting if is_by_vectors else COSTS.splitting_singly)


@inline_kernel
def conv2d_columns_forward(x, w, b, window, pool, relu, scratch, y_out):
    """Equations (1) and (2), followed by ReLU if `relu` is 1.

    x      (N, H, W, C)    C-contiguous, float32 or float64; all other arrays alike
    w      (KH, KW, C, F), F <= MOST_CHANNELS;  b (F,)
    window  `plan.Window` with SW = 1
    pool   1: max-pool z over windows of 2 x 2, without those that are not whole; 0: no pooling
    scratch  flat, see `scratch_size`
    y_out  (N, OH, OW, F), with pooling (N, OH // 2, OW // 2, F): overwritten
    Where z has NaN, a pooling takes the numbers of the window.
    """
    N, H, W, C = x.shape
    KH, KW, _, F = w.shape
    OH = n_positions(H, window.PT, window.PB, KH, window.SH)
    OW = n_positions(W, window.PL, window.PR, KW, 1)
    lay = _layout_compiled(OH, OW, C, F, KH, KW, window.SH, BYTES // x.itemsize)
    columns, pitch, z_at = lay.columns, lay.pitch, lay.z_at
    wf, yf = flat_view(w), flat_view(y_out)
    y_at, n_stored = 0, y_out.shape[2]
    scratch[:z_at] = 0
    for n in range(N):
        fill_planes(x, n, window.PT, window.PL, lay.height, pitch, scratch)
        for i in range(2 * y_out.shape[1] if pool else OH):
            z_row = z_at + i % 2 * lay.row
            filter_rows(
                F=F, N=columns, KH=KH, KW=KW, C=C, w=wf, x=scratch, x_off=i * window.SH * pitch,
                pitch=pitch, plane=lay.height * pitch, bias=b, z_off=z_row,
            )  # fmt: skip
            if not pool or i % 2:  # a pooling has both of its rows
                channels_last(
                    F=F, n=n_stored, pool=pool, relu=relu, z=scratch, z_off=z_at if pool else z_row,
                    pitch=columns, below=lay.row, buffer_off=lay.buffer_at, y=yf, y_off=y_at,
                )  # fmt: skip
                y_at += n_stored * F


@helper
def fill_planes(x, n, top, left, height, pitch, p_out):
    """Copy picture n of x into p, without the zeros around it and what lies outside p."""
    H, W, C = x.shape[1], x.shape[2], x.shape[3]
    xf, width = flat_view(x), min(W, pitch - left)
    for h in range(min(H, height - top)):
        x_at, p_at = (n * H + h) * W * C, (top + h) * pitch + left
        if C == 1:
            copy_row(width, xf, x_at, p_out, p_at)
        else:
            split_channels(C, width, xf, x_at, height * pitch, p_out, p_at)
