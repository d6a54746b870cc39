"""The tiles of 8-bit integers, with VNNI and without it, against the same sums in plain loops.

Each is tried on its own, so that both are tested on a host that has VNNI."""

import numpy as np
import pytest

from tinycnn.kernels import _int8_tile
from tinycnn.kernels._int8_tile import LANES, PRODUCTS, ROWS
from tinycnn.kernels._jit import target_features

pytestmark = pytest.mark.jit("intrinsics only run compiled")

WAYS = [way for way in ("vnni", "words") if way == PRODUCTS or PRODUCTS == "vnni"]
WITHOUT_TILE = pytest.mark.skipif(
    PRODUCTS == "plain", reason="no vectors of 8-bit integers on this host (TINYCNN_TILE, or CPU)"
)
GUARD = 211


def problem(rows, columns, K0, K1, seed=0):
    """Arguments of a tile, and y with guard values around and between its rows."""
    rng = np.random.default_rng(seed)
    x0, xm = 4 * K1 + 5, 3
    x = rng.integers(0, 256, xm * ROWS + x0 * K0 + 4 * K1 + 64, dtype=np.uint8)
    blocks = -(-columns // LANES)
    w = rng.integers(-127, 128, blocks * K0 * K1 * LANES * 4 + 3, dtype=np.int8)
    b = rng.integers(-3000, 3000, blocks * LANES).astype(np.int32)
    factor = rng.uniform(1e-4, 2e-2, blocks * LANES).astype(np.float32)
    ym = columns + 2
    y = np.full(5 + ym * (rows + 1), GUARD, np.uint8)
    return x, xm, x0, w, b, factor, y, ym


@WITHOUT_TILE
@pytest.mark.parametrize("way", WAYS)
def test_sums_of_products(way):
    import numba

    tile = _int8_tile.make_int8_tile(2, False, False, way)

    @numba.njit
    def run(rows, columns, K0, K1, x, xm, x0, w, b, factor, y, ym):
        block = K0 * K1 * 4 * LANES
        tile(rows, columns, K0, K1, x, 2, xm, x0, 4, w, 3, block, b, factor, 0, 7, 250, 9, y, 5, ym)

    plain = getattr(_int8_tile.int8_products_plain, "py_func", _int8_tile.int8_products_plain)
    seen = set()
    for rows, columns, K0, K1 in (
        *((1, 2 * LANES, 1, 1), (ROWS, LANES + 1, 3, 5), (2, 2 * LANES - 1, 2, 7)),
        *((min(3, ROWS), LANES + 3, 1, 64), (ROWS - 1, 2 * LANES, 4, 0)),
    ):
        x, xm, x0, w, b, factor, y, ym = problem(rows, columns, K0, K1)
        expected = y.copy()
        plain(
            rows, columns, K0, K1, x, 2, xm, x0, w, 3, b, factor, 0, 7, 250, 9, expected, 5, ym
        )  # fmt: skip
        run(rows, columns, K0, K1, x, xm, x0, w, b, factor, y, ym)
        np.testing.assert_array_equal(y, expected)
        seen |= set(y.tolist())
    assert {7, 250, GUARD} <= seen and len(seen) > 20


def test_the_way_fits_the_processor():
    features = target_features()
    if PRODUCTS == "vnni":
        assert features.get("avx512vnni") or features.get("avxvnni")
    if PRODUCTS == "words":
        assert features.get("avx2")
    assert PRODUCTS == "plain" or LANES in (8, 16)
