"""Clipped and leaky ReLU, PReLU, sigmoid and tanh: kernels and reference against the definitions.

Values and gradients of the ReLUs are copied, clipped or multiplied once, so comparisons are exact.
Sigmoid and tanh are compared with 60 digits: see `ALLOWANCE`.
"""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinycnn import (
    Conv2D,
    Dense,
    Flatten,
    InputSpec,
    LeakyReLU,
    MaxPool2D,
    Network,
    PReLU,
    ReLU,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
    reference,
)
from tinycnn.kernels import leaky_relu, prelu, relu, sigmoid, tanh
from tinycnn.kernels._jit import WINOGRAD
from tinycnn.kernels.operations import CONV2D
from tinycnn.kernels.table import make_operations
from tinycnn.testing import check_gradients, gradient_error, logit_error

NAN, INF = np.nan, np.inf


class Kernels:
    """The functions of all these files, as `reference` has them."""

    for _module in (relu, leaky_relu, prelu, sigmoid, tanh):
        for _name, _function in vars(_module).items():
            if _name.endswith(("_forward", "_params", "_input", "_backward")):
                locals()[_name] = staticmethod(_function)


BOTH = pytest.mark.parametrize("operations", [Kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RELUS = [("clipped_relu", 6.0), ("clipped_relu", 0.3), ("leaky_relu", 0.01), ("leaky_relu", 0.75)]
SMOOTH = ("sigmoid", "tanh")
EACH = pytest.mark.parametrize(
    "stem, options", [(s, (o,)) for s, o in RELUS] + [(s, ()) for s in SMOOTH]
)

vectors = hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(width=32))
numbers = hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(-800, 800, width=32))

ALLOWANCE = {
    ("kernels", np.float32): 0.51,  # computed in float64 and rounded once
    ("kernels", np.float64): 4.0,
    ("reference", np.float32): 0.51,
    ("reference", np.float64): 800.0,  # exp(-z) turns half a unit of z, up to 800, into z units
}
"""Largest errors in units in the last place."""


def run(operations, stem, options, dtype, x, dy):
    """y and dx, each in an output of its own; backward gets the y of forward."""
    memory = Guarded(dtype)
    y, dx = memory.wanted(len(x)), memory.wanted(len(x))
    getattr(operations, f"{stem}_forward")(memory.given(x), *options, y)
    getattr(operations, f"{stem}_backward")(memory.given(y), *options, memory.given(dy), dx)
    memory.check()
    return y, dx


# ---- the conventions at the kinks --------------------------------------------------------------


@DTYPES
@BOTH
def test_clipped_relu_by_hand(operations, dtype):
    """There is no gradient at 0 and at the largest value, as in PyTorch and TensorFlow."""
    below, above = np.nextafter(dtype(6), dtype(0)), np.nextafter(dtype(6), dtype(7))
    x = np.array([-2, -0.0, 0, 1, below, 6, above, 7, INF, -INF, NAN], dtype)
    y, dx = run(operations, "clipped_relu", (6.0,), dtype, x, np.arange(1, 12))
    np.testing.assert_array_equal(y, np.array([0, 0, 0, 1, below, 6, 6, 6, 6, 0, NAN], dtype))
    np.testing.assert_array_equal(dx, [0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0])


@DTYPES
@BOTH
def test_leaky_relu_by_hand(operations, dtype):
    """At 0 the gradient is multiplied by the slope, as in PyTorch and TensorFlow."""
    x = np.array([-2, -0.0, 0, 1, INF, -INF, NAN])
    y, dx = run(operations, "leaky_relu", (0.25,), dtype, x, np.arange(4, 32, 4))
    np.testing.assert_array_equal(y, [-0.5, 0, 0, 1, INF, -INF, NAN])
    np.testing.assert_array_equal(dx, [1, 2, 3, 16, 20, 6, 7])


@DTYPES
@BOTH
def test_prelu_by_hand(operations, dtype):
    """Channels with a positive, a negative and no slope; at 0 as leaky ReLU."""
    x = np.array([[2, 2, 2], [-2, -2, -2], [0, 0, 0]])
    dy = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    y, dx, dalpha = run_prelu(operations, dtype, x, np.array([0.5, -0.5, 0]), dy)
    np.testing.assert_array_equal(y, [[2, 2, 2], [-1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(dx, [[1, 2, 3], [2, -2.5, 0], [3.5, -4, 0]])
    np.testing.assert_array_equal(dalpha, [-8, -10, -12])


# ---- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem, option", RELUS)
@DTYPES
@BOTH
@given(x=vectors, seed=st.integers(0, 2**32))
def test_relus_equal_the_definition_exactly(operations, dtype, stem, option, x, seed):
    dy = np.random.default_rng(seed).standard_normal(len(x)).astype(np.float32)
    rounded = float(dtype(option))
    y, dx = run(operations, stem, (option,), dtype, x, dy)
    with np.errstate(over="ignore"):
        expected_y = getattr(naive, f"{stem}_forward")(x, rounded).astype(dtype)
        expected_dx = getattr(naive, f"{stem}_backward")(y, rounded, dy).astype(dtype)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(dx, expected_dx)


@pytest.mark.parametrize("stem", SMOOTH)
@DTYPES
@BOTH
@given(x=numbers)
@example(x=np.array([-708.25, -708.375], np.float32))  # exp(x) is nearly too small
def test_sigmoid_and_tanh_are_exact_to_the_last_places(operations, dtype, stem, x):
    x = np.concatenate([x, x / 100, x * 1e-30]).astype(dtype)  # tanh(x) is x near 0
    y, _ = run(operations, stem, (), dtype, x, x)
    exact = getattr(naive, f"{stem}_forward")(x.astype(np.float64))
    normal = np.abs(exact) >= np.finfo(dtype).tiny
    name = "reference" if operations is reference else "kernels"
    errors = np.abs(y[normal] - exact[normal]) / np.spacing(np.abs(exact[normal]).astype(dtype))
    assert errors.max(initial=0) <= ALLOWANCE[name, dtype]
    np.testing.assert_allclose(y[~normal], exact[~normal], atol=np.finfo(dtype).tiny, rtol=0)


@pytest.mark.parametrize("dtype, units", [(np.float32, 0.51), (np.float64, 4.0)])
@pytest.mark.parametrize("stem", SMOOTH)
def test_every_size_of_argument(stem, dtype, units):
    """Where the result is neither 0 nor 1 nor x itself, densely."""
    x = np.concatenate([np.linspace(-40, 40, 4001), np.geomspace(1e-12, 700, 999)]).astype(dtype)
    y, _ = run(Kernels, stem, (), dtype, x, x)
    exact = getattr(naive, f"{stem}_forward")(x.astype(np.float64))
    errors = np.abs(y - exact) / np.spacing(np.abs(exact).astype(dtype))
    assert 0.3 < errors.max() <= units


@DTYPES
@BOTH
def test_nothing_overflows(operations, dtype):
    """Without a warning of NumPy, which pytest makes an error."""
    x = np.array([0, -0.0, 1e30, -1e30, INF, -INF, NAN])
    y, dx = run(operations, "sigmoid", (), dtype, x, np.ones(7))
    np.testing.assert_array_equal(y, [0.5, 0.5, 1, 0, 1, 0, NAN])
    np.testing.assert_array_equal(dx, [0.25, 0.25, 0, 0, 0, 0, NAN])
    y, dx = run(operations, "tanh", (), dtype, x, np.ones(7))
    np.testing.assert_array_equal(y, [0, 0, 1, -1, 1, -1, NAN])
    np.testing.assert_array_equal(dx, [1, 1, 0, 0, 0, 0, NAN])


@DTYPES
@pytest.mark.parametrize("stem", SMOOTH)
def test_a_value_does_not_depend_on_its_place(stem, dtype):
    """Vectors of LLVM's choice do most values, a loop the last ones: both give the same bits."""
    x = np.random.default_rng(0).normal(0, 4, 97).astype(dtype)
    together, _ = run(Kernels, stem, (), dtype, x, x)
    for first in range(0, 97, 5):
        for end in range(first + 1, 97, 7):
            part, _ = run(Kernels, stem, (), dtype, x[first:end], x[first:end])
            np.testing.assert_array_equal(part, together[first:end])


@DTYPES
@BOTH
@EACH
@pytest.mark.parametrize("n", [0, 1, 7, 37])
def test_an_output_may_be_the_same_array_as_an_input(operations, dtype, stem, options, n):
    x, dy = np.random.default_rng(n).standard_normal((2, n)).astype(dtype)
    expected_y, expected_dx = run(operations, stem, options, dtype, x, dy)
    memory = Guarded(dtype)
    y, dx = memory.wanted(n), memory.wanted(n)
    y[:], dx[:] = x, dy
    getattr(operations, f"{stem}_forward")(y, *options, y)
    getattr(operations, f"{stem}_backward")(y, *options, dx, dx)
    memory.check()
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(dx, expected_dx)


# ---- gradients ---------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("n", [1, 2, 17, 37])
def test_kernel_gradients_equal_numeric_gradients(stem, options, n):
    rng = np.random.default_rng(n)
    x = rng.choice([-1, 1], n) * rng.uniform(0.4, 2, n)  # away from the kinks at 0, 0.3 and 6
    dy, y = rng.standard_normal(n), np.empty(n)
    _, dx = run(Kernels, stem, options, np.float64, x, dy)

    def loss():
        getattr(Kernels, f"{stem}_forward")(x, *options, y)
        return float(y @ dy)

    check_gradients(loss, dict(x=x), dict(x=dx), max_skipped=0.0)


@DTYPES
@pytest.mark.parametrize("stem", SMOOTH)
@given(y=hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(-1, 1, width=32)))
def test_kernels_and_reference_have_the_same_gradients(stem, dtype, y):
    """Near 1 both lose digits in 1 - y; no error is above 4 roundings of numbers up to 1."""
    dy, found = np.linspace(-1, 1, len(y)).astype(dtype), []
    for operations in (Kernels, reference):
        memory = Guarded(dtype)
        dx = memory.wanted(len(y))
        getattr(operations, f"{stem}_backward")(memory.given(y), memory.given(dy), dx)
        memory.check()
        found.append(dx)
    np.testing.assert_allclose(*found, atol=4 * np.finfo(dtype).eps, rtol=0)


# ---- PReLU -------------------------------------------------------------------------------------


def run_prelu(operations, dtype, x, alpha, dy):
    """y, dx and dalpha."""
    memory = Guarded(dtype)
    y, dx, dalpha = memory.wanted(*x.shape), memory.wanted(*x.shape), memory.wanted(x.shape[1])
    x, alpha, dy = (memory.given(a) for a in (x, alpha, dy))
    operations.prelu_forward(x, alpha, y)
    operations.prelu_backward_params(x, dy, dalpha)
    operations.prelu_backward_input(x, alpha, dy, dx)
    memory.check()
    return y, dx, dalpha


@DTYPES
@BOTH
@given(P=st.integers(0, 40), C=st.integers(1, 19), seed=st.integers(0, 2**32))
def test_prelu_equals_the_definition(operations, dtype, P, C, seed):
    x, dy = np.random.default_rng(seed).standard_normal((2, P, C)).astype(dtype)
    x[:, 0] = np.round(x[:, 0])  # zeros, too
    alpha = np.random.default_rng(seed).normal(0.25, 0.5, C).astype(dtype)
    y, dx, dalpha = run_prelu(operations, dtype, x, alpha, dy)
    np.testing.assert_array_equal(y, naive.prelu_forward(x, alpha).astype(dtype))
    np.testing.assert_array_equal(dx, naive.prelu_backward_input(x, alpha, dy).astype(dtype))
    # a sum of P products, each of at most P roundings
    allowance = (P + 1) * np.finfo(dtype).eps * np.abs(np.minimum(x, 0) * dy).sum(axis=0)
    assert (np.abs(dalpha - naive.prelu_backward_params(x, dy)) <= allowance).all()


@pytest.mark.parametrize("P, C", [(1, 1), (13, 1), (7, 5), (5, 17)])
def test_prelu_gradients_equal_numeric_gradients(P, C):
    rng = np.random.default_rng(C)
    x = rng.choice([-1, 1], (P, C)) * rng.uniform(0.1, 2, (P, C))
    alpha, dy, y = rng.normal(0, 0.5, C), rng.standard_normal((P, C)), np.empty((P, C))
    _, dx, dalpha = run_prelu(Kernels, np.float64, x, alpha, dy)

    def loss():
        prelu.prelu_forward(x, alpha, y)
        return float((y * dy).sum())

    check_gradients(loss, dict(x=x, alpha=alpha), dict(x=dx, alpha=dalpha), max_skipped=0.0)


# ---- values that others published --------------------------------------------------------------

SIXTHS = np.array([-0.9, 0.7, -0.5, 0.3, 6.0, 0.1, -0.3, 6.5, -0.7, 0.9])
TENTHS = np.array([-0.9, 0.7, -0.5, 0.3, -0.1, 0.1, -0.3, 0.5, -0.7, 0.9])
PUBLISHED = {
    # tensorflow/python/kernel_tests/nn_ops/relu_op_test.py, testNpRelu6 and testNpLeakyRelu
    "relu6": ("clipped_relu", 6.0, SIXTHS, [0, 0.7, 0, 0.3, 6, 0.1, 0, 6, 0, 0.9]),
    "tensorflow leaky": (
        *("leaky_relu", 0.1, TENTHS),
        [-0.09, 0.7, -0.05, 0.3, -0.01, 0.1, -0.03, 0.5, -0.07, 0.9],
    ),
    # keras/src/layers/activations/{relu,leaky_relu}_test.py
    "keras max_value": ("clipped_relu", 10.0, [-10, -5, 0, 5, 10], [0, 0, 0, 5, 10]),
    "keras leaky": ("leaky_relu", 0.5, [-10, -5, 0, 5, 10], [-5, -2.5, 0, 5, 10]),
    # onnx/backend/test/case/node/{leakyrelu,sigmoid,tanh}.py, the examples
    "onnx leaky": ("leaky_relu", 0.1, [-1, 0, 1], [-0.1, 0, 1]),
    "onnx sigmoid": ("sigmoid", None, [-1, 0, 1], [0.26894143, 0.5, 0.7310586]),
    "onnx tanh": ("tanh", None, [-1, 0, 1], [-0.76159418, 0, 0.76159418]),
}


@DTYPES
@BOTH
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values(operations, dtype, name):
    stem, option, x, expected = PUBLISHED[name]
    options = () if option is None else (option,)
    y, _ = run(operations, stem, options, dtype, x, x)
    np.testing.assert_allclose(y, expected, rtol=1e-7, atol=1e-8)


@DTYPES
@BOTH
def test_published_values_of_prelu(operations, dtype):
    """tensorflow/lite/kernels/activations_test.cc, FloatActivationsOpTest.PRelu: four pixels of
    three channels."""
    x = np.repeat([[0.0], [1.0], [-1.0], [-2.0]], 3, axis=1)
    y, _, _ = run_prelu(operations, dtype, x, np.array([0.0, 1.0, 2.0]), x)
    np.testing.assert_array_equal(y, [[0, 0, 0], [1, 1, 1], [0, -1, -2], [0, -2, -4]])


# ---- against PyTorch ---------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("stem", ["relu6", "leaky_relu", "sigmoid", "tanh", "prelu"])
def test_values_and_gradients_equal_torch(operations, stem):
    """With values at the kinks: the conventions there are PyTorch's, too."""
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    rng = np.random.default_rng(5)
    x, dy = rng.normal(0, 4, (2, 30, 4))
    x[0], x[1] = 0, 6
    alpha = np.array([0.25, -0.5, 0.0, 1.5])
    theirs = {name: torch.tensor(a, requires_grad=True) for name, a in (("x", x), ("alpha", alpha))}
    functional = torch.nn.functional
    expected = {
        "relu6": lambda x, alpha: functional.relu6(x),
        "leaky_relu": lambda x, alpha: functional.leaky_relu(x, 0.2),
        "sigmoid": lambda x, alpha: torch.sigmoid(x),
        "tanh": lambda x, alpha: torch.tanh(x),
        "prelu": functional.prelu,
    }[stem](theirs["x"], theirs["alpha"])
    expected.backward(torch.tensor(dy))
    if stem == "prelu":
        y, dx, dalpha = run_prelu(operations, np.float64, x, alpha, dy)
        np.testing.assert_allclose(dalpha, theirs["alpha"].grad, rtol=1e-13)
    else:
        ours = {"relu6": ("clipped_relu", (6.0,)), "leaky_relu": ("leaky_relu", (0.2,))}
        y, dx = run(operations, *ours.get(stem, (stem, ())), np.float64, x.ravel(), dy.ravel())
    np.testing.assert_allclose(y.ravel(), expected.detach().numpy().ravel(), rtol=1e-14)
    np.testing.assert_allclose(dx.ravel(), theirs["x"].grad.numpy().ravel(), rtol=1e-12, atol=1e-14)


# ---- in a network ------------------------------------------------------------------------------


@pytest.mark.skipif(not WINOGRAD, reason="this run takes the direct convolution")
@pytest.mark.parametrize(
    "layer",
    [ReLU(), ReLU(0.3), LeakyReLU(0.2), PReLU(), Sigmoid(), Tanh()],
    ids=lambda layer: type(layer).__name__,
)
def test_behind_convolutions_by_winograds_algorithm(layer):
    """It does a ReLU itself, any other activation follows it; with and without a pooling."""
    layers = [Conv2D(32, 8, 2), layer, Conv2D(32, 4, 2), MaxPool2D(2), layer, Flatten(), Dense(3)]
    x = np.random.default_rng(0).uniform(0, 1, (5, 37, 35, 1)).astype(np.float32)
    dlogits = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    found = []
    for backend, dtype in (("numba", np.float32), ("numpy", np.float64)):
        network = Network(layers, InputSpec(37, 35), backend=backend, dtype=dtype, seed=2)
        logits = network.forward(x.astype(dtype), training=True)
        assert logit_error(network.forward(x.astype(dtype)), logits) <= 1e-6
        network.backward(dlogits.astype(dtype))
        found.append((logits, {name: g.copy() for name, g in network.gradients.items()}))
    table = make_operations(network.plan, np.dtype(np.float32))
    assert [op.winograd for op in table.operations if op.kind == CONV2D] == [1, 1]
    (logits, gradients), (expected, expected_gradients) = found
    assert logit_error(logits, expected) <= 1e-5
    for name, gradient in gradients.items():
        assert gradient_error(gradient, expected_gradients[name]) <= 1e-4, name


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ReLU(0), "max_value is 0; expected a number above 0"),
        (lambda: ReLU(-1), "max_value is -1; expected a number of at least 0"),
        (lambda: ReLU(NAN), "max_value is nan"),
        (lambda: ReLU("6"), "max_value is '6'"),
        (lambda: LeakyReLU(-0.1), "negative_slope is -0.1; expected a number of at least 0, below"),
        (lambda: LeakyReLU(1), "negative_slope is 1; expected .* below 1"),
        (lambda: SpatialDropout2D(1.0), "rate is 1.0; expected .* below 1"),
    ],
)
def test_options_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_whole_channels_are_dropped_in_training_alone(backend):
    """With weights of 1, the logit of a channel is the sum of its pixels: doubled or 0."""
    layers = [SpatialDropout2D(0.5), Flatten(), Dense(2)]
    network = Network(layers, InputSpec(3, 4, 2), backend=backend, seed=1)
    network.parameters["dense1.w"][:] = np.tile(np.eye(2), (12, 1))
    x = np.ones((50, 3, 4, 2), np.float32)
    np.testing.assert_array_equal(network.forward(x), np.full((50, 2), 12))
    logits = network.forward(x, training=True)
    assert set(np.unique(logits)) == {0, 24}
    assert 30 < (logits == 24).sum() < 70  # of 100; the two channels of an image are independent
    assert (logits[:, 0] != logits[:, 1]).any()
