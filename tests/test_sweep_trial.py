"""One trial: its options, its name, and resuming it."""

import dataclasses
import json
from pathlib import Path

import pytest
from toy_sweep import N_EPOCHS, TOY, ToySource, epochs_trained

from tinycnn import SGD, AdamW, CosineWithWarmup, CrossEntropy, Dropout, checkpoint, sweep
from tinycnn.run import RECIPES, TrainingOptions, make_loss, training
from tinycnn.run.options import option
from tinycnn.run.values import Number
from tinycnn.sweep import Trial, trial


def test_options_that_are_not_given_come_from_the_recipe():
    for name in RECIPES:
        made, recipe = Trial(recipe=name), TrainingOptions(recipe=name)
        for field in ("epochs", "learning_rate", "batch_size", "augment", "temperature", "loss"):
            assert getattr(made, field) == getattr(recipe, field), field
    assert Trial(epochs=3).epochs == 3 and Trial(augment=False).augment is False


def test_equal_options_are_one_trial():
    assert Trial(temperature=4).name("d") == Trial(temperature=4.0).name("d")
    assert Trial(seed=1.0).name("d") == Trial(seed=1).name("d")
    assert Trial(temperature=[2, 8]) == Trial(temperature=(2.0, 8.0))
    assert Trial(temperature=[4]) == Trial(temperature=4)
    assert Trial(loss="none", temperature=2) == Trial(loss="none", soft_weight=0.3)
    assert Trial(loss="dkd", loss_scale="paper") == Trial(loss="dkd", loss_scale="hinton")
    assert Trial(loss="kd", loss_scale="paper") != Trial(loss="kd", loss_scale="hinton")
    assert Trial(loss="none", flipped_teacher=True) == Trial(loss="none")
    still = Trial(augment=False)
    assert Trial(augment=False, augment_strength=0.5, flipped_teacher=True) == still
    assert Trial(mixup=0) == Trial(mixup=0.0) != Trial(mixup=1)


def test_the_name_depends_on_every_option_the_data_and_the_arithmetic(monkeypatch):
    other = dict(variant="p1", size="XS", loss="kd-z", temperature=3, soft_weight=0.1)
    other |= dict(loss_scale="paper", seed=1, fold=0, epochs=2, learning_rate=0.1, batch_size=3)
    other |= dict(augment=False, augment_strength=0.5, label_smoothing=0.1, dropout=0.1)
    other |= dict(ema_decay=0.9, clip_norm=1.0, mixup=0.2, cutmix=1.0, flipped_teacher=True)
    other |= dict(recipe="paper", scaling="raw", bias_std=0.1, optimizer="sgd")
    other |= dict(schedule="cosine", patience=3, class_weights="balanced")
    other |= dict(network="residual48", batch_norm=False)
    assert set(other) == {field.name for field in dataclasses.fields(Trial)}
    names = [Trial(**{option: value}).name("d") for option, value in other.items()]
    names += [Trial().name("d"), Trial().name("e")]
    monkeypatch.setattr(trial, "ARITHMETIC_VERSION", trial.ARITHMETIC_VERSION + 1)
    names.append(Trial().name("d"))
    assert len(set(names)) == len(other) + 3
    assert all(len(name) == 16 for name in names)


def test_a_new_option_that_is_off_keeps_the_names_of_earlier_trials():
    @dataclasses.dataclass(frozen=True, init=False)
    class LaterTrial(Trial):
        warmth: float = option("training", Number(9), "how warm the weights are kept", 0.0)

    for options in ({}, dict(recipe="paper", loss="none", fold=2, seed=1)):
        assert LaterTrial(**options).name("d") == Trial(**options).name("d")
        assert LaterTrial(**options, warmth=1).name("d") != Trial(**options).name("d")


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(variant="p3"), "variant is 'p3'"),
        (dict(size="XL"), "size is 'XL'"),
        (dict(loss="kdd"), "loss is 'kdd'; expected one of none, kd"),
        (dict(temperature=0), "temperature"),
        (dict(temperature="8"), "temperature is '8'; expected a number"),
        (dict(temperature=[]), "temperature"),
        (dict(temperature=[2, 8], loss="dkd"), "one temperature"),
        (dict(soft_weight=1.5), "soft_weight"),
        (dict(loss_scale="t"), "scale"),
        (dict(seed=-1), "seed is -1; expected a whole number of 0 or more"),
        (dict(fold=-1), "fold is -1"),
        (dict(epochs=0), "epochs is 0; expected a whole number of 1 or more"),
        (dict(epochs=1.5), "epochs is 1.5"),
        (dict(epochs="8"), "epochs is '8'"),
        (dict(batch_size=True), "batch_size is True"),
        (dict(learning_rate=0), "learning_rate is 0"),
        (dict(learning_rate=float("nan")), "learning_rate is nan"),
        (dict(augment=1), "augment is 1"),
        (dict(flipped_teacher=1), "flipped_teacher is 1"),
        (dict(augment_strength=10), "augment_strength is 10; expected a number from 0 to 9"),
        (dict(mixup=-0.1), "mixup is -0.1"),
        (dict(ema_decay=1), "ema_decay is 1; expected a number from 0 to 0.99999"),
        (dict(dropout="0.5"), "dropout is '0.5'; expected a number"),
        (dict(recipe="mine"), "recipe is 'mine'"),
        (dict(class_weights="fear"), "class_weights is 'fear'; expected balanced, none, or a wei"),
        (dict(class_weights=[1, 2]), "class_weights is .*; expected balanced, none, or a weight"),
    ],
)
def test_options_that_cannot_be_trained_are_refused(options, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Trial(**options)


def test_a_grid_has_every_combination_once():
    trials = sweep.grid(
        size=["M", "XXS"], temperature=[2, 4, 8], loss=["none", "kd"], seed=[0, 1], epochs=2
    )
    assert len(trials) == 2 * 2 * (3 + 1) == len(set(trials))
    assert {t.epochs for t in trials} == {2}
    assert sum(not t.has_teacher for t in trials) == 4
    assert [t.size for t in trials] == ["M"] * 8 + ["XXS"] * 8  # the first option changes slowest
    assert sweep.grid() == [Trial()]
    with pytest.raises(
        ValueError, match="no option 'sizes'; expected some of augment, augment_strength, batch"
    ):
        sweep.grid(sizes=["M"])


def test_shards_have_every_trial_once_whatever_their_order():
    trials = sweep.grid(size=["M", "S", "XS"], temperature=[2, 4], seed=[0, 1])
    parts = [sweep.shard(trials, "d", k, 5) for k in range(1, 6)]
    assert sorted(map(len, parts)) == [2, 2, 2, 3, 3]
    assert {t for part in parts for t in part} == set(trials)
    assert parts == [sweep.shard(trials[::-1], "d", k, 5) for k in range(1, 6)]
    for index in (0, 6):
        with pytest.raises(ValueError, match=f"shard {index}/5"):
            sweep.shard(trials, "d", index, 5)


# ---- running ---------------------------------------------------------------------------------


def run(folder, source=None, **options):
    wanted = Trial(**{**TOY, "loss": "none", **options.pop("trial", {})})
    return sweep.run_trial(wanted, source or ToySource(), folder, backend="numpy", **options)


def untimed(result):
    return {key: value for key, value in result.items() if key != "seconds"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_a_result_is_complete_and_json_holds_it(undisturbed, tmp_path):
    result = undisturbed
    assert untimed(json.loads(json.dumps(result))) == untimed(result)
    assert result["name"] == Trial(**TOY, loss="none").name("toy")
    assert Trial(**result["trial"]) == Trial(**TOY, loss="none")
    assert len(result["val_accuracy"]) == len(result["train_loss"]) == N_EPOCHS
    best = max(result["val_accuracy"])
    assert result["best_epoch"] == result["val_accuracy"].index(best)
    assert result["validation"]["accuracy"] == best
    for part, seed in (("validation", 1), ("test", 2)):
        assert result[part]["n_images"] == 6 == sum(map(sum, result[part]["confusions"]))
        right = sum(result[part]["confusions"][k][k] for k in range(3))
        assert result[part]["accuracy"] == right / 6
    assert result["seconds"] > 0


def test_test_images_take_no_part_in_the_choice_of_the_epoch(undisturbed, tmp_path):
    class NoTest(ToySource):
        def parts(self, options, n_threads):
            parts = super().parts(options, n_threads)
            parts.test = None
            return parts

    result = run(tmp_path, NoTest())
    assert result["test"] is None
    expected = {**undisturbed, "test": None}
    assert untimed(result) == untimed(expected)


class Interrupted(Exception):
    pass


def interrupt_after(n):
    def on_epoch(n_epochs):
        if n_epochs == n:
            raise Interrupted

    return on_epoch


@pytest.mark.parametrize("n", [1, 3, N_EPOCHS])
def test_a_trial_resumed_from_its_last_epoch_gives_the_same_result(undisturbed, tmp_path, n):
    source = ToySource(log=tmp_path / "log")
    with pytest.raises(Interrupted):
        run(tmp_path / "work", source, on_epoch=interrupt_after(n))
    assert untimed(run(tmp_path / "work", source)) == untimed(undisturbed)
    assert [epoch for _, _, epoch, _ in epochs_trained(tmp_path / "log")] == list(range(N_EPOCHS))


def damage(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("change", [damage, Path.unlink])
@pytest.mark.parametrize("which", ["last", "best"])
def test_a_trial_with_damaged_files_starts_over(undisturbed, tmp_path, which, change):
    with pytest.raises(Interrupted):
        run(tmp_path, on_epoch=interrupt_after(N_EPOCHS))
    change(checkpoint.path_in(tmp_path) if which == "last" else tmp_path / checkpoint.BEST)
    assert untimed(run(tmp_path)) == untimed(undisturbed)


def test_a_checkpoint_with_other_options_is_not_resumed(undisturbed, tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, trial=dict(learning_rate=1e-3), on_epoch=interrupt_after(2))
    assert untimed(run(tmp_path)) == untimed(undisturbed)


def test_a_trial_on_compiled_kernels_does_not_depend_on_threads(tmp_path):
    wanted = Trial(**TOY, temperature=8)
    results = [
        untimed(sweep.run_trial(wanted, ToySource(), tmp_path / str(n), n_threads=n))
        for n in (1, 3)
    ]
    assert results[0] == results[1]


class Asked(Exception):
    """Raised instead of training; holds the options that training would get."""


def test_options_are_passed_to_the_data_and_the_training(tmp_path, monkeypatch):
    asked = {}

    class Source(ToySource):
        def parts(self, options, n_threads):
            asked["given"] = options
            return super().parts(options, n_threads)

    def iter_epochs(network, batches, **options):
        asked.update(options, layers=network.layers)
        raise Asked

    monkeypatch.setattr(training, "iter_epochs", iter_epochs)
    options = dict(TOY, loss="kd", dropout=0.25, label_smoothing=0.1, clip_norm=2.0)
    options |= dict(ema_decay=0.9, patience=2, optimizer="sgd", schedule="cosine", mixup=0.2)
    with pytest.raises(Asked):
        run(tmp_path, Source(), trial=options)
    assert asked["given"] == Trial(**options)
    assert (asked["ema_decay"], asked["patience"], asked["n_epochs"]) == (0.9, 2, N_EPOCHS)
    assert Dropout(0.25) in asked["layers"] and asked["optimizer"].clip_norm == 2.0
    assert isinstance(asked["optimizer"], SGD) and isinstance(asked["schedule"], CosineWithWarmup)
    fer = TrainingOptions()
    kd = (fer.temperature, fer.soft_weight, fer.loss_scale)
    assert asked["loss"] == make_loss("kd", *kd, label_smoothing=0.1)
    with pytest.raises(Asked):
        run(tmp_path, Source(), trial=options | dict(class_weights=f"{ToySource.classes[1]}=3"))
    assert asked["loss"].class_weights == (1.0, 3.0, *[1.0] * (len(ToySource.classes) - 2))
    with pytest.raises(Asked):
        run(tmp_path, Source(), trial=dict(TOY, loss="none", recipe="best"))
    assert isinstance(asked["optimizer"], AdamW) and asked["loss"] == CrossEntropy()
