"""`tinycnn train` and `tinycnn sweep`: as installed commands, with --json, and old run folders."""

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_programs import EXAMPLES
from test_train import assert_same_run, contents
from test_train_student import SmallFer2013, one_error_line, untimed_lines

import tinycnn
from tinycnn import cli
from tinycnn.checkpoint import path_in
from tinycnn.cli import sweep as sweep_command
from tinycnn.cli.progress import TrainingBar
from tinycnn.cli.stored_options import read_stored
from tinycnn.cli.sweep_file import read_sweep_file
from tinycnn.cli.train import add_arguments
from tinycnn.ground.command_line import CannotError, Parser
from tinycnn.run import History

ROOT = EXAMPLES.parent
SHORT = ["--epochs", 2, "--batch-size", 16, "--rows", 32, "--variant", "v", "--backend", "numpy"]


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ferdata"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFer2013(tmp_path_factory.mktemp("small"))


def installed(*words, cwd):
    """Runs the command as the installed script does, in another folder than the repository."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    (entry,) = [line.split("=")[1].strip() for line in scripts if line.startswith("tinycnn")]
    module, function = entry.split(":")
    script = f"import sys; from {module} import {function}; sys.exit({function}())"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(*words):
    return cli.main([str(word) for word in words])


def test_finding_a_command_loads_no_compiler_and_no_images(tmp_path):
    code = """
import sys, tinycnn.cli
tinycnn.cli.build_parser()
heavy = {"numba", "scipy", "skimage", "matplotlib", "distributed", "torch"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# ---- train -------------------------------------------------------------------------------------


def test_the_command_gives_the_bits_of_the_example(small, tmp_path):
    done = installed("train", *small.options(), *SHORT, "--out", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "32 training and 15 validation images -> mine" in done.stdout
    assert "with teacher:" in done.stdout and done.stdout.endswith("report: mine/report.html\n")
    example = [sys.executable, EXAMPLES / "train_student.py", *small.options(), *SHORT]
    example = [*map(str, example), "--out", str(tmp_path / "example")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(example, env=environment, capture_output=True).returncode == 0
    assert_same_run(tmp_path / "mine", contents(tmp_path / "example"))
    assert untimed_lines(tmp_path / "mine") == untimed_lines(tmp_path / "example")
    for name in ("model.safetensors", "predictions.csv"):
        ours, theirs = ((tmp_path / folder / name).read_bytes() for folder in ("mine", "example"))
        assert ours == theirs
    configs = [json.loads((tmp_path / f / "config.json").read_text()) for f in ("mine", "example")]
    assert configs[0]["command"].startswith("tinycnn train --data ")
    assert configs[1]["command"].startswith("python ")
    assert configs[0]["options"] == configs[1]["options"]


def test_json_is_all_that_is_printed(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("train", *small.options(), *SHORT, "--compare", "--out", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["accuracy"]) == {"with teacher", "without teacher"}
    assert told["folder"] == str(out) and Path(told["report"]).is_file()
    network = tinycnn.load(told["model"])
    assert network.training_summary["val_accuracy"] == told["accuracy"]["with teacher"]


def test_no_teacher_on_request(small, tmp_path, capsys):
    out, plain = tmp_path / "run", tmp_path / "plain"
    assert run("train", *small.options(), *SHORT, "--loss", "none", "--out", out) == 0
    assert "with teacher:" not in capsys.readouterr().out
    assert run("train", *small.options()[:4], *SHORT, "--out", plain) == 0
    assert_same_run(out, contents(plain))
    assert "soft labels" not in json.loads((out / "config.json").read_text())["data"]


def test_errors_have_one_line_and_name_the_command(small, tmp_path, capsys):
    words = [*small.options(), "--out", tmp_path / "run"]
    assert run("train", *words, "--epochs", 0) == 2
    line = one_error_line(capsys.readouterr())
    assert "'0': expected a whole number of 1 or more (tinycnn train --help explains" in line
    assert run("train", *words, "--loss", "dkd", "--temperature", "2,4") == 2
    assert "loss dkd has one temperature, not 2" in one_error_line(capsys.readouterr())
    assert not (tmp_path / "run").exists()


# ---- resuming ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run("train", *small.options(), *SHORT, "--out", out) == 0
    return out


@pytest.fixture
def interrupted(small, tmp_path, monkeypatch, capsys):
    def stop(self, record):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(History, "on_epoch", stop)
        assert run("train", *small.options(), *SHORT, "--out", out) == 130
    err = capsys.readouterr().err
    assert err.endswith(f"stopped; continue with: --out {out} --resume\n")
    return out


LAST_RELEASE = """
    data votes no_face teacher targets rows variant size recipe epochs batch_size optimizer
    learning_rate schedule augment augment_strength mixup cutmix label_smoothing dropout ema_decay
    clip_norm patience loss temperature soft_weight loss_scale flipped_teacher compare threads seed
    backend scaling bias_std
""".split()
"""The options that config.json had before there was a table of options."""

FIRST_RELEASE = """
    data votes teacher targets rows variant size recipe epochs batch_size optimizer learning_rate
    schedule augment patience temperature soft_weight loss_scale compare threads seed backend
    scaling bias_std
""".split()
"""Those of its first version, in which the teacher was one path."""


@pytest.mark.parametrize("names", [LAST_RELEASE, FIRST_RELEASE])
def test_runs_of_earlier_releases_are_resumed(interrupted, undisturbed, names):
    path = interrupted / "config.json"
    config = json.loads(path.read_text())
    old = {name: config["options"][name] for name in names}
    if names is FIRST_RELEASE:
        (old["teacher"],) = old["teacher"]
    path.write_text(json.dumps({**config, "tinycnn": "0.0.1", "options": old}))
    assert run("train", "--out", interrupted, "--resume") == 0
    assert_same_run(interrupted, contents(undisturbed))
    for name in ("model.safetensors", "predictions.csv"):
        assert (interrupted / name).read_bytes() == (undisturbed / name).read_bytes()


def test_an_option_that_the_run_did_not_have_yet_has_its_default(interrupted, capsys):
    path = interrupted / "config.json"
    config = json.loads(path.read_text())
    del config["options"]["cutmix"]
    path.write_text(json.dumps(config))
    assert run("train", "--out", interrupted, "--resume", "--cutmix", 1) == 2
    message = f"--cutmix is 0.0 in {interrupted}, not 1.0"
    assert message in one_error_line(capsys.readouterr())
    assert run("train", "--out", interrupted, "--resume", "--cutmix", 0) == 0


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(epochs=0), "epochs is 0; expected a whole number of 1 or more"),
        (dict(optimizer="adagrad"), "optimizer is 'adagrad'"),
        (dict(colour="red"), "no option 'colour'"),
        (dict(rows=-4), "argument --rows: '-4': expected a whole number of 1 or more"),
        (dict(compare="yes"), "compare is 'yes'; expected true or false"),
        (dict(votes=True), "votes is true; expected a value"),
        (dict(teacher=["a", 1]), "teacher is ['a', 1]; expected one value"),
        (dict(resume=True), "no option 'resume'"),
    ],
)
def test_options_that_no_run_can_have_are_refused(interrupted, capsys, changes, words):
    path = interrupted / "config.json"
    config = json.loads(path.read_text())
    config["options"] |= changes
    path.write_text(json.dumps(config))
    assert run("train", "--out", interrupted, "--resume") == 2
    line = one_error_line(capsys.readouterr())
    assert f"{path}: not a run's configuration: {words}" in line
    assert not path_in(interrupted).with_name("report.html").exists()


def test_stored_values_are_read_as_the_command_line_reads_them():
    parser = Parser()
    add_arguments(parser)
    assert read_stored(parser, "rows", 40) == 40 and read_stored(parser, "compare", False) is False
    assert read_stored(parser, "teacher", "a.npz") == ["a.npz"]
    assert read_stored(parser, "teacher", ["a.npz", "-b"]) == ["a.npz", "-b"]
    assert read_stored(parser, "data", "-x") == "-x"
    with pytest.raises(CannotError, match="invalid choice: 'maybe'"):
        read_stored(parser, "no_face", "maybe")


# ---- a trained network to start from -----------------------------------------------------------

START = ["--loss", "none", "--epochs", 2, "--batch-size", 16, "--backend", "numpy", "--rows", 32]
"""Short trainings without a teacher."""


@pytest.fixture
def start(tmp_path):
    """A small network of the paper's in a file, with two of FER2013's classes under other names."""
    network = tinycnn.models.microexpnet(
        "v", 4, 3, classes=("happiness", "bored", "afraid"), scaling="unit", bias_std=0.0
    )
    tinycnn.save(network, tmp_path / "start.safetensors")
    return tmp_path / "start.safetensors"


def test_training_from_a_network_says_what_it_keeps(small, start, tmp_path, capsys):
    out = tmp_path / "run"
    words = ("--data", small.data, "--init", start, "--freeze", "conv1", *START)
    assert run("train", *words, "--out", out) == 0
    told = capsys.readouterr().out
    report = (out / "report.html").read_text(encoding="utf-8")
    for said in (
        "which knows fear (its afraid), happy (its happiness); new weights for angry",
        "its bored not used",
        "frozen: conv1; they keep the weights of",
    ):
        assert said in told and said in report, said
    options = json.loads((out / "config.json").read_text())["options"]
    assert (options["init"], options["variant"], options["size"]) == (str(start), "v", 4)
    assert options["recipe"] == "finetune" and len(options["init_sha256"]) == 64
    old, new = tinycnn.load(start), tinycnn.load(out / "model.safetensors")
    assert np.array_equal(new.parameters["conv1.w"], old.parameters["conv1.w"])
    assert not np.array_equal(new.parameters["conv2.w"], old.parameters["conv2.w"])


def test_a_run_is_resumed_when_its_start_has_moved(small, start, tmp_path, capsys, monkeypatch):
    words = ("--data", small.data, "--init", start, *START)
    assert run("train", *words, "--out", tmp_path / "whole") == 0
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingBar, "on_epoch", interrupt)
        assert run("train", *words, "--out", out) == 130
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    tinycnn.save(tinycnn.models.microexpnet("v", 4, scaling="unit"), other)
    start.rename(moved)
    capsys.readouterr()
    resume = ("train", "--out", out, "--resume")
    for more, said in (
        ((), "no such model file"),
        (("--init", other), "holds another network"),
        (("--init", "none"), f"--init is {start} in {out}, not none"),
        (("--init", moved, "--freeze", 1), f"--freeze is 0 in {out}, not 1"),
    ):
        assert run(*resume, *more) == 2
        assert said in one_error_line(capsys.readouterr())
    assert run(*resume, "--init", moved) == 0
    weights = [
        tinycnn.load(f / "model.safetensors").parameter_vector for f in (out, tmp_path / "whole")
    ]
    assert weights[0].tobytes() == weights[1].tobytes()


def interrupt(self, record):
    raise KeyboardInterrupt


def test_starts_that_cannot_be_used_have_one_line(small, start, tmp_path, capsys):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(start.read_bytes()[:100])
    for words, said in (
        (("--init", tmp_path / "no.safetensors"), "no such model file; or give none, pretrained"),
        (("--init", damaged), "damaged"),
        (("--init", start, "--variant", "p1"), "variant is 'p1', and the network of init"),
        (("--init", start, "--freeze", "conv7"), "freeze is 'conv7'; expected one of conv1, conv2"),
        (("--first-layers-rate", 0.5), "first_layers_rate is 0.5 without a network to start from"),
    ):
        out = tmp_path / "none"
        assert run("train", "--data", small.data, *words, "--out", out) == 2
        assert said in one_error_line(capsys.readouterr())
        assert not out.exists()


def test_paths_of_starts_in_a_sweeps_file_begin_at_the_file(tmp_path):
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    path = tmp_path / "sweep.toml"
    path.write_text('init = ["none", "pretrained", "a.safetensors"]\n[[trial]]\ninit = "b.onnx"\n')
    parser = Parser()
    sweep_command.add_arguments(parser)
    options, tables = read_sweep_file(path, parser, sweep_command.IN_FILE)
    assert options == {"init": ["none", "pretrained", str(tmp_path / "a.safetensors")]}
    assert tables == [{"init": str(tmp_path / "b.onnx")}]


# ---- sweep -------------------------------------------------------------------------------------


def test_the_sweep_command_trains_in_processes_of_its_own(small, tmp_path):
    words = ["sweep", *small.options(), "--variant", "v", "--size", "4", "--epochs", 1]
    words += ["--optimizer", "sgd,adam", "--loss", "none", "--backend", "numpy", "--processes", 2]
    done = installed(*words, "--out", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 trials, 79 images -> mine" in done.stdout
    assert "optimizer sgd" in done.stdout and "optimizer adam" in done.stdout
    done = installed(*words, "--out", "mine", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["summary"] == "mine/summary.csv" and (tmp_path / "mine" / "summary.csv").is_file()
    assert told["report"] == "mine/report.html" and (tmp_path / "mine" / "report.html").is_file()
    assert [(t["optimizer"], t["status"]) for t in told["trials"]] == [
        ("sgd", "done"),
        ("adam", "done"),
    ]
    for trial in told["trials"]:
        result = json.loads((tmp_path / "mine" / "results" / f"{trial['name']}.json").read_text())
        assert trial["validation_accuracy"] == result["validation"]["accuracy"]


def test_a_sweep_that_is_stopped_says_how_to_continue(small, tmp_path, capsys, monkeypatch):
    def stopped(*words, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinycnn.sweep.run", stopped)
    assert run("sweep", *small.options(), "--out", tmp_path) == 130
    assert capsys.readouterr().err.endswith("stopped; run the same command to continue\n")


def test_failed_trials_are_in_the_json_and_on_stderr(small, tmp_path, capsys):
    words = [*small.options(), "--variant", "v", "--size", "4", "--epochs", 1, "--loss", "none"]
    words += ["--learning-rate", "1e30", "--backend", "numpy", "--out", tmp_path, "--json"]
    assert run("sweep", *words) == 1
    out, err = capsys.readouterr()
    (trial,) = json.loads(out)["trials"]
    assert trial["status"] == "failed" and "diverged" in trial["error"]
    assert "--retry-failed runs these again" in err
