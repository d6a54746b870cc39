"""The inner loop of `conv2d_columns.py`: a block of sums for some filters and neighbouring columns.

    z[f*N + j] = b[f] + sum over a < KH, e < KW, c < C of
                 p[a*pitch + e + c*plane + j] w[((a*KW + e)*C + c)*F + f]     f < F, j < N      (1)

A tile is as in `_tile.py`, with filters as its rows: each vector of p that is loaded is used for
several filters, and each weight for several vectors.  The terms of a sum are added in the order
a, e, c.  p and z are parts of one array.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._channels_last import MOST_CHANNELS
from ._jit import TILE, helper
from ._simd import INTP, Vectors, element, for_each_row_count, intp, loop
from ._tile import BYTES, ROWS, VECTORS
from ._winograd import copy

MOST_FILTERS = min(ROWS, MOST_CHANNELS)
"""Filters of a tile."""


def _make_tile(n_vectors: int) -> Any:
    """An intrinsic for (1) with n_filters <= MOST_FILTERS and n_vectors vectors of columns."""

    @intrinsic
    def tile(typingctx, n_filters, F, N, KH, KW, C, w, w_off, x, x_off, pitch, plane, bias,
             bias_off, z_off):  # fmt: skip
        signature = types.void(*(INTP,) * 6, w, INTP, x, *(INTP,) * 3, bias, *(INTP,) * 2)

        def codegen(context, builder, sig, args):
            (n_filters, F, N, KH, KW, C, w, w_off, x, x_off, pitch, plane, bias, bias_off,
             z_off) = args  # fmt: skip
            vectors = Vectors(builder, sig.args[8].dtype, BYTES)
            pw = element(context, builder, sig.args[6], w, w_off)
            px = element(context, builder, sig.args[8], x, x_off)
            pz = element(context, builder, sig.args[8], x, z_off)
            pb = element(context, builder, sig.args[12], bias, bias_off)
            of_column = builder.mul(C, F)
            of_row = builder.mul(KW, of_column)

            def emit(n):
                totals = {}
                for f in range(n):
                    first = vectors.broadcast(builder.load(builder.gep(pb, [intp(f)])))
                    for v in range(n_vectors):
                        totals[f, v] = vectors.register(first)
                with (
                    loop(builder, KH, [pw, px], [of_row, pitch]) as of_a,
                    loop(builder, KW, of_a, [of_column, intp(1)]) as of_e,
                    loop(builder, C, of_e, [F, plane]) as (w_c, x_c),
                ):
                    columns = [vectors.load(x_c, v) for v in range(n_vectors)]
                    for f in range(n):
                        weight = builder.load(builder.gep(w_c, [intp(f)]))
                        for v in range(n_vectors):
                            old = builder.load(totals[f, v])
                            new = vectors.multiply_add(vectors.broadcast(weight), columns[v], old)
                            builder.store(new, totals[f, v])
                for f in range(n):
                    z_f = builder.gep(pz, [builder.mul(N, intp(f))])
                    for v in range(n_vectors):
                        vectors.store(builder.load(totals[f, v]), z_f, v)

            for_each_row_count(builder, n_filters, MOST_FILTERS, emit)
            return context.get_dummy_value()

        return signature, codegen

    return tile


_block, _vector = _make_tile(VECTORS), _make_tile(1)


def filter_rows_plain(F, N, KH, KW, C, w, x, x_off, pitch, plane, bias, z_off):
    """Equation (1) in indexed loops; the arguments are those of `filter_rows_tiled`."""
    for f in range(F):
        for j in range(N):
            x[z_off + f * N + j] = bias[f]
    for a in range(KH):
        for e in range(KW):
            for c in range(C):
                for f in range(F):
                    weight = w[((a * KW + e) * C + c) * F + f]
                    x_at, z_at = x_off + a * pitch + e + c * plane, z_off + f * N
                    for j in range(N):
                        x[z_at + j] += x[x_at + j] * weight


def filter_rows_tiled(
    F, N, KH, KW, C, w, x, x_off, pitch, plane, bias, z_off
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) for N columns in whole vectors.

    w, x  flat; p begins at x[x_off], z at x[z_off]
    """
    if C == 1:  # the columns of taps as if they were channels: a loop less around each product
        KW, C, plane = 1, KW, 1
    lanes = BYTES // x.itemsize
    n_blocks, f = -(-F // MOST_FILTERS), 0
    for block in range(n_blocks):
        n_filters, j = (F - f) // (n_blocks - block), 0
        while j < N:
            at, to = x_off + j, z_off + f * N + j
            if N - j >= VECTORS * lanes:
                _block(n_filters, F, N, KH, KW, C, w, f, x, at, pitch, plane, bias, f, to)
                j += VECTORS * lanes
            else:
                _vector(n_filters, F, N, KH, KW, C, w, f, x, at, pitch, plane, bias, f, to)
                j += lanes
        f += n_filters


def copy_row_plain(count, x, x_off, y, y_off):
    """Copy `count` elements."""
    for k in range(count):
        y[y_off + k] = x[x_off + k]


def copy_row_compiled(count, x, x_off, y, y_off):  # pragma: no cover: intrinsics only run compiled
    """Copy `count` elements."""
    copy(count, x, x_off, y, y_off)


filter_rows_plain, copy_row_plain = helper(filter_rows_plain), helper(copy_row_plain)
filter_rows = filter_rows_plain if TILE.plain else helper(filter_rows_tiled)
copy_row = copy_row_plain if TILE.plain else helper(copy_row_compiled)
