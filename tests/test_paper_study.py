"""The page of a study and its files: well-formed, self-contained, escaped, same numbers."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from paper_results import plan, results

from tinycnn import plots
from tinycnn.models import microexpnet
from tinycnn.paper import Interval, Scores, Study, look_inside, write_study
from tinycnn.paper.tables import Table, cell_text, csv_text, teachers
from tinycnn.sweep import Outcome

NASTY = '<script>alert("1")</script>\'&'
CLASSES = ("calm", NASTY, "glad")
ROWS = [
    dict(size=size, n_parameters=1000 + k, image_s=5e-5, low_s=4e-5, high_s=9e-5)
    for k, size in enumerate(("M", "XXS"))
]


def accuracy(split, trial):
    return 60 + trial.fold + (5 if trial.has_teacher else 0) + (2 if trial.variant == "v" else 0)


def inside_of(wanted, found):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 84, 84), dtype=np.uint8)
    part = SimpleNamespace(images=images, labels=np.arange(6) % 3)
    network = microexpnet("v", 4, 3, backend="numpy", scaling="unit")
    both = SimpleNamespace(validation=part, test=part)
    return look_inside(Scores(wanted, found), CLASSES, lambda r: both, lambda result: network)


def make(with_inside=True, failures=(), **changes):
    wanted = plan(sizes=("M", "XXS"), temperatures=(2.0, 8.0), n_folds=3, **changes)
    matrix = [[8, 2, 0], [1, 9, 0], [0, 0, 10]]
    found = results(wanted, accuracy, confusions=lambda split, trial: matrix)
    outcomes = {split: Outcome({r["name"]: r for r in rows}) for split, rows in found.items()}
    outcomes["subject"].failures.update(failures)
    return Study(
        title=f"a study {NASTY}",
        command=f"python it.py {NASTY}",
        plan=wanted,
        full=plan(epochs=25, n_folds=10, n_seeds=3),
        classes=CLASSES,
        named={split: {t.name("data"): t for t in wanted.trials(split)} for split in wanted.splits},
        outcomes=outcomes,
        facts={NASTY: NASTY},
        latencies=ROWS,
        inside=inside_of(wanted, found) if with_inside else None,
        notes=[f"note {NASTY}"],
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("matplotlib", reason="figures need the extra plots")
    study, folder = make(), tmp_path_factory.mktemp("study")
    study.draw()
    assert write_study(study, folder) == folder / "report.html"
    return study, folder


def root_of(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def text_of(element):
    return re.sub(r"\s+", " ", "".join(element.itertext()))


def test_the_accuracy_of_each_teacher_is_beside_that_of_its_students(tmp_path):
    wanted = plan(sizes=("M", "XXS"), temperatures=(2.0, 8.0), n_folds=3, n_seeds=2)
    wanted = replace(wanted, teacher_network="microexpnet-M", teacher_epochs=5)

    def of(split, trial):
        """The teacher is right in 90 % of fold 0, 91 % of fold 1, ...; seed 1 is 2 points better"""
        return 90 + trial.fold if trial.is_teacher else accuracy(split, trial) + 2 * trial.seed

    found = results(wanted, of)
    lost = found["subject"].pop(2)  # the teacher of fold 2 has failed
    assert lost["trial"]["is_teacher"] and lost["trial"]["fold"] == 2
    shown = teachers(Scores(wanted, found))
    assert shown.columns[:4] == ["fold", "test images", "teacher", "M, no teacher"]
    assert shown.columns[4:] == ["M, distilled", "XXS, no teacher", "XXS, distilled"]
    assert shown.rows[0] == ["fold 0", 30, 90.0, 61.0, 66.0, 61.0, 66.0]
    assert shown.rows[1] == ["fold 1", 30, 91.0, 62.0, 67.0, 62.0, 67.0]
    assert shown.rows[2][:4] == ["fold 2", None, None, 63.0]
    name, _, *means = shown.rows[3]
    assert name == "all folds" and [m.mean for m in means] == [90.5, 62, 67, 62, 67]
    assert [m.n for m in means] == [2, 3, 3, 3, 3]
    # they are not among the networks of the paper
    without = Scores(wanted, found).without_teacher("M")
    assert all(100 * r["test"]["accuracy"] < 70 for r in without.values()) and len(without) == 6
    own_split = replace(wanted, splits=("own-split",), n_folds=0)
    rows = teachers(Scores(own_split, results(own_split, lambda split, trial: 80.0))).rows
    assert [row[0] for row in rows] == ["own split"] and rows[0][2] == pytest.approx(80)
    assert teachers(Scores(plan(), {})) is None


def test_the_page_is_well_formed_self_contained_and_escaped(written):
    _, folder = written
    root = root_of(folder)
    for element in root.iter():
        assert element.tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href"):
            assert element.get(name, "data:").startswith("data:")
        assert not [name for name in element.keys() if name.startswith("on")]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "<script" not in page and "url(" not in page
    shown = text_of(root)
    for place in ("a study ", "python it.py ", "note "):
        assert place + NASTY in shown


def test_the_page_says_what_was_reduced_and_which_claims_hold(written):
    study, folder = written
    shown = text_of(root_of(folder))
    assert "3 epochs instead of 25" in shown and "the first 3 of 10 folds" in shown
    assert "1 seed instead of 3" in shown and "recipe fer" in shown
    for claim in study.claims:
        assert claim.text in shown
    assert [c.verdict for c in study.claims][:3] == ["holds", "cannot be told", "does not hold"]
    assert "✓ holds" in shown and "✗ does not hold" in shown and "? cannot be told" in shown
    assert "optimistic" in shown and "56 trainings" not in shown


def test_every_figure_is_on_the_page_and_in_the_folder(written):
    study, folder = written
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == set(study.pictures) >= {"distillation", "temperature", "candidates", "speed"}
    assert {"reliability", "confusions", "confusion-change"} <= names
    figures = [e for e in root_of(folder).iter("img") if e.get("class") == "figure"]
    assert len(figures) == len(names) and all(e.get("alt") for e in figures)
    looks = next(e for e in root_of(folder).iter("ol") if e.get("class") == "looks")
    assert len(looks) == 3 and len(list(looks.iter("img"))) == 3 * 3


def test_the_csv_files_have_the_numbers_of_the_page(written):
    study, folder = written
    assert {path.stem for path in (folder / "tables").iterdir()} == set(study.tables())
    with open(folder / "tables" / "distillation.csv", newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    # folds 0 to 2: 60, 61, 62; with the teacher 65, 66, 67
    assert (first["size"], float(first["no teacher"]), float(first["distilled"])) == ("M", 61, 66)
    assert float(first["gain"]) == pytest.approx(5) and first["gain n"] == "3"
    t2 = 4.302652729911275
    width = t2 * (1 / 3 + 1 / 8) ** 0.5  # variance of 60, 61, 62 is 1
    assert float(first["no teacher half_width"]) == pytest.approx(width)
    shown = text_of(root_of(folder))
    assert f"61.0 ± {width:.1f}" in shown and "78.79 -> 83.02" in shown
    with open(folder / "trials-subject.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.named["subject"]) and {r["status"] for r in rows} == {"done"}
    with open(folder / "tables" / "speed.csv", newline="", encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["paper's / ours"]) == pytest.approx(0.89e-3 / 5e-5)


def test_failures_and_missing_figures_are_reported(tmp_path):
    study = make(with_inside=False, failures={"0123": "boom"})
    write_study(study, tmp_path)
    shown = text_of(root_of(tmp_path))
    assert "1 training runs failed" in shown
    assert not [e for e in root_of(tmp_path).iter("img") if e.get("class") == "figure"]


def test_a_page_without_a_teacher(tmp_path):
    wanted = plan(sizes=("XXS",), temperatures=(), n_folds=0, splits=("own-split",), n_seeds=3)
    found = results(wanted, lambda split, trial: 60.0 + trial.seed)
    study = make(with_inside=False)
    fields = dict(plan=wanted, full=wanted, named={"own-split": {}}, outcomes={})
    fields["outcomes"] = {"own-split": Outcome({r["name"]: r for r in found["own-split"]})}
    keep = {k: getattr(study, k) for k in ("title", "command", "classes", "facts")}
    alone = Study(**keep, **fields)
    write_study(alone, tmp_path)
    assert "there is no teacher" in text_of(root_of(tmp_path))
    assert alone.tables()["distillation"].rows[0][1].mean == 61


def test_without_matplotlib_the_error_says_so(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(plots.PlotsError):
        make(with_inside=False).draw()


def test_table_cells_on_the_page_and_in_the_csv():
    assert cell_text(Interval(-1.26, 0.5, 4)) == "−1.3 ± 0.5"
    assert cell_text(Interval(2.0, float("inf"), 1)) == "2.0"
    assert (cell_text(None), cell_text(65000), cell_text("a-b")) == ("–", "65,000", "a-b")
    table = Table("t", "", ["a", "b"], [["x", Interval(1.5, 0.5, 3)], ["y, z", None]])
    rows = list(csv.reader(io.StringIO(csv_text(table))))
    assert rows == [
        ["a", "b", "b half_width", "b n"],
        ["x", "1.5", "0.5", "3"],
        ["y, z", "", "", ""],
    ]
