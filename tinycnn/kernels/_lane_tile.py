"""The inner loop of depthwise convolutions: like `_tile.py`, but column n of c has its own a.

    c[m, n] += sum over i < K0, j < K1 of a[m, i, j, n] * b[i, j, n]      m < M, n < N          (1)

with a[m, i, j, n] = a[a_off + m*am + i*a0 + j*a1 + n]; b and c are addressed as in `_tile.py`.  The
columns are channels: vectors hold neighbouring channels of a, b and c.

    depthwise forward          a = x,   b = w,   m = output pixels,  (i, j) = taps
    depthwise gradient of w    a = x,   b = dy,  m = taps,           (i, j) = pixels
    depthwise gradient of x    a = dy,  b = w,   m = input pixels of one stride phase

The terms of a sum are added in the order i, then j.
"""

from __future__ import annotations

from ._jit import TILE, helper, inline_helper
from ._tile import BYTES, HALF, QUARTER, VECTORS, make_tile

ROWS = min(TILE.n_rows, 6)
"""Most rows of a tile.  Each product loads its own a, so more rows than these are not faster."""

_block = make_tile(BYTES, VECTORS, ROWS, lane_by_lane=True)
_vector = make_tile(BYTES, 1, ROWS, lane_by_lane=True)
_half = make_tile(HALF, 1, ROWS, lane_by_lane=True)
_quarter = make_tile(QUARTER, 1, min(ROWS, 4), lane_by_lane=True)
_lane = make_tile(0, 1, min(ROWS, 4), lane_by_lane=True)


def multiply_add_lanes_plain(M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """Equation (1) in indexed loops."""
    for m in range(M):
        for i in range(K0):
            for j in range(K1):
                a_at, b_at = a_off + m * am + i * a0 + j * a1, b_off + i * b0 + j * b1
                for n in range(N):
                    c[c_off + m * cm + n] += a[a_at + n] * b[b_at + n]


def multiply_add_lanes_tiled(
    M, N, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) on the vector tile, for any M, N, K0, K1 (0 included)."""
    size = c.itemsize
    n = 0
    while n < N:
        left = (N - n) * size
        if left >= VECTORS * BYTES:
            step, max_rows = VECTORS * BYTES, ROWS
        elif left >= BYTES:
            step, max_rows = BYTES, ROWS
        elif left >= HALF:
            step, max_rows = HALF, ROWS
        elif left >= QUARTER and QUARTER > size:
            step, max_rows = QUARTER, min(ROWS, 4)
        else:
            step, max_rows = size, min(ROWS, 4)
        n_blocks = -(-M // max_rows)
        m = 0
        for block in range(n_blocks):
            rows = (M - m) // (n_blocks - block)
            ao, bo, co = a_off + m * am + n, b_off + n, c_off + m * cm + n
            if step == VECTORS * BYTES:
                _block(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == BYTES:
                _vector(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == HALF:
                _half(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            elif step == QUARTER and QUARTER > size:
                _quarter(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            else:
                _lane(rows, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, co, cm)
            m += rows
        n += step // size


multiply_add_lanes_plain = helper(multiply_add_lanes_plain)
if TILE.plain:
    multiply_add_lanes = multiply_add_lanes_plain
else:
    multiply_add_lanes_tiled = helper(multiply_add_lanes_tiled)
    multiply_add_lanes = multiply_add_lanes_tiled


@inline_helper
def multiply_add_groups(M, C, D, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """c[m, k*D + d] += sum over i, j of a[m, i, j, k] * b[i, j, k*D + d],   k < C, d < D.

    For D = 1 this is (1); otherwise in indexed loops.
    """
    if D == 1:
        multiply_add_lanes(M, C, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm)
    else:
        for m in range(M):
            for i in range(K0):
                for j in range(K1):
                    for k in range(C):
                        x = a[a_off + m * am + i * a0 + j * a1 + k]
                        b_at, c_at = b_off + i * b0 + j * b1 + k * D, c_off + m * cm + k * D
                        for d in range(D):
                            c[c_at + d] += x * b[b_at + d]


@inline_helper
def multiply_add_group_sums(M, C, D, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm):
    """c[m, k] += sum over i, j, d of a[m, i, j, k*D + d] * b[i, j, k*D + d]: likewise."""
    if D == 1:
        multiply_add_lanes(M, C, K0, K1, a, a_off, am, a0, a1, b, b_off, b0, b1, c, c_off, cm)
    else:
        for m in range(M):
            for i in range(K0):
                for j in range(K1):
                    for k in range(C):
                        a_at, b_at = a_off + m * am + i * a0 + j * a1, b_off + i * b0 + j * b1
                        for d in range(k * D, k * D + D):
                            c[c_off + m * cm + k] += a[a_at + d] * b[b_at + d]
