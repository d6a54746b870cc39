"""rmsprop_update: kernel and reference against a naive loop and against PyTorch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.kernels import rmsprop as kernels

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
RATE, RHO = 0.01, 0.9
KERAS, TORCH = (1e-7, 0.0), (0.0, 1e-8)  # where epsilon stands
RULES = [
    (0.0, KERAS, 0.0, False),
    (0.0, TORCH, 0.1, False),
    (0.8, TORCH, 0.0, False),
    (0.0, KERAS, 0.0, True),
    (0.8, TORCH, 0.1, True),
]
"""momentum, epsilons, weight_decay, centered"""


def run(operations, start, gradient_of, n_steps, rule, rho=RHO):
    """Parameters and slots after n_steps with the gradient gradient_of(parameters, step)."""
    p, slots = start.copy(), np.zeros((3, *start.shape), start.dtype)
    for step in range(n_steps):
        operations.rmsprop_update(p, gradient_of(p, step), *slots, RATE, rho, *rule)
    return p, slots


def naive_rmsprop(p, gradients, rule):
    """One parameter in Python floats; each mean is a weighted sum over all past gradients."""
    momentum, (inside, outside), weight_decay, centered = rule
    seen, velocity = [], 0.0
    for g in gradients:
        seen.append(g + weight_decay * p)
        shares = [(1 - RHO) * RHO**age for age in range(len(seen) - 1, -1, -1)]
        mean = math.fsum(share * g for share, g in zip(shares, seen))
        variance = math.fsum(share * g * g for share, g in zip(shares, seen))
        if centered:
            variance -= mean**2
        velocity = momentum * velocity + seen[-1] / (math.sqrt(variance + inside) + outside)
        p = p - RATE * velocity
    return p


@BOTH
@pytest.mark.parametrize("rule", RULES)
def test_equals_the_definition(operations, rule):
    rng = np.random.default_rng(3)
    start, gradients = rng.standard_normal(5), rng.standard_normal((12, 5))
    p, _ = run(operations, start, lambda p, step: gradients[step], 12, rule)
    expected = [naive_rmsprop(float(start[k]), gradients[:, k].tolist(), rule) for k in range(5)]
    np.testing.assert_allclose(p, expected, rtol=1e-10)


@BOTH
@pytest.mark.parametrize("gradient", [3.0, -0.25])
def test_a_constant_gradient(operations, gradient):
    """v = g*g (1 - rho^n): step n moves p by rate / sqrt(1 - rho^n), against the gradient."""
    rule = (0.0, (0.0, 1e-30), 0.0, False)
    p, slots = run(operations, np.array([1.0]), lambda p, step: np.array([gradient]), 20, rule)
    moved = RATE * sum(1 / math.sqrt(1 - RHO**n) for n in range(1, 21))
    assert p[0] == pytest.approx(1 - math.copysign(moved, gradient), rel=1e-12)
    assert slots[0, 0] == pytest.approx(gradient**2 * (1 - RHO**20), rel=1e-12)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_variance_is_never_below_zero(operations, dtype):
    """With a constant gradient it falls to 0, where rounding makes v - m*m negative at times."""
    rng = np.random.default_rng(0)
    gradients = rng.uniform(-5, 5, 200).astype(dtype)
    p, _ = run(
        operations, np.ones(200, dtype), lambda p, step: gradients, 2000, (0, KERAS, 0, True)
    )
    assert np.isfinite(p).all()


@BOTH
@pytest.mark.parametrize(
    "momentum, weight_decay, centered", [(0, 0, 0), (0.9, 0.1, 0), (0.8, 0, 1)]
)
def test_agrees_with_torch(operations, momentum, weight_decay, centered):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    rng = np.random.default_rng(1)
    start, centre = rng.standard_normal((2, 37))
    noise = rng.standard_normal((100, 37))
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.RMSprop(
        [theirs], lr=RATE, alpha=0.99, momentum=momentum, weight_decay=weight_decay,
        centered=bool(centered),
    )  # fmt: skip
    for step in range(100):
        theirs.grad = theirs.detach() - torch.tensor(centre + noise[step])
        optimizer.step()
    rule = (momentum, TORCH, weight_decay, bool(centered))
    p, _ = run(operations, start, lambda p, step: p - centre - noise[step], 100, rule, rho=0.99)
    np.testing.assert_allclose(p, theirs.detach().numpy(), atol=1e-10, rtol=0)


@given(
    n=st.sampled_from([0, 1, 2, 3, 7, 13, 31, 67, 1009]),
    seed=st.integers(0, 2**32 - 1),
    rule=st.sampled_from(RULES),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_kernel_against_reference(n, seed, rule, dtype):
    """From slots as after many steps, with variances that are not close to 0."""
    rng = np.random.default_rng(seed)
    p, g, m, velocity = rng.uniform(0.5, 1, (4, n)).astype(dtype)
    v = rng.uniform(1.5, 2, n).astype(dtype)
    results = []
    for operations in (kernels, reference):
        arrays = [a.copy() for a in (p, g, v, m, velocity)]
        operations.rmsprop_update(*arrays, RATE, RHO, *rule)
        results.append(arrays)
    for ours, theirs in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=20 * np.finfo(dtype).eps)
    assert n == 0 or (results[0][0] != p).any()


def test_slots_never_become_denormal():
    tiny = np.finfo(np.float32).tiny
    p, g = np.ones(5, np.float32), np.zeros(5, np.float32)
    slots = np.full((3, 5), tiny, np.float32)
    kernels.rmsprop_update(p, g, *slots, RATE, RHO, 0.9, KERAS, 0.0, False)
    np.testing.assert_array_equal(slots, 0)
    slots[0] = np.nan
    kernels.rmsprop_update(p, g, *slots, RATE, RHO, 0.9, KERAS, 0.0, False)
    assert np.isnan(p).all()
