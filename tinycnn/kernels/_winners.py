"""Weighted sums of blocks found by lists: what the backward pass through a max-pooling consists of.

Of each pooling window one position, the winner, has a gradient.  A target is a block of M rows of N
columns that many winners add to; those of target t are begin[t] <= k < end[t], each with its
gradient g[k] and the number at[k] of a block of the same size in the source:

    target[to[t] + m*target_row + n] += sum over k of g[k] source[of[at[k]] + m*source_row + n]  (1)

    gradient of w   targets are the filters' taps,  sources the pixels that the positions see
    gradient of x   targets are the pixels that the positions see,  sources the filters' taps

All arrays are flat.  A target's sums stay in registers, whatever the number of its winners.  As in
`_tile.py` columns left over are done by narrower vectors, and there is a twin in plain loops.
Targets may overlap: a block of rows and columns is done for one target after the other before the
next block, which decides in which order an element's terms are added.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import I64, INTP, Vectors, element, for_each_row_count, intp, loop


def _make(vector_bytes: int, n_vectors: int, max_rows: int) -> Any:
    """An intrinsic for (1) on n_vectors whole vectors and max_rows or fewer of 1 ... 4, 8.

    rows is a run-time number: the code holds a variant for each, and all targets are done by one
    jump to it.  5, 6 and 7 rows have none, for each is code to compile.
    """

    @intrinsic
    def winners(typingctx, rows, n_targets, begin, end, to, target, t_off, t_row,
                g, at, of, source, s_off, s_row):  # fmt: skip
        arrays = (begin, end, to, target, INTP, INTP, g, at, of, source, INTP, INTP)
        signature = types.void(INTP, INTP, *arrays)

        def codegen(context, builder, sig, args):
            rows, n_targets, begin, end, to, target, t_off, t_row = args[:8]
            g, at, of, source, s_off, s_row = args[8:]
            vectors = Vectors(builder, sig.args[5].dtype, vector_bytes)
            spans = [element(context, builder, sig.args[k], args[k], intp(0)) for k in (2, 3, 4)]
            lists = [element(context, builder, sig.args[k], args[k], intp(0)) for k in (8, 9)]
            targets = element(context, builder, sig.args[5], target, t_off)
            places = element(context, builder, sig.args[10], of, intp(0))
            sources = element(context, builder, sig.args[11], source, s_off)

            def number(pointer):
                return builder.sext(builder.load(pointer), I64)

            def emit(variant):
                n_rows = (1, 2, 3, 4, 8)[variant - 1]
                grid = [(m, v) for m in range(n_rows) for v in range(n_vectors)]
                with loop(builder, n_targets, spans, [intp(1)] * 3) as span:
                    first, last, place = (number(pointer) for pointer in span)
                    block = builder.gep(targets, [place])
                    t_rows = [
                        builder.gep(block, [builder.mul(t_row, intp(m))]) for m in range(n_rows)
                    ]
                    held = {(m, v): vectors.register(vectors.load(t_rows[m], v)) for m, v in grid}
                    winners = [builder.gep(pointer, [first]) for pointer in lists]
                    n_winners = builder.sub(last, first)
                    with loop(builder, n_winners, winners, [intp(1)] * 2) as (g_k, at_k):
                        factor = vectors.broadcast(builder.load(g_k))
                        place = builder.gep(places, [number(at_k)])
                        there = builder.gep(sources, [number(place)])
                        for m in range(n_rows):
                            row = builder.gep(there, [builder.mul(s_row, intp(m))])
                            for v in range(n_vectors):
                                term = vectors.load(row, v)
                                total = vectors.multiply_add(factor, term, builder.load(held[m, v]))
                                builder.store(total, held[m, v])
                    for m, v in grid:
                        vectors.store(builder.load(held[m, v]), t_rows[m], v)

            # rows in 1, 2, 3, 4, 8 -> variants 1 ... 5
            variant = builder.select(builder.icmp_signed("==", rows, intp(8)), intp(5), rows)
            for_each_row_count(builder, variant, min(max_rows, 5), emit)
            return context.get_dummy_value()

        return signature, codegen

    return winners


BYTES = TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4
WIDE, WIDE_ROWS = (4, 4) if BYTES == 64 else (8, 1)
"""Vectors of a row, and rows, that go together: half the registers, or 8 of 32."""

_wide, _pair = _make(BYTES, WIDE, WIDE_ROWS), _make(BYTES, 2, 4)
_vector, _half = _make(BYTES, 1, 8), _make(HALF, 1, 8)
_quarter, _lane = _make(QUARTER, 1, 4), _make(0, 1, 2)


def add_winners_plain(
    M, N, n_targets, begin, end, to, target, target_row, g, at, of, source, source_row
):
    """(1) in indexed loops."""
    for t in range(n_targets):
        for k in range(begin[t], end[t]):
            for m in range(M):
                here, there = to[t] + m * target_row, of[at[k]] + m * source_row
                for n in range(N):
                    target[here + n] += g[k] * source[there + n]


def add_winners_tiled(
    M, N, n_targets, begin, end, to, target, target_row, g, at, of, source, source_row
):  # pragma: no cover: intrinsics run compiled alone
    """(1) for any M, N and n_targets; begin, end, to, at and of are int32."""
    size, n = g.itemsize, 0
    while n < N:
        left = (N - n) * size
        if left >= WIDE * BYTES:
            width, max_rows = WIDE * BYTES, WIDE_ROWS
        elif left >= 2 * BYTES:
            width, max_rows = 2 * BYTES, 4
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
            to_at, from_at = m * target_row + n, m * source_row + n
            there = (n_targets, begin, end, to, target, to_at, target_row)
            given = (g, at, of, source, from_at, source_row)
            if width == WIDE * BYTES:
                _wide(rows, *there, *given)
            elif width == 2 * BYTES:
                _pair(rows, *there, *given)
            elif width == BYTES:
                _vector(rows, *there, *given)
            elif width == HALF:
                _half(rows, *there, *given)
            elif width == QUARTER and width > size:
                _quarter(rows, *there, *given)
            else:
                _lane(rows, *there, *given)
            m += rows
        n += width // size


add_winners_plain = helper(add_winners_plain)
if TILE.plain:
    add_winners = add_winners_plain
else:
    add_winners_tiled = helper(add_winners_tiled)
    add_winners = add_winners_tiled
