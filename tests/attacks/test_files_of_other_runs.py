"""A run is not continued with another run's files, or by a release that computes something else;
a sweep does not believe results that are not its trial's."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

import tinycnn
from tinycnn import checkpoint, sweep
from tinycnn.checkpoint import BEST, CheckpointError
from tinycnn.layers import Dense, Flatten

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 6, 6), dtype=np.uint8)
LABELS = np.arange(30) % 3


class Versioned:
    """One batch, of a version of the batches; None: they say none."""

    n_batches, n_images = 1, 30

    def __init__(self, version=None):
        if version is not None:
            self.version = version

    def __call__(self, epoch):
        return iter([(IMAGES, LABELS, None)])


def untrained(seed=0):
    spec = tinycnn.InputSpec(6, 6, scaling="unit")
    return tinycnn.Network([Flatten(), Dense(3)], spec, backend="numpy", seed=seed)


def fit(folder, epochs, resume=False, seed=0, version=None):
    network = untrained(seed)
    options = dict(epochs=epochs, folder=folder, resume=resume, optimizer="sgd")
    tinycnn.fit(network, Versioned(version), **options)
    return network


@pytest.fixture
def folder(tmp_path):
    """A run of two epochs; the second is the best."""
    fit(tmp_path / "run", 2)
    return tmp_path / "run"


def test_the_run_can_be_resumed(folder, tmp_path):
    resumed, at_once = fit(folder, 4, resume=True), fit(tmp_path / "other", 4)
    np.testing.assert_array_equal(resumed.parameter_vector, at_once.parameter_vector)
    assert (folder / BEST).read_bytes() == (tmp_path / "other" / BEST).read_bytes()


def test_another_arithmetic_is_refused(folder, monkeypatch):
    monkeypatch.setattr(checkpoint, "ARITHMETIC_VERSION", checkpoint.ARITHMETIC_VERSION + 1)
    before = (folder / BEST).read_bytes()
    now = checkpoint.ARITHMETIC_VERSION
    message = f"other arithmetic .version {now - 1}; this one has {now}.: finish the run with that"
    with pytest.raises(CheckpointError, match=message):
        fit(folder, 4, resume=True)
    assert (folder / BEST).read_bytes() == before


@pytest.mark.parametrize("versions", [(None, 2), (1, 2), (2, None), (2, 3)])
def test_other_batches_are_refused(tmp_path, versions):
    first, second = versions
    fit(tmp_path, 1, version=first)
    with pytest.raises(CheckpointError, match=f"other batches .version {first or 1}; this one has"):
        fit(tmp_path, 2, resume=True, version=second)
    fit(tmp_path, 2, resume=True, version=first)


def test_a_checkpoint_without_versions_is_one_of_the_first(folder, monkeypatch):
    network, optimizer = fit(folder, 2, resume=True), tinycnn.SGD()
    path = checkpoint.path_in(folder)
    tensors, metadata = checkpoint.safetensors.read(path)
    state = json.loads(metadata[checkpoint.METADATA_KEY])
    configuration = state["configuration"]
    assert configuration.pop("arithmetic_version") == checkpoint.ARITHMETIC_VERSION
    assert configuration.pop("batches_version") == 1
    checkpoint.save_epoch(folder, network, optimizer, configuration, state["records"], False)
    fresh = fit(folder.parent / "fresh", 1)
    rows = checkpoint.load(path, fresh, optimizer, configuration | {"arithmetic_version": 1})
    assert rows == state["records"]


def test_a_best_model_that_is_missing_is_refused(folder):
    (folder / BEST).unlink()
    with pytest.raises(CheckpointError, match=f"{BEST}: is missing: it had the .* epoch 1; put th"):
        fit(folder, 4, resume=True)
    assert not (folder / BEST).exists()


@pytest.mark.parametrize("n_epochs", [1, 2, 4])
def test_a_best_model_of_another_run_is_refused(folder, tmp_path, n_epochs):
    fit(tmp_path / "other", n_epochs, seed=1)
    shutil.copy(tmp_path / "other" / BEST, folder / BEST)
    with pytest.raises(CheckpointError, match=f"{BEST}: was written by another run than .*: put"):
        fit(folder, 6, resume=True)


def test_a_best_model_of_the_next_epoch_must_be_written_again(tmp_path, monkeypatch):
    """A process that ends between the two files of an epoch leaves it; another run's looks alike,
    but the epoch, done again, is not the best."""
    order = untrained().predict_logits(IMAGES).mean(axis=0).argsort()
    likely, unlikely = np.full(30, order[-1]), np.full(30, order[0])
    labels = [likely, likely, unlikely]
    give = lambda self, epoch: iter([(IMAGES, labels[epoch], None)])  # noqa: E731
    monkeypatch.setattr(Versioned, "__call__", give)
    fit(tmp_path / "run", 2)
    monkeypatch.undo()
    fit(tmp_path / "other", 3, seed=1)
    shutil.copy(tmp_path / "other" / BEST, tmp_path / "run" / BEST)
    monkeypatch.setattr(Versioned, "__call__", give)
    with pytest.raises(CheckpointError, match=f"{BEST}: was written by another run"):
        fit(tmp_path / "run", 3, resume=True)


# ---- sweeps ------------------------------------------------------------------------------------

CHANGES = {
    "another name": (dict(name="0123456789abcdef"), "the result of another trial"),
    "other data": (dict(data="other"), "the result of another trial, other data"),
    "a share above 1": (dict(validation={"accuracy": 7.5, "loss": 1.0}), "not of a network"),
    "a share below 0": (dict(test={"accuracy": -0.1, "loss": 1.0}), "not of a network"),
    "an infinite loss": (dict(test={"accuracy": 0.5, "loss": float("inf")}), "not of a network"),
    "a loss that is no number": (
        dict(test={"accuracy": 0.5, "loss": float("nan")}),
        "not of a net",
    ),
    "true as a share": (dict(test={"accuracy": True, "loss": 1.0}), "not of a network"),
    "an epoch before the first": (dict(best_epoch=-1), "best_epoch is -1"),
    "endless": (dict(seconds=float("inf")), "seconds is inf"),
    "a curve above 1": (dict(val_accuracy=[0.5, 7.5]), "val_accuracy is not a list"),
    "an infinite curve": (dict(train_loss=[float("inf")]), "train_loss is not a list"),
    "no curve": (dict(val_loss="high"), "val_loss is not a list"),
}


@pytest.fixture(scope="module")
def result():
    """The result of a trial that was not run, and its trial."""
    trial = sweep.Trial(size="XXS", seed=3)
    scores = {"accuracy": 0.5, "loss": 1.5}
    name, options = trial.name("toy"), json.loads(json.dumps(asdict(trial)))
    return name, dict(
        name=name, trial=options, data="toy", best_epoch=1, n_parameters=10, seconds=2.5,
        validation=scores, test=None, val_accuracy=[0.25, 0.5], train_loss=[2.0, 1.0],
    )  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_that_cannot_be_the_trials_is_refused(result, tmp_path, change):
    (name, good), (values, words) = result, CHANGES[change]
    folder = sweep.SweepFolder(tmp_path)
    folder.save_result(name, good)
    assert folder.result(name) == good
    folder.save_result(name, good | values)
    with pytest.raises(sweep.SweepFolderError, match=f"{name}.json: not a trial's file: .*{words}"):
        folder.result(name)


def test_a_result_under_the_name_of_another_trial_is_refused(result, tmp_path):
    name, good = result
    other = sweep.Trial(size="XXS", seed=4).name("toy")
    folder = sweep.SweepFolder(tmp_path)
    for wrong in (good, good | {"name": other}):
        folder.save_result(other, wrong)
        with pytest.raises(sweep.SweepFolderError, match="the result of another trial"):
            folder.result(other)
