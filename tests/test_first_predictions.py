"""NumPy does the first work of a process, until compiled code is loaded."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinycnn
from tinycnn import (
    Conv2D,
    CrossEntropy,
    Dense,
    Flatten,
    InputSpec,
    Network,
    compile_network,
    first_predictions,
    second_compiler,
)
from tinycnn.first_predictions import COMPILING_S, LOADING_S, NUMPY_RATE
from tinycnn.ground import compiler_process, kept_code, numpy_first
from tinycnn.ground.cache_folder import why_not_kept
from tinycnn.ground.compiler_process import BUSY, Compiler
from tinycnn.ground.kept_code import KeptCode
from tinycnn.ground.log_messages import tell

ROOT = Path(__file__).resolve().parent.parent
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 9, 9), dtype=np.uint8)
N_MULTIPLY_ADDS = 5 * 5 * 3 * 9 + 75 * 4


def small_network(backend="auto", seed=1):
    layers = [Conv2D(3, 3, stride=2), Flatten(), Dense(4)]
    return Network(layers, InputSpec(9, 9, 1, "unit"), backend=backend, seed=seed)


class Process:
    """Stands for the other process."""

    def __init__(self):
        self.returncode, self.waited = None, 0

    def poll(self):
        return self.returncode

    def wait(self):
        self.waited += 1
        self.returncode = 0


class Machine:
    """A new process with an empty cache, in which the clock stands still."""

    def __init__(self):
        self.started, self.kept, self.may_start, self.now = [], False, True, 100.0

    def start(self, function, argument, folder):
        self.started.append(Process())
        return self.started[-1]

    def monotonic(self):
        return self.now


@pytest.fixture
def machine(monkeypatch, tmp_path):
    made = Machine()
    monkeypatch.setenv("TINYCNN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TINYCNN_WAIT_FOR_KERNELS", "0")
    monkeypatch.delenv("TINYCNN_BACKEND", raising=False)
    monkeypatch.setattr(numpy_first, "_work", numpy_first.defaultdict(numpy_first._Work))
    monkeypatch.setattr(first_predictions, "_loaded", set())
    monkeypatch.setattr(numpy_first, "time", made)
    monkeypatch.setattr(numpy_first, "numba_is_installed", lambda: True)
    monkeypatch.setattr(compiler_process, "_processes", {})
    monkeypatch.setattr(compiler_process, "time", made)
    monkeypatch.setattr(compiler_process, "start", made.start)
    monkeypatch.setattr(compiler_process, "may_start", lambda: made.may_start)
    monkeypatch.setattr(second_compiler, "usable_cores", lambda: 1)
    monkeypatch.setattr(KeptCode, "is_kept", lambda code: made.kept)
    return made


# ---- networks ----------------------------------------------------------------------------------


@pytest.mark.kernels
def test_numpy_answers_until_another_process_has_compiled(machine, monkeypatch):
    monkeypatch.setattr(KeptCode, "note", lambda code, place: None)
    network, of_numpy = small_network(), small_network("numpy").predict_proba(IMAGES)
    of_kernels = small_network("numba").predict_proba(IMAGES)
    first_predictions._loaded.clear()
    assert network.backend_in_use == "numba"  # what "auto" selects here
    for _ in range(3):
        assert (network.predict_proba(IMAGES) == of_numpy).all()
        assert network.backend_in_use == "numpy" and len(machine.started) == 1
        machine.now += 10
    machine.started[0].returncode, machine.kept = 0, True
    assert (network.predict_proba(IMAGES) == of_kernels).all()
    assert network.backend_in_use == "numba" and len(machine.started) == 1
    np.testing.assert_allclose(of_numpy, of_kernels, rtol=0, atol=1e-5)


@pytest.mark.kernels
def test_with_a_warm_cache_kernels_are_loaded_soon(machine):
    machine.kept, network = True, small_network()
    for seconds, backend in (
        (0.0, "numpy"),
        (0.9 * LOADING_S, "numpy"),
        (0.2 * LOADING_S, "numba"),
    ):
        machine.now += seconds
        network.forward(np.zeros((1, 9, 9, 1), np.float32))
        assert network.backend_in_use == backend
    assert machine.started == []
    other = small_network()  # the time counts for the process
    other.predict_logits(IMAGES)
    assert other.backend_in_use == "numba"


def test_the_answers_of_numpy_do_not_depend_on_other_images(machine):
    images = np.random.default_rng(1).integers(0, 256, (19, 9, 9), dtype=np.uint8)
    network, of_numpy = small_network(), small_network("numpy")
    logits = network.predict_logits(images)
    assert network.backend_in_use == "numpy"
    np.testing.assert_allclose(logits, of_numpy.predict_logits(images), rtol=0, atol=1e-6)
    assert network.predict_logits(images[:0]).shape == (0, 4)
    assert network.forward(np.zeros((0, 9, 9, 1), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("kept, may_start", [(True, False), (False, True), (False, False)])
def test_large_work_waits_for_the_kernels(machine, kept, may_start):
    """How large is too large depends on whether the kernels must be loaded or compiled."""
    machine.kept, machine.may_start = kept, may_start
    first = small_network()._first_predictions
    limit = (LOADING_S if kept else COMPILING_S) * NUMPY_RATE / N_MULTIPLY_ADDS
    assert not first.numpy_answers(int(limit * 1.01))
    assert first.numpy_answers(int(limit * 0.99))
    assert len(machine.started) == may_start


def test_a_network_that_is_slow_in_numpy_counts_with_its_measured_time(machine, monkeypatch):
    machine.kept, first = True, small_network()._first_predictions
    times = iter([0.0, 5 * 0.3 * LOADING_S])
    monkeypatch.setattr(first_predictions.time, "perf_counter", lambda: next(times))
    first.predict(np.zeros((5, 9, 9, 1), np.float32))
    assert first.numpy_answers(3) and not first.numpy_answers(4)


@pytest.mark.kernels
def test_training_and_evaluation_wait_for_the_kernels(machine):
    def gradients(network):
        x = network.scale(IMAGES)
        network.loss_and_gradients(x, CrossEntropy(), np.arange(5) % 4)
        return network.gradient_vector.copy()

    network = small_network()
    network.predict_proba(IMAGES)
    assert network.backend_in_use == "numpy"
    np.testing.assert_array_equal(gradients(network), gradients(small_network("numba")))
    assert machine.started[0].waited == 1 and network.backend_in_use == "numba"
    network = small_network()
    tinycnn.evaluate(network, IMAGES, np.zeros(5, int))
    assert network.backend_in_use == "numba"


@pytest.mark.kernels
def test_kernels_that_are_loaded_answer_for_equal_networks(machine):
    """As for the network that is read from the file of a training in the same process."""
    trained = small_network()
    trained.forward(trained.scale(IMAGES), training=True)
    network = small_network(seed=2)
    network.predict_logits(IMAGES)
    assert network.backend_in_use == "numba" and not machine.started


KERNELS_OF_OTHERS = """
import numpy as np
from tinycnn import (
    BatchNorm, Conv2D, CrossEntropy, Dense, Flatten, InputSpec, MaxPool2D, Network, ReLU
)

layers = [Conv2D(2, 3), BatchNorm(), ReLU(), Flatten(), Dense(4)]
images = np.zeros((2, 9, 9, 1), np.uint8)
trained = Network(layers, InputSpec(9, 9, 1, "unit"))
trained.loss_and_gradients(trained.scale(images), CrossEntropy(), np.array([0, 1]))
folded = trained.folded()
other = Network([MaxPool2D(2), Flatten(), Dense(4)], InputSpec(9, 9, 1, "unit"))
for network in (folded, other):
    network.predict_logits(images)
    print(network.backend_in_use)
"""


@pytest.mark.kernels
def test_networks_whose_kernels_others_have_loaded_do_not_wait_for_them():
    """As a network that is folded after its training.  Another one needs a pooling, too."""
    done = subprocess.run(
        [sys.executable, "-c", KERNELS_OF_OTHERS],
        env={**os.environ, "TINYCNN_WAIT_FOR_KERNELS": "0", "TINYCNN_COMPILER_PROCESS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["numba", "numpy"]


def test_who_wants_the_same_bits_waits(machine, monkeypatch):
    network = small_network("numba")
    network.predict_proba(IMAGES)
    assert network.backend_in_use == "numba"
    network = small_network()
    network.load_kernels()
    network.predict_proba(IMAGES)
    assert network.backend_in_use == "numba"
    for variable in ("TINYCNN_WAIT_FOR_KERNELS=1", "TINYCNN_BACKEND=numba"):
        monkeypatch.setenv(*variable.split("="))
        network = small_network()
        network.predict_proba(IMAGES)
        assert network.backend_in_use == "numba"
        monkeypatch.delenv(variable.split("=")[0])
    assert machine.started == []


def test_without_numba_the_warning_comes_at_once(machine, monkeypatch):
    monkeypatch.setattr(numpy_first, "numba_is_installed", lambda: False)
    assert not small_network()._first_predictions.numpy_answers(1)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not kept_code.numba_is_installed()


class Twice(tinycnn.CustomLayer):
    """Not a dataclass: it cannot be described."""

    def forward(self, x, parameters):
        return 2 * x

    def backward(self, x, y, dy, parameters):
        return 2 * dy, {}


def test_kernels_between_layers_of_the_users_own_are_compiled_here(machine):
    network = Network([Twice(), Flatten(), Dense(4)], InputSpec(9, 9, 1))
    network.predict_proba(IMAGES)
    assert network.backend_in_use == "numpy" and machine.started == []


@pytest.mark.kernels
def test_the_other_process_compiles_the_same_network(machine, monkeypatch):
    loaded = []
    monkeypatch.setattr(Network, "load_kernels", lambda network: loaded.append(network))
    network = tinycnn.models.microexpnet(dtype=np.float64)
    described = first_predictions.description(network.plan, network.dtype)
    compile_network.compile_prediction(described)
    (made,) = loaded
    assert made.layers == network.layers and made.dtype == np.float64 and made.backend == "numba"
    assert made.input_spec.shape == (84, 84, 1)
    others = [
        small_network(),
        tinycnn.models.microexpnet(),
        tinycnn.models.microexpnet(n_classes=3),
    ]
    texts = {first_predictions.description(other.plan, other.dtype) for other in others}
    assert len(texts | {described}) == 4


# ---- the other process -------------------------------------------------------------------------


def compiler(name="code", program="tinycnn"):
    return Compiler(KeptCode(program, ("tinycnn.ground",), name), "a:b", "", "some code", 3.0)


def test_one_process_for_a_cache(machine, caplog):
    caplog.set_level(logging.INFO, "tinycnn")
    one, other = compiler("one"), compiler("other")
    assert one.is_compiling() and other.is_compiling() and one.is_compiling()
    assert len(machine.started) == 1
    assert [r.getMessage() for r in caplog.records if "another process compiles" in r.message]
    machine.started[0].returncode = 0
    assert other.is_compiling() and len(machine.started) == 2


def test_if_another_program_compiles_it_looks_again_later(machine):
    made = compiler()
    assert made.is_compiling()
    machine.started[0].returncode = BUSY
    assert made.is_compiling() and len(machine.started) == 1
    machine.now += 3
    assert made.is_compiling() and len(machine.started) == 2


@pytest.mark.parametrize("status", [1, -9, 0])
def test_a_process_that_failed_is_not_started_again(machine, caplog, status):
    caplog.set_level(logging.INFO, "tinycnn")
    """Nor is one that has kept nothing."""
    made = compiler()
    assert made.is_compiling()
    machine.started[0].returncode = status
    assert not made.is_compiling() and not made.is_compiling()
    assert len(machine.started) == 1
    assert (f"exit status {status}" in caplog.text) == (status != 0)


def test_a_system_without_processes(machine, monkeypatch):
    def start(*arguments):
        raise OSError("no processes")

    monkeypatch.setattr(compiler_process, "start", start)
    assert not compiler().is_compiling()


def test_nothing_is_compiled_for_a_folder_that_cannot_be_written(machine, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYCNN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert not compiler().is_compiling() and machine.started == []
    assert why_not_kept(tmp_path / "file" / "cache") == f"{tmp_path / 'file'} is not a folder"
    assert why_not_kept(tmp_path / "new" / "cache") == ""


def test_where_no_process_is_started(monkeypatch, tmp_path):
    """Tests, continuous integration, frozen programs, programs with Python inside, workers."""
    may_start = compiler_process.may_start
    monkeypatch.delenv("TINYCNN_COMPILER_PROCESS", raising=False)
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    assert not may_start()  # this is pytest
    monkeypatch.setenv("TINYCNN_COMPILER_PROCESS", "1")
    monkeypatch.setenv("CI", "true")
    assert may_start()
    monkeypatch.delenv("TINYCNN_COMPILER_PROCESS")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.delitem(sys.modules, "pytest")
    assert not may_start()
    monkeypatch.setenv("CI", "false")
    assert may_start()
    for name, value in (("TINYCNN_COMPILER_PROCESS", "0"), ("NUMBA_DISABLE_JIT", "1")):
        monkeypatch.setenv(name, value)
        assert not may_start()
        monkeypatch.delenv(name)
    (tmp_path / "blender").touch()
    for where, name, value in (
        (sys, "frozen", True),
        (sys, "executable", str(tmp_path / "blender")),
        (sys, "executable", None),
        (multiprocessing.process, "parent_process", lambda: "a pool"),
    ):
        with monkeypatch.context() as here:
            here.setattr(where, name, value, raising=False)
            assert not may_start()
    assert may_start()


def ended(process):
    return process.wait(timeout=120)


def start(function, folder, argument=""):
    return compiler_process.start(f"first_work:{function}", argument, folder)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module of functions for the other process, and the cache folder."""
    (tmp_path / "first_work.py").write_text(
        "import os, sys, time\n"
        "def write(path): open(path, 'w').write(f'{os.getppid()} {os.getsid(0)} {os.getcwd()}')\n"
        "def sleep(path): open(path, 'w').close(); time.sleep(600)\n"
        "def fail(_): raise ValueError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "cache"
    return folder


def wait_for(path):
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")


ON_POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs sessions")


@ON_POSIX
def test_the_process_does_its_work_in_a_session_of_its_own(work, tmp_path):
    process = start("write", work, str(tmp_path / "done"))
    assert ended(process) == 0
    parent, session, folder = (tmp_path / "done").read_text().split()
    assert int(parent) == os.getpid() and int(session) == process.pid  # Ctrl-C does not reach it
    assert folder == "/" and work.stat().st_mode & 0o777 == 0o700
    assert ended(start("fail", work)) == 1


@ON_POSIX
def test_a_second_process_for_a_cache_ends_and_both_end_with_the_folder(work, tmp_path):
    process = start("sleep", work, str(tmp_path / "begun"))
    try:
        wait_for(tmp_path / "begun")
        assert ended(start("write", work, str(tmp_path / "never"))) == BUSY
        assert not (tmp_path / "never").exists() and process.poll() is None
        (work / "compiling.lock").unlink()
        assert ended(process) == 1
    finally:
        process.kill()
        process.wait()


PARENT = """
import os, sys
from pathlib import Path
from tinycnn.ground import compiler_process
from tinycnn.ground.kept_code import KeptCode
code = KeptCode("tinycnn", ("tinycnn.ground",), "code")
made = compiler_process.Compiler(code, "first_work:sleep", sys.argv[1], "some code", 3.0)
assert made.is_compiling()
print(made._own.pid)
"""


@ON_POSIX
def test_it_outlives_the_program_without_a_word_more(work, tmp_path):
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, "TINYCNN_CACHE_DIR": str(work)}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PARENT, str(tmp_path / "begun")],
        env={**environment, "TINYCNN_COMPILER_PROCESS": "1"},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert line.startswith("tinycnn: another process compiles some code, for about 3 s, once")
    try:
        wait_for(tmp_path / "begun")
        os.kill(int(done.stdout), 0)
    finally:
        os.kill(int(done.stdout), 9)


FIRST_ANSWER = """
import sys
import numpy as np, tinycnn
network = tinycnn.models.microexpnet()
network.predict_proba(np.arange(84 * 84).reshape(1, 84, 84).astype(np.uint8))
assert network.backend_in_use == "numpy" and "numba" not in sys.modules
"""


def test_the_first_answer_does_not_import_numba(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TINYCNN_CACHE_DIR": str(tmp_path / "new"),
    }
    environment |= {"TINYCNN_WAIT_FOR_KERNELS": "0", "TINYCNN_BACKEND": ""}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST_ANSWER],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert not (tmp_path / "new").exists()  # under pytest, no process is started


# ---- notes of kept code ------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYCNN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache" / "key").mkdir(parents=True, mode=0o700)
    (tmp_path / "cache").chmod(0o700)
    return tmp_path / "cache"


def test_code_is_noted(cache, monkeypatch):
    code, other = (KeptCode("tinycnn", ("tinycnn.ground",), name) for name in ("a", "b"))
    assert not code.is_kept()
    code.note(cache / "key")
    assert code.is_kept() and not other.is_kept()
    assert sorted(path.name for path in cache.iterdir())[1:] == ["key"]
    monkeypatch.setenv("TINYCNN_TILE", "plain")  # other code
    assert not code.is_kept()
    monkeypatch.delenv("TINYCNN_TILE")
    monkeypatch.setattr(kept_code, "_cpu", lambda: ["another processor"])
    kept_code._stamp.cache_clear()
    assert not code.is_kept()
    monkeypatch.undo()
    kept_code._stamp.cache_clear()
    monkeypatch.setenv("TINYCNN_CACHE_DIR", str(cache))
    assert code.is_kept()
    (cache / "key").rmdir()
    assert not code.is_kept()


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions")
def test_a_folder_that_others_may_write_to_keeps_nothing(cache):
    code = KeptCode("tinycnn", ("tinycnn.ground",), "a")
    code.note(cache / "key")
    cache.chmod(0o777)
    assert not code.is_kept() and not code.can_be_kept()
    KeptCode("tinycnn", ("tinycnn.ground",), "b").note(cache / "key")
    assert len(list(cache.iterdir())) == 2


@pytest.mark.kernels
@pytest.mark.jit("nothing is kept")
def test_loaded_kernels_are_noted(tmp_path):
    network = small_network()
    network.load_kernels()
    assert network._first_predictions.rule.code.is_kept()
    network = small_network("numpy")
    network.load_kernels()
    assert network.backend_in_use == "numpy"


# ---- messages ----------------------------------------------------------------------------------

TOLD = """
import json, logging, sys
from tinycnn.ground.log_messages import tell
for set_up in (lambda: None, lambda: logging.basicConfig(level=json.loads(sys.argv[1]))):
    set_up()
    tell("tinycnn", "compiling")
"""


@pytest.mark.parametrize("level, more", [("INFO", ["INFO:tinycnn:compiling"]), ("WARNING", [])])
def test_a_message_is_printed_where_logging_is_not_set_up(level, more):
    done = subprocess.run(
        [sys.executable, "-c", TOLD, json.dumps(level)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stderr.splitlines() == ["tinycnn: compiling", *more], done.stderr


def test_a_program_without_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    tell("tinycnn", "compiling")
