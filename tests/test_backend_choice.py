"""Numba is missing, broken or cannot compile: "auto" then means NumPy, with one warning."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import tinycnn
from tinycnn import CrossEntropy, backend_choice, losses, models, optim
from tinycnn import network as network_module
from tinycnn.backend_choice import BACKENDS, backend_in_use, check_backend, either

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 84, 84), dtype=np.uint8)

USE = """
import warnings
import numpy as np, tinycnn
from tinycnn import backend_choice

def use(backend):
    network = tinycnn.models.microexpnet(backend=backend, dropout=0.5, n_threads=2)
    images = np.random.default_rng(0).integers(0, 256, (3, 84, 84), dtype=np.uint8)
    loss = tinycnn.Distillation(standardize=True)
    optimizer = tinycnn.Adam(backend=backend)
    logits = network.forward(network.scale(images), training=True)
    value, dlogits = loss(logits, np.array([0, 1, 2]), -logits, backend=backend)
    network.backward(dlogits)
    optimizer.step(network.parameter_vector, network.gradient_vector)
    probs = network.predict_proba(images)
    assert np.isfinite(value) and np.allclose(probs.sum(axis=1), 1)
    return probs

def messages(backend):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        probs = use(backend)
    assert all(issubclass(w.category, RuntimeWarning) for w in caught), list(map(str, caught))
    return probs, [str(w.message) for w in caught]
"""

ONE_WARNING = """
probs, said = messages("auto")
assert len(said) == 1 and REASON in said[0] and "TINYCNN_BACKEND=numpy" in said[0], said
assert messages("auto")[1] == []  # once is enough
exact, said = messages("numpy")
assert said == [] and (probs == exact).all()
assert backend_choice.backend_in_use("auto") == "numpy"
try:
    use("numba")
except EXPLICIT as error:
    assert REASON in str(error), error
else:
    raise AssertionError("backend='numba' went another way in silence")
"""


def run(code, folder=None, **environment):
    """Run code in a new interpreter; `folder` comes first on its path."""
    env = {k: v for k, v in os.environ.items() if k not in ("TINYCNN_BACKEND", "NUMBA_DISABLE_JIT")}
    if folder is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(folder), env.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", "-c", code]
    env |= environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "tinycnn: compiling kernels" not in line]
    assert said == []
    return done.stdout


def test_numba_missing():
    hidden = "import sys\nsys.modules['numba'] = None\nREASON, EXPLICIT = 'numba', ImportError\n"
    run(hidden + USE + ONE_WARNING)


REFUSALS = {
    "another NumPy": 'ImportError("Numba needs NumPy 1.0 or less. Got NumPy 2.9.")',
    "another ABI": 'SystemError("initialization of _internal failed")',
    "a missing name": "AttributeError(\"module 'numpy' has no attribute 'row_stack'\")",
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_numba_that_does_not_fit_this_numpy(tmp_path, refusal):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba/__init__.py").write_text(f"raise {REFUSALS[refusal]}\n")
    code = f"problem = {REFUSALS[refusal]}\nREASON, EXPLICIT = str(problem), ImportError\n"
    run(code + USE + ONE_WARNING, tmp_path)


BROKEN_COMPILER = """
from numba.core import compiler
from numba.core.errors import LoweringError

REASON, EXPLICIT = "out of registers", RuntimeError
def refuse(self, func):
    raise LoweringError("out of registers")
compiler.CompilerBase.compile_extra = refuse
"""


@pytest.mark.kernels
def test_kernels_that_cannot_be_compiled(tmp_path):
    code = BROKEN_COMPILER + USE + ONE_WARNING
    run(code, TINYCNN_CACHE_DIR=str(tmp_path))


@pytest.mark.kernels
def test_an_error_other_than_of_numba_does_not_fall_back():
    for error in (RuntimeError("of ours"), IndexError("of ours")):

        def kernels(error=error):
            raise error

        with pytest.raises(type(error), match="of ours"):
            either("auto", kernels, lambda: "numpy")
    assert not backend_choice._failures or backend_in_use("auto") == "numpy"


@pytest.fixture
def unnamed(monkeypatch):
    """As in a new process: nothing has failed, and TINYCNN_BACKEND is not set."""
    monkeypatch.delenv("TINYCNN_BACKEND", raising=False)
    monkeypatch.setattr(backend_choice, "_failures", [])
    return monkeypatch


def missing():
    raise ImportError("there is no Numba")


def test_what_each_backend_name_does(unnamed):
    assert [either(name, lambda: "kernels", lambda: "NumPy") for name in BACKENDS] == [
        *("kernels", "kernels", "NumPy")
    ]
    assert [backend_in_use(name) for name in BACKENDS] == ["numba", "numba", "numpy"]
    with pytest.raises(ImportError, match="there is no Numba"):
        either("numba", missing, lambda: "NumPy")
    with pytest.warns(RuntimeWarning, match="there is no Numba") as caught:
        assert [either("auto", missing, lambda: "NumPy") for _ in range(3)] == ["NumPy"] * 3
    assert len(caught) == 1
    assert [backend_in_use(name) for name in BACKENDS] == ["numpy", "numba", "numpy"]


@pytest.mark.parametrize(
    "named, meant", [("numpy", "NumPy"), ("numba", "kernels"), ("", "kernels")]
)
def test_the_environment_variable_decides_what_auto_means(unnamed, named, meant):
    unnamed.setenv("TINYCNN_BACKEND", named)
    assert either("auto", lambda: "kernels", lambda: "NumPy") == meant
    assert either("numpy", lambda: "kernels", lambda: "NumPy") == "NumPy"
    assert either("numba", lambda: "kernels", lambda: "NumPy") == "kernels"


@pytest.mark.kernels
@pytest.mark.parametrize("fails", ["program_transpose_weights", "program_step"])
def test_a_backward_pass_that_cannot_be_compiled(unnamed, fails):
    """A step that starts on the kernels cannot finish on NumPy, so this is checked before it."""
    from tinycnn.kernels import _jit, program

    def refuse(*args):
        raise _jit.CompileError("out of registers")

    def gradients(network):
        logits = network.forward(network.scale(IMAGES), training=True)
        network.backward(CrossEntropy()(logits, np.arange(3), backend="numpy")[1])
        return network.gradient_vector.copy()

    expected = gradients(models.microexpnet(backend="numpy"))
    network = models.microexpnet(backend="auto")
    network.predict_proba(IMAGES)  # the kernels of prediction still compile
    unnamed.setattr(program, fails, refuse)
    with pytest.warns(RuntimeWarning, match="computes with NumPy.*out of registers"):
        np.testing.assert_array_equal(gradients(network), expected)
    with pytest.raises(_jit.CompileError, match="out of registers"):
        gradients(models.microexpnet(backend="numba"))


@pytest.mark.kernels
def test_a_loss_and_an_optimizer_that_cannot_be_compiled(unnamed):
    """Neither has been called before, so each kernel that they look up must be compiled."""
    from tinycnn.kernels import _jit, adam, cross_entropy

    def refuse(*args):
        raise _jit.CompileError("out of registers")

    unnamed.setattr(cross_entropy, "cross_entropy_hard", refuse)
    unnamed.setattr(adam, "adam_update", refuse)
    for module, name in ((losses, "loss_operations"), (optim, "_update_function")):
        unnamed.setattr(module, name, getattr(module, name).__wrapped__)
    logits, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 1, 2, 0, 1])
    with pytest.warns(RuntimeWarning, match="out of registers") as caught:
        value, dlogits = CrossEntropy()(logits, labels)
        parameters = np.ones(7)
        tinycnn.Adam(0.1).step(parameters, np.ones(7))
    assert len(caught) == 1
    right, slope = CrossEntropy()(logits, labels, backend="numpy")
    assert value == right and (dlogits == slope).all()
    np.testing.assert_allclose(parameters, 0.9, rtol=1e-6)  # step: the learning rate
    with pytest.raises(_jit.CompileError, match="out of registers"):
        CrossEntropy()(logits, labels, backend="numba")
    with pytest.raises(_jit.CompileError, match="out of registers"):
        tinycnn.Adam(backend="numba").step(parameters, np.ones(7))


def test_an_unknown_backend_is_an_error_that_names_it(unnamed):
    unnamed.setenv("TINYCNN_BACKEND", "cuda")
    with pytest.raises(ValueError, match="TINYCNN_BACKEND='cuda': expected one of auto, numba"):
        either("auto", missing, missing)
    for call in (
        lambda: check_backend("cuda"),
        lambda: models.microexpnet(backend="cuda"),
        lambda: tinycnn.Adam(backend="cuda"),
        lambda: tinycnn.softmax(np.zeros((1, 2)), backend="cuda"),
        lambda: tinycnn.CrossEntropy()(np.zeros((1, 2)), np.zeros(1, int), backend="cuda"),
    ):
        with pytest.raises(ValueError, match="backend is 'cuda'; expected one of auto, numba, nu"):
            call()


def test_concurrent_threads_share_one_runner(monkeypatch):
    """Otherwise one thread would store what backward needs in a runner that the other discards."""
    both, made = threading.Barrier(2, timeout=30), []

    def make(*arguments, **options):
        both.wait()
        made.append(SimpleNamespace())
        return made[-1]

    monkeypatch.setattr(network_module, "make_backend", make)
    network, found = models.microexpnet(), []
    threads = [threading.Thread(target=lambda: found.append(network._run)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2 and found[0] is found[1] is network._run
