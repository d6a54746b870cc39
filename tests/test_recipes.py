"""Recipes: their published values; schedules and losses by name."""

import math
from dataclasses import FrozenInstanceError, asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest

from tinycnn import (
    AdamW,
    CrossEntropy,
    DecoupledDistillation,
    Distillation,
    RelationDistillation,
    models,
)
from tinycnn.input_spec import SCALINGS
from tinycnn.optim import Adam, optimizer_from_name
from tinycnn.recipes import (
    LOSSES,
    NUMBERS,
    RECIPES,
    SCHEDULES,
    make_class_weights,
    make_loss,
    make_schedule,
)


def test_paper_is_the_papers_training():
    """The training of the paper, with its temperature for CK+."""
    paper = asdict(RECIPES["paper"])
    assert paper.pop("epochs") >= 1000
    assert paper == dict(
        scaling="raw",
        bias_std=0.5,
        optimizer="adam",
        learning_rate=1e-4,
        schedule="constant",
        augment=False,
        loss="kd",
        temperature=8.0,
        soft_weight=0.5,
        loss_scale="paper",
        batch_size=64,
        augment_strength=1.0,
        label_smoothing=0.0,
        dropout=0.0,
        ema_decay=0.0,
        clip_norm=0.0,
        mixup=0.0,
        cutmix=0.0,
        flipped_teacher=False,
        class_weights="none",
    )


def test_fer_is_what_the_readme_says():
    fer = asdict(RECIPES["fer"])
    fixed = dict(
        scaling="standardized",
        bias_std=0.0,
        optimizer="adamw",
        schedule="one-cycle",
        augment=True,
        loss="kd",
        temperature=4.0,
        soft_weight=0.7,
        loss_scale="hinton",
    )
    assert {name: fer[name] for name in fixed} == fixed
    assert not any(fer[name] for name in NUMBERS if name != "augment_strength")
    assert fer["augment_strength"] == 1 and fer["flipped_teacher"] is False
    assert fer["class_weights"] == "none"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_used(name):
    recipe = RECIPES[name]
    assert recipe.scaling in SCALINGS and recipe.schedule in SCHEDULES
    assert recipe.batch_size >= 1 and recipe.epochs >= 1
    network = models.microexpnet(scaling=recipe.scaling, bias_std=recipe.bias_std, backend="numpy")
    deviation = network.parameters["conv2.b"].std()
    assert (deviation > 0) == (recipe.bias_std > 0)
    make_loss(recipe.loss, recipe.temperature, recipe.soft_weight, recipe.loss_scale)
    optimizer = optimizer_from_name(
        recipe.optimizer, learning_rate=recipe.learning_rate, backend="numpy"
    )
    assert type(optimizer) is {"paper": Adam, "fer": AdamW, "best": AdamW}[name]
    make_schedule(recipe.schedule, recipe.learning_rate, 1)
    with pytest.raises(FrozenInstanceError):
        recipe.epochs = 1


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


def test_on_a_plateau_the_rate_is_halved_after_five_epochs():
    schedule = make_schedule("reduce-on-plateau", 0.5, 100)
    records = [SimpleNamespace(val_loss=loss) for loss in (3, 2, 2, 2, 2, 2, 2, 1)]
    rates = [schedule.after(records[:k])(0) for k in range(9)]
    assert rates == [0.5] * 7 + [0.25] * 2


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


@pytest.mark.parametrize("name", [*LOSSES, "none"])
def test_losses_with_class_weights(name):
    loss = make_loss(name, 4.0, 0.7, "hinton", class_weights=(1.0, 2.0))
    assert loss == replace(make_loss(name, 4.0, 0.7, "hinton"), class_weights=(1.0, 2.0))


# ---- class weights by name ---------------------------------------------------------------------


CLASSES = ("happy", "sad=blue", "fear")


def batches(epoch):
    """Two batches of the first epoch: classes 0, 0 and 2, 0."""
    assert epoch == 0
    yield None, np.array([0, 0]), None
    yield None, np.array([2, 0]), None


def test_class_weights():
    assert make_class_weights("none", CLASSES, batches) == ()
    assert make_class_weights("fear=2,happy=0.5", CLASSES, batches) == (0.5, 1.0, 2.0)
    assert make_class_weights("sad=blue=3", CLASSES, batches) == (1.0, 3.0, 1.0)
    assert make_class_weights("balanced", CLASSES, batches) == pytest.approx((4 / 6, 1, 4 / 2))


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "'': expected balanced, none, or a weight of 0 or more"),
        ("fear", "'fear': expected balanced"),
        ("fear=", "expected balanced"),
        ("fear=-1", "expected balanced"),
        ("fear=inf", "expected balanced"),
        ("fear=1,fear=2", "expected balanced, none, or .* each once"),
        ("fear=1;happy=2", "no class .fear=1;happy."),
        ("angry=1", "'angry=1': no class 'angry'; there are happy, sad=blue, fear"),
    ],
)
def test_other_class_weights_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        make_class_weights(text, CLASSES, batches)


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
