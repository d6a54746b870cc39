"""3x3 convolutions by Winograd's algorithm: the transforms in exact fractions, the kernels against
slow loops and the direct convolution of the reference in float64, numeric gradients, which
convolutions the cost model gives to them, and networks that use them.

Errors are max|a-b| / max|b|, see test_conv2d_winograd.py.
"""

from fractions import Fraction
from types import SimpleNamespace
from typing import NamedTuple

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given
from hypothesis import strategies as st
from test_conv2d_winograd import ALLOWANCE, Exact, check_with_exact, error
from windows import make_window

from tinycnn import Conv2D, Dense, Flatten, InputSpec, MaxPool2D, Network, ReLU, reference
from tinycnn.kernels import conv2d_columns
from tinycnn.kernels import conv2d_cost_model as model
from tinycnn.kernels import conv2d_winograd_3x3 as forward
from tinycnn.kernels import conv2d_winograd_3x3_backward as backward
from tinycnn.kernels import conv2d_winograd_3x3_tiles as tiles
from tinycnn.kernels._jit import TILE, WINOGRAD
from tinycnn.testing import check_gradients

kernels = SimpleNamespace(
    conv2d_winograd_3x3_weights=tiles.conv2d_winograd_3x3_weights,
    conv2d_winograd_3x3_forward=forward.conv2d_winograd_3x3_forward,
    conv2d_winograd_3x3_backward=backward.conv2d_winograd_3x3_backward,
)
LANES = TILE.vector_bytes // 4
WITH_VECTORS = pytest.mark.skipif(not WINOGRAD, reason="this run takes the direct convolution")
BOTH = pytest.mark.parametrize(
    "operations",
    [pytest.param(kernels, marks=WITH_VECTORS), reference],
    ids=["kernels", "reference"],
)
TILES = pytest.mark.parametrize("m", [2, 4])

# ---- the transforms ----------------------------------------------------------------------------


def matrix(emit, n):
    """The matrix of a transform of n values, column by column, in fractions."""
    units = [[Fraction(int(i == j)) for i in range(n)] for j in range(n)]
    return [list(row) for row in zip(*(emit(Exact, unit) for unit in units))]


def transposed(rows):
    return [list(column) for column in zip(*rows)]


@pytest.mark.parametrize("f", [tiles.F2, tiles.F4], ids=["F(2, 3)", "F(4, 3)"])
def test_the_transforms_are_exact_and_those_of_backward_are_their_transposes(f):
    rng = np.random.default_rng(0)
    d, w = ([Fraction(int(k)) for k in rng.integers(-9, 10, n)] for n in (f.t, f.r))
    products = [g * x for g, x in zip(f.emit_g(Exact, w), f.emit_bt(Exact, d))]
    expected = [sum(w[i] * d[k + i] for i in range(3)) for k in range(f.m)]
    assert f.emit_at(Exact, products) == expected
    assert f.t == f.m + 2
    assert matrix(f.emit_a, f.m) == transposed(matrix(f.emit_at, f.t))
    assert matrix(f.emit_b, f.t) == transposed(matrix(f.emit_bt, f.t))
    assert matrix(f.emit_gt, f.t) == transposed(matrix(f.emit_g, f.r)) == transposed(f.g_rows)


# ---- the convolution ---------------------------------------------------------------------------


class Case(NamedTuple):
    """One convolution with 3x3 taps and stride 1."""

    N: int
    H: int
    W: int
    C: int
    F: int
    padding: str | tuple = "same"
    relu: int = 0
    whole: bool = False  # True: the pooling drops an odd last row or column, like "valid"

    @property
    def conv(self):
        """Window, OH and OW of the convolution."""
        return make_window(self.H, self.W, 3, 1, self.padding)

    @property
    def pooled(self):
        """OH and OW behind a max-pooling of 2 x 2."""
        return [size // 2 if self.whole else -(-size // 2) for size in self.conv[1:]]


CASES = [
    Case(2, 8, 8, LANES, LANES, relu=1),  # all tiles whole, all vectors full
    Case(3, 7, 5, 3, LANES + 8),
    Case(2, 13, 11, 2 * LANES, 3, "valid", 1, whole=True),
    Case(1, 1, 1, 1, 1, relu=1),  # smaller than a tile; one channel, one filter
    Case(2, 2, 3, LANES, 2 * LANES),
    Case(5, 3, 9, 1, 1, "valid", 1),  # one row of outputs
    Case(2, 6, 6, 5, 7, ((2, 0), (0, 2)), 1),
    Case(1, 9, 4, 13, 17, ((0, 1), (2, 1)), 0, whole=True),
    Case(2, 4, 4, LANES, LANES, ((2, 2), (2, 2)), 1),  # windows with one tap inside
    Case(40, 5, 6, 31, 33, relu=1),  # more tiles than a block has
    Case(2, 3, 90, LANES, 4 * LANES),  # rows of more tiles than are done at once
    Case(0, 8, 8, LANES, LANES, relu=1),
]
BY_CASE = pytest.mark.parametrize("case", CASES, ids=str)


def tensors(case, seed=0, whole=False):
    """x, w, b, dy in float64: normal values, or whole numbers from -4 to 4."""
    rng = np.random.default_rng(seed)
    _, OH, OW = case.conv
    shapes = (case.N, case.H, case.W, case.C), (3, 3, case.C, case.F), (case.F,)
    shapes = (*shapes, (case.N, OH, OW, case.F))
    if whole:
        return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    return [rng.standard_normal(shape) for shape in shapes]


def transformed(memory, m, w, exchange):
    C, F = w.shape[2:] if not exchange else w.shape[:1:-1]
    U = memory.wanted(tiles.weights_size(m, C, F, w.itemsize))
    if WINOGRAD and m:
        kernels.conv2d_winograd_3x3_weights(w, m, exchange, U)
    return U


def scratch_for(memory, m, case):
    return memory.wanted(tiles.scratch_size(m, case.C, case.F, memory.dtype.itemsize))


def run(operations, case, m, x, w, b, dy, dtype=np.float32):
    """y, dw, db, dx of a forward and a backward pass, on guarded arrays.  Without dx, dw and db are
    the same."""
    memory, (window, _, _) = Guarded(dtype), case.conv
    x, w, b, dy = (memory.given(t) for t in (x, w, b, dy))
    y, dw, db, dx = (memory.wanted(*t.shape) for t in (dy, w, b, x))
    U, U_exchanged = (transformed(memory, m, w, exchange) for exchange in (0, 1))
    scratch, no_winners = scratch_for(memory, m, case), memory.wanted(0, 0, 0, 0, dtype=np.int32)
    w_t = memory.given(w.transpose(3, 0, 1, 2))
    operations.conv2d_winograd_3x3_forward(
        x, w, U, b, window, m, 0, case.relu, scratch, y, no_winners
    )
    operations.conv2d_winograd_3x3_backward(x, dy, w_t, U_exchanged, window, m, scratch, dw, db, dx)
    alone, no_dx = [memory.wanted(*t.shape) for t in (w, b)], memory.wanted(0, *x.shape[1:])
    no_U = memory.wanted(0)
    operations.conv2d_winograd_3x3_backward(x, dy, w_t, no_U, window, m, scratch, *alone, no_dx)
    memory.check()
    for found, expected in zip(alone, (dw, db)):
        np.testing.assert_array_equal(found, expected)
    return dict(y=y, dw=dw, db=db, dx=dx)


def run_pooled(operations, case, m, x, w, b, dtype=np.float32):
    """y and argmax of a forward pass with pooling; y is the same if argmax is not wanted."""
    memory, (window, _, _) = Guarded(dtype), case.conv
    x, w, b = (memory.given(t) for t in (x, w, b))
    U, scratch = transformed(memory, m, w, 0), scratch_for(memory, m, case)
    shape = (case.N, *case.pooled, case.F)
    y, again = (memory.wanted(*shape) for _ in range(2))
    argmax = memory.wanted(*shape, dtype=np.int32)
    none = memory.wanted(0, *shape[1:], dtype=np.int32)
    for target, winners in ((y, argmax), (again, none)):
        operations.conv2d_winograd_3x3_forward(
            x, w, U, b, window, m, 1, case.relu, scratch, target, winners
        )
    memory.check()
    np.testing.assert_array_equal(again, y)
    return y, argmax


def run_naive(case, x, w, b, dy):
    window, OH, OW = case.conv
    y = naive.conv2d_forward(x, w, b, window, OH, OW)
    dw, db = naive.conv2d_backward_params(x, dy, window)
    dx = naive.conv2d_backward_input(dy, w, window, case.H, case.W)
    return dict(y=np.maximum(y, 0) if case.relu else y, dw=dw, db=db, dx=dx)


def direct(case, *values):
    """The direct convolution in float64, by the reference."""
    return run(reference, case, 0, *values, dtype=np.float64)


def assert_close(found, expected, allowance):
    for name, values in expected.items():
        assert error(found[name], values) <= allowance, name


@BOTH
@TILES
@pytest.mark.parametrize(
    "case",
    [
        Case(2, 5, 7, 3, 5, relu=1),
        Case(1, 6, 5, 2, 3, "valid"),
        Case(2, 1, 2, 1, 2),
        Case(1, 5, 6, 1, 3, ((2, 0), (1, 2))),
    ],
    ids=str,
)
def test_equals_loops_over_the_definition(operations, m, case):
    values = tensors(case, whole=True)
    assert_close(run(operations, case, m, *values), run_naive(case, *values), ALLOWANCE)


@WITH_VECTORS
@TILES
@BY_CASE
def test_error_against_the_direct_convolution_in_float64(m, case):
    values = [t.astype(np.float32) for t in tensors(case)]
    assert_close(run(kernels, case, m, *values), direct(case, *values), ALLOWANCE)


@WITH_VECTORS
@TILES
@BY_CASE
def test_in_float64_it_is_the_direct_convolution_to_rounding(m, case):
    """The network never takes it in float64.  Here this shows that nothing but rounding differs."""
    values = tensors(case)
    found = run(kernels, case, m, *values, dtype=np.float64)
    assert_close(found, direct(case, *values), 1e-13)


@st.composite
def cases(draw):
    channels = st.sampled_from([1, 2, 3, 5, 7, 13, 16, 17, 31, 32, 33])
    N, C, F = draw(st.sampled_from([1, 2, 3])), draw(channels), draw(channels)
    H, W = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    sides = tuple(tuple(draw(st.integers(0, 2)) for _ in range(2)) for _ in range(2))
    fits = all(size + sum(side) >= 3 for size, side in zip((H, W), sides))
    padding = draw(st.sampled_from(["same", sides] if fits else ["same"]))
    case = Case(N, H, W, C, F, padding, draw(st.integers(0, 1)))
    return case._replace(whole=min(case.conv[1:]) > 1 and draw(st.booleans()))


@WITH_VECTORS
@TILES
@given(case=cases(), seed=st.integers(0, 2**32))
@example(case=Case(2, 11, 13, 33, 17, ((1, 2), (2, 0)), 1, True), seed=0)
def test_any_shape(m, case, seed):
    values = [t.astype(np.float32) for t in tensors(case, seed)]
    expected = direct(case, *values)
    assert_close(run(kernels, case, m, *values), expected, ALLOWANCE)
    y, argmax = run_pooled(kernels, case, m, *values[:3])
    exact, _ = run_pooled(reference, case, m, *values[:3], dtype=np.float64)
    # pooled outputs may all be 0, so the error is measured by the outputs before the pooling
    scale = np.abs(direct(case._replace(relu=0), *values)["y"]).max()
    assert np.abs(y - exact).max() <= ALLOWANCE * scale
    assert (argmax >= 0).all()


@WITH_VECTORS
def test_errors_are_as_large_as_the_docs_say():
    """Of 32 channels, as in the networks that this is for: outputs and gradients of x are within
    3e-6 of the largest value with tiles of 4 x 4, within 1e-6 with 2 x 2.  A gradient of w is a sum
    over all outputs, and has the roundings of this sum with any algorithm."""
    case = Case(4, 24, 24, 32, 32)
    values = [t.astype(np.float32) for t in tensors(case)]
    expected = direct(case, *values)
    for m, allowance in ((4, 3e-6), (2, 1e-6)):
        found = run(kernels, case, m, *values)
        assert error(found["y"], expected["y"]) < allowance
        assert error(found["dx"], expected["dx"]) < allowance
        assert error(found["dw"], expected["dw"]) < 4e-6


# ---- pooling -----------------------------------------------------------------------------------

POOLED = [case for case in CASES if min(case.pooled)]


@WITH_VECTORS
@TILES
@pytest.mark.parametrize("case", POOLED, ids=str)
def test_pooled_outputs_and_winners(m, case):
    """In float64, where Winograd's rounding changes no winner of random values."""
    x, w, b, _ = tensors(case)
    y, argmax = run_pooled(kernels, case, m, x, w, b, np.float64)
    expected, winners = run_pooled(reference, case, m, x, w, b, np.float64)
    assert error(y, expected) < 1e-13
    np.testing.assert_array_equal(argmax, winners)
    y, _ = run_pooled(kernels, case, m, x, w, b)
    assert error(y, expected) < ALLOWANCE


@BOTH
@TILES
def test_pooling_equals_loops_over_the_definition(operations, m):
    case = Case(1, 7, 6, 2, 3, relu=1)
    x, w, b, _ = tensors(case, seed=5)
    window, OH, OW = case.conv
    z = naive.conv2d_forward(x, w, b, window, OH, OW)
    expected, winners = naive.maxpool2d_forward(z, *make_window(OH, OW, 2, 2))
    y, argmax = run_pooled(operations, case, m, x, w, b)
    assert error(y, np.maximum(expected, 0)) < ALLOWANCE
    np.testing.assert_array_equal(argmax, winners)


@BOTH
@TILES
@pytest.mark.parametrize("case", POOLED, ids=str)
def test_of_equal_outputs_the_first_wins(operations, m, case):
    x, w, b, _ = tensors(case)
    y, argmax = run_pooled(operations, case, m, np.zeros_like(x), w, b)
    rows, columns = case.pooled
    first = 2 * (np.arange(rows)[:, None] * case.conv[2] + np.arange(columns))
    np.testing.assert_array_equal(argmax, np.broadcast_to(first[..., None], y.shape))
    b = b.astype(np.float32)
    np.testing.assert_array_equal(y, np.broadcast_to(np.maximum(b, 0) if case.relu else b, y.shape))


@WITH_VECTORS
@TILES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_winners_are_always_inside_their_window(m, bad):
    case = Case(2, 9, 7, LANES, LANES, relu=1)
    x, w, b, _ = tensors(case)
    x[:, ::5, ::3] = bad
    _, argmax = run_pooled(kernels, case, m, x, w, b)
    _, OH, OW = case.conv
    i, j = np.divmod(argmax, OW)
    window = np.arange(argmax.shape[1])[:, None, None], np.arange(argmax.shape[2])[:, None]
    for found, k, n_out in zip((i, j), window, (OH, OW)):
        assert (found // 2 == k).all() and (found < n_out).all()


# ---- gradients, weights ------------------------------------------------------------------------


@WITH_VECTORS
@TILES
@pytest.mark.parametrize(
    "case",
    [Case(2, 5, 4, 3, 5), Case(1, 7, 5, 2, 3, ((2, 0), (0, 1))), Case(2, 1, 1, 2, 2)],
    ids=str,
)
def test_kernel_gradients_equal_numeric_gradients(m, case):
    x, w, b, dy = tensors(case, seed=2)
    gradients = run(kernels, case, m, x, w, b, dy, np.float64)
    memory, (window, _, _) = Guarded(np.float64), case.conv
    scratch, y = scratch_for(memory, m, case), np.empty_like(dy)
    no_winners = np.empty((0, 0, 0, 0), np.int32)

    def loss():
        U = transformed(memory, m, w, 0)
        kernels.conv2d_winograd_3x3_forward(x, w, U, b, window, m, 0, 0, scratch, y, no_winners)
        return float(np.sum(y * dy))

    wanted = dict(x=gradients["dx"], w=gradients["dw"], b=gradients["db"])
    check_gradients(loss, dict(x=x, w=w, b=b), wanted)


@WITH_VECTORS
@TILES
@pytest.mark.parametrize("exchange", [0, 1])
def test_the_weights_by_their_definition(m, exchange):
    """U from G in float64: for every point a matrix (C, F), with zeros behind the last filter."""
    G = np.array([[float(g) for g in row] for row in (tiles.F4 if m == 4 else tiles.F2).g_rows])
    w, t = tensors(Case(1, 3, 3, 5, 7))[1].astype(np.float32), m + 2
    U = transformed(Guarded(np.float32), m, w, exchange)
    used = w.transpose(0, 1, 3, 2) if exchange else w
    _, _, C, F = used.shape
    row = -(-F // LANES) * LANES
    matrices = U[: t * t * (C * row + tiles.GAP)].reshape(t * t, -1)[:, : C * row]
    found = matrices.reshape(t, t, C, row)
    expected = np.einsum("ak,klcf,bl->abcf", G, used.astype(np.float64), G)
    assert error(found[..., :F], expected) < 1e-6
    assert not found[..., F:].any()


# ---- batches, NaN ------------------------------------------------------------------------------


@WITH_VECTORS
@TILES
@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[9]._replace(N=7)], ids=str)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(m, case):
    x, w, b, dy = tensors(case._replace(N=max(case.N, 3)))
    case = case._replace(N=len(x))
    together, (pooled, _) = (
        run(kernels, case, m, x, w, b, dy),
        run_pooled(kernels, case, m, x, w, b),
    )
    for n in range(case.N):
        one, of_one = case._replace(N=1), np.s_[n : n + 1]
        alone = run(kernels, one, m, x[of_one], w, b, dy[of_one])
        for name in ("y", "dx"):
            np.testing.assert_array_equal(alone[name][0], together[name][n], name)
        np.testing.assert_array_equal(run_pooled(kernels, one, m, x[of_one], w, b)[0][0], pooled[n])


@WITH_VECTORS
@TILES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_stays_in_its_image_and_near_its_tile(m, bad):
    case = Case(3, 14, 13, 5, LANES, relu=1)
    x, w, b, dy = tensors(case)
    clean = run(kernels, case, m, x, w, b, dy)["y"]
    x[1, 2, 10] = bad
    y = run(kernels, case, m, x, w, b, dy)["y"]
    np.testing.assert_array_equal(y[[0, 2]], clean[[0, 2]])
    np.testing.assert_array_equal(y[1, 8:], clean[1, 8:])
    assert not np.isfinite(y[1, 1:4, 9:12]).all()


# ---- which convolutions ------------------------------------------------------------------------


def test_costs_by_hand():
    """16 channels, 16 filters and vectors of 16: direct 9 products for each of 16 channels.  A
    point takes 16 products and 6 for each of two vectors: 28."""

    def cost(m, OH, OW, C, F):
        return model.cost(m, OH, OW, C, F, lanes=16, transform_cost=6)

    assert cost(0, 4, 4, 16, 16) == 16 * 9 * 16
    assert cost(4, 4, 4, 16, 16) == 36 * 28
    assert cost(2, 4, 4, 16, 16) == 4 * 16 * 28
    assert cost(4, 5, 8, 16, 16) == 4 * 36 * 28  # two tiles along each axis
    assert cost(4, 4, 4, 17, 33) == 36 * (17 * 3 + 6 * (2 + 3))
    assert cost(0, 1, 1, 3, 8) == 9 * 3  # half a vector takes as long as a whole one


def record(**changes):
    """What the cost model reads of an operation's record."""
    fields = dict(H=24, W=24, KH=3, KW=3, SH=1, SW=1, PT=1, PL=1, PB=1, PR=1, C=64, F=64, pool=0)
    fields |= dict(conv_OH=24, conv_OW=24, pool_KH=2, pool_KW=2, pool_SH=2, pool_SW=2)
    return SimpleNamespace(**fields | dict(pool_PT=0, pool_PL=0, OH=0, OW=0) | changes)


def forward_tile(dtype="float32", **changes):
    return model.forward_way(record(**changes), np.dtype(dtype)).tile


@WITH_VECTORS
def test_the_tiles_depend_on_the_shape_alone():
    assert forward_tile() == 4
    assert forward_tile(pool=1) == 4
    assert forward_tile(conv_OH=2, conv_OW=2) == 2
    assert forward_tile(conv_OH=1, conv_OW=1) == 0
    assert forward_tile(C=1) == 0
    assert forward_tile("float64") == 0
    for refused in (
        *(dict(KH=5), dict(KW=1), dict(SH=2), dict(SW=2), dict(PT=3), dict(PR=3)),
        *(dict(pool=1, pool_KW=3), dict(pool=1, pool_SH=1), dict(pool=1, pool_PT=1)),
    ):
        assert forward_tile(**refused) == 0, refused


@WITH_VECTORS
@given(
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    channels=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    pool=st.integers(0, 1),
)
@example(sizes=(40, 40), channels=(8, 2), pool=0)
def test_the_choice_has_the_least_cost(sizes, channels, pool):
    (OH, OW), (C, F) = sizes, channels
    shape = dict(H=OH, W=OW, conv_OH=OH, conv_OW=OW, OH=OH // 2, OW=OW // 2, C=C, F=F, pool=pool)
    op, float32 = record(**shape), np.dtype(np.float32)
    way = model.forward_way(op, float32)
    costs = {m: model.cost(m, OH, OW, C, F, LANES) for m in (0, 2, 4)}
    columns = OH * conv2d_columns.row_cost(op, 4) if F <= conv2d_columns.MOST_CHANNELS else np.inf
    if way.by_columns:
        assert way.tile == 0 and conv2d_columns.is_faster(op, 4)
        assert columns < min(costs[2], costs[4]) or min(costs, key=costs.get) == 0
    else:
        assert costs[way.tile] == min(costs.values())
        assert columns >= costs[way.tile] or not conv2d_columns.is_faster(op, 4)
    costs = {m: model.cost(m, OH, OW, C, F, LANES, transform_cost=6) for m in (0, 2, 4)}
    assert costs[model.backward_tile_size(op, float32)] == min(costs.values())


# ---- in a network ------------------------------------------------------------------------------


def network_of(size_px, *layers, dtype=np.float32, **options):
    network = Network(
        [*layers, Flatten(), Dense(3)], InputSpec(size_px, size_px, 2), dtype=dtype, **options
    )
    network.initialise(np.random.default_rng(1), bias_std=0.3)
    return network


def tiles_of(network):
    return [int(op.tile) for op in network._run.table.operations if op.KH]


@WITH_VECTORS
@pytest.mark.parametrize(
    "size_px, layers, tiles",
    [
        (12, [Conv2D(32, 3), ReLU(), Conv2D(32, 3), ReLU(), Conv2D(32, 3)], [0, 4, 4]),
        (13, [Conv2D(33, 3), Conv2D(35, 3), ReLU(), MaxPool2D(2), Conv2D(64, 3)], [0, 4, 4]),
        (9, [Conv2D(32, 3, padding="valid"), Conv2D(32, 3), MaxPool2D(2, padding="valid")], [0, 4]),
        (4, [Conv2D(64, 3, stride=2), ReLU(), Conv2D(64, 3), ReLU()], [0, 2]),
        (9, [Conv2D(32, 3), Conv2D(32, 3, padding=((2, 0), (1, 2))), ReLU()], [0, 4]),
        (9, [Conv2D(32, 3), Conv2D(32, 3, padding=((3, 0), (1, 2))), ReLU()], [0, 0]),
        (9, [Conv2D(32, 3), Conv2D(32, 3), MaxPool2D(3)], [0, 0]),
    ],
    ids=str,
)
def test_networks_and_their_gradients(size_px, layers, tiles):
    network = network_of(size_px, *layers)
    assert tiles_of(network) == tiles
    exact = network_of(size_px, *layers, dtype=np.float64, backend="numpy")
    check_with_exact(network, exact, 5)


@WITH_VECTORS
def test_backward_can_take_tiles_where_forward_takes_none():
    """Of 16 lanes, 8 filters fill half: for these the transforms take too long, but not for the
    gradients."""
    layers = [Conv2D(8, 3), ReLU(), Conv2D(8, 3), ReLU(), Conv2D(9, 3)]
    network = network_of(30, *layers)
    operations = [op for op in network._run.table.operations if op.KH]
    assert all(op.backward_tile == 4 for op in operations[1:])
    if LANES == 16:
        assert [(op.tile, bool(op.by_columns)) for op in operations[1:]] == [(0, True), (0, False)]
    exact = network_of(30, *layers, dtype=np.float64, backend="numpy")
    check_with_exact(network, exact, 5)


@WITH_VECTORS
def test_float64_uses_the_direct_convolution():
    layers = [Conv2D(32, 3), ReLU(), Conv2D(32, 3)]
    assert tiles_of(network_of(12, *layers)) == [0, 4]
    assert tiles_of(network_of(12, *layers, dtype=np.float64)) == [0, 0]


@WITH_VECTORS
def test_threads_and_edits_of_the_weights():
    """Training has the bits of prediction, with any number of threads, after every edit."""
    layers = [Conv2D(32, 3), ReLU(), Conv2D(32, 3), ReLU(), MaxPool2D(2), Conv2D(32, 3), ReLU()]
    x = np.random.default_rng(0).standard_normal((19, 12, 12, 2)).astype(np.float32)
    one, two = (network_of(12, *layers, n_threads=n) for n in (1, 2))
    for _ in range(2):
        logits = [network.forward(x, training=True) for network in (one, two)]
        for network, found in zip((one, two), logits):
            network.backward(found)
        np.testing.assert_array_equal(logits[0], logits[1])
        np.testing.assert_array_equal(one.gradient_vector, two.gradient_vector)
        np.testing.assert_array_equal(two.forward(x), logits[0])
        for network in (one, two):
            network.parameter_vector -= 0.01 * network.gradient_vector
