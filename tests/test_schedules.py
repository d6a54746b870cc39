"""Schedules against values by hand and against PyTorch's."""

import dataclasses
import json
import math
import random
import re
from types import SimpleNamespace

import pytest

from tinycnn.schedules import Constant, CosineWithWarmup, OneCycle, ReduceLROnPlateau, Step


def torch_rates(make, rate, n_steps, optimizer_rate=None):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    schedule = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for step in range(n_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < n_steps - 1:
            schedule.step()
    return rates


def test_constant():
    assert [Constant(0.25)(step) for step in (0, 1, 10**9)] == [0.25] * 3


def test_step_by_hand():
    every = Step(8.0, every=3, factor=0.5)
    assert [every(step) for step in range(8)] == [8, 8, 8, 4, 4, 4, 2, 2]
    listed = Step(8.0, milestones=(1, 4), factor=0.25)
    assert [listed(step) for step in range(6)] == [8, 2, 2, 2, 0.5, 0.5]
    assert Step(1.0, milestones=[2, 5]) == Step(1.0, milestones=(2, 5))


def test_step_against_torch():
    theirs = torch_rates(lambda m, o: m.StepLR(o, 7, 0.3), 0.1, 40)
    ours = [Step(0.1, every=7, factor=0.3)(step) for step in range(40)]
    assert ours == pytest.approx(theirs, rel=1e-12)
    theirs = torch_rates(lambda m, o: m.MultiStepLR(o, [5, 6, 30], 0.3), 0.1, 40)
    ours = [Step(0.1, milestones=(5, 6, 30), factor=0.3)(step) for step in range(40)]
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_cosine_by_hand():
    """Values of half a cosine at its quarters: 1, (1 + sqrt(1/2))/2, 1/2, (1 - sqrt(1/2))/2, 0."""
    schedule = CosineWithWarmup(6.0, n_steps=7, n_warmup_steps=2, final_learning_rate=2.0)
    root = math.sqrt(0.5)
    expected = [2, 4, 6, 2 + 2 * (1 + root), 4, 2 + 2 * (1 - root), 2, 2, 2]
    assert [schedule(step) for step in range(9)] == pytest.approx(expected, rel=1e-14)
    assert CosineWithWarmup(1.0, n_steps=1)(0) == 1.0


def test_cosine_against_torch():
    theirs = torch_rates(lambda m, o: m.CosineAnnealingLR(o, T_max=49, eta_min=1e-3), 0.1, 50)
    schedule = CosineWithWarmup(0.1, n_steps=50, final_learning_rate=1e-3)
    assert [schedule(step) for step in range(50)] == pytest.approx(theirs, rel=1e-9)


def test_one_cycle_by_hand():
    """n_steps 10, warm-up 0.3: linear from 1 to the peak 25 at step 2, then down to 25/1e4."""
    schedule = OneCycle(25.0, n_steps=10, ramp="linear")
    end = 25 / 1e4
    down = [25 + (end - 25) * j / 7 for j in range(8)]
    expected = [1, 13, *down, end, end]
    assert [schedule(step) for step in range(12)] == pytest.approx(expected, rel=1e-13)
    cosine = OneCycle(25.0, n_steps=10)
    assert [cosine(step) for step in (0, 1, 2, 9, 10**6)] == pytest.approx([1, 13, 25, end, end])
    assert cosine(3) > schedule(3) and cosine(8) < schedule(8)


@pytest.mark.parametrize("ramp, anneal", [("cosine", "cos"), ("linear", "linear")])
@pytest.mark.parametrize("n_steps", [4, 10, 37, 100])
@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_one_cycle_against_torch(ramp, anneal, n_steps, fraction):
    theirs = torch_rates(
        lambda m, o: m.OneCycleLR(
            o,
            max_lr=0.02,
            total_steps=n_steps,
            pct_start=fraction,
            anneal_strategy=anneal,
            div_factor=25,
            final_div_factor=1e4 / 25,
            cycle_momentum=False,
        ),
        0.02,
        n_steps,
    )
    schedule = OneCycle(0.02, n_steps, warmup_fraction=fraction, ramp=ramp)
    assert [schedule(step) for step in range(n_steps)] == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("n_steps", [1, 2, 3, 10, 101])
@pytest.mark.parametrize("ramp", ["cosine", "linear"])
def test_one_cycle_rises_then_falls_within_its_bounds(fraction, n_steps, ramp):
    schedule = OneCycle(1.0, n_steps, warmup_fraction=fraction, ramp=ramp)
    rates = [schedule(step) for step in range(n_steps + 2)]
    assert 1e-4 * (1 - 1e-9) <= min(rates) and max(rates) <= 1
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[n_steps:] == [rates[n_steps - 1]] * 2


@pytest.mark.parametrize("ended", [CosineWithWarmup(0.1, 9, 2, 0.01), OneCycle(0.1, 9)])
def test_after_its_end_a_schedule_keeps_its_last_value(ended):
    assert ended(7) > ended(8) > 0
    assert [ended(step) for step in (9, 10, 10**9)] == [ended(8)] * 3


# ---- reduced on a plateau ----------------------------------------------------------------------


def records(values, monitor="val_loss"):
    return [SimpleNamespace(**{monitor: value}) for value in values]


def rates_after(schedule, values):
    """The rate after each epoch."""
    known = records(values, schedule.monitor)
    return [schedule.after(known[: k + 1])(0) for k in range(len(values))]


def test_keras_own_examples():
    """keras/src/callbacks/reduce_lr_on_plateau_test.py; Keras 2's tests/keras/test_callbacks.py.
    A large min_delta makes every epoch but the first one without improvement."""
    assert rates_after(ReduceLROnPlateau(0.1, patience=1, min_delta=100), [1, 1])[-1] == (
        pytest.approx(0.01)
    )
    lowest = ReduceLROnPlateau(0.1, patience=1, min_delta=10, min_learning_rate=0.005)
    assert rates_after(lowest, [1] * 4)[-1] == 0.005
    cooling = ReduceLROnPlateau(0.1, patience=1, min_delta=100, cooldown=2)
    assert rates_after(cooling, [1] * 4)[-1] == pytest.approx(0.001)
    patient = rates_after(ReduceLROnPlateau(1.0, patience=2), [0.0860, 0.1096, 0.1040])
    assert patient == pytest.approx([1.0, 1.0, 0.1])


def test_what_counts_as_an_improvement():
    schedule = ReduceLROnPlateau(8.0, factor=0.5, patience=2, min_delta=0.25)
    # 4 is the best; 3.75 is not better by more than 0.25, 3.5 is
    assert rates_after(schedule, [4, 3.75, 3.5, 3.5, 3.5, 3.0]) == [8, 8, 8, 8, 4, 4]
    highest = ReduceLROnPlateau(8.0, "val_accuracy", factor=0.5, patience=1, min_delta=0)
    assert rates_after(highest, [0.5, 0.6, 0.6, 0.7, 0.1]) == [8, 8, 4, 4, 2]


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("patience, cooldown", [(0, 0), (2, 0), (1, 1), (2, 3)])
def test_plateaus_against_torch(monitor, patience, cooldown):
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min" if monitor == "val_loss" else "max", factor=0.7, patience=patience,
        threshold=0.02, threshold_mode="abs", cooldown=cooldown, min_lr=1e-3, eps=0,
    )  # fmt: skip
    ours = ReduceLROnPlateau(
        0.1, monitor, 0.7, patience + 1, 0.02, cooldown + 1 if cooldown else 0, 1e-3
    )
    rng = random.Random(patience)
    values = [rng.random() / (1 + epoch / 20) for epoch in range(60)]
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates_after(ours, values) == pytest.approx(expected, rel=1e-12)
    assert min(expected) < 0.05


def test_a_record_without_the_watched_value():
    with pytest.raises(ValueError, match="ReduceLROnPlateau: val_loss needs validation data"):
        ReduceLROnPlateau(0.1).after(records([None]))


SCHEDULES = [
    Constant(1e-4),
    ReduceLROnPlateau(1e-3),
    Step(1e-3, every=5),
    Step(1e-3, milestones=(5, 7)),
    CosineWithWarmup(1e-3, 100, 10),
    OneCycle(1e-2, 100),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def test_every_schedule(schedule):
    """A rate is a plain float above 0.  A negative or fractional step is refused.  The fields,
    which a checkpoint stores, make the same schedule again."""
    assert type(schedule(3)) is float and schedule(3) > 0
    assert type(schedule)(**json.loads(json.dumps(dataclasses.asdict(schedule)))) == schedule
    with pytest.raises(ValueError, match="step=-1: expected 0 or more"):
        schedule(-1)
    with pytest.raises(TypeError):
        schedule(0.5)


@pytest.mark.parametrize(
    "make, options, expected",
    [
        (Constant, (-1.0,), "learning_rate=-1.0"),
        (Constant, (math.nan,), "learning_rate=nan"),
        (Step, (0.1,), "expected either every=n or milestones"),
        (Step, (0.1, 5, (3,)), "expected either every=n or milestones"),
        (Step, (0.1, 0), "every=0: expected 1 or more"),
        (Step, (0.1, None, (3, 3)), "strictly increasing"),
        (Step, (0.1, None, (0,)), "steps above 0"),
        (Step, (0.1, 5, (), 0.0), "factor=0.0"),
        (Step, (0.1, 5, (), 1.5), "factor=1.5"),
        (ReduceLROnPlateau, (-0.1,), "learning_rate=-0.1"),
        (ReduceLROnPlateau, (0.1, "loss"), "monitor='loss': expected one of val_loss, val_acc"),
        (ReduceLROnPlateau, (0.1, "val_loss", 1.0), "factor=1.0: expected above 0 and below 1"),
        (ReduceLROnPlateau, (0.1, "val_loss", 0.1, 0), "patience=0: expected 1 or more"),
        (ReduceLROnPlateau, (0.1, "val_loss", 0.1, 1, -1), "min_delta=-1"),
        (ReduceLROnPlateau, (0.1, "val_loss", 0.1, 1, 0, -1), "cooldown=-1"),
        (CosineWithWarmup, (0.1, 0), "n_steps=0"),
        (CosineWithWarmup, (0.1, 10, 10), "expected fewer than the 10 of n_steps"),
        (CosineWithWarmup, (0.1, 10, -1), "n_warmup_steps=-1"),
        (CosineWithWarmup, (0.1, 10, 0, math.inf), "final_learning_rate=inf"),
        (OneCycle, (math.inf, 10), "max_learning_rate=inf"),
        (OneCycle, (0.1, 0), "n_steps=0"),
        (OneCycle, (0.1, 10, 1.5), "warmup_fraction=1.5"),
        (OneCycle, (0.1, 10, 0.3, 0.5), "start_divisor=0.5"),
        (OneCycle, (0.1, 10, 0.3, 25, math.nan), "end_divisor=nan"),
        (OneCycle, (0.1, 10, 0.3, 25, 1e4, "cos"), "ramp='cos': expected 'cosine' or 'linear'"),
    ],
)
def test_options_out_of_range(make, options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        make(*options)
