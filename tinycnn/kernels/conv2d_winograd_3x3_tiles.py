"""What the passes of `conv2d_winograd_3x3.py` and its gradients share: sizes, the weights, and the
transforms of inputs.  The equations are those of that file.

The tiles of a picture lie in rows.  A row of tiles is cut into segments, all of the same number of
tiles but for the last one.  The segments of all images of a chunk are numbered, and so many of them
are done at once that their V and M fit in the cache.  Where a row is cut depends on the sizes
alone: an image's results have the same bits, whatever other images are in the batch.

V and M have whole vectors of channels for each tile; what is behind the last channel is not used.
"""

from fractions import Fraction
from typing import NamedTuple

from ._jit import helper, inline_helper
from ._views import flat_view
from ._winograd import BYTES, WIDE, clear
from ._winograd_bands import make_columns, make_rows
from ._winograd_tiles import PRODUCT_ROWS, make_weights_tile
from ._winograd_transforms import Transform
from .conv2d_cost_model import TAPS

F2 = Transform(2, TAPS, points=(0, 1, -1))
F4 = Transform(4, TAPS, points=(0, *(Fraction(k, 4) for k in (3, -3, 6, -6))))

_input_columns_2, _input_rows_2 = make_columns(F2, False), make_rows(F2, False)
_input_columns_4, _input_rows_4 = make_columns(F4, False), make_rows(F4, False)
_gradient_columns_2, _gradient_rows_2 = make_columns(F2, True), make_rows(F2, True)
_gradient_columns_4, _gradient_rows_4 = make_columns(F4, True), make_rows(F4, True)
_weights_2, _weights_4 = make_weights_tile(F2), make_weights_tile(F4)

GAP = 16  # elements between matrices, so that their rows do not map to the same sets of the cache
BLOCK_ELEMENTS = 1 << 17
"""Elements of V and M of the tiles that are done at once: half a MB in float32."""


# ---- what the passes need ----------------------------------------------------------------------


class Layout(NamedTuple):
    """Sizes and offsets in the scratch of the passes."""

    n_tiles: int  # that are done at once, at most
    C: int  # channels of V, whole vectors
    F: int  # filters of M, whole vectors
    V_size: int  # size of the matrix of one point in V
    M_size: int
    row: int  # elements of a row of pixels that a segment can have
    zeros_at: int  # a row of zeros; in the gradient of x, what is outside of x
    band_at: int  # the t rows of pixels of a band
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
    row = (n_tiles * m + 2) * max(whole_C, whole_F) + GAP
    zeros_at = 0
    band_at = zeros_at + row
    V_at = band_at + (m + 2) * row
    M_at = V_at + points * V_size
    output_at = M_at + points * M_size
    bias_at = output_at + m * m * whole_F
    sums_at = bias_at + whole_F
    sums_size = C * whole_F + GAP
    end = sums_at + points * sums_size
    return Layout(
        n_tiles, whole_C, whole_F, V_size, M_size, row, zeros_at, band_at, V_at, M_at, output_at,
        bias_at, sums_at, sums_size, end,
    )  # fmt: skip


layout = inline_helper(_layout)


@inline_helper
def half_of(n, lanes):
    """1 if no more than half of the last vector of n channels is used, else 0.  Vectors of 64 bytes
    take twice the time of their halves on many hosts, shorter ones do not."""
    return int(WIDE and 0 < n % lanes <= lanes // 2)


def scratch_size(m: int, C: int, F: int, itemsize: int = 4) -> int:
    """Elements of scratch that the passes need."""
    return int(_layout(m, C, F, BYTES // itemsize).end)


def weights_size(m: int, C: int, F: int, itemsize: int = 4) -> int:
    """Elements of U: a matrix (C, F) for each point, F in whole vectors, and scratch."""
    lanes, t = BYTES // itemsize, m + 2
    whole_F = -(-F // lanes) * lanes
    return t * t * (C * whole_F + GAP) + TAPS * TAPS * whole_F


# ---- the weights -------------------------------------------------------------------------------


@inline_helper
def conv2d_winograd_3x3_weights(
    w, m, exchange, U_out
):  # pragma: no cover: intrinsics only run compiled
    """Equation (3): w (3, 3, C, F) -> U_out, flat: for each point (a, b) a matrix (C, whole_F).

    exchange  1: the matrices (F, whole_C), with channels and filters exchanged, for the gradient
              of x
    """
    t = m + 2
    _, _, n_rows, n_columns = w.shape
    if exchange:
        n_rows, n_columns = n_columns, n_rows
    lanes = BYTES // w.itemsize
    row = -(-n_columns // lanes) * lanes
    size = n_rows * row + GAP
    n_vectors, tail = n_columns // lanes, n_columns % lanes
    wf, taps_at = flat_view(w), t * t * size
    for k in range(n_rows):
        source, at, tap = wf, k * n_columns, n_rows * n_columns
        if exchange:
            source, at, tap = U_out, taps_at, row
            for i in range(TAPS):
                for j in range(TAPS):
                    taps = U_out[taps_at + (i * TAPS + j) * row :]
                    for c in range(n_columns):
                        taps[c] = w[i, j, c, k]
        if m == 4:
            _weights_4(n_vectors, tail, source, at, tap, U_out, k * row, size)
        else:
            _weights_2(n_vectors, tail, source, at, tap, U_out, k * row, size)


# ---- inputs ------------------------------------------------------------------------------------


class Grid(NamedTuple):
    """Where the tiles lie in a picture: tile (i, j) has the side x side values from
    (i*m - PT, j*m - PL) on."""

    m: int
    side: int  # t for inputs, m for gradients of outputs
    PT: int
    PL: int
    n_h: int  # tiles in a column
    n_w: int  # tiles in a row
    n_tiles: int  # of a segment
    n_segments: int  # in a row
    n_at_once: int  # segments


def _make_grid(m, side, PT, PL, rows, columns, n_tiles):
    n_h, n_w = -(-rows // m), -(-columns // m)
    n_segments = -(-n_w // n_tiles)
    of_segment = -(-n_w // max(n_segments, 1))
    n_at_once = n_tiles // max(of_segment, 1)
    return Grid(m, side, PT, PL, n_h, n_w, of_segment, n_segments, n_at_once)


make_grid = inline_helper(_make_grid)
"""The tiles of pictures with so many rows and columns of outputs.  n_tiles: of a segment at most"""


@inline_helper
def segment_of(s, grid):
    """Segment number s: its image, the row and the column of its first tile, how many it has."""
    row, k = s // grid.n_segments, s % grid.n_segments
    j = k * grid.n_tiles
    return row // grid.n_h, row % grid.n_h, j, min(grid.n_tiles, grid.n_w - j)


class Rows(NamedTuple):
    """The pixels of a segment that are inside the picture."""

    x_at: int  # offset of the first pixel of the first row, which may itself be outside
    n_pixels: int  # in a row, also those outside
    begin: int  # the first one inside
    end: int
    first: int  # the first row inside
    last: int  # one past the last


@inline_helper
def rows_of(segment, shape, grid):
    n, i, j, count = segment
    _, H, W, C = shape
    top, left = i * grid.m - grid.PT, j * grid.m - grid.PL
    n_pixels = (count - 1) * grid.m + grid.side
    begin = min(max(-left, 0), n_pixels)
    end = max(min(W - left, n_pixels), begin)
    x_at = ((n * H + top) * W + left + begin) * C
    return Rows(x_at, n_pixels, begin, end, max(-top, 0), min(H - top, grid.side))


@helper  # pragma: no cover: intrinsics only run compiled
def transform_segments(x, shape, grid, begin, end, scratch, lay, V_at, V_size):
    """The segments begin ... end - 1 transformed: equation (4), or with grid.side = m, of gradients
    of outputs, (7) of `conv2d_winograd_3x3_backward.py`.  Returns how many tiles these are.

    x      flat, pictures of the shape (N, H, W, C)
    V_at   where the result goes in the scratch; V_size: of the matrix of one point
    """
    C, m, is_gradient = shape[3], grid.m, grid.side == grid.m
    lanes = BYTES // x.itemsize
    n_vectors, tail, x_row = C // lanes, C % lanes, shape[2] * C
    columns = (C + lanes - 1) // lanes * lanes
    done = 0
    for s in range(begin, end):
        segment = segment_of(s, grid)
        rows = rows_of(segment, shape, grid)
        count, band_row = segment[3], rows.n_pixels * columns + GAP
        for a in range(m + 2):
            at = lay.band_at + a * band_row
            clear(rows.begin * columns, scratch, at)
            clear((rows.n_pixels - rows.end) * columns, scratch, at + rows.end * columns)
        at, n_pixels, vectors = lay.band_at + rows.begin * columns, rows.end - rows.begin, n_vectors
        if not tail:  # the pixels of a row are one sequence of vectors
            n_pixels, vectors = 1, n_pixels * n_vectors
        to = V_at + done * columns
        if is_gradient:
            if m == 4:
                _gradient_columns_4(
                    n_pixels, vectors, tail, x, rows.x_at, x_row, C, rows.first, rows.last,
                    scratch, lay.zeros_at, at, band_row, columns,
                )  # fmt: skip
                _gradient_rows_4(
                    count, columns // lanes, scratch, lay.band_at, band_row, columns,
                    to, V_size, columns,
                )  # fmt: skip
            else:
                _gradient_columns_2(
                    n_pixels, vectors, tail, x, rows.x_at, x_row, C, rows.first, rows.last,
                    scratch, lay.zeros_at, at, band_row, columns,
                )  # fmt: skip
                _gradient_rows_2(
                    count, columns // lanes, scratch, lay.band_at, band_row, columns,
                    to, V_size, columns,
                )  # fmt: skip
        elif m == 4:
            _input_columns_4(
                n_pixels, vectors, tail, x, rows.x_at, x_row, C, rows.first, rows.last,
                scratch, lay.zeros_at, at, band_row, columns,
            )  # fmt: skip
            _input_rows_4(
                count, columns // lanes, scratch, lay.band_at, band_row, columns,
                to, V_size, columns,
            )  # fmt: skip
        else:
            _input_columns_2(
                n_pixels, vectors, tail, x, rows.x_at, x_row, C, rows.first, rows.last,
                scratch, lay.zeros_at, at, band_row, columns,
            )  # fmt: skip
            _input_rows_2(
                count, columns // lanes, scratch, lay.band_at, band_row, columns,
                to, V_size, columns,
            )  # fmt: skip
        done += count
    return done
