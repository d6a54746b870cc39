"""Winograd convolution: the transforms in exact fractions, the kernel against slow loops and the
direct convolution of the reference in float64, and networks that use it.

Errors are max|a-b| / max|b|, as for logits.  Winograd's sums lose a few more bits than direct sums
(Barabasz et al. 2020); `ALLOWANCE` is the error they may have.  A mistake in a tile or a point
would give an error of order 1.
"""

from fractions import Fraction
from types import SimpleNamespace
from typing import NamedTuple

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st
from windows import make_window

from tinycnn import (
    Conv2D,
    Dense,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    models,
    reference,
)
from tinycnn.kernels import conv2d_winograd as kernels
from tinycnn.kernels._jit import TILE, WINOGRAD
from tinycnn.kernels._winograd import FILTERS
from tinycnn.kernels._winograd_transforms import Shorter, Transform
from tinycnn.testing import gradient_error, logit_error

ALLOWANCE = 1e-5
LANES = TILE.vector_bytes // 4
BLOCK = LANES * FILTERS  # filters that are computed together, with one input channel
PAIR = 2 * LANES  # with more channels
WITH_VECTORS = pytest.mark.skipif(not WINOGRAD, reason="this run takes the direct convolution")
BOTH = pytest.mark.parametrize(
    "operations",
    [pytest.param(kernels, marks=WITH_VECTORS), reference],
    ids=["kernels", "reference"],
)

# ---- the transforms ----------------------------------------------------------------------------


class Exact:
    """The arithmetic that `Transform` needs, on fractions."""

    @staticmethod
    def add(a, b):
        return a + b

    @staticmethod
    def sub(a, b):
        return a - b

    @staticmethod
    def combine(terms):
        return sum((c * x for c, x in terms), Fraction(0))


TRANSFORMS = {
    "shallow": kernels.SHALLOW,
    "deep": kernels.DEEP,
    "deep, shorter": Shorter(kernels.DEEP),
    "shallow, shorter": Shorter(kernels.SHALLOW),
    "a point of its own": Transform(2, 4, (0, 1, -1, 2)),
    "fractions": Transform(4, 3, (0, Fraction(1, 2), Fraction(-1, 2), 3, -3)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_convolves_exactly(name):
    f = TRANSFORMS[name]
    rng = np.random.default_rng(0)
    d, w = ([Fraction(int(k)) for k in rng.integers(-9, 10, n)] for n in (f.t, f.r))
    whole = kernels.SHALLOW if name.startswith("shallow") else kernels.DEEP
    g = (whole if isinstance(f, Shorter) else f).emit_g(Exact, w)  # shorter: same transform
    products = [g[i] * x for i, x in zip(f.index, f.emit_bt(Exact, d))]
    expected = [sum(w[i] * d[k + i] for i in range(f.r)) for k in range(f.m)]
    assert f.emit_at(Exact, products) == expected
    assert f.t == f.m + f.r - 1 and len(f.index) == f.t


# ---- the convolution ---------------------------------------------------------------------------


class Case(NamedTuple):
    """One convolution of stride 2 with the ReLU and the pooling after it."""

    N: int
    H: int
    W: int
    C: int
    F: int
    padding: str | tuple
    pool: int
    relu: int
    whole: bool = False  # True: the pooling drops an odd last row or column, like "valid"

    def pooled(self, size):
        return size // 2 if self.whole else -(-size // 2)

    @property
    def K(self):
        return 8 if self.C == 1 else 4

    @property
    def conv(self):
        """Window, OH and OW of the convolution."""
        return make_window(self.H, self.W, self.K, 2, self.padding)


def tensors(case, seed=0, whole=False):
    """x, w, b: normal values, or whole numbers from -4 to 4."""
    rng = np.random.default_rng(seed)
    shapes = (case.N, case.H, case.W, case.C), (case.K, case.K, case.C, case.F), (case.F,)
    if whole:
        return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def record(case, OH, OW):
    """What `winograd_sizes` reads of an operation's record."""
    return SimpleNamespace(W=case.W, C=case.C, F=case.F, conv_OH=OH, conv_OW=OW)


def run(operations, case, x, w, b, dtype=np.float32):
    """y, checked to be the same in training and in prediction."""
    y, _ = run_with_winners(operations, case, x, w, b, dtype)
    np.testing.assert_array_equal(run_with_winners(operations, case, x, w, b, dtype, 0)[0], y)
    return y


def run_with_winners(operations, case, x, w, b, dtype=np.float32, wanted=1):
    """y and argmax, on guarded arrays of exactly their sizes, U and scratch included.  argmax is
    empty without a pooling, and if it is not wanted."""
    memory = Guarded(dtype)
    window, OH, OW = case.conv
    n_u, n_scratch = kernels.winograd_sizes(record(case, OH, OW), np.dtype(dtype).itemsize)
    U, scratch = memory.wanted(n_u), memory.wanted(n_scratch)
    x, w, b = (memory.given(t) for t in (x, w, b))
    if operations is kernels:
        kernels.conv2d_winograd_weights(w, U)
    shape = ((case.pooled(OH), case.pooled(OW)) if case.pool else (OH, OW)) + (case.F,)
    y = memory.wanted(case.N, *shape)
    argmax = memory.wanted(case.N * case.pool * wanted, *shape, dtype=np.int32)
    operations.conv2d_winograd_forward(x, w, U, b, window, case.pool, case.relu, scratch, y, argmax)
    memory.check()
    return y, argmax


def direct(case, x, w, b):
    """The direct convolution in float64, by the reference."""
    return run(reference, case, *(t.astype(np.float64) for t in (x, w, b)), dtype=np.float64)


def error(y, expected):
    return np.abs(y - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)


SHALLOW = [
    Case(2, 84, 84, 1, 16, "same", 1, 1),  # the first convolution of MicroExpNet
    Case(1, 85, 83, 1, 2 * BLOCK, "same", 1, 0),
    Case(3, 41, 47, 1, BLOCK, "valid", 0, 1),
    Case(2, 45, 50, 1, BLOCK, "same", 1, 1, whole=True),
    Case(1, 23, 91, 1, 16, "valid", 1, 1),
    Case(2, 31, 20, 1, 16, ((7, 2), (0, 7)), 1, 1),
    Case(1, 9, 150, 1, 16, "same", 0, 0),
    Case(2, 8, 8, 1, 16, "valid", 1, 1),  # one output
    Case(2, 10, 9, 1, 16, "valid", 1, 0),
    Case(2, 1, 1, 1, 16, "same", 1, 1),  # only one of 8 x 8 taps is inside the picture
    Case(0, 30, 30, 1, 16, "same", 1, 1),
]
DEEP = [
    Case(2, 21, 21, 16, 32, "same", 1, 1),  # the second convolution of MicroExpNet
    Case(1, 21, 20, LANES, 3 * PAIR, "same", 0, 0),
    Case(3, 11, 30, 16, PAIR, "valid", 1, 1),
    Case(1, 20, 9, 2 * LANES, PAIR, "same", 1, 0),
    Case(1, 14, 12, 16, PAIR, "valid", 0, 1),
    Case(2, 21, 22, 16, PAIR, "same", 1, 1, whole=True),
    Case(2, 4, 4, 16, PAIR, "valid", 1, 1),  # one output
    Case(2, 13, 16, 16, PAIR, ((0, 3), (3, 1)), 1, 1),
    Case(2, 1, 2, 16, PAIR, "same", 1, 1),
    Case(0, 21, 21, 16, PAIR, "same", 1, 1),
]


@WITH_VECTORS
@pytest.mark.parametrize("case", SHALLOW + DEEP, ids=str)
def test_error_against_the_direct_convolution_in_float64(case):
    x, w, b = tensors(case)
    assert error(run(kernels, case, x, w, b), direct(case, x, w, b)) < ALLOWANCE


@WITH_VECTORS
@pytest.mark.parametrize("case", SHALLOW + DEEP, ids=str)
def test_in_float64_it_is_the_direct_convolution_to_rounding(case):
    """The network never takes it in float64, where the gradient checks run.  This shows that what
    they check of the direct convolution holds for Winograd's."""
    x, w, b = (tensor.astype(np.float64) for tensor in tensors(case))
    y, argmax = run_with_winners(kernels, case, x, w, b, np.float64)
    expected, expected_argmax = run_with_winners(reference, case, x, w, b, np.float64)
    assert error(y, expected) < 1e-13
    np.testing.assert_array_equal(argmax, expected_argmax)


@st.composite
def cases(draw):
    C = draw(st.sampled_from([1, LANES, 16, 32]))
    F = (BLOCK if C == 1 else PAIR) * draw(st.integers(1, 3))
    sides = st.tuples(*[st.integers(0, 7 if C == 1 else 3)] * 2)
    padding = draw(st.one_of(st.sampled_from(["same", "valid"]), st.tuples(sides, sides)))
    least = 1 if padding == "same" else 8
    H, W = (draw(st.integers(least, 60 if C == 1 else 26)) for _ in range(2))
    C = -(-C // LANES) * LANES if C > 1 else 1
    case = Case(draw(st.integers(0, 3)), H, W, C, F, padding, *(draw(st.integers(0, 1)),) * 2)
    whole = min(case.conv[1:]) > 1 and draw(st.booleans())
    return case._replace(relu=draw(st.integers(0, 1)), whole=whole)


@WITH_VECTORS
@given(case=cases(), seed=st.integers(0, 2**32))
def test_any_shape(case, seed):
    x, w, b = tensors(case, seed)
    assert error(run(kernels, case, x, w, b), direct(case, x, w, b)) < ALLOWANCE


@BOTH
@pytest.mark.parametrize("pool, relu", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("H, W, C", [(12, 11, 1), (7, 9, 16)])
def test_equals_loops_over_the_definition(operations, H, W, C, pool, relu):
    case = Case(1, H, W, C, BLOCK if C == 1 else PAIR, "same", pool, relu)
    x, w, b = tensors(case, whole=True)
    window, OH, OW = case.conv
    expected = naive.conv2d_forward(x, w, b, window, OH, OW)
    if pool:
        expected, _ = naive.maxpool2d_forward(expected, *make_window(OH, OW, 2, 2))
    if relu:
        expected = np.maximum(expected, 0)
    assert error(run(operations, case, x, w, b), expected) < ALLOWANCE


def winners_of(case, z, allowance):
    """Position of the maximum of each window of z (of equal ones the first), and whether it is
    larger than all others by more than the allowance."""
    _, OH, OW, _ = z.shape
    shape = (len(z), case.pooled(OH), case.pooled(OW), case.F)
    best, lead = np.full(shape, -np.inf), np.full(shape, np.inf)
    winner = np.full(shape, -1)
    for a, e in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for i in range(min(shape[1], -(-(OH - a) // 2))):
            for j in range(min(shape[2], -(-(OW - e) // 2))):
                rival = z[:, 2 * i + a, 2 * j + e]
                at = np.s_[:, i, j]
                lead[at] = np.minimum(np.abs(rival - best[at]), np.maximum(lead[at], 0))
                wins = rival > best[at]
                winner[at] = np.where(wins, (2 * i + a) * OW + 2 * j + e, winner[at])
                best[at] = np.where(wins, rival, best[at])
    return winner, lead > allowance


POOLED = [case for case in SHALLOW + DEEP if case.pool and case.N]


@BOTH
@pytest.mark.parametrize("case", POOLED, ids=str)
def test_winners(operations, case):
    """The winners are those of the direct convolution in float64.  Where two values are within the
    allowance, any position with such a value may win."""
    x, w, b = tensors(case)
    z = direct(case._replace(pool=0, relu=0), x, w, b)
    clear_lead = 2 * ALLOWANCE * np.abs(z).max()
    expected, is_clear = winners_of(case, z - b, clear_lead)
    _, argmax = run_with_winners(operations, case, x, w, b)
    assert is_clear.mean() > 0.9
    np.testing.assert_array_equal(argmax[is_clear], expected[is_clear])
    flat = z.reshape(case.N, -1, case.F)
    n, _, _, f = np.indices(argmax.shape, sparse=True)
    assert np.abs(flat[n, argmax, f] - flat[n, expected, f]).max() <= clear_lead


@BOTH
@pytest.mark.parametrize("case", POOLED, ids=str)
def test_of_equal_outputs_the_first_wins(operations, case):
    x, w, b = tensors(case)
    y, argmax = run_with_winners(operations, case, np.zeros_like(x), w, b)
    _, H, W, _ = y.shape
    first = 2 * (np.arange(H)[:, None] * case.conv[2] + np.arange(W))
    np.testing.assert_array_equal(argmax, np.broadcast_to(first[..., None], y.shape))
    np.testing.assert_array_equal(y, np.broadcast_to(np.maximum(b, 0) if case.relu else b, y.shape))


@WITH_VECTORS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", [SHALLOW[0], SHALLOW[1], DEEP[0], DEEP[3]], ids=str)
def test_winners_are_always_inside_their_window(case, bad):
    x, w, b = tensors(case)
    x[:, ::5, ::7] = bad
    _, argmax = run_with_winners(kernels, case, x, w, b)
    _, OH, OW = case.conv
    i, j = np.divmod(argmax, OW)
    window = np.arange(argmax.shape[1])[:, None, None], np.arange(argmax.shape[2])[:, None]
    for found, k, n_out in zip((i, j), window, (OH, OW)):
        assert (found // 2 == k).all() and (found < n_out).all()


@WITH_VECTORS
@pytest.mark.parametrize("case", [SHALLOW[0], SHALLOW[1], DEEP[0], DEEP[2]], ids=str)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(case):
    x, w, b = tensors(case._replace(N=3))
    together = run(kernels, case._replace(N=3), x, w, b)
    for n in range(3):
        alone = run(kernels, case._replace(N=1), x[n : n + 1], w, b)
        np.testing.assert_array_equal(alone[0], together[n])


@WITH_VECTORS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("case", [SHALLOW[0], SHALLOW[1], DEEP[0], DEEP[1]], ids=str)
def test_nan_stays_in_its_image_and_near_its_tile(case, bad):
    case = case._replace(N=3)
    x, w, b = tensors(case)
    clean = run(kernels, case, x, w, b)
    x[1, 2, case.W - 3] = bad
    y = run(kernels, case, x, w, b)
    np.testing.assert_array_equal(y[[0, 2]], clean[[0, 2]])
    far = y.shape[1] // 2
    np.testing.assert_array_equal(y[1, far:], clean[1, far:])
    x[1] = bad
    y = run(kernels, case, x, w, b)
    np.testing.assert_array_equal(y[[0, 2]], clean[[0, 2]])
    assert not np.isfinite(y[1]).any()


@WITH_VECTORS
@pytest.mark.parametrize("case", [SHALLOW[0], DEEP[0]], ids=str)
def test_the_weights_by_their_definition(case):
    """U of one filter, point by point, from G in float64; other entries are not changed."""
    f = kernels.SHALLOW if case.C == 1 else kernels.DEEP
    G = np.array([[float(g) for g in row] for row in f.g_rows])
    _, w, _ = tensors(case)
    n_u, _ = kernels.winograd_sizes(record(case, 9, 9))
    U = np.full(n_u, np.nan, np.float32)
    kernels.conv2d_winograd_weights(w, U)
    by_phase = w.astype(np.float64).reshape(f.r, 2, f.r, 2, case.C, case.F)
    expected = np.einsum("ak,kpljcf,bl->bapjcf", G, by_phase, G)  # b across, a down
    if case.C == 1:
        found = U.reshape(case.F // BLOCK, f.t, 4, f.t, BLOCK).transpose(1, 3, 2, 0, 4)
    else:
        found = U.reshape(f.t, f.t, -1)[:, :, : 4 * case.C * case.F]
    assert error(found.reshape(expected.shape), expected) < 1e-6


# ---- in a network ------------------------------------------------------------------------------


def check_with_exact(network, exact, n_images):
    """Compare logits and gradients with those of a network in float64, and logits in training and
    in prediction."""
    x = np.random.default_rng(0).standard_normal((n_images, *network.input_spec.shape))
    x = x.astype(np.float32)
    logits, exact_logits = network.forward(x, training=True), exact.forward(x, training=True)
    assert logit_error(logits, exact_logits) < ALLOWANCE
    np.testing.assert_array_equal(network.forward(x), logits)
    dlogits = np.random.default_rng(1).standard_normal(logits.shape)
    dx, exact_dx = (n.backward(dlogits, input_gradient=True) for n in (network, exact))
    assert gradient_error(dx, exact_dx) < ALLOWANCE
    for name, gradient in network.gradients.items():
        assert gradient_error(gradient, exact.gradients[name]) < ALLOWANCE, name


def taken(network):
    """For each convolution of a network: 1 if it is computed by Winograd, else 0."""
    return [int(op.winograd) for op in network._run.table.operations if op.KH]


def network_of(size_px, *layers, dtype=np.float32, **options):
    network = Network(
        [*layers, Flatten(), Dense(3)], InputSpec(size_px, size_px), dtype=dtype, **options
    )
    network.initialise(np.random.default_rng(1), bias_std=0.3)
    return network


@WITH_VECTORS
@pytest.mark.parametrize(
    "layers, expected",
    [
        ([Conv2D(16, 8, stride=2), ReLU(), MaxPool2D(2)], [1]),
        ([Conv2D(16, 8, stride=2), MaxPool2D(2, padding="valid"), ReLU()], [1]),
        ([Conv2D(16, 8, stride=2, padding="valid")], [1]),
        ([Conv2D(16, 8, stride=2), Conv2D(32, 4, stride=2)], [1, 1]),
        ([Conv2D(16, 8, stride=2), Conv2D(32, 8, stride=2)], [1, 0]),  # taps
        ([Conv2D(16, 8, stride=2), Conv2D(LANES, 4, stride=2)], [1, 0]),  # filters
        ([Conv2D(16, 8, stride=2, padding=((3, 7), (0, 5)))], [1]),
        ([Conv2D(16, 8, stride=2, padding=((3, 8), (0, 5)))], [0]),  # padding
        ([Conv2D(16, 8, stride=1)], [0]),  # stride
        ([Conv2D(16, 8, stride=(2, 1))], [0]),  # horizontal stride
        ([Conv2D(16, (8, 4), stride=2)], [0]),  # taps
        ([Conv2D(16, 4, stride=2)], [0]),  # one channel with 4 x 4
        ([Conv2D(BLOCK + LANES // 2, 8, stride=2)], [0]),  # filters
        ([Conv2D(3, 8, stride=2), Conv2D(16, 4, stride=2)], [0, 0]),  # filters, channels
        ([Conv2D(16, 8, stride=2), MaxPool2D(3)], [0]),  # the pooling's window
        ([Conv2D(16, 8, stride=2), MaxPool2D(2, stride=1)], [0]),
        ([Conv2D(16, 8, stride=2), MaxPool2D((2, 3), stride=2)], [0]),
        ([Conv2D(16, 8, stride=2), MaxPool2D(2, padding=((1, 0), (0, 0)))], [0]),
    ],
)
@pytest.mark.parametrize("size_px", [45, 46, 47, 48])
def test_which_convolutions_use_winograd_and_their_logits(layers, expected, size_px):
    network = network_of(size_px, *layers)
    exact = network_of(size_px, *layers, dtype=np.float64, backend="numpy")
    check_with_exact(network, exact, 3)
    assert taken(network) == expected


@WITH_VECTORS
def test_small_pictures_and_float64_use_the_direct_convolution():
    layers = [Conv2D(16, 8, stride=2)]
    small, double = network_of(16, *layers), network_of(48, *layers, dtype=np.float64)
    assert taken(small) == taken(double) == [0]
    assert taken(network_of(48, *layers)) == [1]


@WITH_VECTORS
@pytest.mark.parametrize("n_images", [1, 3, 19])
def test_training_has_the_bits_of_prediction_after_every_edit_of_the_weights(n_images):
    network = models.microexpnet(seed=3, n_threads=2)
    x = np.random.default_rng(0).standard_normal((n_images, 84, 84, 1)).astype(np.float32)
    for edit in range(3):
        logits = network.forward(x, training=True)
        network.backward(logits)
        fresh = models.microexpnet(seed=4, n_threads=1)
        fresh.parameter_vector[:] = network.parameter_vector
        np.testing.assert_array_equal(logits, fresh.forward(x))
        network.parameter_vector -= 0.01 * network.gradient_vector


@WITH_VECTORS
def test_every_edit_of_the_weights_takes_effect():
    rng = np.random.default_rng(0)
    network = models.microexpnet(seed=3)
    assert taken(network) == [1, 1]
    x = network.scale(rng.integers(0, 256, (3, 84, 84), dtype=np.uint8))
    before = network.forward(x)
    held = network._run.prepared
    network.parameters["dense1.w"][:] *= 2
    network.parameters["conv1.b"][:] += 1
    network.forward(x)
    assert network._run.prepared is held  # U does not depend on these parameters
    for name in ("conv1.w", "conv2.w"):
        for index in (0, -1):
            weight = network.parameters[name].reshape(-1)
            weight[index] = -weight[index] if weight[index] else 1
            fresh = models.microexpnet(seed=4)
            fresh.parameter_vector[:] = network.parameter_vector
            np.testing.assert_array_equal(network.forward(x), fresh.forward(x))
            assert network._run.prepared is not held
            held = network._run.prepared
    network.parameter_vector[:] = models.microexpnet(seed=3).parameter_vector
    np.testing.assert_array_equal(network.forward(x), before)
    network.parameters["conv1.w"][:] = np.nan
    assert not np.isfinite(network.forward(x)).any()


@WITH_VECTORS
def test_threads_do_not_change_a_bit():
    images = np.random.default_rng(0).integers(0, 256, (37, 84, 84), dtype=np.uint8)
    expected = models.microexpnet(n_threads=1).predict_logits(images)
    for n_threads in (2, 5):
        logits = models.microexpnet(n_threads=n_threads).predict_logits(images)
        np.testing.assert_array_equal(logits, expected)
