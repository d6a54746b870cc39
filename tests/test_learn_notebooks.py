"""`tinycnn learn --notebooks`: the notebooks run with the solutions, and can be checked."""

import json
import sys
from types import ModuleType

import pytest

import ferdata
from tinycnn.learn import checking
from tinycnn.learn.catalogue import EXERCISES, exercise_called
from tinycnn.learn.checking import check_folder
from tinycnn.learn.folder import exercise_files, write_exercises
from tinycnn.learn.notebook import code_cells
from tinycnn.learn.steps import RIGHT

EVERY = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)


@pytest.fixture
def without_training(monkeypatch):
    """The check of exercise 10 without the step that trains, which takes seconds."""
    monkeypatch.setitem(checking.STEPS, "network", checking.STEPS["network"][:-1])


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A folder of notebooks with the solutions."""
    folder = tmp_path_factory.mktemp("solved") / "notebooks"
    write_exercises(folder, solved=True, notebooks=True)
    return folder


@EVERY
def test_notebooks_with_the_solutions_run(exercise, solved, monkeypatch, capsys, without_training):
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    monkeypatch.chdir(solved)
    monkeypatch.setattr(ferdata, "default_faces", few_faces)
    shown = []
    display = ModuleType("IPython.display")  # IPython need not be installed
    vars(display)["Image"] = shown.append
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    text = (solved / f"{exercise.stem}.ipynb").read_text(encoding="utf-8")
    names = {"__name__": "__main__"}
    for k, code in enumerate(code_cells(text, with_figures=True)):
        exec(compile(code, f"cell {k}", "exec", dont_inherit=True), names)
    printed = capsys.readouterr().out
    assert "right" in printed and "wrong" not in printed and "to do" not in printed
    figures = 1 if exercise.name in ("softmax", "distillation", "network") else 0
    assert [picture[:8] for picture in shown] == [b"\x89PNG\r\n\x1a\n"] * figures


def few_faces():
    """Those of five people, so that the training of exercise 10 runs on something."""
    return ferdata.render_faces(5, 1)


@EVERY
def test_notebooks_are_checked_as_files_are(exercise, solved, without_training):
    assert {r.verdict for r in check_folder(solved, exercise)} == {RIGHT}


def test_notebooks_are_of_nbformat_4_5(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat, to check notebooks")
    for name, text in exercise_files(solved=False, notebooks=True).items():
        if name.endswith(".ipynb"):
            notebook = nbformat.reads(text, as_version=4)
            nbformat.validate(notebook)
            assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)


def test_a_notebook_runs_in_jupyter(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel")
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    import nbformat

    text = exercise_files(solved=True, notebooks=True)["01_softmax.ipynb"]
    notebook = nbformat.reads(text, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300).execute(cwd=str(tmp_path))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("softmax_backward    right" in output.get("text", "") for output in outputs)
    assert "image/png" in outputs[-1].data


def test_cells_of_notebooks():
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# text"]},
        {"cell_type": "code", "metadata": {}, "source": ["%matplotlib inline\n", "x = 1\n", "!ls"]},
        {"cell_type": "code", "metadata": {"tags": ["tinycnn-figure"]}, "source": "draw()"},
    ]
    text = json.dumps({"cells": cells, "nbformat": 4})
    assert code_cells(text) == ["\nx = 1\n"]
    assert code_cells(text, with_figures=True)[1] == "draw()"
    for damaged in (
        "",
        "[]",
        "{}",
        '{"cells": 3}',
        '{"cells": [1]}',
        '{"cells": [{}]}',
        "[" * 9999,
    ):
        with pytest.raises(ValueError, match="not a Jupyter notebook"):
            code_cells(damaged)


def test_an_error_in_a_notebook_names_the_cell(solved, tmp_path):
    text = (solved / "03_dense.ipynb").read_text(encoding="utf-8")
    path = tmp_path / "03_dense.ipynb"
    path.write_text(text.replace("return x @ w + b", "return x @ w.T + b"), encoding="utf-8")
    forward, _ = check_folder(tmp_path, exercise_called("dense"))
    assert "03_dense.ipynb cell 1, line " in forward.message
    assert "return x @ w.T + b" in forward.message
    path.write_text("{}")
    (result,) = check_folder(tmp_path, exercise_called("dense"))
    assert "03_dense.ipynb: not a Jupyter notebook" in result.message
