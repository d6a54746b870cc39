"""iter_epochs: records against independent sums, early stopping, resuming after every step."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import training_run
from training_run import (
    N_BATCHES,
    N_EPOCHS,
    N_IMAGES,
    SETUPS,
    StopAt,
    TinyBatches,
    begin,
    make_network,
    train,
    untimed,
    validation,
)

import tinycnn
from tinycnn import SGD, Adam, Constant, CrossEntropy, OneCycle, ReduceLROnPlateau, models
from tinycnn import train as train_module
from tinycnn.checkpoint import CheckpointError, path_in, records_in
from tinycnn.formats import safetensors
from tinycnn.train import Callback, Evaluation, Validation, evaluate, iter_epochs

ROOT = Path(__file__).resolve().parent.parent


def log_softmax(logits):
    """log softmax in float64, by the definition."""
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def weights_of(network):
    return {name: array.copy() for name, array in network.parameters.items()}


def contents(folder):
    """The content of a run folder that must be the same for two equal runs, in comparable form."""
    best, best_metadata = safetensors.read(folder / "model.safetensors")
    last, last_metadata = safetensors.read(path_in(folder))
    parts = {f"best {name}": array.tobytes() for name, array in best.items()}
    parts |= {f"last {name}": array.tobytes() for name, array in last.items()}
    parts["best description"] = best_metadata["tinycnn"]
    parts["last description"] = last_metadata["tinycnn"]
    parts["records"] = [untimed(row) for row in records_in(folder)]
    return parts


def assert_same_run(folder, expected):
    found = contents(folder)
    different = [name for name in expected if found.get(name) != expected[name]]
    assert not different and found.keys() == expected.keys(), different


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """setup -> (contents of its folder, records, final weights), each trained once."""
    done = {}

    def get(setup):
        if setup not in done:
            folder = tmp_path_factory.mktemp("undisturbed")
            network, records = train(setup, folder)
            done[setup] = (contents(folder), records, weights_of(network))
        return done[setup]

    return get


class Listener(Callback):
    def __init__(self):
        self.steps, self.epochs = [], []

    def on_step(self, record):
        self.steps.append(record)

    def on_epoch(self, record):
        self.epochs.append(record)


# ---- records ---------------------------------------------------------------------------------


@pytest.fixture
def frozen(tmp_path):
    """A run that learns nothing (rate 0, no dropout), so that its numbers can be computed."""
    network = make_network(name="pool_then_relu")
    batches = TinyBatches()
    batches.images = batches.images[:, :6, :5].copy()
    batches.targets = batches.targets % 3
    held_out = validation()
    images, labels = held_out.images[:, :6, :5].copy(), held_out.labels % 3
    return network, batches, images, labels


def test_records_are_means_over_images(frozen, tmp_path):
    network, batches, images, labels = frozen
    listener = Listener()
    targets = np.random.default_rng(0).dirichlet(np.ones(3), len(labels)).astype(np.float32)
    before = weights_of(network)
    records = list(
        iter_epochs(
            network,
            batches,
            loss=CrossEntropy(),
            optimizer=SGD(0.0, backend="numpy"),
            n_epochs=2,
            validation=Validation(images, labels, targets),
            callbacks=[listener],
        )
    )
    for name, array in before.items():
        assert np.array_equal(array, network.parameters[name])
    logits = network.predict_logits(batches.images)
    loss = -log_softmax(logits)[np.arange(N_IMAGES), batches.targets].mean()
    accuracy = (logits.argmax(axis=1) == batches.targets).mean()
    val_logits = network.predict_logits(images)
    val_loss = -(targets * log_softmax(val_logits)).sum(axis=1).mean()
    val_accuracy = (val_logits.argmax(axis=1) == labels).mean()
    assert [r.epoch for r in records] == [0, 1]
    for record in records:
        # 22 images in batches of 8, 8 and 6: the mean of the batch means would be wrong
        assert math.isclose(record.train_loss, loss, rel_tol=1e-5)
        assert math.isclose(record.train_accuracy, accuracy, rel_tol=1e-12)
        assert math.isclose(record.val_loss, val_loss, rel_tol=1e-5)
        assert math.isclose(record.val_accuracy, val_accuracy, rel_tol=1e-12)
        assert record.seconds > 0
        assert math.isclose(record.images_per_s, N_IMAGES / record.seconds)
    assert listener.epochs == records
    assert [(s.epoch, s.batch) for s in listener.steps] == [
        (e, k) for e in (0, 1) for k in range(3)
    ]
    assert [s.n_images for s in listener.steps] == [8, 16, 22] * 2
    assert {s.n_batches for s in listener.steps} == {N_BATCHES}
    steps = listener.steps[:3]
    so_far = np.cumsum([s.loss * n for s, n in zip(steps, (8, 8, 6))]) / (8, 16, 22)
    assert np.allclose([s.mean_loss for s in steps], so_far, rtol=1e-12)
    assert steps[-1].mean_loss == records[0].train_loss
    assert steps[-1].mean_accuracy == records[0].train_accuracy


def test_evaluate_without_targets_measures_against_labels(frozen):
    network, _, images, labels = frozen
    scored = evaluate(network, images, labels)
    expected = log_softmax(network.predict_logits(images))
    assert math.isclose(scored.loss, -expected[np.arange(len(labels)), labels].mean(), rel_tol=1e-5)
    assert np.allclose(scored.probs, np.exp(expected), atol=1e-6)
    assert scored.accuracy == (expected.argmax(axis=1) == labels).mean()


def test_for_distributions_the_largest_target_is_the_right_class(frozen):
    network, batches, _, _ = frozen
    labels = batches.targets
    batches.targets = np.full((N_IMAGES, 3), 0.2, np.float32)
    batches.targets[np.arange(N_IMAGES), labels] = 0.6
    (record,) = iter_epochs(
        network, batches, loss=CrossEntropy(), optimizer=SGD(0.0, backend="numpy"), n_epochs=1
    )
    logits = network.predict_logits(batches.images)
    assert record.train_accuracy == (logits.argmax(axis=1) == labels).mean()
    expected = -(batches.targets * log_softmax(logits)).sum(axis=1).mean()
    assert math.isclose(record.train_loss, expected, rel_tol=1e-5)


def test_without_validation_the_lowest_training_loss_is_best(tmp_path):
    _, records = train("sgd nesterov", tmp_path, validation=None, n_epochs=12)
    losses = [r.train_loss for r in records]
    assert {r.val_loss for r in records} == {r.val_accuracy for r in records} == {None}
    assert [r.is_best for r in records] == [
        k == 0 or loss < min(losses[:k]) for k, loss in enumerate(losses)
    ]
    best = tinycnn.load(tmp_path / "model.safetensors", backend="numpy")
    assert best.training_summary["epoch"] == int(np.argmin(losses))
    assert best.training_summary["train_loss"] == min(losses)


def test_best_is_the_first_of_equals_without_validation(frozen, tmp_path):
    network, batches, _, _ = frozen
    batches.shuffle = False
    options = dict(loss=CrossEntropy(), optimizer=SGD(0.0, backend="numpy"), n_epochs=3)
    records = list(iter_epochs(network, batches, **options, folder=tmp_path))
    assert len({r.train_loss for r in records}) == 1
    assert [r.is_best for r in records] == [True, False, False]


def scripted(monkeypatch, accuracies):
    """Options of a run whose validation returns these accuracies, epoch by epoch."""
    optimizer = training_run.optimizer_of("adam constant")

    def evaluate_by_script(network, images, labels, targets=None):
        epoch = optimizer.n_steps // N_BATCHES - 1
        return Evaluation(1.0, accuracies[epoch], np.zeros((len(labels), 4)))

    monkeypatch.setattr(train_module, "evaluate", evaluate_by_script)
    return dict(optimizer=optimizer, n_epochs=len(accuracies))


EARLY_STOPPING = [
    # accuracies, patience, epochs done, best epoch
    ((0.5, 0.7, 0.7, 0.6, 0.9, 0.9), 2, 4, 1),
    ((0.5, 0.7, 0.7, 0.6, 0.9, 0.9), 3, 6, 4),
    ((0.5, 0.5, 0.9, 0.9, 0.9, 0.9), 1, 2, 0),
    ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 1, 6, 5),
    ((0.9, 0.1, 0.1, 0.1, 0.1, 0.1), None, 6, 0),
]


def test_the_best_epoch_by_the_loss(monkeypatch, tmp_path):
    """The lowest validation loss, where all accuracies are equal; patience counts from there."""
    options = scripted(monkeypatch, (0.5,) * 6)
    losses = iter((0.9, 0.7, 0.8, 0.6, 0.6, 0.7))
    by_script = train_module.evaluate
    monkeypatch.setattr(
        train_module, "evaluate", lambda *args: replace(by_script(*args), loss=next(losses))
    )
    by_loss = replace(validation(), best_by="loss")
    _, records = train("adam constant", tmp_path, patience=2, validation=by_loss, **options)
    assert [r.is_best for r in records] == [True, True, False, True, False, False]
    with pytest.raises(ValueError, match="best_by is 'f1'; expected one of accuracy, loss"):
        replace(by_loss, best_by="f1")


@pytest.mark.parametrize("accuracies, patience, n_done, best", EARLY_STOPPING)
def test_early_stopping_and_best(monkeypatch, tmp_path, accuracies, patience, n_done, best):
    options = scripted(monkeypatch, accuracies)
    _, records = train("adam constant", tmp_path, patience=patience, **options)
    assert [r.val_accuracy for r in records] == list(accuracies[:n_done])
    assert max(r.epoch for r in records if r.is_best) == best
    saved = tinycnn.load(tmp_path / "model.safetensors", backend="numpy")
    assert saved.training_summary["epoch"] == best
    assert saved.training_summary["val_accuracy"] == accuracies[best]


@pytest.mark.parametrize("accuracies, patience, n_done, best", EARLY_STOPPING)
def test_early_stopping_is_the_same_resumed(
    monkeypatch, tmp_path, accuracies, patience, n_done, best
):
    whole = tmp_path / "whole"
    whole.mkdir()
    train("adam constant", whole, patience=patience, **scripted(monkeypatch, accuracies))
    for epoch in range(n_done):
        folder = tmp_path / str(epoch)
        folder.mkdir()
        options = scripted(monkeypatch, accuracies) | dict(patience=patience)
        with pytest.raises(KeyboardInterrupt):
            train("adam constant", folder, callbacks=[StopAt(epoch)], **options)
        options = scripted(monkeypatch, accuracies) | dict(patience=patience)
        _, rest = train("adam constant", folder, resume=True, seed=99, **options)
        assert [r.epoch for r in rest] == list(range(epoch + 1, n_done))
        assert_same_run(folder, contents(whole))


def test_a_callback_stops_training(tmp_path):
    class Enough(Callback):
        def on_epoch(self, record):
            assert records_in(tmp_path)[-1]["epoch"] == record.epoch  # already written
            return record.epoch == 1

    listener = Listener()
    _, records = train("sgd step", tmp_path, callbacks=[Enough(), listener])
    assert [r.epoch for r in records] == [0, 1]
    assert listener.epochs == records


def test_learning_rates_follow_the_schedule_step_by_step(monkeypatch, tmp_path):
    schedule = OneCycle(9e-3, N_EPOCHS * N_BATCHES)
    used = []
    optimizer = training_run.optimizer_of("adamw one-cycle")
    step = optimizer.step

    def noting(parameters, gradients, learning_rate):
        used.append(learning_rate)
        step(parameters, gradients, learning_rate)

    monkeypatch.setattr(optimizer, "step", noting)
    _, records = train("adamw one-cycle", tmp_path, optimizer=optimizer)
    assert used == [schedule(k) for k in range(N_EPOCHS * N_BATCHES)]
    assert [r.learning_rate for r in records] == used[::N_BATCHES]


def test_without_schedule_the_optimizers_own_rate_is_used(undisturbed, tmp_path):
    expected, records, _ = undisturbed("adam constant")
    assert {r.learning_rate for r in records} == {3e-3}
    train("adam constant", tmp_path, schedule=Constant(3e-3))
    assert contents(tmp_path) == expected


def test_nothing_is_printed(capfd, tmp_path):
    train("adamw one-cycle", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, records = train("adam constant", None)
    assert len(records) == N_EPOCHS and not list(tmp_path.iterdir())
    assert network.training_summary["epoch"] == N_EPOCHS - 1


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(n_epochs=0), "n_epochs is 0"),
        (dict(patience=0), "patience is 0"),
        (dict(folder=None, resume=True), "resume needs the folder"),
        (
            dict(schedule=ReduceLROnPlateau(0.1), validation=None),
            "ReduceLROnPlateau: val_loss needs validation data",
        ),
    ],
)
def test_arguments_out_of_range_are_errors_before_the_first_epoch(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        begin("adam constant", **dict(folder=tmp_path) | options)


# ---- wrong kinds of arguments -----------------------------------------------------------------


def test_objects_that_are_not_batches_or_losses_are_refused():
    network, options = training_run.make_network("numpy"), dict(optimizer=Adam(), n_epochs=1)
    with pytest.raises(TypeError, match="batches is a list; expected an object with n_batches"):
        iter_epochs(network, [], loss=CrossEntropy(), **options)
    with pytest.raises(TypeError, match="loss is <function .*; expected a tinycnn.Loss"):
        iter_epochs(network, TinyBatches(), loss=lambda logits, targets: 0.0, **options)


# ---- a rate that depends on the records -------------------------------------------------------


def test_the_rate_follows_the_records():
    """Every epoch's rate is the schedule's after the epochs before, also with several steps."""
    _, records = train("rmsprop plateau", None)
    schedule = SETUPS["rmsprop plateau"][2]
    rates = [record.learning_rate for record in records]
    assert rates == [schedule.after(records[:k])(0) for k in range(N_EPOCHS)]
    assert rates[0] == 4e-3 > rates[-1]


def test_a_rate_that_watches_the_training_loss_needs_no_validation():
    schedule = ReduceLROnPlateau(0.01, "train_loss", 0.5, patience=1, min_delta=100)
    _, records = train("sgd step", None, schedule=schedule, validation=None)
    assert [record.learning_rate for record in records] == [0.01, 0.01, 0.005, 0.0025]


def test_a_run_is_resumed_with_its_own_class_weights(tmp_path):
    train("adam constant", tmp_path, n_epochs=1)
    weighted = CrossEntropy(class_weights=(1, 2, 1, 1))
    with pytest.raises(CheckpointError, match=r"this run has CrossEntropy.*\(1.0, 2.0, 1.0, 1.0\)"):
        begin("adam constant", tmp_path, resume=True, loss=weighted)
    train("adam constant", tmp_path, resume=True)


# ---- training learns -------------------------------------------------------------------------


def test_eight_images_are_memorised():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 84, 84), dtype=np.uint8), np.arange(8)

    class Eight:
        n_batches, n_images = 1, 8

        def __call__(self, epoch):
            yield images, labels, None

    network = models.microexpnet(scaling="standardized", bias_std=0.0)
    records = list(
        iter_epochs(network, Eight(), loss=CrossEntropy(), optimizer=Adam(2e-3), n_epochs=80)
    )
    assert records[0].train_loss > 1.5
    assert records[-1].train_loss < 0.01
    assert records[-1].train_accuracy == 1.0
    assert evaluate(network, images, labels).loss < 0.01


@pytest.mark.parametrize("setup", SETUPS)
def test_every_optimizer_lowers_the_loss(undisturbed, setup):
    _, records, _ = undisturbed(setup)
    longer = records
    if setup.startswith("sgd"):
        _, longer = train(setup, None, n_epochs=12)
    assert longer[-1].train_loss < records[0].train_loss


# ---- the same bits ---------------------------------------------------------------------------


def run_elsewhere(setup, folder, *options):
    """The same run in another process."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, ROOT / "tests" / "training_run.py", setup, folder, *options]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_same_bits_for_one_and_three_threads_here_and_in_another_process(tmp_path):
    setup = "adamw one-cycle"
    train(setup, tmp_path, backend="numba", n_threads=1)
    expected = contents(tmp_path)
    here = tmp_path / "here"
    here.mkdir()
    train(setup, here, backend="numba", n_threads=3)
    assert_same_run(here, expected)
    there = tmp_path / "there"
    done = run_elsewhere(setup, there, "backend=numba", "n_threads=3")
    assert done.returncode == 0, done.stderr
    assert_same_run(there, expected)


def test_interrupted_in_one_process_and_resumed_in_another_with_more_threads(tmp_path):
    setup = "adam cosine"
    train(setup, tmp_path, backend="numba", n_threads=2)
    expected = contents(tmp_path)
    folder = tmp_path / "resumed"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(setup, folder, backend="numba", n_threads=1, callbacks=[StopAt(2, 1)])
    done = run_elsewhere(setup, folder, "backend=numba", "n_threads=3", "resume=true", "seed=99")
    assert done.stdout.split("\n") == ["epoch 2", "epoch 3", ""], done.stderr
    assert_same_run(folder, expected)


def test_another_seed_gives_other_weights(undisturbed, tmp_path):
    network, _ = train("adam constant", tmp_path, seed=4)
    _, _, weights = undisturbed("adam constant")
    assert not np.array_equal(network.parameters["conv1.w"], weights["conv1.w"])


STOPS = [(epoch, batch) for epoch in range(N_EPOCHS) for batch in (*range(N_BATCHES), None)]


@pytest.mark.parametrize("setup", SETUPS)
def test_a_run_resumed_after_any_step_equals_an_uninterrupted_one(undisturbed, tmp_path, setup):
    expected, records, weights = undisturbed(setup)
    for epoch, batch in STOPS:
        folder = tmp_path / f"{epoch}-{batch}"
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            train(setup, folder, callbacks=[StopAt(epoch, batch)])
        n_done = epoch + (batch is None)
        if n_done == 0:
            assert not path_in(folder).exists()
            continue
        batches = TinyBatches()
        # another seed: everything it would change must come from the checkpoint
        network, rest = train(setup, folder, resume=True, seed=99, batches=batches)
        assert batches.asked == list(range(n_done, N_EPOCHS))
        assert [untimed(r) for r in rest] == [untimed(r) for r in records[n_done:]]
        assert_same_run(folder, expected)
        if n_done < N_EPOCHS:
            for name, array in weights.items():
                assert network.parameters[name].tobytes() == array.tobytes(), (name, epoch, batch)


def test_a_run_interrupted_many_times(undisturbed, tmp_path):
    expected, _, _ = undisturbed("sgd nesterov")
    for k, stop in enumerate([(0, None), (1, 0), (1, 2), (2, 1), (2, None), (3, 2)]):
        with pytest.raises(KeyboardInterrupt):
            train("sgd nesterov", tmp_path, resume=k > 0, callbacks=[StopAt(*stop)])
    train("sgd nesterov", tmp_path, resume=True)
    assert_same_run(tmp_path, expected)


def test_resuming_a_finished_run_changes_nothing(undisturbed, tmp_path):
    train("adam constant", tmp_path)
    before = [path.read_bytes() for path in (tmp_path / "model.safetensors", path_in(tmp_path))]
    network, rest = train("adam constant", tmp_path, resume=True, seed=99)
    assert rest == []
    assert before == [
        path.read_bytes() for path in (tmp_path / "model.safetensors", path_in(tmp_path))
    ]
    for name, array in undisturbed("adam constant")[2].items():
        assert np.array_equal(network.parameters[name], array)


def test_a_finished_run_may_be_given_more_epochs(tmp_path):
    train("adam constant", tmp_path, n_epochs=2)
    train("adam constant", tmp_path, n_epochs=4, resume=True)
    whole = tmp_path / "whole"
    whole.mkdir()
    train("adam constant", whole)
    assert_same_run(tmp_path, contents(whole))


def test_these_tests_use_dropout(tmp_path):
    network, _ = begin("adam constant", None)
    x = network.scale(TinyBatches().images)
    assert not np.array_equal(network.forward(x, training=True), network.forward(x, training=True))


def test_contents_would_notice_a_single_bit(tmp_path):
    train("adam constant", tmp_path)
    expected = contents(tmp_path)
    network = tinycnn.load(tmp_path / "model.safetensors", backend="numpy")
    network.parameters["dense2.b"].view(np.uint32)[0] ^= 1
    safetensors.save(network, tmp_path / "model.safetensors")
    with pytest.raises(AssertionError, match="best dense2.b"):
        assert_same_run(tmp_path, expected)
