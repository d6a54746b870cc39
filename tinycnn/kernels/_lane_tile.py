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
from ._tile import BYTES, LANE_BY_LANE_ROWS, VECTORS, make_tile

ROWS = LANE_BY_LANE_ROWS

_block, _vector = make_tile(VECTORS, lane_by_lane=True), make_tile(0, lane_by_lane=True)


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
    lanes = BYTES // c.itemsize
    n_blocks = -(-M // ROWS)
    n = 0
    while n < N:
        columns = VECTORS * lanes if N - n >= VECTORS * lanes else min(N - n, lanes)
        m = 0
        for k in range(n_blocks):
            rows = (M - m) // (n_blocks - k)
            ao, bo, co = a_off + m * am + n, b_off + n, c_off + m * cm + n
            if columns == VECTORS * lanes:
                _block(rows, columns, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, 0, 0, c, co, cm)
            else:
                _vector(rows, columns, K0, K1, a, ao, am, a0, a1, b, bo, b0, b1, c, 0, 0, c, co, cm)
            m += rows
        n += columns


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
