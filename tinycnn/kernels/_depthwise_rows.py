"""The inner loops of `depthwise_conv2d_3x3.py`: channels in the lanes of vectors.

As in `_tile.py`, arrays are flat and offsets and distances count elements.  The channels are
`n_vectors` whole vectors (`add_params`: one), or one vector of which the first `n_lanes` exist.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE
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
COLUMNS, COLUMNS_STRIDE_2 = 8, 6
"""Outputs of a row that are computed together: neighbours read the same inputs."""

TAPS = 3


def _zeros(builder: ir.IRBuilder, scalar: ir.Type, count: int) -> ir.Value:
    """Pointer to `count` zeros in memory, a constant of the module."""
    name, kind = f"tinycnn.zeros.{count}.{scalar}", ir.ArrayType(scalar, count)
    constant = builder.module.globals.get(name)
    if constant is None:
        constant = ir.GlobalVariable(builder.module, kind, name)
        constant.linkage, constant.global_constant = "internal", True
        constant.initializer = ir.Constant(kind, [0.0] * count)
    return builder.bitcast(constant, scalar.as_pointer())


def _make_compute_rows(stride: int, most_columns: int) -> Any:
    """An intrinsic for the same n_columns <= most_columns neighbouring outputs of n_rows rows.

    All channels of a row are computed before the next row: so the rows of x that two rows of
    outputs share are still in the first cache.
    """

    @intrinsic
    def compute_rows(typingctx, n_rows, n_columns, n_vectors, n_lanes, x, x_off, x_row, x_column,
                     top, left, H, W, w, w_off, w_tap, bias, bias_off, relu,
                     y, y_off, y_row, y_column):  # fmt: skip
        """For each channel, the next elements of all arrays:

            y[i, j] = relu(bias + sum over a, e < 3 of
                           x[i*stride - top + a, j*stride - left + e] w[a, e])

        x[h, v] is x[x_off + h*x_row + v*x_column], or 0 unless 0 <= h < H and 0 <= v < W; w[a, e]
        is w[w_off + (3*a + e)*w_tap], y[i, j] is y[y_off + i*y_row + j*y_column], the bias is
        bias[bias_off].  Of the columns of x only the first two and the last two may lie outside;
        top and left may be negative.  Terms are added in the order a, then e.
        """

        def codegen(context, builder, sig, args):
            (n_rows, n_columns, n_vectors, n_lanes, x, x_off, x_row, x_column, top, left, H, W,
             w, w_off, w_tap, bias, bias_off, relu, y, y_off, y_row, y_column) = args  # fmt: skip
            dtype = sig.args[4].dtype
            start = builder.sub(x_off, builder.mul(left, x_column))
            px = element(context, builder, sig.args[4], x, start)
            pw = element(context, builder, sig.args[12], w, w_off)
            pb = element(context, builder, sig.args[15], bias, bias_off)
            py = element(context, builder, sig.args[18], y, y_off)
            row_of_taps = builder.mul(w_tap, intp(TAPS))

            def at(pointer: ir.Value, step: ir.Value, count: int) -> ir.Value:
                return builder.gep(pointer, [builder.mul(step, intp(count))])

            def larger(a: ir.Value, b: ir.Value) -> ir.Value:
                return builder.select(builder.icmp_signed(">", a, b), a, b)

            def smaller(a: ir.Value, b: ir.Value) -> ir.Value:
                return builder.select(builder.icmp_signed("<", a, b), a, b)

            def emit_vector(
                v: Vectors, n: int, inside: dict[int, ir.Value], zeros: ir.Value,
                n_taps: ir.Value, row: ir.Value, first_taps: ir.Value, bias_c: ir.Value,
            ) -> list[ir.Value]:  # fmt: skip
                """The sums of a vector of channels, from n_taps rows of x."""
                bias_value = v.load(bias_c)
                total = [v.register(bias_value) for _ in range(n)]
                with loop(builder, n_taps, [row, first_taps], [x_row, row_of_taps]) as (qx, qw):
                    taps = [v.load(at(qw, w_tap, e)) for e in range(TAPS)]
                    inputs = []
                    for k in range((n - 1) * stride + TAPS):
                        pointer = at(qx, x_column, k)
                        if k in inside:
                            pointer = builder.select(inside[k], pointer, zeros)
                        inputs.append(v.load(pointer))
                    for e in range(TAPS):
                        for j in range(n):
                            old = builder.load(total[j])
                            new = v.multiply_add(inputs[j * stride + e], taps[e], old)
                            builder.store(new, total[j])
                return [builder.load(register) for register in total]

            def emit(v: Vectors, n: int) -> None:
                zeros = _zeros(builder, v.scalar, BYTES // v.scalar_bytes)
                n_inputs = (n - 1) * stride + TAPS
                inside = {
                    k: builder.icmp_unsigned("<", builder.sub(intp(k), left), W)
                    for k in range(n_inputs)
                    if k < 2 or k >= n_inputs - 2
                }
                wants_relu = builder.icmp_signed("!=", relu, intp(0))
                nothing, lowest = (
                    ir.Constant(v.type, [value] * v.lanes) for value in (0.0, float("-inf"))
                )
                floor = builder.select(wants_relu, nothing, lowest)
                with cgutils.for_range(builder, n_rows) as rows:
                    above = builder.sub(top, builder.mul(rows.index, intp(stride)))
                    a0 = larger(above, intp(0))
                    n_taps = builder.sub(smaller(builder.add(H, above), intp(TAPS)), a0)
                    row = builder.gep(px, [builder.mul(builder.sub(a0, above), x_row)])
                    first_taps = builder.gep(pw, [builder.mul(a0, row_of_taps)])
                    y_i = builder.gep(py, [builder.mul(rows.index, y_row)])
                    starts, steps = [row, first_taps, pb, y_i], [intp(v.lanes)] * 4
                    with loop(builder, n_vectors, starts, steps) as (x_c, w_c, b_c, y_c):
                        sums = emit_vector(v, n, inside, zeros, n_taps, x_c, w_c, b_c)
                        for j, value in enumerate(sums):
                            v.store(v.at_least(floor, value), at(y_c, y_column, j))

            def emit_columns(v: Vectors) -> None:
                for_each_row_count(builder, n_columns, most_columns, lambda n: emit(v, n))

            for_whole_or_first_lanes(builder, dtype, BYTES, n_lanes, emit_columns)
            return context.get_dummy_value()

        signature = types.void(
            *(INTP,) * 4, x, *(INTP,) * 7, w, *(INTP,) * 2, bias, *(INTP,) * 2, y, *(INTP,) * 3
        )
        return signature, codegen

    return compute_rows


compute_rows = _make_compute_rows(1, COLUMNS)
compute_rows_stride_2 = _make_compute_rows(2, COLUMNS_STRIDE_2)


@intrinsic
def add_params(typingctx, n_rows, n_columns, n_lanes, x, x_off, x_row, x_column,
               dy, dy_off, dy_row, dy_column, dw, dw_off, dw_tap, db, db_off):  # fmt: skip
    """Gradients of the nine taps and of the bias, summed over the outputs of a picture:

        dw[a, e] += sum over i < n_rows, j < n_columns of x[i + a, j + e] dy[i, j]
        db       += sum over i, j of dy[i, j]

    x[a, j] is x[x_off + a*x_row + j*x_column], dy likewise, dw[a, e] is
    dw[dw_off + (3*a + e)*dw_tap].  Terms are added in the order i, then j.
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

        for_whole_or_first_lanes(builder, dtype, BYTES, n_lanes, emit)
        return context.get_dummy_value()

    signature = types.void(
        *(INTP,) * 3, x, *(INTP,) * 3, dy, *(INTP,) * 3, dw, *(INTP,) * 2, db, INTP
    )
    return signature, codegen
