"""The inner loops of BatchNorm and of the gradients of biases: passes over rows of C channels.
Channels fill the lanes of vectors.

Rows are the pixels of pictures, or vectors.  For the rows p of an array (P, C) and its channels c:

    add_shifted_sums  sums[0, c] += sum over p of d,  sums[1, c] += sum over p of d^2,
                      d = x[p, c] - k[0, c]                                                     (1)
    scale_rows        y[p, c] = k[0, c] x[p, c] + k[1, c], then ReLU if `relu`                  (2)
    add_gradient_sums sums[0, c] += sum over p of g[p, c],
                      sums[1, c] += sum over p of g[p, c] (x[p, c] - k[2, c])                   (3)
                      and dy = g, in place, if `stores`
    combine_rows      out[p, c] = k[2, c] g[p, c] + k[3, c] x[p, c] + k[4, c]                   (4)
    add_row_sums      sums[0, c] += sum over p of x[p, c]                                       (5)

In (3) and (4) g is dy; with `relu` it is 0 where the ReLU of (2) gave 0.  That is computed again
from x, with the same coefficients and so with the same bits: to read y, and to write g to memory
and read it again, would take longer.

One vector of channels goes down the rows, so its coefficients k and its sums stay in registers.
The compiler's own loops would run along the channels, and load and store the sums in every row.
(1), (3) and (5) add ROWS_AT_ONCE rows to as many separate sums: these additions do not wait for one
another.  ((1) and (3) do not for the last channels, if they do not fill a vector: their code is
kept short, to save compile time.)  Rows are done in tiles of TILE_ROWS, so that a cache line with
several vectors of a row is needed again soon.

As in `_tile.py`, of the last channels only the lanes that exist are loaded and stored, and there is
a version in plain loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper
from ._simd import INTP, FirstLanes, Vectors, element, intp, loop, own_function
from ._views import flat_view

BYTES = TILE.vector_bytes
ROWS_AT_ONCE = 4
TILE_ROWS = 128
"""Rows of a tile.  Sums in float32 of more rows would also be less exact."""

TILE_ROWS_WITHOUT_SUMS = 8
"""The same for (2) and (4): measured.  Rows of 512 bytes displace one another in the first-level
cache, and of many of them the next vector would have to be loaded again.  And the fewer they are,
the more are loaded in the order of their addresses."""


class Row(NamedTuple):
    """One vector of a row while a pass is emitted: pointers, coefficients and the flag `relu`."""

    vectors: Vectors
    builder: ir.IRBuilder
    x: ir.Value
    y: ir.Value
    dy: ir.Value
    k: list[ir.Value]
    relu: ir.Value


def _shifted(row: Row) -> list[ir.Value]:
    d = row.builder.fsub(row.vectors.load(row.x), row.k[0])
    return [d, row.builder.fmul(d, d)]


def _scaled(row: Row) -> list[ir.Value]:
    vectors, builder = row.vectors, row.builder
    # Rounded twice, as in the reference: where ReLU has its kink, 0 must be 0 in both.
    value = builder.fadd(builder.fmul(vectors.load(row.x), row.k[0]), row.k[1])
    zeros, lowest = (ir.Constant(vectors.type, [v] * vectors.lanes) for v in (0.0, float("-inf")))
    floor = builder.select(row.relu, zeros, lowest)
    vectors.store(vectors.at_least(floor, value), row.y)
    return []


def _through_relu(row: Row, x: ir.Value) -> ir.Value:
    """g: dy, or 0 where the ReLU gave 0."""
    vectors, builder = row.vectors, row.builder
    zeros = ir.Constant(vectors.type, [0.0] * vectors.lanes)
    value = builder.fadd(builder.fmul(x, row.k[0]), row.k[1])  # as in `_scaled`
    passes = builder.fcmp_ordered(">", value, zeros)
    passes = builder.or_(passes, builder.not_(row.relu))
    return builder.select(passes, vectors.load(row.dy), zeros)


def _gradient(row: Row) -> list[ir.Value]:
    x = row.vectors.load(row.x)
    g = _through_relu(row, x)
    return [g, row.builder.fmul(g, row.builder.fsub(x, row.k[2]))]


def _stored_gradient(row: Row) -> list[ir.Value]:
    terms = _gradient(row)
    row.vectors.store(terms[0], row.dy)
    return terms


def _combined(row: Row) -> list[ir.Value]:
    vectors, x = row.vectors, row.vectors.load(row.x)
    value = vectors.multiply_add(x, row.k[3], row.k[4])
    g = _through_relu(row, x)
    vectors.store(vectors.multiply_add(g, row.k[2], value), row.y)
    return []


def _itself(row: Row) -> list[ir.Value]:
    return [row.vectors.load(row.x)]


def _make(
    emit: Callable[[Row], list[ir.Value]], n_coefficients: int, n_sums: int, n_last: int = 1
) -> Any:
    """An intrinsic for one of the passes and one vector of channels, from channel `first` on; emit:
    its code for one row, which returns what is added to the sums.

    n_last: rows at once for the last channels.
    `lanes` channels exist.  `at` is the offset of the first row's vector in x, y and dy, which are
    flat as k and the sums are.
    """

    @intrinsic
    def channel_rows(typingctx, P, C, lanes, relu, x, y, dy, at, k, sums, first):
        signature = types.void(INTP, INTP, INTP, INTP, x, y, dy, INTP, k, sums, INTP)

        def codegen(context, builder, sig, args):
            P, C, lanes, relu, x, y, dy, at, k, sums, first = args
            arrays = [element(context, builder, sig.args[4], a, at) for a in (x, y, dy)]
            k, sums = (element(context, builder, sig.args[8], a, first) for a in (k, sums))

            def emit_rows(vectors: Vectors, n_rows: int) -> None:
                def at_row(pointer: ir.Value, n: int) -> ir.Value:
                    return builder.gep(pointer, [builder.mul(C, intp(n))])

                coefficients = [vectors.load(at_row(k, n)) for n in range(n_coefficients)]
                wants_relu = vectors.broadcast(builder.icmp_signed("!=", relu, intp(0)))
                zeros = ir.Constant(vectors.type, [0.0] * vectors.lanes)
                totals = [[vectors.register(zeros) for _ in range(n_rows)] for _ in range(n_sums)]

                def emit_row(pointers: list[ir.Value], n: int) -> None:
                    x, y, dy = (at_row(pointer, n) for pointer in pointers)
                    terms = emit(Row(vectors, builder, x, y, dy, coefficients, wants_relu))
                    for term, total in zip(terms, totals):
                        builder.store(builder.fadd(builder.load(total[n]), term), total[n])

                n_times = builder.udiv(P, intp(n_rows))
                step = builder.mul(C, intp(n_rows))
                with loop(builder, n_times, arrays, [step] * 3) as pointers:
                    for n in range(n_rows):
                        emit_row(pointers, n)
                if n_rows > 1:
                    done = builder.mul(n_times, step)
                    rest = [builder.gep(pointer, [done]) for pointer in arrays]
                    left = builder.urem(P, intp(n_rows))
                    with loop(builder, left, rest, [C] * 3) as pointers:
                        emit_row(pointers, 0)
                for n, total in enumerate(totals):
                    new = vectors.load(at_row(sums, n))
                    for part in total:
                        new = builder.fadd(new, builder.load(part))
                    vectors.store(new, at_row(sums, n))

            whole = Vectors(builder, sig.args[4].dtype, BYTES)
            is_whole = builder.icmp_signed("==", lanes, intp(whole.lanes))
            with builder.if_else(is_whole) as (then, otherwise):
                with then:
                    emit_rows(whole, ROWS_AT_ONCE)
                with otherwise:
                    emit_rows(FirstLanes(builder, sig.args[4].dtype, BYTES, lanes), n_last)
            return context.get_dummy_value()

        return signature, own_function(codegen)

    return channel_rows


_shifted_sums, _scale = _make(_shifted, 1, 2), _make(_scaled, 2, 0)
_gradient_sums, _stored_gradient_sums = _make(_gradient, 3, 2), _make(_stored_gradient, 3, 2)
_combine = _make(_combined, 5, 0)
_sums = _make(_itself, 0, 1, ROWS_AT_ONCE)


def add_shifted_sums_plain(x, k, sums):
    """(1) in indexed loops."""
    C = x.shape[1]
    for p in range(x.shape[0]):
        for c in range(C):
            d = x[p, c] - k[c]
            sums[c] += d
            sums[C + c] += d * d


def scale_rows_plain(x, k, relu, y_out):
    """(2) in indexed loops."""
    C = x.shape[1]
    for p in range(x.shape[0]):
        for c in range(C):
            value = k[c] * x[p, c] + k[C + c]
            y_out[p, c] = 0 if relu and value <= 0 else value


def add_gradient_sums_plain(x, dy, k, relu, stores, sums):
    """(3) in indexed loops."""
    C = x.shape[1]
    for p in range(x.shape[0]):
        for c in range(C):
            passes = not relu or k[c] * x[p, c] + k[C + c] > 0
            g = dy[p, c] if passes else dy.dtype.type(0)
            sums[c] += g
            sums[C + c] += g * (x[p, c] - k[2 * C + c])
            if stores:
                dy[p, c] = g


def combine_rows_plain(x, dy, k, relu, out):
    """(4) in indexed loops."""
    C = x.shape[1]
    for p in range(x.shape[0]):
        for c in range(C):
            passes = not relu or k[c] * x[p, c] + k[C + c] > 0
            g = dy[p, c] if passes else dy.dtype.type(0)
            out[p, c] = k[2 * C + c] * g + (k[3 * C + c] * x[p, c] + k[4 * C + c])


def add_row_sums_plain(x, sums):
    """(5) in indexed loops."""
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            sums[c] += x[p, c]


def add_shifted_sums_tiled(x, k, sums):  # pragma: no cover: intrinsics only run compiled
    """(1).  x (P, C); k (C,) and sums (2 * C,), flat."""
    (P, C), lanes, xf = x.shape, BYTES // x.itemsize, flat_view(x)
    for p in range(0, P, TILE_ROWS):
        rows = min(P - p, TILE_ROWS)
        for c in range(0, C, lanes):
            n = min(C - c, lanes)
            _shifted_sums(rows, C, n, 0, xf, xf, xf, p * C + c, k, sums, c)


def scale_rows_tiled(x, k, relu, y_out):  # pragma: no cover: intrinsics only run compiled
    """(2).  x, y_out (P, C); k (2 * C,), flat."""
    (P, C), lanes, xf, yf = x.shape, BYTES // x.itemsize, flat_view(x), flat_view(y_out)
    for p in range(0, P, TILE_ROWS_WITHOUT_SUMS):
        rows = min(P - p, TILE_ROWS_WITHOUT_SUMS)
        for c in range(0, C, lanes):
            n = min(C - c, lanes)
            _scale(rows, C, n, relu, xf, yf, xf, p * C + c, k, k, c)


def add_gradient_sums_tiled(
    x, dy, k, relu, stores, sums
):  # pragma: no cover: intrinsics only run compiled
    """(3).  x, dy (P, C); k (3 * C,) and sums (2 * C,), flat."""
    (P, C), lanes = x.shape, BYTES // x.itemsize
    xf, dyf = flat_view(x), flat_view(dy)
    for p in range(0, P, TILE_ROWS):
        rows = min(P - p, TILE_ROWS)
        for c in range(0, C, lanes):
            n = min(C - c, lanes)
            if stores:
                _stored_gradient_sums(rows, C, n, relu, xf, xf, dyf, p * C + c, k, sums, c)
            else:
                _gradient_sums(rows, C, n, relu, xf, xf, dyf, p * C + c, k, sums, c)


def combine_rows_tiled(x, dy, k, relu, out):  # pragma: no cover: intrinsics only run compiled
    """(4).  x, dy, out (P, C); k (5 * C,), flat."""
    (P, C), lanes = x.shape, BYTES // x.itemsize
    xf, dyf, of = flat_view(x), flat_view(dy), flat_view(out)
    for p in range(0, P, TILE_ROWS_WITHOUT_SUMS):
        rows = min(P - p, TILE_ROWS_WITHOUT_SUMS)
        for c in range(0, C, lanes):
            n = min(C - c, lanes)
            _combine(rows, C, n, relu, xf, of, dyf, p * C + c, k, k, c)


def add_row_sums_tiled(x, sums):  # pragma: no cover: intrinsics only run compiled
    """(5).  x (P, C); sums (C,)."""
    (P, C), lanes, xf = x.shape, BYTES // x.itemsize, flat_view(x)
    for p in range(0, P, TILE_ROWS):
        rows = min(P - p, TILE_ROWS)
        for c in range(0, C, lanes):
            n = min(C - c, lanes)
            _sums(rows, C, n, 0, xf, xf, xf, p * C + c, sums, sums, c)


if TILE.plain:
    add_shifted_sums, scale_rows = helper(add_shifted_sums_plain), helper(scale_rows_plain)
    add_gradient_sums = helper(add_gradient_sums_plain)
    combine_rows, add_row_sums = helper(combine_rows_plain), helper(add_row_sums_plain)
else:
    add_shifted_sums, scale_rows = helper(add_shifted_sums_tiled), helper(scale_rows_tiled)
    add_gradient_sums = helper(add_gradient_sums_tiled)
    combine_rows, add_row_sums = helper(combine_rows_tiled), helper(add_row_sums_tiled)
