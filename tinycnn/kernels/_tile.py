"""The inner loop of all heavy passes: a block of sums in vector registers; also in plain loops.

    c[m, n] += sum over i < K0, j < K1 of a[m, i, j] * b[i, j, n]      m < M, n < N          (1)

with a[m, i, j] = a[a_off + m*am + i*a0 + j*a1], b[i, j, n] = b[b_off + i*b0 + j*b1 + n] and
c[m, n] = c[c_off + m*cm + n] in flat arrays.  With the right strides (1) is each of these passes:

    conv2d forward             a = x,  b = w,             m = output pixels,  (i, j) = taps
    conv2d gradient of w       a = x,  b = dy,            m = taps,           (i, j) = pixels
    conv2d gradient of x       a = dy, b = w transposed,  m = input pixels of one stride phase
    dense forward, gradients   K0 = 1

A tile is n_rows x n_vectors accumulators.  Each vector of b that is loaded is used in n_rows
products, and each scalar of a in n_vectors, so the speed is limited by the multiply-adds and not by
the loads.  The tile is emitted as LLVM IR, see `_simd.py`.  Of the last columns, which may not fill
a vector, only the lanes that exist are loaded and stored: nothing outside the three blocks is read
or written.

A forward pass computes each output in one call, so it needs no pass for the bias and the ReLU:

    c[m, n] = relu(bias[n] + sum over i < K0, j < K1 of a[m, i, j] * b[i, j, n])            (2)

The terms of a sum are added in the order i, then j, for every tile shape.  So c[m, n] has the same
bits for every M, and an image's result does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import (
    INTP,
    FirstLanes,
    Vectors,
    element,
    for_each_row_count,
    for_first_lanes,
    for_whole_or_first_lanes,
    intp,
    loop,
    opaque,
)


def make_tile(n_vectors: int, lane_by_lane: bool = False, overwrites: bool = False) -> Any:
    """An intrinsic for (1), or for (2) if it overwrites, with M = rows <= ROWS.

    n_vectors     whole vectors of columns; 0: the first `columns` lanes of one
    lane_by_lane  each column n has its own a[m, i, j, n], at the next address; see `_lane_tile.py`
    The arrays are flat, floating and of one dtype.  `rows` is known only at run time: the code has
    a variant for each value and jumps to it.  Without `overwrites`, bias and relu are not used.
    """
    max_rows = LANE_BY_LANE_ROWS if lane_by_lane else ROWS if n_vectors else VECTOR_ROWS

    @intrinsic
    def tile(typingctx, rows, columns, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1,
             bias, bias_off, relu, c, c_off, cm):  # fmt: skip
        signature = types.void(
            *(INTP,) * 4, a, *(INTP,) * 4, b, *(INTP,) * 3, bias, *(INTP,) * 2, c, *(INTP,) * 2
        )

        def codegen(context, builder, sig, args):
            (rows, columns, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1,
             bias, bias_off, relu, c, c_off, cm) = args  # fmt: skip
            dtype = sig.args[16].dtype
            pa = element(context, builder, sig.args[4], a, a_off)
            pb = element(context, builder, sig.args[9], b, b_off)
            pbias = element(context, builder, sig.args[13], bias, bias_off)
            pc = element(context, builder, sig.args[16], c, c_off)

            def emit(vectors, n_rows):
                grid = [(m, v) for m in range(n_rows) for v in range(n_vectors or 1)]
                c_rows = [builder.gep(pc, [builder.mul(cm, intp(m))]) for m in range(n_rows)]
                if overwrites:
                    first = [vectors.load(pbias, v) for v in range(n_vectors or 1)]
                    total = {(m, v): vectors.register(first[v]) for m, v in grid}
                else:
                    total = {(m, v): vectors.register(vectors.load(c_rows[m], v)) for m, v in grid}
                # Every third row of a has a pointer p of its own; the two after it are p + am and
                # p + 2*am, which a load instruction can add by itself.  Otherwise LLVM computes
                # each row's address from the one before, and the products wait for this chain.
                stride = opaque(builder, am)
                third_rows = [
                    opaque(builder, builder.gep(pa, [builder.mul(am, intp(m))]))
                    for m in range(0, n_rows, 3)
                ]
                steps_i = [a0] * len(third_rows) + [b0]
                steps_j = [a1] * len(third_rows) + [b1]
                with loop(builder, K0, [*third_rows, pb], steps_i) as at_i:
                    with loop(builder, K1, at_i, steps_j) as (*a_j, b_j):
                        row_of_b = [vectors.load(b_j, v) for v in range(n_vectors or 1)]
                        for m in range(n_rows):
                            row = builder.gep(a_j[m // 3], [builder.mul(stride, intp(m % 3))])
                            if not lane_by_lane:
                                x = vectors.broadcast(builder.load(row))
                            for v in range(n_vectors or 1):
                                if lane_by_lane:
                                    x = vectors.load(row, v)
                                old = builder.load(total[m, v])
                                new = vectors.multiply_add(x, row_of_b[v], old)
                                builder.store(new, total[m, v])
                if overwrites:
                    wants_relu = builder.icmp_signed("!=", relu, intp(0))
                    zeros, lowest = (
                        ir.Constant(vectors.type, [x] * vectors.lanes) for x in (0.0, float("-inf"))
                    )
                    floor = builder.select(wants_relu, zeros, lowest)
                results = {}
                for m, v in grid:
                    results[m, v] = builder.load(total[m, v])
                    if overwrites:
                        results[m, v] = vectors.at_least(floor, results[m, v])

                def store(rows, vectors):
                    for m in rows:
                        for v in range(n_vectors or 1):
                            vectors.store(results[m, v], c_rows[m], v)

                if SLOW_MASKS and isinstance(vectors, FirstLanes) and n_rows > 1:
                    # Rows that follow one another: a whole vector may be stored if the rows after
                    # it, which are stored later, have the other lanes.
                    follow = builder.icmp_signed("==", cm, columns)
                    most = builder.icmp_signed(">=", columns, intp(vectors.lanes // 2))
                    with builder.if_else(builder.and_(follow, most)) as (then, otherwise):
                        with then:
                            store(range(n_rows - 1), whole)
                        with otherwise:
                            store(range(n_rows - 1), vectors)
                    store([n_rows - 1], vectors)
                else:
                    store(range(n_rows), vectors)

            def emit_rows(vectors):
                for_each_row_count(builder, rows, max_rows, lambda n: emit(vectors, n))

            whole = Vectors(builder, dtype, BYTES)
            if n_vectors:
                emit_rows(whole)
            elif SLOW_MASKS:
                for_whole_or_first_lanes(builder, dtype, BYTES, columns, emit_rows)
            elif BYTES > 16:
                for_first_lanes(builder, dtype, BYTES, columns, emit_rows)
            else:  # such hosts load lanes one by one
                fills = builder.icmp_signed(">=", columns, intp(whole.lanes))
                with builder.if_else(fills) as (then, otherwise):
                    with then:
                        emit_rows(whole)
                    with otherwise:
                        emit_rows(FirstLanes(builder, dtype, BYTES, columns))
            return context.get_dummy_value()

        return signature, codegen

    return tile


ROWS, VECTORS, BYTES = TILE.n_rows, TILE.n_vectors, TILE.vector_bytes

SLOW_MASKS = BYTES == 32
"""Whether loads and stores of some lanes take long: those of AVX2 do."""

VECTOR_ROWS = max(ROWS, 12)
"""Rows of a tile with one vector of columns: then registers are left for more rows than ROWS."""

LANE_BY_LANE_ROWS = min(ROWS, 6)
"""Each product loads its own a there, so more rows than these are not faster."""

_add_block, _add_vector = make_tile(VECTORS), make_tile(0)
_block, _vector = make_tile(VECTORS, overwrites=True), make_tile(0, overwrites=True)


def multiply_add_plain(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """Equation (1) in indexed loops: for runs without the JIT or with bounds checking, and for the
    tests, which compare the vector tile with it."""
    for m in range(M):
        for i in range(K0):
            for j in range(K1):
                x = a[a_off + m * am + i * a0 + j * a1]
                for n in range(N):
                    c[c_off + m * cm + n] += x * b[b_off + i * b0 + j * b1 + n]


def multiply_add_tiled(
    M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) on the vector tile, for any M, N, K0, K1 (0 included).

    The M rows are split evenly: 13 rows on a tile of 12 become 7 + 6, not 12 + 1.  A tile of few
    rows has too few independent sums, and waits for each of its additions.
    """
    lanes = BYTES // c.itemsize
    n = 0
    while n < N:
        is_block = N - n >= VECTORS * lanes
        columns = VECTORS * lanes if is_block else min(N - n, lanes)
        n_blocks = -(-M // (ROWS if is_block else VECTOR_ROWS))
        m = 0
        for k in range(n_blocks):
            rows = (M - m) // (n_blocks - k)
            ao, bo, co = a_off + m * am, b_off + n, c_off + m * cm + n
            if columns == VECTORS * lanes:
                _add_block(
                    rows, columns, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, 0, 0, c, co, cm
                )
            else:
                _add_vector(
                    rows, columns, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, 0, 0, c, co, cm
                )
            m += rows
        n += columns


def products_plain(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, bias, relu, c, c_off, cm):
    """Equation (2) in indexed loops: a product of matrices plus a bias, followed by ReLU if `relu`
    is 1."""
    for m in range(M):
        for n in range(N):
            c[c_off + m * cm + n] = bias[n]
    multiply_add_plain(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm)
    if relu:
        for m in range(M):
            for n in range(N):
                if c[c_off + m * cm + n] <= 0:
                    c[c_off + m * cm + n] = 0


def products_tiled(
    M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, bias, relu, c, c_off, cm
):  # pragma: no cover: intrinsics only run compiled
    """Equation (2) on the vector tile, as `multiply_add_tiled`."""
    lanes = BYTES // c.itemsize
    n = 0
    while n < N:
        is_block = N - n >= VECTORS * lanes
        columns = VECTORS * lanes if is_block else min(N - n, lanes)
        n_blocks = -(-M // (ROWS if is_block else VECTOR_ROWS))
        m = 0
        for k in range(n_blocks):
            rows = (M - m) // (n_blocks - k)
            ao, bo, co = a_off + m * am, b_off + n, c_off + m * cm + n
            if columns == VECTORS * lanes:
                _block(
                    rows, columns, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, bias, n, relu,
                    c, co, cm,
                )  # fmt: skip
            else:
                _vector(
                    rows, columns, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, bias, n, relu,
                    c, co, cm,
                )  # fmt: skip
            m += rows
        n += columns


multiply_add_plain = helper(multiply_add_plain)
products_plain = helper(products_plain)
multiply_add = multiply_add_plain if TILE.plain else helper(multiply_add_tiled)
products = products_plain if TILE.plain else helper(products_tiled)
