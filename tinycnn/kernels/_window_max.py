"""The inner loop of max-pooling in vectors, channels in lanes, and its twin in plain loops.

`window_max` does a row of windows; equation (1) stands in its docstring.
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
    """An intrinsic for one vector of (1): the largest of a window, and its position.

    vector_bytes of 0 means a single lane.  Signature: (n_rows, n_columns, x, x_off, row_step,
    column_step, first, W, y, y_off, argmax, argmax_off).
    """

    @intrinsic
    def tile(
        typingctx,
        n_rows,
        n_columns,
        x,
        x_off,
        row_step,
        column_step,
        first,
        W,
        y,
        y_off,
        argmax,
        argmax_off,
    ):
        signature = types.void(*(INTP,) * 2, x, *(INTP,) * 5, y, INTP, argmax, INTP)

        def codegen(context, builder, sig, args):
            n_rows, n_columns, x, x_off, row_step, column_step, first, W, y, y_off, p, p_off = args
            vectors = Vectors(builder, sig.args[2].dtype, vector_bytes)
            start = element(context, builder, sig.args[2], x, x_off)
            winner = element(context, builder, sig.args[10], p, p_off)
            i32 = ir.IntType(32)
            best = vectors.register(vectors.load(start))
            owner = vectors.register(vectors.broadcast(builder.trunc(first, i32)))
            with cgutils.for_range(builder, n_rows) as a:
                row = builder.gep(start, [builder.mul(a.index, row_step)])
                row_first = builder.add(first, builder.mul(a.index, W))
                with cgutils.for_range(builder, n_columns) as e:
                    rival = vectors.load(builder.gep(row, [builder.mul(e.index, column_step)]))
                    held = builder.load(best)
                    wins = builder.and_(  # larger, or a number where there was only NaN
                        builder.fcmp_unordered("<", held, rival),
                        builder.fcmp_ordered("ord", rival, rival),
                    )
                    position = builder.trunc(builder.add(row_first, e.index), i32)
                    challenger = vectors.broadcast(position)
                    builder.store(builder.select(wins, rival, held), best)
                    builder.store(builder.select(wins, challenger, builder.load(owner)), owner)
            vectors.store(builder.load(best), element(context, builder, sig.args[8], y, y_off))
            owners = builder.load(owner)
            builder.store(owners, builder.bitcast(winner, owners.type.as_pointer())).align = 4
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
    """Equation (1) in indexed loops: the twin of the vector tile."""
    for k in range(n_windows):
        for c in range(C):
            at = x_off + k * S * C + c
            best, owner = x[at], first + k * S
            for a in range(n_rows):
                for e in range(n_columns):
                    rival = x[at + a * row_step + e * C]
                    if rival > best or (best != best and rival == rival):
                        best, owner = rival, first + k * S + a * W + e
            y[y_off + k * C + c] = best
            argmax[y_off + k * C + c] = owner


def window_max_tiled(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, y, argmax, y_off
):  # pragma: no cover: intrinsics run compiled alone
    """The largest value of each of a row of windows, and where it stands.

        y[k, c] = max over a < n_rows, e < n_columns of x[k*S*C + a*row_step + e*C + c]         (1)

    n_windows  windows k, S columns apart;  C  channels, the vector's lanes
    first, W   position of the first window's first pixel, and positions a row: argmax[k, c] is
               first + k*S + a*W + e of the winner, the first of equals
    y, argmax  flat; both are written from y_off on
    NaN loses to any number.  x_off and y_off are offsets in flat arrays, as in `_tile.py`.
    """
    size = x.itemsize
    for k in range(n_windows):
        c = 0
        while c < C:
            left = (C - c) * size
            at, out, p = x_off + k * S * C + c, y_off + k * C + c, first + k * S
            if left >= BYTES:
                _max_vector(n_rows, n_columns, x, at, row_step, C, p, W, y, out, argmax, out)
                c += BYTES // size
            elif left >= HALF:
                _max_half(n_rows, n_columns, x, at, row_step, C, p, W, y, out, argmax, out)
                c += HALF // size
            elif left >= QUARTER and QUARTER >= size:
                _max_quarter(n_rows, n_columns, x, at, row_step, C, p, W, y, out, argmax, out)
                c += QUARTER // size
            else:
                _max_lane(n_rows, n_columns, x, at, row_step, C, p, W, y, out, argmax, out)
                c += 1


window_max_plain = helper(window_max_plain)
if TILE.plain:
    window_max = window_max_plain
else:
    window_max_tiled = helper(window_max_tiled)
    window_max = window_max_tiled
