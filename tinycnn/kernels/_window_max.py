"""The inner loop of max-pooling: with vectors, whose lanes are channels, and in plain loops.

`window_max` does a row of windows; equation (1) is in the docstring of `window_max_tiled`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import INTP, Vectors, element


def make_window_max(vector_bytes: int) -> Any:
    """An intrinsic for one vector of (1): the largest value of a window, and its position.

    vector_bytes of 0 means a single lane; out_off is the offset of the results in y and argmax.
    """

    @intrinsic
    def tile(typingctx, n_rows, n_columns, x, x_off, row_step, column_step, first, W,
             y, argmax, out_off):  # fmt: skip
        signature = types.void(*(INTP,) * 2, x, *(INTP,) * 5, y, argmax, INTP)

        def codegen(context, builder, sig, args):
            n_rows, n_columns, x, x_off, row_step, column_step, first, W, y, argmax, out_off = args
            vectors = Vectors(builder, sig.args[2].dtype, vector_bytes)
            px = element(context, builder, sig.args[2], x, x_off)
            py = element(context, builder, sig.args[8], y, out_off)
            pa = element(context, builder, sig.args[9], argmax, out_off)
            i32 = ir.IntType(32)
            best = vectors.register(vectors.load(px))
            best_at = vectors.register(vectors.broadcast(builder.trunc(first, i32)))
            with cgutils.for_range(builder, n_rows) as a:
                row = builder.gep(px, [builder.mul(a.index, row_step)])
                row_first = builder.add(first, builder.mul(a.index, W))
                with cgutils.for_range(builder, n_columns) as e:
                    value = vectors.load(builder.gep(row, [builder.mul(e.index, column_step)]))
                    old = builder.load(best)
                    wins = builder.and_(  # larger, or a number after nothing but NaN
                        builder.fcmp_unordered("<", old, value),
                        builder.fcmp_ordered("ord", value, value),
                    )
                    position = builder.trunc(builder.add(row_first, e.index), i32)
                    position = vectors.broadcast(position)
                    builder.store(builder.select(wins, value, old), best)
                    builder.store(builder.select(wins, position, builder.load(best_at)), best_at)
            vectors.store(builder.load(best), py)
            positions = builder.load(best_at)
            builder.store(positions, builder.bitcast(pa, positions.type.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile


BYTES = TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4

_max_vector, _max_half = make_window_max(BYTES), make_window_max(HALF)
_max_quarter, _max_lane = make_window_max(QUARTER), make_window_max(0)


def window_max_plain(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, y, argmax, y_off
):
    """Equation (1) in indexed loops; the arguments are those of `window_max_tiled`."""
    for k in range(n_windows):
        for c in range(C):
            at = x_off + k * S * C + c
            best, best_at = x[at], first + k * S
            for a in range(n_rows):
                for e in range(n_columns):
                    value = x[at + a * row_step + e * C]
                    if value > best or (best != best and value == value):
                        best, best_at = value, first + k * S + a * W + e
            y[y_off + k * C + c] = best
            argmax[y_off + k * C + c] = best_at


def window_max_tiled(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, y, argmax, y_off
):  # pragma: no cover: intrinsics only run compiled
    """The largest value in each window of a row of windows, and its position.

        y[k, c] = max over a < n_rows, e < n_columns of x[k*S*C + a*row_step + e*C + c]         (1)

    n_windows  windows k, S columns apart;  C  channels, which fill the lanes of vectors
    first, W   position of the first window's first pixel, and positions in a row: argmax[k, c] is
               first + k*S + a*W + e of the largest value (the winner), the first of equal ones
    y, argmax  flat; both are written from y_off on
    Any number wins against NaN.  x_off and y_off are offsets in flat arrays, as in `_tile.py`.
    """
    size = x.itemsize
    for k in range(n_windows):
        c = 0
        while c < C:
            left = (C - c) * size
            at, out, p = x_off + k * S * C + c, y_off + k * C + c, first + k * S
            if left >= BYTES:
                _max_vector(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out)
                c += BYTES // size
            elif left >= HALF:
                _max_half(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out)
                c += HALF // size
            elif left >= QUARTER and QUARTER >= size:
                _max_quarter(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out)
                c += QUARTER // size
            else:
                _max_lane(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out)
                c += 1


window_max_plain = helper(window_max_plain)
window_max = window_max_plain if TILE.plain else helper(window_max_tiled)
