"""sgd_update: kernel and reference against closed forms and against PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import sgd as kernels

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
RULES = [(0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.1, False), (0.8, 0.1, True)]
RATE = 0.05


def run(operations, start, gradient_of, n_steps, momentum, weight_decay, nesterov):
    p, velocity = start.copy(), np.zeros_like(start)
    for step in range(n_steps):
        gradients = gradient_of(p, step)
        operations.sgd_update(p, gradients, velocity, RATE, momentum, weight_decay, nesterov)
    return p, velocity


@BOTH
def test_plain_descent(operations):
    p, _ = run(operations, np.array([1.0, -2.0]), lambda p, step: p, 10, 0.0, 0.0, False)
    np.testing.assert_allclose(p, [(1 - RATE) ** 10, -2 * (1 - RATE) ** 10], rtol=1e-14)


@BOTH
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_constant_gradient_is_a_geometric_sum(operations, nesterov):
    """b_n = g * (1 + mu + ... + mu^(n-1)); Nesterov moves by g + mu*b_n = b_(n+1)."""
    mu, g = 0.5, 3.0
    p, velocity = run(operations, np.zeros(1), lambda p, step: np.array([g]), 4, mu, 0.0, nesterov)
    b = [g * (1 - mu**n) / (1 - mu) for n in range(1, 6)]
    assert velocity[0] == pytest.approx(b[3], rel=1e-14)
    moved = sum(b[1:5]) if nesterov else sum(b[:4])
    assert p[0] == pytest.approx(-RATE * moved, rel=1e-14)


@BOTH
def test_only_weight_decay(operations):
    p, _ = run(operations, np.array([2.0]), lambda p, step: np.zeros(1), 7, 0.0, 0.1, False)
    assert p[0] == pytest.approx(2 * (1 - RATE * 0.1) ** 7, rel=1e-14)


@BOTH
@pytest.mark.parametrize("momentum, weight_decay, nesterov", RULES)
def test_agrees_with_torch(operations, momentum, weight_decay, nesterov):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    rng = np.random.default_rng(1)
    start, centre = rng.standard_normal((2, 37))
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD(
        [theirs], lr=RATE, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )
    for _ in range(100):
        theirs.grad = theirs.detach() - torch.tensor(centre)
        optimizer.step()
    rule = (momentum, weight_decay, nesterov)
    p, _ = run(operations, start, lambda p, step: p - centre, 100, *rule)
    np.testing.assert_allclose(p, theirs.detach().numpy(), atol=1e-12, rtol=0)


@given(
    n=st.sampled_from([0, 1, 2, 3, 7, 13, 31, 67, 1009]),
    seed=st.integers(0, 2**32 - 1),
    rule=st.sampled_from(RULES),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_kernel_against_reference(n, seed, rule, dtype):
    """At most 8 roundings, each of a number of at most |p| + |g| + |velocity|."""
    p, g, velocity = np.random.default_rng(seed).standard_normal((3, n)).astype(dtype)
    slack = 8 * np.finfo(dtype).eps * (abs(p) + abs(g) + abs(velocity))
    ours, theirs = [p.copy(), velocity.copy()], [p.copy(), velocity.copy()]
    kernels.sgd_update(ours[0], g, ours[1], RATE, *rule)
    reference.sgd_update(theirs[0], g, theirs[1], RATE, *rule)
    assert (abs(ours[0] - theirs[0]) <= slack).all()
    assert (abs(ours[1] - theirs[1]) <= slack).all()
    assert n == 0 or (ours[0] != p).any()


def test_velocity_never_becomes_denormal():
    tiny = np.finfo(np.float32).tiny
    p, g, velocity = np.ones(5, np.float32), np.zeros(5, np.float32), np.full(5, tiny, np.float32)
    kernels.sgd_update(p, g, velocity, RATE, 0.9, 0.0, False)
    np.testing.assert_array_equal(velocity, 0)
    velocity[:] = np.nan
    kernels.sgd_update(p, g, velocity, RATE, 0.9, 0.0, False)
    assert np.isnan(p).all()
