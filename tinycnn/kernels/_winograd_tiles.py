"""The inner loops of `conv2d_winograd_3x3.py`: weights, products and outputs, with channels or
filters in the lanes of vectors.  Those of the inputs are in `_winograd_bands.py`.

As in `_winograd.py`, every function makes an intrinsic, arrays are flat, and offsets and distances
count elements.  A loop over vectors of channels is inside each intrinsic: `n_vectors` of them.
Values of a tile are numbered (row, column); point (a, b) of a t x t transform is number a*t + b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._simd import INTP, Vectors, element, intp, loop, own_function
from ._winograd import BYTES, WIDE, Arithmetic
from ._winograd_bands import Pixels, spaced
from ._winograd_transforms import Transform

PRODUCT_ROWS = 8 if WIDE else 4  # rows of a product of matrices that are done together
FEWER_ROWS = PRODUCT_ROWS // 2  # the same for the last ones


def _both_axes(
    emit: Callable[[Any, Sequence[ir.Value]], list[ir.Value]], v: Arithmetic, rows: list[list]
) -> list[list]:
    """A transform of a matrix of vectors along its columns, then along its rows."""
    columns = [emit(v, list(column)) for column in zip(*rows)]
    return [emit(v, list(row)) for row in zip(*columns)]


def make_weights_tile(f: Transform) -> Any:
    """U = G w G^T for one channel: tap (k, l) is w[w_off + (k*r + l)*tap], point (a, b) of the
    result goes to U[u_off + (a*t + b)*u_point].  `tail` filters follow n_vectors whole vectors."""

    @intrinsic
    def code(typingctx, n_vectors, tail, w, w_off, tap, U, u_off, u_point):
        @own_function
        def codegen(context, builder, sig, args):
            n_vectors, tail, w, w_off, tap, U, u_off, u_point = args
            v = Arithmetic(builder, sig.args[2])
            pw = element(context, builder, sig.args[2], w, w_off)
            pu = element(context, builder, sig.args[5], U, u_off)

            def points(vectors: Vectors, taps: list[ir.Value], u: ir.Value) -> None:
                d = [vectors.load(at) for at in taps]
                targets = iter(spaced(builder, u, u_point, f.t**2))
                rows = [d[k * f.r : (k + 1) * f.r] for k in range(f.r)]
                for values in _both_axes(f.emit_g, v, rows):
                    for value, target in zip(values, targets):
                        v.store(value, target)

            taps = [v.at(pw, tap, k) for k in range(f.r**2)]
            pixels = Pixels(v, sig.args[2].dtype, taps, intp(0), pu, intp(0))
            pixels.for_each(intp(1), n_vectors, tail, points)

        return types.void(INTP, INTP, w, *(INTP,) * 2, U, *(INTP,) * 2), codegen

    return code


def make_weights_gradient(f: Transform) -> Any:
    """G^T dU G for one channel: point (a, b) of dU is U[u_off + (a*t + b)*u_point], tap (k, l) of
    the result goes to w[w_off + (k*r + l)*tap]."""

    @intrinsic
    def code(typingctx, n_vectors, U, u_off, u_point, w, w_off, tap):
        @own_function
        def codegen(context, builder, sig, args):
            n_vectors, U, u_off, u_point, w, w_off, tap = args
            v = Arithmetic(builder, sig.args[1])
            pu = element(context, builder, sig.args[1], U, u_off)
            pw = element(context, builder, sig.args[4], w, w_off)
            with loop(builder, n_vectors, [pu, pw], [intp(v.lanes)] * 2) as (qu, qw):
                points = [v.load(v.at(qu, u_point, p)) for p in range(f.t**2)]
                d = [points[a * f.t : (a + 1) * f.t] for a in range(f.t)]
                for k, values in enumerate(_both_axes(f.emit_gt, v, d)):
                    for j, value in enumerate(values):
                        v.store(value, v.at(qw, tap, k * f.r + j))

        return types.void(INTP, U, *(INTP,) * 2, w, *(INTP,) * 2), codegen

    return code


def _output_values(
    f: Transform, v: Arithmetic, M: ir.Value, m_point: ir.Value, bias: ir.Value
) -> list[list[ir.Value]]:
    """The m x m vectors A^T M A + bias of a tile."""
    d = [[v.load(v.at(M, m_point, a * f.t + b)) for b in range(f.t)] for a in range(f.t)]
    return [[v.add(value, bias) for value in row] for row in _both_axes(f.emit_at, v, d)]


def _floor(builder: ir.IRBuilder, v: Arithmetic, relu: ir.Value) -> ir.Value:
    """The least output: 0 with ReLU."""
    wants_relu = builder.icmp_signed("!=", relu, intp(0))
    return builder.select(wants_relu, v.splat(0), v.splat(float("-inf")))


def make_output_tile(f: Transform) -> Any:
    """y = A^T M A of one tile, with bias b[b_off + channel], and ReLU if `relu` is not 0.

    Point (a, b) of M is M[m_off + (a*t + b)*m_point]; the result (i, j) goes to
    y[y_off + i*row + j*column].
    """

    @intrinsic
    def code(typingctx, n_vectors, M, m_off, m_point, b, b_off, relu, y, y_off, row, column):
        @own_function
        def codegen(context, builder, sig, args):
            n_vectors, M, m_off, m_point, b, b_off, relu, y, y_off, row, column = args
            v = Arithmetic(builder, sig.args[1])
            pm = element(context, builder, sig.args[1], M, m_off)
            pb = element(context, builder, sig.args[4], b, b_off)
            py = element(context, builder, sig.args[7], y, y_off)
            floor = _floor(builder, v, relu)
            steps = [intp(v.lanes)] * 3
            with loop(builder, n_vectors, [pm, pb, py], steps) as (qm, qb, qy):
                for i, values in enumerate(_output_values(f, v, qm, m_point, v.load(qb))):
                    for j, value in enumerate(values):
                        v.store(v.max(floor, value), v.at(v.at(qy, row, i), column, j))

        return types.void(INTP, M, *(INTP,) * 2, b, *(INTP,) * 2, y, *(INTP,) * 3), codegen

    return code


def make_pooled_output_tile(f: Transform) -> Any:
    """The same with max-pooling of 2 x 2 before the ReLU: (m/2) x (m/2) results.

    If `keep` is not 0, the position of each maximum goes to argmax, addressed like y: that of
    result (0, 0) counts from `first`, positions in a row by 1, rows by W.
    """

    @intrinsic
    def code(typingctx, n_vectors, M, m_off, m_point, b, b_off, relu, y, y_off, row, column,
             keep, argmax, first, W):  # fmt: skip
        @own_function
        def codegen(context, builder, sig, args):
            (n_vectors, M, m_off, m_point, b, b_off, relu, y, y_off, row, column,
             keep, argmax, first, W) = args  # fmt: skip
            v = Arithmetic(builder, sig.args[1])
            pm = element(context, builder, sig.args[1], M, m_off)
            pb = element(context, builder, sig.args[4], b, b_off)
            py = element(context, builder, sig.args[7], y, y_off)
            pa = element(context, builder, sig.args[12], argmax, y_off)
            floor = _floor(builder, v, relu)
            steps = [intp(v.lanes)] * 4
            i32 = ir.IntType(32)
            with loop(builder, n_vectors, [pm, pb, py, pa], steps) as (qm, qb, qy, qa):
                values = _output_values(f, v, qm, m_point, v.load(qb))
                seconds = {}
                for i in range(0, f.m, 2):
                    for j in range(0, f.m, 2):
                        upper, in_upper = v.first_max(values[i][j : j + 2])
                        lower, in_lower = v.first_max(values[i + 1][j : j + 2])
                        best, in_last_row = v.first_max([upper, lower])
                        target = v.at(v.at(qy, row, i // 2), column, j // 2)
                        v.store(v.max(floor, best), target)
                        seconds[i, j] = in_upper, in_lower, in_last_row
                with builder.if_then(builder.icmp_signed("!=", keep, intp(0))):
                    for (i, j), (in_upper, in_lower, in_last_row) in seconds.items():
                        corner = builder.add(first, builder.add(builder.mul(W, intp(i)), intp(j)))
                        at = [
                            v.broadcast(builder.trunc(builder.add(corner, more), i32))
                            for more in (intp(0), intp(1), W, builder.add(W, intp(1)))
                        ]
                        upper = builder.select(in_upper, at[1], at[0])
                        lower = builder.select(in_lower, at[3], at[2])
                        position = builder.select(in_last_row, lower, upper)
                        target = v.at(v.at(qa, row, i // 2), column, j // 2)
                        pointer = builder.bitcast(target, position.type.as_pointer())
                        builder.store(position, pointer).align = 4

        signature = types.void(
            INTP, M, *(INTP,) * 2, b, *(INTP,) * 2, y, *(INTP,) * 4, argmax, *(INTP,) * 2
        )
        return signature, codegen

    return code


def _emit_product(
    builder: ir.IRBuilder, v: Arithmetic, n_rows: int, n_vectors: int, n_blocks: ir.Value,
    K: ir.Value, V: ir.Value, v_row: ir.Value, U: ir.Value, u_row: ir.Value, M: ir.Value,
    m_row: ir.Value,
) -> None:  # fmt: skip
    """M = V U for n_rows * n_blocks rows and n_vectors vectors of columns."""
    grid = [(m, q) for m in range(n_rows) for q in range(n_vectors)]
    block_steps = [builder.mul(row, intp(n_rows)) for row in (v_row, m_row)]
    with loop(builder, n_blocks, [V, M], block_steps) as (v_block, m_block):
        total = {k: v.register(v.splat(0)) for k in grid}
        thirds = [v.at(v_block, v_row, m) for m in range(0, n_rows, 3)]
        steps = [intp(1)] * len(thirds) + [u_row]
        with loop(builder, K, [*thirds, U], steps) as (*at, u_k):
            u = [v.load(u_k, q) for q in range(n_vectors)]
            for m in range(n_rows):
                x = v.broadcast(builder.load(v.at(at[m // 3], v_row, m % 3)))
                for q in range(n_vectors):
                    old = builder.load(total[m, q])
                    builder.store(v.multiply_add(x, u[q], old), total[m, q])
        for m, q in grid:
            v.store(builder.load(total[m, q]), v.at(m_block, m_row, m), q)


@intrinsic
def products_of_matrices(
    typingctx, count, n_rows, n_vectors, half, K, V, v_off, v_row, v_step, U, u_off, u_step,
    M, m_off, m_step,
):  # fmt: skip
    """M = V U, `count` times: n_rows rows, n_vectors vectors of columns.

    half  1: the second half of the last vector is not needed, and not computed; else 0
    n_rows is rounded up to a multiple of FEWER_ROWS.  Matrix k of V begins at v_off + k*v_step, and
    so on.  A row of V has its K elements at distance 1, its rows are at distance v_row; rows of U
    and M are contiguous.
    """

    @own_function
    def codegen(context, builder, sig, args):
        (count, n_rows, n_vectors, half, K, V, v_off, v_row, v_step, U, u_off, u_step,
         M, m_off, m_step) = args  # fmt: skip
        whole = Arithmetic(builder, sig.args[5])
        halves = Arithmetic(builder, sig.args[5], BYTES // 2)
        pv = element(context, builder, sig.args[5], V, v_off)
        pu = element(context, builder, sig.args[9], U, u_off)
        pm = element(context, builder, sig.args[12], M, m_off)
        row = builder.mul(n_vectors, intp(whole.lanes))
        n_whole = builder.sub(n_vectors, half)
        pairs, odd = builder.ashr(n_whole, intp(1)), builder.and_(n_whole, intp(1))
        two = intp(2 * whole.lanes)
        # blocks of PRODUCT_ROWS, and perhaps one of FEWER_ROWS
        n_fewer = builder.sdiv(builder.add(n_rows, intp(FEWER_ROWS - 1)), intp(FEWER_ROWS))
        n_blocks, n_last = builder.ashr(n_fewer, intp(1)), builder.and_(n_fewer, intp(1))
        v_last = builder.mul(builder.mul(n_blocks, intp(PRODUCT_ROWS)), v_row)
        m_last = builder.mul(builder.mul(n_blocks, intp(PRODUCT_ROWS)), row)

        def product(v: Arithmetic, n: int, V: ir.Value, U: ir.Value, M: ir.Value) -> None:
            """n vectors of columns."""
            _emit_product(builder, v, PRODUCT_ROWS, n, n_blocks, K, V, v_row, U, row, M, row)
            V, M = builder.gep(V, [v_last]), builder.gep(M, [m_last])
            _emit_product(builder, v, FEWER_ROWS, n, n_last, K, V, v_row, U, row, M, row)

        with loop(builder, count, [pv, pu, pm], [v_step, u_step, m_step]) as (qv, qu, qm):
            with loop(builder, pairs, [qu, qm], [two, two]) as (u_pair, m_pair):
                product(whole, 2, qv, u_pair, m_pair)
            with builder.if_then(builder.icmp_signed("!=", odd, intp(0))):
                last = builder.mul(pairs, two)
                product(whole, 1, qv, builder.gep(qu, [last]), builder.gep(qm, [last]))
            with builder.if_then(builder.icmp_signed("!=", half, intp(0))):
                last = builder.mul(n_whole, intp(whole.lanes))
                product(halves, 1, qv, builder.gep(qu, [last]), builder.gep(qm, [last]))

    signature = types.void(*(INTP,) * 5, V, *(INTP,) * 3, U, *(INTP,) * 2, M, *(INTP,) * 2)
    return signature, codegen
