"""The inner loop of average pooling: with vectors, whose lanes are channels, and in plain loops.

`window_mean` does a row of windows; equation (1) is in the docstring of `window_mean_tiled`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import INTP, Vectors, element


def make_window_mean(vector_bytes: int) -> Any:
    """An intrinsic for one vector of (1).  vector_bytes of 0 means a single lane; y_off is the
    offset of the result."""

    @intrinsic
    def mean(typingctx, n_rows, n_columns, x, x_off, row_step, column_step, factor, y, y_off):
        signature = types.void(INTP, INTP, x, *(INTP,) * 3, types.float64, y, INTP)

        def codegen(context, builder, sig, args):
            n_rows, n_columns, x, x_off, row_step, column_step, factor, y, y_off = args
            vectors = Vectors(builder, sig.args[2].dtype, vector_bytes)
            px = element(context, builder, sig.args[2], x, x_off)
            py = element(context, builder, sig.args[7], y, y_off)
            in_float32 = vectors.scalar_bytes == 4
            wide = ir.VectorType(ir.DoubleType(), vectors.lanes)
            total = vectors.register(ir.Constant(wide, [0.0] * vectors.lanes))
            with cgutils.for_range(builder, n_rows) as a:
                row = builder.gep(px, [builder.mul(a.index, row_step)])
                with cgutils.for_range(builder, n_columns) as e:
                    value = vectors.load(builder.gep(row, [builder.mul(e.index, column_step)]))
                    value = builder.fpext(value, wide) if in_float32 else value
                    builder.store(builder.fadd(builder.load(total), value), total)
            result = builder.fmul(builder.load(total), vectors.broadcast(factor))
            vectors.store(builder.fptrunc(result, vectors.type) if in_float32 else result, py)
            return context.get_dummy_value()

        return signature, codegen

    return mean


BYTES = TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4

_mean_vector, _mean_half = make_window_mean(BYTES), make_window_mean(HALF)
_mean_quarter, _mean_lane = make_window_mean(QUARTER), make_window_mean(0)


def window_mean_plain(n_windows, C, n_rows, n_columns, x, x_off, S, row_step, n_taps, y, y_off):
    """Equation (1) in indexed loops; the arguments are those of `window_mean_tiled`."""
    for k in range(n_windows):
        for c in range(C):
            total = 0.0
            for a in range(n_rows):
                for e in range(n_columns):
                    total += float(x[x_off + (k * S + e) * C + a * row_step + c])
            y[y_off + k * C + c] = total * (1.0 / n_taps)


def window_mean_tiled(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, n_taps, y, y_off
):  # pragma: no cover: intrinsics only run compiled
    """The mean of each window of a row of windows.  Sums are in float64.

        y[k, c] = sum over a < n_rows, e < n_columns of x[k*S*C + a*row_step + e*C + c] / n_taps (1)

    n_windows  windows k, S columns apart;  C  channels, which fill the lanes of vectors
    y          flat, written from y_off on
    x_off and y_off are offsets in flat arrays, as in `_tile.py`.
    """
    size, factor = x.itemsize, 1.0 / n_taps
    for k in range(n_windows):
        c = 0
        while c < C:
            left = (C - c) * size
            at, out = x_off + k * S * C + c, y_off + k * C + c
            if left >= BYTES:
                _mean_vector(n_rows, n_columns, x, at, row_step, C, factor, y, out)
                c += BYTES // size
            elif left >= HALF:
                _mean_half(n_rows, n_columns, x, at, row_step, C, factor, y, out)
                c += HALF // size
            elif left >= QUARTER and QUARTER >= size:
                _mean_quarter(n_rows, n_columns, x, at, row_step, C, factor, y, out)
                c += QUARTER // size
            else:
                _mean_lane(n_rows, n_columns, x, at, row_step, C, factor, y, out)
                c += 1


window_mean_plain = helper(window_mean_plain)
if TILE.plain:
    window_mean = window_mean_plain
else:
    window_mean_tiled = helper(window_mean_tiled)
    window_mean = window_mean_tiled
