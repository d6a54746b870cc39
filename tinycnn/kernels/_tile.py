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
the loads.  The tile is emitted as LLVM IR, see `_simd.py`.  Columns that do not fill a vector are
done with vectors of a half, a quarter, ... of its width, down to one lane: nothing outside the
three blocks is read or written.

The terms of a sum are added in the order i, then j, for every tile shape.  So c[m, n] has the same
bits for every M, and an image's result does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import INTP, Vectors, element, for_each_row_count, intp, loop, opaque


def make_tile(vector_bytes: int, n_vectors: int, max_rows: int, lane_by_lane: bool = False) -> Any:
    """An intrinsic for (1) with n_vectors whole vectors of columns and M = rows <= max_rows.

    vector_bytes of 0 means a single lane.  The arrays are flat, floating and of one dtype.  `rows`
    is known only at run time: the code has a variant for each value and jumps to it.
    lane_by_lane: each column n has its own a[m, i, j, n], at the next address; see `_lane_tile.py`
    """

    @intrinsic
    def tile(typingctx, rows, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
        signature = types.void(*(INTP,) * 3, a, *(INTP,) * 4, b, *(INTP,) * 3, c, *(INTP,) * 2)

        def codegen(context, builder, sig, args):
            rows, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm = args
            vectors = Vectors(builder, sig.args[12].dtype, vector_bytes)
            pa = element(context, builder, sig.args[3], a, a_off)
            pb = element(context, builder, sig.args[8], b, b_off)
            pc = element(context, builder, sig.args[12], c, c_off)

            def emit(n_rows):
                grid = [(m, v) for m in range(n_rows) for v in range(n_vectors)]
                c_rows = [builder.gep(pc, [builder.mul(cm, intp(m))]) for m in range(n_rows)]
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
                        columns = [vectors.load(b_j, v) for v in range(n_vectors)]
                        for m in range(n_rows):
                            row = builder.gep(a_j[m // 3], [builder.mul(stride, intp(m % 3))])
                            if not lane_by_lane:
                                x = vectors.broadcast(builder.load(row))
                            for v in range(n_vectors):
                                if lane_by_lane:
                                    x = vectors.load(row, v)
                                old = builder.load(total[m, v])
                                new = vectors.multiply_add(x, columns[v], old)
                                builder.store(new, total[m, v])
                for m, v in grid:
                    vectors.store(builder.load(total[m, v]), c_rows[m], v)

            for_each_row_count(builder, rows, max_rows, emit)
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


multiply_add_plain = helper(multiply_add_plain)
multiply_add = multiply_add_plain if TILE.plain else helper(multiply_add_tiled)
