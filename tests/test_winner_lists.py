"""Lists of pooling winners: made in blocks against plain loops, these against the definition."""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given
from hypothesis import strategies as st

from tinycnn.kernels import _winner_lists
from tinycnn.kernels._winner_lists import BLOCKS, LANES, list_winners_plain

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
LISTERS = [list_winners_plain] + ([_winner_lists.list_winners_in_blocks] if BLOCKS else [])
EVERY_LISTER = pytest.mark.parametrize("lister", LISTERS, ids=["plain", "blocks"][: len(LISTERS)])


def run(lister, dtype, dy, argmax, first, n_windows, gap=0):
    """[(gradients, positions)] of each filter, and the sums of gradients, which start at 1."""
    memory = Guarded(dtype)
    F, L = dy.shape[1], n_windows + LANES + gap
    g, at = memory.wanted(F * L), memory.wanted(F * L, dtype=np.int32)
    counts, sums = memory.wanted(F, dtype=np.int64), memory.wanted(F)
    sums[:] = 1
    flat = memory.given(dy.ravel()), memory.given(argmax.ravel(), np.int32)
    lister(*flat, first, n_windows, L, g, at, counts, sums)
    memory.check()
    lists = [(g[f * L : f * L + counts[f]], at[f * L : f * L + counts[f]]) for f in range(F)]
    return lists, sums


def assert_lists(result, dy, argmax, first, n_windows):
    lists, sums = result
    dy, argmax = dy[first : first + n_windows], argmax[first : first + n_windows]
    for f, (g, at) in enumerate(lists):
        wins = np.flatnonzero(dy[:, f])
        np.testing.assert_array_equal(g, dy[wins, f], f"filter {f}")
        np.testing.assert_array_equal(at, argmax[wins, f], f"filter {f}")
    np.testing.assert_array_equal(sums, 1 + dy.sum(axis=0))


def windows(n, F, seed, zeros):
    """Whole numbers, so that sums are exact; the last position is the largest possible."""
    rng = np.random.default_rng(seed)
    dy = rng.integers(1, 9, (n, F)) * rng.choice([-1.0, 1.0], (n, F))
    dy[rng.random(dy.shape) < zeros] = 0
    argmax = rng.integers(0, 2**31, dy.shape)
    argmax[-1:] = 2**31 - 1
    return dy, argmax


@EVERY_LISTER
@DTYPES
@given(
    n=st.integers(0, 40),
    first=st.integers(0, 9),
    F=st.integers(1, 27),
    zeros=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    gap=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
@example(n=16, first=0, F=8, zeros=0.5, gap=0, seed=0)
@example(n=0, first=3, F=16, zeros=0.5, gap=0, seed=0)
def test_lists_equal_the_definition(lister, dtype, n, first, F, zeros, gap, seed):
    dy, argmax = windows(first + n + 2, F, seed, zeros)
    result = run(lister, dtype, dy, argmax, first, n, gap)
    assert_lists(result, dy, argmax, first, n)


@EVERY_LISTER
def test_every_pattern_of_zeros_in_a_block(lister):
    """256 blocks of 8 windows, one for each of the 256 patterns of zero and nonzero gradients."""
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    dy = np.repeat(bits.reshape(-1, 1), 8, axis=1) * np.arange(1.0, 9.0)
    argmax = np.arange(dy.size).reshape(dy.shape)
    assert_lists(run(lister, np.float32, dy, argmax, 0, len(dy)), dy, argmax, 0, len(dy))


@EVERY_LISTER
@DTYPES
def test_what_counts_as_zero(lister, dtype):
    """0 and -0 count as zero; denormal numbers and NaN do not."""
    tiny = np.finfo(dtype).smallest_subnormal
    values = np.array([0.0, -0.0, tiny, -tiny, np.inf, -np.inf, np.nan, 1.0], dtype)
    dy, argmax = np.repeat(values[:, None], 8, axis=1), np.arange(64).reshape(8, 8)
    lists, _ = run(lister, dtype, dy, argmax, 0, 8)
    for f, (g, at) in enumerate(lists):
        np.testing.assert_array_equal(g, values[2:])
        np.testing.assert_array_equal(at, argmax[2:, f])


@pytest.mark.skipif(not BLOCKS, reason="this host lists in plain loops")
@given(n=st.integers(0, 40), F=st.integers(1, 27), seed=st.integers(0, 2**32))
def test_sums_have_the_same_bits_either_way(n, F, seed):
    dy = np.random.default_rng(seed).standard_normal((n, F))
    results = [run(lister, np.float32, dy, np.zeros(dy.shape), 0, n)[1] for lister in LISTERS]
    np.testing.assert_array_equal(*results)
