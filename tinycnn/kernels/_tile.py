"""The one inner loop: a block of sums held in vector registers, and its twin in plain loops.

    c[m, n] += sum over i < K0, j < K1 of a[m, i, j] * b[i, j, n]      m < M, n < N          (1)

with a[m, i, j] = a[a_off + m*am + i*a0 + j*a1], b[i, j, n] = b[b_off + i*b0 + j*b1 + n] and
c[m, n] = c[c_off + m*cm + n] in flat arrays.  Choosing the strides makes (1) every heavy pass:

    conv2d forward             a = x,  b = w,             m = output pixels,  (i, j) = taps
    conv2d gradient of w       a = x,  b = dy,            m = taps,           (i, j) = pixels
    conv2d gradient of x       a = dy, b = w transposed,  m = input pixels of one stride phase
    dense forward, gradients   K0 = 1

A tile is n_rows x n_vectors accumulators: each b vector that is loaded serves n_rows products,
each a scalar n_vectors of them, so the fused multiply-adds and not the loads set the pace.
Vectors cannot be written in Python; the tile is emitted as LLVM IR (an "intrinsic").  Columns
that do not fill a vector are done by vectors of half the width, down to one lane: any N is exact
and nothing outside the three blocks is read or written.

Order of the sum: i, then j, whatever the tile; so c[m, n] has the same bits for every M, and an
image's result does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, kernel

INTP = types.intp


def _intp(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), value)


@contextmanager
def _loop(
    builder: ir.IRBuilder, count: ir.Value, pointers: list[ir.Value], steps: list[ir.Value]
) -> Iterator[list[ir.Value]]:
    """for k in range(count): yields pointers[p] + k * steps[p].

    LLVM is told not to unroll: the body is a whole tile already, and copies of it would multiply
    the time that every kernel takes to compile.
    """
    before = builder.block
    test, body, end = (
        builder.append_basic_block(f"loop.{name}") for name in ("test", "body", "end")
    )
    builder.branch(test)
    builder.position_at_end(test)
    k = builder.phi(ir.IntType(64))
    moving = [builder.phi(pointer.type) for pointer in pointers]
    builder.cbranch(builder.icmp_signed("<", k, count), body, end)
    builder.position_at_end(body)
    yield moving
    following = [builder.add(k, _intp(1))]
    following += [builder.gep(pointer, [step]) for pointer, step in zip(moving, steps)]
    for phi, first, later in zip([k, *moving], [_intp(0), *pointers], following):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    no_unrolling = builder.module.add_metadata(
        [ir.MetaDataString(builder.module, "llvm.loop.unroll.disable")]
    )
    loop_id = builder.module.add_metadata([no_unrolling])
    loop_id.operands = (loop_id, no_unrolling)  # LLVM wants a loop's name to refer to itself
    builder.branch(test).set_metadata("llvm.loop", loop_id)
    builder.position_at_end(end)


def _opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """`value`, of whose origin LLVM knows nothing (an empty piece of assembly)."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


def make_tile(vector_bytes: int, n_vectors: int, max_rows: int) -> Any:
    """An intrinsic for (1) with n = n_vectors whole vectors and 1 <= rows <= max_rows.

    vector_bytes of 0 means a single lane.  Signature: (rows, K0, K1, a, a_off, am, a0, a1,
    b, b_off, b0, b1, c, c_off, cm) with flat float arrays of one dtype.  `rows` is a run-time
    number: the code holds one variant for each and jumps to it.
    """

    @intrinsic
    def tile(typingctx, rows, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
        scalar_bytes = a.dtype.bitwidth // 8
        lanes = max(vector_bytes // scalar_bytes, 1)
        signature = types.void(*(INTP,) * 3, a, *(INTP,) * 4, b, *(INTP,) * 3, c, *(INTP,) * 2)

        def codegen(context, builder, sig, args):
            rows, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm = args

            def first_element(k, offset):
                data = context.make_array(sig.args[k])(context, builder, args[k]).data
                return builder.gep(data, [offset])

            pa, pb, pc = first_element(3, a_off), first_element(8, b_off), first_element(12, c_off)
            scalar = ir.FloatType() if scalar_bytes == 4 else ir.DoubleType()
            vector = ir.VectorType(scalar, lanes)
            # fmuladd: one instruction where the host has it, a product and a sum where not.
            multiply_add = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(vector, [vector] * 3),
                f"llvm.fmuladd.v{lanes}f{8 * scalar_bytes}",
            )
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)

            def vector_at(pointer, v):
                address = builder.gep(pointer, [_intp(lanes * v)])
                return builder.bitcast(address, vector.as_pointer())

            def load(pointer):
                value = builder.load(pointer)
                value.align = scalar_bytes
                return value

            def broadcast(value):
                one = builder.insert_element(
                    ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
                )
                return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

            def emit(n_rows):
                c_rows = [builder.gep(pc, [builder.mul(cm, _intp(m))]) for m in range(n_rows)]
                # One alloca per accumulator in the entry block: LLVM makes each a register.
                acc = [
                    [cgutils.alloca_once(builder, vector) for _ in range(n_vectors)]
                    for _ in range(n_rows)
                ]
                for m in range(n_rows):
                    for v in range(n_vectors):
                        builder.store(load(vector_at(c_rows[m], v)), acc[m][v])
                # Rows of a are reached from every third one as p, p + am, p + 2*am, which one
                # instruction can add.  Left to itself LLVM walks from row to row by a chain of
                # additions, and the products wait for them.
                stride = _opaque(builder, am)
                heads = [
                    _opaque(builder, builder.gep(pa, [builder.mul(am, _intp(m))]))
                    for m in range(0, n_rows, 3)
                ]
                steps_i, steps_j = [a0] * len(heads) + [b0], [a1] * len(heads) + [b1]
                with _loop(builder, K0, heads + [pb], steps_i) as at_i:
                    with _loop(builder, K1, at_i, steps_j) as (*a_j, b_j):
                        columns = [load(vector_at(b_j, v)) for v in range(n_vectors)]
                        for m in range(n_rows):
                            row = a_j[m // 3]
                            if m % 3:
                                row = builder.gep(row, [builder.mul(stride, _intp(m % 3))])
                            x = broadcast(builder.load(row))
                            for v in range(n_vectors):
                                total = builder.load(acc[m][v])
                                total = builder.call(multiply_add, [x, columns[v], total])
                                builder.store(total, acc[m][v])
                for m in range(n_rows):
                    for v in range(n_vectors):
                        pointer = vector_at(c_rows[m], v)
                        builder.store(builder.load(acc[m][v]), pointer).align = scalar_bytes

            done = builder.append_basic_block("tile.done")
            switch = builder.switch(rows, done)
            for n_rows in range(1, max_rows + 1):
                block = builder.append_basic_block(f"tile.rows{n_rows}")
                switch.add_case(_intp(n_rows), block)
                builder.position_at_end(block)
                emit(n_rows)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def make_max_tile(vector_bytes: int) -> Any:
    """An intrinsic for one vector of (2): the largest of a window, and its position.

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
        scalar_bytes = x.dtype.bitwidth // 8
        lanes = max(vector_bytes // scalar_bytes, 1)
        signature = types.void(*(INTP,) * 2, x, *(INTP,) * 5, y, INTP, argmax, INTP)

        def codegen(context, builder, sig, args):
            n_rows, n_columns, x, x_off, row_step, column_step, first, W, y, y_off, p, p_off = args
            scalar = ir.FloatType() if scalar_bytes == 4 else ir.DoubleType()
            vector, i32 = ir.VectorType(scalar, lanes), ir.IntType(32)
            vector_i32 = ir.VectorType(i32, lanes)

            def element(k, offset, vector_type):
                data = context.make_array(sig.args[k])(context, builder, args[k]).data
                return builder.bitcast(builder.gep(data, [offset]), vector_type.as_pointer())

            def load(pointer):
                value = builder.load(pointer)
                value.align = scalar_bytes
                return value

            def positions(value):
                one = builder.insert_element(
                    ir.Constant(vector_i32, ir.Undefined), builder.trunc(value, i32), i32(0)
                )
                zeros = ir.Constant(vector_i32, [0] * lanes)
                return builder.shuffle_vector(one, one, zeros)

            start = element(2, x_off, scalar)
            best = cgutils.alloca_once(builder, vector)
            owner = cgutils.alloca_once(builder, vector_i32)
            builder.store(load(builder.bitcast(start, vector.as_pointer())), best)
            builder.store(positions(first), owner)
            with cgutils.for_range(builder, n_rows) as a:
                row = builder.gep(start, [builder.mul(a.index, row_step)])
                row_first = builder.add(first, builder.mul(a.index, W))
                with cgutils.for_range(builder, n_columns) as e:
                    at = builder.gep(row, [builder.mul(e.index, column_step)])
                    rival, held = load(builder.bitcast(at, vector.as_pointer())), builder.load(best)
                    wins = builder.and_(  # larger, or a number where there was only NaN
                        builder.fcmp_unordered("<", held, rival),
                        builder.fcmp_ordered("ord", rival, rival),
                    )
                    position = positions(builder.add(row_first, e.index))
                    builder.store(builder.select(wins, rival, held), best)
                    builder.store(builder.select(wins, position, builder.load(owner)), owner)
            builder.store(builder.load(best), element(8, y_off, vector)).align = scalar_bytes
            builder.store(builder.load(owner), element(10, p_off, vector_i32)).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile


ROWS, VECTORS, BYTES = TILE.n_rows, TILE.n_vectors, TILE.vector_bytes
HALF, QUARTER, EIGHTH = BYTES // 2, BYTES // 4, BYTES // 8

_tile_block = make_tile(BYTES, VECTORS, ROWS)
_tile_vector = make_tile(BYTES, 1, ROWS)
_tile_half = make_tile(HALF, 1, min(ROWS, 8))
_tile_quarter = make_tile(QUARTER, 1, 4)
_tile_eighth = make_tile(EIGHTH, 1, 4)
_tile_lane = make_tile(0, 1, 4)
_max_vector, _max_half = make_max_tile(BYTES), make_max_tile(HALF)
_max_quarter, _max_lane = make_max_tile(QUARTER), make_max_tile(0)


def multiply_add_plain(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """Equation (1) in indexed loops: the twin of the vector tile, for any run without the JIT,
    with bounds checking, and for the tests that compare the two."""
    for m in range(M):
        for i in range(K0):
            for j in range(K1):
                x = a[a_off + m * am + i * a0 + j * a1]
                for n in range(N):
                    c[c_off + m * cm + n] += x * b[b_off + i * b0 + j * b1 + n]


def multiply_add_tiled(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """Equation (1) on the vector tile, for any M, N, K0, K1 (0 included).

    The M rows are split as evenly as the tile allows: 13 rows on a tile of 12 go as 7 + 6, because
    a short tile cannot hide the latency of its own additions.
    """
    size = c.itemsize
    n = 0
    while n < N:
        left = (N - n) * size
        if left >= VECTORS * BYTES:
            step, max_rows = VECTORS * BYTES, ROWS
        elif left >= BYTES:
            step, max_rows = BYTES, ROWS
        elif left >= HALF:
            step, max_rows = HALF, min(ROWS, 8)
        elif left >= QUARTER and QUARTER >= size:
            step, max_rows = QUARTER, 4
        elif left >= EIGHTH and EIGHTH >= size:
            step, max_rows = EIGHTH, 4
        else:
            step, max_rows = size, 4
        n_blocks = -(-M // max_rows)
        m = 0
        for block in range(n_blocks):
            rows = (M - m) // (n_blocks - block)
            ao, bo, co = a_off + m * am, b_off + n, c_off + m * cm + n
            if step == VECTORS * BYTES:
                _tile_block(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == BYTES:
                _tile_vector(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == HALF:
                _tile_half(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == QUARTER:
                _tile_quarter(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == EIGHTH:
                _tile_eighth(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            else:
                _tile_lane(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            m += rows
        n += step // size


def window_max_plain(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, y, argmax, y_off
):
    """Equation (2) in indexed loops: the twin of the vector tile."""
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
):
    """The largest value of each of a row of windows, and where it stands.

        y[k, c] = max over a < n_rows, e < n_columns of x[k*S*C + a*row_step + e*C + c]         (2)

    n_windows  windows k, S columns apart;  C  channels, the vector's lanes
    first, W   position of the first window's first pixel, and positions a row: argmax[k, c] is
               first + k*S + a*W + e of the winner, the first of equals
    y, argmax  flat; both are written from y_off on
    NaN loses to any number.  x_off and y_off are offsets in flat arrays, as in (1).
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


multiply_add_plain, window_max_plain = kernel(multiply_add_plain), kernel(window_max_plain)
if TILE.plain:
    multiply_add, window_max = multiply_add_plain, window_max_plain
else:
    multiply_add_tiled, window_max_tiled = kernel(multiply_add_tiled), kernel(window_max_tiled)
    multiply_add, window_max = multiply_add_tiled, window_max_tiled
