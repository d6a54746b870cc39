"""The vector loops of max-pooling against plain loops, and these against the definition.

Values are copied, never computed, so every comparison is exact.  Arrays are between guard values
and end with the last element that a call may read (see guarded.py).
"""

import itertools
import math

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.kernels import _window_largest, _window_max
from tinycnn.kernels._jit import TILE

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
WITH_TILE = pytest.mark.skipif(TILE.plain, reason="this run has plain loops and no vectors")
ODD = [np.nan, np.inf, -np.inf, -0.0]


def run(function, dtype, n_windows, C, n_rows, n_columns, S, W, x_off, y_off, x):
    """y and argmax; x has rows of W pixels of C channels from x_off on."""
    memory = Guarded(dtype)
    size = y_off + n_windows * C
    y, argmax = memory.wanted(size), memory.wanted(size, dtype=np.int32)
    first = 1000  # the caller chooses the position of the first pixel
    function(
        *(n_windows, C, n_rows, n_columns, memory.given(x), x_off, S, W * C, first, W),
        *(y, argmax, y_off),
    )
    memory.check()
    assert np.isnan(y[:y_off]).all() and (argmax[:y_off] == -77).all()
    return y[y_off:].reshape(n_windows, C), argmax[y_off:].reshape(n_windows, C)


def naive(n_windows, C, n_rows, n_columns, S, W, x_off, y_off, x):
    y, argmax = np.zeros((n_windows, C)), np.zeros((n_windows, C), int)
    for k, c in itertools.product(range(n_windows), range(C)):
        ranked = []
        for a, e in itertools.product(range(n_rows), range(n_columns)):
            value = float(x[x_off + ((a * W) + k * S + e) * C + c])
            order = (1, 0) if math.isnan(value) else (0, -value)
            ranked.append((*order, 1000 + k * S + a * W + e, value))
        *_, argmax[k, c], y[k, c] = min(ranked, key=lambda entry: entry[:3])
    return y, argmax


def problem(n_windows, C, n_rows, n_columns, S, gap, x_off, y_off, seed, odd):
    """The arguments of `run` after the dtype: few different values, for many ties."""
    W = max(n_windows - 1, 0) * S + n_columns + gap
    size = x_off + ((n_rows - 1) * W + max(n_windows - 1, 0) * S + n_columns) * C
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, size).astype(np.float64)
    if odd:
        x = np.where(rng.random(size) < 0.6, rng.choice(ODD, size), x)
    return n_windows, C, n_rows, n_columns, S, W, x_off, y_off, x


def run_largest(function, dtype, n_windows, C, n_rows, n_columns, S, W, x_off, y_off, x):
    """y without argmax."""
    memory = Guarded(dtype)
    y = memory.wanted(y_off + n_windows * C)
    function(n_windows, C, n_rows, n_columns, memory.given(x), x_off, S, W * C, y, y_off)
    memory.check()
    assert np.isnan(y[:y_off]).all()
    return y[y_off:].reshape(n_windows, C)


def run_signed(function, dtype, factor, n_windows, C, n_rows, n_columns, S, W, x_off, y_off, x):
    memory = Guarded(dtype)
    size = y_off + n_windows * C
    y, argmax = memory.wanted(size), memory.wanted(size, dtype=np.int32)
    function(
        *(n_windows, C, n_rows, n_columns, memory.given(x), x_off, S, W * C, 1000, W),
        *(memory.given(factor), y, argmax, y_off),
    )
    memory.check()
    return y[y_off:].reshape(n_windows, C), argmax[y_off:].reshape(n_windows, C)


def run_add(function, dtype, factor, n_windows, C, n_rows, n_columns, S, W, x_off, y_off, x):
    """`out`, in which x was; the winners are drawn, their gradients are whole numbers."""
    memory, rng = Guarded(dtype), np.random.default_rng(x.size)
    shape = (n_windows, C)
    g = np.zeros(y_off + n_windows * C)
    argmax = np.full(g.size, -5)
    g[y_off:] = rng.integers(-3, 4, shape).reshape(-1)
    a, e = rng.integers(0, n_rows, shape), rng.integers(0, n_columns, shape)
    argmax[y_off:] = (1000 + np.arange(n_windows)[:, None] * S + a * W + e).reshape(-1)
    out = memory.wanted(x.size)
    out[:] = x
    function(
        *(n_windows, C, n_rows, n_columns, memory.given(g), memory.given(argmax, np.int32), y_off),
        *(memory.given(factor), S, 1000, W, out, x_off, W * C),
    )
    memory.check()
    expected = x.copy()
    for k, c in np.ndindex(*shape):
        at = x_off + (a[k, c] * W + k * S + e[k, c]) * C + c
        expected[at] += factor[c] * g[y_off + k * C + c]
    return out, expected


problems = st.builds(
    problem,
    n_windows=st.integers(0, 4),
    C=st.sampled_from([1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33]),
    n_rows=st.integers(1, 4),
    n_columns=st.integers(1, 4),
    S=st.integers(1, 4),
    gap=st.integers(0, 3),
    x_off=st.integers(0, 9),
    y_off=st.integers(0, 9),
    seed=st.integers(0, 2**32),
    odd=st.booleans(),
)


def assert_same(result, expected):
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


@DTYPES
@given(arguments=problems)
def test_plain_loops_equal_the_definition(dtype, arguments):
    assert_same(run(_window_max.window_max_plain, dtype, *arguments), naive(*arguments))


@pytest.mark.parametrize("which", ["plain", pytest.param("tile", marks=WITH_TILE)])
@DTYPES
@given(arguments=problems)
def test_values_without_positions_equal_the_definition(dtype, which, arguments):
    """Except: NaN in the first pixel, and otherwise NaN and -inf alone, give NaN."""
    n_windows, C, _, _, S, _, x_off, _, x = arguments
    expected, _ = naive(*arguments)
    for k, c in np.ndindex(n_windows, C):
        if expected[k, c] == -np.inf and np.isnan(x[x_off + k * S * C + c]):
            expected[k, c] = np.nan
    found = run_largest(version("window_largest", which), dtype, *arguments)
    np.testing.assert_array_equal(found, expected)


@WITH_TILE
@DTYPES
@given(arguments=problems)
def test_vectors_equal_plain_loops(dtype, arguments):
    twin = run(_window_max.window_max_plain, dtype, *arguments)
    assert_same(run(_window_max.window_max, dtype, *arguments), twin)


VERSIONS = ["plain", pytest.param("tiled", marks=WITH_TILE)]


def version(name, which):
    module = _window_largest if name == "window_largest" else _window_max
    return getattr(module, f"{name}_plain" if which == "plain" else name)


@DTYPES
@pytest.mark.parametrize("which", VERSIONS)
@given(arguments=problems)
def test_the_signed_maximum_is_that_of_the_values_times_their_factors(which, dtype, arguments):
    n_windows, C, *_, x = arguments
    factor = np.arange(C) % 3 - 1.0  # -1, 0, 1
    channel = (np.arange(x.size) - arguments[-3]) % C
    x = np.where(np.isfinite(x), x, 7.0)
    found = run_signed(version("signed_window_max", which), dtype, factor, *arguments[:-1], x)
    signed, argmax = naive(*arguments[:-1], factor[channel] * x)
    np.testing.assert_array_equal(found[1], argmax)
    np.testing.assert_array_equal(factor * found[0], signed)
    first = run_signed(version("signed_window_max", which), dtype, 0 * factor, *arguments[:-1], x)
    assert (first[1] == 1000 + np.arange(n_windows)[:, None] * arguments[4]).all()


@DTYPES
@pytest.mark.parametrize("which", VERSIONS)
@given(arguments=problems)
def test_gradients_are_added_at_the_winners(which, dtype, arguments):
    *sizes, x = arguments
    factor = np.arange(sizes[1]) % 5 - 2.0
    x = np.where(np.isfinite(x), x, 7.0)
    found, expected = run_add(version("add_to_winners", which), dtype, factor, *sizes, x)
    np.testing.assert_array_equal(found, expected)


@DTYPES
@pytest.mark.parametrize("which", VERSIONS)
def test_values_and_gradients_at_the_winners_are_combined(which, dtype):
    """Windows of 2 x 2 against the definition, for every remainder of channels."""
    rng = np.random.default_rng(0)
    for C, n_windows in itertools.product(range(1, 37), range(4)):
        W, first, x_off, g_off = 2 * n_windows + 1, 100, 3, 5
        x, memory = rng.standard_normal((2, W, C)), Guarded(dtype)
        g, k = rng.standard_normal((n_windows, C)), rng.standard_normal((3, C))
        winner = rng.integers(0, 2, (2, n_windows, C))
        argmax = first + 2 * np.arange(n_windows)[:, None] + winner[0] * W + winner[1]
        at_winner = np.zeros((2, W, C))
        for j, c in np.ndindex(n_windows, C):
            at_winner[winner[0, j, c], 2 * j + winner[1, j, c], c] = g[j, c]
        expected = k[0] * x + k[1] + k[2] * at_winner
        values = memory.given(np.concatenate([np.zeros(x_off), x.reshape(-1)]))
        gradients = memory.given(np.concatenate([np.zeros(g_off), g.reshape(-1)]))
        winners = memory.given(np.concatenate([np.zeros(g_off), argmax.reshape(-1)]), np.int32)
        out = memory.wanted(values.size)
        version("combine_windows", which)(
            n_windows, C, values, x_off, W * C, gradients, winners, g_off,
            memory.given(k.reshape(-1)), first, W, out,
        )  # fmt: skip
        memory.check()
        found = out[x_off:].reshape(x.shape)
        np.testing.assert_allclose(
            found[:, : 2 * n_windows], expected[:, : 2 * n_windows],
            rtol=0, atol=20 * np.finfo(dtype).eps,
        )  # fmt: skip
        assert np.isnan(found[:, 2 * n_windows :]).all()  # beside the windows nothing is written


@WITH_TILE
@DTYPES
@pytest.mark.parametrize("odd", [False, True])
def test_every_remainder_of_channels(dtype, odd):
    for C, n_windows in itertools.product(range(1, 71), range(1, 4)):
        arguments = problem(n_windows, C, 1 + C % 3, 1 + C % 4, 1 + C % 2, 0, 0, 0, C, odd)
        twin = run(_window_max.window_max_plain, dtype, *arguments)
        assert_same(run(_window_max.window_max, dtype, *arguments), twin)
