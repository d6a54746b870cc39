"""Weights of a convolution or dense layer, packed: in the order in which the register tile reads them.

The tile of `_tile.py` goes through all rows of the weights for one block of columns, then for the
next.  In w (R, F) with many columns, the rows of a block are far apart: the processor does not load
the next one ahead, and rows a multiple of 256 bytes apart displace one another in its first-level
cache.  Packed, the rows of a block follow one another.  A block of columns is called a panel:

    packed[p, r, n] = w[r, p*N + n]        r < R = KH*KW*C,  n < N columns,  p < F / N          (1)

The sums have the same bits.
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
def pack_weights(w, columns, packed_out):
    """Equation (1).  w (KH, KW, C, F); packed_out flat, overwritten."""
    wf, F = w.reshape(-1), w.shape[3]
    n_rows, at = w.size // F, 0
    for first in range(0, F, columns):
        for r in range(n_rows):
            for f in range(first, first + columns):
                packed_out[at] = wf[r * F + f]
                at += 1
