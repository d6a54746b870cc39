"""Which convolutions are computed by Winograd's algorithm, with which tiles, and which in vectors
of columns: a model of the costs.

The costs count products of one number with a whole vector of filters.  For one image:

    direct   9 products for each output, channel and vector of filters                          (1)
    F(m, 3)  each tile has (m + 2)^2 points.  A point takes a product for each channel and vector
             of filters, and the transforms take TRANSFORM_COST for each vector of channels (of the
             input) and of filters (of the output)                                              (2)

For vectors of columns see `conv2d_columns.py`.  Backward has a cost of the transforms of its own:
there the direct way is slower, as it sums up each gradient in memory.
The choice depends on the shapes and on the width of a vector alone, never on a measurement at run
time: the same network has the same bits on every run.  `python -m benchmarks cost-model` compares
the model with measured times.
"""

from typing import NamedTuple

from ._jit import TILE, WINOGRAD
from .conv2d_columns import is_faster, row_cost

TAPS = 3

TILE_SIZES = (4, 2)
"""The m that there are kernels for."""

TRANSFORM_COST = 16 if TILE.vector_bytes == 64 else 6
"""What the transforms of a vector take forward, in products: fitted to measured times.  They load
and store as much as they compute, so beside the products of AVX-512 they take longer."""

BACKWARD_TRANSFORM_COST = 6
"""The same for backward."""


class ForwardWay(NamedTuple):
    """How a convolution is computed forward: by at most one of these, otherwise by `conv2d.py`."""

    tile: int  # the m of Winograd's tiles, 0 for none
    by_columns: bool


def fits(op, dtype) -> bool:
    """Whether `conv2d_winograd_3x3.py` can compute a convolution and the pooling after it.

    Only in float32: float64 is for checks, where all passes should use the direct sums.
    """
    if not WINOGRAD or dtype != "float32":
        return False
    if (op.KH, op.KW, op.SH, op.SW) != (TAPS, TAPS, 1, 1):
        return False
    if max(op.PT, op.PL, op.PB, op.PR) >= TAPS:
        return False
    return not op.pool or (
        (op.pool_KH, op.pool_KW, op.pool_SH, op.pool_SW) == (2, 2, 2, 2)
        and (op.pool_PT, op.pool_PL) == (0, 0)
    )


def cost(
    m: int, OH: int, OW: int, C: int, F: int, lanes: int, transform_cost: int = TRANSFORM_COST
) -> int:
    """Products for one image: with tiles of m x m outputs (2), or with m = 0 directly (1)."""
    channels, filters = -(-C // lanes), -(-F // lanes)
    if not m:
        return TAPS * TAPS * OH * OW * C * filters
    n_tiles = -(-OH // m) * -(-OW // m)
    return n_tiles * (m + 2) ** 2 * (C * filters + transform_cost * (channels + filters))


def forward_way(op, dtype) -> ForwardWay:
    """The way of the least cost."""
    m, by_columns = _tile_size(op, dtype, TRANSFORM_COST), is_faster(op, dtype.itemsize)
    if m and by_columns:
        of_columns = int(op.conv_OH) * row_cost(op, dtype.itemsize)
        by_columns = of_columns < cost(m, *_shape(op))
    return ForwardWay(0, True) if by_columns else ForwardWay(m, False)


def backward_tile_size(op, dtype) -> int:
    """The m of the tiles with which the gradients are fastest, 0 if that is the direct way.  For a
    convolution without a pooling behind it."""
    return _tile_size(op, dtype, BACKWARD_TRANSFORM_COST)


def _tile_size(op, dtype, transform_cost: int) -> int:
    if not fits(op, dtype):
        return 0
    return min((0, *TILE_SIZES), key=lambda m: cost(m, *_shape(op), transform_cost))


def _shape(op) -> tuple[int, int, int, int, int]:
    """The arguments of `cost`, from OH on."""
    return int(op.conv_OH), int(op.conv_OW), int(op.C), int(op.F), TILE.vector_bytes // 4
