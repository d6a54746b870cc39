"""The inner loops of max-pooling: with vectors, whose lanes are channels, and in plain loops.

`window_max`, `signed_window_max`, `add_to_winners` and `combine_windows` do a row of windows; their
equations are in the docstrings of the functions `..._tiled`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import (
    INTP,
    Vectors,
    element,
    intp,
    loop,
    own_function,
)


def make_window_max(vector_bytes: int, signed: bool = False) -> Any:
    """An intrinsic for one vector of (1) or, if signed, of (2): a value of a window, and its
    position.

    vector_bytes of 0 means a single lane; out_off is the offset of the results in y and argmax.
    Only (2) uses the factors, from factor[c] on.
    """

    @intrinsic
    def tile(typingctx, n_rows, n_columns, x, x_off, row_step, column_step, first, W,
             y, argmax, out_off, factor, c):  # fmt: skip
        signature = types.void(*(INTP,) * 2, x, *(INTP,) * 5, y, argmax, INTP, factor, INTP)

        def codegen(context, builder, sig, args):
            n_rows, n_columns, x, x_off, row_step, column_step, first, W, y, argmax = args[:10]
            out_off, factor, c = args[10:]
            vectors = Vectors(builder, sig.args[2].dtype, vector_bytes)
            px = element(context, builder, sig.args[2], x, x_off)
            py = element(context, builder, sig.args[8], y, out_off)
            pa = element(context, builder, sig.args[9], argmax, out_off)
            i32 = ir.IntType(32)
            best = best_key = vectors.register(vectors.load(px))
            if signed:
                factors = vectors.load(element(context, builder, sig.args[11], factor, c))
                best_key = vectors.register(builder.fmul(builder.load(best), factors))
            best_at = vectors.register(vectors.broadcast(builder.trunc(first, i32)))
            with cgutils.for_range(builder, n_rows) as a:
                row = builder.gep(px, [builder.mul(a.index, row_step)])
                row_first = builder.add(first, builder.mul(a.index, W))
                with cgutils.for_range(builder, n_columns) as e:
                    value = vectors.load(builder.gep(row, [builder.mul(e.index, column_step)]))
                    key = builder.fmul(value, factors) if signed else value
                    old, old_key = builder.load(best), builder.load(best_key)
                    wins = builder.and_(  # larger, or a number after nothing but NaN
                        builder.fcmp_unordered("<", old_key, key),
                        builder.fcmp_ordered("ord", key, key),
                    )
                    position = builder.trunc(builder.add(row_first, e.index), i32)
                    position = vectors.broadcast(position)
                    builder.store(builder.select(wins, key, old_key), best_key)
                    if signed:
                        builder.store(builder.select(wins, value, old), best)
                    builder.store(builder.select(wins, position, builder.load(best_at)), best_at)
            vectors.store(builder.load(best), py)
            positions = builder.load(best_at)
            builder.store(positions, builder.bitcast(pa, positions.type.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return tile


def make_add_to_winners(vector_bytes: int) -> Any:
    """An intrinsic for one window and one vector of (3)."""

    @intrinsic
    def add_to_winners(typingctx, n_rows, n_columns, g, argmax, g_off, factor, c,
                       first, W, out, out_off, row_step, column_step):  # fmt: skip
        signature = types.void(
            *(INTP, INTP, g, argmax, INTP, factor, INTP, INTP, INTP, out, INTP, INTP, INTP)
        )

        def codegen(context, builder, sig, args):
            n_rows, n_columns, g, argmax, g_off, factor, c, first, W, out = args[:10]
            out_off, row_step, column_step = args[10:]
            vectors = Vectors(builder, sig.args[2].dtype, vector_bytes)
            pg = element(context, builder, sig.args[2], g, g_off)
            pa = element(context, builder, sig.args[3], argmax, g_off)
            factors = vectors.load(element(context, builder, sig.args[5], factor, c))
            po = element(context, builder, sig.args[9], out, out_off)
            i32 = ir.IntType(32)
            terms = builder.fmul(vectors.load(pg), factors)
            positions = ir.VectorType(i32, vectors.lanes)
            at = builder.load(builder.bitcast(pa, positions.as_pointer()))
            at.align = 4
            zeros = ir.Constant(vectors.type, [0.0] * vectors.lanes)
            with cgutils.for_range(builder, n_rows) as a:
                row = builder.gep(po, [builder.mul(a.index, row_step)])
                row_first = builder.add(first, builder.mul(a.index, W))
                with cgutils.for_range(builder, n_columns) as e:
                    target = builder.gep(row, [builder.mul(e.index, column_step)])
                    position = builder.trunc(builder.add(row_first, e.index), i32)
                    wins = builder.icmp_signed("==", at, vectors.broadcast(position))
                    term = builder.select(wins, terms, zeros)
                    vectors.store(builder.fadd(vectors.load(target), term), target)
            return context.get_dummy_value()

        return signature, codegen

    return add_to_winners


def make_combine(vector_bytes: int) -> Any:
    """An intrinsic for one vector of (4), for n_windows windows of a row."""

    @intrinsic
    def combine(typingctx, n_windows, x, x_off, row_step, C, g, argmax, g_off, k, c, first, W, out):
        signature = types.void(
            *(INTP, x, INTP, INTP, INTP, g, argmax, INTP, k, INTP, INTP, INTP, out)
        )

        @own_function
        def codegen(context, builder, sig, args):
            n_windows, x, x_off, row_step, C, g, argmax, g_off, k, c, first, W, out = args
            dtype = sig.args[1].dtype
            vectors = Vectors(builder, dtype, vector_bytes)
            px, po = (element(context, builder, sig.args[1], a, x_off) for a in (x, out))
            pg = element(context, builder, sig.args[5], g, g_off)
            pa = element(context, builder, sig.args[6], argmax, g_off)
            pk = element(context, builder, sig.args[8], k, c)
            slope, offset, scale = (
                vectors.load(builder.gep(pk, [builder.mul(C, intp(n))])) for n in range(3)
            )
            zeros = ir.Constant(vectors.type, [0.0] * vectors.lanes)
            i32 = ir.IntType(32)
            positions = ir.VectorType(i32, vectors.lanes)
            offsets = [
                vectors.broadcast(builder.trunc(at, i32))
                for at in (intp(0), intp(1), W, builder.add(W, intp(1)))
            ]
            corner = vectors.register(vectors.broadcast(builder.trunc(first, i32)))
            two = ir.Constant(positions, [2] * vectors.lanes)
            next_row = [builder.gep(pointer, [row_step]) for pointer in (px, po)]
            pair = builder.mul(C, intp(2))
            starts = [px, next_row[0], po, next_row[1], pg, pa]
            with loop(builder, n_windows, starts, [pair] * 4 + [C] * 2) as pointers:
                *rows, g_at, a_at = pointers
                at = builder.load(builder.bitcast(a_at, positions.as_pointer()))
                at.align = 4
                at = builder.sub(at, builder.load(corner))
                builder.store(builder.add(builder.load(corner), two), corner)
                term = builder.fmul(vectors.load(g_at), scale)
                for pixel in range(4):
                    column = builder.mul(C, intp(pixel % 2))
                    source = builder.gep(rows[pixel // 2], [column])
                    value = builder.fadd(builder.fmul(vectors.load(source), slope), offset)
                    wins = builder.icmp_signed("==", at, offsets[pixel])
                    value = builder.fadd(value, builder.select(wins, term, zeros))
                    vectors.store(value, builder.gep(rows[2 + pixel // 2], [column]))

        return signature, codegen

    return combine


BYTES = TILE.vector_bytes
HALF, QUARTER = BYTES // 2, BYTES // 4

_max_vector, _max_half = make_window_max(BYTES), make_window_max(HALF)
_max_quarter, _max_lane = make_window_max(QUARTER), make_window_max(0)
_signed_vector, _add_vector = make_window_max(BYTES, True), make_add_to_winners(BYTES)
_signed_quarter, _add_quarter = make_window_max(QUARTER, True), make_add_to_winners(QUARTER)
_signed_lane, _add_lane = make_window_max(0, True), make_add_to_winners(0)
_combine_vector, _combine_quarter = make_combine(BYTES), make_combine(QUARTER)
_combine_lane = make_combine(0)


def window_max_plain(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, y, argmax, y_off
):
    """Equation (1) in indexed loops; the arguments are those of `window_max_tiled`."""
    for k in range(n_windows):
        for c in range(C):
            at = x_off + k * S * C + c
            best, best_at = x[at], first + k * S
            for a in range(n_rows):
                for e in range(n_columns):
                    value = x[at + a * row_step + e * C]
                    if value > best or (best != best and value == value):
                        best, best_at = value, first + k * S + a * W + e
            y[y_off + k * C + c] = best
            argmax[y_off + k * C + c] = best_at


def window_max_tiled(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, y, argmax, y_off
):  # pragma: no cover: intrinsics only run compiled
    """The largest value in each window of a row of windows, and its position.

        y[k, c] = max over a < n_rows, e < n_columns of x[k*S*C + a*row_step + e*C + c]         (1)

    n_windows  windows k, S columns apart;  C  channels, which fill the lanes of vectors
    first, W   position of the first window's first pixel, and positions in a row: argmax[k, c] is
               first + k*S + a*W + e of the largest value (the winner), the first of equal ones
    y, argmax  flat; both are written from y_off on
    Any number wins against NaN.  x_off and y_off are offsets in flat arrays, as in `_tile.py`.
    """
    size = x.itemsize
    for k in range(n_windows):
        c = 0
        while c < C:
            left = (C - c) * size
            at, out, p = x_off + k * S * C + c, y_off + k * C + c, first + k * S
            if left >= BYTES:
                _max_vector(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, x, 0)
                c += BYTES // size
            elif left >= HALF:
                _max_half(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, x, 0)
                c += HALF // size
            elif left >= QUARTER and QUARTER >= size:
                _max_quarter(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, x, 0)
                c += QUARTER // size
            else:
                _max_lane(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, x, 0)
                c += 1


def signed_window_max_plain(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, factor, y, argmax, y_off
):
    """Equation (2) in indexed loops; the arguments are those of `signed_window_max_tiled`."""
    for k in range(n_windows):
        for c in range(C):
            at = x_off + k * S * C + c
            best, best_at = x[at], first + k * S
            best_key = best * factor[c]
            for a in range(n_rows):
                for e in range(n_columns):
                    value = x[at + a * row_step + e * C]
                    key = value * factor[c]
                    if key > best_key or (best_key != best_key and key == key):
                        best, best_at, best_key = value, first + k * S + a * W + e, key
            y[y_off + k * C + c] = best
            argmax[y_off + k * C + c] = best_at


def signed_window_max_tiled(
    n_windows, C, n_rows, n_columns, x, x_off, S, row_step, first, W, factor, y, argmax, y_off
):  # pragma: no cover: intrinsics only run compiled
    """In each window of a row of windows, the value that is largest when it is multiplied by the
    channel's factor, and its position.

        y[k, c] = x[k*S*C + a*row_step + e*C + c] with the a < n_rows and e < n_columns
                  for which factor[c] times this is largest                                     (2)

    With a factor of -1 that is the smallest value, with 0 the first.  Otherwise as
    `window_max_tiled`.
    """
    size = x.itemsize
    for k in range(n_windows):
        c = 0
        while c < C:
            left = (C - c) * size
            at, out, p = x_off + k * S * C + c, y_off + k * C + c, first + k * S
            if left >= BYTES:
                _signed_vector(
                    n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, factor, c
                )
                c += BYTES // size
            elif left >= QUARTER and QUARTER >= size:
                _signed_quarter(
                    n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, factor, c
                )
                c += QUARTER // size
            else:
                _signed_lane(n_rows, n_columns, x, at, row_step, C, p, W, y, argmax, out, factor, c)
                c += 1


def add_to_winners_plain(
    n_windows, C, n_rows, n_columns, g, argmax, g_off, factor, S, first, W, out, out_off, row_step
):
    """Equation (3) in indexed loops."""
    for k in range(n_windows):
        for c in range(C):
            at = g_off + k * C + c
            p = argmax[at] - first - k * S
            out[out_off + k * S * C + p // W * row_step + p % W * C + c] += factor[c] * g[at]


def add_to_winners_tiled(
    n_windows, C, n_rows, n_columns, g, argmax, g_off, factor, S, first, W, out, out_off, row_step
):  # pragma: no cover: intrinsics only run compiled
    """Adds the gradients g of a row of windows, multiplied by the factors of their channels, to
    `out` at the positions in argmax: with the a < n_rows and e < n_columns for which
    argmax[k, c] = first + k*S + a*W + e,

        out[k*S*C + a*row_step + e*C + c] += factor[c] g[k, c]                                  (3)

    g and argmax are read from g_off on, out is written from out_off on.  Otherwise the arguments
    are those of `window_max_tiled`.  Windows that overlap are done in their order.
    """
    size = g.itemsize
    for k in range(n_windows):
        c = 0
        while c < C:
            left = (C - c) * size
            at, to, p = g_off + k * C + c, out_off + k * S * C + c, first + k * S
            if left >= BYTES:
                _add_vector(n_rows, n_columns, g, argmax, at, factor, c, p, W, out, to, row_step, C)
                c += BYTES // size
            elif left >= QUARTER and QUARTER >= size:
                _add_quarter(
                    n_rows, n_columns, g, argmax, at, factor, c, p, W, out, to, row_step, C
                )
                c += QUARTER // size
            else:
                _add_lane(n_rows, n_columns, g, argmax, at, factor, c, p, W, out, to, row_step, C)
                c += 1


def combine_windows_plain(n_windows, C, x, x_off, row_step, g, argmax, g_off, k, first, W, out):
    """Equation (4) in indexed loops."""
    for j in range(n_windows):
        for c in range(C):
            at = g_off + j * C + c
            winner = argmax[at] - first - 2 * j
            for a in range(2):
                for e in range(2):
                    to = x_off + a * row_step + (2 * j + e) * C + c
                    value = k[c] * x[to] + k[C + c]
                    out[to] = value + k[2 * C + c] * g[at] if winner == a * W + e else value


def combine_windows_tiled(
    n_windows, C, x, x_off, row_step, g, argmax, g_off, k, first, W, out
):  # pragma: no cover: intrinsics only run compiled
    """What the gradient behind a BatchNorm and a pooling needs, for a row of windows of 2 x 2 that
    neither overlap nor leave pixels out: for a, e < 2 and the window j

        out[2j*C + a*row_step + e*C + c] = k[0, c] x[likewise] + k[1, c]
                    + (k[2, c] g[j, c] if argmax[j, c] = first + 2j + a*W + e, else 0)          (4)

    k is (3 * C,), flat.  x is read and out written from x_off on, g and argmax are read from g_off
    on.  Otherwise the arguments are those of `add_to_winners_tiled`.
    """
    size, c = x.itemsize, 0
    while c < C:
        left = (C - c) * size
        if left >= BYTES:
            _combine_vector(
                n_windows, x, x_off + c, row_step, C, g, argmax, g_off + c, k, c, first, W, out
            )
            c += BYTES // size
        elif left >= QUARTER and QUARTER >= size:
            _combine_quarter(
                n_windows, x, x_off + c, row_step, C, g, argmax, g_off + c, k, c, first, W, out
            )
            c += QUARTER // size
        else:
            _combine_lane(
                n_windows, x, x_off + c, row_step, C, g, argmax, g_off + c, k, c, first, W, out
            )
            c += 1


window_max_plain = helper(window_max_plain)
window_max = window_max_plain if TILE.plain else helper(window_max_tiled)
signed_window_max_plain = helper(signed_window_max_plain)
signed_window_max = signed_window_max_plain if TILE.plain else helper(signed_window_max_tiled)
add_to_winners_plain = helper(add_to_winners_plain)
add_to_winners = add_to_winners_plain if TILE.plain else helper(add_to_winners_tiled)
combine_windows_plain = helper(combine_windows_plain)
combine_windows = combine_windows_plain if TILE.plain else helper(combine_windows_tiled)
