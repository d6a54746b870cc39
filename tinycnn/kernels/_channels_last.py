"""Brings rows of single channels into the order of pictures, channels last, and splits pictures
into such rows; with vectors, and in plain loops.  On the way into pictures, the largest value of
each 2 x 2 window can be taken.

    y[j*F + f] = r[f, j]                                            j < n, f < F <= MOST_CHANNELS
    r[f, j] = max(floor, z[f*pitch + j])                                                        (1)
    r[f, j] = max(floor, z[f*pitch + 2j], z[f*pitch + 2j + 1],
                         z[below + f*pitch + 2j], z[below + f*pitch + 2j + 1])                  (2)
    p[c*plane + j] = x[j*C + c]                                     j < n, c < C                (3)

floor is 0 for ReLU, else -inf.  A vector of y has values of several channels: it is put together
from the vectors of all channels, whose lanes are moved to their places.  A vector of p is put
together from vectors of x.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import TILE, helper, inline_helper
from ._simd import INTP, Vectors, element, for_each_row_count, intp

BYTES = TILE.vector_bytes

MOST_CHANNELS = 8
"""The code has a variant for each number of channels F, with F * F moves of lanes."""


def _shuffled(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    """A vector of these lanes of a and b; those of b are counted on from those of a."""
    i32 = ir.IntType(32)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(i32, len(lanes)), lanes))


def _larger(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Lane by lane the larger of a and b; where one of them is NaN, the other."""
    wins = builder.and_(builder.fcmp_unordered("<", a, b), builder.fcmp_ordered("ord", b, b))
    return builder.select(wins, b, a)


def _make_vectors(pool: bool) -> Any:
    """The intrinsic that writes the next F vectors of y.  It reads one vector of each channel's row
    of z (1), or with `pool` two vectors of each channel's two rows (2)."""

    @intrinsic
    def vectors_of_y(typingctx, F, z, z_off, pitch, below, relu, y, y_off):
        signature = types.void(INTP, z, *(INTP,) * 4, y, INTP)

        def codegen(context, builder, sig, args):
            F, z, z_off, pitch, below, relu, y, y_off = args
            vectors = Vectors(builder, sig.args[6].dtype, BYTES)
            L = vectors.lanes
            pz = element(context, builder, sig.args[1], z, z_off)
            py = element(context, builder, sig.args[6], y, y_off)
            zeros, lowest = (
                ir.Constant(vectors.type, [value] * L) for value in (0.0, float("-inf"))
            )
            floor = builder.select(builder.icmp_signed("!=", relu, intp(0)), zeros, lowest)

            def row(f):
                at = builder.gep(pz, [builder.mul(pitch, intp(f))])
                if not pool:
                    return vectors.at_least(floor, vectors.load(at))
                beneath = builder.gep(at, [below])
                halves = [
                    _larger(builder, vectors.load(at, v), vectors.load(beneath, v)) for v in (0, 1)
                ]
                even, odd = (
                    _shuffled(builder, *halves, list(range(first, 2 * L, 2))) for first in (0, 1)
                )
                return vectors.at_least(floor, _larger(builder, even, odd))

            def emit(n):
                rows = [row(f) for f in range(n)]
                for v in range(n):  # vector v of y has the elements v*L to v*L + L - 1
                    placed = ir.Constant(vectors.type, ir.Undefined)
                    for f in range(n):
                        lanes = [
                            L + (v * L + lane) // n if (v * L + lane) % n == f else lane
                            for lane in range(L)
                        ]
                        placed = _shuffled(builder, placed, rows[f], lanes)
                    vectors.store(placed, py, v)

            for_each_row_count(builder, F, MOST_CHANNELS, emit)
            return context.get_dummy_value()

        return signature, codegen

    return vectors_of_y


_channels_last, _pooled_channels_last = _make_vectors(False), _make_vectors(True)


@intrinsic
def _channel_vectors(typingctx, C, x, x_off, plane, p, p_off):
    """Equation (3) for as many neighbouring j as a vector has lanes; C <= MOST_CHANNELS."""
    signature = types.void(INTP, x, INTP, INTP, p, INTP)

    def codegen(context, builder, sig, args):
        C, x, x_off, plane, p, p_off = args
        vectors = Vectors(builder, sig.args[1].dtype, BYTES)
        px = element(context, builder, sig.args[1], x, x_off)
        pp = element(context, builder, sig.args[4], p, p_off)

        def emit(n):
            loaded = [vectors.load(px, v) for v in range(n)]
            for c in range(n):
                places = [divmod(j * n + c, vectors.lanes) for j in range(vectors.lanes)]
                placed = ir.Constant(vectors.type, ir.Undefined)
                for v in range(n):
                    lanes = [
                        vectors.lanes + place if of_vector == v else j
                        for j, (of_vector, place) in enumerate(places)
                    ]
                    placed = _shuffled(builder, placed, loaded[v], lanes)
                vectors.store(placed, builder.gep(pp, [builder.mul(plane, intp(c))]))

        for_each_row_count(builder, C, MOST_CHANNELS, emit)
        return context.get_dummy_value()

    return signature, codegen


@inline_helper
def larger_of(a, b):
    """The larger one; if one of them is NaN, the other."""
    return b if b > a or a != a else a


def channels_last_plain(F, n, pool, relu, z, z_off, pitch, below, buffer_off, y, y_off):
    """(1), or (2) if `pool` is 1, in indexed loops; the arguments are those of
    `channels_last_tiled`."""
    zero = z.dtype.type(0)
    for j in range(n):
        for f in range(F):
            if pool:
                at = z_off + f * pitch + 2 * j
                r = larger_of(larger_of(z[at], z[below + at]), z[at + 1])
                r = larger_of(r, z[below + at + 1])
            else:
                r = z[z_off + f * pitch + j]
            y[y_off + j * F + f] = zero if relu and r <= 0 else r


def channels_last_tiled(
    F, n, pool, relu, z, z_off, pitch, below, buffer_off, y, y_off
):  # pragma: no cover: intrinsics only run compiled
    """(1), or (2) if `pool` is 1, for n values of F channels.

    z           flat; row f begins at z_off + f * pitch.  Behind the last row there is a vector more
    below       from a row to the one beneath it, for (2)
    buffer_off  where in z there is room for F vectors: for rows of less than a vector
    y           flat, written from y_off on; elements behind the n values may be overwritten
    """
    lanes = BYTES // z.itemsize
    if n < lanes and y_off + F * lanes > y.size:
        _one_vector(F, pool, relu, z, z_off, pitch, below, z, buffer_off)
        for k in range(n * F):
            y[y_off + k] = z[buffer_off + k]
        return
    for first in range(0, n, lanes):  # the last vector begins earlier if it has not enough left
        j = max(min(first, n - lanes), 0)
        _one_vector(F, pool, relu, z, z_off + (1 + pool) * j, pitch, below, y, y_off + j * F)


@helper  # pragma: no cover: intrinsics only run compiled
def _one_vector(F, pool, relu, z, z_off, pitch, below, y, y_off):
    if pool:
        _pooled_channels_last(F, z, z_off, pitch, below, relu, y, y_off)
    else:
        _channels_last(F, z, z_off, pitch, below, relu, y, y_off)


def split_channels_plain(C, n, x, x_off, plane, p, p_off):
    """(3) in indexed loops; the arguments are those of `split_channels_tiled`."""
    for j in range(n):
        for c in range(C):
            p[p_off + c * plane + j] = x[x_off + j * C + c]


def split_channels_tiled(
    C, n, x, x_off, plane, p, p_off
):  # pragma: no cover: intrinsics only run compiled
    """(3) for n values of C channels.  x, p flat; x begins at x_off, p at p_off."""
    lanes = BYTES // x.itemsize
    if n < lanes or C > MOST_CHANNELS:
        split_channels_plain(C, n, x, x_off, plane, p, p_off)
        return
    for first in range(0, n, lanes):  # the last vector begins earlier if it has not enough left
        j = min(first, n - lanes)
        _channel_vectors(C, x, x_off + j * C, plane, p, p_off + j)


channels_last_plain = helper(channels_last_plain)
split_channels_plain = helper(split_channels_plain)
channels_last = channels_last_plain if TILE.plain else helper(channels_last_tiled)
split_channels = split_channels_plain if TILE.plain else helper(split_channels_tiled)
