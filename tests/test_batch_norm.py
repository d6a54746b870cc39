"""batch_norm: slow loops, the reference and the kernels; numeric gradients; values of others.

Allowances: `ALLOWANCE` eps of the largest value.  Longest sums have a hundred terms, and what is
divided by the deviation may be a difference of values that are ten times larger.
"""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import batch_norm as kernels
from tinycnn.testing import check_gradients

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
ALLOWANCE = 2000
shapes = st.tuples(
    st.sampled_from([2, 3, 5, 13, 31]), st.sampled_from([1, 2, 3, 7, 8, 11, 16, 17, 31])
)


def tensors(shape, seed):
    """x, gamma, beta, dy."""
    rng, C = np.random.default_rng(seed), shape[1]
    x = rng.normal(rng.uniform(-3, 3, C), rng.uniform(0.5, 2, C), shape)
    return x, rng.uniform(-2, 2, C), rng.standard_normal(C), rng.standard_normal(shape)


def run(
    operations, dtype, x, gamma, beta, dy, epsilon=1e-5, chunk_size=None, block_size=None, relu=0
):
    """All passes; x is cut into chunks of chunk_size rows, one row for each image, and these into
    blocks."""
    memory, (P, C) = Guarded(dtype), np.shape(x)
    x, gamma, beta, dy = (memory.given(t) for t in (x, gamma, beta, dy))
    size = chunk_size or P
    n_chunks = -(-P // size)
    chunk_moments = memory.wanted(n_chunks, 2, C, dtype=np.float64)
    scratch = memory.wanted(5, C)
    for k in range(n_chunks):
        chunk = x[k * size : (k + 1) * size]
        for first in range(0, len(chunk), block_size or size):  # in parts
            part = chunk[first : first + (block_size or size)]
            operations.batch_norm_moments(part, first, scratch, chunk_moments[k])
    moments = memory.wanted(2, C, dtype=np.float64)
    operations.batch_norm_combine(chunk_moments, P, size, moments)
    moments = memory.given(moments, np.float64)
    y, dx = memory.wanted(P, C), memory.wanted(P, C)
    dgamma, dbeta = memory.wanted(C), memory.wanted(C)
    operations.batch_norm_forward(x, moments, gamma, beta, epsilon, relu, scratch, y)
    normed = (moments, gamma, beta, epsilon, relu)
    operations.batch_norm_backward_params(x, dy, *normed, 0, scratch, dgamma, dbeta)
    operations.batch_norm_backward_input(
        x, dy, *normed, memory.given(dgamma), memory.given(dbeta), P, scratch, dx
    )
    memory.check()
    return dict(moments=moments, y=y, dx=dx, dgamma=dgamma, dbeta=dbeta)


def assert_close(found, expected, dtype):
    for name, values in expected.items():
        allowance = ALLOWANCE * np.finfo(dtype).eps * max(np.abs(values).max(initial=0), 1)
        np.testing.assert_allclose(found[name], values, rtol=0, atol=allowance, err_msg=name)


# ---- definition, reference, kernels ------------------------------------------------------------


@DTYPES
@BOTH
@given(shape=shapes, size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_equals_the_definition_however_the_batch_is_cut(operations, dtype, shape, size, seed):
    x, gamma, beta, dy = (t.astype(dtype) for t in tensors(shape, seed))
    found = run(operations, dtype, x, gamma, beta, dy, chunk_size=min(size, shape[0]))
    dx, dgamma, dbeta = naive.batch_norm_backward(x, dy, gamma.astype(float), 1e-5)
    expected = dict(y=naive.batch_norm_forward(x, gamma.astype(float), beta.astype(float), 1e-5))
    # with two values, one of which is 0 apart, the deviation may be as small as rounding allows
    scale = np.maximum(1, 1 / np.sqrt(naive.moments(x)[1] + 1e-5)).max()
    found = {name: values / scale**2 for name, values in found.items() if name != "moments"}
    expected |= dict(dx=dx, dgamma=dgamma, dbeta=dbeta)
    assert_close(found, {name: values / scale**2 for name, values in expected.items()}, dtype)


@BOTH
@given(shape=shapes, size=st.integers(1, 40), block=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_moments_are_those_of_the_batch(operations, shape, size, block, seed):
    x = tensors(shape, seed)[0]
    sizes = dict(chunk_size=min(size, shape[0]), block_size=block)
    found = run(operations, np.float64, *tensors(shape, seed), **sizes)
    np.testing.assert_allclose(found["moments"], naive.moments(x), rtol=1e-13, atol=1e-14)


@BOTH
@pytest.mark.parametrize("C", [3, 16, 35])
@pytest.mark.parametrize("mean, first_rows", [(0, 0), (1000, 0), (0, 1000), (-30, 200)])
def test_moments_of_many_values_in_float32(operations, C, mean, first_rows):
    """Several groups of rows.  The first 300 rows may be 0 as in a black border, far from the
    mean."""
    rng = np.random.default_rng(C)
    x = rng.normal(mean, rng.uniform(0.1, 3, C), (4099, C))
    x[:300] += first_rows
    x = x.astype(np.float32)
    moments, scratch = np.full((2, C), np.nan), np.zeros((5, C), np.float32)
    for first, part in ((0, x[:1000]), (1000, x[1000:2777]), (2777, x[2777:])):
        operations.batch_norm_moments(part, first, scratch, moments)
    expected = naive.moments(x)
    deviation = np.sqrt(expected[1])
    np.testing.assert_array_less(np.abs(moments[0] - expected[0]), 2e-7 * deviation)
    np.testing.assert_allclose(moments[1], expected[1], rtol=5e-7)


@DTYPES
@BOTH
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_relu_is_a_part_of_the_passes(operations, dtype, shape, seed):
    """As the ReLU's own passes, behind those without it."""
    x, gamma, beta, dy = (t.astype(dtype) for t in tensors(shape, seed))
    y = run(operations, dtype, x, gamma, beta, dy)["y"]
    expected = run(operations, dtype, x, gamma, beta, np.where(y > 0, dy, 0))
    found = run(operations, dtype, x, gamma, beta, dy, relu=1)
    np.testing.assert_array_equal(found.pop("y"), np.maximum(expected.pop("y"), 0))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@BOTH
def test_a_mean_far_from_zero_costs_no_digits_of_the_variance(operations):
    """A sum of squares minus the square of the sum would give noise here, even in float64."""
    values = np.array([[4.0], [7.0], [13.0], [16.0]])
    found = run(operations, np.float64, 1e9 + values, [1], [0], 0 * values, chunk_size=2)
    assert found["moments"][0] == 1e9 + 10 and found["moments"][1] == 22.5


@BOTH
def test_without_images_the_moments_are_0(operations):
    moments = np.full((2, 3), np.nan)
    operations.batch_norm_combine(np.zeros((0, 2, 3)), 0, 1, moments)
    assert not moments.any()


@BOTH
def test_one_value_becomes_beta(operations):
    """PyTorch refuses a batch with one value of a channel.  Here, its deviation is 0 and its
    gradient 0."""
    found = run(operations, np.float64, [[5.0, -2.0]], [2.0, 3.0], [0.5, 1.0], [[1.0, 7.0]])
    np.testing.assert_array_equal(found["y"], [[0.5, 1.0]])
    np.testing.assert_allclose(found["dx"], [[0, 0]], atol=1e-12)
    np.testing.assert_array_equal(found["dgamma"], [0, 0])
    np.testing.assert_array_equal(found["dbeta"], [1, 7])


# ---- running statistics ------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "n, unbiased, mean, var",
    [
        # 0.75 * 2 + 0.25 * 6;  0.75 * 4 + 0.25 * 10 * 5/4
        (5, True, 3.0, 6.125),
        (5, False, 3.0, 5.5),
        (1, True, 3.0, 4.0),  # n - 1 is 0: no variance to learn from
        (1, False, 3.0, 5.5),
        (0, True, 2.0, 4.0),
        (0, False, 2.0, 4.0),
    ],
)
def test_running_statistics_by_hand(operations, n, unbiased, mean, var):
    running_mean, running_var = np.full(3, 2.0), np.full(3, 4.0)
    moments = np.array([[6.0] * 3, [10.0] * 3])
    operations.batch_norm_update_running(moments, n, 0.75, int(unbiased), running_mean, running_var)
    np.testing.assert_array_equal(running_mean, mean)
    np.testing.assert_array_equal(running_var, var)


# ---- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 1), (5, 3), (11, 17)])
def test_kernel_gradients_equal_numeric_gradients(shape):
    """Through the moments, in chunks: the loss depends on x in all ways that it does in a step."""
    x, gamma, beta, dy = tensors(shape, 4)
    found = run(kernels, np.float64, x, gamma, beta, dy, chunk_size=2)

    def loss():
        return float(np.sum(run(kernels, np.float64, x, gamma, beta, dy, chunk_size=2)["y"] * dy))

    given = dict(x=x, gamma=gamma, beta=beta)
    check_gradients(loss, given, dict(x=found["dx"], gamma=found["dgamma"], beta=found["dbeta"]))


# ---- values that others published --------------------------------------------------------------


@BOTH
def test_the_values_of_cs231n(operations):
    """BatchNormalization.ipynb of Stanford's cs231n, assignment 2: seed 231, printed digits."""
    rng = np.random.RandomState(231)
    x, w1, w2 = (rng.randn(*shape) for shape in ((200, 50), (50, 60), (60, 3)))
    a = np.maximum(0, x @ w1) @ w2
    for gamma, beta in (([1, 1, 1], [0, 0, 0]), ([1, 2, 3], [11, 12, 13])):
        found = run(operations, np.float64, a, gamma, beta, a, chunk_size=25)
        mean, var = found["moments"]
        np.testing.assert_allclose(mean, [-2.3814598, -13.18038246, 1.91780462], atol=5e-9)
        deviations = [27.18502186, 34.21455511, 37.68611762]
        np.testing.assert_allclose(np.sqrt(var), deviations, atol=5e-9)
        np.testing.assert_allclose(found["y"].mean(axis=0), beta, atol=1e-13)
        expected = np.array([0.99999999, 1.0, 1.0]) * gamma
        np.testing.assert_allclose(found["y"].std(axis=0), expected, atol=2e-8)


@BOTH
def test_the_values_of_cs231n_for_pictures(operations):
    rng = np.random.RandomState(231)
    x = (4 * rng.randn(2, 3, 4, 5) + 10).transpose(0, 2, 3, 1).reshape(40, 3)
    found = run(operations, np.float64, x, [3, 4, 5], [6, 7, 8], x, chunk_size=20)
    mean, var = found["moments"]
    np.testing.assert_allclose(mean, [9.33463814, 8.90909116, 9.11056338], atol=5e-9)
    np.testing.assert_allclose(np.sqrt(var), [3.61447857, 3.19347686, 3.5168142], atol=5e-9)
    expected = [2.99999885, 3.99999804, 4.99999798]
    np.testing.assert_allclose(found["y"].std(axis=0), expected, atol=5e-9)


@BOTH
def test_forward_values_of_syncognite(operations):
    """github.com/domschl/syncognite, the tests of its BatchNorm layer: momentum 0.9 from 0.  Where
    we keep a running variance, it keeps a running deviation."""
    x = [
        *([-1.76682167, 0.76232051, -1.31336665], [-1.5949946, 0.96014, 0.71301837]),
        *([1.64497495, 2.10628039, -0.79136981], [-0.06795316, -0.47106827, 1.18868314]),
        *([0.92155587, -0.08303236, 0.52682692], [-3.12821021, 2.16827829, -0.93670303]),
        *([-0.6552201, 0.35542666, 0.52397302], [-3.60689284, 2.35628056, 1.01625476]),
        *([0.38807454, -0.35816073, 0.69088183], [1.06266819, 1.04606173, -0.53434315]),
    ]
    y = [
        *([10.3630844, 11.75554375, 8.03512946], [10.46380722, 12.15214304, 15.11142543]),
        *([12.36303558, 14.44998773, 9.8579835], [11.35893921, 9.28277872, 16.77248423]),
        *([11.93897664, 10.06073426, 14.46123025], [9.565056, 14.5742845, 9.35046847]),
        *([11.01469091, 10.93978079, 14.45126418], [9.28445841, 14.95120171, 16.17035077]),
        *([11.62625677, 9.5091419, 15.03412288], [12.02169486, 12.3244036, 10.75554084]),
    ]
    found = run(operations, np.float64, x, [1, 2, 3], [11, 12, 13], x, chunk_size=3)
    np.testing.assert_allclose(found["y"], y, atol=1e-7)
    running_mean, running_var = np.zeros(3), np.zeros(3)
    operations.batch_norm_update_running(found["moments"], 10, 0.9, 0, running_mean, running_var)
    np.testing.assert_allclose(running_mean, [-0.06802819, 0.08842527, 0.01083855], atol=1e-8)
    deviation = np.sqrt(running_var / 0.1 + 1e-5)
    np.testing.assert_allclose(0.1 * deviation, [0.170594, 0.09975786, 0.08590872], atol=1e-8)


@BOTH
def test_backward_values_of_syncognite(operations):
    x = [
        [15.70035538, 10.9836183, 12.60007796, 8.40461897, 6.73940903],
        [18.85269464, 17.58441018, 14.44920968, 7.33474882, 11.35816205],
        [17.20864889, 5.43166315, 14.90657023, 13.22667748, 15.03122597],
        [4.33556564, 2.44751717, 12.06870335, 5.74243521, 12.16941296],
    ]
    dy = [
        [-2.01650781, 0.01176043, 0.39260716, 0.17978038, 0.49731936],
        [-1.63610541, -1.15773852, -0.19987901, 1.88290138, -1.14657413],
        [-0.26565248, 0.26942709, 0.09496168, -0.00460701, 1.22847938],
        [-0.54081537, -0.35927023, -0.23993959, 1.0851781, 0.51968779],
    ]
    gamma = [0.31896744, 1.67004399, 1.57384876, -0.79775794, 0.15197293]
    beta = [1.6099422, 1.55804396, 0.88364562, 1.21053159, 0.50543461]
    dx = [
        [-0.04546749, 0.126882, 0.4864624, 0.18757926, 0.02899233],
        [-0.01486729, -0.09133611, -0.26401447, -0.24233534, -0.0726569],
        [0.05690624, 0.10035256, 0.13037742, -0.01516446, 0.03441372],
        [0.00342854, -0.13589844, -0.35282534, 0.06992054, 0.00925085],
    ]
    dgamma = [-1.20718803, -1.45268518, -0.05539113, -2.07077292, 0.89780683]
    dbeta = [-4.45908107, -1.23582122, 0.04775023, 3.14325285, 1.0989124]
    found = run(operations, np.float64, x, gamma, beta, dy, chunk_size=3)
    for name, values in dict(dx=dx, dgamma=dgamma, dbeta=dbeta).items():
        np.testing.assert_allclose(found[name], values, atol=2e-8, err_msg=name)


@BOTH
def test_the_values_of_nnlib(operations):
    """The test of BatchNorm in the C++ library nnlib, nnlib/nn/batchnorm.h: epsilon 1e-12."""
    x, dy = [[3, 6, 9], [-1, 5, 4], [12, 5, 11]], [[2, 3, 4], [-2, 0, 4], [10, 2, 4]]
    found = run(operations, np.float64, x, [1, 1, 1], [0, 0, 0], dy, epsilon=1e-12)
    dx = [[0.03596, 0, 0], [-0.02489, -2.12132, 0], [-0.01106, 2.12132, 0]]
    np.testing.assert_allclose(found["dx"], dx, atol=1e-5)
    np.testing.assert_allclose(found["dgamma"], [14.9606, 2.82843, 0], atol=5e-5)
    np.testing.assert_allclose(found["dbeta"], [10, 5, 12], rtol=1e-14)


@BOTH
def test_the_running_statistics_of_keras(operations):
    """test_bachnorm_ignore_masked_values in Keras's batch_normalization_test.py: with momentum 0,
    the running values are the batch's, and the variance is the biased one."""
    x = np.array([[1, 5], [2, 5]] * 10, float)
    moments = run(operations, np.float64, x, [1, 1], [0, 0], x, chunk_size=3)["moments"]
    running_mean, running_var = np.zeros(2), np.ones(2)
    operations.batch_norm_update_running(moments, 20, 0.0, 0, running_mean, running_var)
    np.testing.assert_allclose(running_mean, [1.5, 5.0], rtol=1e-15)
    np.testing.assert_allclose(running_var, [0.25, 0.0], atol=1e-15)
