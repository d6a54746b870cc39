"""Sums over lists of places: what the backward pass through a max-pooling consists of.

Of each pooling window one position, the winner, has a gradient.  For each filter f there is a list
of winners k < counts[f] (see `_winner_lists.py`), each with its gradient g[f, k] and the place
p = place_of[at[f, k]] where its taps begin in a flat image with rows of xm elements:

    gather    c[f, m, n] += sum over k of g[f, k] * x[p + m*xm + n]       f < F, m < M, n < N   (1)
    scatter   x[p + m*xm + n] += g[f, k] * c[f, m, n]       for all f < F, k < counts[f], m, n  (2)

(1) is a convolution's weight gradient, (2) its input gradient.  All arrays are flat: g[f, k] =
g[f*L + k], at alike, c[f, m, n] = c[(f*M + m)*N + n].  As in `_tile.py` columns left over are done
by narrower vectors, and there is a twin in plain loops.  A block of rows and columns is done for
all winners before the next: in (2) that decides in which order an element's terms are added.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import TILE, kernel
from ._simd import I64, INTP, Vectors, element, for_each_row_count, intp, loop


def _make(vector_bytes: int, n_vectors: int, max_rows: int) -> Any:
    """An intrinsic for (1) and (2) on n_vectors whole vectors and max_rows or fewer of 1 ... 4, 8.

    is_scatter is 0 or 1, a run-time number like rows: the code holds a variant for each pair, and
    all filters are done by one jump to it.  5, 6 and 7 rows have none, for each is code to compile.
    """

    @intrinsic
    def winners(typingctx, is_scatter, rows, F, L, g, at, counts, place_of, x, x_off, xm,
                c, c_off, cf, cm):  # fmt: skip
        arrays = (g, at, counts, place_of, x, INTP, INTP, c, INTP, INTP, INTP)
        signature = types.void(*(INTP,) * 4, *arrays)

        def codegen(context, builder, sig, args):
            is_scatter, rows, F, L, g, at, counts, place_of, x, x_off, xm, c, c_off, cf, cm = args
            vectors = Vectors(builder, sig.args[8].dtype, vector_bytes)
            lists = [
                element(context, builder, sig.args[k], args[k], intp(0)) for k in (4, 5, 6)
            ] + [element(context, builder, sig.args[11], c, c_off)]
            places = element(context, builder, sig.args[7], place_of, intp(0))
            image = element(context, builder, sig.args[8], x, x_off)

            def emit(variant):
                n_rows, scatters = (0, 1, 2, 3, 4, 8)[(variant + 1) // 2], variant % 2 == 0
                grid = [(m, v) for m in range(n_rows) for v in range(n_vectors)]
                with loop(builder, F, lists, [L, L, intp(1), cf]) as (g_f, at_f, count, c_f):
                    c_rows = [builder.gep(c_f, [builder.mul(cm, intp(m))]) for m in range(n_rows)]
                    held = {(m, v): vectors.register(vectors.load(c_rows[m], v)) for m, v in grid}
                    K = builder.load(count)
                    with loop(builder, K, [g_f, at_f], [intp(1), intp(1)]) as (g_k, at_k):
                        factor = vectors.broadcast(builder.load(g_k))
                        position = builder.zext(builder.load(at_k), I64)
                        place = builder.sext(builder.load(builder.gep(places, [position])), I64)
                        taps = builder.gep(image, [place])
                        for m in range(n_rows):
                            row = builder.gep(taps, [builder.mul(xm, intp(m))])
                            for v in range(n_vectors):
                                there, here = vectors.load(row, v), builder.load(held[m, v])
                                if scatters:
                                    total = vectors.multiply_add(factor, here, there)
                                    vectors.store(total, row, v)
                                else:
                                    total = vectors.multiply_add(factor, there, here)
                                    builder.store(total, held[m, v])
                    if not scatters:
                        for m, v in grid:
                            vectors.store(builder.load(held[m, v]), c_rows[m], v)

            # rows in 1, 2, 3, 4, 8 -> variants 1 ... 10
            few = builder.select(builder.icmp_signed("==", rows, intp(8)), intp(5), rows)
            variant = builder.add(builder.mul(intp(2), few), builder.sub(is_scatter, intp(1)))
            for_each_row_count(builder, variant, 2 * min(max_rows, 5), emit)
            return context.get_dummy_value()

        return signature, codegen

    return winners


BYTES = TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4
HELD = 16 if BYTES == 64 else 8  # vectors that stay in registers, beside those in use

_block, _vector = _make(BYTES, 2, HELD // 2), _make(BYTES, 1, 8)
_half, _quarter, _lane = _make(HALF, 1, 8), _make(QUARTER, 1, 4), _make(0, 1, 2)


def add_winners_plain(is_scatter, M, N, F, L, g, at, counts, place_of, x, xm, c):
    """(1), or (2) for is_scatter = 1, in indexed loops."""
    for f in range(F):
        for k in range(f * L, f * L + counts[f]):
            for m in range(M):
                here, there = (f * M + m) * N, place_of[at[k]] + m * xm
                for n in range(N):
                    if is_scatter:
                        x[there + n] += g[k] * c[here + n]
                    else:
                        c[here + n] += g[k] * x[there + n]


def add_winners_tiled(is_scatter, M, N, F, L, g, at, counts, place_of, x, xm, c):
    """(1), or (2) for is_scatter = 1, for any M, N and F."""
    size, n, cf = x.itemsize, 0, M * N
    while n < N:
        left = (N - n) * size
        if left >= 2 * BYTES:
            width, max_rows = 2 * BYTES, HELD // 2
        elif left >= BYTES:
            width, max_rows = BYTES, 8
        elif left >= HALF:
            width, max_rows = HALF, 8
        elif left >= QUARTER and QUARTER > size:
            width, max_rows = QUARTER, 4
        else:
            width, max_rows = size, 2
        m = 0
        while m < M:
            rows = 8 if M - m >= 8 and max_rows == 8 else min(M - m, max_rows, 4)
            xo, co = m * xm + n, m * N + n
            if width == 2 * BYTES:
                _block(is_scatter, rows, F, L, g, at, counts, place_of, x, xo, xm, c, co, cf, N)
            elif width == BYTES:
                _vector(is_scatter, rows, F, L, g, at, counts, place_of, x, xo, xm, c, co, cf, N)
            elif width == HALF:
                _half(is_scatter, rows, F, L, g, at, counts, place_of, x, xo, xm, c, co, cf, N)
            elif width == QUARTER and width > size:
                _quarter(is_scatter, rows, F, L, g, at, counts, place_of, x, xo, xm, c, co, cf, N)
            else:
                _lane(is_scatter, rows, F, L, g, at, counts, place_of, x, xo, xm, c, co, cf, N)
            m += rows
        n += width // size


add_winners_plain = kernel(add_winners_plain)
if TILE.plain:
    add_winners = add_winners_plain
else:
    add_winners_tiled = kernel(add_winners_tiled)
    add_winners = add_winners_tiled
