"""Optimizers as objects: slots, state, options, refusals."""

import json
import math
import re

import numpy as np
import pytest

from tinycnn.optim import SGD, Adam, AdamW, RMSprop, clip_by_norm, optimizer_from_name

MAKERS = [Adam, AdamW, SGD, RMSprop]
OPTIMIZERS = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.name)
BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])


def descend(optimizer, parameters, n_steps, first=0):
    """n_steps of descent with gradients that depend only on the number of the step."""
    for step in range(first, first + n_steps):
        gradients = np.random.default_rng(step).standard_normal(len(parameters))
        optimizer.step(parameters, gradients.astype(parameters.dtype))


@BACKENDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_one_step_from_rest(name, backend, dtype):
    """With slots of zero, Adam moves by -rate * sign(g), SGD by -rate * g, RMSprop by -rate *
    sign(g) / sqrt(1 - rho)."""
    optimizer = optimizer_from_name(name, learning_rate=0.125, backend=backend)
    parameters, gradients = np.array([1, 1, 1], dtype), np.array([4, -0.5, 2], dtype)
    optimizer.step(parameters, gradients)
    decay = 0.125 * 0.01 if name == "adamw" else 0.0
    move = gradients if name == "sgd" else np.sign(gradients)
    move = move / 0.1**0.5 if name == "rmsprop" else move
    np.testing.assert_allclose(parameters, 1 - decay - 0.125 * move, rtol=1e-6)
    np.testing.assert_array_equal(gradients, np.array([4, -0.5, 2], dtype))
    assert parameters.dtype == dtype and optimizer.n_steps == 1


@BACKENDS
@OPTIMIZERS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_resuming_gives_the_same_bits(make, backend, dtype):
    straight = np.linspace(-1, 1, 67).astype(dtype)
    resumed = straight.copy()
    descend(make(backend=backend, weight_decay=0.1), straight, 9)
    first = make(backend=backend, weight_decay=0.1)
    descend(first, resumed, 4)
    state = {name: array.copy() for name, array in first.state().items()}
    descend(first, resumed.copy(), 3)  # must not change that state
    second = optimizer_from_name(**json.loads(json.dumps(first.config())), backend=backend)
    second.load_state(state)
    descend(second, resumed, 5, first=4)
    assert second.n_steps == 9
    np.testing.assert_array_equal(resumed, straight)


@OPTIMIZERS
def test_state_is_copied_both_ways(make):
    optimizer = make()
    assert set(optimizer.state()) == {"n_steps"}
    descend(optimizer, np.zeros(5), 2)
    state = optimizer.state()
    assert set(state) == {"n_steps", *make.slot_names} and state["n_steps"] == 2
    slot = make.slot_names[0]
    other = make()
    other.load_state(state)
    state[slot][:] = 99
    assert not (optimizer.state()[slot] == 99).any() and not (other.state()[slot] == 99).any()


@OPTIMIZERS
def test_the_state_before_the_first_step_can_be_loaded(make):
    optimizer = make()
    descend(optimizer, np.zeros(5), 2)
    optimizer.load_state(make().state())
    assert optimizer.n_steps == 0
    parameters = np.zeros(7)
    descend(optimizer, parameters, 1)
    assert (parameters != 0).all()


@BACKENDS
@OPTIMIZERS
def test_a_learning_rate_for_one_step(make, backend):
    usual, other = make(learning_rate=0.5, backend=backend), make(0.1, backend=backend)
    a, b = np.zeros(3), np.zeros(3)
    usual.step(a, np.ones(3), learning_rate=0.1)
    other.step(b, np.ones(3))
    np.testing.assert_array_equal(a, b)
    usual.step(a, np.ones(3), learning_rate=0)
    np.testing.assert_array_equal(a, b)
    assert usual.learning_rate == 0.5


@BACKENDS
@OPTIMIZERS
def test_gradients_may_be_read_only_or_strided(make, backend):
    gradients = np.linspace(-1, 1, 14)
    gradients.setflags(write=False)
    a, b = np.ones(7), np.ones(7)
    make(backend=backend).step(a, gradients[::2])
    make(backend=backend).step(b, np.array(gradients[::2].tolist()))
    np.testing.assert_array_equal(a, b)
    assert (a[4:] < 1).all()


@BACKENDS
@OPTIMIZERS
def test_no_parameters_at_all(make, backend):
    optimizer = make(backend=backend)
    optimizer.step(np.zeros(0), np.zeros(0))
    assert optimizer.n_steps == 1


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_clipped_steps_are_steps_on_clipped_gradients(backend):
    gradients = np.linspace(-3, 4, 11)
    parameters, expected = np.ones((2, 11))
    shortened = gradients.copy()
    clip_by_norm(shortened, 0.5)
    SGD(0.1, backend=backend).step(expected, shortened)
    SGD(0.1, clip_norm=0.5, backend=backend).step(parameters, gradients.copy())
    np.testing.assert_array_equal(parameters, expected)
    untouched = gradients.copy()
    SGD(0.1, clip_norm=100.0, backend=backend).step(parameters, untouched)
    np.testing.assert_array_equal(untouched, gradients)
    with pytest.raises(ValueError, match="clip_norm=nan"):
        SGD(clip_norm=np.nan)


def test_config_names_every_option():
    assert AdamW(1e-3).config() == {
        "name": "adamw",
        "learning_rate": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.01,
        "clip_norm": 0.0,
    }
    assert Adam().config()["learning_rate"] == 1e-4 and Adam().config()["weight_decay"] == 0.0
    assert SGD(1, nesterov=True).config() == {
        "name": "sgd",
        "learning_rate": 1.0,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "nesterov": True,
        "clip_norm": 0.0,
    }


# ---- refusals ----------------------------------------------------------------------------------


@OPTIMIZERS
def test_arrays_that_do_not_fit(make):
    optimizer = make(backend="numpy")
    step = optimizer.step
    read_only = np.zeros(3)
    read_only.setflags(write=False)
    for kind, expected, parameters, gradients in (
        (TypeError, "parameters have dtype int64", np.zeros(3, int), np.zeros(3, int)),
        (TypeError, "expected float64", np.zeros(3), np.zeros(3, np.float32)),
        (ValueError, "expected a flat array", np.zeros((3, 1)), np.zeros((3, 1))),
        (ValueError, "expected (3,)", np.zeros(3), np.zeros(4)),
        (ValueError, "read-only or strided", read_only, np.zeros(3)),
        (ValueError, "read-only or strided", np.zeros(6)[::2], np.zeros(3)),
    ):
        with pytest.raises(kind, match=re.escape(expected)):
            step(parameters, gradients)
    assert optimizer.n_steps == 0
    for rate in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="learning_rate="):
            step(np.zeros(3), np.zeros(3), rate)
    step(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="an optimizer serves one network"):
        step(np.zeros(4), np.zeros(4))
    with pytest.raises(ValueError, match="an optimizer serves one network"):
        step(np.zeros(3, np.float32), np.zeros(3, np.float32))
    assert optimizer.n_steps == 1


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda s: s.pop("v"), "expects ['m', 'v']"),
        (lambda s: s.update(velocity=s.pop("v")), "has slots ['m', 'velocity']"),
        (lambda s: s.pop("n_steps"), "expected 'n_steps'"),
        (lambda s: s.update(n_steps=np.array(-1)), "expected 'n_steps'"),
        (lambda s: s.update(n_steps=np.array(1.5)), "expected 'n_steps'"),
        (lambda s: s.update(v=s["v"][:2]), "differ"),
        (lambda s: s.update(v=s["v"].astype(np.float32)), "differ"),
        (lambda s: s.update(v=s["v"].reshape(3, 1)), "expected flat"),
        (lambda s: s.update(m=s["m"].astype(int), v=s["v"].astype(int)), "expected flat"),
        (lambda s: (s.pop("m"), s.pop("v")), "has slots []"),
    ],
)
def test_a_state_that_does_not_fit(change, expected):
    optimizer = Adam(backend="numpy")
    optimizer.step(np.zeros(3), np.ones(3))
    state = optimizer.state()
    change(state)
    with pytest.raises(ValueError, match=re.escape(expected)):
        Adam(backend="numpy").load_state(state)


@pytest.mark.parametrize(
    "make, options, expected",
    [
        (Adam, dict(learning_rate=-1.0), "learning_rate=-1.0"),
        (Adam, dict(learning_rate=math.nan), "learning_rate=nan"),
        (Adam, dict(beta1=1.0), "beta1=1.0: expected a number of at least 0 and below 1"),
        (AdamW, dict(beta2=-0.1), "beta2=-0.1"),
        (Adam, dict(epsilon=0.0), "epsilon=0.0"),
        (AdamW, dict(weight_decay=-1.0), "weight_decay=-1.0"),
        (SGD, dict(momentum=1.0), "momentum=1.0"),
        (SGD, dict(momentum=0.0, nesterov=True), "expected a momentum"),
        (SGD, dict(backend="torch"), "backend is 'torch'; expected one of auto, numba, numpy"),
    ],
)
def test_options_out_of_range(make, options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        make(**options)


def test_names():
    assert type(optimizer_from_name("adamw", weight_decay=0.3)) is AdamW
    with pytest.raises(ValueError, match="'lion': expected one of adam, adamw, sgd"):
        optimizer_from_name("lion")
    with pytest.raises(TypeError, match="momentum"):
        optimizer_from_name("adam", momentum=0.9)


# ---- clipping --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 7, 1000, 65_003])
@pytest.mark.parametrize("share", [0.01, 0.999, 1.001, 50.0])
def test_clipping_shortens_gradients_that_are_too_long(n, share, dtype):
    gradients = np.random.default_rng(n).normal(0, 3, n).astype(dtype)
    before = [float(g) for g in gradients]
    length = math.sqrt(math.fsum(g * g for g in before))
    max_norm = share * length
    assert clip_by_norm(gradients, max_norm) == pytest.approx(length, rel=1e-12)
    factor = min(1.0, max_norm / length)
    expected = [g * factor for g in before]
    np.testing.assert_allclose(gradients, expected, rtol=1e-6 if dtype == np.float32 else 1e-14)
    after = math.sqrt(math.fsum(float(g) ** 2 for g in gradients))
    assert after <= max_norm * (1 + 1e-6)
    if share > 1:
        assert gradients.tolist() == before  # the same bits
    assert gradients.dtype == dtype


def test_clipping_of_zeros_nan_and_infinity():
    zeros = np.zeros(5)
    assert clip_by_norm(zeros, 1.0) == 0 and not zeros.any()
    for bad in (math.nan, math.inf):
        gradients = np.array([1.0, bad])
        clip_by_norm(gradients, 0.5)
        assert gradients[0] == 1 and not math.isfinite(gradients[1])
    large = np.full(4, 3e38, np.float32)  # its square overflows float32
    assert clip_by_norm(large, 1.0) == pytest.approx(6e38, rel=1e-6)
    np.testing.assert_allclose(large, 0.5, rtol=1e-6)
    for max_norm in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="clip_norm is"):
            clip_by_norm(np.ones(2), max_norm)
