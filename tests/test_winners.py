"""The sums over pooling winners in vectors against plain loops, these against the definition.

With whole numbers every comparison is exact; see test_tile.py.
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


class Problem(NamedTuple):
    """Blocks of M rows and N columns, in arrays with rows of target_row or source_row elements."""

    M: int
    N: int
    begin: np.ndarray
    end: np.ndarray
    to: np.ndarray
    target: np.ndarray
    target_row: int
    g: np.ndarray
    at: np.ndarray
    of: np.ndarray
    source: np.ndarray
    source_row: int


def problem(M, N, counts, gap, seed):
    """Target and source end with the last element that a call may use.  Target blocks may overlap,
    and several winners may have the same block.

    Between the lists are NaN and a number that is not that of a block.
    """
    rng = np.random.default_rng(seed)
    target_row, source_row = N + gap, N + 2 * gap
    to, of = (rng.integers(0, 3 * row + 1, 7) for row in (target_row, source_row))
    to = to[: len(counts)]
    g, at, begin, end = [], [], [], []
    for count in counts:
        g += [np.nan] * gap
        at += [2**31 - 1] * gap
        begin.append(len(g))
        g += rng.integers(-9, 10, count).tolist()
        at += rng.integers(0, 7, count).tolist()
        end.append(len(g))
    used = [of[k] for first, last in zip(begin, end) for k in at[first:last]]
    sizes = (
        max(places, default=0) + max(M - 1, 0) * row + N
        for places, row in ((to.tolist(), target_row), (used, source_row))
    )
    target, source = (rng.integers(-9, 10, size).astype(float) for size in sizes)
    lists = (np.array(begin, int), np.array(end, int), to, target, target_row)
    return Problem(M, N, *lists, np.array(g, float), np.array(at, int), of, source, source_row)


problems = st.builds(
    problem,
    M=st.integers(0, 10),
    N=st.integers(1, 73),
    counts=st.lists(st.integers(0, 4), max_size=4),
    gap=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)


def run(function, dtype, p):
    """The target after the call; nothing else may change."""
    memory = Guarded(dtype)
    target = memory.wanted(len(p.target))
    target[:] = p.target
    begin, end, to, at, of = (memory.given(a, np.int32) for a in (p.begin, p.end, p.to, p.at, p.of))
    g, source = memory.given(p.g), memory.given(p.source)
    function(
        *(p.M, p.N, len(p.begin), begin, end, to, target, p.target_row),
        *(g, at, of, source, p.source_row),
    )
    memory.check()
    return target


def naive(p):
    target = p.target.copy()
    for t, m, n in itertools.product(range(len(p.begin)), range(p.M), range(p.N)):
        for k in range(p.begin[t], p.end[t]):
            term = p.g[k] * p.source[p.of[p.at[k]] + m * p.source_row + n]
            target[p.to[t] + m * p.target_row + n] += term
    return target


@DTYPES
@given(p=problems)
def test_plain_loops_equal_the_definition(dtype, p):
    np.testing.assert_array_equal(run(_winners.add_winners_plain, dtype, p), naive(p))


def assert_vectors_equal_the_twin(dtype, p):
    expected = run(_winners.add_winners_plain, dtype, p)
    result = run(_winners.add_winners, dtype, p)
    np.testing.assert_array_equal(result, expected, f"M={p.M} N={p.N}")


@WITH_TILE
@DTYPES
@given(p=problems)
def test_vectors_equal_plain_loops(dtype, p):
    assert_vectors_equal_the_twin(dtype, p)


@WITH_TILE
@DTYPES
def test_every_remainder_of_rows_and_columns(dtype):
    for N, M in itertools.product(range(1, 75), range(18)):
        counts = [1 + (M + N) % 3, 0, 2]
        assert_vectors_equal_the_twin(dtype, problem(M, N, counts, N % 2, M + 18 * N))
