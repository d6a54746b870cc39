"""Weights in the order in which the register tile reads them.

The tile of `_tile.py` goes through all rows of the weights for one block of columns, then for the
next.  In w (R, F) with many columns, the rows of a block are far apart: the processor does not load
the next one ahead, and rows a multiple of 256 bytes apart displace one another in its first-level
cache.  Packed, the rows of a block follow one another.  A block of columns is called a panel:

    packed[p, r, n] = w[r, p*N + n]        r < R,  n < N columns,  p < F / N                    (1)

with R = KH*KW*C for a convolution, fan_in for a dense layer.  The sums have the same bits.
"""

from ._jit import TILE, inline_kernel

PANEL_BYTES = TILE.n_vectors * TILE.vector_bytes
"""A row of a panel: of a block of the tile."""

LEAST_ROW_BYTES = 512
"""Weights with shorter rows are not packed: measured, they are read as fast as they are."""


def panel_columns(F: int, itemsize: int) -> int:
    """N of (1) for weights with F columns; F, a single panel, if they are not to be packed."""
    n = PANEL_BYTES // itemsize
    return n if n and F % n == 0 and F * itemsize >= LEAST_ROW_BYTES else F


@inline_kernel
def pack_weights(w, packed_out):
    """Equation (1).  w (R, F); packed_out (F / N, R, N), overwritten."""
    n_panels, R, N = packed_out.shape
    for p in range(n_panels):
        for r in range(R):
            for n in range(N):
                packed_out[p, r, n] = w[r, p * N + n]
