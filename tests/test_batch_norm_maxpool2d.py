"""Max-pooling done before the BatchNorm in front of it: slow loops, the reference and the kernels,
numeric gradients, and networks on both backends."""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st
from windows import drawn_windows, make_window

from tinycnn import CrossEntropy, InputSpec, Network, reference
from tinycnn.kernels import batch_norm, operations
from tinycnn.kernels import batch_norm_maxpool2d as kernels
from tinycnn.kernels.table import make_operations
from tinycnn.layers import BatchNorm, Conv2D, Dense, Flatten, LeakyReLU, MaxPool2D, ReLU, Tanh
from tinycnn.plan import build_plan
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("passes", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EPSILON = 1e-5


@st.composite
def cases(draw):
    N, H, W = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    C = draw(st.sampled_from([1, 2, 3, 5, 7, 17, 31]))
    window = draw(drawn_windows(H, W, largest_size=5, largest_stride=4))
    return (N, H, W, C), window, draw(st.integers(0, 2**32))


def tensors(shape, window, seed):
    """x, gamma (of all signs), dy."""
    rng, (_, OH, OW) = np.random.default_rng(seed), window
    N, _, _, C = shape
    gamma = rng.choice([-1.0, 0.0, 1.0], C, p=[0.4, 0.2, 0.4]) * rng.uniform(0.5, 2, C)
    return rng.normal(1, 2, shape), gamma, rng.normal(size=(N, OH, OW, C))


def forward(passes, dtype, x, gamma, window):
    memory, ((N, _, _, C), (taps, OH, OW)) = Guarded(dtype), (x.shape, window)
    y, scratch = memory.wanted(N, OH, OW, C), memory.wanted(3, C)
    argmax = memory.wanted(N, OH, OW, C, dtype=np.int32)
    passes.batch_norm_maxpool2d_forward(
        memory.given(x), memory.given(gamma), taps, scratch, y, argmax
    )
    memory.check()
    return y, argmax


def run(passes, dtype, x, gamma, beta, dy, window):
    """BatchNorm and pooling, forward and backward; returns y and all gradients."""
    C, n = gamma.size, x[..., 0].size
    winners, argmax = forward(passes, dtype, x, gamma, window)
    memory, moments = Guarded(dtype), naive.moments(x.reshape(n, C))
    y, scratch = np.empty_like(winners), memory.wanted(5, C)
    dgamma, dbeta = np.empty(C, dtype), np.empty(C, dtype)
    pooled, y_2d, dy_2d = (t.astype(dtype).reshape(-1, C) for t in (winners, y, dy))
    norm = batch_norm if passes is kernels else reference
    gamma, beta = gamma.astype(dtype), beta.astype(dtype)
    norm.batch_norm_forward(pooled, moments, gamma, beta, EPSILON, 0, scratch, y_2d)
    norm.batch_norm_backward_params(
        pooled, dy_2d, moments, gamma, beta, EPSILON, 0, 0, scratch, dgamma, dbeta
    )
    dx = memory.wanted(*x.shape)
    passes.batch_norm_maxpool2d_backward_input(
        *(memory.given(x), memory.given(dy), memory.given(argmax, np.int32), window[0]),
        *(memory.given(moments, np.float64), memory.given(gamma), EPSILON),
        *(memory.given(dgamma), memory.given(dbeta), n, scratch, dx),
    )
    memory.check()
    return dict(y=y_2d.reshape(y.shape), dx=dx, dgamma=dgamma, dbeta=dbeta)


@DTYPES
@BOTH
@given(case=cases())
def test_winners_are_those_of_the_values_with_gammas_sign(passes, dtype, case):
    shape, window, seed = case
    x, gamma, _ = tensors(shape, window, seed)
    x = np.round(x).astype(dtype)  # many equal values
    y, argmax = forward(passes, dtype, x, gamma, window)
    signed, expected = naive.maxpool2d_forward(np.sign(gamma) * x, *window)
    np.testing.assert_array_equal(argmax, expected)
    np.testing.assert_array_equal(np.sign(gamma) * y, signed)
    at = argmax.reshape(shape[0], -1, shape[3]), y.reshape(shape[0], -1, shape[3])
    np.testing.assert_array_equal(np.take_along_axis(x.reshape(*at[0].shape[:1], -1, shape[3]),
                                                     at[0], axis=1), at[1])  # fmt: skip


@DTYPES
@BOTH
@given(case=cases())
def test_equals_a_pooling_behind_the_batch_norm(passes, dtype, case):
    shape, window, seed = case
    x, gamma, dy = tensors(shape, window, seed)
    x, dy, C = x.astype(dtype), dy.astype(dtype), shape[3]
    beta = np.linspace(-1, 1, C)
    found = run(passes, dtype, x, gamma, beta, dy, window)
    normed = naive.batch_norm_forward(x.reshape(-1, C), gamma, beta, EPSILON).reshape(shape)
    y, argmax = naive.maxpool2d_forward(normed, *window)
    d_normed = np.zeros(shape)
    reference.maxpool2d_backward(dy.astype(float), argmax, d_normed)
    dx, dgamma, dbeta = naive.batch_norm_backward(
        x.reshape(-1, C), d_normed.reshape(-1, C), gamma, EPSILON
    )
    expected = dict(y=y, dx=dx.reshape(shape), dgamma=dgamma, dbeta=dbeta)
    # with few values the deviation may be small, and what is divided by it large
    spread = np.sqrt(naive.moments(x.reshape(-1, C))[1] + EPSILON).min()
    for name, values in expected.items():
        largest = max(np.abs(values).max(initial=0), 1) / min(spread, 1) ** 2
        allowance = 2000 * np.finfo(dtype).eps * largest
        np.testing.assert_allclose(found[name], values, rtol=0, atol=allowance, err_msg=name)


@pytest.mark.parametrize(
    "shape, size, stride", [((2, 5, 4, 3), 2, 2), ((1, 7, 5, 2), 3, 2), ((2, 3, 3, 17), 2, 1)]
)
def test_kernel_gradients_equal_numeric_gradients(shape, size, stride):
    """The loss depends on x through the moments and through the winners."""
    window = make_window(*shape[1:3], size, stride)
    x, gamma, dy = tensors(shape, window, 5)
    gamma[gamma == 0] = 0.7  # there a winner changes with the sign
    beta = np.linspace(-1, 1, shape[3])
    found = run(kernels, np.float64, x, gamma, beta, dy, window)

    def loss():
        return float(np.sum(run(kernels, np.float64, x, gamma, beta, dy, window)["y"] * dy))

    expected = dict(x=found["dx"], gamma=found["dgamma"], beta=found["dbeta"])
    check_gradients(loss, dict(x=x, gamma=gamma, beta=beta), expected)


# ---- in networks -------------------------------------------------------------------------------

LAYERS = [
    *(Conv2D(5, 3, use_bias=False), BatchNorm(), ReLU(), MaxPool2D(2)),
    *(Conv2D(19, 2), BatchNorm(), MaxPool2D(3, 2), LeakyReLU(0.1)),
    *(BatchNorm(), MaxPool2D(2, 1), Conv2D(3, 2), ReLU(6), BatchNorm(), Tanh(), MaxPool2D(2)),
    *(Flatten(), Dense(3)),
]


def test_which_poolings_are_done_before_their_batch_norm():
    table = make_operations(build_plan(LAYERS, (13, 11, 2)), np.dtype(np.float32))
    found = [
        (int(op.pool), int(op.activation))
        for op in table.operations
        if op.kind in (operations.BATCH_MOMENTS, operations.BATCH_NORM)
    ]
    relu, leaky, tanh = operations.RELU, operations.LEAKY_RELU, operations.TANH
    assert found == [(1, 0), (0, relu), (1, 0), (0, leaky), (1, 0), (0, 0), (0, 0), (0, tanh)]


@DTYPES
def test_networks_equal_the_reference(dtype):
    rng, results = np.random.default_rng(2), {}
    x, labels = rng.normal(size=(21, 13, 11, 2)).astype(dtype), rng.integers(0, 3, 21)
    for backend in ("numba", "numpy"):
        network = Network(LAYERS, InputSpec(13, 11, 2), backend=backend, dtype=dtype, seed=1)
        for name, values in network.parameters.items():
            if name.endswith("gamma"):
                values[::2] *= -1
                values[3:4] = 0
        loss, logits = network.loss_and_gradients(x, CrossEntropy(), labels)
        found = {name: values.copy() for name, values in network.gradients.items()}
        found |= {name: values.copy() for name, values in network.statistics.items()}
        results[backend] = found | dict(loss=loss, logits=logits)
    allowance = 2e-4 if dtype == np.float32 else 1e-11
    for name, values in results["numpy"].items():
        largest = np.abs(values).max()
        difference = np.abs(results["numba"][name] - values).max()
        assert difference <= allowance * max(largest, 1e-2), name  # conv2.b has no gradient
