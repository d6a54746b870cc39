"""`tinycnn reproduce` and examples/reproduce_paper.py, at toy size: in full, again without a
training, on given splits."""

import contextlib
import csv
import io
import json
import sys
import types

import numpy as np
import pytest
from example_programs import load_example
from source_trees import ck_plus
from test_train_student import SmallFer2013, one_error_line

import ferdata
from tinycnn import cli, paper
from tinycnn.cli import reproduce, time_budget
from tinycnn.paper import published
from tinycnn.sweep import DEFAULT_TEACHER, SweepFolder, Trial, local

program = load_example("reproduce_paper")
TOY = ["--sizes", "XXS", "--epochs", "1", "--seeds", "1", "--temperatures", "2,8"]
TOY += ["--backend", "numpy", "--processes", "1"]


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "ferdata"))


@pytest.fixture(scope="module")
def few_faces():
    return ferdata.render_faces(13, 1)  # 11 of the 13 people are for training


def draw_few(patch, few_faces):
    """Replace the built-in faces by few drawn people, with a teacher that knows the labels."""
    patch.setattr(ferdata, "default_faces", lambda progress=None: few_faces, raising=False)
    patch.setattr(
        ferdata,
        "load_rendered_teacher",
        lambda rows: np.eye(8, dtype=np.float32)[rows.labels] * 4,
        raising=False,
    )


@pytest.fixture
def built_in(monkeypatch, few_faces):
    draw_few(monkeypatch, few_faces)


@pytest.fixture
def small(tmp_path):
    return SmallFer2013(tmp_path)


@pytest.fixture
def no_training(monkeypatch):
    """Replace training by collecting the trials that would be trained."""
    asked = {}

    def run_trials(args, plan, sources, tell):
        asked.update(plan=plan, sources=sources)
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "run_trials", run_trials)
    return asked


def run(*words):
    return program.main([str(word) for word in words])


@pytest.fixture(scope="module")
def done(tmp_path_factory, few_faces):
    """The folder of a complete run, its options, and its output."""
    folder = tmp_path_factory.mktemp("done")
    words = [*TOY, "--folds", 2, "--budget", "10min", "--out", folder]
    with pytest.MonkeyPatch.context() as patch:
        draw_few(patch, few_faces)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert run(*words) == 0
    return folder, words, out.getvalue() + err.getvalue()


def test_a_complete_run_at_toy_size(done):
    folder, _, said = done
    assert "20 trainings, 88 images" in said and "not tested  Distillation helps" in said
    assert "(trained for one epoch; a verdict needs 3 or more)" in said
    assert "expected: " in said and "trials: 100%" in said
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    expected = {"report.html", "plan.json", "trials-subject.csv", "trials-random.csv"}
    names = ("claims", "distillation", "temperature", "candidates-subject", "candidates-random")
    expected |= {f"tables/{name}.csv" for name in (*names, "speed", "calibration", "confusions")}
    assert expected <= files
    assert len(list((folder / "trials" / "models").iterdir())) == (1 + 2) * 2  # p12, by subject
    page = (folder / "report.html").read_text(encoding="utf-8")
    told = ("2 of ten folds", "temperatures: 2, 8", "1 epoch; the paper", "Where the network looks")
    assert [words for words in told if words not in page] == []
    with open(folder / "trials-subject.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and {row["status"] for row in rows} == {"done"}
    with open(folder / "tables" / "candidates-subject.csv", newline="", encoding="utf-8") as file:
        ours = next(csv.DictReader(file))
    mean = np.mean([float(r["test_accuracy"]) for r in rows if r["variant"] == "v"])
    assert ours["whose"] == "ours" and float(ours["v"]) == pytest.approx(100 * mean)


def test_the_figures_of_that_run(done):
    pytest.importorskip("matplotlib", reason="figures need the extra plots")
    names = {path.stem for path in (done[0] / "figures").iterdir()}
    assert names >= {"distillation", "temperature", "candidates", "speed"}
    assert names >= {"confusions", "confusion-change", "reliability"}


def test_a_second_run_trains_nothing_and_needs_no_matplotlib(done, built_in, capsys, monkeypatch):
    folder, words, _ = done
    monkeypatch.setattr(local, "_Crew", None)  # no trial is left to run
    monkeypatch.setattr(paper, "measure", None)  # nor is the speed measured again
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    claims = (folder / "tables" / "claims.csv").read_text(encoding="utf-8")
    monkeypatch.setattr(reproduce, "is_over", lambda budget_s, seconds: True)
    assert run(*words) == 0
    assert (folder / "tables" / "claims.csv").read_text(encoding="utf-8") == claims
    out, err = capsys.readouterr()
    assert 'no figures: figures need matplotlib: pip install "tinycnn[plots]"' in err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "no figures" in page and "10.0 min (not kept)" in page
    assert "the budget was not kept: " in out and " min of 10.0\n" in out


def test_the_command_does_the_same_and_prints_json(done, built_in, capsys, monkeypatch):
    folder, words, _ = done
    monkeypatch.setattr(local, "_Crew", None)  # no trial is left to run
    assert cli.main(["reproduce", *map(str, words), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with open(folder / "tables" / "claims.csv", newline="", encoding="utf-8") as file:
        written = {row["claim"]: row["verdict"] for row in csv.DictReader(file)}
    assert found["page"] == str(folder / "report.html") and found["n_failed"] == 0
    assert {each["claim"]: each["verdict"] for each in found["claims"]} == written
    assert len(written) > 3


def test_a_teacher_is_trained_in_each_fold_by_subject(few_faces, tmp_path, monkeypatch, capsys):
    """In full, with two of the four variants."""
    draw_few(monkeypatch, few_faces)
    monkeypatch.delattr(ferdata, "load_rendered_teacher")  # it is not asked for
    monkeypatch.setattr(published, "VARIANTS", ("v", "p12"))
    words = ["--train-teacher", "--teacher-network", "microexpnet-M", "--teacher-epochs", 1]
    words += [*TOY, "--folds", 2, "--budget", "none", "--out", tmp_path]
    assert run(*words) == 0
    out, err = capsys.readouterr()
    assert "14 trainings, 88 images" in out and "no teacher, so nothing" not in err
    with open(tmp_path / "trials-subject.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"done"} and len(rows) == 2 + (2 + 2) * 2
    teachers = {row["fold"]: row for row in rows if row["is_teacher"] == "True"}
    assert list(teachers) == ["0", "1"]
    with open(tmp_path / "tables" / "teachers.csv", newline="", encoding="utf-8") as file:
        shown = list(csv.DictReader(file))
    assert [row["fold"] for row in shown] == ["fold 0", "fold 1", "all folds"]
    for row, teacher in zip(shown, teachers.values()):
        assert float(row["teacher"]) == pytest.approx(100 * float(teacher["test_accuracy"]))
        assert (tmp_path / "trials" / "models" / f"{teacher['name']}.safetensors").exists()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        "The teacher of each fold" in page
        and "microexpnet-M, trained in each fold, 1 epoch<" in page
    )
    monkeypatch.setattr(local, "_Crew", None)  # no trial is left to run
    assert run(*words) == 0


def test_without_a_teacher_the_option_to_train_one_is_named(no_training, tmp_path, capsys):
    folder = ck_plus(tmp_path / "CK+", {f"S{k:03d}/001": (1 + k % 7, 4) for k in range(11)})
    words = ["--data", folder, "--budget", "none", "--out", tmp_path / "out"]
    assert run(*words) == 130
    assert not no_training["plan"].temperatures
    told = "note: no teacher, so nothing is distilled: --train-teacher trains one in each fold"
    assert told in capsys.readouterr().err
    assert run(*words, "--train-teacher") == 130
    plan, sources = no_training["plan"], no_training["sources"]
    assert (plan.teacher_network, plan.teacher_epochs) == (DEFAULT_TEACHER, 100)
    assert plan.n_teachers == 10 and len(plan.temperatures) == 7
    assert not sources["subject"].has_teacher and told not in capsys.readouterr().err


def test_folds_by_subject_share_no_person_and_random_folds_do(built_in, no_training, tmp_path):
    assert run(*TOY, "--folds", 3, "--budget", "none", "--out", tmp_path) == 130
    plan, sources = no_training["plan"], no_training["sources"]
    assert plan.splits == tuple(sources) == ("subject", "random") and plan.n_folds == 3
    shared = {}
    for split, source in sources.items():
        assert source.n_folds == 10 and source.has_teacher and len(source.dataset) == 88
        train, validation, test = source._rows(1)
        people = [set(source.dataset.subjects[rows]) for rows in (train, validation, test)]
        shared[split] = len(people[0] & people[2]) + len(people[1] & people[2])
    assert shared["subject"] == 0 < shared["random"]


def test_a_folder_of_ck_plus_and_a_teacher_for_it(no_training, tmp_path):
    """The paper's own data: ten folds by subject, and a teacher whose entries have ids."""
    sequences = {f"S{k:03d}/001": (1 + k % 7, 4) for k in range(11)}
    folder = ck_plus(tmp_path / "CK+", sequences)
    faces = ferdata.open(folder)
    classes = ("neutral", *(name for name in faces.classes if name != "neutral"))
    order = np.random.default_rng(0).permutation(len(faces))
    logits = np.eye(8, dtype=np.float32)[[classes.index(faces.classes[k]) for k in faces.labels]]
    teacher = tmp_path / "teacher.npz"
    ferdata.save_soft_labels(teacher, logits[order], "logits", classes, ids=faces.ids[order])
    words = ["--data", folder, "--teacher", teacher, "--budget", "none", "--out", tmp_path / "out"]
    assert run(*words) == 130
    plan, sources = no_training["plan"], no_training["sources"]
    assert plan.splits == ("subject", "random")
    assert (plan.n_folds, plan.epochs, len(plan.temperatures)) == (10, 25, 7)
    source = sources["subject"]
    assert len(source.dataset) == 44 and source.has_teacher
    assert (source.dataset.soft_labels.argmax(axis=1) == source.dataset.labels).all()
    train, validation, test = source._rows(7)
    assert {*source.dataset.subjects[test]}.isdisjoint(
        source.dataset.subjects[[*train, *validation]]
    )


def test_fer_plus_is_measured_on_its_validation_split_and_chooses_on_other_images(
    small, no_training, tmp_path
):
    words = [*small.options(), "--budget", "none", "--out", tmp_path / "out"]
    assert run(*words) == 130
    plan, sources = no_training["plan"], no_training["sources"]
    assert plan.splits == ("own-split",) and plan.n_folds == 0 and plan.n_seeds == 3
    assert plan.sizes == ("M", "S", "XS", "XXS") and len(plan.temperatures) == 7
    source = sources["own-split"]
    assert source.targets == "distribution" and source.has_teacher
    parts = source.parts(Trial(augment=False))
    assert len(parts.test.labels) == 15  # one of the 16 PublicTest rows is labelled as no face
    assert 0 < len(parts.validation.labels) < 16
    tested = {image.tobytes() for image in parts.test.images}
    assert not tested & {image.tobytes() for image in parts.validation.images}


def test_the_plan_of_a_budget_is_kept_until_the_options_change(
    built_in, no_training, tmp_path, monkeypatch
):
    times = iter([10.0, 0.001])  # first a busy machine, then an idle one

    def measure(plan, source, backend):
        keys = [(v, s) for v in ("v", "p1", "p2", "p12") for s in plan.sizes]
        step_s = next(times)
        return paper.Costs({k: step_s for k in keys}, {k: 0.0 for k in keys}, 2, 10)

    monkeypatch.setattr(paper, "measure", measure)
    words = ["--sizes", "XXS", "--processes", 2, "--out", tmp_path]
    run(*words, "--budget", "10min")
    first = no_training["plan"]
    assert (first.epochs, first.n_folds, first.n_seeds) == (1, 3, 1)
    run(*words, "--budget", "10min")
    assert no_training["plan"] == first
    run(*words, "--budget", "11min")
    assert no_training["plan"].epochs == 25
    (tmp_path / "plan.json").write_text('{"asked": 3}')  # a damaged file, or one of another program
    assert run(*words, "--budget", "none") == 2
    assert (tmp_path / "plan.json").read_text() == '{"asked": 3}'
    SweepFolder(tmp_path / "trials")  # now it is certainly the folder of this command
    monkeypatch.setattr(paper, "measure", lambda *words: pytest.fail("--budget none measures"))
    run(*words, "--budget", "none")
    assert no_training["plan"].n_folds == 10
    assert json.loads((tmp_path / "plan.json").read_text())["plan"]["n_seeds"] == 3


@pytest.mark.parametrize("step_s, kept", [(10.0, False), (0.001, True)])
def test_a_budget_that_is_too_small_is_said_before_the_work(
    built_in, no_training, tmp_path, monkeypatch, capsys, step_s, kept
):
    def measure(plan, source, backend):
        keys = [(v, s) for v in ("v", "p1", "p2", "p12") for s in plan.sizes]
        return paper.Costs(dict.fromkeys(keys, step_s), dict.fromkeys(keys, 0.0), 2, 10)

    monkeypatch.setattr(paper, "measure", measure)
    run("--sizes", "XXS", "--processes", 2, "--out", tmp_path, "--budget", "5min")
    said = capsys.readouterr().out
    told = "the budget will not be kept: this is the smallest plan; give fewer --temperatures or "
    assert (told in said) != kept and "fewer --sizes" not in said  # there is only one
    assert "the budget was not kept" not in said


@pytest.mark.parametrize("before_s, n_seeds", [(0, 3), (240, 1)])
def test_time_before_the_training_counts(tmp_path, monkeypatch, before_s, n_seeds):
    """240 of 300 seconds are over when the plan is made."""
    full = paper.Plan(("random",), ("XXS",), (), "fer", 3, 5, 3)
    keys = [(v, "XXS") for v in ("v", "p1", "p2", "p12")]
    costs = paper.Costs(dict.fromkeys(keys, 0.2), dict.fromkeys(keys, 0.0), 2, 10)
    monkeypatch.setattr(paper, "measure", lambda plan, source, backend: costs)
    args = reproduce.ReproduceArguments(budget=300.0, processes=1, out=str(tmp_path))
    args.started -= before_s
    source = types.SimpleNamespace(key="faces")
    assert reproduce.plan_for_budget(args, full, {"random": source}).n_seeds == n_seeds


@pytest.mark.parametrize("each_s, told", [(1.0, False), (31.0, True)])
def test_a_run_that_takes_longer_than_expected_says_so_once(each_s, told, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time_budget.time, "perf_counter", lambda: now[0])
    said = []
    clock = time_budget.TrainingClock(600.0, now[0], 40, said.append)
    for _ in range(4):
        now[0] += 10 * each_s
        clock.trained(10, 10)
    assert [line.split(":")[0] for line in said] == ["the budget will not be kept"] * told


@pytest.mark.parametrize(
    "options, words",
    [
        (["--budget", "soon"], "--budget: budget is 'soon'; expected minutes, hours"),
        (["--sizes", "XXS,L"], "--sizes: 'L': expected one of M, S, XS, XXS"),
        (["--folds", "11"], "--folds 11: expected at most 10"),
        (["--votes", "v.csv"], "--votes needs --data"),
        (["--data", "nowhere"], "nowhere"),
        (["--temperatures", "2,hot"], "--temperatures: 'hot': expected a number above 0"),
        (["--temperatures", "0"], "temperature"),
        (
            ["--train-teacher", "--data", "CK+", "--teacher", "t.npz"],
            "--train-teacher trains a teacher and --teacher gives one: give only one of the two",
        ),
        (["--teacher-epochs", "3"], "--teacher-epochs needs --train-teacher"),
        (["--teacher-network", "microexpnet-M"], "--teacher-network needs --train-teacher"),
    ],
)
def test_errors_have_one_line(built_in, tmp_path, capsys, options, words):
    assert run(*options, "--out", tmp_path / "out") == 2
    assert words in one_error_line(capsys.readouterr())
    assert not (tmp_path / "out").exists()
