"""Sums of products of 8-bit integers in vectors of 32-bit sums, rounded to 8 bits at once.

    total[m, f] = b[f] + sum over i < K0, j < K1, t < 4 of x[m, i, 4j + t] w[i, j, f, t]         (1)
    y[m, f] = round(clip(total[m, f] factor[f], low - zero, high - zero)) + zero                 (2)

x is uint8, w int8.  Four neighbouring bytes of x meet four weights of each filter: one instruction
of VNNI (vpdpbusd), or without it two products of 16-bit integers (vpmaddwd), which are as exact.
`quantized/quantization.py` explains (2).

For a depthwise convolution the filters are the channels: x[m, i, j, f] w[i, j, f] instead of the
sum over t; the weights are stored in the same form, with t = 0 alone.  Max-pooling has the same
loops, and a maximum instead of a sum.

Arrays are flat; offsets and distances count elements.  Weights lie in blocks of LANES filters:
w[block, i, j, lane, t], with zeros for filters that do not exist.  x may be read up to 64 elements
behind the last one that counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, helper, target_features
from ._simd import I64, INTP, element, for_each_row_count, intp, loop, opaque, own_function

LANES = TILE.vector_bytes // 4
"""Sums of a vector."""

I8, I16, I32, F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


def choose_products() -> str:
    """How products are computed on this host: "vnni", "words" (16-bit integers) or "plain"."""
    features = target_features()
    if TILE.plain or TILE.vector_bytes < 32:
        return "plain"
    if TILE.vector_bytes == 64:
        if features.get("avx512vnni") and features.get("avx512bw"):
            return "vnni"
        return "words" if features.get("avx512bw") else "plain"
    if features.get("avxvnni") or (features.get("avx512vnni") and features.get("avx512vl")):
        return "vnni"
    return "words" if features.get("avx2") else "plain"


PRODUCTS = choose_products()

ROWS = TILE.n_rows if PRODUCTS == "vnni" or TILE.vector_bytes == 64 else min(TILE.n_rows, 4)
"""Rows of x that are computed together.  Without VNNI, more registers hold weights."""

VECTORS = 2


class Integers:
    """Vectors of LANES sums, and what is done with them."""

    def __init__(self, builder: ir.IRBuilder, products: str) -> None:
        self.builder, self.products = builder, products
        self.sums, self.floats = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
        self.bytes = ir.VectorType(I8, LANES)

    def _call(self, name: str, kind: ir.Type, arguments: list[ir.Value]) -> ir.Value:
        function_type = ir.FunctionType(kind, [value.type for value in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, arguments)

    def constant(self, kind: ir.VectorType, value: float) -> ir.Constant:
        return ir.Constant(kind, [value] * kind.count)

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        kind = ir.VectorType(scalar.type, LANES)
        undefined = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        in_lane_0 = self.builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(in_lane_0, undefined, zeros)

    def load(self, pointer: ir.Value, kind: ir.Type, alignment: int = 1) -> ir.Value:
        value = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        value.align = alignment
        return value

    def four_bytes(self, pointer: ir.Value) -> ir.Value:
        """Four neighbouring bytes of x in every lane."""
        return self.broadcast(self.load(pointer, I32))

    def byte_of_each_lane(self, pointer: ir.Value) -> ir.Value:
        """LANES neighbouring bytes of x, one in each lane."""
        return self.builder.zext(self.load(pointer, self.bytes), self.sums)

    def weights(self, pointer: ir.Value) -> list[ir.Value]:
        """Four weights of each lane: as they are, or as the 16-bit integers 0, 2 and 1, 3."""
        w = self.load(pointer, self.sums, 4)
        if self.products == "vnni":
            return [w]
        return self._split(w, signed=True)

    def _split(self, value: ir.Value, signed: bool) -> list[ir.Value]:
        words = ir.VectorType(I16, 2 * LANES)
        value, eight = self.builder.bitcast(value, words), self.constant(words, 8)
        if signed:
            low = self.builder.ashr(self.builder.shl(value, eight), eight)
            return [low, self.builder.ashr(value, eight)]
        low = self.builder.and_(value, self.constant(words, 255))
        return [low, self.builder.lshr(value, eight)]

    def add_products(self, total: ir.Value, x: list[ir.Value], w: list[ir.Value]) -> ir.Value:
        if self.products == "vnni":
            name = f"llvm.x86.avx512.vpdpbusd.{32 * LANES}"
            return self._call(name, self.sums, [total, x[0], w[0]])
        name = "llvm.x86.avx512.pmaddw.d.512" if LANES == 16 else "llvm.x86.avx2.pmadd.wd"
        for x_part, w_part in zip(x, w):
            total = self.builder.add(total, self._call(name, self.sums, [x_part, w_part]))
        return total

    def parts(self, x: ir.Value) -> list[ir.Value]:
        """x as `add_products` takes it."""
        return [x] if self.products == "vnni" else self._split(x, signed=False)

    def rounded(self, total: ir.Value, factor: ir.Value, limits: list[ir.Value]) -> ir.Value:
        """Equation (2) as bytes.  limits: low - zero and high - zero (floats), zero (sums)."""
        b, (low, high, zero) = self.builder, limits
        x = b.fmul(b.sitofp(total, self.floats), factor)
        x = b.select(b.fcmp_ordered("<", x, low), low, x)
        x = b.select(b.fcmp_ordered(">", x, high), high, x)
        x = self._call(f"llvm.rint.v{LANES}f32", self.floats, [x])
        return b.trunc(b.add(b.fptosi(x, self.sums), zero), self.bytes)

    def maximum(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.icmp_unsigned(">", a, b), a, b)

    def store_first(self, value: ir.Value, pointer: ir.Value, n_lanes: ir.Value) -> None:
        """Store the first n_lanes lanes."""
        b = self.builder
        address = b.bitcast(pointer, value.type.as_pointer())
        with b.if_else(b.icmp_signed(">=", n_lanes, intp(LANES))) as (whole, part):
            with whole:
                b.store(value, address).align = value.type.element.width // 8
            with part:
                numbers = ir.Constant(ir.VectorType(I64, LANES), list(range(LANES)))
                mask = b.icmp_signed("<", numbers, self.broadcast(n_lanes))
                width = value.type.element.width
                alignment = ir.Constant(I32, width // 8)
                kind = f"v{LANES}i{width}"
                function_type = ir.FunctionType(
                    ir.VoidType(), [value.type, address.type, I32, mask.type]
                )
                store = cgutils.get_or_insert_function(
                    b.module, function_type, f"llvm.masked.store.{kind}.p0{kind}"
                )
                b.call(store, [value, address, alignment, mask])


def make_int8_tile(n_vectors: int, by_channel: bool, gives_sums: bool, products: str) -> Any:
    """The tile for n_vectors * LANES filters.

    by_channel  for a depthwise convolution
    gives_sums  y (int32) is the total of equation (1)
    """

    @intrinsic
    def int8_tile(typingctx, rows, columns, K0, K1, x, x_off, xm, x0, x1, w, w_off, w_block,
                  b, factor, b_off, low, high, zero, y, y_off, ym):  # fmt: skip
        signature = types.void(
            *(INTP,) * 4, x, *(INTP,) * 4, w, *(INTP,) * 2, b, factor, *(INTP,) * 4, y, *(INTP,) * 2
        )

        def codegen(context, builder, sig, args):
            (rows, columns, K0, K1, x, x_off, xm, x0, x1, w, w_off, w_block,
             b, factor, b_off, low, high, zero, y, y_off, ym) = args  # fmt: skip
            px = element(context, builder, sig.args[4], x, x_off)
            pw = element(context, builder, sig.args[9], w, w_off)
            pb = element(context, builder, sig.args[12], b, b_off)
            pfactor = element(context, builder, sig.args[13], factor, b_off)
            py = element(context, builder, sig.args[18], y, y_off)
            v = Integers(builder, products)

            def at(pointer: ir.Value, step: ir.Value, count: int) -> ir.Value:
                return builder.gep(pointer, [builder.mul(step, intp(count))])

            def emit(n_rows: int) -> None:
                grid = [(m, k) for m in range(n_rows) for k in range(n_vectors)]
                first = [
                    v.load(builder.gep(pb, [intp(LANES * k)]), v.sums, 4) for k in range(n_vectors)
                ]
                total = {}
                for m, k in grid:
                    total[m, k] = cgutils.alloca_once(builder, v.sums)
                    builder.store(first[k], total[m, k])
                # as in _tile.py: every third row of x has a pointer of its own
                stride = opaque(builder, xm)
                third_rows = [opaque(builder, at(px, xm, m)) for m in range(0, n_rows, 3)]
                w_row = builder.mul(K1, intp(4 * LANES))
                steps_0 = [x0] * len(third_rows) + [w_row]
                steps_1 = [x1] * len(third_rows) + [intp(4 * LANES)]
                with loop(builder, K0, [*third_rows, pw], steps_0) as at_i:
                    with loop(builder, K1, at_i, steps_1) as (*x_j, w_j):
                        weights = [v.weights(at(w_j, w_block, k)) for k in range(n_vectors)]
                        for m in range(n_rows):
                            row = at(x_j[m // 3], stride, m % 3)
                            value = v.byte_of_each_lane(row) if by_channel else v.four_bytes(row)
                            parts = v.parts(value)
                            for k in range(n_vectors):
                                old = builder.load(total[m, k])
                                if by_channel:  # the other parts are zeros
                                    new = v.add_products(old, parts[:1], weights[k][:1])
                                else:
                                    new = v.add_products(old, parts, weights[k])
                                builder.store(new, total[m, k])
                if not gives_sums:
                    number = [
                        builder.sitofp(builder.sub(value, zero), F32) for value in (low, high)
                    ]
                    limits = [v.broadcast(value) for value in (*number, builder.trunc(zero, I32))]
                    factors = [
                        v.load(builder.gep(pfactor, [intp(LANES * k)]), v.floats, 4)
                        for k in range(n_vectors)
                    ]
                for m, k in grid:
                    result = builder.load(total[m, k])
                    if not gives_sums:
                        result = v.rounded(result, factors[k], limits)
                    left = builder.sub(columns, intp(LANES * k))
                    v.store_first(result, builder.gep(at(py, ym, m), [intp(LANES * k)]), left)

            for_each_row_count(builder, rows, ROWS, emit)
            return context.get_dummy_value()

        return signature, own_function(codegen)

    return int8_tile


MAX_WINDOWS = 8
"""Windows of a max-pooling that are computed together."""


@intrinsic
def _max_tile(typingctx, rows, columns, K0, K1, x, x_off, xm, x0, x1, y, y_off, ym):
    """y[m, c] = max over i < K0, j < K1 of x[m, i, j, c], for `columns` channels, LANES at most."""
    signature = types.void(*(INTP,) * 4, x, *(INTP,) * 4, y, *(INTP,) * 2)

    def codegen(context, builder, sig, args):
        rows, columns, K0, K1, x, x_off, xm, x0, x1, y, y_off, ym = args
        px = element(context, builder, sig.args[4], x, x_off)
        py = element(context, builder, sig.args[9], y, y_off)
        v = Integers(builder, PRODUCTS)

        def emit(n_rows: int) -> None:
            largest = [cgutils.alloca_once(builder, v.bytes) for _ in range(n_rows)]
            for register in largest:
                builder.store(v.constant(v.bytes, 0), register)
            with loop(builder, K0, [px], [x0]) as at_i:
                with loop(builder, K1, at_i, [x1]) as (x_j,):
                    for m in range(n_rows):
                        row = builder.gep(x_j, [builder.mul(xm, intp(m))])
                        value = v.maximum(v.load(row, v.bytes), builder.load(largest[m]))
                        builder.store(value, largest[m])
            for m in range(n_rows):
                target = builder.gep(py, [builder.mul(ym, intp(m))])
                v.store_first(builder.load(largest[m]), target, columns)

        for_each_row_count(builder, rows, MAX_WINDOWS, emit)
        return context.get_dummy_value()

    return signature, own_function(codegen)


_block, _vector = (make_int8_tile(n, False, False, PRODUCTS) for n in (VECTORS, 1))
_sums = make_int8_tile(1, False, True, PRODUCTS)
_channels = make_int8_tile(1, True, False, PRODUCTS)


# ---- plain loops: without the JIT, with bounds checking, and on hosts of other vector units ----


@helper
def rounded_total(total, factor, low, high, zero):
    """Equation (2) for one total."""
    scaled = np.float32(total) * factor
    scaled = min(max(scaled, np.float32(low - zero)), np.float32(high - zero))
    return np.uint8(np.int64(np.rint(scaled)) + zero)


def int8_products_plain(
    M, F, K0, K1, x, x_off, xm, x0, w, w_off, b, factor, b_off, low, high, zero, y, y_off, ym
):
    """Equations (1) and (2) for M rows and F filters."""
    for m in range(M):
        for f in range(F):
            total = np.int64(b[b_off + f])
            start = w_off + f // LANES * (K0 * K1 * 4 * LANES) + f % LANES * 4
            for i in range(K0):
                for j in range(K1):
                    for t in range(4):
                        pixel = np.int64(x[x_off + m * xm + i * x0 + 4 * j + t])
                        total += pixel * np.int64(w[start + (i * K1 + j) * 4 * LANES + t])
            y[y_off + m * ym + f] = rounded_total(total, factor[b_off + f], low, high, zero)


def int8_sums_plain(M, F, K1, x, x_off, xm, w, w_off, b, b_off, y, y_off, ym):
    """Equation (1) for K0 = 1."""
    for m in range(M):
        for f in range(F):
            total = np.int64(b[b_off + f])
            start = w_off + f // LANES * (K1 * 4 * LANES) + f % LANES * 4
            for j in range(K1):
                for t in range(4):
                    pixel = np.int64(x[x_off + m * xm + 4 * j + t])
                    total += pixel * np.int64(w[start + j * 4 * LANES + t])
            y[y_off + m * ym + f] = total


def int8_channels_plain(
    M, F, K0, K1, x, x_off, xm, x0, x1, w, w_off, b, factor, b_off, low, high, zero, y, y_off, ym
):
    """The same for a depthwise convolution."""
    for m in range(M):
        for f in range(F):
            total = np.int64(b[b_off + f])
            start = w_off + f // LANES * (K0 * K1 * 4 * LANES) + f % LANES * 4
            for i in range(K0):
                for j in range(K1):
                    pixel = np.int64(x[x_off + m * xm + i * x0 + j * x1 + f])
                    total += pixel * np.int64(w[start + (i * K1 + j) * 4 * LANES])
            y[y_off + m * ym + f] = rounded_total(total, factor[b_off + f], low, high, zero)


def int8_maxima_plain(M, C, K0, K1, x, x_off, xm, x0, x1, y, y_off, ym):
    """y[m, c] = max over i < K0, j < K1 of x[m, i, j, c]."""
    for m in range(M):
        for c in range(C):
            largest = x[x_off + m * xm + c]
            for i in range(K0):
                for j in range(K1):
                    largest = max(largest, x[x_off + m * xm + i * x0 + j * x1 + c])
            y[y_off + m * ym + c] = largest


# ---- on the tile -------------------------------------------------------------------------------


def int8_products_tiled(
    M, F, K0, K1, x, x_off, xm, x0, w, w_off, b, factor, b_off, low, high, zero, y, y_off, ym
):  # pragma: no cover: intrinsics only run compiled
    """As `int8_products_plain`.  The M rows are split evenly, as in _tile.py."""
    n_blocks, w_block, f = -(-M // ROWS), K0 * K1 * 4 * LANES, 0
    while f < F:
        n_vectors = VECTORS if F - f > LANES else 1
        m = 0
        for k in range(n_blocks):
            rows = (M - m) // (n_blocks - k)
            xo, wo, yo = x_off + m * xm, w_off + f // LANES * w_block, y_off + m * ym + f
            if n_vectors == VECTORS:
                _block(
                    rows, F - f, K0, K1, x, xo, xm, x0, 4, w, wo, w_block, b, factor, b_off + f,
                    low, high, zero, y, yo, ym,
                )  # fmt: skip
            else:
                _vector(
                    rows, F - f, K0, K1, x, xo, xm, x0, 4, w, wo, w_block, b, factor, b_off + f,
                    low, high, zero, y, yo, ym,
                )  # fmt: skip
            m += rows
        f += n_vectors * LANES


def int8_sums_tiled(
    M, F, K1, x, x_off, xm, w, w_off, b, b_off, y, y_off, ym
):  # pragma: no cover: intrinsics only run compiled
    """As `int8_sums_plain`."""
    w_block, no_factors = K1 * 4 * LANES, b
    for f in range(0, F, LANES):
        for m in range(0, M, ROWS):
            _sums(
                min(M - m, ROWS), F - f, 1, K1, x, x_off + m * xm, xm, 0, 4,
                w, w_off + f // LANES * w_block, w_block, b, no_factors, b_off + f, 0, 0, 0,
                y, y_off + m * ym + f, ym,
            )  # fmt: skip


def int8_channels_tiled(
    M, F, K0, K1, x, x_off, xm, x0, x1, w, w_off, b, factor, b_off, low, high, zero, y, y_off, ym
):  # pragma: no cover: intrinsics only run compiled
    """As `int8_channels_plain`."""
    n_blocks, w_block = -(-M // ROWS), K0 * K1 * 4 * LANES
    for f in range(0, F, LANES):
        m = 0
        for k in range(n_blocks):
            rows = (M - m) // (n_blocks - k)
            _channels(
                rows, F - f, K0, K1, x, x_off + m * xm + f, xm, x0, x1,
                w, w_off + f // LANES * w_block, w_block, b, factor, b_off + f, low, high, zero,
                y, y_off + m * ym + f, ym,
            )  # fmt: skip
            m += rows


def int8_maxima_tiled(
    M, C, K0, K1, x, x_off, xm, x0, x1, y, y_off, ym
):  # pragma: no cover: intrinsics only run compiled
    """As `int8_maxima_plain`."""
    for c in range(0, C, LANES):
        for m in range(0, M, MAX_WINDOWS):
            _max_tile(
                min(M - m, MAX_WINDOWS), C - c, K0, K1, x, x_off + m * xm + c, xm, x0, x1,
                y, y_off + m * ym + c, ym,
            )  # fmt: skip


int8_products_plain, int8_sums_plain = helper(int8_products_plain), helper(int8_sums_plain)
int8_channels_plain, int8_maxima_plain = helper(int8_channels_plain), helper(int8_maxima_plain)
if PRODUCTS == "plain":
    int8_products, int8_sums = int8_products_plain, int8_sums_plain
    int8_channels, int8_maxima = int8_channels_plain, int8_maxima_plain
else:
    int8_products, int8_sums = helper(int8_products_tiled), helper(int8_sums_tiled)
    int8_channels, int8_maxima = helper(int8_channels_tiled), helper(int8_maxima_tiled)
