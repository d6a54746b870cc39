"""examples/train_student.py from end to end: on built-in, on drawn FER2013 and on real faces."""

import csv
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn_once import default_faces
from example_programs import EXAMPLES, load_example
from PIL import Image
from test_train import assert_same_run, contents

import ferdata
import tinycnn
from tinycnn.checkpoint import path_in
from tinycnn.cli.progress import TrainingBar
from tinycnn.cli.train import read_arguments
from tinycnn.cli.training_faces import load_faces
from tinycnn.formats import safetensors
from tinycnn.run import History, TrainingOptions

ROOT, EXAMPLE = EXAMPLES.parent, EXAMPLES / "train_student.py"
FILES = {"config.json", "history.jsonl", "last", "model.safetensors", "predictions.csv"}
FILES |= {"report.html"}

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
STUDENT = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
SAME = {"angry": "anger", "sad": "sadness", "happiness": "happy"}
program = load_example("train_student")


def run(*argv):
    return program.main([str(word) for word in argv])


def command(*argv):
    return [sys.executable, str(EXAMPLE), *(str(word) for word in argv)]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **{k: str(v) for k, v in more.items()}}


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """Keeps the cached data sets of these tests out of the user's cache."""
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ferdata"))


class SmallFer2013:
    """FER2013's files with drawn faces: 64 for training and 16 for validation.

    data     fer2013.csv.gz
    votes    fer2013new.csv: eight votes for the class and two for the next one. All votes of
             `no_face_row` say that it shows no face; most votes of `unknown_row` say unknown
    teacher  teacher.npz: logits that favour the true class, with rows and classes shuffled
    """

    def __init__(self, folder):
        faces = ferdata.render_faces(10, 1)
        images = ferdata.resize_images(faces.images, 48)
        order = np.random.default_rng(0).permutation(80)
        images, labels = images[order], faces.labels[order]
        self.split = faces.split[order]
        names = [STUDENT[k] for k in labels]
        self.data, self.votes = folder / "fer2013.csv.gz", folder / "fer2013new.csv"
        self.teacher = folder / "teacher.npz"
        self.usage = np.where(self.split == "train", "Training", "PublicTest")
        self.images, self.labels, self.names = images, labels, names
        self.unknown_row = int(np.flatnonzero(self.split == "validation")[5])
        self.no_face_row = int(np.flatnonzero(self.split == "train")[3])
        self.write_data(self.data)
        self.write_votes(self.votes)
        self.write_teacher(self.teacher)

    def write_data(self, path, images=None):
        lines = ["emotion,pixels,Usage"]
        for image, name, usage in zip(self.images if images is None else images, *self.texts()):
            lines.append(f"{name},{' '.join(map(str, image.ravel()))},{usage}")
        path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))

    def texts(self):
        other = {SAME.get(name, name): k for k, name in enumerate(FER2013)}
        return [other.get(name, 6) for name in self.names], self.usage

    def write_votes(self, path, change=None, n_rows=80):
        rows = []
        for row, name in enumerate(self.names):
            votes = np.zeros(10, int)
            column = [SAME.get(v, v) for v in VOTES].index(name)
            votes[column], votes[(column + 1) % 8] = 8, 2
            if row == self.unknown_row:
                votes[:] = [0, 2, 0, 0, 0, 0, 0, 0, 8, 0]
            if row == self.no_face_row:
                votes[:] = [0] * 9 + [10]
            rows.append(votes)
        if change:
            change(rows)
        with open(path, "w") as file:
            print("Usage,Image name," + ",".join(VOTES) + ",unknown,NF", file=file)
            for usage, votes in list(zip(self.usage, rows))[:n_rows]:
                print(f"{usage},f.png," + ",".join(map(str, votes)), file=file)

    def write_teacher(self, path, **changes):
        rng = np.random.default_rng(1)
        logits = rng.normal(0, 1, (80, 8)).astype(np.float32)
        logits[np.arange(80), self.labels] += 4
        rows, columns = rng.permutation(80), rng.permutation(8)
        parts = dict(logits=logits[rows][:, columns], rows=rows, classes=np.array(STUDENT)[columns])
        np.savez(path, **parts | {name: change(parts[name]) for name, change in changes.items()})

    def options(self):
        return ["--data", self.data, "--votes", self.votes, "--teacher", self.teacher]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFer2013(tmp_path_factory.mktemp("small"))


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def untimed_lines(folder):
    timing = ("seconds", "images_per_s")
    return [{k: v for k, v in row.items() if k not in timing} for row in history(folder)]


def check_run_folder(folder, classes, ids, labels, printed, n_epochs):
    """Check all files that a run writes; `labels` are class names in the order of `ids`.

    Returns the best network and the probabilities in predictions.csv.
    """
    rows = history(folder)
    assert [row["epoch"] for row in rows] == list(range(n_epochs))
    for row in rows:
        for name in ("train_loss", "val_loss", "val_accuracy", "images_per_s"):
            assert np.isfinite(row[name]) and row[name] >= 0
    with open(folder / "predictions.csv", newline="") as file:
        header, *body = csv.reader(file)
    assert header == ["id", "label", "predicted", *classes]
    assert [row[0] for row in body] == list(ids)
    assert [row[1] for row in body] == list(labels)
    probs = np.array([[float(p) for p in row[3:]] for row in body])
    assert probs.shape == (len(ids), len(classes))
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-6)
    said = [classes[k] for k in probs.argmax(axis=1)]
    assert [row[2] for row in body] == said
    accuracy = np.mean([row[1] == row[2] for row in body])
    assert np.isclose(accuracy, max(row["val_accuracy"] for row in rows), atol=1e-12)
    assert f"{accuracy:.1%} of {len(ids):,} validation images right" in printed
    network = tinycnn.load(folder / "model.safetensors")
    assert network.classes == tuple(classes) and network.n_parameters >= 65_000 - 49
    assert network.training_summary["val_accuracy"] == max(row["val_accuracy"] for row in rows)
    page = (folder / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
    config = json.loads((folder / "config.json").read_text())
    for digest in config["data"].values():
        assert re.fullmatch("[0-9a-f]{64}", digest)
    return network, probs


def one_error_line(captured):
    """The error message, after checking that it is the only line on stderr and that stdout is
    empty."""
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: "), captured.err
    assert "Traceback" not in captured.err
    return captured.err


# ---- training --------------------------------------------------------------------------------


def test_the_command_of_the_readme_with_fewer_epochs(tmp_path):
    """The real program in a separate process, including drawing; shorter than by default."""
    out = tmp_path / "run"
    done = subprocess.run(
        command("--rows", 256, "--epochs", 2, "--out", out),
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "256 training and 1,024 validation images" in done.stdout
    for name in ("with teacher", "without teacher"):
        assert re.search(
            rf"^ +{name}: \d+\.\d% of 1,024 validation images right$", done.stdout, re.M
        )
    assert str(out / "report.html") in done.stdout
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert {path.name for path in out.iterdir()} == FILES | {"without-teacher"}
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_the_first_trial_of_a_contributor_learns(tmp_path, monkeypatch, capsys):
    """The command in CONTRIBUTING.md, on the built-in faces."""
    monkeypatch.setattr(ferdata, "default_faces", default_faces)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"^python examples/train_student.py (.*?) +#", text, re.M)
    out = tmp_path / "run"
    assert run(*words.split(), "--out", out) == 0
    faces = default_faces().in_split("validation")
    names = [STUDENT[k] for k in faces.labels]
    printed = capsys.readouterr().out
    network, probs = check_run_folder(out, STUDENT, faces.ids, names, printed, n_epochs=8)
    assert np.allclose(network.predict_proba(faces.images), probs, atol=1e-7)
    for folder in (out, out / "without-teacher"):
        rows = history(folder)
        losses = [row["train_loss"] for row in rows]
        assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]
        assert rows[-1]["val_loss"] < 0.9 * rows[0]["val_loss"]
        assert rows[-1]["val_accuracy"] > 0.4  # chance: 0.125


def test_the_default_folder_is_named_after_the_time(tmp_path, monkeypatch, small, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("--data", small.data, "--epochs", 1) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}", folder.name)
    assert f"runs/{folder.name}" in capsys.readouterr().out


def test_training_on_real_faces_learns(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FERDATA_CACHE_DIR")  # parsing would take too long
    folder = shared / "data"
    options = ["--data", folder / "fer2013" / "fer2013.csv.gz"]
    options += ["--votes", folder / "fer2013" / "fer2013new.csv"]
    options += ["--teacher", folder / "teacher_logits.npz"]
    out = tmp_path / "run"
    assert run(*options, "--rows", 3000, "--epochs", 4, "--out", out) == 0
    path = folder / "fer2013" / "fer2013new.csv"
    votes = np.genfromtxt(path, str, delimiter=",", skip_header=1)
    counts = votes[:, 2:].astype(int)
    wanted = (votes[:, 0] == "PublicTest") & (counts.argmax(axis=1) < 8) & (counts.sum(axis=1) > 0)
    rows = np.flatnonzero(wanted)
    labels = [SAME.get(VOTES[k], VOTES[k]) for k in counts[rows].argmax(axis=1)]
    printed = capsys.readouterr().out
    ids = [f"fer2013/{row:05d}" for row in rows]
    check_run_folder(out, STUDENT, ids, labels, printed, n_epochs=4)
    records = history(out)
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert records[-1]["val_accuracy"] > max(records[0]["val_accuracy"], 0.4)
    assert not (out / "without-teacher").exists()  # --compare is on only for the built-in faces


def test_votes_and_teacher(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*small.options(), "--epochs", 3, "--out", out) == 0
    printed = capsys.readouterr().out
    # the row without a face is dropped; the row with most votes for unknown is not scored
    assert "63 training and 15 validation images" in printed
    rows = [r for r in np.flatnonzero(small.split == "validation") if r != small.unknown_row]
    ids, labels = [f"fer2013/{r:05d}" for r in rows], [small.names[r] for r in rows]
    network, probs = check_run_folder(out, STUDENT, ids, labels, printed, n_epochs=3)
    images = ferdata.resize_images(small.images[rows], 84)
    assert np.allclose(network.predict_proba(images), probs, atol=1e-7)
    assert {path.name for path in out.iterdir()} == FILES
    assert "without teacher" not in printed
    seconds = sum(row["seconds"] for row in history(out))
    assert re.search(rf"cost: 3 epochs in {seconds:.1f} s on \d+ thread", printed)
    config = json.loads((out / "config.json").read_text())
    assert config["options"]["temperature"] == 4.0 and config["options"]["targets"] == "votes"
    assert set(config["data"]) == {
        "training images",
        "training distribution",
        "validation images",
        "validation distribution",
        "soft labels",
    }


@pytest.mark.parametrize("targets", ["plurality", "majority"])
def test_labels_made_from_votes(small, tmp_path, capsys, targets):
    out = tmp_path / "run"
    assert run(*small.options(), "--targets", targets, "--epochs", 1, "--out", out) == 0
    rows = [r for r in np.flatnonzero(small.split == "validation") if r != small.unknown_row]
    ids, labels = [f"fer2013/{r:05d}" for r in rows], [small.names[r] for r in rows]
    check_run_folder(out, STUDENT, ids, labels, capsys.readouterr().out, n_epochs=1)


def test_the_files_own_labels_without_votes_or_teacher(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("--data", small.data, "--epochs", 2, "--out", out) == 0
    printed = capsys.readouterr().out
    rows = np.flatnonzero(small.split == "validation")
    emotions = small.texts()[0]
    labels = [FER2013[emotions[r]] for r in rows]
    check_run_folder(out, FER2013, [f"fer2013/{r:05d}" for r in rows], labels, printed, 2)
    assert "without teacher:" in printed and "with teacher:" not in printed


def test_a_folder_per_class_with_people_in_its_names(tmp_path, capsys):
    """Without a split, a tenth of the people is for validation, and the same when resumed."""
    faces = ferdata.render_faces(12, 1, size_px=48)
    for image, label, subject in zip(faces.images, faces.labels, faces.subjects):
        number = 1 + sorted(set(faces.subjects)).index(subject)
        path = tmp_path / "CK+48" / STUDENT[label] / f"S{number:03d}_{label:03d}_00000009.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    shutil.rmtree(tmp_path / "CK+48" / "neutral")
    out = tmp_path / "run"
    assert run("--data", tmp_path / "CK+48", "--epochs", 1, "--out", out) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"note: no validation part .*: 14 images of train are used for it, all those of 2 people",
        printed,
    )
    with open(out / "predictions.csv") as file:
        validated = [row["id"] for row in csv.DictReader(file)]
    assert len({Path(name).name[:4] for name in validated}) == 2 and len(validated) == 14
    assert "70 training and 14 validation images" in printed
    assert tinycnn.load(out / "model.safetensors").input_spec.framing is None
    assert run("--out", out, "--resume") == 0


def test_compare_reports_both(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*small.options(), "--compare", "--epochs", 2, "--out", out) == 0
    printed = capsys.readouterr().out
    for name, folder in (("with teacher", out), ("without teacher", out / "without-teacher")):
        best = max(row["val_accuracy"] for row in history(folder))
        assert f"{name}: {best:.1%} of 15" in printed
        assert name in (out / "report.html").read_text()
    # the second run differs only in the teacher: its weights are those of a run without one
    alone = tmp_path / "alone"
    without = small.options()[:4]
    assert run(*without, "--epochs", 2, "--out", alone) == 0
    assert_same_run(out / "without-teacher", contents(alone))


def test_options_are_used(small, tmp_path):
    out = tmp_path / "run"
    words = "--recipe paper --variant v --size XS --epochs 1 --batch-size 10 --optimizer sgd "
    words += "--learning-rate 0.002 --schedule cosine --augment --threads 2 --seed 3 "
    words += "--temperature 3 --soft-weight 0.25 --loss-scale hinton --backend numpy"
    assert run(*small.options(), *words.split(), "--out", out) == 0
    network = tinycnn.load(out / "model.safetensors")
    assert network.layers == tinycnn.models.microexpnet("v", "XS").layers
    assert network.input_spec.scaling == "raw"
    assert network.training_summary["n_steps"] == 7  # 63 images in batches of 10
    _, metadata = safetensors.read(path_in(out))
    configuration = json.loads(metadata["tinycnn.checkpoint"])["configuration"]
    assert configuration["loss"] == repr(tinycnn.Distillation(3.0, 0.25, "hinton"))
    assert configuration["optimizer"]["name"] == "sgd"
    assert configuration["schedule"] == repr(tinycnn.CosineWithWarmup(0.002, 7))
    assert configuration["optimizer"]["learning_rate"] == 0.002
    options = json.loads((out / "config.json").read_text())["options"]
    assert options["seed"] == 3 and options["threads"] == 2 and options["augment"] is True


def test_training_options_are_used_and_resuming_keeps_the_bits(
    small, tmp_path, monkeypatch, capsys
):
    views = tmp_path / "views.npz"
    parts = dict(np.load(small.teacher))
    np.savez(views, **parts, logits_flipped=parts["logits"][:, ::-1])
    words = "--mixup 0.2 --cutmix 1 --label-smoothing 0.1 --dropout 0.3 --ema-decay 0.9 "
    words += "--clip-norm 2 --flipped-teacher --epochs 3 --batch-size 16 --variant v --size XXS"
    options = [*small.options()[:4], "--teacher", views, *words.split()]
    assert run(*options, "--out", tmp_path / "whole") == 0
    _, metadata = safetensors.read(path_in(tmp_path / "whole"))
    configuration = json.loads(metadata["tinycnn.checkpoint"])["configuration"]
    loss = tinycnn.Distillation(4.0, 0.7, "hinton", label_smoothing=0.1)
    assert configuration["loss"] == repr(loss)
    clip_norm = configuration["optimizer"]["clip_norm"]
    assert (configuration["ema_decay"], clip_norm) == (0.9, 2.0)
    network = tinycnn.load(tmp_path / "whole" / "model.safetensors")
    assert tinycnn.Dropout(0.3) in network.layers
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert "soft labels of mirror images" in config["data"]
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        interrupt_at(patch, (1, 2), 1)
        assert run(*options, "--out", out) == 130
    assert run("--out", out, "--resume") == 0
    assert_same_run(out, contents(tmp_path / "whole"))
    capsys.readouterr()
    for word in ("--mixup 0", "--cutmix 0", "--no-flipped-teacher"):
        assert run("--out", out, "--resume", *word.split()) == 2
        assert "--resume continues a run with its own options" in capsys.readouterr().err
    for k, word in enumerate(("--mixup 0", "--cutmix 0", "--no-flipped-teacher", "--dropout 0")):
        assert run(*options, *word.split(), "--out", tmp_path / str(k)) == 0
        with pytest.raises(AssertionError):
            assert_same_run(tmp_path / str(k), contents(tmp_path / "whole"))


def parse(words):
    return read_arguments(program.build_parser().parse_args(words))


def test_class_weights_rmsprop_and_a_plateau_and_resuming_keeps_the_bits(
    small, tmp_path, monkeypatch
):
    words = "--class-weights happy=3,fear=0.5 --optimizer rmsprop --schedule reduce-on-plateau "
    words += "--learning-rate 0.001 --epochs 3 --batch-size 16 --variant v"
    options = [*small.options(), *words.split()]
    assert run(*options, "--out", tmp_path / "whole") == 0
    _, metadata = safetensors.read(path_in(tmp_path / "whole"))
    configuration = json.loads(metadata["tinycnn.checkpoint"])["configuration"]
    weights = [{"happy": 3.0, "fear": 0.5}.get(name, 1.0) for name in STUDENT]
    loss = tinycnn.Distillation(4.0, 0.7, "hinton", class_weights=weights)
    assert configuration["loss"] == repr(loss)
    assert configuration["optimizer"]["name"] == "rmsprop"
    schedule = tinycnn.ReduceLROnPlateau(0.001, factor=0.5, patience=5, min_delta=0.0)
    assert configuration["schedule"] == repr(schedule)
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        interrupt_at(patch, (1, 2), 1)
        assert run(*options, "--out", out) == 130
    assert run("--out", out, "--resume") == 0
    assert_same_run(out, contents(tmp_path / "whole"))


def test_balanced_class_weights(small, tmp_path):
    """Of 64 training images, 16 are of one class (FER2013 has no contempt), 8 of each other."""
    words = ["--class-weights", "balanced", "--epochs", 1, "--variant", "v"]
    assert run("--data", small.data, *words, "--out", tmp_path) == 0
    _, metadata = safetensors.read(path_in(tmp_path))
    loss = json.loads(metadata["tinycnn.checkpoint"])["configuration"]["loss"]
    assert loss.count(str(64 / (7 * 16))) == 1 and loss.count(str(64 / (7 * 8))) == 6


def test_class_weights_of_other_classes_are_refused(small, tmp_path, capsys):
    out = tmp_path / "run"
    assert run("--data", small.data, "--class-weights", "glad=2", "--out", out) == 2
    message = one_error_line(capsys.readouterr())
    assert "--class-weights 'glad=2': no class 'glad'; there are " in message
    assert not out.exists()


def test_several_teachers_are_averaged(small, tmp_path):
    args = parse([*map(str, small.options()), str(small.teacher), "--epochs", "1"])
    assert args.teacher == [str(small.teacher)] * 2
    twice = load_faces(args, args.training).train.soft_labels
    once = parse([*map(str, small.options())])
    once = load_faces(once, once.training).train.soft_labels
    assert np.allclose(tinycnn.softmax(twice), tinycnn.softmax(once), atol=1e-6)


def test_recipe_values_are_used_where_no_option_is_given(small, tmp_path):
    words = [*map(str, small.options()), "--recipe", "paper", "--no-augment"]
    args = parse(words).training
    assert (args.temperature, args.soft_weight, args.loss_scale) == (8.0, 0.5, "paper")
    assert (args.optimizer, args.learning_rate, args.schedule) == ("adam", 1e-4, "constant")
    assert (args.scaling, args.bias_std, args.augment) == ("raw", 0.5, False)
    words = [*map(str, small.options()), "--no-augment", "--soft-weight", "0"]
    args = parse(words).training
    assert args.augment is False and args.soft_weight == 0.0  # given, though false
    assert args.scaling == "standardized" and args.temperature == 4.0


def test_same_bits_for_any_number_of_threads_and_another_seed_differs(small, tmp_path):
    for name, threads, seed in (("one", 1, 0), ("three", 3, 0), ("other", 1, 1)):
        words = ["--epochs", 2, "--threads", threads, "--seed", seed, "--out", tmp_path / name]
        assert run(*small.options(), *words) == 0
    assert_same_run(tmp_path / "three", contents(tmp_path / "one"))
    one, three, other = (
        (tmp_path / name / "predictions.csv").read_text() for name in ("one", "three", "other")
    )
    assert one == three != other


def test_patience_stops_early(small, tmp_path):
    out = tmp_path / "run"
    words = ["--epochs", 30, "--patience", 1, "--learning-rate", "1e-9", "--out", out]
    assert run(*small.options(), *words) == 0
    assert len(history(out)) < 30


# ---- interrupted and resumed -----------------------------------------------------------------


def interrupt_at(monkeypatch, epoch, n_times=1):
    """Ctrl-C in on_epoch, or in on_step for (epoch, batch), when it occurs the n-th time."""
    kind, hook = (TrainingBar, "on_step") if isinstance(epoch, tuple) else (History, "on_epoch")
    original, calls = getattr(kind, hook), []

    def interrupting(self, record):
        at = (record.epoch, record.batch) if hook == "on_step" else record.epoch
        if at == epoch:
            calls.append(at)
            if len(calls) == n_times:
                raise KeyboardInterrupt
        original(self, record)

    monkeypatch.setattr(kind, hook, interrupting)


# four batches of 16 per epoch; n_times 2: in the second run, without the teacher
@pytest.mark.parametrize(
    "at, n_times", [(0, 1), (2, 1), ((0, 1), 1), ((1, 2), 1), (1, 2), ((0, 3), 2), (3, 2)]
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    small, tmp_path, monkeypatch, capsys, undisturbed, at, n_times
):
    out = tmp_path / "a run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, at, n_times)
        assert run(*small.options(), *SHORT, "--compare", "--out", out) == 130
    captured, n_epochs = capsys.readouterr(), SHORT[1]
    assert f"stopped; continue with: --out '{out}' --resume" in captured.err
    assert "Traceback" not in captured.err
    assert (out / "report.html").exists() == path_in(out).exists()
    if path_in(out).exists():  # one epoch or more is complete
        page, rows = (out / "report.html").read_text(), (out / "predictions.csv").read_text()
        n_done = n_epochs if n_times == 2 else len(tinycnn.checkpoint.records_in(out))
        assert f"this run is not complete: {n_done} of {n_epochs} epochs with teacher" in page
        probs = tinycnn.load(out / "model.safetensors").predict_proba(held_out(small))
        assert rows.count("\n") == 1 + len(probs)
        for line, row in zip(rows.splitlines()[1:], probs):
            np.testing.assert_allclose([float(p) for p in line.split(",")[3:]], row, atol=1e-7)
    else:
        assert "no report: no epoch is complete" in captured.err
    # the options of the run stay; only the number of threads may differ
    assert run("--out", out, "--resume", "--threads", 3) == 0
    for part in (".", "without-teacher"):
        assert_same_run(out / part, contents(undisturbed / part))
        assert untimed_lines(out / part) == untimed_lines(undisturbed / part)
    name = "predictions.csv"
    assert (out / name).read_text() == (undisturbed / name).read_text()
    assert {path.name for path in out.iterdir()} == FILES | {"without-teacher"}


SHORT = ["--epochs", 4, "--batch-size", 16, "--rows", 60]


def held_out(small):
    args = parse([*map(str, small.options())])
    return load_faces(args, args.training).validation.images


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(*small.options(), *SHORT, "--compare", "--out", out) == 0
    return out


def test_a_lost_or_incomplete_line_of_history_is_restored_from_the_checkpoint(
    small, tmp_path, monkeypatch, undisturbed
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)  # the checkpoint was written, the line was not
        assert run(*small.options(), *SHORT, "--compare", "--out", out) == 130
    assert len(history(out)) == 2
    with open(out / "history.jsonl", "a") as file:
        file.write('{"epoch": 2, "tra')
    assert run("--out", out, "--resume") == 0
    assert untimed_lines(out) == untimed_lines(undisturbed)


def test_resuming_a_finished_run_changes_nothing(undisturbed, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    names = ["model.safetensors", "history.jsonl", "predictions.csv", "config.json"]
    names += ["last/checkpoint.safetensors", "without-teacher/model.safetensors"]
    before = {name: (out / name).read_bytes() for name in names}
    assert run("--out", out, "--resume") == 0
    assert {name: (out / name).read_bytes() for name in names} == before
    assert "with teacher:" in capsys.readouterr().out


def test_ctrl_c_in_a_terminal(small, tmp_path):
    """A signal to the process, at an arbitrary moment."""
    words = [*small.options(), "--epochs", 60, "--batch-size", 16]
    out, whole = tmp_path / "run", tmp_path / "whole"
    process = subprocess.Popen(
        command(*words, "--out", out),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = out / "history.jsonl"
    deadline = time.monotonic() + 120
    while not (lines.exists() and lines.stat().st_size) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == f"stopped; continue with: --out {out} --resume"
    tinycnn.load(path_in(out))
    assert 1 <= len(history(out)) < 60
    # In separate processes like the first: this one may run without Numba, they may not.
    for argv in (("--out", out, "--resume"), (*words, "--out", whole)):
        done = subprocess.run(command(*argv), env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert_same_run(out, contents(whole))
    assert untimed_lines(out) == untimed_lines(whole)


# ---- errors ----------------------------------------------------------------------------------


def spoilt_csv(small, tmp_path, old, new, count=1):
    text = gzip.decompress(small.data.read_bytes())
    assert old in text
    path = tmp_path / "fer2013.csv"
    path.write_bytes(text.replace(old, new, count))
    return path


def truncated(small, tmp_path):
    path = tmp_path / "fer2013.csv.gz"
    path.write_bytes(small.data.read_bytes()[:5000])
    return ["--data", path]


def binary(small, tmp_path):
    path = tmp_path / "fer2013.csv"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    return ["--data", path]


def wrong_pixel_count(small, tmp_path):
    text = gzip.decompress(small.data.read_bytes()).splitlines(keepends=True)
    text[5] = text[5].replace(b" ", b"", 1)  # two numbers become one, possibly above 255
    path = tmp_path / "fer2013.csv"
    text[5] = re.sub(rb",\d+", b",7", text[5], count=1)
    path.write_bytes(b"".join(text))
    return ["--data", path]


def label_out_of_range(small, tmp_path):
    text = gzip.decompress(small.data.read_bytes()).splitlines(keepends=True)
    text[9] = b"8" + text[9][1:]
    path = tmp_path / "fer2013.csv"
    path.write_bytes(b"".join(text))
    return ["--data", path]


def short_votes(small, tmp_path):
    small.write_votes(tmp_path / "votes.csv", n_rows=79)
    return ["--data", small.data, "--votes", tmp_path / "votes.csv"]


def spoilt_teacher(**changes):
    def options(small, tmp_path):
        small.write_teacher(tmp_path / "teacher.npz", **changes)
        return ["--data", small.data, "--votes", small.votes, "--teacher", tmp_path / "teacher.npz"]

    return options


def with_nan(logits):
    logits = logits.copy()
    logits[7, 2] = np.nan
    return logits


def no_teacher(small, tmp_path):
    return ["--data", small.data, "--votes", small.votes, "--teacher", tmp_path / "none.npz"]


def teacher_of_eight_for_seven(small, tmp_path):
    return ["--data", small.data, "--teacher", small.teacher]


def file_as_data(name):
    def options(small, tmp_path):
        return ["--data", getattr(small, name)]

    return options


def short_teacher(small, tmp_path):
    """Logits and rows fit together, but not every image has an entry."""
    half = dict.fromkeys(("logits", "rows"), lambda values: values[:40])
    return spoilt_teacher(**half)(small, tmp_path)


BAD_DATA = {
    "missing file": (lambda small, tmp: ["--data", tmp / "no.csv"], "no.csv: no such file"),
    "folder": (lambda small, tmp: ["--data", tmp], "in: no data set recognised. It holds no files"),
    "truncated gz": (truncated, "fer2013.csv.gz: cannot be read, damaged or incomplete"),
    "binary csv": (binary, "fer2013.csv: no csv with a header in UTF-8"),
    "votes as data": (file_as_data("votes"), "fer2013new.csv: FER.'s votes, which have no images"),
    "wrong pixel count": (wrong_pixel_count, "fer2013.csv line 6: 2303 pixels, expected 2304"),
    "label out of range": (label_out_of_range, "fer2013.csv line 10: emotion '8', expected 0..6"),
    "short votes": (short_votes, "votes.csv: votes for 79 rows, but .* has 80"),
    "missing votes": (
        lambda small, tmp: ["--data", small.data, "--votes", tmp / "no.csv"],
        "no.csv: no such file",
    ),
    "missing teacher": (no_teacher, "none.npz: no such file"),
    "teacher's logits too few": (
        spoilt_teacher(logits=lambda logits: logits[:79]),
        r"teacher.npz: logits: expected numbers of shape \(80, 8\)",
    ),
    "teacher for half of the images": (
        short_teacher,
        r"teacher.npz: no entry for \d+ of 63 images",
    ),
    "teacher with other classes": (
        spoilt_teacher(classes=lambda names: np.where(names == "fear", "boredom", names)),
        "teacher.npz: extra class boredom; expected",
    ),
    "teacher of eight for seven": (teacher_of_eight_for_seven, "extra class contempt"),
    "teacher without answers for mirror images": (
        lambda small, tmp: [*small.options(), "--flipped-teacher"],
        "teacher.npz: no soft labels for mirror images",
    ),
    "teacher with NaN": (spoilt_teacher(logits=with_nan), "teacher.npz entry 7 .* not finite"),
    "teacher twice for a row": (
        spoilt_teacher(rows=lambda rows: np.where(rows == 5, 6, rows)),
        "teacher.npz entry .* row 6 was already given",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(small, tmp_path, capsys, name):
    make, message = BAD_DATA[name]
    (tmp_path / "in").mkdir()
    argv = make(small, tmp_path / "in")
    assert run(*argv, "--out", tmp_path / "runs" / "out") == 2
    assert re.search(message, one_error_line(capsys.readouterr()))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]  # no partly written file is left


BAD_OPTIONS = {
    "--no-such-option": "unrecognized arguments",
    "--epochs 0": "--epochs: '0': expected a whole number of 1 or more",
    "--epochs many": "--epochs: 'many': expected a whole number",
    "--batch-size -3": "--batch-size",
    "--threads 0": "--threads",
    "--rows 0": "--rows",
    "--seed -1": "--seed: '-1': expected a whole number of 0 or more",
    "--temperature 0": "--temperature: '0': expected a number above 0",
    "--temperature inf": "--temperature",
    "--temperature 2,x": "--temperature: 'x': expected a number above 0",
    "--loss hinton": "--loss",
    "--loss dkd --temperature 2,4": "loss dkd has one temperature, not 2",
    "--learning-rate nan": "--learning-rate",
    "--soft-weight 1.5": "--soft-weight: '1.5': expected a number from 0 to 1",
    "--size L": "--size: 'L': expected one of M, S, XS, XXS, or a number of units",
    "--variant p3": "--variant",
    "--recipe fast": "--recipe",
    "--loss-scale half": "--loss-scale",
    "--votes votes.csv": "--votes needs --data",
    "--targets votes": "--targets needs --data",
    "--data x.csv --targets votes": "--targets votes needs --votes",
    "--data x.csv --targets labels --votes v.csv": "does not use --votes",
    "--data x.csv --temperature 2": "--temperature needs --teacher",
    "--data x.csv --soft-weight 0.5": "--soft-weight needs --teacher",
    "--data x.csv --compare": "--compare needs --teacher",
    "--resume": "--resume needs --out",
    "--mixup -1": "--mixup: '-1': expected a number from 0 to 100",
    "--ema-decay 1": "--ema-decay: '1': expected a number from 0 to 0.99999",
    "--flipped-teacher": "--flipped-teacher needs --teacher",
    "--class-weights fear": "--class-weights: 'fear': expected balanced, none, or a weight of 0 or",
    "--class-weights fear=-1": "--class-weights: 'fear=-1': expected balanced, none, or a weight",
    "--optimizer lion": "--optimizer: invalid choice: 'lion'",
}


@pytest.mark.parametrize("words", BAD_OPTIONS)
def test_bad_options(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ferdata, "default_faces", lambda progress: pytest.fail("work began"))
    assert run(*words.split()) == 2
    assert BAD_OPTIONS[words] in one_error_line(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_a_bad_file_in_a_separate_process(tmp_path):
    done = subprocess.run(
        command("--data", tmp_path / "no.csv"),
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path / 'no.csv'}: no such file\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["file", "file/run", "file/deeper/run"])
def test_an_impossible_folder_is_an_error_before_the_work(tmp_path, monkeypatch, capsys, where):
    monkeypatch.setattr(ferdata, "default_faces", lambda progress: pytest.fail("work began"))
    (tmp_path / "file").write_text("something")
    assert run("--out", tmp_path / where) == 2
    message = one_error_line(capsys.readouterr())
    assert f"{tmp_path / where}: cannot be a run folder" in message
    assert (tmp_path / "file").read_text() == "something"


def test_a_folder_without_permission(tmp_path, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    assert run("--out", tmp_path / "locked" / "run") == 2
    assert "no permission" in one_error_line(capsys.readouterr())


def test_a_folder_that_turns_out_unwritable(small, tmp_path, monkeypatch, capsys):
    def full(path, data, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinycnn.run.folder.write_atomically", full)
    assert run("--data", small.data, "--out", tmp_path / "run") == 2
    message = one_error_line(capsys.readouterr())
    assert f"{tmp_path / 'run'}: cannot be written: No space left on device" in message


def test_a_folder_that_holds_another_run(undisturbed, small, capsys):
    before = {p: p.read_bytes() for p in undisturbed.rglob("*") if p.is_file()}
    assert run(*small.options(), "--out", undisturbed) == 2
    assert "holds another run" in one_error_line(capsys.readouterr())
    assert {p: p.read_bytes() for p in undisturbed.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("kept", ["model.safetensors", "last"])
def test_files_of_another_run_are_not_overwritten(undisturbed, tmp_path, small, capsys, kept):
    out = tmp_path / "run"
    out.mkdir()
    (shutil.copytree if kept == "last" else shutil.copy)(undisturbed / kept, out / kept)
    assert run(*small.options(), "--out", out) == 2
    message = f"holds {kept}, which the run would overwrite; choose another folder"
    assert message in one_error_line(capsys.readouterr())
    assert [path.name for path in out.iterdir()] == [kept]


def test_resume_without_a_run(tmp_path, capsys):
    assert run("--resume", "--out", tmp_path / "nowhere") == 2
    assert "there is no run to resume" in one_error_line(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def interrupted(small, tmp_path, monkeypatch, capsys):
    """A run of SHORT, stopped after its second epoch."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert run(*small.options(), *SHORT, "--out", out) == 130
    capsys.readouterr()
    return out


def assert_resume_refused(out, capsys, message, *words):
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert run("--out", out, "--resume", *words) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert captured.err.count("\n") == 1 and captured.err.startswith("error: "), captured.err
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "words",
    ["--seed 1", "--soft-weight 0.1", "--no-augment", "--rows 59", "--size XS", "--compare"]
    + ["--backend numpy", "--learning-rate 0.5", "--recipe paper", "--batch-size 8"],
)
def test_resume_with_other_options_is_refused(interrupted, capsys, words):
    option = words.split()[0].replace("--no-", "--")
    assert_resume_refused(interrupted, capsys, f"own options: {option} is", *words.split())


def test_resume_with_other_epochs_is_refused_where_the_schedule_depends_on_them(
    interrupted, capsys
):
    out = interrupted
    assert run("--out", out, "--resume", "--epochs", 9) == 2
    err = capsys.readouterr().err
    assert err.count("error: ") == 1 and "schedule OneCycle" in err and str(path_in(out)) in err
    assert run("--out", out, "--resume") == 0


def test_a_run_with_a_constant_schedule_may_be_given_more_epochs(small, tmp_path):
    words = [*small.options(), *SHORT, "--schedule", "constant"]
    out, whole = tmp_path / "run", tmp_path / "whole"
    assert run(*words, "--out", whole) == 0
    assert run(*words, "--epochs", 2, "--out", out) == 0
    assert run("--out", out, "--resume", "--epochs", 4) == 0
    assert_same_run(out, contents(whole))


def test_resume_with_changed_images_is_refused(interrupted, small, tmp_path, capsys):
    images = small.images.copy()
    images[0, 20, 20] ^= 1
    other = tmp_path / "fer2013.csv.gz"
    small.write_data(other, images)
    part = {"train": "training", "validation": "validation"}[str(small.split[0])]
    message = f"the data changed since the run began: {part} images;"
    assert_resume_refused(interrupted, capsys, message, "--data", other)


def test_resume_with_changed_votes_is_refused(interrupted, small, tmp_path, capsys):
    """Only the votes change, not the images."""
    row = int(np.flatnonzero(small.split == "train")[0])

    def one_vote_more(rows):
        rows[row][:] = [3, 3, 4, 0, 0, 0, 0, 0, 0, 0]

    small.write_votes(tmp_path / "votes.csv", one_vote_more)
    message = "the data changed since the run began: training distribution;"
    assert_resume_refused(interrupted, capsys, message, "--votes", tmp_path / "votes.csv")


def test_resume_with_another_teacher_is_refused(interrupted, small, tmp_path, capsys):
    small.write_teacher(tmp_path / "t.npz", logits=lambda logits: logits + 0.5)
    message = "the data changed since the run began: soft labels;"
    assert_resume_refused(interrupted, capsys, message, "--teacher", tmp_path / "t.npz")


def test_resume_with_files_that_moved(interrupted, small, tmp_path, undisturbed):
    places = []
    for path in (small.data, small.votes, small.teacher):
        (tmp_path / "moved").mkdir(exist_ok=True)
        places.append(Path(shutil.copy(path, tmp_path / "moved")))
    words = zip(("--data", "--votes", "--teacher"), places)
    assert run("--out", interrupted, "--resume", *(word for pair in words for word in pair)) == 0
    assert_same_run(interrupted, contents(undisturbed))


def begin_and_interrupt(small, folder, monkeypatch):
    """A run in a copy of the data's folder, with options relative to it."""
    shutil.copytree(small.data.parent, folder)
    monkeypatch.chdir(folder)
    files = {"--data": small.data, "--votes": small.votes, "--teacher": small.teacher}
    words = [word for option, path in files.items() for word in (option, path.name)]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert run(*words, *SHORT, "--compare", "--out", "run") == 130


def test_resume_from_another_folder_finds_its_files(small, tmp_path, monkeypatch, undisturbed):
    """The paths of the options were relative to the folder that the run was begun in."""
    began, elsewhere = tmp_path / "began", tmp_path / "elsewhere"
    elsewhere.mkdir()
    begin_and_interrupt(small, began, monkeypatch)
    monkeypatch.chdir(elsewhere)
    assert run("--out", began / "run", "--resume") == 0
    assert_same_run(began / "run", contents(undisturbed))
    assert list(elsewhere.iterdir()) == []


def test_resume_where_the_whole_folder_was_moved(small, tmp_path, monkeypatch, undisturbed):
    began, moved = tmp_path / "began", tmp_path / "moved"
    begin_and_interrupt(small, began, monkeypatch)
    monkeypatch.chdir(tmp_path)
    began.rename(moved)
    monkeypatch.chdir(moved)
    assert run("--out", "run", "--resume") == 0
    assert_same_run(moved / "run", contents(undisturbed))


def test_the_hashes_are_those_of_the_images_that_are_used(small, tmp_path):
    """With --rows, rows after those do not matter; images before them do."""
    whole = load_faces_of(small).train
    rows, before = whole.rows, load_faces_of(small, "--rows", 30).hashes
    for row, same in ((rows[30], True), (rows[29], False)):
        images = small.images.copy()
        images[row, 20, 20] ^= 1
        small.write_data(tmp_path / "fer2013.csv.gz", images)
        changed = load_faces_of(small, "--rows", 30, "--data", tmp_path / "fer2013.csv.gz").hashes
        assert (changed == before) == same
    assert before["training images"] == whole.select(np.arange(30)).content_hash()


def load_faces_of(small, *words):
    args = parse([str(word) for word in (*small.options(), *words)])
    return load_faces(args, args.training)


@pytest.mark.parametrize("share", [None, 0.0, 0.5])
def test_resume_from_a_damaged_or_missing_checkpoint_is_refused(interrupted, capsys, share):
    path = path_in(interrupted)
    content = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(content[: int(len(content) * share)])
    assert_resume_refused(interrupted, capsys, re.escape(str(path)))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"options": 1, "data": {}}', "\x00\xff"])
def test_resume_from_a_damaged_config_is_refused(interrupted, capsys, text):
    (interrupted / "config.json").write_text(text)
    assert_resume_refused(interrupted, capsys, "config.json: not a run's configuration")


# ---- help ------------------------------------------------------------------------------------

OPTIONS = "--data --votes --teacher --targets --rows --variant --size --recipe --epochs "
OPTIONS += "--batch-size --optimizer --learning-rate --schedule --augment --no-augment --patience "
OPTIONS += "--augment-strength "
OPTIONS += (
    "--loss --temperature --soft-weight --loss-scale --compare --out --resume --threads --seed"
)


def test_help_explains_every_option(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for group in ("data:", "network:", "training:", "distillation:", "run:"):
        assert f"\n{group}\n" in text
    body = text[text.index("\ndata:") :]
    entries = re.split(r"\n(?=  --)", body)
    assert max(map(len, text.splitlines())) <= 100
    documented = {}
    for entry in entries[1:]:
        entry = entry.split("\n\n")[0]
        for option in re.findall(r"--[a-z-]+", entry.split("  ")[1]):
            documented[option] = " ".join(entry.split())
    assert set(OPTIONS.split()) <= set(documented)
    for option, entry in documented.items():
        assert len(entry.split()) >= 5, f"{option} is not explained: {entry}"
        if option not in ("--votes", "--resume"):
            assert "(default: " in entry, f"{option} does not say its default: {entry}"
    assert "fer 4.0, best 4.0, finetune 4.0, paper 8.0" in documented["--temperature"]
    assert f"paper {TrainingOptions(recipe='paper').epochs}" in documented["--epochs"]


def test_the_program_is_short_enough_to_be_read():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 300
    for step in ("load_faces(", "TrainingRun(", "run.train(", "run.calibrate(", "finished.write("):
        assert step in text, step
