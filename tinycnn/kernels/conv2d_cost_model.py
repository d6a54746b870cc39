"""Which convolutions `conv2d_winograd_3x3.py` computes, and with which tiles: a model of the costs.

The costs count products of one number with a whole vector of filters.  For one image:

    direct   9 products for each output, channel and vector of filters                          (1)
    F(m, 3)  each tile has (m + 2)^2 points.  A point takes a product for each channel and vector
             of filters, and the transforms take TRANSFORM_COST for each vector of channels (of the
             input) and of filters (of the output)                                              (2)

The choice depends on the shapes and on the width of a vector alone, never on a measurement at run
time: the same network has the same bits on every run.  `python -m benchmarks cost-model` compares
the model with measured times.
"""

from ._jit import TILE, WINOGRAD

TAPS = 3

TILE_SIZES = (4, 2)
"""The m that there are kernels for."""

TRANSFORM_COST = 6
"""What the transforms of a vector take, in products: fitted to measured times."""


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


def cost(m: int, OH: int, OW: int, C: int, F: int, lanes: int) -> int:
    """Equation (2) for tiles of m x m outputs, equation (1) for m = 0."""
    channels, filters = -(-C // lanes), -(-F // lanes)
    if not m:
        return TAPS * TAPS * OH * OW * C * filters
    n_tiles = -(-OH // m) * -(-OW // m)
    return n_tiles * (m + 2) ** 2 * (C * filters + TRANSFORM_COST * (channels + filters))


def tile_size(op, dtype) -> int:
    """The m of the tiles with which a convolution is fastest, 0 if that is the direct one."""
    if not fits(op, dtype):
        return 0
    shape = int(op.conv_OH), int(op.conv_OW), int(op.C), int(op.F), TILE.vector_bytes // 4
    return min((0, *TILE_SIZES), key=lambda m: cost(m, *shape))
