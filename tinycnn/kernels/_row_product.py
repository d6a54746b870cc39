"""The inner loop of a dense layer for a single image: one row times a matrix; also in plain loops.

    y[n] = relu(bias[n] + sum over k < K of x[k] * w[k, n])               n < N             (1)

Every weight is used once, so the speed is that at which weights can be read.  A tile of `_tile.py`
with one row has VECTORS sums, which wait for their own additions; here up to MOST_VECTORS sums are
computed together, and the weights that are read at once follow one another in memory.  If N does
not fill the last vector, that vector begins earlier and computes some columns again.

The terms of a sum are added in the order of k, as in `_tile.py`: the sums have the same bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import INTP, Vectors, element, for_each_row_count, intp, loop
from ._tile import products_plain

BYTES = TILE.vector_bytes

MOST_VECTORS = 8


def _make_columns() -> Any:
    """An intrinsic for (1) in n_vectors <= MOST_VECTORS vectors of columns.

    Vector v begins at column v * lanes, the last one at column `last`.
    """

    @intrinsic
    def columns(typingctx, n_vectors, last, K, x, x_off, w, w_off, wk, bias, bias_off, relu,
                y, y_off):  # fmt: skip
        signature = types.void(*(INTP,) * 3, x, INTP, w, *(INTP,) * 2, bias, *(INTP,) * 2, y, INTP)

        def codegen(context, builder, sig, args):
            n_vectors, last, K, x, x_off, w, w_off, wk, bias, bias_off, relu, y, y_off = args
            px = element(context, builder, sig.args[3], x, x_off)
            pw = element(context, builder, sig.args[5], w, w_off)
            pbias = element(context, builder, sig.args[8], bias, bias_off)
            py = element(context, builder, sig.args[11], y, y_off)
            vectors = Vectors(builder, sig.args[11].dtype, BYTES)
            wants_relu = builder.icmp_signed("!=", relu, intp(0))
            zeros, lowest = (
                ir.Constant(vectors.type, [value] * vectors.lanes) for value in (0.0, float("-inf"))
            )
            floor = builder.select(wants_relu, zeros, lowest)

            def emit(n):
                begins = [intp(vectors.lanes * v) for v in range(n - 1)] + [last]

                def at(pointer, v):
                    return builder.gep(pointer, [begins[v]])

                totals = [vectors.register(vectors.load(at(pbias, v))) for v in range(n)]
                with loop(builder, K, [px, pw], [intp(1), wk]) as (x_k, w_k):
                    factor = vectors.broadcast(builder.load(x_k))
                    for v in range(n):
                        old = builder.load(totals[v])
                        new = vectors.multiply_add(factor, vectors.load(at(w_k, v)), old)
                        builder.store(new, totals[v])
                for v in range(n):
                    value = vectors.at_least(floor, builder.load(totals[v]))
                    vectors.store(value, at(py, v))

            for_each_row_count(builder, n_vectors, MOST_VECTORS, emit)
            return context.get_dummy_value()

        return signature, codegen

    return columns


_columns = _make_columns()


def row_product_plain(N, K, x, x_off, w, w_off, wk, bias, relu, y, y_off):
    """Equation (1) in indexed loops; the arguments are those of `row_product_tiled`."""
    products_plain(1, N, 1, K, x, x_off, 0, 0, 1, w, w_off, 0, wk, bias, relu, y, y_off, 0)


def row_product_tiled(
    N, K, x, x_off, w, w_off, wk, bias, relu, y, y_off
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) for N columns that fill a vector or more; without relu if that is 0.

    x[k] = x[x_off + k], w[k, n] = w[w_off + k*wk + n] and y[n] = y[y_off + n] in flat arrays.
    """
    lanes = BYTES // y.itemsize
    n, n_blocks = 0, -(-N // (MOST_VECTORS * lanes))
    for block in range(n_blocks):
        n_vectors = -(-(N - n) // lanes) // (n_blocks - block)
        last = min((n_vectors - 1) * lanes, N - n - lanes)
        _columns(n_vectors, last, K, x, x_off, w, w_off + n, wk, bias, n, relu, y, y_off + n)
        n += last + lanes


row_product_plain = helper(row_product_plain)
row_product = row_product_plain if TILE.plain else helper(row_product_tiled)
