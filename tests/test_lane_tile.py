"""The lane tile against the same sums in plain loops, and these against the definition.

As test_tile.py, which explains the calls; here each column has its own element of a.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tile import DTYPES, WITH_TILE, calls, operands, packed, run

from tinycnn.kernels import _lane_tile


def naive(call, a, b, c):
    """c after the call, by equation (1) of kernels/_lane_tile.py."""
    result = c.astype(np.float64)
    for m, n in itertools.product(range(call.M), range(call.N)):
        at = call.c_off + m * call.cm + n
        products = [float(c[at])]
        for i, j in itertools.product(range(call.K0), range(call.K1)):
            a_value = a[call.a_off + m * call.am + i * call.a0 + j * call.a1 + n]
            b_value = b[call.b_off + i * call.b0 + j * call.b1 + n]
            products.append(float(a_value) * float(b_value))
        result[at] = math.fsum(products)
    return result


def packed_lanes(M, N, K0, K1, gap=0):
    """As `packed`, with a (M, K0, K1, N)."""
    call = packed(M, N, K0, K1, gap)
    a0 = K1 * (N + gap) + gap
    return call._replace(a1=N + gap, a0=a0, am=K0 * a0 + gap)


@DTYPES
@given(call=calls(), seed=st.integers(0, 2**32))
def test_plain_loops_equal_the_definition(dtype, call, seed):
    values = operands(call, seed, whole=True, lanes=True)
    result = run(_lane_tile.multiply_add_lanes_plain, dtype, call, *values)
    np.testing.assert_array_equal(result, naive(call, *values))


@WITH_TILE
@DTYPES
@pytest.mark.parametrize("gap", [0, 3])
def test_every_remainder_of_rows_and_columns(dtype, gap):
    for N in range(1, 71):
        for M in range(31):
            call = packed_lanes(M, N, 1 + M % 3, 1 + N % 4, gap)
            values = operands(call, M + 31 * N, whole=True, lanes=True)
            twin = run(_lane_tile.multiply_add_lanes_plain, dtype, call, *values)
            tile = run(_lane_tile.multiply_add_lanes, dtype, call, *values)
            np.testing.assert_array_equal(tile, twin, f"M={M} N={N} K0, K1={call[2:4]}")


@WITH_TILE
@DTYPES
@given(call=calls(), seed=st.integers(0, 2**32))
def test_any_offsets_and_strides(dtype, call, seed):
    values = operands(call, seed, whole=True, lanes=True)
    twin = run(_lane_tile.multiply_add_lanes_plain, dtype, call, *values)
    np.testing.assert_array_equal(run(_lane_tile.multiply_add_lanes, dtype, call, *values), twin)


@DTYPES
@pytest.mark.parametrize("K0, K1", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_sum_changes_nothing(dtype, K0, K1):
    """Elements that are not part of the sum are not read: here they are NaN."""
    call = packed_lanes(7, 37, 1, 1)._replace(K0=K0, K1=K1)
    a, b, c = operands(call, 1, whole=True, lanes=True)
    a[:] = b[:] = np.nan
    np.testing.assert_array_equal(run(_lane_tile.multiply_add_lanes, dtype, call, a, b, c), c)
