"""The register tile against the same sums in plain loops, and these against the definition.

With whole numbers the comparison is exact, so a difference is a wrong index, not a rounding.
Arrays end with the last element of equation (1) and are between guard values (see guarded.py).
Other tiles, runs without the JIT and runs with bounds checking each need a separate process, which
runs tile_check.py.  There, arrays are also at the edges of protected pages.
"""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding
import naive
import numpy as np
import pytest
import tile_check
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

import tinycnn
from tinycnn.kernels import _tile
from tinycnn.kernels._jit import TILE, TileShape, choose_tile

TESTS = Path(__file__).parent
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WITH_JIT = pytest.mark.jit("every tile is plain")
WITH_TILE = pytest.mark.skipif(TILE.plain, reason="this run has plain loops and no vector tile")


class Call(NamedTuple):
    """The integer arguments of `multiply_add`."""

    M: int
    N: int
    K0: int
    K1: int
    a_off: int = 0
    am: int = 1
    a0: int = 1
    a1: int = 1
    b_off: int = 0
    b0: int = 1
    b1: int = 1
    c_off: int = 0
    cm: int = 1


def packed(M, N, K0, K1, gap=0):
    """a (M, K0, K1), b (K0, K1, N) and c (M, N), each axis followed by `gap` unused elements."""
    a1 = 1 + gap
    a0 = K1 * a1 + gap
    b1 = N + gap
    b0 = K1 * b1 + gap
    return Call(M, N, K0, K1, gap, K0 * a0 + gap, a0, a1, gap, b0, b1, gap, N + gap)


@st.composite
def calls(draw):
    """Any strides: elements of a and of b may overlap, rows of c may not."""
    M, N = draw(st.integers(0, 15)), draw(st.integers(0, 37))
    K0, K1 = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    strides = [draw(st.integers(0, 9)) for _ in range(8)]
    return Call(M, N, K0, K1, *strides, N + draw(st.integers(0, 9)))


def operands(call, seed, whole, lanes=False):
    """a, b and c; each ends with the last element that the call may use.

    lanes: for `_lane_tile.py`, where a has an element for each column
    """
    c = call
    rows, columns, outer, inner = (max(n - 1, 0) for n in c[:4])
    sizes = (
        c.a_off + rows * c.am + outer * c.a0 + inner * c.a1 + 1 + lanes * columns,
        c.b_off + outer * c.b0 + inner * c.b1 + columns + 1,
        c.c_off + rows * c.cm + columns + 1,
    )
    rng = np.random.default_rng(seed)
    if whole:
        return [rng.integers(-9, 10, size).astype(np.float64) for size in sizes]
    return [rng.standard_normal(size) for size in sizes]


def run(function, dtype, call, a, b, c):
    """c after the call, including the elements between its rows, which must not change."""
    memory = Guarded(dtype)
    result = memory.wanted(len(c))
    result[:] = c
    a_part, b_part, c_part = call[4:8], call[8:11], call[11:]
    function(*call[:4], memory.given(a), *a_part, memory.given(b), *b_part, result, *c_part)
    memory.check()
    return result


# ---- the plain loops ---------------------------------------------------------------------------


def test_the_sum_by_hand():
    """c (2, 2) += a (2, 1, 3) times b (1, 3, 2).

    a  1 2 3     b  1 10     c  1000 2000     1+6+15  10+40+90
       4 5 6        3 20        3000 4000     4+15+30  40+100+180
                    5 30
    """
    a, b = np.arange(1.0, 7), np.array([1.0, 10, 3, 20, 5, 30])
    result = run(_tile.multiply_add, np.float64, packed(2, 2, 1, 3), a, b, 1000 * np.arange(1.0, 5))
    np.testing.assert_array_equal(result, [1022, 2140, 3049, 4320])


@DTYPES
@given(call=calls(), seed=st.integers(0, 2**32))
def test_plain_loops_equal_the_definition(dtype, call, seed):
    values = operands(call, seed, whole=True)
    a, b, c = values
    expected = naive.multiply_add(*call[:4], a, *call[4:8], b, *call[8:11], c, *call[11:])
    np.testing.assert_array_equal(run(_tile.multiply_add_plain, dtype, call, *values), expected)


# ---- the tile ----------------------------------------------------------------------------------


@WITH_TILE
@DTYPES
@pytest.mark.parametrize("gap", [0, 3])
def test_every_remainder_of_rows_and_columns(dtype, gap):
    for N in range(1, 71):
        for M in range(31):
            call = packed(M, N, 1 + M % 3, 1 + N % 4, gap)
            values = operands(call, M + 31 * N, whole=True)
            twin = run(_tile.multiply_add_plain, dtype, call, *values)
            tile = run(_tile.multiply_add, dtype, call, *values)
            np.testing.assert_array_equal(tile, twin, f"M={M} N={N} K0, K1={call[2:4]}")


@WITH_TILE
@DTYPES
@given(call=calls(), seed=st.integers(0, 2**32))
def test_any_offsets_and_strides(dtype, call, seed):
    values = operands(call, seed, whole=True)
    twin = run(_tile.multiply_add_plain, dtype, call, *values)
    np.testing.assert_array_equal(run(_tile.multiply_add, dtype, call, *values), twin)


@DTYPES
@pytest.mark.parametrize("K0, K1", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_sum_changes_nothing(dtype, K0, K1):
    """Elements that are not part of the sum are not read: here they are NaN."""
    call = packed(7, 37, 1, 1)._replace(K0=K0, K1=K1)
    a, b, c = operands(call, 1, whole=True)
    a[:] = b[:] = np.nan
    np.testing.assert_array_equal(run(_tile.multiply_add, dtype, call, a, b, c), c)


@WITH_TILE
@DTYPES
@given(
    M=st.integers(1, 15),
    N=st.integers(1, 70),
    K0=st.integers(1, 9),
    K1=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_real_sums_differ_by_roundings(dtype, M, N, K0, K1, seed):
    """As in test_conv2d.py: K0*K1 products and additions, each rounded, in both sums."""
    call = packed(M, N, K0, K1)
    values = operands(call, seed, whole=False)
    size = run(_tile.multiply_add_plain, np.float64, call, *map(np.abs, values))
    twin = run(_tile.multiply_add_plain, dtype, call, *values)
    tile = run(_tile.multiply_add, dtype, call, *values)
    allowance = (K0 * K1 + 2) * np.finfo(dtype).eps * size  # 1 more: values are rounded
    assert np.all(np.abs(tile - twin) <= allowance)


@DTYPES
@pytest.mark.parametrize("N", [1, 3, 5, 8, 13, 16, 31, 32, 70])
def test_bits_of_a_row_do_not_depend_on_the_number_of_rows(dtype, N):
    largest = packed(30, N, 3, 7)
    a, b, c = operands(largest, N, whole=False)
    alone = np.concatenate(
        [
            run(
                _tile.multiply_add,
                dtype,
                largest._replace(M=1, a_off=m * largest.am, c_off=m * largest.cm),
                *(a, b, c),
            )[m * N : (m + 1) * N]
            for m in range(30)
        ]
    )
    for M in range(1, 31):
        together = run(_tile.multiply_add, dtype, largest._replace(M=M), a, b, c)
        np.testing.assert_array_equal(together[: M * N], alone[: M * N])


@DTYPES
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_in_their_row_and_column(dtype, value):
    call = packed(13, 37, 2, 3)
    a, b, c = operands(call, 2, whole=True)
    a[:], b[:] = np.abs(a) + 1, np.abs(b) + 1
    a[5 * call.am + 1] = value
    b[call.b0 + 30] = value
    result = run(_tile.multiply_add, dtype, call, a, b, c).reshape(13, 37)
    expected = np.zeros((13, 37), bool)
    expected[5], expected[:, 30] = True, True
    np.testing.assert_array_equal(~np.isfinite(result), expected)


# ---- with bias and ReLU ------------------------------------------------------------------------

RELU = pytest.mark.parametrize("relu", [0, 1])


def run_products(function, dtype, call, relu, bias, a, b, c):
    """As `run`, for `products`."""
    memory = Guarded(dtype)
    result = memory.wanted(len(c))
    result[:] = c
    a, b, bias = (memory.given(t) for t in (a, b, bias))
    function(*call[:4], a, *call[4:8], b, *call[8:11], bias, relu, result, *call[11:])
    memory.check()
    return result


def bias_for(call, seed, whole=True):
    rng = np.random.default_rng([seed, 1])
    return rng.integers(-99, 100, call.N) if whole else rng.standard_normal(call.N)


@DTYPES
@RELU
@given(call=calls(), seed=st.integers(0, 2**32))
def test_products_in_plain_loops_equal_the_definition(dtype, relu, call, seed):
    bias, (a, b, c) = bias_for(call, seed), operands(call, seed, whole=True)
    expected = naive.products(*call[:4], a, *call[4:8], b, *call[8:11], bias, relu, c, *call[11:])
    found = run_products(_tile.products_plain, dtype, call, relu, bias, a, b, c)
    np.testing.assert_array_equal(found, expected)


@WITH_TILE
@DTYPES
def test_products_for_every_remainder_of_rows_and_columns(dtype):
    for N in range(1, 71):
        for M in range(31):
            call, relu = packed(M, N, 1 + M % 3, 1 + N % 4, gap=3), (M + N) % 2
            values = bias_for(call, M), *operands(call, M + 31 * N, whole=True)
            twin = run_products(_tile.products_plain, dtype, call, relu, *values)
            tile = run_products(_tile.products, dtype, call, relu, *values)
            np.testing.assert_array_equal(tile, twin, f"M={M} N={N} K0, K1={call[2:4]} {relu=}")


@WITH_TILE
@DTYPES
@RELU
@given(call=calls(), seed=st.integers(0, 2**32))
def test_products_with_any_offsets_and_strides(dtype, relu, call, seed):
    values = bias_for(call, seed), *operands(call, seed, whole=True)
    twin = run_products(_tile.products_plain, dtype, call, relu, *values)
    tile = run_products(_tile.products, dtype, call, relu, *values)
    np.testing.assert_array_equal(tile, twin)


@DTYPES
@pytest.mark.parametrize("M, N", [(1, 1), (13, 37), (30, 64), (7, 16)])
def test_products_have_the_bits_of_a_sum_that_begins_with_the_bias(dtype, M, N):
    call = packed(M, N, 3, 7)
    bias, (a, b, c) = bias_for(call, 1, whole=False), operands(call, M, whole=False)
    begun = np.tile(bias, M)
    expected = run(_tile.multiply_add, dtype, call, a, b, begun)
    found = run_products(_tile.products, dtype, call, 0, bias, a, b, c)
    np.testing.assert_array_equal(found, expected)
    found = run_products(_tile.products, dtype, call, 1, bias, a, b, c)
    np.testing.assert_array_equal(found, np.maximum(expected, 0))


@DTYPES
@RELU
def test_products_of_nothing_are_the_bias(dtype, relu):
    call = packed(7, 37, 1, 1)._replace(K1=0)
    bias, (a, b, c) = bias_for(call, 2), operands(call, 1, whole=True)
    found = run_products(_tile.products, dtype, call, relu, bias, a * np.nan, b * np.nan, c)
    np.testing.assert_array_equal(found, np.tile(np.maximum(bias, 0) if relu else bias, 7))


@DTYPES
@RELU
def test_products_keep_nan_and_infinity(dtype, relu):
    call = packed(3, 37, 1, 2)
    a, b, c = (np.ones_like(t) for t in operands(call, 1, whole=True))
    bias = np.zeros(37)
    bias[[4, 36]], bias[[5, 35]], bias[6] = np.nan, -np.inf, np.inf
    found = run_products(_tile.products, dtype, call, relu, bias, a, b, c).reshape(3, 37)
    expected = np.full(37, 2.0)
    expected[[4, 36]], expected[[5, 35]], expected[6] = np.nan, 0 if relu else -np.inf, np.inf
    np.testing.assert_array_equal(found, np.broadcast_to(expected, (3, 37)))


# ---- other tiles, each in its own process ------------------------------------------------------


def run_tile_check(*arguments, **environment):
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("TINYCNN_TILE", "NUMBA_"))}
    settings |= {"PYTHONPATH": str(Path(tinycnn.__file__).parent.parent), **environment}
    done = subprocess.run(
        [sys.executable, str(TESTS / "tile_check.py"), *arguments],
        **dict(env=settings, capture_output=True, text=True),
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
    result = json.loads(done.stdout)
    return TileShape(*result["tile"]), result["digest"]


@pytest.mark.parametrize(
    "request_text, expected", [("128:4x2", (16, 4, 2, False)), ("256:6x2", (32, 6, 2, False))]
)
def test_another_tile_gives_the_same_bits(request_text, expected):
    """The order of the additions does not depend on the tile, so neither do the bits."""
    tile, digest = run_tile_check(TINYCNN_TILE=request_text)
    assert tile == expected
    if not TILE.plain:
        assert digest == tile_check.check()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
def test_a_host_without_fused_multiply_adds():
    """The first x86-64 has neither FMA nor AVX: products and sums are rounded separately."""
    old = dict(NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="")
    _, digest = run_tile_check(TINYCNN_TILE="128:6x2", **old)
    if not TILE.plain and llvmlite.binding.get_host_cpu_features().get("fma"):
        assert digest != tile_check.check()  # otherwise this host's code was tested
    # LLVM splits vectors that are too wide for the host
    digests = [
        run_tile_check("products", TINYCNN_TILE=tile, **old)[1] for tile in ("128:6x2", "512:12x2")
    ]
    assert digests[0] == digests[1]


def test_the_tile_of_this_host_at_the_edges_of_pages():
    tile, _ = run_tile_check()
    assert not tile.plain


def test_plain_loops_with_bounds_checking():
    tile, _ = run_tile_check(TINYCNN_TILE="plain", NUMBA_BOUNDSCHECK="1")
    assert tile.plain


def test_plain_loops_without_the_jit():
    tile, _ = run_tile_check(NUMBA_DISABLE_JIT="1")
    assert tile.plain


# ---- the choice --------------------------------------------------------------------------------


@WITH_JIT
def test_the_tile_can_be_chosen():
    assert choose_tile("128:4x2") == (16, 4, 2, False)
    assert choose_tile("512:14x1") == (64, 14, 1, False)
    assert choose_tile("plain").plain


def test_the_tile_of_the_host_fits_its_registers():
    tile = choose_tile("plain")
    n_registers = 32 if tile.vector_bytes == 64 else 16
    assert tile.vector_bytes in (16, 32, 64)
    assert tile.n_rows * tile.n_vectors + tile.n_vectors <= n_registers


@WITH_JIT
@pytest.mark.parametrize(
    "bad", ["fast", "256", "256:", "256:6", "256:6x", "256:0x2", "256:15x2", "256:6x0", "257:6x2"]
    + ["64:4x2", "-256:6x2", "256:6x2x1", "6x2", ":", "256x6:2"],
)  # fmt: skip
def test_an_invalid_tile_is_refused_with_an_example(bad):
    expected = re.escape(
        f"TINYCNN_TILE={bad!r}: expected 'plain' or BITS:ROWSxVECTORS with BITS 128, 256 or 512 "
        "and 1 to 14 rows, such as 256:6x2"
    )
    with pytest.raises(ValueError, match=expected):
        choose_tile(bad)
