"""The inner loops of `depthwise_conv2d_3x3.py`: channels in the lanes of vectors.

As in `_tile.py`, arrays are flat and offsets and distances count elements.  Each intrinsic does one
vector of channels, of which the first `n_lanes` exist.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE
from ._simd import INTP, FirstLanes, Vectors, element, for_each_row_count, intp, loop

BYTES = TILE.vector_bytes
COLUMNS = 8
"""Outputs of a row that are computed together: neighbours read the same inputs."""


def _for_both_widths(builder: ir.IRBuilder, dtype: Any, n_lanes: ir.Value, emit: Any) -> None:
    """Emit code for a whole vector, and for the first lanes of one, and a choice between them."""
    whole = Vectors(builder, dtype, BYTES)
    fills = builder.icmp_signed(">=", n_lanes, intp(whole.lanes))
    with builder.if_else(fills) as (then, otherwise):
        with then:
            emit(whole)
        with otherwise:
            emit(FirstLanes(builder, dtype, BYTES, n_lanes))


@intrinsic
def compute_row(typingctx, n_columns, n_lanes, x, x_off, x_row, x_column, w, w_off, w_tap,
            bias, bias_off, relu, y, y_off, y_column):  # fmt: skip
    """Neighbouring outputs of a row, n_columns <= COLUMNS of them:

        y[j] = relu(bias + sum over a, e < 3 of x[a, j + e] w[a, e])

    x[a, j] is x[x_off + a*x_row + j*x_column], w[a, e] is w[w_off + (3*a + e)*w_tap], y[j] is
    y[y_off + j*y_column], the bias is bias[bias_off].  Terms are added in the order a, then e.
    """

    def codegen(context, builder, sig, args):
        (n_columns, n_lanes, x, x_off, x_row, x_column, w, w_off, w_tap,
         bias, bias_off, relu, y, y_off, y_column) = args  # fmt: skip
        dtype = sig.args[2].dtype
        px = element(context, builder, sig.args[2], x, x_off)
        pw = element(context, builder, sig.args[6], w, w_off)
        pb = element(context, builder, sig.args[9], bias, bias_off)
        py = element(context, builder, sig.args[12], y, y_off)

        def at(pointer: ir.Value, step: ir.Value, count: int) -> ir.Value:
            return builder.gep(pointer, [builder.mul(step, intp(count))])

        def emit(v: Vectors, n: int) -> None:
            first = v.load(pb)
            total = [v.register(first) for _ in range(n)]
            three_taps = builder.mul(w_tap, intp(3))
            with loop(builder, intp(3), [px, pw], [x_row, three_taps]) as (qx, qw):
                taps = [v.load(at(qw, w_tap, e)) for e in range(3)]
                inputs = [v.load(at(qx, x_column, k)) for k in range(n + 2)]
                for e in range(3):
                    for j in range(n):
                        old = builder.load(total[j])
                        new = v.multiply_add(inputs[j + e], taps[e], old)
                        builder.store(new, total[j])
            wants_relu = builder.icmp_signed("!=", relu, intp(0))
            zeros, lowest = (
                ir.Constant(v.type, [value] * v.lanes) for value in (0.0, float("-inf"))
            )
            floor = builder.select(wants_relu, zeros, lowest)
            for j in range(n):
                v.store(v.at_least(floor, builder.load(total[j])), at(py, y_column, j))

        def emit_columns(v: Vectors) -> None:
            for_each_row_count(builder, n_columns, COLUMNS, lambda n: emit(v, n))

        _for_both_widths(builder, dtype, n_lanes, emit_columns)
        return context.get_dummy_value()

    signature = types.void(
        *(INTP,) * 2, x, *(INTP,) * 3, w, *(INTP,) * 2, bias, *(INTP,) * 2, y, *(INTP,) * 2
    )
    return signature, codegen


@intrinsic
def add_params(typingctx, n_rows, n_columns, n_lanes, x, x_off, x_row, x_column,
               dy, dy_off, dy_row, dy_column, dw, dw_off, dw_tap, db, db_off):  # fmt: skip
    """Gradients of the nine taps and of the bias, summed over the outputs of a picture:

        dw[a, e] += sum over i < n_rows, j < n_columns of x[i + a, j + e] dy[i, j]
        db       += sum over i, j of dy[i, j]

    Arrays are addressed as in `compute_row`.  Terms are added in the order i, then j.
    """

    def codegen(context, builder, sig, args):
        (n_rows, n_columns, n_lanes, x, x_off, x_row, x_column,
         dy, dy_off, dy_row, dy_column, dw, dw_off, dw_tap, db, db_off) = args  # fmt: skip
        dtype = sig.args[3].dtype
        px = element(context, builder, sig.args[3], x, x_off)
        pdy = element(context, builder, sig.args[7], dy, dy_off)
        pdw = element(context, builder, sig.args[11], dw, dw_off)
        pdb = element(context, builder, sig.args[14], db, db_off)

        def at(pointer: ir.Value, step: ir.Value, count: int) -> ir.Value:
            return builder.gep(pointer, [builder.mul(step, intp(count))])

        def emit(v: Vectors) -> None:
            targets = [at(pdw, dw_tap, k) for k in range(9)]
            total = [v.register(v.load(target)) for target in targets]
            sum_of_dy = v.register(v.load(pdb))
            with loop(builder, n_rows, [px, pdy], [x_row, dy_row]) as (x_i, dy_i):
                with loop(builder, n_columns, [x_i, dy_i], [x_column, dy_column]) as (x_j, dy_j):
                    value = v.load(dy_j)
                    builder.store(builder.fadd(builder.load(sum_of_dy), value), sum_of_dy)
                    for a in range(3):
                        line = at(x_j, x_row, a)
                        for e in range(3):
                            register = total[3 * a + e]
                            x_value = v.load(at(line, x_column, e))
                            new = v.multiply_add(x_value, value, builder.load(register))
                            builder.store(new, register)
            for target, register in zip(targets, total):
                v.store(builder.load(register), target)
            v.store(builder.load(sum_of_dy), pdb)

        _for_both_widths(builder, dtype, n_lanes, emit)
        return context.get_dummy_value()

    signature = types.void(
        *(INTP,) * 3, x, *(INTP,) * 3, dy, *(INTP,) * 3, dw, *(INTP,) * 2, db, INTP
    )
    return signature, codegen
