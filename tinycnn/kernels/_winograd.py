"""The inner loops of `conv2d_winograd.py`: Winograd's transforms on vectors, in LLVM IR.

Every function below is an intrinsic, or makes one for a `Transform`.  Arrays are flat, and offsets
and distances count elements; `lanes` is the number of elements of a vector.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE
from ._simd import INTP, Vectors, element, intp, loop, own_function
from ._winograd_transforms import Transform

BYTES = TILE.vector_bytes
WIDE = BYTES == 64  # such hosts have 32 vector registers; the code counts on 16 of others
TILES, FILTERS = 2, 1 if WIDE else 2  # tiles, and vectors of filters, done together
ROWS = 4  # rows of a matrix done together, of two vectors of columns each
POINTS = 6 if WIDE else 2  # points done together: TILES * FILTERS sums of each are in registers


class Arithmetic(Vectors):
    """Vectors, with the arithmetic that the transforms need."""

    def __init__(self, builder: ir.IRBuilder, array_type: Any, vector_bytes: int = BYTES) -> None:
        super().__init__(builder, array_type.dtype, vector_bytes)

    def at(self, pointer: ir.Value, step: ir.Value, count: int) -> ir.Value:
        """The pointer moved on by `count` steps of `step` elements each."""
        return self.builder.gep(pointer, [self.builder.mul(step, intp(count))])

    def splat(self, number: Any) -> ir.Constant:
        return ir.Constant(self.type, [float(number)] * self.lanes)

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fadd(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.fsub(a, b)

    def max(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger one; b where one of them is NaN (one instruction on most hosts)."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def first_max(self, pair: list[ir.Value]) -> tuple[ir.Value, ir.Value]:
        """The larger of two (the first if equal or NaN), and whether that is the second."""
        second = self.builder.fcmp_ordered(">", pair[1], pair[0])
        return self.builder.select(second, pair[1], pair[0]), second

    def combine(self, terms: Iterable[tuple[Any, ir.Value]]) -> ir.Value:
        """The sum of number * vector.  Numbers of 0 emit nothing, numbers of +-1 no product."""
        ones_first = sorted(((c, x) for c, x in terms if c), key=lambda term: term[0] != 1)
        (c, total), *rest = ones_first
        if c != 1:
            total = self.builder.fmul(self.splat(c), total)
        for c, x in rest:
            if c == 1:
                total = self.add(total, x)
            elif c == -1:
                total = self.sub(total, x)
            else:
                total = self.multiply_add(self.splat(c), x, total)
        return total

    def deinterleaved(self, vectors: list[ir.Value], n: int) -> list[list[ir.Value]]:
        """The elements of `vectors`, read as one sequence, as n sequences: k, k + n, k + 2n, ..."""
        out, i32 = [], ir.IntType(32)
        for k in range(n):
            sequence = []
            for s in range(len(vectors) // n):
                wanted = [(s * self.lanes + lane) * n + k for lane in range(self.lanes)]
                first, last = wanted[0] // self.lanes, wanted[-1] // self.lanes
                total = vectors[first]
                for source in range(first + 1, last + 1):
                    lanes = []  # indices into the pair (total, vectors[source])
                    for lane, w in enumerate(wanted):
                        in_total = w % self.lanes if source == first + 1 else lane
                        is_new = w // self.lanes == source
                        lanes.append(self.lanes + w % self.lanes if is_new else in_total)
                    mask = ir.Constant(ir.VectorType(i32, self.lanes), lanes)
                    total = self.builder.shuffle_vector(total, vectors[source], mask)
                sequence.append(total)
            out.append(sequence)
        return out


def make_weights_transform(f: Transform) -> Any:
    """U = G w G^T for one channel of one phase, and one vector of filters.

    Tap (k, l) is w[w_off + k*row + l*column].  The result for horizontal point b and vertical point
    a goes to u[u_off + b*u_b + a*u_a].
    """

    @intrinsic
    def code(typingctx, w, w_off, row, column, u, u_off, u_b, u_a):
        @own_function
        def codegen(context, builder, sig, args):
            w, w_off, row, column, u, u_off, u_b, u_a = args
            v = Arithmetic(builder, sig.args[0])
            pw = element(context, builder, sig.args[0], w, w_off)
            pu = element(context, builder, sig.args[4], u, u_off)
            columns = []
            for j in range(f.r):
                top = v.at(pw, column, j)
                columns.append(f.emit_g(v, [v.load(v.at(top, row, i)) for i in range(f.r)]))
            for a in range(f.t):
                for b, value in enumerate(f.emit_g(v, [columns[j][a] for j in range(f.r)])):
                    v.store(value, v.at(v.at(pu, u_a, a), u_b, b))

        return types.void(w, *(INTP,) * 3, u, *(INTP,) * 3), codegen

    return code


def make_deinterleave(n_planes: int) -> Any:
    """Split n_planes * lanes elements of each of `count` rows into planes: plane q gets every
    n_planes-th element, from the q-th on.

    For row r and j < lanes, x[x_off + r*x_row + n_planes*j + q] goes to
    planes[p_off + r*p_row + q*step + j].
    """

    @intrinsic
    def code(typingctx, count, x, x_off, x_row, planes, p_off, p_row, step):
        @own_function
        def codegen(context, builder, sig, args):
            count, x, x_off, x_row, planes, p_off, p_row, step = args
            v = Arithmetic(builder, sig.args[1])
            px = element(context, builder, sig.args[1], x, x_off)
            pp = element(context, builder, sig.args[4], planes, p_off)
            with loop(builder, count, [px, pp], [x_row, p_row]) as (qx, qp):
                halves = v.deinterleaved([v.load(qx, s) for s in range(n_planes)], 2)
                for b, half in enumerate(halves):
                    for k, (plane,) in enumerate(v.deinterleaved(half, n_planes // 2)):
                        v.store(plane, v.at(qp, step, 2 * k + b))

        return types.void(INTP, x, *(INTP,) * 2, planes, *(INTP,) * 3), codegen

    return code


def make_input_transform(f: Transform, whole: Transform) -> Any:
    """B^T d of t vectors d, `count` times.  `whole` is f, or the transform that f shortens.

    In repetition s, d[k] is x[x_off + k*x_k + s*x_step] for k < m, m that of `whole`, and
    x[x_later + (k - m)*x_k + s*x_step] for the others.  Result k goes to
    y[y_off + k*y_k + s*y_step], but that of the last finite point of `whole` to
    y[y_last + s*y_step].
    """
    m, last_point = whole.m, whole.t - 2

    @intrinsic
    def code(typingctx, count, x, x_off, x_later, x_k, x_step, y, y_off, y_k, y_last, y_step):
        @own_function
        def codegen(context, builder, sig, args):
            count, x, x_off, x_later, x_k, x_step, y, y_off, y_k, y_last, y_step = args
            v = Arithmetic(builder, sig.args[1])
            px, later = (element(context, builder, sig.args[1], x, o) for o in (x_off, x_later))
            py, last = (element(context, builder, sig.args[6], y, o) for o in (y_off, y_last))
            steps = [x_step, x_step, y_step, y_step]
            with loop(builder, count, [px, later, py, last], steps) as (qx, q_later, qy, q_last):
                d = [v.load(v.at(qx, x_k, k)) for k in range(min(m, f.t))]
                d += [v.load(v.at(q_later, x_k, k - m)) for k in range(m, f.t)]
                for k, value in zip(f.index, f.emit_bt(v, d)):
                    v.store(value, q_last if k == last_point else v.at(qy, y_k, k))

        return types.void(INTP, x, *(INTP,) * 4, y, *(INTP,) * 4), codegen

    return code


def make_input_transform_of_planes(f: Transform) -> Any:
    """B^T d along a row in 2m planes, for both phases b and one vector of tiles.

    Element 2k + b of tile j, which is d[k] of phase b, is
    x[x_off + (2k + b) % 2m * step + (2k + b) // 2m + j].  Result k of phase b goes to
    y[y_off + b*y_b + k*y_k + j].
    """

    @intrinsic
    def code(typingctx, x, x_off, step, y, y_off, y_b, y_k):
        @own_function
        def codegen(context, builder, sig, args):
            x, x_off, step, y, y_off, y_b, y_k = args
            v = Arithmetic(builder, sig.args[0])
            px = element(context, builder, sig.args[0], x, x_off)
            py = element(context, builder, sig.args[3], y, y_off)
            for b in range(2):
                d = []
                for q in range(b, 2 * f.t, 2):
                    plane = v.at(px, step, q % (2 * f.m))
                    d.append(v.load(builder.gep(plane, [intp(q // (2 * f.m))])))
                for k, value in enumerate(f.emit_bt(v, d)):
                    v.store(value, v.at(v.at(py, y_b, b), y_k, k))

        return types.void(x, *(INTP,) * 2, y, *(INTP,) * 3), codegen

    return code


def make_products(f: Transform) -> Any:
    """Products and output transform, for TILES tiles, 4 phases c and FILTERS vectors of filters.

        M[b, a] = sum over c < 4 of V[b, c, a, tile] U[b, c, a, :],   y = A^T M A

    For each (b, c, a), V has a vector of tiles and U has FILTERS vectors of filters.  The result is
    y[y_off + i*row + j*column], where j counts the columns of all TILES tiles.  The sums of one b
    are transformed by A^T along a before those of the next b: m vectors are stored and not t.
    """

    @intrinsic
    def code(typingctx, V, v_off, U, u_off, y, y_off, row, column):
        @own_function
        def codegen(context, builder, sig, args):
            V, v_off, U, u_off, y, y_off, row, column = args
            v = Arithmetic(builder, sig.args[0])
            pv = element(context, builder, sig.args[0], V, v_off)
            pu = element(context, builder, sig.args[2], U, u_off)
            py = element(context, builder, sig.args[4], y, y_off)
            grid = [(tile, q) for tile in range(TILES) for q in range(FILTERS)]
            half = cgutils.alloca_once(builder, v.type, size=intp(f.t * f.m * len(grid)))
            half = builder.bitcast(half, v.scalar.as_pointer())

            def sums(bv: ir.Value, bu: ir.Value, points: Iterable[int]) -> dict:
                """M of one b, for some points a."""
                total: dict = {}
                for c, a in itertools.product(range(4), points):
                    at = c * f.t + a
                    u = [v.load(bu, at * FILTERS + q) for q in range(FILTERS)]
                    for tile in range(TILES):
                        x = builder.load(builder.gep(bv, [intp(at * v.lanes + tile)]))
                        x = v.broadcast(x)
                        for q in range(FILTERS):
                            if c == 0:
                                total[a, tile, q] = builder.fmul(x, u[q])
                            else:
                                total[a, tile, q] = v.multiply_add(x, u[q], total[a, tile, q])
                return total

            step = intp(4 * f.t * v.lanes)
            steps = [step, intp(4 * f.t * FILTERS * v.lanes), intp(f.m * len(grid) * v.lanes)]
            with loop(builder, intp(f.t), [pv, pu, half], steps) as (bv, bu, bh):
                M: dict = {}
                for first in range(0, f.t, POINTS):
                    M.update(sums(bv, bu, range(first, min(first + POINTS, f.t))))
                for k, (tile, q) in enumerate(grid):
                    for i, value in enumerate(f.emit_at(v, [M[a, tile, q] for a in range(f.t)])):
                        v.store(value, bh, k * f.m + i)
            for i in range(f.m):
                for k, (tile, q) in enumerate(grid):
                    x = [v.load(half, (b * len(grid) + k) * f.m + i) for b in range(f.t)]
                    for j, value in enumerate(f.emit_at(v, x)):
                        v.store(value, v.at(v.at(py, row, i), column, tile * f.m + j), q)

        return types.void(V, INTP, U, INTP, y, *(INTP,) * 3), codegen

    return code


@intrinsic
def matrix_product(typingctx, n_blocks, n_pairs, K, V, v_off, U, u_off, M, m_off):
    """M = V U, matrices of ROWS * n_blocks rows and n_pairs pairs of vectors of columns; K is even.

    The rows of each matrix are contiguous: K elements in V, all columns in U and M.
    """

    @own_function
    def codegen(context, builder, sig, args):
        n_blocks, n_pairs, K, V, v_off, U, u_off, M, m_off = args
        v = Arithmetic(builder, sig.args[3])
        pv = element(context, builder, sig.args[3], V, v_off)
        pu = element(context, builder, sig.args[5], U, u_off)
        pm = element(context, builder, sig.args[7], M, m_off)
        pair = intp(2 * v.lanes)
        columns = builder.mul(n_pairs, pair)
        block_steps = [builder.mul(row, intp(ROWS)) for row in (K, columns)]
        grid = [(m, q) for m in range(ROWS) for q in range(2)]
        with loop(builder, n_pairs, [pu, pm], [pair, pair]) as (u_pair, m_pair):
            with loop(builder, n_blocks, [pv, m_pair], block_steps) as (v_block, m_block):
                total = {k: v.register(v.splat(0)) for k in grid}
                half, two_rows = builder.ashr(K, intp(1)), builder.mul(columns, intp(2))
                with loop(builder, half, [v_block, u_pair], [intp(2), two_rows]) as (at, u_k):
                    for k in range(2):
                        u = [v.load(v.at(u_k, columns, k), q) for q in range(2)]
                        for m in range(ROWS):
                            x = builder.load(builder.gep(v.at(at, K, m), [intp(k)]))
                            x = v.broadcast(x)
                            for q in range(2):
                                old = builder.load(total[m, q])
                                builder.store(v.multiply_add(x, u[q], old), total[m, q])
                for m, q in grid:
                    v.store(builder.load(total[m, q]), v.at(m_block, columns, m), q)

    return types.void(*(INTP,) * 3, V, INTP, U, INTP, M, INTP), codegen


def make_output_transform(fa: Transform, fb: Transform, whole: Transform) -> Any:
    """y = A^T M A of one tile and one vector of filters, by fa along columns and fb along rows.
    Each of these is `whole` or its `Shorter`.

    M[b, a] is M[m_off + b*m_b + a*m_a], but M[m_last + b*m_b + a*m_a] for the last finite point b
    of `whole`.  The result is y[y_off + i*row + j*column].
    """

    @intrinsic
    def code(typingctx, M, m_off, m_last, m_b, m_a, y, y_off, row, column):
        @own_function
        def codegen(context, builder, sig, args):
            M, m_off, m_last, m_b, m_a, y, y_off, row, column = args
            v = Arithmetic(builder, sig.args[0])
            pm, last = (element(context, builder, sig.args[0], M, o) for o in (m_off, m_last))
            py = element(context, builder, sig.args[5], y, y_off)
            columns = []
            for b in fb.index:
                top = v.at(last if b == whole.t - 2 else pm, m_b, b)
                columns.append(fa.emit_at(v, [v.load(v.at(top, m_a, a)) for a in fa.index]))
            for i in range(fa.m):
                for j, value in enumerate(fb.emit_at(v, [column_b[i] for column_b in columns])):
                    v.store(value, v.at(v.at(py, row, i), column, j))

        return types.void(M, *(INTP,) * 4, y, *(INTP,) * 3), codegen

    return code


@intrinsic
def finish(typingctx, count, n_rows, n_columns, x, x_off, row, column, step, b, b_off, relu,
           y, y_off, y_step, keep, argmax, first, W):  # fmt: skip
    """Max-pooling, bias and ReLU, for `count` windows of a row and one vector of filters.

    A window has n_rows x n_columns vectors, both 1 or 2.  Vector (i, j) of window s is
    x[x_off + i*row + j*column + s*step]; the bias is b[b_off].  The largest, with bias and ReLU,
    goes to y[y_off + s*y_step].  If `keep` is not 0, its position first + s*n_columns + i*W + j,
    that of the first of equal ones, goes to argmax[y_off + s*y_step].
    """

    @own_function
    def codegen(context, builder, sig, args):
        (count, n_rows, n_columns, x, x_off, row, column, step, b, b_off, relu,
         y, y_off, y_step, keep, argmax, first, W) = args  # fmt: skip
        v = Arithmetic(builder, sig.args[3])
        i32 = ir.IntType(32)
        px = element(context, builder, sig.args[3], x, x_off)
        py = element(context, builder, sig.args[11], y, y_off)
        pa = element(context, builder, sig.args[15], argmax, y_off)
        bias = v.load(element(context, builder, sig.args[8], b, b_off))
        wants_relu = builder.icmp_signed("!=", relu, intp(0))
        floor = builder.select(wants_relu, v.splat(0), v.splat(float("-inf")))
        # A window of one row or one column reads it twice, which does not change the maximum.
        last_row, last_column = builder.sub(n_rows, intp(1)), builder.sub(n_columns, intp(1))
        to_last_row, to_last_column = builder.mul(row, last_row), builder.mul(column, last_column)

        def largest(qx: ir.Value, positions: list[ir.Value] | None) -> list[ir.Value]:
            """The largest of one window, and its position if those of the four are given."""
            pairs = []  # of each row: the largest, and whether it is the second
            for start in (qx, builder.gep(qx, [to_last_row])):
                second = builder.gep(start, [to_last_column])
                pairs.append(v.first_max([v.load(start), v.load(second)]))
            best, in_last_row = v.first_max([value for value, _ in pairs])
            out = [v.max(floor, v.add(best, bias))]  # NaN stays NaN
            if positions:
                upper = builder.select(pairs[0][1], positions[1], positions[0])
                lower = builder.select(pairs[1][1], positions[3], positions[2])
                out.append(builder.select(in_last_row, lower, upper))
            return out

        with builder.if_else(builder.icmp_signed("!=", keep, intp(0))) as (then, otherwise):
            with then:
                corners = [first, builder.add(first, last_column)]
                corners += [builder.add(at, builder.mul(W, last_row)) for at in corners]
                corners = [v.register(v.broadcast(builder.trunc(at, i32))) for at in corners]
                advance = v.broadcast(builder.trunc(n_columns, i32))
                with loop(builder, count, [px, py, pa], [step, y_step, y_step]) as (qx, qy, qa):
                    positions = [builder.load(corner) for corner in corners]
                    value, position = largest(qx, positions)
                    v.store(value, qy)
                    pointer = builder.bitcast(qa, position.type.as_pointer())
                    builder.store(position, pointer).align = 4
                    for corner, old in zip(corners, positions):
                        builder.store(builder.add(old, advance), corner)
            with otherwise:
                with loop(builder, count, [px, py], [step, y_step]) as (qx, qy):
                    v.store(largest(qx, None)[0], qy)

    signature = types.void(
        *(INTP,) * 3, x, *(INTP,) * 4, b, *(INTP,) * 2, y, *(INTP,) * 3, argmax, *(INTP,) * 2
    )
    return signature, codegen


@intrinsic
def copy(typingctx, count, x, x_off, y, y_off):
    """y[y_off : y_off + count] = x[x_off : x_off + count]; the two must not overlap."""

    @own_function
    def codegen(context, builder, sig, args):
        count, x, x_off, y, y_off = args
        px = element(context, builder, sig.args[1], x, x_off)
        py = element(context, builder, sig.args[3], y, y_off)
        cgutils.raw_memcpy(builder, py, px, count, sig.args[1].dtype.bitwidth // 8)

    return types.void(INTP, x, INTP, y, INTP), codegen


@intrinsic
def clear(typingctx, count, y, y_off):
    """y[y_off : y_off + count] = 0."""

    @own_function
    def codegen(context, builder, sig, args):
        count, y, y_off = args
        py = element(context, builder, sig.args[1], y, y_off)
        n_bytes = builder.mul(count, intp(sig.args[1].dtype.bitwidth // 8))
        cgutils.memset(builder, py, n_bytes, 0)

    return types.void(INTP, y, INTP), codegen
