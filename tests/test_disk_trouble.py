"""A full disk or a removed or read-only folder gives an error message, and nothing is lost."""

import contextlib
import os

import numpy as np
import pytest
import toy_sweep
from disk_trouble import KINDS, files_limited_to, trouble
from small_networks import small_network
from test_train import assert_same_run, contents
from test_train_student import SmallFer2013, one_error_line, program, untimed_lines
from toy_sweep import TOY, ToySource
from training_run import begin, train

import ferdata.cli
import tinycnn
from ferdata.files.cache import cached_arrays
from tinycnn import checkpoint, cli, sweep
from tinycnn.run import History
from tinycnn.sweep.work import work
from tinycnn.train import Callback

SETUP = "adamw one-cycle"
ALL = pytest.mark.parametrize("kind", KINDS)
LEAVING_THE_FOLDER = pytest.mark.parametrize("kind", ["full", "read-only"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


class TroubleAfter(Callback):
    """The trouble begins after an epoch and lasts until the stack closes."""

    def __init__(self, epoch, stack, kind, folder):
        self.epoch, self.begin = epoch, lambda: stack.enter_context(trouble(kind, folder))

    def on_epoch(self, record):
        if record.epoch == self.epoch:
            self.begin()


# ---- training ----------------------------------------------------------------------------------


@ALL
def test_training_ends_with_an_error_that_names_the_file_and_can_be_resumed(tmp_path, kind):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    whole.mkdir()
    folder.mkdir()
    train(SETUP, whole)
    with contextlib.ExitStack() as stack:
        callbacks = [TroubleAfter(1, stack, kind, folder)]
        _, records = begin(SETUP, folder, callbacks=callbacks)
        with pytest.raises(OSError, match=KINDS[kind]) as caught:
            list(records)
    assert str(caught.value.filename).startswith(str(folder / "last"))
    if kind == "gone":
        assert not folder.exists()
        return
    assert "choose another folder" in str(caught.value)
    assert len(checkpoint.records_in(folder)) == 2  # the last good checkpoint
    assert not [path for path in folder.rglob(".*")]
    train(SETUP, folder, resume=True)
    assert_same_run(folder, contents(whole))


SHORT = ["--epochs", 3, "--batch-size", 16, "--rows", 32, "--variant", "v", "--backend", "numpy"]


def student(*argv):
    return program.main([str(word) for word in argv])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFer2013(tmp_path_factory.mktemp("small"))


@ALL
def test_train_student_says_in_one_line_how_to_resume(small, tmp_path, monkeypatch, capsys, kind):
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert student(*small.options(), *SHORT, "--out", whole) == 0
    capsys.readouterr()
    on_epoch = History.on_epoch
    with contextlib.ExitStack() as stack, monkeypatch.context() as patch:
        hook = TroubleAfter(0, stack, kind, folder)
        patch.setattr(History, "on_epoch", lambda *a: (on_epoch(*a), hook.on_epoch(a[1]))[0])
        assert student(*small.options(), *SHORT, "--out", folder) == 2
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.split("\n") if line.startswith("error: ")]
    assert captured.err.endswith(f"{line}\n") and "Traceback" not in captured.err
    assert KINDS[kind] in line and f"'{folder}/" in line
    if kind == "gone":
        assert line.endswith(f"{folder} is gone: start another run")
        return
    assert line.endswith(f"already written are complete: continue with --out {folder} --resume")
    assert student("--out", folder, "--resume") == 0
    assert_same_run(folder, contents(whole))
    assert untimed_lines(folder) == untimed_lines(whole)


def test_a_diverged_run_says_in_one_line_what_to_do(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert student(*small.options(), *SHORT, "--learning-rate", 1e30, "--out", out) == 2
    line = capsys.readouterr().err.rstrip("\n").split("\n")[-1]
    assert line.startswith("error: the loss is ") and "training diverged in epoch 0" in line
    assert "start another run with --learning-rate below 1e+30" in line and str(out) in line


# ---- a sweep -----------------------------------------------------------------------------------

FEW = sweep.grid(**TOY, loss="none", seed=[0, 1])


def run_sweep(folder):
    return sweep.run(FEW, ToySource(), folder, n_processes=2, backend="numpy")


def test_a_sweep_ends_and_no_trial_counts_as_failed(tmp_path):
    sweep.SweepFolder(tmp_path)
    with files_limited_to(500):
        with pytest.raises(sweep.SweepError, match="File too large.*the same sweep goes on"):
            run_sweep(tmp_path)
    assert not list((tmp_path / "failures").iterdir()) and not list(tmp_path.rglob(".*"))
    whole = run_sweep(tmp_path / "whole")
    assert toy_sweep.untimed(run_sweep(tmp_path)) == toy_sweep.untimed(whole)


@ALL
def test_a_trial_keeps_its_last_good_checkpoint(tmp_path, kind):
    source, folder = ToySource(), sweep.SweepFolder(tmp_path / "s")
    name, trial = next(iter(sweep.names(FEW, source.key).items()))
    options = dict(n_threads=1, backend="numpy", with_model=False)
    kept = []
    with contextlib.ExitStack() as stack:

        def begin_trouble(n_epochs):
            if n_epochs == 2:
                stack.enter_context(trouble(kind, folder.path))

        report = work(
            trial, name, source, folder, on_epoch=begin_trouble, keep=kept.append, **options
        )
    assert report.status == "impossible" and KINDS[kind] in report.error and not kept
    if kind != "gone":
        assert len(checkpoint.records_in(folder.work_path(name))) == 2
        assert work(trial, name, source, folder, **options).status == "done"


# ---- single files ------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    tinycnn.save(small_network("miniature", "numpy", np.float32), path)
    return path


@LEAVING_THE_FOLDER
@pytest.mark.parametrize("job", ["convert", "pack"])
def test_a_command_reports_it_in_one_line_and_keeps_the_old_file(
    small, model, tmp_path, capsys, kind, job
):
    out = tmp_path / ("out.npz" if job == "pack" else "out.safetensors")
    out.write_text("old")
    before = sorted(os.listdir(tmp_path))
    with trouble(kind, tmp_path):
        if job == "pack":
            status = ferdata.cli.main(["pack", str(small.data), str(out)])
        else:
            status = cli.main(["convert", str(model), str(out)])
    assert status == 2
    line = one_error_line(capsys.readouterr())
    assert str(out) in line and KINDS[kind] in line and "choose another folder" in line
    assert out.read_text() == "old" and sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("to", ["python", "c"])
def test_an_export_reports_it_and_keeps_the_old_file(model, tmp_path, capsys, to):
    """The exporter first tries the program in another folder, so only the writing fails here."""
    out = tmp_path / f"out.{'py' if to == 'python' else to}"
    before = sorted(os.listdir(tmp_path))
    with trouble("read-only", tmp_path):
        assert cli.main(["export", str(model), "--to", to, "--out", str(out)]) == 2
    line = one_error_line(capsys.readouterr())
    assert str(out.with_suffix("")) in line and KINDS["read-only"] in line
    assert sorted(os.listdir(tmp_path)) == before


@LEAVING_THE_FOLDER
@pytest.mark.parametrize("name", ["teacher.npz", "teacher.csv"])
def test_writing_soft_labels_reports_it_and_keeps_the_old_file(tmp_path, kind, name):
    logits = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    keys = dict(kind="logits", classes=("a", "b", "c"), rows=np.arange(64))
    with trouble(kind, tmp_path), pytest.raises(OSError, match=KINDS[kind]) as caught:
        ferdata.save_soft_labels(tmp_path / name, logits, **keys)
    assert caught.value.filename == str(tmp_path / name) and os.listdir(tmp_path) == []


@ALL
def test_an_unwritable_data_cache_only_costs_time(tmp_path, monkeypatch, kind):
    source, cache = tmp_path / "faces", tmp_path / "cache"
    source.write_bytes(b"pixels")
    cache.mkdir()
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(cache))
    build = lambda: {"data": np.arange(1000)}  # noqa: E731
    with trouble(kind, cache):
        assert (cached_arrays(source, "kind", build)["data"] == np.arange(1000)).all()
        assert kind == "gone" or os.listdir(cache) == []
    cached_arrays(source, "kind", build)
    assert len(os.listdir(cache)) == 1
