"""The inner loop of max-pooling in prediction, which needs no positions: with vectors, whose lanes
are channels, and in plain loops."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import (
    INTP,
    Vectors,
    element,
    for_each_row_count,
    for_whole_or_first_lanes,
    intp,
    loop,
)

BYTES = TILE.vector_bytes

UNROLLED = 3
"""Columns of a window up to which `_largest` has code without a loop over them."""


@intrinsic
def _largest(typingctx, n_windows, n_rows, n_columns, n_lanes, x, x_off, x_window, x_row, x_column,
             y, y_off, y_window):  # fmt: skip
    """The first n_lanes lanes of a vector of (1), without the positions, for a row of windows."""
    signature = types.void(*(INTP,) * 4, x, *(INTP,) * 4, y, *(INTP,) * 2)

    def codegen(context, builder, sig, args):
        (n_windows, n_rows, n_columns, n_lanes, x, x_off, x_window, x_row, x_column,
         y, y_off, y_window) = args  # fmt: skip
        px = element(context, builder, sig.args[4], x, x_off)
        py = element(context, builder, sig.args[9], y, y_off)

        def emit(v: Vectors, n: int) -> None:
            """n: the number of columns, 0 for any number."""
            lowest = ir.Constant(v.type, [float("-inf")] * v.lanes)
            with loop(builder, n_windows, [px, py], [x_window, y_window]) as (x_k, y_k):
                first = v.load(x_k)
                no_number = builder.fcmp_unordered("uno", first, first)
                best = v.register(builder.select(no_number, lowest, first))

                def compare(pointer: ir.Value) -> None:
                    value, old = v.load(pointer), builder.load(best)
                    larger = builder.fcmp_ordered(">", value, old)
                    builder.store(builder.select(larger, value, old), best)

                with loop(builder, n_rows, [x_k], [x_row]) as (row,):
                    if n:
                        for e in range(n):
                            compare(builder.gep(row, [builder.mul(x_column, intp(e))]))
                    else:
                        with loop(builder, n_columns, [row], [x_column]) as (pixel,):
                            compare(pixel)
                value = builder.load(best)
                nothing = builder.and_(no_number, builder.fcmp_ordered("==", value, lowest))
                v.store(builder.select(nothing, first, value), y_k)

        def emit_columns(v: Vectors) -> None:
            is_narrow = builder.icmp_signed("<=", n_columns, intp(UNROLLED))
            with builder.if_else(is_narrow) as (then, otherwise):
                with then:
                    for_each_row_count(builder, n_columns, UNROLLED, lambda n: emit(v, n))
                with otherwise:
                    emit(v, 0)

        for_whole_or_first_lanes(builder, sig.args[4].dtype, BYTES, n_lanes, emit_columns)
        return context.get_dummy_value()

    return signature, codegen


def window_largest_plain(n_windows, C, n_rows, n_columns, x, x_off, S, row_step, y, y_off):
    """y of equation (1) of `_window_max.py` in indexed loops, with the same arguments."""
    for k in range(n_windows):
        for c in range(C):
            at = x_off + k * S * C + c
            best = x[at]
            for a in range(n_rows):
                for e in range(n_columns):
                    value = x[at + a * row_step + e * C]
                    if value > best or (best != best and value > -np.inf):
                        best = value
            y[y_off + k * C + c] = best


def window_largest_tiled(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, y, y_off
):  # pragma: no cover: intrinsics only run compiled
    """y of equation (1) of `_window_max.py`, without the winners' positions: what prediction needs.

    The values are those of `window_max_tiled`, except that a window of NaN in its first pixel and
    otherwise only NaN and -inf gives NaN: so one instruction compares two vectors.
    """
    for c in range(0, C, BYTES // x.itemsize):
        _largest(
            n_windows, n_rows, n_columns, C - c, x, x_off + c, S * C, row_step, C, y, y_off + c, C
        )


window_largest_plain = helper(window_largest_plain)
window_largest = window_largest_plain if TILE.plain else helper(window_largest_tiled)
