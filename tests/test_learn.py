"""`tinycnn learn`: the exercises, their solutions, the command, the notebooks."""

import ast
import doctest
import json
import re

import drawn_once
import numpy as np
import pytest

import ferdata
import tinycnn
from tinycnn import cli
from tinycnn.ground.package_files import package_text
from tinycnn.learn import check, checking, load_exercise
from tinycnn.learn.catalogue import EXERCISES, NAMES, exercise_called
from tinycnn.learn.checking import check_folder, check_functions
from tinycnn.learn.folder import exercise_files, write_exercises
from tinycnn.learn.learner import WrongAnswer, solution
from tinycnn.learn.steps import RIGHT, TO_DO

EVERY = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)


@pytest.fixture
def without_training(monkeypatch):
    """The check of exercise 10 without the step that trains, which takes seconds."""
    monkeypatch.setitem(checking.STEPS, "network", checking.STEPS["network"][:-1])


def own(name):
    return solution(exercise_called(name)).names


# ---- the solutions ---------------------------------------------------------------------------


@EVERY
def test_the_solution_passes(exercise, without_training):
    results = check_functions(exercise, solution(exercise))
    assert [r.message for r in results] == [""] * len(results)
    assert {r.verdict for r in results} == {RIGHT}


@EVERY
def test_the_examples_of_the_text_are_those_of_the_solution(exercise):
    names = dict(solution(exercise).names)
    tests = [
        test
        for name, value in names.items()
        if getattr(value, "__module__", "") == names["__name__"]
        for test in doctest.DocTestFinder(recurse=False).find(value, name, False, names)
        if test.examples
    ]
    assert tests or exercise.name == "network"
    runner = doctest.DocTestRunner(verbose=False)
    for test in tests:
        assert runner.run(test).failed == 0


def test_softmax_and_cross_entropy_are_scipys():
    special = pytest.importorskip("scipy.special")
    z = np.random.default_rng(0).normal(0, 300, (6, 5))
    assert np.allclose(own("softmax")["softmax"](z), special.softmax(z, axis=1))
    assert np.allclose(own("cross_entropy")["log_softmax"](z), special.log_softmax(z, axis=1))


def test_losses_are_torchs():
    torch = pytest.importorskip("torch", reason="needs PyTorch: the extra dev")
    functional = torch.nn.functional
    rng = np.random.default_rng(1)
    z, v, labels = rng.normal(0, 2, (6, 5)), rng.normal(0, 2, (6, 5)), rng.integers(0, 5, 6)
    logits, target = torch.tensor(z, requires_grad=True), torch.tensor(labels)
    loss = functional.cross_entropy(logits, target)
    (dz,) = torch.autograd.grad(loss, logits)
    assert np.isclose(own("cross_entropy")["cross_entropy"](z, labels), loss.item())
    assert np.allclose(own("cross_entropy")["cross_entropy_backward"](z, labels), dz.numpy())
    soft = functional.softmax(torch.tensor(v) / 4, dim=1)
    loss = 0.3 * functional.cross_entropy(logits, target)
    loss = loss + 0.7 * 16 * functional.cross_entropy(logits / 4, soft)
    (dz,) = torch.autograd.grad(loss, logits)
    arguments = (z, labels, v, 4, 0.7)
    assert np.isclose(own("distillation")["distillation_loss"](*arguments), loss.item())
    assert np.allclose(own("distillation")["distillation_backward"](*arguments), dz.numpy())


def test_layers_are_torchs():
    torch = pytest.importorskip("torch", reason="needs PyTorch: the extra dev")
    functional = torch.nn.functional
    rng = np.random.default_rng(2)

    def compare(names, forward, backward, theirs, *arrays):
        """forward(*arrays), and backward(arrays, dy) -> gradients of all, with PyTorch's."""
        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        y = theirs(*tensors)
        dy = rng.normal(0, 1, tuple(y.shape))
        assert np.allclose(forward(*arrays), y.detach().numpy())
        expected = torch.autograd.grad((y * torch.tensor(dy)).sum(), tensors)
        for name, mine, right in zip(names, backward(arrays, dy), expected, strict=True):
            assert np.allclose(mine, right.numpy()), name

    dense, convolution, norm = own("dense"), own("convolution"), own("batch_norm")
    compare(
        "xwb",
        dense["dense_forward"],
        lambda arrays, dy: dense["dense_backward"](*arrays[:2], dy),
        lambda x, w, b: x @ w + b,
        *(rng.normal(0, 1, shape) for shape in ((4, 5), (5, 3), (3,))),
    )
    compare(
        "xwb",
        lambda x, w, b: convolution["conv_forward"](x, w, b, 2),
        lambda arrays, dy: convolution["conv_backward"](*arrays[:2], dy, 2),
        lambda x, w, b: functional.conv2d(
            x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, stride=2
        ).permute(0, 2, 3, 1),
        *(rng.normal(0, 1, shape) for shape in ((3, 7, 8, 2), (3, 2, 2, 4), (4,))),
    )
    compare(
        ["x", "gamma", "beta"],
        lambda x, gamma, beta: norm["batchnorm_forward"](x, gamma, beta, 1e-2),
        lambda arrays, dy: norm["batchnorm_backward"](*arrays[:2], dy, 1e-2),
        lambda x, gamma, beta: functional.batch_norm(
            x, None, None, gamma, beta, training=True, eps=1e-2
        ),
        *(rng.normal(0, 1, shape) for shape in ((6, 3), (3,), (3,))),
    )
    pool, relu = own("max_pooling"), own("relu")
    compare(
        "x",
        lambda x: pool["maxpool_forward"](x, 3),
        lambda arrays, dy: [pool["maxpool_backward"](arrays[0], dy, 3)],
        lambda x: functional.max_pool2d(x.permute(0, 3, 1, 2), 3).permute(0, 2, 3, 1),
        rng.normal(0, 1, (2, 6, 9, 2)),
    )
    compare(
        "x",
        relu["relu_forward"],
        lambda arrays, dy: [relu["relu_backward"](*arrays, dy)],
        torch.relu,
        rng.normal(0, 1, (4, 5)),
    )


def test_adam_is_torchs():
    torch = pytest.importorskip("torch", reason="needs PyTorch: the extra dev")
    rng = np.random.default_rng(3)
    w, m, v = rng.normal(0, 1, 7), np.zeros(7), np.zeros(7)
    theirs = torch.nn.Parameter(torch.tensor(w))
    optimizer = torch.optim.Adam([theirs], lr=0.1, betas=(0.8, 0.95), eps=1e-3)
    for step in range(1, 6):
        g = rng.normal(0, 1, 7)
        w, m, v = own("adam")["adam_step"](w, g, m, v, step, 0.1, 0.8, 0.95, 1e-3)
        theirs.grad = torch.tensor(g)
        optimizer.step()
        assert np.allclose(w, theirs.detach().numpy())


def test_own_layers_compute_what_tinycnns_compute():
    names = own("network")
    rng = np.random.default_rng(4)
    layers = [names["OwnConvolution"](4, 3, 2), tinycnn.ReLU(), tinycnn.Flatten()]
    mine = [*layers, names["OwnDense"](3)]
    theirs = [tinycnn.Conv2D(4, 3, stride=2, padding="valid"), *layers[1:], tinycnn.Dense(3)]
    networks = [
        tinycnn.Network(each, tinycnn.InputSpec(9, 8), backend="numpy", dtype=np.float64)
        for each in (mine, theirs)
    ]
    networks[1].trained_vector[:] = networks[0].trained_vector
    x = rng.normal(0, 1, (5, 9, 8, 1))
    logits = [network.forward(x, training=True) for network in networks]
    assert np.allclose(*logits)
    for network in networks:
        network.backward(logits[0])
    assert np.allclose(networks[0].trained_gradients, networks[1].trained_gradients)


def test_own_layers_learn_to_recognise_faces(monkeypatch, capsys):
    monkeypatch.setattr(ferdata, "default_faces", drawn_once.default_faces)
    (training,) = (step for step in checking.STEPS["network"] if step.name == "train")
    learner = solution(exercise_called("network"))
    training.run(learner, learner)
    printed = capsys.readouterr().out
    right = [int(share) for share in re.findall(r"(\d+)% of the validation faces", printed)]
    assert len(right) == 4 and right[0] < 40 and right[-1] >= 55


# ---- blanks ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """A folder of exercises that nobody has answered."""
    folder = tmp_path_factory.mktemp("blank") / "exercises"
    write_exercises(folder)
    return folder


@EVERY
def test_a_blank_is_named_with_its_line(exercise, blank):
    results = check_folder(blank, exercise)
    blanks = [r for r in results if r.verdict == TO_DO]
    assert RIGHT not in {r.verdict for r in results} and len(blanks) >= 2
    lines = (blank / f"{exercise.stem}.py").read_text(encoding="utf-8").splitlines()
    for result in blanks:
        if "not tried" in result.message:
            continue
        line = int(re.search(r"line (\d+)", result.message)[1])
        assert lines[line - 1].strip() == "raise NotImplementedError"
        assert "replace `raise NotImplementedError` by your code" in result.message


@EVERY
def test_every_blank_is_empty(exercise):
    """The functions that have a blank hold nothing but their docstring and the error."""
    blanks = 0
    for blank, solved in zip(
        exercise.cells(solved=False), exercise.cells(solved=True), strict=True
    ):
        assert "SOLUTION" not in blank.content + solved.content
        if blank.content == solved.content:
            continue
        for node in ast.walk(ast.parse(blank.content)):
            if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Raise):
                assert ast.unparse(node.body[-1]) == "raise NotImplementedError"
                assert len(node.body) <= 2
                blanks += 1
        assert "raise NotImplementedError" not in solved.content
    source = package_text("tinycnn.learn", f"exercises/{exercise.stem}.md")
    assert blanks == source.count("### BEGIN SOLUTION") == source.count("### END SOLUTION") >= 2


# ---- the command -----------------------------------------------------------------------------


def test_a_learners_way(tmp_path, capsys, without_training):
    """Write the folder, answer one exercise, check it, check all."""
    folder = tmp_path / "mine"
    assert cli.main(["learn", str(folder)]) == 0
    assert "10 exercises" in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    stems = [f"{number:02}_{name}" for number, name in enumerate(NAMES, 1)]
    files = {f"{stem}{ending}" for stem in stems for ending in (".md", ".py")}
    assert names == {"README.md", "check.py"} | files
    assert cli.main(["learn", str(folder), "--check", "relu"]) == 1
    assert "relu_forward   to do" in capsys.readouterr().out
    text = exercise_files(solved=True, notebooks=False)["04_relu.py"]
    (folder / "04_relu.py").write_text(text.replace("np.where(x > 0, dy, 0.0)", "dy"))
    assert cli.main(["learn", str(folder), "--check", "relu"]) == 1
    printed = capsys.readouterr().out
    assert "relu_forward   right" in printed and "relu_backward  wrong" in printed
    assert re.search(r"dx\[\d, \d\] is -?[\d.]+; expected 0 \(\d+ of 12 entries of dx", printed)
    assert "Hint: this is dy" in printed
    (folder / "04_relu.py").write_text(text)
    for name in ("relu", "4", "04_relu", "04_relu.py"):
        assert cli.main(["learn", str(folder), "--check", name]) == 0
    assert "1 of 1 right" in capsys.readouterr().out
    assert cli.main(["learn", str(folder), "--check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["exercise"] for row in found["exercises"] if row["right"]] == ["relu"]
    assert not found["right"] and len(found["exercises"]) == 10


def test_ctrl_c_says_where_the_learners_code_was(tmp_path, capsys):
    write_exercises(tmp_path / "mine")
    path = tmp_path / "mine/04_relu.py"
    blank = "    raise NotImplementedError\n"
    loop = "    while True:\n        raise KeyboardInterrupt\n"  # as Ctrl-C does in a loop
    path.write_text(path.read_text("utf-8").replace(blank, loop, 1), "utf-8")
    assert cli.main(["learn", str(tmp_path / "mine"), "--check", "relu"]) == 130
    assert "interrupted in 04_relu.py, line 14, in relu_forward" in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    for options in ([], ["--solutions"], ["--notebooks"]):
        assert cli.main(["learn", str(tmp_path), *options]) == 2
        assert "holds files, which may be somebody's answers" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    from tinycnn.learn import folder

    written = []

    def full_disk(path, text, new):
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)
        path.write_text(text)

    monkeypatch.setattr(folder, "write_atomically", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_exercises(tmp_path / "mine")
    assert len(written) == 3 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere", "--check"], "there is no such folder; without --check it is made"),
        (["mine", "--check", "conv"], "conv: no exercise; expected one of softmax,"),
        (["mine", "--check", "--solutions"], "leave out --solutions"),
        (["mine", "--check", "relu"], "04_relu.py: there is no such file, and no 04_relu.ipynb"),
        (["file"], "file: is a file; choose a new folder"),
        (["file", "--check"], "file: is a file; expected the folder of the exercises"),
        (["old"], "old: holds exercises already; --check checks the answers"),
        (["old", "--solutions"], "old: holds exercises already"),
        (["both", "--check", "relu"], "04_relu.ipynb is there too; move one of them away"),
    ],
)
def test_errors_of_the_command(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("mine", "both", "old"):
        (tmp_path / folder).mkdir()
    for path in ("file", "old/check.py"):
        (tmp_path / path).write_text("")
    for ending in (".py", ".ipynb"):
        (tmp_path / "both" / f"04_relu{ending}").write_text("")
    assert cli.main(["learn", *words]) == 2
    assert message in capsys.readouterr().err


# ---- errors in the learner's code ------------------------------------------------------------


def answered(tmp_path, text, name="dense"):
    """The messages of the check of a file with this text."""
    exercise = exercise_called(name)
    (tmp_path / f"{exercise.stem}.py").write_text(text)
    return [result.message for result in check_folder(tmp_path, exercise)]


def test_a_traceback_has_the_learners_lines_alone(tmp_path):
    text = (
        "import numpy as np\n\n\ndef product(x, w):\n    return np.dot(x, w.T)\n\n\n"
        "def dense_forward(x, w, b):\n    return product(x, w) + b\n"
    )
    message, missing = answered(tmp_path, text)
    assert message.splitlines()[0].startswith("dense_forward stopped with ValueError: shapes (4,5)")
    assert message.splitlines()[1:] == [
        "  03_dense.py, line 9, in dense_forward",
        "    return product(x, w) + b",
        "  03_dense.py, line 5, in product",
        "    return np.dot(x, w.T)",
    ]
    assert missing == "there is no dense_backward in the file: it must keep this name"


@pytest.mark.parametrize(
    "text, words",
    [
        ("def dense_forward(x, w, b)\n    pass\n", "cannot be run: SyntaxError"),
        ("import nothing_called_this\n", "cannot be run: ModuleNotFoundError"),
        ("import sys\n\nsys.exit(3)\n", "cannot be run: SystemExit: 3"),
        ("raise NotImplementedError\n", "not written yet (03_dense.py, line 1"),
    ],
)
def test_a_file_that_cannot_be_run(text, words, tmp_path):
    (message,) = answered(tmp_path, text)
    assert words in message and "03_dense.py" in message and "tinycnn/learn" not in message


def test_results_of_any_kind_give_a_message(tmp_path):
    for value in ("None", "'text'", "[]", "[[1], [1, 2]]", "{}", "object()", "1j", "...", "x, w"):
        text = (
            f"def dense_forward(x, w, b):\n    return {value}\n\n\ndense_backward = dense_forward\n"
        )
        messages = answered(tmp_path, text)
        assert all(messages) and not any("check stopped" in message for message in messages), value


def test_exercise_10_says_which_earlier_one_is_not_right(tmp_path):
    write_exercises(tmp_path / "mine", solved=True)
    path = tmp_path / "mine" / "03_dense.py"
    path.write_text(path.read_text().replace("dy.sum(axis=0)", "dy.mean(axis=0)"))
    messages = [r.message for r in check_folder(tmp_path / "mine", exercise_called("network"))]
    assert messages[0].startswith("exercise 3, dense, is not right yet")
    assert "db" in messages[2] and messages[-1] == "not tried: first correct what is above"
    path.unlink()
    (message,) = (r.message for r in check_folder(tmp_path / "mine", exercise_called("network")))
    assert "03_dense.py: there is no such file" in message


def test_load_exercise_looks_in_the_current_folder(tmp_path, monkeypatch):
    write_exercises(tmp_path / "mine", solved=True)
    monkeypatch.chdir(tmp_path / "mine")
    assert load_exercise("dense").dense_forward(np.eye(2), np.eye(2), np.ones(2)).sum() == 6
    (tmp_path / "mine" / "03_dense.py").write_text("x = (")
    with pytest.raises(WrongAnswer, match="SyntaxError"):
        load_exercise("dense")


def test_check_takes_functions(capsys):
    assert check("relu", own("relu")) is True
    assert check("relu", {}) is False
    assert "there is no relu_forward in the file" in capsys.readouterr().out


def test_texts_name_the_functions():
    files = exercise_files(solved=False, notebooks=False)
    for exercise in EXERCISES:
        text = files[f"{exercise.stem}.md"]
        assert text.startswith(f"# {exercise.title}\n") and "```python" not in text
        assert f"**In {exercise.stem}.py:** `" in text
