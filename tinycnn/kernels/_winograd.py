"""The inner loops of `conv2d_winograd.py`: Winograd's transforms on vectors, in LLVM IR.

Every function below is an intrinsic, or makes one for a `Transform`.  Arrays are flat and offsets
are in elements, as in `_tile.py`; `lanes` is the number of elements of a vector.
"""

from __future__ import annotations

from typing import Any, Iterable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE
from ._simd import INTP, Vectors, element, for_each_row_count, intp, loop
from ._winograd_transforms import Transform

BYTES = TILE.vector_bytes
TILES = 2  # whose sums are held in registers at a time: 2 t = 12 of 16 for F(3, 4)


class Arithmetic(Vectors):
    """Vectors with what the transforms are made of."""

    def __init__(self, builder: ir.IRBuilder, array_type: Any) -> None:
        super().__init__(builder, array_type.dtype, BYTES)

    def at(self, pointer: ir.Value, step: ir.Value, count: int) -> ir.Value:
        """`count` steps, each of `step` elements, behind a pointer."""
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

    def combine(self, terms: Iterable[tuple[Any, ir.Value]]) -> ir.Value:
        """Sum of number * vector; a number of 0 costs nothing, one of +-1 no product."""
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

    def every_second(self, vectors: list[ir.Value], n: int) -> list[list[ir.Value]]:
        """The sequence that lies in `vectors` as n sequences: each n-th element from 0, 1, ..."""
        out, i32 = [], ir.IntType(32)
        for k in range(n):
            sequence = []
            for s in range(len(vectors) // n):
                wanted = [(s * self.lanes + lane) * n + k for lane in range(self.lanes)]
                first, last = wanted[0] // self.lanes, wanted[-1] // self.lanes
                total = vectors[first]
                for source in range(first + 1, last + 1):
                    lanes = []  # of the pair (total, vectors[source])
                    for lane, w in enumerate(wanted):
                        held = w % self.lanes if source == first + 1 else lane
                        arrives = w // self.lanes == source
                        lanes.append(self.lanes + w % self.lanes if arrives else held)
                    mask = ir.Constant(ir.VectorType(i32, self.lanes), lanes)
                    total = self.builder.shuffle_vector(total, vectors[source], mask)
                sequence.append(total)
            out.append(sequence)
        return out


def make_weights_transform(f: Transform) -> Any:
    """U = G w G^T of one channel of one phase, one vector of filters.

    Signature: (w, w_off, row, column, u, u_off, u_b, u_a): tap (k, l) is
    w[w_off + k*row + l*column]; result (b, a), b the horizontal point, goes to
    u[u_off + b*u_b + a*u_a].
    """

    @intrinsic
    def code(typingctx, w, w_off, row, column, u, u_off, u_b, u_a):
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
            return context.get_dummy_value()

        return types.void(w, *(INTP,) * 3, u, *(INTP,) * 3), codegen

    return code


def make_deinterleave(n_planes: int) -> Any:
    """`count` rows split into planes, n_planes * lanes numbers of each row.

    Signature: (count, x, x_off, x_row, planes, p_off, p_row, step): number n_planes*j + q of row r
    is x[x_off + r*x_row + n_planes*j + q], j < lanes, and goes to
    planes[p_off + r*p_row + q*step + j].
    """

    @intrinsic
    def code(typingctx, count, x, x_off, x_row, planes, p_off, p_row, step):
        def codegen(context, builder, sig, args):
            count, x, x_off, x_row, planes, p_off, p_row, step = args
            v = Arithmetic(builder, sig.args[1])
            px = element(context, builder, sig.args[1], x, x_off)
            pp = element(context, builder, sig.args[4], planes, p_off)
            with loop(builder, count, [px, pp], [x_row, p_row]) as (qx, qp):
                halves = v.every_second([v.load(qx, s) for s in range(n_planes)], 2)
                for b, half in enumerate(halves):
                    for k, (plane,) in enumerate(v.every_second(half, n_planes // 2)):
                        v.store(plane, v.at(qp, step, 2 * k + b))
            return context.get_dummy_value()

        return types.void(INTP, x, *(INTP,) * 2, planes, *(INTP,) * 3), codegen

    return code


def make_bt(f: Transform, whole: Transform) -> Any:
    """B^T on t vectors, `count` times; `whole` is f, or what f is the `Shorter` of.

    Signature: (count, x, x_off, x_later, x_k, x_step, y, y_off, y_k, y_last, y_step): input k of
    repetition s is x[x_off + k*x_k + s*x_step] for k < m of `whole` and
    x[x_later + (k - m)*x_k + s*x_step] for the others; result k goes to
    y[y_off + k*y_k + s*y_step], that of the last finite point of `whole` to y[y_last + s*y_step].
    """
    m, last_point = whole.m, whole.t - 2

    @intrinsic
    def code(typingctx, count, x, x_off, x_later, x_k, x_step, y, y_off, y_k, y_last, y_step):
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
            return context.get_dummy_value()

        return types.void(INTP, x, *(INTP,) * 4, y, *(INTP,) * 4), codegen

    return code


def make_bt_planes(f: Transform) -> Any:
    """B^T along a row that lies in planes, both phases b, for one vector of tiles.

    Signature: (x, x_off, step, y, y_off, y_b, y_k): number 2k + b of tile j is
    x[x_off + (2k + b) % 2m * step + (2k + b) // 2m + j]; result (b, k) goes to
    y[y_off + b*y_b + k*y_k + j].
    """

    @intrinsic
    def code(typingctx, x, x_off, step, y, y_off, y_b, y_k):
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
            return context.get_dummy_value()

        return types.void(x, *(INTP,) * 2, y, *(INTP,) * 3), codegen

    return code


def make_products(f: Transform, pool: bool) -> Any:
    """Products and output transform of 1 to TILES tiles of 4 phases, one vector of filters.

        M[b, a] = sum over c < 4 of V[b, c, a, tile] U[b, c, a, :]
        y = A^T M A,   with `pool` the larger of each two neighbours of a row of it

    Signature: (n_tiles, V, v_off, U, u_off, y, y_off, row, column).  V has a vector of tiles and U
    one of filters for each (b, c, a); y[y_off + i*row + j*column], j over all tiles.  The t sums of
    one b stay in registers and leave them transformed along a: m numbers instead of t.  With `pool`
    an odd number of outputs has its last one alone.
    """

    @intrinsic
    def code(typingctx, n_tiles, V, v_off, U, u_off, y, y_off, row, column):
        def codegen(context, builder, sig, args):
            n_tiles, V, v_off, U, u_off, y, y_off, row, column = args
            v = Arithmetic(builder, sig.args[1])
            pv = element(context, builder, sig.args[1], V, v_off)
            pu = element(context, builder, sig.args[3], U, u_off)
            py = element(context, builder, sig.args[5], y, y_off)
            half = cgutils.alloca_once(builder, v.type, size=intp(f.t * f.m * TILES))
            half = builder.bitcast(half, v.scalar.as_pointer())

            def products(n: int, bv: ir.Value, bu: ir.Value) -> list[list[ir.Value]]:
                """The t sums of each of n tiles."""
                sums = [[None] * f.t for _ in range(n)]
                for c in range(4):
                    for a in range(f.t):
                        u = v.load(bu, c * f.t + a)
                        for tile in range(n):
                            at = builder.gep(bv, [intp((c * f.t + a) * v.lanes + tile)])
                            x, total = v.broadcast(builder.load(at)), sums[tile][a]
                            sums[tile][a] = v.multiply_add(x, u, total) if c else builder.fmul(x, u)
                return sums

            def emit(n: int) -> None:
                step = intp(4 * f.t * v.lanes)
                steps = [step, step, intp(n * f.m * v.lanes)]
                with loop(builder, intp(f.t), [pv, pu, half], steps) as (bv, bu, bh):
                    for tile, sums in enumerate(products(n, bv, bu)):
                        for i, value in enumerate(f.emit_at(v, sums)):
                            v.store(value, bh, tile * f.m + i)
                for i in range(f.m):
                    values = []
                    for tile in range(n):
                        x = [v.load(half, (b * n + tile) * f.m + i) for b in range(f.t)]
                        values += f.emit_at(v, x)
                    if pool:
                        pairs = [values[q : q + 2] for q in range(0, len(values), 2)]
                        values = [v.max(pair[0], pair[-1]) for pair in pairs]
                    for j, value in enumerate(values):
                        v.store(value, v.at(v.at(py, row, i), column, j))

            for_each_row_count(builder, n_tiles, TILES, emit)
            return context.get_dummy_value()

        return types.void(INTP, V, INTP, U, INTP, y, *(INTP,) * 3), codegen

    return code


def make_at(fa: Transform, fb: Transform, whole: Transform) -> Any:
    """y = A^T M A of one tile, one vector of filters: fa along columns, fb along rows, each of them
    `whole` or its `Shorter`.

    Signature: (M, m_off, m_last, m_b, m_a, y, y_off, row, column): M[b, a] is
    M[m_off + b*m_b + a*m_a], for the last finite point b of `whole` M[m_last + b*m_b + a*m_a].
    """

    @intrinsic
    def code(typingctx, M, m_off, m_last, m_b, m_a, y, y_off, row, column):
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
                for j, value in enumerate(fb.emit_at(v, [held[i] for held in columns])):
                    v.store(value, v.at(v.at(py, row, i), column, j))
            return context.get_dummy_value()

        return types.void(M, *(INTP,) * 4, y, *(INTP,) * 3), codegen

    return code


@intrinsic
def finish(typingctx, count, n_rows, n_columns, x, x_off, row, column, step, b, b_off, relu,
           y, y_off, y_step):  # fmt: skip
    """For `count` windows of a row: the largest of n_rows x n_columns vectors, bias, ReLU.

    Number (i, j) of window s is x[x_off + i*row + j*column + s*step], n_rows and n_columns are 1 or
    2; the bias is b[b_off]; the result goes to y[y_off + s*y_step].
    """

    def codegen(context, builder, sig, args):
        (count, n_rows, n_columns, x, x_off, row, column, step, b, b_off, relu,
         y, y_off, y_step) = args  # fmt: skip
        v = Arithmetic(builder, sig.args[3])
        px = element(context, builder, sig.args[3], x, x_off)
        py = element(context, builder, sig.args[11], y, y_off)
        bias = v.load(element(context, builder, sig.args[8], b, b_off))
        wants_relu = builder.icmp_signed("!=", relu, intp(0))
        floor = builder.select(wants_relu, v.splat(0), v.splat(float("-inf")))
        # A window of one row or column reads it twice: the larger of x and x is x.
        below = builder.mul(row, builder.sub(n_rows, intp(1)))
        right = builder.mul(column, builder.sub(n_columns, intp(1)))
        with loop(builder, count, [px, py], [step, y_step]) as (qx, qy):
            rows = []
            for at in (qx, builder.gep(qx, [below])):
                rows.append(v.max(v.load(at), v.load(builder.gep(at, [right]))))
            v.store(v.max(floor, v.add(v.max(*rows), bias)), qy)  # NaN stays NaN
        return context.get_dummy_value()

    return types.void(*(INTP,) * 3, x, *(INTP,) * 4, b, *(INTP,) * 2, y, *(INTP,) * 2), codegen


@intrinsic
def copy(typingctx, count, x, x_off, y, y_off):
    """y[y_off : y_off + count] = x[x_off : x_off + count]; they do not overlap."""

    def codegen(context, builder, sig, args):
        count, x, x_off, y, y_off = args
        px = element(context, builder, sig.args[1], x, x_off)
        py = element(context, builder, sig.args[3], y, y_off)
        cgutils.raw_memcpy(builder, py, px, count, sig.args[1].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(INTP, x, INTP, y, INTP), codegen


@intrinsic
def clear(typingctx, count, y, y_off):
    """y[y_off : y_off + count] = 0."""

    def codegen(context, builder, sig, args):
        count, y, y_off = args
        py = element(context, builder, sig.args[1], y, y_off)
        n_bytes = builder.mul(count, intp(sig.args[1].dtype.bitwidth // 8))
        cgutils.memset(builder, py, n_bytes, 0)
        return context.get_dummy_value()

    return types.void(INTP, y, INTP), codegen
