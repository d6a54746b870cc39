"""Lists, for each filter, the pooling windows whose gradient is not 0, with their winners.

The winner of a window is the position of its maximum: the only one that gets the gradient.

    for each filter f: the windows q with dy[q, f] != 0, in order, as g[f, k] = dy[q, f] and
    at[f, k] = argmax[q, f], k < counts[f];  and sums[f] += dy[q, f] for every q                (1)

After a ReLU about half of the gradients are 0, at random, so a branch on "is it 0" would often be
predicted wrongly.  The plain loops have none: they write every value at the end of the list, and
only a value that is not 0 makes the list longer; the next value overwrites a 0.

On a host with AVX2, 8 windows x 8 filters (a block) are transposed in registers.  Then a vector
holds 8 windows of one filter.  The 8 bits of "not 0" select a permutation from a table, which moves
the winners of this vector to its front.  This takes a fourth of the time.  Windows and filters that
do not fill a block, and float64, are done in plain loops.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, helper, target_features
from ._simd import I64, INTP, Vectors, element, intp, loop

LANES = 8
"""Windows, and filters, of a block.  Each filter's part of g and at must have LANES more elements
than windows, because whole vectors are written at the end of its list."""

I8, I32 = ir.IntType(8), ir.IntType(32)
I32_VECTOR = ir.VectorType(I32, LANES)


def _permutations() -> ir.Constant:
    """For each byte, LANES lanes: first those whose bit of the byte is 1, then the others."""
    rows = [sorted(range(LANES), key=lambda lane: not byte >> lane & 1) for byte in range(256)]
    lanes = [lane for row in rows for lane in row]
    return ir.Constant(ir.ArrayType(I8, len(lanes)), bytearray(lanes))


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The LANES columns of LANES vectors, in three rounds of shuffles of two rows each.

    The first two rounds stay within halves of 128 bits, where shuffles are cheapest.
    """
    for distance, lanes, second_offset in (
        (1, [0, 8, 1, 9, 4, 12, 5, 13], 2),  # interleave single elements of two rows
        (2, [0, 1, 8, 9, 4, 5, 12, 13], 2),  # pairs of elements
        (4, [0, 1, 2, 3, 8, 9, 10, 11], 4),  # halves
    ):
        for k in (k for k in range(LANES) if not k & distance):
            a, b = rows[k], rows[k + distance]
            for row, offset in ((k, 0), (k + distance, second_offset)):
                mask = ir.Constant(I32_VECTOR, [offset + lane for lane in lanes])
                rows[row] = builder.shuffle_vector(a, b, mask)
    return [rows[k] for k in (0, 2, 1, 3, 4, 6, 5, 7)]


@intrinsic
def _list_blocks(typingctx, n_blocks, F, dy, argmax, first, L, g, at, f, counts, sums):
    """(1) for n_blocks * LANES windows and LANES filters from f on: appends to their lists.

    dy, argmax  flat; element `first` is that of the first window and filter f
    """
    signature = types.void(INTP, INTP, dy, argmax, INTP, INTP, g, at, INTP, counts, sums)

    def codegen(context, builder, sig, args):
        n_blocks, F, dy, argmax, first, L, g, at, f, counts, sums = args
        if sig.args[2].dtype.bitwidth != 32:  # float64 never comes here, but is compiled too
            return context.get_dummy_value()
        vectors = Vectors(builder, sig.args[2].dtype, 4 * LANES)
        values, positions = (element(context, builder, sig.args[k], args[k], first) for k in (2, 3))
        lists = [element(context, builder, sig.args[k], args[k], builder.mul(f, L)) for k in (6, 7)]
        count_of = element(context, builder, sig.args[9], counts, f)
        sum_of = element(context, builder, sig.args[10], sums, f)
        total = vectors.register(vectors.load(sum_of))
        table = cgutils.global_constant(builder.module, "permutations", _permutations())
        permute, count_bits = (
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, given), name)
            for name, result, given in (
                ("llvm.x86.avx2.permd", I32_VECTOR, [I32_VECTOR, I32_VECTOR]),
                ("llvm.ctpop.i8", I8, [I8]),
            )
        )

        def load_ints(pointer: ir.Value) -> ir.Value:
            value = builder.load(builder.bitcast(pointer, I32_VECTOR.as_pointer()))
            value.align = 4
            return value

        block = builder.mul(F, intp(LANES))
        with loop(builder, n_blocks, [values, positions], [block, block]) as pointers:
            loaded = [
                [load_ints(builder.gep(p, [builder.mul(F, intp(k))])) for k in range(LANES)]
                for p in pointers
            ]
            for row in loaded[0]:
                number = builder.bitcast(row, vectors.type)
                builder.store(builder.fadd(builder.load(total), number), total)
            by_filter = [_transposed(builder, rows) for rows in loaded]
            for lane, (value, position) in enumerate(zip(*by_filter)):
                number = builder.bitcast(value, vectors.type)
                wins = builder.fcmp_unordered(
                    "!=", number, ir.Constant(vectors.type, [0.0] * LANES)
                )
                bits = builder.bitcast(wins, I8)
                row = builder.gep(
                    table, [intp(0), builder.mul(builder.zext(bits, I64), intp(LANES))]
                )
                order = builder.load(builder.bitcast(row, ir.VectorType(I8, LANES).as_pointer()))
                order.align = LANES
                order = builder.zext(order, I32_VECTOR)
                count = builder.gep(count_of, [intp(lane)])
                k = builder.load(count)
                list_end = builder.add(builder.mul(L, intp(lane)), k)
                for vector, out in zip((value, position), lists):
                    pointer = builder.gep(out, [list_end])
                    pointer = builder.bitcast(pointer, I32_VECTOR.as_pointer())
                    builder.store(builder.call(permute, [vector, order]), pointer).align = 4
                n_winners = builder.zext(builder.call(count_bits, [bits]), I64)
                builder.store(builder.add(k, n_winners), count)
        vectors.store(builder.load(total), sum_of)
        return context.get_dummy_value()

    return signature, codegen


BLOCKS = bool(target_features().get("avx2")) and not TILE.plain
"""Whether `list_winners` works in blocks on this host."""


@helper
def append_winners(dy, argmax, first, end, f_first, f_end, L, g, at, counts, sums):
    """(1) in plain loops, for the windows first <= q < end and the filters f_first <= f < f_end:
    appends to their lists."""
    F = counts.size
    for f in range(f_first, f_end):
        k, total = counts[f], sums[f]
        for q in range(first, end):
            value = dy[q * F + f]
            g[f * L + k] = value
            at[f * L + k] = argmax[q * F + f]
            k += value != 0
            total += value
        counts[f], sums[f] = k, total


def list_winners_plain(dy, argmax, first, n_windows, L, g, at, counts, sums):
    """(1) in plain loops; the arguments are those of `list_winners_in_blocks`."""
    counts[:] = 0
    end = first + n_windows
    append_winners(dy, argmax, first, end, 0, counts.size, L, g, at, counts, sums)


def list_winners_in_blocks(
    dy, argmax, first, n_windows, L, g, at, counts, sums
):  # pragma: no cover: intrinsics only run compiled
    """(1) for the windows q = first ... first + n_windows - 1.

    dy, argmax  flat, (windows, filters)
    g, at       flat, (filters, L) with L >= n_windows + LANES, overwritten
    counts      (filters,) int64, overwritten
    sums        (filters,), added to
    """
    F, end = counts.size, first + n_windows
    n_blocks, block_F = 0, 0  # blocks of windows, and filters that fill blocks
    if dy.itemsize == 4:
        n_blocks, block_F = n_windows // LANES, F - F % LANES
    blocks_end = first + n_blocks * LANES
    counts[:] = 0
    for f in range(0, block_F, LANES):
        _list_blocks(n_blocks, F, dy, argmax, first * F + f, L, g, at, f, counts, sums)
    append_winners(dy, argmax, blocks_end, end, 0, block_F, L, g, at, counts, sums)
    append_winners(dy, argmax, first, end, block_F, F, L, g, at, counts, sums)


list_winners_plain = helper(list_winners_plain)
if BLOCKS:
    list_winners_in_blocks = helper(list_winners_in_blocks)
    list_winners = list_winners_in_blocks
else:
    list_winners = list_winners_plain
