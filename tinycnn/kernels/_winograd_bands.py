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


def spaced(builder: ir.IRBuilder, pointer: ir.Value, step: ir.Value, n: int) -> list[ir.Value]:
    """The pointers pointer + k*step, k < n.

    Every third one is computed, and opaque for LLVM: a load or store instruction can add one or two
    steps by itself.  With one pointer for each k there would not be enough registers for them.
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


def make_columns(f: Transform, is_gradient: bool) -> Any:
    """The transform along columns of pixels, B^T d or, of a gradient, A d, for a row of tiles.

    d has t rows of pixels, of a gradient m: row k begins at x[x_off + k*x_row], pixels are `pixel`
    apart.  Rows before `first` and from `last` on are outside the picture: zeros are read instead,
    from scratch[zeros_at], which has as many elements as a row.  Row a of the result begins at
    scratch[band_at + a*band_row].  See `Pixels` for the other arguments.
    """
    n_rows, emit = (f.m, f.emit_a) if is_gradient else (f.t, f.emit_bt)

    @intrinsic
    def code(typingctx, n_pixels, n_vectors, tail, x, x_off, x_row, pixel, first, last,
             scratch, zeros_at, band_at, band_row, band_pixel):  # fmt: skip
        @own_function
        def codegen(context, builder, sig, args):
            (n_pixels, n_vectors, tail, x, x_off, x_row, pixel, first, last,
             scratch, zeros_at, band_at, band_row, band_pixel) = args  # fmt: skip
            v = Arithmetic(builder, sig.args[3])
            px = element(context, builder, sig.args[3], x, x_off)
            zeros, band = (
                element(context, builder, sig.args[9], scratch, at) for at in (zeros_at, band_at)
            )
            rows = [
                _inside_or(builder, k, first, last, v.at(px, x_row, k), zeros)
                for k in range(n_rows)
            ]

            def column(vectors: Vectors, rows: list[ir.Value], band: ir.Value) -> None:
                values = emit(v, [vectors.load(row) for row in rows])
                for value, target in zip(values, spaced(builder, band, band_row, f.t)):
                    v.store(value, target)

            pixels = Pixels(v, sig.args[3].dtype, rows, pixel, band, band_pixel)
            pixels.for_each(n_pixels, n_vectors, tail, column)

        return types.void(*(INTP,) * 3, x, *(INTP,) * 5, scratch, *(INTP,) * 4), codegen

    return code


def make_rows(f: Transform, is_gradient: bool) -> Any:
    """The same transform along the rows of a band, for n_tiles tiles, m pixels apart.

    Point (a, b) of tile k goes to scratch[V_at + (a*t + b)*V_point + k*V_tile].
    """
    n_pixels, emit = (f.m, f.emit_a) if is_gradient else (f.t, f.emit_bt)

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
                        pixels = spaced(builder, x, band_pixel, n_pixels)
                        values = emit(v, [v.load(pixel) for pixel in pixels])
                        for value, target in zip(values, spaced(builder, y, V_point, f.t)):
                            v.store(value, target)

        return types.void(INTP, INTP, scratch, *(INTP,) * 6), codegen

    return code


def make_rows_back(f: Transform) -> Any:
    """Multiplies by B along the rows of a band: the transpose of `make_rows`, with the same
    arguments.

    A pixel gets the sum of what the tiles that have it give.  The first t - m pixels of the band
    are added to, the others are overwritten.
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
                        points = spaced(builder, y, V_point, f.t)
                        values = f.emit_b(v, [v.load(point) for point in points])
                        pixels = spaced(builder, x, band_pixel, f.t)
                        for k, (value, pixel) in enumerate(zip(values, pixels)):
                            v.store(v.add(v.load(pixel), value) if k < f.t - f.m else value, pixel)

        return types.void(INTP, INTP, scratch, *(INTP,) * 6), codegen

    return code


def make_columns_back(f: Transform) -> Any:
    """Multiplies by B along the columns of a band, and adds the result to rows of pictures: the
    transpose of `make_columns`, with its arguments.

    What belongs to rows outside the picture is added to scratch[nowhere_at], which has as many
    elements as a row and is not read.
    """

    @intrinsic
    def code(typingctx, n_pixels, n_vectors, tail, x, x_off, x_row, pixel, first, last,
             scratch, nowhere_at, band_at, band_row, band_pixel):  # fmt: skip
        @own_function
        def codegen(context, builder, sig, args):
            (n_pixels, n_vectors, tail, x, x_off, x_row, pixel, first, last,
             scratch, nowhere_at, band_at, band_row, band_pixel) = args  # fmt: skip
            v = Arithmetic(builder, sig.args[3])
            px = element(context, builder, sig.args[3], x, x_off)
            nowhere, band = (
                element(context, builder, sig.args[9], scratch, at) for at in (nowhere_at, band_at)
            )
            rows = [
                _inside_or(builder, k, first, last, v.at(px, x_row, k), nowhere) for k in range(f.t)
            ]

            def column(vectors: Vectors, rows: list[ir.Value], band: ir.Value) -> None:
                values = f.emit_b(v, [v.load(at) for at in spaced(builder, band, band_row, f.t)])
                for value, row in zip(values, rows):
                    vectors.store(v.add(vectors.load(row), value), row)

            pixels = Pixels(v, sig.args[3].dtype, rows, pixel, band, band_pixel)
            pixels.for_each(n_pixels, n_vectors, tail, column)

        return types.void(*(INTP,) * 3, x, *(INTP,) * 5, scratch, *(INTP,) * 4), codegen

    return code
