"""Softmax, cross-entropy and distillation, by kernels and reference, against naive arithmetic.

`EPS_STEPS` counts roundings.  A value is computed in float64 from logits of size |z|/t by K
exponentials, K additions, a logarithm, a division by the temperature and a few products.  If an
exponent of size E is off by eps*E, exp is off by the same share, so the allowance is
EPS_STEPS * eps * (1 + |z|/t).
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import cross_entropy as kernels

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
PRIMES = (2, 3, 5, 7, 11, 13, 17)


def allowance(n_classes, size=0.0, dtype=np.float64):
    """The allowance above, plus one rounding of the result to `dtype`."""
    eps_steps = 4 * n_classes + 16
    return eps_steps * np.finfo(np.float64).eps * (1 + size) + np.finfo(dtype).eps


def run(function, logits, *arguments):
    """(loss, dlogits) of a loss kernel, its outputs filled with NaN beforehand."""
    loss = np.full(len(logits), np.nan)
    dlogits = np.full_like(logits, np.nan)
    function(logits, *arguments, loss, dlogits)
    return loss, dlogits


def naive_log_probs(row, temperature=1.0):
    """log softmax by the definition, with math.fsum and a shift by the row's mean."""
    scaled = [float(z) / temperature for z in row]
    shift = math.fsum(scaled) / len(scaled)
    log_sum = math.log(math.fsum(math.exp(z - shift) for z in scaled)) + shift
    return [z - log_sum for z in scaled]


def naive_cross_entropy(row, target, temperature=1.0):
    log_probs = naive_log_probs(row, temperature)
    return -math.fsum(float(y) * p for y, p in zip(target, log_probs))


def naive_distillation(row, target, teacher, temperature, weight, scale):
    soft_target = [math.exp(p) for p in naive_log_probs(teacher, temperature)]
    soft = naive_cross_entropy(row, soft_target, temperature)
    return (1 - weight) * naive_cross_entropy(row, target) + weight * scale * soft


def central_difference(mean_loss, logits, step=1e-5):
    numeric = np.empty_like(logits)
    for index in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        numeric[index] = (mean_loss(up) - mean_loss(down)) / (2 * step)
    return numeric


def gradient_error(analytic, numeric):
    return np.linalg.norm(analytic - numeric) / max(
        np.linalg.norm(analytic), np.linalg.norm(numeric)
    )


def random_batch(seed, n, k, size=2.0):
    rng = np.random.default_rng(seed)
    logits, teacher = size * rng.standard_normal((2, n, k))
    return logits, rng.dirichlet(np.ones(k), n), rng.integers(0, k, n), teacher


# ---- values in closed form ---------------------------------------------------------------------


@BOTH
@DTYPES
def test_two_classes_are_the_logistic_function(operations, dtype):
    differences = [-30.0, -2.5, -0.125, 0.0, 0.5, 3.0, 20.0]
    logits = np.array([[5 + d, 5] for d in differences], dtype)
    probs, log_probs = np.empty_like(logits), np.empty_like(logits)
    operations.softmax_forward(logits, 1.0, probs)
    operations.log_softmax_forward(logits, 1.0, log_probs)
    tolerance = 1e-11 if dtype == np.float64 else float(np.finfo(dtype).eps)
    for row, d in enumerate(differences):
        assert probs[row, 0] == pytest.approx(1 / (1 + math.exp(-d)), rel=tolerance)
        assert log_probs[row, 0] == pytest.approx(-math.log1p(math.exp(-d)), rel=tolerance)
        assert log_probs[row, 1] == pytest.approx(-math.log1p(math.exp(d)), rel=tolerance)


@BOTH
@pytest.mark.parametrize("k", PRIMES)
def test_uniform_logits(operations, k):
    logits = np.full((3, k), 7.25)
    labels = np.array([0, k // 2, k - 1])
    loss, dlogits = run(operations.cross_entropy_hard, logits, labels)
    np.testing.assert_allclose(loss, math.log(k), rtol=1e-11)
    for row, label in enumerate(labels):
        expected = [(1 / k - (class_ == label)) / 3 for class_ in range(k)]
        np.testing.assert_allclose(dlogits[row], expected, atol=1e-11)


@BOTH
def test_cross_entropy_of_logarithms(operations):
    """Logits log(1), log(2), log(5): probabilities 1/8, 2/8, 5/8 exactly."""
    logits = np.log([[1.0, 2.0, 5.0]])
    targets = np.array([[0.5, 0.25, 0.25]])
    loss, dlogits = run(operations.cross_entropy_soft, logits, targets)
    expected = 0.5 * math.log(8) + 0.25 * math.log(4) + 0.25 * math.log(8 / 5)
    assert loss[0] == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(dlogits[0], [-3 / 8, 0, 3 / 8], atol=1e-11)


@BOTH
def test_distillation_of_logarithms(operations):
    """Every probability a small fraction: student at t=1 (1, 4, 4)/9, at t=2 (1, 2, 2)/5;
    teacher at t=2 (3, 1, 1)/5."""
    logits = np.log([[1.0, 4.0, 4.0]])
    teacher = np.log([[9.0, 1.0, 1.0]])
    targets = np.array([[0.0, 1.0, 0.0]])
    w, t = Fraction(1, 4), 2
    arguments = (targets, teacher, float(t), float(w), 1.0)
    loss, dlogits = run(operations.distillation, logits, *arguments)
    soft = 0.6 * math.log(5) + 0.4 * math.log(5 / 2)
    assert loss[0] == pytest.approx(0.75 * math.log(9 / 4) + 0.25 * soft, rel=1e-11)
    hard_slopes = [Fraction(1, 9), Fraction(4, 9) - 1, Fraction(4, 9)]
    soft_slopes = [Fraction(1 - 3, 5), Fraction(2 - 1, 5), Fraction(2 - 1, 5)]
    expected = [(1 - w) * a + w * b / t for a, b in zip(hard_slopes, soft_slopes)]
    np.testing.assert_allclose(dlogits[0], [float(e) for e in expected], atol=1e-11)


@BOTH
@DTYPES
def test_logits_of_ten_thousand(operations, dtype):
    logits = np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4], [1e4, 1e4, -1e4]], dtype)
    labels = np.array([1, 2, 0])
    loss, dlogits = run(operations.cross_entropy_hard, logits, labels)
    np.testing.assert_allclose(loss, [2e4, 0, math.log(2)], rtol=1e-6, atol=1e-10)
    expected = np.array([[1, -1, 0], [0, 0, 0], [-0.5, 0.5, 0]]) / 3
    np.testing.assert_allclose(dlogits, expected, rtol=1e-6, atol=1e-10)
    soft = run(operations.cross_entropy_soft, logits, np.eye(3, dtype=dtype)[labels])
    np.testing.assert_allclose(soft[0], loss, rtol=1e-6, atol=1e-10)
    distilled = run(operations.distillation, logits, np.eye(3)[labels], -logits, 0.5, 1.0, 1.0)
    np.testing.assert_allclose(distilled[0], [4e4, 4e4, 4e4 + math.log(2)], rtol=1e-6)
    assert np.isfinite(distilled[1]).all()


@BOTH
def test_a_tiny_loss_keeps_its_digits(operations):
    """The right logit leads by 40: the loss log(1 + 2 exp(-40)) = 8.5e-18 is far below eps."""
    logits = np.array([[0.0, 40.0, 0.0]])
    loss, _ = run(operations.cross_entropy_hard, logits, np.array([1]))
    assert loss[0] == pytest.approx(2 * math.exp(-40), rel=1e-11, abs=0)


def test_against_mpmath():
    mpmath = pytest.importorskip("mpmath", reason="extra digits come with mpmath")
    mpmath.mp.dps = 40
    logits, _, labels, _ = random_batch(3, 5, 7, size=300.0)
    loss, _ = run(kernels.cross_entropy_hard, logits, labels)
    for row, label, value in zip(logits, labels, loss):
        total = mpmath.fsum(mpmath.exp(mpmath.mpf(float(z))) for z in row)
        expected = mpmath.log(total) - mpmath.mpf(float(row[label]))
        assert abs(value - expected) <= allowance(7) * max(abs(expected), mpmath.mpf(10) ** -300)


# ---- limits of the temperature -----------------------------------------------------------------


@BOTH
def test_softmax_at_high_and_low_temperatures(operations):
    logits = np.array([[3.0, -1.0, 2.0, 0.5, -4.5]])
    probs = np.empty_like(logits)
    operations.softmax_forward(logits, 1e9, probs)
    np.testing.assert_allclose(probs, 0.2 + logits / 5e9, atol=1e-15)
    operations.softmax_forward(logits, 1e-3, probs)
    np.testing.assert_allclose(probs, [[1, 0, 0, 0, 0]], atol=1e-300)


@BOTH
def test_hot_distillation_matches_logits(operations):
    """For t -> inf, t*t times the soft gradient is (z - v) / (K*N): Hinton et al., section 2.1."""
    logits, targets, _, teacher = random_batch(5, 3, 7)
    logits -= logits.mean(axis=1, keepdims=True)
    teacher -= teacher.mean(axis=1, keepdims=True)
    t = 1e5
    _, dlogits = run(operations.distillation, logits, targets, teacher, t, 1.0, t * t)
    np.testing.assert_allclose(dlogits, (logits - teacher) / (7 * 3), atol=20 / t)


# ---- gradients ---------------------------------------------------------------------------------

LOSSES = pytest.mark.parametrize("loss_name", ["hard", "soft", "paper", "hinton", "soft term only"])


def losses_of(operations, loss_name, seed, n, k):
    """A function logits -> (loss, dlogits), and logits to call it with."""
    logits, targets, labels, teacher = random_batch(seed, n, k)
    if loss_name == "hard":
        return lambda z: run(operations.cross_entropy_hard, z, labels), logits
    if loss_name == "soft":
        return lambda z: run(operations.cross_entropy_soft, z, targets), logits
    weight, scale = {"paper": (0.5, 1.0), "hinton": (0.3, 9.0), "soft term only": (1.0, 1.0)}[
        loss_name
    ]
    arguments = (targets, teacher, 3.0, weight, scale)
    return lambda z: run(operations.distillation, z, *arguments), logits


@BOTH
@LOSSES
@pytest.mark.parametrize("n, k", [(1, 2), (5, 8), (7, 17)])
def test_gradient(operations, loss_name, n, k):
    loss_of, logits = losses_of(operations, loss_name, 11, n, k)
    numeric = central_difference(lambda z: loss_of(z)[0].mean(), logits)
    assert gradient_error(loss_of(logits)[1], numeric) <= 1e-7


def test_the_gradient_check_sees_a_small_error():
    loss_of, logits = losses_of(kernels, "paper", 11, 5, 8)
    numeric = central_difference(lambda z: loss_of(z)[0].mean(), logits)
    assert gradient_error(1.0005 * loss_of(logits)[1], numeric) > 1e-4


@BOTH
@LOSSES
def test_gradient_rows_sum_to_zero_and_a_common_shift_changes_nothing(operations, loss_name):
    loss_of, logits = losses_of(operations, loss_name, 13, 7, 11)
    loss, dlogits = loss_of(logits)
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=allowance(11))
    shift = np.array([0.0, 1.0, -1.0, 64.0, -64.0, 1024.0, 5.5])[:, None]
    size = 1024 + abs(logits).max()
    shifted_loss, shifted_dlogits = loss_of(logits + shift)
    np.testing.assert_allclose(shifted_loss, loss, atol=size * allowance(11))
    np.testing.assert_allclose(shifted_dlogits, dlogits, atol=size * allowance(11))


@BOTH
def test_gradient_is_zero_at_the_optimum(operations):
    """The loss is smallest at softmax(z) = y, and its value there is the entropy of y."""
    targets = np.array([[0.1, 0.2, 0.3, 0.4], [0.97, 0.01, 0.01, 0.01]])
    loss, dlogits = run(operations.cross_entropy_soft, np.log(targets) + 3.0, targets)
    np.testing.assert_allclose(dlogits, 0, atol=allowance(4, size=8))
    entropy = [-math.fsum(y * math.log(y) for y in row) for row in targets]
    np.testing.assert_allclose(loss, entropy, rtol=1e-11)
    logits = np.array([[1.5, -2.0, 0.25, 3.0]])
    same = np.empty_like(logits)
    operations.softmax_forward(logits, 1.0, same)
    for scale in (1.0, 25.0):
        _, dlogits = run(operations.distillation, logits, same, logits - 9.0, 5.0, 0.5, scale)
        np.testing.assert_allclose(dlogits, 0, atol=25 * allowance(4, size=12))


@BOTH
@pytest.mark.parametrize("total", [0.0, 0.5, 0.999, 1.001, 3.0])
def test_rows_that_do_not_sum_to_one(operations, total):
    """d = (s*p - y) / N is the gradient of -sum y log p for any s = sum y."""
    logits, targets, _, _ = random_batch(17, 3, 5)
    targets *= total
    loss, dlogits = run(operations.cross_entropy_soft, logits, targets)
    for row in range(3):
        expected = naive_cross_entropy(logits[row], targets[row])
        assert loss[row] == pytest.approx(expected, rel=1e-11, abs=1e-300)
    numeric = central_difference(
        lambda z: np.mean([naive_cross_entropy(a, b) for a, b in zip(z, targets)]), logits
    )
    np.testing.assert_allclose(dlogits, numeric, atol=1e-9)
    assert abs(dlogits.sum(axis=1)).max() <= 3 * allowance(5)


@BOTH
@pytest.mark.parametrize("total", [0.5, 1.0, 3.0])
def test_distillation_against_the_definition(operations, total):
    """Loss and gradient agree, equations (10) and (13), also if target rows do not sum to one."""
    logits, targets, _, teacher = random_batch(18, 3, 5)
    targets *= total
    options = (4.0, 0.3, 16.0)

    def naive_losses(z):
        return [naive_distillation(*row, *options) for row in zip(z, targets, teacher)]

    loss, dlogits = run(operations.distillation, logits, targets, teacher, *options)
    np.testing.assert_allclose(loss, naive_losses(logits), rtol=1e-11)
    numeric = central_difference(lambda z: np.mean(naive_losses(z)), logits)
    assert gradient_error(dlogits, numeric) <= 1e-7


# ---- how the two terms of distillation combine -------------------------------------------------


@DTYPES
def test_weights_multiply_losses_and_gradients(dtype):
    """In place, and for any number of rows.  These products are exact."""
    loss, dlogits = np.array([3.0, 4.0, 5.0]), np.array([[1, 2], [3, -4], [5, 6]], dtype)
    kernels.weigh_rows(np.array([0.5, 0.0, 2.0], dtype), loss, dlogits)
    assert loss.tolist() == [1.5, 0, 10]
    assert dlogits.tolist() == [[0.5, 1], [0, 0], [10, 12]] and dlogits.dtype == dtype
    kernels.weigh_rows(np.array([], dtype), loss, dlogits)
    assert loss.tolist() == [1.5, 0, 10] and dlogits.tolist() == [[0.5, 1], [0, 0], [10, 12]]


@BOTH
def test_hinton_multiplies_the_soft_term(operations):
    logits, targets, _, teacher = random_batch(19, 5, 8)
    t = 4.0
    hard = run(operations.distillation, logits, targets, teacher, t, 0.0, 1.0)
    soft = run(operations.distillation, logits, targets, teacher, t, 1.0, 1.0)
    hinton = run(operations.distillation, logits, targets, teacher, t, 0.25, t * t)
    cross_entropy = run(operations.cross_entropy_soft, logits, targets)
    for i, name in enumerate(("loss", "dlogits")):
        expected = 0.75 * hard[i] + 0.25 * 16 * soft[i]
        np.testing.assert_allclose(hinton[i], expected, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(hard[i], cross_entropy[i], atol=1e-12, err_msg=name)


@BOTH
def test_log_probabilities_of_the_teacher_give_the_same_result_as_its_logits(operations):
    logits, targets, _, teacher = random_batch(23, 5, 8)
    log_probs = np.array([naive_log_probs(row) for row in teacher])
    one = run(operations.distillation, logits, targets, teacher, 8.0, 0.5, 1.0)
    other = run(operations.distillation, logits, targets, log_probs, 8.0, 0.5, 1.0)
    np.testing.assert_allclose(one[0], other[0], atol=allowance(8, size=8))
    np.testing.assert_allclose(one[1], other[1], atol=allowance(8, size=8))


# ---- kernel against reference, over shapes and dtypes ------------------------------------------


@given(
    n=st.sampled_from([0, 1, 2, 3, 5, 7, 13]),
    k=st.integers(2, 17),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    temperature=st.sampled_from([0.5, 1.0, 4.0, 8.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_kernel_against_reference(n, k, seed, size, temperature, dtype):
    logits, targets, labels, teacher = random_batch(seed, n, k, size)
    logits, targets, teacher = (a.astype(dtype) for a in (logits, targets, teacher))
    largest = max(abs(logits).max(initial=0), abs(teacher).max(initial=0))
    for function, arguments in {
        "cross_entropy_hard": (labels,),
        "cross_entropy_soft": (targets,),
        "distillation": (targets, teacher, temperature, 0.5, temperature**2),
    }.items():
        loss, dlogits = run(getattr(kernels, function), logits, *arguments)
        expected_loss, expected = run(getattr(reference, function), logits, *arguments)
        slack = max(1.0, temperature**2) * allowance(k, max(1, 1 / temperature) * largest, dtype)
        np.testing.assert_allclose(dlogits, expected, atol=slack, rtol=0, err_msg=function)
        # In -sum q*log p an error of q is multiplied by log p, which can be as large as the logits.
        slack *= 1 + largest if function == "distillation" else 1
        rtol = np.finfo(dtype).eps
        np.testing.assert_allclose(loss, expected_loss, atol=slack, rtol=rtol, err_msg=function)
        assert dlogits.dtype == dtype and not np.isnan(dlogits).any() and not np.isnan(loss).any()
    for function in ("softmax_forward", "log_softmax_forward"):
        got, expected = np.full_like(logits, np.nan), np.full_like(logits, np.nan)
        getattr(kernels, function)(logits, temperature, got)
        getattr(reference, function)(logits, temperature, expected)
        slack = allowance(k, largest / temperature, dtype)
        rtol = np.finfo(dtype).eps
        np.testing.assert_allclose(got, expected, atol=slack, rtol=rtol, err_msg=function)


def test_float32_is_float64_rounded_once():
    logits, targets, labels, teacher = (a for a in random_batch(29, 64, 8))
    logits, targets, teacher = (a.astype(np.float32) for a in (logits, targets, teacher))
    for function, arguments in [
        (kernels.cross_entropy_hard, (labels,)),
        (kernels.cross_entropy_soft, (targets,)),
        (kernels.distillation, (targets, teacher, 8.0, 0.5, 1.0)),
    ]:
        loss32, dlogits32 = run(function, logits, *arguments)
        loss64, dlogits64 = run(function, logits.astype(np.float64), *arguments)
        np.testing.assert_array_equal(loss32, loss64)
        np.testing.assert_array_equal(dlogits32, dlogits64.astype(np.float32))


# ---- NaN and infinity --------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_nan_in_a_row_makes_only_its_loss_nan(operations, position, label):
    logits = np.array([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    logits[0, position] = np.nan
    labels = np.array([label, label])
    one_hot = np.eye(3)[labels]
    for loss, dlogits in (
        run(operations.cross_entropy_hard, logits, labels),
        run(operations.cross_entropy_soft, logits, one_hot),
        run(operations.distillation, logits, one_hot, np.ones((2, 3)), 2.0, 0.5, 1.0),
    ):
        assert np.isnan(loss[0]) and np.isnan(dlogits[0]).all()
        assert np.isfinite(loss[1]) and np.isfinite(dlogits[1]).all()


@BOTH
@pytest.mark.parametrize("label", [0, 1, 2])
def test_plus_infinity_never_gives_a_finite_loss(operations, label):
    logits = np.array([[1.0, np.inf, 2.0]])
    with np.errstate(invalid="ignore"):  # with the JIT off, inf - inf warns
        loss, dlogits = run(operations.cross_entropy_hard, logits, np.array([label]))
    assert not np.isfinite(loss[0]) and np.isnan(dlogits).any()


@BOTH
def test_minus_infinity_excludes_a_class(operations):
    logits = np.array([[0.0, -np.inf, 0.0], [0.0, -np.inf, 0.0]])
    targets = np.array([[0.5, 0.0, 0.5], [0.5, 0.25, 0.25]])
    loss, dlogits = run(operations.cross_entropy_soft, logits, targets)
    assert loss[0] == pytest.approx(math.log(2), rel=1e-11) and loss[1] == np.inf
    np.testing.assert_allclose(dlogits, [[0, 0, 0], [0, -0.125, 0.125]], atol=1e-11)


def test_distillation_with_an_excluded_class():
    """p = (e, 0, 1) / (1 + e), q = (1, 0, 1) / 2: half of log(1 + e) and of log(1 + e) - 1/2."""
    logits, teacher = np.array([[1.0, -np.inf, 0.0]]), np.array([[0.0, -1e5, 0.0]])
    loss, _ = run(kernels.distillation, logits, np.array([[0, 0, 1.0]]), teacher, 1.0, 0.5, 1.0)
    assert loss[0] == pytest.approx(math.log1p(math.e) - 0.25, rel=1e-11)
