"""The inner loops of `conv2d_winograd_3x3.py` that transform inputs: a row of tiles at a time.

A transform B^T d B of tiles that overlap is done along the columns first, once for every column of
pixels, although two tiles may have it.  The result is a band: t rows of pixels, of which each tile
has t neighbouring ones.  Then it is done along the rows of the band.  So zeros around the picture
are never stored beside its pixels, and channels that do not fill a vector are read as they are.
The passes that go back are the transposes: what they add up for a pixel is the gradient of it.

Arrays are flat, and offsets and distances count elements.  Pixels of a band have whole vectors of
channels.  Point (a, b) of a tile is number a*t + b.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._simd import INTP, FirstLanes, Vectors, element, intp, loop, opaque, own_function
from ._winograd import BYTES, Arithmetic
from ._winograd_transforms import Transform

Pointers = Callable[[], list[ir.Value]]
Emit = Callable[[Arithmetic, Vectors, Pointers, Pointers], None]


def spaced(builder: ir.IRBuilder, pointer: ir.Value, step: ir.Value, n: int) -> list[ir.Value]:
    """The addresses pointer + k*step for k = 0 to n - 1.

    Only every third address takes a register: the loads and stores of the two after it add one or
    two steps by themselves.  `opaque` keeps LLVM from computing each address in a register of its
    own, for which there are too few registers.
    """
    pointers, step = [], opaque(builder, step)
    for k in range(n):
        if k and k % 3 == 0:
            pointer = opaque(builder, builder.gep(pointer, [builder.mul(step, intp(3))]))
        pointers.append(builder.gep(pointer, [builder.mul(step, intp(k % 3))]))
    return pointers


class Pixels:
    """Emits a loop over pixels in some rows of pictures, and over the channels of each.

    rows       pointers to the first pixel of each row; pixels are `pixel` elements apart
    n_vectors  whole vectors of channels of a pixel; `tail` channels follow, fewer than a vector
    band, band_pixel  likewise a pointer to the band's first pixel, which has whole vectors alone
    """

    def __init__(
        self, v: Arithmetic, dtype: Any, rows: list[ir.Value], pixel: ir.Value, band: ir.Value,
        band_pixel: ir.Value,
    ) -> None:  # fmt: skip
        self.v, self.dtype, self.rows, self.pixel = v, dtype, rows, pixel
        self.band, self.band_pixel = band, band_pixel

    def for_each(
        self, n_pixels: ir.Value, n_vectors: ir.Value, tail: ir.Value,
        emit: Callable[[Vectors, list[ir.Value], ir.Value], None],
    ) -> None:  # fmt: skip
        """emit(vectors, rows, band) emits the code of one vector: of the first `tail` lanes alone
        are rows loaded and stored, if it is the last one."""
        v, builder, n_rows = self.v, self.v.builder, len(self.rows)
        steps = [self.pixel] * n_rows + [self.band_pixel]
        with loop(builder, n_pixels, [*self.rows, self.band], steps) as starts:
            with loop(builder, n_vectors, starts, [intp(v.lanes)] * (n_rows + 1)) as (*rows, band):
                emit(v, rows, band)
            with builder.if_then(builder.icmp_signed(">", tail, intp(0))):
                done = builder.mul(n_vectors, intp(v.lanes))
                *rows, band = [builder.gep(start, [done]) for start in starts]
                emit(FirstLanes(builder, self.dtype, BYTES, tail), rows, band)


def _inside_or(
    builder: ir.IRBuilder, k: int, first: ir.Value, last: ir.Value, row: ir.Value, other: ir.Value
) -> ir.Value:
    """The pointer `row` if first <= k < last, else `other`."""
    after = builder.icmp_signed("<=", first, intp(k))
    before = builder.icmp_signed("<", intp(k), last)
    return builder.select(builder.and_(after, before), row, other)


def _over_columns(f: Transform, n_rows: int, emit: Emit) -> Any:
    """An intrinsic that goes through the columns of pixels of a row of tiles.

    The tiles have n_rows rows of pixels: row k begins at x[x_off + k*x_row], pixels are `pixel`
    apart.  For rows before `first` and from `last` on, which are outside the picture, emit gets
    scratch[outside_at] instead, where there are as many elements as in a row.  Row a of the band
    begins at scratch[band_at + a*band_row].  See `Pixels` for the other arguments.

    emit(v, vectors, rows, band_rows) emits the code of one vector of channels of a column.
    v: arithmetic;  vectors: loads and stores in the picture.  rows() and band_rows() emit the
    addresses: they are called where they are needed, because there are few registers for them.
    """

    @intrinsic
    def code(typingctx, n_pixels, n_vectors, tail, x, x_off, x_row, pixel, first, last,
             scratch, outside_at, band_at, band_row, band_pixel):  # fmt: skip
        @own_function
        def codegen(context, builder, sig, args):
            (n_pixels, n_vectors, tail, x, x_off, x_row, pixel, first, last,
             scratch, outside_at, band_at, band_row, band_pixel) = args  # fmt: skip
            v = Arithmetic(builder, sig.args[3])
            px = element(context, builder, sig.args[3], x, x_off)
            outside, band = (
                element(context, builder, sig.args[9], scratch, at) for at in (outside_at, band_at)
            )
            rows = [
                _inside_or(builder, k, first, last, v.at(px, x_row, k), outside)
                for k in range(n_rows)
            ]

            def column(vectors: Vectors, rows: list[ir.Value], band: ir.Value) -> None:
                emit(v, vectors, lambda: rows, lambda: spaced(builder, band, band_row, f.t))

            pixels = Pixels(v, sig.args[3].dtype, rows, pixel, band, band_pixel)
            pixels.for_each(n_pixels, n_vectors, tail, column)

        return types.void(*(INTP,) * 3, x, *(INTP,) * 5, scratch, *(INTP,) * 4), codegen

    return code


def _over_tiles(f: Transform, n_pixels: int, emit: Emit) -> Any:
    """An intrinsic that goes through the rows of a band, in each through n_tiles tiles, m pixels
    apart, of n_pixels pixels.  Point (a, b) of tile k is scratch[V_at + (a*t + b)*V_point +
    k*V_tile].

    emit(v, v, pixels, points) emits the code of one vector of channels, as in `_over_columns`.
    """

    @intrinsic
    def code(typingctx, n_tiles, n_vectors, scratch, band_at, band_row, band_pixel,
             V_at, V_point, V_tile):  # fmt: skip
        @own_function
        def codegen(context, builder, sig, args):
            (n_tiles, n_vectors, scratch, band_at, band_row, band_pixel,
             V_at, V_point, V_tile) = args  # fmt: skip
            v = Arithmetic(builder, sig.args[2])
            band, V = (
                element(context, builder, sig.args[2], scratch, at) for at in (band_at, V_at)
            )
            tile_steps = [builder.mul(band_pixel, intp(f.m)), V_tile]
            row_steps = [band_row, builder.mul(V_point, intp(f.t))]
            with loop(builder, intp(f.t), [band, V], row_steps) as starts:
                with loop(builder, n_tiles, starts, tile_steps) as tile:
                    with loop(builder, n_vectors, tile, [intp(v.lanes)] * 2) as (x, y):
                        emit(
                            v, v,
                            lambda: spaced(builder, x, band_pixel, n_pixels),
                            lambda: spaced(builder, y, V_point, f.t),
                        )  # fmt: skip

        return types.void(INTP, INTP, scratch, *(INTP,) * 6), codegen

    return code


def _transformed(transform: Callable[[Arithmetic, list[ir.Value]], list[ir.Value]]) -> Emit:
    """Emits a transform of the values at some places, and stores the results at others."""

    def emit(v: Arithmetic, vectors: Vectors, sources: Pointers, targets: Pointers) -> None:
        values = transform(v, [vectors.load(source) for source in sources()])
        for value, target in zip(values, targets()):
            v.store(value, target)

    return emit


def make_columns(f: Transform, is_gradient: bool) -> Any:
    """The transform along columns of pixels, B^T d or, of a gradient, A d, for a row of tiles.

    Tiles have t rows of pixels, of a gradient m; those outside the picture are zeros.
    """
    n_rows, transform = (f.m, f.emit_a) if is_gradient else (f.t, f.emit_bt)

    return _over_columns(f, n_rows, _transformed(transform))


def make_rows(f: Transform, is_gradient: bool) -> Any:
    """The same transform along the rows of a band: see `_over_tiles`."""
    n_pixels, transform = (f.m, f.emit_a) if is_gradient else (f.t, f.emit_bt)

    return _over_tiles(f, n_pixels, _transformed(transform))


def make_rows_back(f: Transform) -> Any:
    """Multiplies by B along the rows of a band: the transpose of `make_rows`, with the same
    arguments.

    A pixel gets the sum of what the tiles that have it give.  The first t - m pixels of the band
    are added to, the others are overwritten.
    """

    def emit(v: Arithmetic, vectors: Vectors, pixels: Pointers, points: Pointers) -> None:
        values = f.emit_b(v, [v.load(point) for point in points()])
        for k, (value, pixel) in enumerate(zip(values, pixels())):
            v.store(v.add(v.load(pixel), value) if k < f.t - f.m else value, pixel)

    return _over_tiles(f, f.t, emit)


def make_columns_back(f: Transform) -> Any:
    """Multiplies by B along the columns of a band, and adds the result to rows of pictures: the
    transpose of `make_columns`, with its arguments.  What belongs to rows outside the picture is
    not read."""

    def emit(v: Arithmetic, vectors: Vectors, rows: Pointers, band_rows: Pointers) -> None:
        values = f.emit_b(v, [v.load(at) for at in band_rows()])
        for value, row in zip(values, rows()):
            vectors.store(v.add(vectors.load(row), value), row)

    return _over_columns(f, f.t, emit)
