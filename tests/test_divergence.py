"""The error of a run that diverges says where it began; the last good weights come back."""

import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import training_run
from training_run import N_BATCHES, SETUPS, TinyBatches, begin, make_network, train

import tinycnn
from tinycnn import CrossEntropy, Loss, divergence
from tinycnn import train as train_module
from tinycnn.checkpoint import path_in, records_in
from tinycnn.train import Callback, DivergedError, Evaluation

SETUP = "adam constant"
BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
EPOCH, BATCH = 1, 1
STEP = EPOCH * N_BATCHES + BATCH


class After(Callback):
    """Changes the network after step (EPOCH, batch)."""

    def __init__(self, batch, change):
        self.batch, self.change, self.network = batch, change, None

    def on_step(self, record):
        if (record.epoch, record.batch) == (EPOCH, self.batch):
            self.change(self.network)


def diverged(folder, backend, change, batch=BATCH - 1, **options):
    """(error, network) of a run whose network is changed after step (EPOCH, batch)."""
    callback = After(batch, change)
    options = dict(backend=backend, callbacks=[callback]) | options
    callback.network, records = begin(SETUP, folder, **options)
    with pytest.raises(DivergedError) as caught:
        list(records)
    return caught.value, callback.network


def place(error):
    return error.epoch, error.batch, error.step


def scale(name, factor):
    return lambda network: np.multiply(network.parameters[name], factor, network.parameters[name])


# ---- where it began ----------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize(
    "name, factor, layer",
    [
        ("conv1.w", 1e38, "conv1"),
        ("conv2.w", 1e38, "conv2"),
        ("dense1.w", 1e38, "dense1"),
        ("dense2.w", 1e38, "dense2"),
    ],
)
def test_for_overflowing_outputs_the_error_names_the_layer(tmp_path, backend, name, factor, layer):
    """The weights stay finite; with pixels of 0..255 the outputs overflow."""

    def blow_up(network):
        network.parameters[name][...] = factor
        for bias in ("conv1.b", "conv2.b", "dense1.b"):  # so that no ReLU hides the overflow
            np.abs(network.parameters[bias], network.parameters[bias])

    error, _ = diverged(tmp_path, backend, blow_up)
    assert error.where == f"the output of {layer}" and place(error) == (EPOCH, BATCH, STEP)
    assert str(error).startswith("the loss is ") and "\n" not in str(error)
    assert f"in epoch 1, batch 1 (step 4), first in the output of {layer}; a lower" in str(error)


@BACKENDS
@pytest.mark.parametrize("planted", [["dense2"], ["conv1", "dense1"], ["conv1"]])
def test_for_bad_gradients_the_error_names_the_last_layer_and_the_step(
    tmp_path, monkeypatch, backend, planted
):
    """Backward goes from the last layer to the first; the loss shows it only one step later."""
    network, records = begin(SETUP, tmp_path, backend=backend)
    compute, calls = network.loss_and_gradients, []

    def planting(*arguments):
        found = compute(*arguments)
        if len(calls) == STEP:
            for layer in planted:
                network.gradients[f"{layer}.b"][-1] = np.inf
        calls.append(1)
        return found

    monkeypatch.setattr(network, "loss_and_gradients", planting)
    with pytest.raises(DivergedError) as caught:
        list(records)
    assert caught.value.where == f"the gradients of {planted[-1]}"
    assert place(caught.value) == (EPOCH, BATCH, STEP) and len(calls) == STEP + 2


@BACKENDS
@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_for_an_update_that_overflows_the_error_names_the_step(tmp_path, backend, batch):
    """Noticed by the next step's loss, or after the last step of an epoch by the weights."""

    @dataclass(frozen=True)
    class Blast:
        def __call__(self, step):
            return 1e38 if step == N_BATCHES + batch else 1e-3

    optimizer = training_run.optimizer_of("sgd step", backend)
    options = dict(schedule=Blast(), optimizer=optimizer, validation=None)
    _, records = begin(SETUP, tmp_path, backend=backend, **options)
    with pytest.raises(DivergedError) as caught:
        list(records)
    error = caught.value
    assert error.where.startswith("the update of conv1") and error.batch == batch
    assert error.step == N_BATCHES + batch
    noticed = "weights are not finite" if batch == N_BATCHES - 1 else "the loss is "
    assert error.what.startswith(noticed)
    assert [row["epoch"] for row in records_in(tmp_path)] == [0]
    for path in (tmp_path / "model.safetensors", path_in(tmp_path)):
        assert np.isfinite(tinycnn.load(path, backend="numpy").parameter_vector).all()


@BACKENDS
def test_too_high_a_learning_rate_diverges(tmp_path, backend):
    with pytest.raises(
        DivergedError, match=r"batch \d+ .* of (conv|dense)\d.* lower learning rate"
    ):
        train("sgd nesterov", tmp_path, schedule=tinycnn.Constant(1e30), backend=backend)


@dataclass(frozen=True)
class Spoilt(Loss):
    """Cross-entropy that returns NaN at one step although the logits are finite."""

    optimizer: object

    def value_and_gradient(self, logits, inputs, backend):
        value, dlogits = CrossEntropy().value_and_gradient(logits, inputs, backend)
        return (math.nan if self.optimizer.n_steps == STEP else value), dlogits


@BACKENDS
def test_a_bad_loss_of_finite_logits_points_at_the_targets(tmp_path, backend):
    optimizer = training_run.optimizer_of(SETUP, backend)
    options = dict(optimizer=optimizer, loss=Spoilt(optimizer))
    error, _ = diverged(tmp_path, backend, lambda network: None, **options)
    assert place(error) == (EPOCH, BATCH, STEP)
    assert error.where == "the loss" and "soft labels of that batch" in str(error)
    assert "learning rate" not in str(error)


@BACKENDS
def test_bad_weights_between_epochs_are_not_blamed_on_gradients(backend):
    network = make_network(backend)
    network.parameters["conv2.b"][0] = np.nan
    other = dict(loss=CrossEntropy(), optimizer=training_run.optimizer_of(SETUP, backend))
    with pytest.raises(DivergedError) as caught:
        list(tinycnn.iter_epochs(network, TinyBatches(), n_epochs=1, **other))
    assert caught.value.where == "the weights that the epoch began with"
    assert place(caught.value) == (0, 0, 0)


def test_a_bad_validation_loss_counts_as_the_last_step(tmp_path, monkeypatch):
    nothing = Evaluation(math.nan, 0.0, np.zeros((16, 4)))
    monkeypatch.setattr(train_module, "evaluate", lambda *arguments: nothing)
    with pytest.raises(DivergedError, match="the validation loss is nan after") as caught:
        train(SETUP, tmp_path)
    assert place(caught.value) == (0, N_BATCHES - 1, N_BATCHES - 1)


def test_an_overflow_only_in_the_kernels_is_blamed_on_the_last_layer(monkeypatch):
    network = make_network("numpy")
    images = TinyBatches().images
    monkeypatch.setattr(network, "forward", lambda x: np.full((len(x), 4), np.inf))
    assert divergence.origin(network, images) == ("the output of dense2", False)


def test_the_first_bad_image_is_found_late_in_a_batch(monkeypatch):
    network = make_network("numpy")
    images = np.zeros((600, 10, 9), np.uint8)
    network.parameters["conv1.w"][...] = 1e37
    assert divergence.origin(network, images).where == "the loss"
    images[599] = 255
    with np.errstate(over="ignore", invalid="ignore"):
        assert divergence.origin(network, images).where == "the output of conv1"


def test_the_error_can_be_pickled():
    error = DivergedError("the loss is nan", 2, 3, 9, "the output of conv1")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and copy.where == error.where and place(copy) == (2, 3, 9)


def test_a_run_that_does_not_diverge_never_searches(tmp_path, monkeypatch):
    monkeypatch.setattr(divergence, "origin", None)
    train("adamw one-cycle", tmp_path)


# ---- what is kept --------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("with_folder", [True, False])
def test_the_network_and_the_folder_keep_the_last_whole_epoch(tmp_path, backend, with_folder):
    lose = lambda network: network.parameters["dense1.w"].fill(np.nan)  # noqa: E731
    folder = tmp_path if with_folder else None
    _, network = diverged(folder, backend, lose)
    good = make_network(backend)
    _, _, schedule, loss = SETUPS[SETUP]
    options = dict(optimizer=training_run.optimizer_of(SETUP, backend), loss=loss, n_epochs=EPOCH)
    list(tinycnn.iter_epochs(good, TinyBatches(), schedule=schedule, **options))
    assert network.parameter_vector.tobytes() == good.parameter_vector.tobytes()
    if with_folder:
        kept = tinycnn.load(path_in(tmp_path), backend="numpy")
        assert kept.parameter_vector.tobytes() == good.parameter_vector.tobytes()
        network, rest = train(SETUP, tmp_path, backend=backend, resume=True)
        assert [record.epoch for record in rest] == [1, 2, 3]


def test_a_first_epoch_that_diverges_leaves_the_first_weights():
    network, records = begin(SETUP, None, schedule=tinycnn.Constant(1e38))
    before = network.parameter_vector.copy()
    with pytest.raises(DivergedError):
        list(records)
    assert network.parameter_vector.tobytes() == before.tobytes()
