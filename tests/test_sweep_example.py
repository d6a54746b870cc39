"""examples/sweep.py: trials from options and files, tables, summary.csv, errors of one line."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from example_programs import load_example
from test_train_student import SmallFer2013, one_error_line

import ferdata
from tinycnn import sweep
from tinycnn.run import TrainingOptions
from tinycnn.sweep import local, waiting

program = load_example("sweep")
TOY = ["--variant", "v", "--size", "4", "--recipe", "paper", "--epochs", "1", "--batch-size", "16"]
TOY += ["--backend", "numpy"]


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ferdata"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFer2013(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def few_faces():
    return ferdata.render_faces(6, 1)


@pytest.fixture
def built_in(monkeypatch, few_faces):
    """Replaces the built-in faces by six drawn people, one of them for validation, and their
    teacher by one that knows the labels."""
    monkeypatch.setattr(ferdata, "default_faces", lambda progress=None: few_faces, raising=False)
    monkeypatch.setattr(
        ferdata,
        "load_rendered_teacher",
        lambda rows: np.eye(8, dtype=np.float32)[rows.labels] * 4,
        raising=False,
    )
    return few_faces


@pytest.fixture
def no_training(monkeypatch):
    """Replaces running the trials: collects them with their data source."""
    asked = []

    def run(trials, source, folder, **options):
        asked.append((trials, source, folder, options))
        sweep.SweepFolder(folder)

    monkeypatch.setattr(sweep, "run", run)
    monkeypatch.setattr(sweep, "run_on_cluster", lambda *words, **options: run(*words[:3]))
    return asked


def run(*words):
    return program.main([str(word) for word in words])


def summary(folder):
    with open(Path(folder) / "summary.csv", newline="") as file:
        return list(csv.DictReader(file))


# ---- running ---------------------------------------------------------------------------------


def test_a_sweep_over_folds_of_the_built_in_faces(built_in, tmp_path, capsys):
    words = [*TOY, "--loss", "none,kd", "--temperature", "2,8", "--folds", 2, "--out", tmp_path]
    assert run(*words) == 0
    out, err = capsys.readouterr()
    assert "6 trials, 40 images" in out
    assert "accuracy in % on test images" in out and "6 of 6 trials" in out
    heads = next(line for line in out.splitlines() if line.startswith("size"))
    assert heads.split() == ["size", "no", "teacher", "t=2", "t=8"]
    assert re.search(r"\n4 +[\d.]+ \+-[\d.]+ \(2\)", out)
    assert "temperature chosen on validation images\n" in out and "optimistic" not in out
    assert "trials: 100%" in err
    assert f"report -> {tmp_path / 'report.html'}\n" in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "6 of 6 trials have a result." in page and "<h1>Sweep on the built-in faces</h1>" in page
    rows = summary(tmp_path)
    assert [row["status"] for row in rows] == ["done"] * 6
    assert {(row["loss"], row["temperature"], row["fold"]) for row in rows} == {
        (loss, t, fold) for loss, t in [("none", ""), ("kd", "2"), ("kd", "8")] for fold in "01"
    }
    folder = sweep.SweepFolder(tmp_path)
    for row in rows:
        result = folder.result(row["name"])
        assert float(row["test_accuracy"]) == result["test"]["accuracy"]
        assert result["validation"]["n_images"] + result["test"]["n_images"] < 40
    local_crew, local._Crew = local._Crew, None  # no trial is left to run
    try:
        assert run(*words, "--select", "reported") == 0
    finally:
        local._Crew = local_crew
    assert "chosen on the reported accuracy (optimistic)" in capsys.readouterr().out
    assert summary(tmp_path) == rows


def test_a_sweep_that_trains_a_teacher_in_each_fold(built_in, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr(ferdata, "load_rendered_teacher")  # it is not asked for
    words = [*TOY, "--train-teacher", "--teacher-network", "microexpnet-M", "--teacher-epochs", 1]
    words += ["--folds", 2, "--out", tmp_path]
    monkeypatch.setattr(waiting, "GRACE_S", 0.0)
    assert run(*words, "--shard", "3/4") == 2  # the two teachers are in the first two parts
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: 1 trial waits for teachers that have no soft labels in ")
    assert [row["status"] for row in summary(tmp_path)] == ["missing"] * 4
    assert run(*words) == 0
    out = capsys.readouterr().out
    assert "4 trials, 40 images" in out and "4 of 4 trials" in out
    rows = summary(tmp_path)
    teachers = {row["fold"]: row for row in rows if row["is_teacher"] == "True"}
    assert [row["is_teacher"] for row in rows] == ["True"] * 2 + ["False"] * 2
    shown = out.split("teachers, accuracy in % on the same images\n")[1].splitlines()
    assert shown[0].split() == ["teacher", "fold", "images", "accuracy"]
    for line, (fold, row) in zip(shown[1:], teachers.items()):
        accuracy = f"{100 * float(row['test_accuracy']):.1f}"
        assert line.startswith("p12 M, 1 epoch ") and line.split()[4::2] == [fold, accuracy]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Teachers trained in the folds" in page


def test_fer2013_with_votes_and_a_teacher(small, tmp_path, capsys):
    assert run(*small.options(), *TOY, "--rows", 32, "--out", tmp_path) == 0
    out = capsys.readouterr().out
    assert "1 trials, 48 images" in out and "accuracy in % on validation images" in out
    (row,) = summary(tmp_path)
    result = sweep.SweepFolder(tmp_path).result(row["name"])
    assert result["validation"]["n_images"] == 15  # one of the 16 rows has most votes for "unknown"
    assert result["test"] is None and row["test_accuracy"] == "" and row["temperature"] == "8"
    assert tuple(result["classes"]) == ferdata.MICROEXPNET8.classes


def test_a_failing_trial_is_listed_and_retried_on_request(small, tmp_path, capsys):
    words = ["--data", small.data, *TOY, "--learning-rate", "1e-4,1e30", "--epochs", 2]
    assert run(*words, "--out", tmp_path) == 1
    out, err = capsys.readouterr()
    assert "1 of 2 trials" in out and "Traceback" not in err
    assert re.search(r"\nfailed: v 4 no teacher seed 0 \(\w{16}\): .*DivergedError: ", err)
    assert err.endswith("--retry-failed runs these again\n")
    done, failed = summary(tmp_path)
    assert (done["status"], failed["status"]) == ("done", "failed")
    assert "diverged" in failed["error"]
    assert run(*words, "--out", tmp_path, "--retry-failed") == 1


def test_all_shards_together_run_all_trials(built_in, tmp_path, capsys):
    words = [*TOY, "--loss", "none", "--seeds", "0,1,2", "--out", tmp_path]
    assert run(*words, "--shard", "1/2") == 0
    assert "2 of 3 trials, 1 not run here yet" in capsys.readouterr().out
    assert [row["status"] for row in summary(tmp_path)].count("missing") == 1
    assert run(*words, "--shard", "2/2") == 0
    assert "3 of 3 trials ->" in capsys.readouterr().out


def test_ctrl_c_says_how_to_continue_and_leaves_a_report(built_in, tmp_path, capsys, monkeypatch):
    def stopped(*words, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "run", stopped)
    assert run(*TOY, "--out", tmp_path) == 130
    assert capsys.readouterr().err == "\nstopped; run the same command to continue\n"
    assert [row["status"] for row in summary(tmp_path)] == ["missing"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "0 of 1 trials have a result, 1 have not been run here yet." in page


# ---- options ---------------------------------------------------------------------------------


def test_a_grid_of_sizes_and_temperatures(small, no_training, tmp_path):
    """p12 at four sizes by seven temperatures, and each size without a teacher: 32 trials."""
    words = ["--size", "M,S,XS,XXS", "--temperature", "2,4,8,16,20,32,64", "--loss", "none,kd"]
    assert run(*small.options(), *words, "--epochs", 8, "--out", tmp_path) == 0
    ((trials, source, folder, options),) = no_training
    assert len(trials) == 32 and {t.variant for t in trials} == {"p12"}
    assert {t.epochs for t in trials} == {8} and {t.recipe for t in trials} == {"fer"}
    assert source.targets == "distribution" and source.protocol == "own-split"


def test_every_option_of_a_recipe_is_an_option_of_the_sweep(small, no_training, tmp_path):
    words = "--augment-strength 0.5,1 --mixup 0.2 --cutmix 1 --label-smoothing 0.1 --dropout 0.3"
    words += " --ema-decay 0.9 --clip-norm 2 --flipped-teacher yes,no --recipe best"
    words += " --class-weights balanced"
    assert run(*small.options(), *words.split(), "--out", tmp_path) == 0
    trials = no_training[0][0]
    assert [(t.augment_strength, t.flipped_teacher) for t in trials] == [
        (0.5, True),
        (0.5, False),
        (1.0, True),
        (1.0, False),
    ]
    for trial in trials:
        assert (trial.mixup, trial.cutmix, trial.label_smoothing) == (0.2, 1.0, 0.1)
        assert (trial.dropout, trial.ema_decay, trial.clip_norm) == (0.3, 0.9, 2.0)
        assert trial.class_weights == "balanced"
    assert run(*small.options(), "--recipe", "best", "--out", tmp_path) == 0
    best = TrainingOptions(recipe="best")
    assert {t.augment_strength for t in no_training[1][0]} == {best.augment_strength}


def test_several_teachers_from_a_file(small, no_training, tmp_path):
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    other = tmp_path / "other.npz"
    small.write_teacher(other, logits=lambda logits: logits + 1)
    other.write_bytes(other.read_bytes())
    config = tmp_path / "sweep.toml"
    config.write_text(
        f'data = "{small.data}"\nvotes = "{small.votes}"\n'
        f'teacher = ["{small.teacher}", "other.npz"]\n'
    )
    assert run("--config", config, "--out", tmp_path / "s") == 0
    source = no_training[0][1]
    assert source.has_teacher
    assert run(*small.options(), "--out", tmp_path / "s") == 0
    assert no_training[1][1].key != source.key
    config.write_text('teacher = [1, "other.npz"]')
    assert run("--config", config) == 2


def trials_of(no_training):
    trials, source, _, _ = no_training.pop()
    return set(trials), source


def test_a_file_and_the_command_line_give_the_same_trials(small, no_training, tmp_path):
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    (tmp_path / "faces").mkdir()
    for path in (small.data, small.votes, small.teacher):
        (tmp_path / "faces" / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "sweep.toml"
    config.write_text(
        'data = "faces/fer2013.csv.gz"\nvotes = "faces/fer2013new.csv"\nout = "mine"\n'
        'teacher = "faces/teacher.npz"\nsize = ["XS", 20]\ntemperature = [2, 4.5]\nepochs = 3\n'
        'loss = ["none", "kd"]\nlearning-rate = 0.001\nsoft_weight = [0.5]\nseeds = [0, 1]\n'
        "processes = 2\nretry_failed = true\nrows = 40\n"
    )
    assert run("--config", config) == 0
    folder, options = no_training[-1][2:]
    assert folder == str(tmp_path / "mine") and options["n_processes"] == 2
    assert options["retry_failed"] is True and options["keep_models"] is False
    from_file, source = trials_of(no_training)
    words = ["--size", "XS,20", "--temperature", "2,4.5", "--epochs", 3, "--loss", "none,kd"]
    words += ["--learning-rate", "0.001", "--soft-weight", "0.5", "--seeds", "0,1", "--rows", 40]
    assert run(*small.options(), *words, "--out", tmp_path / "other") == 0
    from_line, source_of_line = trials_of(no_training)
    assert from_file == from_line and len(from_line) == 12
    assert source.key == source_of_line.key
    # options on the command line override the file
    assert run("--config", config, "--size", "M", "--seeds", 7) == 0
    overridden, _ = trials_of(no_training)
    assert {(t.size, t.seed) for t in overridden} == {("M", 7)}


def test_tables_of_a_file_are_the_trials(built_in, no_training, tmp_path):
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    config = tmp_path / "sweep.toml"
    config.write_text(
        "epochs = 2\nseeds = [0, 1]\naugment = false\n"
        '[[trial]]\nloss = "none"\n[[trial]]\nloss = ["kd", "dkd"]\ntemperature = 3\nepochs = 5\n'
    )
    assert run("--config", config, "--out", tmp_path / "s") == 0
    trials, _ = trials_of(no_training)
    assert {(t.loss, t.temperature, t.epochs, t.seed, t.augment) for t in trials} == {
        (loss, t, epochs, seed, False)
        for loss, t, epochs in [("none", None, 2), ("kd", 3, 5), ("dkd", 3, 5)]
        for seed in (0, 1)
    }


@pytest.mark.parametrize(
    "text, words",
    [
        ("size = [", "sweep.toml: not a TOML file"),
        (
            "sizes = 1",
            "sweep.toml: no option 'sizes'; expected some of augment, augment_strength, ",
        ),
        ('size = "XL"', "size is 'XL'"),
        ("epochs = 0", "epochs is 0"),
        ('epochs = "8"', "epochs is '8'"),
        ("processes = 0", "sweep.toml: argument --processes: '0': expected a whole number"),
        ("processes = [1]", "sweep.toml: processes is [1]; expected one value"),
        ("out = true", "sweep.toml: out is true; expected a value"),
        ("retry_failed = 1", "sweep.toml: retry_failed is 1"),
        ('split = "mine"', "sweep.toml: argument --split: invalid choice: 'mine'"),
        ("trial = 1", "sweep.toml: trial: expected tables [[trial]]"),
        (
            "[[trial]]\nout = 1",
            "sweep.toml: [[trial]] 1: no option 'out'; expected some of augment",
        ),
        ("[[trial]]\nloss = 1", "loss is 1; expected one of none, kd"),
        ("augment = 2", "augment is 2; expected true or false"),
    ],
)
def test_errors_in_a_file_have_one_line(built_in, tmp_path, capsys, text, words):
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    (tmp_path / "sweep.toml").write_text(text)
    assert run("--config", tmp_path / "sweep.toml", "--out", tmp_path / "s") == 2
    assert words in one_error_line(capsys.readouterr())
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        (["--size", "XL"], "argument --size: 'XL': expected one of M, S, XS, XXS, or a number"),
        (["--temperature", "2,x"], "argument --temperature: 'x': expected a number above 0"),
        (["--seeds", "0.5"], "argument --seeds: '0.5': expected a whole number of 0 or more"),
        (["--temperature", "0"], "temperature"),
        (["--loss", "kdd"], "argument --loss: 'kdd': expected one of none, kd, kd-z"),
        (["--shard", "3/2"], "'3/2': expected i/n, from 1/n to n/n"),
        (
            ["--shard", "1/2", "--scheduler", "tcp://h:1"],
            "--shard cannot be combined with --scheduler",
        ),
        (["--folds", "0"], "'0': expected a whole number of 1 or more"),
        (["--folds", "1"], "n_folds: expected a whole number of 2 or more"),
        (["--folds", "20"], "20 folds by subject"),
        (["--votes", "v.csv"], "--votes needs --data"),
        (["--data", "/nowhere.csv"], "/nowhere.csv: no such file"),
        (["--config", "/nowhere.toml"], "/nowhere.toml: not a TOML file: No such file"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (
            ["--train-teacher", "--data", "a.csv", "--teacher", "t.npz"],
            "--train-teacher trains a teacher and --teacher gives one: give only one of the two",
        ),
        (["--train-teacher", "--loss", "none"], "--train-teacher, but no trial has a loss with a"),
    ],
)
def test_errors_have_one_line(built_in, tmp_path, capsys, options, words):
    assert run(*options, "--out", tmp_path / "s") == 2
    assert words in one_error_line(capsys.readouterr())
    assert not (tmp_path / "s").exists()


def test_a_loss_with_soft_labels_needs_a_teacher(small, no_training, tmp_path, capsys):
    assert run("--data", small.data, "--loss", "kd", "--out", tmp_path) == 2
    assert "needs --teacher" in one_error_line(capsys.readouterr())
    assert run("--data", small.data, "--out", tmp_path) == 0
    trials, _ = trials_of(no_training)
    assert {t.loss for t in trials} == {"none"}


def test_folds_by_subject_need_subjects(small, no_training, tmp_path, capsys):
    assert run("--data", small.data, "--folds", 3, "--out", tmp_path) == 2
    assert "this data set does not say; use --split random" in one_error_line(capsys.readouterr())
    assert run("--data", small.data, "--split", "random", "--out", tmp_path) == 0
    trials, source = trials_of(no_training)
    assert source.protocol == "random" and sorted(t.fold for t in trials) == list(range(10))


def test_a_scheduler_that_does_not_answer(built_in, tmp_path, capsys, monkeypatch):
    def nobody(trials, source, folder, scheduler, *, n_threads, **options):
        raise sweep.SweepError(f"{scheduler}: no Dask scheduler answers ({n_threads})")

    monkeypatch.setattr(sweep, "run_on_cluster", nobody)
    assert run(*TOY, "--scheduler", "tcp://h:1", "--threads", 3, "--out", tmp_path) == 2
    err = capsys.readouterr().err
    assert err == "error: tcp://h:1: no Dask scheduler answers (3)\n"


def test_help_explains_every_option(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    body = text[text.index("\noptions:") :]
    for entry in re.split(r"\n(?=  -)", body)[1:]:
        entry = " ".join(entry.split("\n\n")[0].split())
        assert len(entry.split()) >= 4, f"not explained: {entry}"
