"""Sums over a list of places: what the backward pass through a max-pooling consists of.

Of each pooling window one position, the winner, has a gradient.  With a list of winners k < K, each
with its gradient g[k] and the place at[k] where its taps begin in a flat image with rows of xm:

    gather    c[m, n] += sum over k of g[k] * x[at[k] + m*xm + n]            m < M, n < N       (1)
    scatter   x[at[k] + m*xm + n] += g[k] * c[m, n]           for all k < K, m < M, n < N       (2)

(1) is a convolution's weight gradient, (2) its input gradient; c[m, n] = c[c_off + m*N + n].  As
in `_tile.py` columns left over are done by narrower vectors, and each has a twin in plain loops.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import TILE, kernel
from ._simd import I64, INTP, Vectors, element, for_each_row_count, intp, loop


def _make(scatter: bool, vector_bytes: int, n_vectors: int, max_rows: int) -> Any:
    """An intrinsic for (1) or (2) on n_vectors whole vectors and 1 <= rows <= max_rows."""

    @intrinsic
    def winners(typingctx, rows, K, g, at, list_off, x, x_off, xm, c, c_off, cm):
        signature = types.void(INTP, INTP, g, at, INTP, x, *(INTP,) * 2, c, *(INTP,) * 2)

        def codegen(context, builder, sig, args):
            rows, K, g, at, list_off, x, x_off, xm, c, c_off, cm = args
            vectors = Vectors(builder, sig.args[5].dtype, vector_bytes)
            pg = element(context, builder, sig.args[2], g, list_off)
            pat = element(context, builder, sig.args[3], at, list_off)
            px = element(context, builder, sig.args[5], x, x_off)
            pc = element(context, builder, sig.args[8], c, c_off)

            def emit(n_rows):
                grid = [(m, v) for m in range(n_rows) for v in range(n_vectors)]
                c_rows = [builder.gep(pc, [builder.mul(cm, intp(m))]) for m in range(n_rows)]
                held = {(m, v): vectors.register(vectors.load(c_rows[m], v)) for m, v in grid}
                with loop(builder, K, [pg, pat], [intp(1), intp(1)]) as (g_k, at_k):
                    factor = vectors.broadcast(builder.load(g_k))
                    first = builder.gep(px, [builder.sext(builder.load(at_k), I64)])
                    x_rows = [builder.gep(first, [builder.mul(xm, intp(m))]) for m in range(n_rows)]
                    for m, v in grid:
                        there, here = vectors.load(x_rows[m], v), builder.load(held[m, v])
                        if scatter:
                            vectors.store(vectors.multiply_add(factor, here, there), x_rows[m], v)
                        else:
                            total = vectors.multiply_add(factor, there, here)
                            builder.store(total, held[m, v])
                if not scatter:
                    for m, v in grid:
                        vectors.store(builder.load(held[m, v]), c_rows[m], v)

            for_each_row_count(builder, rows, max_rows, emit)
            return context.get_dummy_value()

        return signature, codegen

    return winners


ROWS, BYTES = min(TILE.n_rows, 8), TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4
FEW_ROWS = max(ROWS // 2, 1)  # with two vectors a row

_gather_block, _scatter_block = _make(False, BYTES, 2, FEW_ROWS), _make(True, BYTES, 2, FEW_ROWS)
_gather_vector, _scatter_vector = _make(False, BYTES, 1, ROWS), _make(True, BYTES, 1, ROWS)
_gather_half, _scatter_half = _make(False, HALF, 1, ROWS), _make(True, HALF, 1, ROWS)
_gather_quarter, _scatter_quarter = _make(False, QUARTER, 1, ROWS), _make(True, QUARTER, 1, ROWS)
_gather_lane, _scatter_lane = _make(False, 0, 1, 2), _make(True, 0, 1, 2)


def _gather_plain(M, N, K, g, at, list_off, x, x_off, xm, c, c_off):
    """(1) in indexed loops."""
    for k in range(list_off, list_off + K):
        for m in range(M):
            for n in range(N):
                c[c_off + m * N + n] += g[k] * x[x_off + at[k] + m * xm + n]


def _scatter_plain(M, N, K, g, at, list_off, x, x_off, xm, c, c_off):
    """(2) in indexed loops."""
    for k in range(list_off, list_off + K):
        for m in range(M):
            for n in range(N):
                x[x_off + at[k] + m * xm + n] += g[k] * c[c_off + m * N + n]


@kernel
def _width(left, size):
    """Bytes of the widest step for `left` bytes of columns."""
    if left >= 2 * BYTES:
        return 2 * BYTES
    if left >= BYTES:
        return BYTES
    if left >= HALF:
        return HALF
    if left >= QUARTER and QUARTER >= size:
        return QUARTER
    return size


def _gather_tiled(M, N, K, g, at, list_off, x, x_off, xm, c, c_off):
    """(1) for any M, N, K."""
    size, n = x.itemsize, 0
    while n < N:
        width = _width((N - n) * size, size)
        max_rows = 2 if width == size else FEW_ROWS if width == 2 * BYTES else ROWS
        for m in range(0, M, max_rows):
            rows, xo, co = min(M - m, max_rows), x_off + m * xm + n, c_off + m * N + n
            if width == 2 * BYTES:
                _gather_block(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            elif width == BYTES:
                _gather_vector(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            elif width == HALF:
                _gather_half(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            elif width == QUARTER and width > size:
                _gather_quarter(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            else:
                _gather_lane(rows, K, g, at, list_off, x, xo, xm, c, co, N)
        n += width // size


def _scatter_tiled(M, N, K, g, at, list_off, x, x_off, xm, c, c_off):
    """(2) for any M, N, K."""
    size, n = x.itemsize, 0
    while n < N:
        width = _width((N - n) * size, size)
        max_rows = 2 if width == size else FEW_ROWS if width == 2 * BYTES else ROWS
        for m in range(0, M, max_rows):
            rows, xo, co = min(M - m, max_rows), x_off + m * xm + n, c_off + m * N + n
            if width == 2 * BYTES:
                _scatter_block(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            elif width == BYTES:
                _scatter_vector(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            elif width == HALF:
                _scatter_half(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            elif width == QUARTER and width > size:
                _scatter_quarter(rows, K, g, at, list_off, x, xo, xm, c, co, N)
            else:
                _scatter_lane(rows, K, g, at, list_off, x, xo, xm, c, co, N)
        n += width // size


gather_plain, scatter_plain = kernel(_gather_plain), kernel(_scatter_plain)
if TILE.plain:
    gather, scatter = gather_plain, scatter_plain
else:
    gather, scatter = kernel(_gather_tiled), kernel(_scatter_tiled)
