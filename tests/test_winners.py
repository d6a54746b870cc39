"""gather and scatter against their twins in plain loops, and the twins against the definition.

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


class Problem(NamedTuple):
    """M rows and N columns a winner, winners list_off <= k < list_off + K, and the three arrays."""

    M: int
    N: int
    K: int
    list_off: int
    x_off: int
    xm: int
    c_off: int
    g: np.ndarray
    at: np.ndarray
    x: np.ndarray
    c: np.ndarray


def problem(M, N, K, gap, offset, seed):
    """x and c end with the last element that a call may touch; winners may share places."""
    rng = np.random.default_rng(seed)
    xm = N + gap
    at = rng.integers(0, 3 * xm + 1, offset + K)
    size = offset + (max(at[offset:]) if K else 0) + max(M - 1, 0) * xm + N
    numbers = [rng.integers(-9, 10, s).astype(np.float64) for s in (len(at), size, offset + M * N)]
    return Problem(M, N, K, offset, offset, xm, offset, numbers[0], at, *numbers[1:])


problems = st.builds(
    problem,
    M=st.integers(0, 10),
    N=st.integers(1, 37),
    K=st.integers(0, 5),
    gap=st.integers(0, 5),
    offset=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)


def run(function, dtype, p, target):
    """What became of x or c, the array that is added to; the other one must survive."""
    memory = Guarded(dtype)
    arrays = {"x": p.x, "c": p.c}
    for name, values in arrays.items():
        if name == target:
            arrays[name] = memory.wanted(len(values))
            arrays[name][:] = values
        else:
            arrays[name] = memory.given(values)
    g, at = memory.given(p.g), memory.given(p.at, np.int32)
    function(
        p.M, p.N, p.K, g, at, p.list_off, arrays["x"], p.x_off, p.xm, arrays["c"], p.c_off
    )  # fmt: skip
    memory.check()
    return arrays[target]


def naive(p, target):
    x, c = p.x.copy(), p.c.copy()
    for m, n, k in itertools.product(range(p.M), range(p.N), range(p.K)):
        there, here = p.x_off + p.at[p.list_off + k] + m * p.xm + n, p.c_off + m * p.N + n
        if target == "c":
            c[here] += p.g[p.list_off + k] * x[there]
        else:
            x[there] += p.g[p.list_off + k] * c[here]
    return c if target == "c" else x


@DTYPES
@given(p=problems)
def test_twins_equal_the_definition(dtype, p):
    np.testing.assert_array_equal(run(_winners.gather_plain, dtype, p, "c"), naive(p, "c"))
    np.testing.assert_array_equal(run(_winners.scatter_plain, dtype, p, "x"), naive(p, "x"))


@WITH_TILE
@DTYPES
@given(p=problems)
def test_vectors_equal_the_twins(dtype, p):
    for function, twin, target in (
        (_winners.gather, _winners.gather_plain, "c"),
        (_winners.scatter, _winners.scatter_plain, "x"),
    ):
        expected = run(twin, dtype, p, target)
        np.testing.assert_array_equal(run(function, dtype, p, target), expected, target)


@WITH_TILE
@DTYPES
def test_every_remainder_of_rows_and_columns(dtype):
    for N, M in itertools.product(range(1, 71), range(18)):
        p = problem(M, N, 1 + (M + N) % 3, N % 2, 0, M + 18 * N)
        for function, twin, target in (
            (_winners.gather, _winners.gather_plain, "c"),
            (_winners.scatter, _winners.scatter_plain, "x"),
        ):
            expected = run(twin, dtype, p, target)
            result = run(function, dtype, p, target)
            np.testing.assert_array_equal(result, expected, f"{target} M={M} N={N}")
