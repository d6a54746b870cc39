"""TrainingRun, and the files of a run folder: history.jsonl, config.json, predictions.csv."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_train import assert_same_run, contents
from toy_sweep import TOY, ToyBatches, ToySource, toy_images

import tinycnn
from tinycnn import checkpoint, models
from tinycnn.calibration import Calibration
from tinycnn.optim import optimizer_from_name
from tinycnn.run import (
    FinishedRun,
    History,
    RunConfig,
    RunFolderError,
    TrainingData,
    TrainingOptions,
    TrainingRun,
    check_unused,
    has_begun,
    make_schedule,
    read_config,
    training,
)
from tinycnn.run.networks import make_network
from tinycnn.train import Callback, DivergedError, Validation, iter_epochs

OPTIONS = TrainingOptions(**TOY, loss="kd", dropout=0.2, ema_decay=0.5, schedule="cosine")
N_EPOCHS = OPTIONS.epochs


def toy_data(with_teacher=True, validation=True):
    images, labels = toy_images(6, 1)
    return TrainingData(
        ToyBatches(ToySource(), OPTIONS.seed, with_teacher),
        ToySource.classes,
        Validation(images, labels) if validation else None,
        framing="paper",
    )


def begin(folder=None, options=OPTIONS, **more):
    data = more.pop("data", None) or toy_data(options.has_teacher)
    return TrainingRun(options, data, folder, backend="numpy", n_threads=1, **more)


class Interrupted(Exception):
    pass


class StopAfter(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch(self, record):
        if record.epoch == self.epoch:
            raise Interrupted


# ---- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, n_parameters",
    [
        ({}, 65_000),
        ({"batch_norm": False}, 65_000),
        ({"network": "residual48"}, 56_040),
        ({"network": "residual48", "batch_norm": False}, 56_040),
        ({"network": "residual48-large"}, 831_752),
        ({"network": "residual48", "dropout": 0.2}, 56_040),
    ],
    ids=str,
)
def test_networks_by_their_options(options, n_parameters):
    chosen = TrainingOptions(**options)
    network = make_network(chosen, models.CLASSES, "fer2013", backend="numpy")
    assert network.folded().n_parameters == n_parameters
    assert bool(network.statistics) == chosen.batch_norm
    kinds = [type(layer).__name__ for layer in network.layers]
    assert ("Dropout" in kinds) == bool(chosen.dropout)
    spec = network.input_spec
    assert spec.shape == (chosen.input_px, chosen.input_px, 1) and spec.framing == "fer2013"
    assert spec.classes == models.CLASSES and spec.scaling == "standardized"


# ---- training ----------------------------------------------------------------------------------


def test_a_run_is_what_its_options_say():
    """The same network, loss, optimizer and schedule put together by hand give the same bits."""
    run = begin()
    records = run.train()
    network = models.microexpnet(
        "v",
        4,
        3,
        classes=ToySource.classes,
        scaling="standardized",
        bias_std=0.0,
        dropout=0.2,
        framing="paper",
        batch_norm=True,
        backend="numpy",
        seed=0,
    )
    data = toy_data()
    by_hand = iter_epochs(
        network,
        data.batches,
        loss=tinycnn.Distillation(4.0, 0.7, "hinton"),
        optimizer=optimizer_from_name("adamw", learning_rate=5e-3, backend="numpy"),
        schedule=make_schedule("cosine", 5e-3, N_EPOCHS * data.batches.n_batches),
        n_epochs=N_EPOCHS,
        validation=data.validation,
        ema_decay=0.5,
    )
    losses = [record.train_loss for record in by_hand]
    assert [record.train_loss for record in records] == losses and records is run.records
    assert network.input_spec == run.network.input_spec
    assert np.array_equal(network.parameter_vector, run.network.parameter_vector)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_resumed_run_has_the_same_bits(tmp_path, epoch):
    whole, out = tmp_path / "whole", tmp_path / "new" / "run"
    begin(whole).train()
    with pytest.raises(Interrupted):
        begin(out).train([StopAfter(epoch)])
    resumed = begin(out, resume=True)
    assert [record.epoch for record in resumed.records] == list(range(epoch + 1))
    assert [record.epoch for record in resumed.train()] == list(range(N_EPOCHS))
    assert_same_run(out, contents(whole))
    assert resumed.train() == resumed.records and len(resumed.records) == N_EPOCHS


def test_resuming_needs_a_checkpoint_with_the_same_options(tmp_path):
    with pytest.raises(ValueError, match="resume needs the folder to resume from"):
        begin(resume=True)
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint to resume from"):
        begin(tmp_path, resume=True)
    begin(tmp_path).train()
    other = TrainingOptions(**TOY, loss="kd", dropout=0.2, ema_decay=0.5)
    with pytest.raises(checkpoint.CheckpointError, match="schedule CosineWithWarmup"):
        begin(tmp_path, other, resume=True).train()


def test_the_best_network_is_calibrated_in_its_folder(tmp_path):
    run = begin(tmp_path, replace(OPTIONS, batch_norm=False))
    run.train()
    assert run.best_network().calibration_temperature == 1.0
    network = run.calibrate()
    saved = tinycnn.load(tmp_path / checkpoint.BEST, backend="numpy")
    assert saved.calibration_temperature == network.calibration_temperature != 1.0
    best = max(run.records, key=lambda record: record.val_accuracy)
    assert saved.training_summary["epoch"] == best.epoch


def test_batch_norm_is_for_the_training_alone(tmp_path):
    run = begin(tmp_path)
    run.train()
    before = run.best_network()
    run.calibrate()
    saved = tinycnn.load(tmp_path / checkpoint.BEST, backend="numpy")
    assert before.statistics and not saved.statistics
    images = run.data.validation.images
    np.testing.assert_allclose(
        saved.predict_logits(images), before.predict_logits(images), rtol=1e-5, atol=1e-5
    )


def test_a_calibration_that_makes_things_worse_is_not_applied_and_reported(tmp_path, monkeypatch):
    found = Calibration(fitted=1.5, error=(0.02, 0.05), nll=(0.7, 0.6), n_images=6)
    monkeypatch.setattr(training, "calibrate", lambda logits, labels: found)
    run = begin(tmp_path)
    run.train()
    assert run.calibrate().calibration_temperature == 1.0
    assert run.best_network().calibration_temperature == 1.0
    finished = FinishedRun({"with teacher": run}, [f"image {k}" for k in range(6)])
    finished.write(tmp_path, RunConfig("c", {"variant": "v", "size": 4}, {}, 16, 6))
    told = "none: temperature 1.500 would make it worse, expected calibration error 2.0% -> 5.0%"
    assert f"calibration: {told}" in finished.summary(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert told.replace(">", "&gt;") in page


def test_what_a_run_without_folder_or_validation_cannot_do(tmp_path):
    run = begin()
    run.train()
    with pytest.raises(ValueError, match="no folder, so its best network was not kept"):
        run.best_network()
    run = begin(tmp_path, data=toy_data(validation=False))
    assert run.train()[0].val_accuracy is None
    with pytest.raises(ValueError, match="no validation images to calibrate"):
        run.calibrate()


def test_patience_and_divergence_are_those_of_fit():
    still = dict(TOY, epochs=9, patience=1, loss="none", learning_rate=1e-9)
    assert len(begin(options=TrainingOptions(**still)).train()) < 9
    with pytest.raises(DivergedError):
        begin(options=TrainingOptions(**TOY, loss="none", learning_rate=1e30)).train()


# ---- history.jsonl -----------------------------------------------------------------------------


def lines(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_history_has_a_line_for_each_epoch_also_after_a_crash(tmp_path):
    run = begin(tmp_path)
    assert not has_begun(tmp_path)
    with pytest.raises(Interrupted):  # the checkpoint of epoch 1 is written, its line is not
        run.train([StopAfter(1), History(tmp_path)])
    assert [row["epoch"] for row in lines(tmp_path)] == [0] and has_begun(tmp_path)
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"epoch": 1, "tra')
    resumed = begin(tmp_path, resume=True)
    history = History(tmp_path, resumed.records)
    assert [row["epoch"] for row in lines(tmp_path)] == [0, 1]
    resumed.train([history])
    assert lines(tmp_path) == [record.to_dict() for record in resumed.records]


def test_a_run_has_begun_when_its_first_epoch_is_done(tmp_path):
    History(tmp_path)
    assert (tmp_path / "history.jsonl").read_text() == "" and not has_begun(tmp_path)
    (tmp_path / "history.jsonl").write_text("{}\n")
    assert has_begun(tmp_path)


# ---- config.json -------------------------------------------------------------------------------

CONFIG = RunConfig("tinycnn train", {"epochs": 3, "variant": "v"}, {"images": "ab"}, 10, 4)


def test_a_configuration_is_read_back_and_data_are_compared(tmp_path):
    CONFIG.begin(tmp_path / "new" / "run")
    found = read_config(tmp_path / "new" / "run")
    assert found == CONFIG and found.tinycnn == tinycnn.__version__
    found.check_data({"images": "ab"}, tmp_path)
    with pytest.raises(RunFolderError, match="since the run began: images, soft labels; resume"):
        found.check_data({"images": "ac", "soft labels": "d"}, tmp_path)


def test_entries_of_other_releases_are_passed_over(tmp_path):
    content = {"command": "c", "options": {}, "data": {}, "colour": "red"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_config(tmp_path) == RunConfig("c", {}, {}, 0, 0, tinycnn="")


def test_a_folder_with_a_run_is_not_used_for_another(tmp_path):
    check_unused(tmp_path / "new" / "deeper")
    assert list(tmp_path.iterdir()) == []
    CONFIG.begin(tmp_path)
    for write in (CONFIG.begin, check_unused):
        with pytest.raises(RunFolderError, match="holds another run"):
            write(tmp_path)
    assert read_config(tmp_path) == CONFIG


# ---- results -----------------------------------------------------------------------------------


def test_the_results_of_two_runs(tmp_path):
    runs = {
        "with teacher": begin(tmp_path),
        "without teacher": begin(tmp_path / "plain", OPTIONS.without_teacher()),
    }
    for run in runs.values():
        run.train()
        run.calibrate()
    finished = FinishedRun(runs, [f"image {k}" for k in range(6)])
    finished.write(tmp_path, RunConfig("c", {"variant": "v", "size": 4}, {}, 16, 6), ["a note"])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "MicroExpNet v-4" in page and "a note" in page and "without teacher" in page
    summary = finished.summary(tmp_path)
    best = {name: max(r.val_accuracy for r in run.records) for name, run in runs.items()}
    for name, accuracy in best.items():
        assert f"{name}: {accuracy:.1%} of 6 validation images right" in summary
    assert f"cost: {2 * N_EPOCHS} epochs in " in summary and "on 1 thread\n" in summary
    told = json.loads(json.dumps(finished.as_json(tmp_path)))
    assert told["accuracy"] == best and told["n_epochs"] == 2 * N_EPOCHS
    assert told["model"] == str(tmp_path / checkpoint.BEST)
    header, *rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert header == "id,label,predicted,one,two,three" and len(rows) == 6
    images, labels = toy_images(6, 1)
    probs = runs["with teacher"].best_network().predict_proba(images)
    for k, row in enumerate(rows):
        name, label, predicted, *cells = row.split(",")
        assert (name, label) == (f"image {k}", ToySource.classes[labels[k]])
        assert predicted == ToySource.classes[probs[k].argmax()]
        assert np.allclose([float(cell) for cell in cells], probs[k], atol=1e-7)
