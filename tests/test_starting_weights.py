"""The option `init` of a training run: what is read, kept, checked and stored."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_run_training import Interrupted, StopAfter, begin
from test_train import assert_same_run, contents
from toy_sweep import TOY, ToySource

import tinycnn
from tinycnn import BatchNorm, Conv2D, Dense, Flatten, InputSpec, Network, ReLU, models, sweep
from tinycnn.run import TrainingOptions, starting_weights
from tinycnn.run.starting_weights import ClassNames, notes_on_start, starting_network
from tinycnn.sweep.trial import options_of, run_trial

PRETRAINED = dict(network="microexpnet", variant="p12", size="XXS", batch_norm=False)
PRETRAINED |= dict(scaling="standardized", dropout=0.0)
FALLING = dict(epochs=5, batch_size=8, loss="none", learning_rate=1e-3, augment=False)
SHORT = dict(epochs=2, batch_size=8, loss="none")


@pytest.fixture
def start(tmp_path):
    """A network of the paper's in a file, trained on two of the toy classes and one more."""
    one = models.microexpnet("v", 4, 3, classes=("TWO", "other", "one"), scaling="unit", seed=7)
    path = tmp_path / "start.safetensors"
    tinycnn.save(one, path)
    return path, one


@pytest.fixture
def foreign(tmp_path):
    """A network that is not the paper's, with BatchNorm."""
    layers = [Conv2D(4, 8, stride=8), BatchNorm(), ReLU(), Flatten(), Dense(5), ReLU(), Dense(2)]
    spec = InputSpec(84, 84, scaling="raw", classes=("three", "x"))
    one = Network(layers, spec, seed=3)
    one.statistics["bn1.running_var"][:] = 900.0
    path = tmp_path / "foreign.safetensors"
    tinycnn.save(one, path)
    return path, one


# ---- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["pretrained", "ferplus"])
def test_the_start_decides_about_the_network(init):
    options = TrainingOptions(init=init, recipe="paper")
    assert {name: getattr(options, name) for name in PRETRAINED} == PRETRAINED
    assert re.fullmatch("[0-9a-f]{64}", options.init_sha256)
    assert TrainingOptions(**asdict(options)) == options == replace(options)
    assert options.without_teacher().init_sha256 == options.init_sha256
    assert TrainingOptions(init=init, **PRETRAINED, recipe="paper") == options


def test_a_start_that_is_not_the_papers(foreign):
    options = TrainingOptions(init=str(foreign[0]))
    assert (options.network, options.variant, options.size, options.scaling) == (
        *(None, None, None), "raw"
    )  # fmt: skip
    assert options.input_px == 84 and not options.batch_norm
    assert TrainingOptions(**asdict(options)) == options
    with pytest.raises(ValueError, match="size is 'XXS', and the network of init .* is another"):
        TrainingOptions(init=str(foreign[0]), size="XXS")


def test_a_residual_start_of_48x48_images(tmp_path):
    """Also with its BatchNorm, as a checkpoint has it."""
    for batch_norm in (False, True):
        path = tmp_path / f"{batch_norm}.safetensors"
        one = models.residual48(("a", "b"), batch_norm=batch_norm, dropout=0.25)
        tinycnn.save(one, path)
        options = TrainingOptions(init=str(path), recipe="best")
        assert (options.network, options.variant, options.size) == ("residual48", None, None)
        assert (options.input_px, options.dropout, options.batch_norm) == (48, 0.25, False)
        assert TrainingOptions(**asdict(options)) == options
        network = starting_network(str(path), options.init_sha256, ClassNames(("b", "c")))
        network.freeze(4)
        assert bool(network.statistics) == batch_norm and network.classes == ("b", "c")
    wide = Network([Flatten(), Dense(2)], InputSpec(8, 9))
    tinycnn.save(wide, path)
    with pytest.raises(ValueError, match="takes images of 8x9x1; expected square grey ones"):
        TrainingOptions(init=str(path))


@pytest.mark.parametrize(
    "name, value",
    [("variant", "p1"), ("size", 50), ("scaling", "raw"), ("dropout", 0.5)]
    + [("network", "residual48"), ("batch_norm", True)],
)
def test_options_that_say_otherwise_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*, and the network of init pretrained has"):
        TrainingOptions(init="pretrained", **{name: value})


def test_options_that_need_a_start():
    for name, value in (("freeze", 2), ("freeze", "conv1"), ("first_layers_rate", 0.5)):
        with pytest.raises(ValueError, match=f"{name} is .* without a network to start from"):
            TrainingOptions(**{name: value})
        options = TrainingOptions(init="pretrained", **{name: value})
        assert getattr(options, name) == value
    for freeze in ("conv3", 4, "dense2"):
        with pytest.raises(ValueError, match="freeze is .*; expected .*conv1, conv2, dense1"):
            TrainingOptions(init="pretrained", freeze=freeze)


def test_files_that_are_no_start(tmp_path):
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"no model at all")
    headless = tmp_path / "headless.safetensors"
    tinycnn.save(Network([Flatten(), Dense(3), ReLU()], InputSpec(84, 84)), headless)
    for path, said in (
        (tmp_path / "none.safetensors", "no such model file; or give none, pretrained"),
        (tmp_path, "it is a folder"),
        (wrong, "not a safetensors file"),
        (headless, "ends in ReLU; expected a last Dense"),
    ):
        with pytest.raises(ValueError, match=f"(?s)^init {re.escape(str(path))}.*{said}") as error:
            TrainingOptions(init=str(path))
        assert "\n" not in str(error.value)
    for wrong_value in (3, "", True):
        with pytest.raises(ValueError, match="init is .*; expected none, pretrained"):
            TrainingOptions(init=wrong_value)


def test_the_hash_is_of_the_network_not_of_the_file(start, tmp_path):
    path, one = start
    found = TrainingOptions(init=str(path)).init_sha256
    copy = tmp_path / "copy.safetensors"
    one.calibration_temperature = 2.0
    tinycnn.save(one, copy)
    assert TrainingOptions(init=str(copy)).init_sha256 == found
    one.parameters["dense2.b"][1] += 1
    tinycnn.save(one, copy)
    assert TrainingOptions(init=str(copy)).init_sha256 != found


# ---- runs --------------------------------------------------------------------------------------


def test_a_run_starts_with_the_columns_of_known_classes(start):
    path, one = start
    run = begin(options=TrainingOptions(init=str(path), bias_std=0.5, **FALLING))
    network = run.network
    assert network.classes == ToySource.classes == ("one", "two", "three")
    assert network.input_spec.scaling == "unit" and network.input_spec.framing == "paper"
    for name, array in network.parameters.items():
        if not name.startswith("dense2."):
            assert np.array_equal(array, one.parameters[name])
        else:
            assert np.array_equal(array[..., :2], one.parameters[name][..., [2, 0]])
            assert array[..., 2].any()
    records = run.train()
    assert records[-1].train_loss < records[0].train_loss


def test_a_run_that_freezes_and_slows_layers(foreign):
    path, one = foreign
    options = TrainingOptions(init=str(path), freeze=1, first_layers_rate=0.1, **SHORT)
    run = begin(options=options)
    assert run.network.frozen_layers == ("conv1", "bn1", "relu1")
    ((n, factor),) = run.optimizer.rate_factors
    dense1 = run.network.parameters["dense1.w"].size
    assert factor == 0.1 and dense1 <= n < run.network.trained_vector.size
    run.train()
    for arrays, old in (
        (run.network.parameters, one.parameters),
        (run.network.statistics, one.statistics),
    ):
        for name, array in arrays.items():
            assert np.array_equal(array, old[name]) == name.startswith(("conv1", "bn1")), name


def test_a_resumed_run_has_the_same_bits_also_from_another_place(start, tmp_path):
    path, one = start
    options = TrainingOptions(
        init=str(path), first_layers_rate=0.5, freeze=1, **{**SHORT, "epochs": 4}
    )
    begin(tmp_path / "whole", options).train()
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        begin(out, options).train([StopAfter(1)])
    moved = tmp_path / "moved.safetensors"
    path.rename(moved)
    with pytest.raises(ValueError, match="no such model file"):
        begin(out, options, resume=True)
    begin(out, replace(options, init=str(moved)), resume=True).train()
    assert_same_run(out, contents(tmp_path / "whole"))
    one.parameters["conv1.b"][0] += 1
    tinycnn.save(one, moved)
    with pytest.raises(ValueError, match="holds another network .* than the run began with"):
        begin(out, replace(options, init=str(moved)), resume=True)


def test_notes_say_what_is_kept_and_what_is_new(start, foreign):
    names = ClassNames(("one", "two", "three"))
    (told,) = notes_on_start(str(start[0]), None, 0, names, "paper")
    assert "which knows one, two (its TWO)" in told and "new weights for three" in told
    assert "its other not used" in told
    told = notes_on_start(str(foreign[0]), None, "conv1", ClassNames(("a", "b")), None)
    assert "which knows none of these classes; new weights for a, b" in told[0]
    assert told[1].startswith("frozen: conv1, bn1;")
    told = notes_on_start("pretrained", None, 0, ClassNames(("happy",)), "paper")
    assert len(told) == 2 and "cut as 'fer2013', and these are cut as 'paper'" in told[1]


def test_starting_network_reads_any_model_file(start):
    network = starting_network(str(start[0]), None, ClassNames(("two",)), backend="numpy")
    assert network.classes == ("two",) and network.backend == "numpy"
    assert starting_weights.is_file("x") and not starting_weights.is_file("ferplus")


# ---- sweeps ------------------------------------------------------------------------------------


def test_a_sweep_over_init(start, tmp_path):
    toy = {**TOY, "epochs": 1}
    trials = sweep.grid(**toy, loss="none", init=["none", str(start[0])], freeze=[0, 1],
                        scaling=None, seed=0)  # fmt: skip
    assert [(t.init, t.freeze) for t in trials] == [
        ("none", 0), (str(start[0]), 0), (str(start[0]), 1)
    ]  # fmt: skip
    assert {t.size for t in trials} == {4} and "from" in trials[1].describe()
    results = [run_trial(t, ToySource(), tmp_path / str(k)) for k, t in enumerate(trials)]
    assert "init_sha256" not in options_of(json.loads(json.dumps(results[2])))
    table = sweep.difference_table(results)
    assert f"init {start[0]}" in table and "sha256" not in table


def test_the_name_of_a_trial_has_the_content_not_the_path(start, tmp_path):
    path, one = start
    first = sweep.Trial(init=str(path))
    name = first.name("data")
    assert name != sweep.Trial(variant="v", size=4, scaling="unit").name("data")
    moved = tmp_path / "moved.safetensors"
    path.rename(moved)
    assert first.name("data") == name == sweep.Trial(init=str(moved)).name("data")
    assert sweep.Trial(**asdict(first)) == first  # a result is read without the file
    one.parameters["conv1.b"][0] += 1
    tinycnn.save(one, moved)
    assert sweep.Trial(init=str(moved)).name("data") != name


def test_a_source_that_knows_synonyms(start, tmp_path):
    class Synonyms(ToySource):
        def canonical_name(self, name):
            return {"three": "other"}.get(name, name.lower())

    trial = sweep.Trial(**{**TOY, "epochs": 1}, scaling="unit", loss="none", init=str(start[0]),
                        learning_rate=1e-12, optimizer="adam")  # fmt: skip
    run_trial(trial, Synonyms(), tmp_path / "a")
    network = tinycnn.load(tmp_path / "a" / "model.safetensors")
    np.testing.assert_allclose(
        network.parameters["dense2.w"], start[1].parameters["dense2.w"][:, [2, 0, 1]], atol=1e-6
    )
