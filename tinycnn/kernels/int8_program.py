"""Runs the operations of a quantised network: integers in, integers or logits out.

`quantized/kernel_program.py` makes the table of operations.  An image's values lie in `values` one
after the other: for each operation's output a picture with a border, so that a window can read
beyond its edges.  The border holds the integer that means 0 and is never written here.  Images are
op.n_bytes bytes apart.  What is computed is in `quantized/quantization.py`; equations are its.
"""

import numpy as np

from ._int8_tile import int8_channels, int8_maxima, int8_products, int8_sums, rounded_total
from ._jit import helper
from .windows import end_tap, first_tap, run_end

LOAD, CONVOLUTION, DEPTHWISE, DENSE, MAX_POOL, AVERAGE_POOL, ADD, TABLE, COPY = range(9)
"""Values of a record's field `kind`."""

FIELDS = (
    # what it is; bytes of an image in `values`
    "kind", "n_bytes",
    # where pixel (0, 0) of its inputs and output is in an image, and the bytes of a row of them
    "x", "x_row", "x2", "x2_row", "y", "y_row",
    # shapes; a vector is 1 x 1 x units
    "H", "W", "C", "OH", "OW", "F",
    "KH", "KW", "SH", "SW", "PT", "PL", "counts_padding",
    # groups of four bytes in a row of the window
    "n_groups",
    # where its weights begin, and its biases and factors; where its table begins, and how many
    # channels have one of their own, 0 for no table
    "w", "b", "table", "n_tables",
    # equation (3); equation (5): the factors are first and second
    "zero_x", "zero_x2", "zero_y", "low", "high", "first", "second", "shift",
    # whether its output is the logits, in float32
    "to_logits",
)  # fmt: skip

RECORD = np.dtype([(name, np.int64) for name in FIELDS])
"""An operation, in a table of them."""


@helper
def int8_program_predict(
    operations, begin, pixels, n_images, values, weights, biases, factors, tables, sums, logits_out
):
    """Predict n_images images with a network in 8-bit integers, from its operation `begin` on.

    operations  RECORD, one for each operation; the last that is run is the last in the array
    pixels      uint8, flat: the images; a LOAD copies them to `values`
    values      uint8, flat: the outputs of the operations, each with room for the images
    weights     int8, biases int32, factors float32, tables uint8, all flat: of all operations;
                a record says where those of its operation begin
    sums        int32, flat: scratch for n_images rows of logits
    logits_out  float32, flat (n_images * K); overwritten by the operation that gives the logits
    """
    for k in range(begin, operations.size):
        op = operations[k]
        if op.kind == LOAD:
            _load(op, pixels, n_images, values, tables)
        elif op.kind == CONVOLUTION:
            _convolution(op, n_images, values, weights, biases, factors)
        elif op.kind == DEPTHWISE:
            _depthwise(op, n_images, values, weights, biases, factors)
        elif op.kind == DENSE:
            _dense(op, n_images, values, weights, biases, factors, sums, logits_out)
        elif op.kind == MAX_POOL:
            _max_pool(op, n_images, values)
        elif op.kind == AVERAGE_POOL:
            _average_pool(op, n_images, values, factors, logits_out)
        elif op.kind == ADD:
            _add(op, n_images, values)
        elif op.kind == TABLE:
            _table(op, n_images, values, tables)
        else:
            _copy(op, n_images, values)


@helper
def int8_quantize(x, scale, zero, q_out):
    """q_out (n,) uint8 = round(x / scale) + zero, from 0 to 255, of x (n,) float32; zero for NaN.

    Adding 1.5 * 2**23 to a small float32 rounds it to a whole number, of two equally near ones to
    the even one.
    """
    low, high, whole = np.float32(-zero), np.float32(255 - zero), np.float32(12582912.0)
    nothing, zero_32 = np.float32(0), np.int32(zero)
    for k in range(x.size):
        v = np.float32(x[k] / scale)
        v = v if v == v else nothing
        v = high if v > high else v
        v = low if v < low else v
        rounded = np.float32(np.float32(v + whole) - whole)
        q_out[k] = np.uint8(np.int32(rounded) + zero_32)


@helper
def _copy_bytes(x, x_off, y, y_off, n):
    """Slices, whose indices begin at 0: so LLVM vectorises the loop."""
    source, target = x[x_off : x_off + n], y[y_off : y_off + n]
    for k in range(n):
        target[k] = source[k]


@helper
def _load(op, pixels, n_images, values, tables):
    width = op.W * op.C
    for n in range(n_images):
        for i in range(op.H):
            source, target = (n * op.H + i) * width, n * op.n_bytes + op.y + i * op.y_row
            if op.n_tables == 0:
                _copy_bytes(pixels, source, values, target, width)
            else:
                _look_up(op, pixels, source, values, target, width, tables)


@helper
def _look_up(op, x, source, y, target, n, tables):
    """y = the table's entry for x, for n values of whole pixels."""
    a, out, C = x[source : source + n], y[target : target + n], op.n_tables
    entries = tables[op.table : op.table + 256 * C]
    if C == 1:
        for k in range(n):
            out[k] = entries[np.uint64(a[k])]
    else:
        for first in range(0, n, C):
            for c in range(C):
                out[first + c] = entries[256 * c + np.int64(a[first + c])]


@helper
def _convolution(op, n_images, values, weights, biases, factors):
    for n in range(n_images):
        first = n * op.n_bytes + op.x - op.PT * op.x_row - op.PL * op.C
        for i in range(op.OH):
            int8_products(
                op.OW, op.F, op.KH, op.n_groups, values, first + i * op.SH * op.x_row,
                op.SW * op.C, op.x_row, weights, op.w, biases, factors, op.b,
                op.low, op.high, op.zero_y, values, n * op.n_bytes + op.y + i * op.y_row, op.F,
            )  # fmt: skip


@helper
def _depthwise(op, n_images, values, weights, biases, factors):
    for n in range(n_images):
        first = n * op.n_bytes + op.x - op.PT * op.x_row - op.PL * op.C
        for i in range(op.OH):
            int8_channels(
                op.OW, op.F, op.KH, op.KW, values, first + i * op.SH * op.x_row,
                op.SW * op.C, op.x_row, op.C, weights, op.w, biases, factors, op.b,
                op.low, op.high, op.zero_y, values, n * op.n_bytes + op.y + i * op.y_row, op.F,
            )  # fmt: skip


@helper
def _dense(op, n_images, values, weights, biases, factors, sums, logits_out):
    if op.to_logits:
        int8_sums(
            n_images, op.F, op.n_groups, values, op.x, op.n_bytes, weights, op.w, biases, op.b,
            sums, 0, op.F,
        )  # fmt: skip
        for n in range(n_images):
            for f in range(op.F):
                total = np.float32(sums[n * op.F + f])
                logits_out[n * op.F + f] = total * factors[op.b + f]
    else:
        int8_products(
            n_images, op.F, 1, op.n_groups, values, op.x, op.n_bytes, 0, weights, op.w,
            biases, factors, op.b, op.low, op.high, op.zero_y, values, op.y, op.n_bytes,
        )  # fmt: skip


@helper
def _max_pool(op, n_images, values):
    for n in range(n_images):
        for i in range(op.OH):
            a0, a1 = first_tap(i, op.SH, op.PT), end_tap(i, op.SH, op.PT, op.KH, op.H)
            j = 0
            while j < op.OW:
                j_end = run_end(j, op.OW, op.SW, op.PL, op.KW, op.W)
                e0, e1 = first_tap(j, op.SW, op.PL), end_tap(j, op.SW, op.PL, op.KW, op.W)
                row, column = i * op.SH - op.PT + a0, j * op.SW - op.PL + e0
                int8_maxima(
                    j_end - j, op.C, a1 - a0, e1 - e0,
                    values, n * op.n_bytes + op.x + row * op.x_row + column * op.C,
                    op.SW * op.C, op.x_row, op.C,
                    values, n * op.n_bytes + op.y + i * op.y_row + j * op.C, op.C,
                )  # fmt: skip
                j = j_end


@helper
def _average_pool(op, n_images, values, factors, logits_out):
    for n in range(n_images):
        for i in range(op.OH):
            a0, a1 = first_tap(i, op.SH, op.PT), end_tap(i, op.SH, op.PT, op.KH, op.H)
            for j in range(op.OW):
                e0, e1 = first_tap(j, op.SW, op.PL), end_tap(j, op.SW, op.PL, op.KW, op.W)
                n_inside = (a1 - a0) * (e1 - e0)
                count = op.KH * op.KW if op.counts_padding else n_inside
                factor = factors[op.b] / np.float32(count)
                row, column = i * op.SH - op.PT + a0, j * op.SW - op.PL + e0
                first = n * op.n_bytes + op.x + row * op.x_row + column * op.C
                for c in range(op.C):
                    total = -n_inside * op.zero_x
                    for a in range(a1 - a0):
                        for e in range(e1 - e0):
                            total += np.int64(values[first + a * op.x_row + e * op.C + c])
                    if op.to_logits:
                        logits_out[n * op.C + c] = np.float32(total) * factor
                    else:
                        y = n * op.n_bytes + op.y + i * op.y_row + j * op.C + c
                        values[y] = rounded_total(total, factor, op.low, op.high, op.zero_y)


@helper
def _add(op, n_images, values):
    """Equation (5)."""
    width = op.W * op.C
    first, second = np.int32(op.first), np.int32(op.second)
    half, shift = np.int32(1 << (op.shift - 1)), np.int32(op.shift)
    zero_x, zero_x2, zero_y = np.int32(op.zero_x), np.int32(op.zero_x2), np.int32(op.zero_y)
    low, high = np.int32(op.low), np.int32(op.high)
    for n in range(n_images):
        for i in range(op.H):
            x = n * op.n_bytes + op.x + i * op.x_row
            x2 = n * op.n_bytes + op.x2 + i * op.x2_row
            y = n * op.n_bytes + op.y + i * op.y_row
            a, b = values[x : x + width], values[x2 : x2 + width]
            out = values[y : y + width]
            for k in range(width):
                # Numba's sums and products of int32 are int64: each is made an int32 again
                one = np.int32(np.int32(np.int32(a[k]) - zero_x) * first)
                two = np.int32(np.int32(np.int32(b[k]) - zero_x2) * second)
                total = np.int32(np.int32(one + two) + half)
                q = np.int32(np.int32(total >> shift) + zero_y)
                out[k] = np.uint8(min(max(q, low), high))


@helper
def _table(op, n_images, values, tables):
    width = op.W * op.C
    for n in range(n_images):
        for i in range(op.H):
            x, y = n * op.n_bytes + op.x + i * op.x_row, n * op.n_bytes + op.y + i * op.y_row
            _look_up(op, values, x, values, y, width, tables)


@helper
def _copy(op, n_images, values):
    """A picture as a vector, without the border."""
    width = op.W * op.C
    for n in range(n_images):
        for i in range(op.H):
            x, y = n * op.n_bytes + op.x + i * op.x_row, n * op.n_bytes + op.y + i * width
            _copy_bytes(values, x, values, y, width)
