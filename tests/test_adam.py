"""adam_update: kernel and reference against a naive loop and against PyTorch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import adam as kernels

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
RATE, BETA1, BETA2, EPSILON = 1e-2, 0.9, 0.999, 1e-8


def run(operations, parameters, gradient_of, n_steps, weight_decay=0.0, decoupled=False):
    """Parameters, m and v after n_steps with the gradient gradient_of(parameters, step)."""
    p = parameters.copy()
    m, v = np.zeros_like(p), np.zeros_like(p)
    for step in range(1, n_steps + 1):
        g = gradient_of(p, step)
        operations.adam_update(
            p, g, m, v, step, RATE, BETA1, BETA2, EPSILON, weight_decay, decoupled
        )
    return p, m, v


def naive_adam(p, gradients, weight_decay=0.0, decoupled=False):
    """One parameter in Python floats; moments are weighted sums over all past gradients."""
    seen = []
    for step, g in enumerate(gradients, 1):
        seen.append(g if decoupled else g + weight_decay * p)
        ages = range(step - 1, -1, -1)
        m = math.fsum((1 - BETA1) * BETA1**age * g for age, g in zip(ages, seen))
        v = math.fsum((1 - BETA2) * BETA2**age * g * g for age, g in zip(ages, seen))
        decay = RATE * weight_decay * p if decoupled else 0.0
        root = math.sqrt(v / (1 - BETA2**step))
        p = p - decay - RATE * (m / (1 - BETA1**step)) / (root + EPSILON)
    return p


@BOTH
@pytest.mark.parametrize("gradient", [3.0, -3.0, 1e-3, -1e5])
def test_the_first_step_is_as_long_as_the_learning_rate(operations, gradient):
    """Step 1: m' = g and v' = g*g, so p moves by rate * g / (|g| + epsilon)."""
    p, m, v = run(operations, np.array([1.0]), lambda p, step: np.array([gradient]), 1)
    assert p[0] == pytest.approx(1 - RATE * gradient / (abs(gradient) + EPSILON), rel=1e-14)
    assert m[0] == pytest.approx(0.1 * gradient, rel=1e-14)
    assert v[0] == pytest.approx(0.001 * gradient**2, rel=1e-12)


@BOTH
def test_with_a_constant_gradient_every_step_is_as_long_as_the_learning_rate(operations):
    """m' = g and v' = g*g at every step: the bias corrections cancel exactly."""
    p, _, _ = run(operations, np.array([0.7, 0.7]), lambda p, step: np.array([2.0, -0.25]), 50)
    expected = [0.7 - 50 * RATE / (1 + EPSILON / 2), 0.7 + 50 * RATE / (1 + EPSILON / 0.25)]
    np.testing.assert_allclose(p, expected, rtol=1e-11)


@BOTH
@pytest.mark.parametrize("weight_decay, decoupled", [(0.0, False), (0.1, False), (0.1, True)])
def test_against_the_definition(operations, weight_decay, decoupled):
    gradients = np.random.default_rng(2).standard_normal((40, 3)) * [1e-4, 1.0, 1e4]
    start = np.array([0.1, -1.0, 10.0])
    p, _, _ = run(
        operations, start, lambda p, step: gradients[step - 1], 40, weight_decay, decoupled
    )
    for i in range(3):
        expected = naive_adam(start[i], gradients[:, i].tolist(), weight_decay, decoupled)
        assert p[i] == pytest.approx(expected, rel=1e-11, abs=1e-13), i


@BOTH
def test_decoupled_decay_without_gradient_only_shrinks_the_weights(operations):
    p, m, v = run(operations, np.array([2.0]), lambda p, step: np.zeros(1), 10, 0.5, True)
    assert p[0] == pytest.approx(2 * (1 - RATE * 0.5) ** 10, rel=1e-13)
    assert m[0] == 0 and v[0] == 0


@BOTH
def test_finds_the_minimum_of_a_bowl(operations):
    centre = np.array([0.3, -0.2])
    p, _, _ = run(operations, np.zeros(2), lambda p, step: 2 * (p - centre), 600)
    np.testing.assert_allclose(p, centre, atol=1e-3)


@BOTH
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("decoupled", [False, True], ids=["adam", "adamw"])
def test_agrees_with_torch(operations, weight_decay, decoupled):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    rng = np.random.default_rng(4)
    start, centre = rng.standard_normal((2, 53))
    noise = 0.1 * rng.standard_normal((200, 53))
    theirs = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = (torch.optim.AdamW if decoupled else torch.optim.Adam)(
        [theirs], lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=weight_decay
    )
    for step in range(200):
        theirs.grad = theirs.detach() - torch.tensor(centre + noise[step])
        optimizer.step()
    p, _, _ = run(
        operations,
        start,
        lambda p, step: p - (centre + noise[step - 1]),
        200,
        weight_decay,
        decoupled,
    )
    expected = theirs.detach().numpy()
    assert abs(expected - start).max() > 0.1
    np.testing.assert_allclose(p, expected, atol=1e-10, rtol=0)


@given(
    n=st.sampled_from([0, 1, 2, 3, 7, 13, 31, 67, 1009]),
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([1, 2, 10, 100_000]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    decoupled=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_kernel_against_reference(n, seed, step, weight_decay, decoupled, dtype):
    """Sizes with every remainder of the vector loop.

    Allowances count roundings: 6 for m, of terms whose sizes add up to |m| + |g|; 8 for v, whose
    terms do not cancel; 16 for the step, a quotient of both, with its scalars; 3 for p itself.  The
    scalars contain 1 - beta**step.  There pow is right to one eps in kernel and reference, so the
    difference is off by eps / (1 - beta).
    """
    rng = np.random.default_rng(seed)
    p, g, m = rng.standard_normal((3, n)).astype(dtype)
    v = rng.uniform(0.01, 1, n).astype(dtype)
    ours, theirs = [p.copy(), m.copy(), v.copy()], [p.copy(), m.copy(), v.copy()]
    for operations, (p_, m_, v_) in ((kernels, ours), (reference, theirs)):
        before = g.copy()
        operations.adam_update(
            p_, g, m_, v_, step, RATE, BETA1, BETA2, EPSILON, weight_decay, decoupled
        )
        np.testing.assert_array_equal(g, before)
    eps = np.finfo(dtype).eps
    g_size = abs(g) + weight_decay * abs(p)
    assert (abs(ours[1] - theirs[1]) <= 6 * eps * (abs(m) + g_size)).all()
    np.testing.assert_allclose(ours[2], theirs[2], rtol=8 * eps)
    unbias1, unbias2 = 1 - BETA1**step, 1 - BETA2**step
    move = RATE * (abs(m) + g_size) / unbias1 * np.sqrt(unbias2 / (v * BETA2))
    move_error = 16 * eps + 2 * np.finfo(np.float64).eps * (1 / unbias1 + 1 / unbias2)
    assert (abs(ours[0] - theirs[0]) <= 3 * eps * abs(p) + move_error * move).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_follows_float64(dtype):
    """100 steps of at most RATE round each parameter once per step: 100 * eps * (|p| + 1)."""
    gradients = np.random.default_rng(6).standard_normal((100, 67))
    start = np.random.default_rng(7).standard_normal(67)
    p, _, _ = run(
        kernels, start.astype(dtype), lambda p, step: gradients[step - 1].astype(dtype), 100
    )
    exact, _, _ = run(reference, start, lambda p, step: gradients[step - 1], 100)
    assert p.dtype == dtype
    np.testing.assert_allclose(p, exact, atol=100 * np.finfo(dtype).eps * 5, rtol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_never_become_denormal(dtype):
    """If a weight's gradient becomes 0, its moment 0.9**n * m would end as a denormal number."""
    tiny = np.finfo(dtype).tiny
    p, g = np.ones(7, dtype), np.zeros(7, dtype)
    m, v = np.full(7, 2 * tiny, dtype), np.full(7, 1.0001 * tiny, dtype)
    m[1] *= -1
    seen = set()
    for step in range(1000, 1020):
        kernels.adam_update(p, g, m, v, step, RATE, BETA1, BETA2, EPSILON, 0.0, False)
        moments = np.concatenate([abs(m), v])
        assert ((moments == 0) | (moments >= tiny)).all()
        seen.update(moments.tolist())
    assert (m == 0).all() and (v == 0).all() and len(seen) > 2
    np.testing.assert_array_equal(p, np.ones(7, dtype))


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_zero_gradient_changes_nothing_and_nan_propagates(operations, dtype):
    gradient = np.array([0.0, np.nan, 0.0], dtype)
    p, m, v = run(operations, np.ones(3, dtype), lambda p, step: gradient, 3)
    np.testing.assert_array_equal(p, [1, np.nan, 1])
    np.testing.assert_array_equal(m, [0, np.nan, 0])
    np.testing.assert_array_equal(v, [0, np.nan, 0])
