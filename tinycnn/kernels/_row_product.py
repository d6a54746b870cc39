"""The inner loop of a dense layer for a single image: one row times a matrix; also in plain loops.

    y[n] = relu(bias[n] + sum over k < K of x[k] * w[k, n])               n < N             (1)

Every weight is used once, so the speed is that at which weights can be read.  A tile of `_tile.py`
with one row has VECTORS sums, which wait for their own additions; here up to MOST_VECTORS sums are
computed together, and the weights that are read at once follow one another in memory.  If N does
not fill the last vector, that vector begins earlier and computes some columns again.

Packed weights (`packed_weights.py`) are read panel by panel, some panels at once: each is read from
its first to its last byte, so that the processor loads ahead.

The terms of a sum are added in the order of k, as in `_tile.py`: the sums have the same bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper, inline_helper
from ._simd import INTP, Vectors, element, for_each_row_count, intp, loop
from ._tile import products_plain

BYTES, PANEL_VECTORS, PLAIN = TILE.vector_bytes, TILE.n_vectors, TILE.plain

MOST_VECTORS = max(8, PANEL_VECTORS)


def _make_columns() -> Any:
    """An intrinsic for (1) in n_vectors <= MOST_VECTORS vectors of columns.

    Vector v begins at column v * lanes, the last one at column `last`.  Its first weights are at
    p * w_panel + q * lanes for v = p * PANEL_VECTORS + q, of the last one at `last_w`.
    """

    @intrinsic
    def columns(typingctx, n_vectors, last, K, x, x_off, w, w_off, wk, w_panel, last_w,
                bias, bias_off, relu, y, y_off):  # fmt: skip
        signature = types.void(*(INTP,) * 3, x, INTP, w, *(INTP,) * 4, bias, *(INTP,) * 2, y, INTP)

        def codegen(context, builder, sig, args):
            (n_vectors, last, K, x, x_off, w, w_off, wk, w_panel, last_w,
             bias, bias_off, relu, y, y_off) = args  # fmt: skip
            px = element(context, builder, sig.args[3], x, x_off)
            pw = element(context, builder, sig.args[5], w, w_off)
            pbias = element(context, builder, sig.args[10], bias, bias_off)
            py = element(context, builder, sig.args[13], y, y_off)
            vectors = Vectors(builder, sig.args[13].dtype, BYTES)
            wants_relu = builder.icmp_signed("!=", relu, intp(0))
            zeros, lowest = (
                ir.Constant(vectors.type, [value] * vectors.lanes) for value in (0.0, float("-inf"))
            )
            floor = builder.select(wants_relu, zeros, lowest)

            def emit(n):
                begins = [intp(vectors.lanes * v) for v in range(n - 1)] + [last]
                weights = []
                for v in range(n - 1):
                    panel, q = divmod(v, PANEL_VECTORS)
                    of_panel = builder.mul(w_panel, intp(panel))
                    weights.append(builder.add(of_panel, intp(vectors.lanes * q)))
                weights.append(last_w)

                def at(pointer, offset):
                    return builder.gep(pointer, [offset])

                totals = [vectors.register(vectors.load(at(pbias, begin))) for begin in begins]
                with loop(builder, K, [px, pw], [intp(1), wk]) as (x_k, w_k):
                    factor = vectors.broadcast(builder.load(x_k))
                    for total, offset in zip(totals, weights):
                        w_v = vectors.load(at(w_k, offset))
                        new = vectors.multiply_add(factor, w_v, builder.load(total))
                        builder.store(new, total)
                for total, begin in zip(totals, begins):
                    value = vectors.at_least(floor, builder.load(total))
                    vectors.store(value, at(py, begin))

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
        _columns(
            n_vectors, last, K, x, x_off, w, w_off + n, wk, PANEL_VECTORS * lanes, last,
            bias, n, relu, y, y_off + n,
        )  # fmt: skip
        n += last + lanes


@inline_helper
def reads_panels(columns, itemsize):
    """Whether `packed_row_product` can read panels of so many columns."""
    return PLAIN or columns * itemsize == PANEL_VECTORS * BYTES


def packed_row_product_plain(N, K, columns, x, x_off, w, w_off, bias, relu, y, y_off):
    """As `packed_row_product_tiled`, in indexed loops."""
    for n in range(0, N, columns):
        w_n = w_off + n * K
        products_plain(
            1, columns, 1, K, x, x_off, 0, 0, 1, w, w_n, 0, columns, bias[n:], relu, y, y_off + n, 0
        )  # fmt: skip


def packed_row_product_tiled(
    N, K, columns, x, x_off, w, w_off, bias, relu, y, y_off
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) for N columns in panels of PANEL_VECTORS vectors, which are `columns` columns.

    With n = p*columns + q, q < columns, w[k, n] is w[w_off + (p*K + k)*columns + q].
    """
    lanes = BYTES // y.itemsize
    n_panels, most = N // columns, MOST_VECTORS // PANEL_VECTORS
    n_blocks = -(-n_panels // most)
    p = 0
    for block in range(n_blocks):
        n = -(-(n_panels - p) // (n_blocks - block))
        last = (n * PANEL_VECTORS - 1) * lanes
        last_w = (n - 1) * K * columns + (PANEL_VECTORS - 1) * lanes
        _columns(
            n * PANEL_VECTORS, last, K, x, x_off, w, w_off + p * K * columns, columns, K * columns,
            last_w, bias, p * columns, relu, y, y_off + p * columns,
        )  # fmt: skip
        p += n


row_product_plain = helper(row_product_plain)
row_product = row_product_plain if TILE.plain else helper(row_product_tiled)
packed_row_product_plain = helper(packed_row_product_plain)
packed_row_product = packed_row_product_plain if TILE.plain else helper(packed_row_product_tiled)
