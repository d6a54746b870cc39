"""Learning rate schedules and losses by name."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tinycnn import CrossEntropy, DecoupledDistillation, Distillation, RelationDistillation
from tinycnn.run import LOSSES, SCHEDULES, make_loss, make_schedule


@pytest.mark.parametrize("n_steps", [1, 2, 19, 20, 1000])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_by_name_peak_at_the_learning_rate(name, n_steps):
    schedule = make_schedule(name, 3e-3, n_steps)
    rates = [schedule(step) for step in range(n_steps)]
    assert max(rates) <= 3e-3 * (1 + 1e-12)
    assert min(rates) >= 0
    if n_steps == 1000:
        assert math.isclose(max(rates), 3e-3, rel_tol=1e-4)


def test_constant_is_constant():
    schedule = make_schedule("constant", 1e-4, 10)
    assert {schedule(step) for step in range(30)} == {1e-4}


def test_cosine_rises_for_a_twentieth_then_falls_to_zero():
    schedule = make_schedule("cosine", 0.5, 100)
    for step in range(5):
        assert math.isclose(schedule(step), 0.5 * (step + 1) / 6)
    for step in range(5, 100):
        expected = 0.25 * (1 + math.cos(math.pi * (step - 5) / 94))
        assert math.isclose(schedule(step), expected, abs_tol=1e-15)
    assert schedule(99) == 0.0


def test_one_cycle_rises_for_three_tenths_from_a_25th_then_falls_to_a_10000th():
    schedule = make_schedule("one-cycle", 0.5, 100)
    assert math.isclose(schedule(0), 0.5 / 25)
    assert math.isclose(schedule(29), 0.5)
    assert math.isclose(schedule(99), 0.5 / 1e4)
    middle = 0.5 * (0.5 + 0.5 / 1e4)
    assert math.isclose(schedule(64), middle, rel_tol=1e-9)  # halfway between 29 and 99


@pytest.mark.parametrize("name", ["step", "", "Constant", "one_cycle", None])
def test_another_schedule_is_refused(name):
    with pytest.raises(ValueError, match="expected one of constant, cosine, one-cycle"):
        make_schedule(name, 1e-3, 10)


# ---- losses by name ----------------------------------------------------------------------------


def test_losses_by_name():
    assert make_loss("kd", 4.0, 0.7, "hinton") == Distillation(4.0, 0.7, "hinton")
    assert make_loss("kd-z", [2.0, 4.0], 0.9, "paper") == Distillation(
        (2.0, 4.0), 0.9, "paper", standardize=True
    )
    assert make_loss("dkd", 4.0, 0.25, "hinton") == DecoupledDistillation(4.0, 0.25, 2.0, 0.75)
    assert make_loss("dkd-z", 2.0, 0.5, "paper") == DecoupledDistillation(
        2.0, 0.5, 4.0, 0.5, standardize=True
    )
    assert make_loss("dist", 1.0, 0.5, "paper") == RelationDistillation(1.0, 0.5, 0.5, 0.5)


def test_losses_without_a_teacher_and_with_smoothed_targets():
    assert make_loss("none", None, None, None) == CrossEntropy()
    assert make_loss("none", label_smoothing=0.1) == CrossEntropy(0.1)
    for name in LOSSES:
        loss = make_loss(name, 4.0, 0.7, "hinton", 0.1)
        assert loss == replace(make_loss(name, 4.0, 0.7, "hinton"), label_smoothing=0.1)
    with pytest.raises(ValueError, match="label_smoothing=1.5"):
        make_loss("none", label_smoothing=1.5)


@pytest.mark.parametrize("name", LOSSES)
def test_without_soft_weight_every_loss_is_cross_entropy(name):
    rng = np.random.default_rng(0)
    logits, teacher = rng.standard_normal((2, 5, 6))
    labels = rng.integers(0, 6, 5)
    value, dlogits = make_loss(name, 3.0, 0.0, "hinton")(logits, labels, teacher)
    expected, dexpected = CrossEntropy()(logits, labels)
    assert math.isclose(value, expected, rel_tol=1e-12)
    np.testing.assert_allclose(dlogits, dexpected, atol=1e-15)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("hinton", 4.0, 0.5, "paper"), "expected one of kd, kd-z, dkd, dkd-z, dist"),
        (("dkd", [2.0, 4.0], 0.5, "paper"), "loss dkd has one temperature, not 2"),
        (("dist", 4.0, 1.5, "paper"), "soft_weight=1.5: expected 0 to 1"),
        (("kd", 0.0, 0.5, "paper"), "temperature=0.0"),
    ],
)
def test_losses_out_of_range(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        make_loss(*arguments)
