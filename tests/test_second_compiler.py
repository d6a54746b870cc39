"""A second process that helps to compile: when it is started, and what it compiles."""

import json

import numpy as np
import pytest

import tinycnn
from tinycnn import (
    Conv2D,
    Dense,
    Flatten,
    InputSpec,
    Network,
    ReLU,
    first_predictions,
    second_compiler,
)
from tinycnn.backend_choice import backend_in_use
from tinycnn.ground import compiler_process
from tinycnn.ground.kept_code import KeptCode
from tinycnn.layers import CustomLayer


class Process:
    def __init__(self):
        self.calls = []

    def terminate(self):
        self.calls.append("terminate")

    def wait(self):
        self.calls.append("wait")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """What was started: (process, job, lock); nothing is kept, and there are two cores."""
    started = []

    def start(function, job, folder, lock):
        assert function == "tinycnn.compile_network:compile_backwards" and folder == tmp_path
        started.append((Process(), json.loads(job), lock))
        return started[-1][0]

    monkeypatch.setenv("TINYCNN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(second_compiler, "_running", {})
    monkeypatch.setattr(second_compiler, "_loaded", set())
    monkeypatch.setattr(second_compiler, "usable_cores", lambda: 2)
    monkeypatch.setattr(second_compiler, "free_bytes", lambda: None)  # not known
    monkeypatch.setattr(second_compiler, "note", lambda *network: started.append(network))
    monkeypatch.setattr(compiler_process, "start", start)
    monkeypatch.setattr(compiler_process, "may_start", lambda: True)
    return started


def plan_of(n_units=3):
    return Network([Conv2D(4, 3), ReLU(), Flatten(), Dense(n_units)], InputSpec(8, 8)).plan


F32 = np.dtype(np.float32)


def test_it_helps_while_kernels_are_compiled(machine):
    plan = plan_of()
    with second_compiler.helping(plan, F32, training=True):
        ((process, job, lock),) = machine
        assert job == {"description": first_predictions.description(plan, F32), "training": True}
        assert lock != compiler_process.LOCK
        assert process.calls == []
    assert process.calls == ["terminate", "wait"]
    assert machine[1:] == [(plan, F32, True)]  # it is noted
    with second_compiler.helping(plan_of(), F32, training=True):
        pass
    assert len(machine) == 2  # a second network like this one has no need of it


def test_a_failure_is_not_noted(machine):
    with pytest.raises(RuntimeError), second_compiler.helping(plan_of(), F32, training=False):
        raise RuntimeError
    ((process, _, _),) = machine
    assert process.calls == ["terminate", "wait"]


def test_it_is_started_once_for_a_network(machine):
    second_compiler.start(plan_of(), F32, training=True)
    with second_compiler.helping(plan_of(), F32, training=False):
        pass
    process = machine[0][0]
    assert process.calls == []  # it goes on with the kernels of training
    with second_compiler.helping(plan_of(), F32, training=True):
        pass
    assert process.calls == ["terminate", "wait"]
    assert [entry for entry in machine if isinstance(entry[0], Process)] == machine[:1]
    second_compiler.start(plan_of(5), F32, training=True)
    assert isinstance(machine[-1][0], Process)


class Own(CustomLayer):
    def forward(self, x, parameters):
        return x

    def backward(self, x, y, dy, parameters):
        return dy, {}


def test_where_there_is_none(machine, monkeypatch, tmp_path):
    own = Network([Own(), Flatten(), Dense(3)], InputSpec(8, 8)).plan
    second_compiler.start(own, F32, training=True)
    for where, name, value in (
        (compiler_process, "may_start", lambda: False),
        (second_compiler, "usable_cores", lambda: 1),
        (second_compiler, "free_bytes", lambda: 10**9),
        (KeptCode, "is_kept", lambda code: True),
        (KeptCode, "can_be_kept", lambda code: False),
    ):
        with monkeypatch.context() as here:
            here.setattr(where, name, value)
            second_compiler.start(plan_of(), F32, training=True)
    assert machine == []
    monkeypatch.setattr(compiler_process, "may_start", lambda: False)
    second_compiler.start(plan_of(), F32, training=True, is_asked=True)
    assert len(machine) == 1


def test_a_system_that_refuses_processes(machine, monkeypatch):
    def start(*arguments):
        raise OSError("no processes")

    monkeypatch.setattr(compiler_process, "start", start)
    with second_compiler.helping(plan_of(), F32, training=True):
        pass


@pytest.mark.kernels
@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_what_the_network_needs_in_the_opposite_order(machine, monkeypatch, training):
    """The functions are those that the network's own backend asks for."""
    from tinycnn import compile_network
    from tinycnn.kernels._calls import Pass

    asked, address = [], Pass.address

    def recorded(kind, function, dtype):
        if function not in asked:
            asked.append(function)
        return address(kind, function, dtype)

    network = tinycnn.models.residual48(backend="numba", n_threads=1)
    monkeypatch.setattr(Pass, "address", recorded)
    network.load_kernels(training)
    of_network = asked[:]
    asked.clear()
    job = {"description": first_predictions.description(network.plan, F32), "training": training}
    compile_network.compile_backwards(json.dumps(job))
    of_small_network = [f for f in asked if f not in of_network]
    assert asked[len(of_small_network) :] == of_network[::-1]
    assert {f.__name__.partition("_operation")[0] for f in of_small_network} == {"scale_shift"}
    assert len(of_network) >= 5 and machine[-1][1:] == (F32, training)


def test_the_training_command_starts_it_before_it_reads_the_faces(monkeypatch):
    from tinycnn.cli import train
    from tinycnn.run import TrainingOptions

    started = []
    monkeypatch.setattr(second_compiler, "start", lambda *job, **use: started.append((job, use)))
    train.compile_meanwhile(train.TrainArguments(backend="numpy"))
    pretrained = TrainingOptions(network=None, init="pretrained")
    train.compile_meanwhile(train.TrainArguments(training=pretrained))
    assert started == []
    if backend_in_use("auto") == "numpy":
        pytest.skip("TINYCNN_BACKEND=numpy is set")
    train.compile_meanwhile(train.TrainArguments())
    (((plan, dtype), use),) = started
    assert [step.name for step in plan.steps][:2] == ["conv1", "bn1"]  # MicroExpNet in training
    assert dtype == F32 and use == {"training": True}
