"""Weighted sums of blocks that lists select: the backward pass of a convolution before max-pooling.

In each pooling window only one position, the winner, gets the gradient.  A block is M rows of N
columns.  To block t of the array `target`, the winners begin[t] <= k < end[t] are added: each has a
gradient g[k] and the number at[k] of a block of the array `source`.

    target[to[t] + m*target_row + n] += sum over k of g[k] source[of[at[k]] + m*source_row + n]  (1)

    gradient of w   targets are the taps of a filter,  sources the pixels that a position sees
    gradient of x   targets are the pixels that a position sees,  sources the taps of a filter

All arrays are flat.  The sums of a target stay in registers, however many winners it has.  As in
`_tile.py`, columns that do not fill a vector are done with narrower ones, and there is a version in
plain loops.

Blocks of the target may overlap, and then the order of the additions matters.  It is: a part of the
block (some rows and columns) is done for all targets in turn, then the next part.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import I64, INTP, Vectors, element, for_each_row_count, intp, loop


def _make(vector_bytes: int, n_vectors: int, max_rows: int) -> Any:
    """An intrinsic for (1) with n_vectors whole vectors and 1, 2, 3, 4 or 8 rows, up to max_rows.

    `rows` is known only at run time: the code has a variant for each value, and jumps to it once
    for all targets.  There is none for 5, 6 or 7 rows, to save compile time.
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
            ranges = [element(context, builder, sig.args[k], args[k], intp(0)) for k in (2, 3, 4)]
            lists = [element(context, builder, sig.args[k], args[k], intp(0)) for k in (8, 9)]
            p_target = element(context, builder, sig.args[5], target, t_off)
            p_of = element(context, builder, sig.args[10], of, intp(0))
            p_source = element(context, builder, sig.args[11], source, s_off)

            def load_index(pointer):
                return builder.sext(builder.load(pointer), I64)

            def emit(variant):
                n_rows = (1, 2, 3, 4, 8)[variant - 1]
                grid = [(m, v) for m in range(n_rows) for v in range(n_vectors)]
                with loop(builder, n_targets, ranges, [intp(1)] * 3) as pointers:
                    begin_t, end_t, to_t = (load_index(pointer) for pointer in pointers)
                    block = builder.gep(p_target, [to_t])
                    t_rows = [
                        builder.gep(block, [builder.mul(t_row, intp(m))]) for m in range(n_rows)
                    ]
                    total = {(m, v): vectors.register(vectors.load(t_rows[m], v)) for m, v in grid}
                    list_starts = [builder.gep(pointer, [begin_t]) for pointer in lists]
                    n_winners = builder.sub(end_t, begin_t)
                    with loop(builder, n_winners, list_starts, [intp(1)] * 2) as (g_k, at_k):
                        factor = vectors.broadcast(builder.load(g_k))
                        of_k = load_index(builder.gep(p_of, [load_index(at_k)]))
                        source_k = builder.gep(p_source, [of_k])
                        for m in range(n_rows):
                            row = builder.gep(source_k, [builder.mul(s_row, intp(m))])
                            for v in range(n_vectors):
                                old = builder.load(total[m, v])
                                new = vectors.multiply_add(factor, vectors.load(row, v), old)
                                builder.store(new, total[m, v])
                    for m, v in grid:
                        vectors.store(builder.load(total[m, v]), t_rows[m], v)

            # rows in 1, 2, 3, 4, 8 -> variants 1 ... 5
            variant = builder.select(builder.icmp_signed("==", rows, intp(8)), intp(5), rows)
            for_each_row_count(builder, variant, min(max_rows, 5), emit)
            return context.get_dummy_value()

        return signature, codegen

    return winners


BYTES = TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4
WIDE, WIDE_ROWS = (4, 4) if BYTES == 64 else (8, 1)
"""Vectors in a row, and rows, of the widest variant.  Its sums take half of the registers of a host
with AVX-512 or AVX2."""

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
                to_row, from_row = to[t] + m * target_row, of[at[k]] + m * source_row
                for n in range(N):
                    target[to_row + n] += g[k] * source[from_row + n]


def add_winners_tiled(
    M, N, n_targets, begin, end, to, target, target_row, g, at, of, source, source_row
):  # pragma: no cover: intrinsics only run compiled
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
            t_off, s_off = m * target_row + n, m * source_row + n
            targets = (n_targets, begin, end, to, target, t_off, target_row)
            sources = (g, at, of, source, s_off, source_row)
            if width == WIDE * BYTES:
                _wide(rows, *targets, *sources)
            elif width == 2 * BYTES:
                _pair(rows, *targets, *sources)
            elif width == BYTES:
                _vector(rows, *targets, *sources)
            elif width == HALF:
                _half(rows, *targets, *sources)
            elif width == QUARTER and width > size:
                _quarter(rows, *targets, *sources)
            else:
                _lane(rows, *targets, *sources)
            m += rows
        n += width // size


add_winners_plain = helper(add_winners_plain)
add_winners = add_winners_plain if TILE.plain else helper(add_winners_tiled)
