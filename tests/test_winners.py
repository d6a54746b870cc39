"""The sums over winners against their twin in plain loops, and the twin against the definition.

Whole numbers make every comparison exact; see test_tile.py.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.kernels import _winners
from tinycnn.kernels._jit import TILE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WITH_TILE = pytest.mark.skipif(TILE.plain, reason="this run has plain loops and no vectors")
TARGETS = {0: "c", 1: "x"}
"""What is added to: by gather, by scatter."""


class Problem(NamedTuple):
    """M rows and N columns a winner, lists of L elements for F filters, rows of xm in x."""

    M: int
    N: int
    F: int
    L: int
    xm: int
    g: np.ndarray
    at: np.ndarray
    counts: np.ndarray
    place_of: np.ndarray
    x: np.ndarray
    c: np.ndarray


def problem(M, N, counts, gap, seed):
    """x and c end with the last element that a call may touch; winners may share places.

    Behind a list stand NaN and a position that is no place.
    """
    rng = np.random.default_rng(seed)
    F, L, xm = len(counts), max(counts, default=0) + gap, N + gap
    place_of = rng.integers(0, 3 * xm + 1, 7)
    at = rng.integers(0, 7, (F, L))
    g = rng.integers(-9, 10, (F, L)).astype(float)
    for f, count in enumerate(counts):
        g[f, count:], at[f, count:] = np.nan, 2**31 - 1
    used = [p for f, count in enumerate(counts) for p in place_of[at[f, :count]]]
    size = max(used, default=0) + max(M - 1, 0) * xm + N
    x, c = (rng.integers(-9, 10, s).astype(float) for s in (size, F * M * N))
    return Problem(M, N, F, L, xm, g.ravel(), at.ravel(), np.array(counts, int), place_of, x, c)


problems = st.builds(
    problem,
    M=st.integers(0, 10),
    N=st.integers(1, 37),
    counts=st.lists(st.integers(0, 4), max_size=4),
    gap=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)


def run(function, dtype, p, is_scatter):
    """What became of x or c, the array that is added to; the other one must survive."""
    memory = Guarded(dtype)
    arrays = {"x": p.x, "c": p.c}
    for name, values in arrays.items():
        if name == TARGETS[is_scatter]:
            arrays[name] = memory.wanted(len(values))
            arrays[name][:] = values
        else:
            arrays[name] = memory.given(values)
    lists = memory.given(p.g), memory.given(p.at, np.int32), memory.given(p.counts, np.int64)
    place_of = memory.given(p.place_of, np.int32)
    function(is_scatter, p.M, p.N, p.F, p.L, *lists, place_of, arrays["x"], p.xm, arrays["c"])
    memory.check()
    return arrays[TARGETS[is_scatter]]


def naive(p, is_scatter):
    x, c = p.x.copy(), p.c.copy()
    for f, m, n in itertools.product(range(p.F), range(p.M), range(p.N)):
        for k in range(p.counts[f]):
            there = p.place_of[p.at[f * p.L + k]] + m * p.xm + n
            here, g = (f * p.M + m) * p.N + n, p.g[f * p.L + k]
            if is_scatter:
                x[there] += g * c[here]
            else:
                c[here] += g * x[there]
    return x if is_scatter else c


@DTYPES
@given(p=problems)
def test_the_twin_equals_the_definition(dtype, p):
    for is_scatter in TARGETS:
        result = run(_winners.add_winners_plain, dtype, p, is_scatter)
        np.testing.assert_array_equal(result, naive(p, is_scatter), TARGETS[is_scatter])


def assert_vectors_equal_the_twin(dtype, p):
    for is_scatter, target in TARGETS.items():
        expected = run(_winners.add_winners_plain, dtype, p, is_scatter)
        result = run(_winners.add_winners, dtype, p, is_scatter)
        np.testing.assert_array_equal(result, expected, f"{target} M={p.M} N={p.N}")


@WITH_TILE
@DTYPES
@given(p=problems)
def test_vectors_equal_the_twin(dtype, p):
    assert_vectors_equal_the_twin(dtype, p)


@WITH_TILE
@DTYPES
def test_every_remainder_of_rows_and_columns(dtype):
    for N, M in itertools.product(range(1, 71), range(18)):
        counts = [1 + (M + N) % 3, 0, 2]
        assert_vectors_equal_the_twin(dtype, problem(M, N, counts, N % 2, M + 18 * N))
