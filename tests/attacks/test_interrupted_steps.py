"""Ctrl-C in a training step, and then on with the same network, as in a notebook: nothing of the
interrupted step reaches the next one.  `python tests/interrupt_steps.py` does it 300 times."""

import random
import signal
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from interrupt_steps import RATE_FACTORS, networks, wrong_steps, wrong_updates

from tinycnn import (
    SGD,
    Adam,
    BatchNorm,
    Conv2D,
    CrossEntropy,
    CustomLayer,
    Dense,
    Dropout,
    Flatten,
    InputSpec,
    Loss,
    Network,
    ReLU,
    optim,
)
from tinycnn.backend_choice import backend_in_use
from tinycnn.parallel import Workers, run_in_threads

X = np.random.default_rng(0).standard_normal((5, 6, 6, 1)).astype(np.float32)
LABELS = np.arange(5) % 3
ON_POSIX = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs pthread_kill")


@ON_POSIX
@pytest.mark.kernels
@pytest.mark.jit("as Python, a step is long and its moments are others")
@pytest.mark.parametrize("name", networks())
def test_steps_after_an_interrupted_one_have_the_right_bits(name):
    n_interrupted, n_wrong = wrong_steps(networks()[name], 25, random.Random(0))
    assert n_interrupted == 25 and n_wrong == 0


@ON_POSIX
@pytest.mark.kernels
@pytest.mark.jit("in NumPy, an update consists of many operations")
@pytest.mark.parametrize("rate_factors", RATE_FACTORS)
def test_an_interrupted_update_is_done_once_or_not_at_all(rate_factors):
    assert wrong_updates(25, random.Random(0), rate_factors) == (25, 0)


@ON_POSIX
def test_a_worker_that_a_second_interrupt_left_behind_is_waited_for():
    workers, started, release, written = Workers(), threading.Event(), threading.Event(), []

    def work(k):
        if k == 0:
            assert started.wait(30)
            interrupt_again.start()
            raise KeyboardInterrupt
        started.set()
        assert release.wait(30)
        written.append(k)

    def interrupt():
        while not workers.call.stopped:
            pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    interrupt_again = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_in_threads(work, 2, workers)
    assert written == []  # it is still there
    threading.Timer(0.05, release.set).start()
    run_in_threads(lambda k: written.append(-k), 2, workers)
    assert written[0] == 1 and sorted(written[1:]) == [-1, 0]


def test_workers_that_have_not_started_do_nothing_after_an_interrupt():
    done, n_busy = [], 3
    busy = threading.Barrier(n_busy + 1, timeout=30)
    hold = threading.Thread(target=lambda: run_in_threads(lambda k: busy.wait(), n_busy + 1))
    hold.start()  # all threads of the pool

    def work(k):
        if k == 0:
            raise KeyboardInterrupt
        done.append(k)

    with pytest.raises(KeyboardInterrupt):
        run_in_threads(work, n_busy)
    n_done = len(done)
    hold.join()
    run_in_threads(lambda k: None, n_busy + 1)
    assert len(done) == n_done


@dataclass(frozen=True)
class Interrupted(Loss):
    """Ctrl-C between the forward and the backward pass."""

    def value_and_gradient(self, logits, inputs, backend):
        raise KeyboardInterrupt


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_an_interrupted_step_leaves_the_statistics_and_the_dropout_masks_as_they_were(backend):
    layers = [Conv2D(3, 3), BatchNorm(), ReLU(), Dropout(0.5), Flatten(), Dense(3)]
    network, undisturbed = (Network(layers, InputSpec(6, 6), backend=backend) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        network.loss_and_gradients(X, Interrupted(), LABELS)
    for each in (network, undisturbed):
        each.loss_and_gradients(X, CrossEntropy(), LABELS)
    np.testing.assert_array_equal(network.gradient_vector, undisturbed.gradient_vector)
    if backend_in_use(backend) == "numba":  # the reference updates them in its forward pass
        for name, statistic in network.statistics.items():
            np.testing.assert_array_equal(statistic, undisturbed.statistics[name])


@dataclass(frozen=True)
class InterruptedLayer(CustomLayer):
    def forward(self, x, parameters):
        if pressed:
            raise KeyboardInterrupt
        return x

    def backward(self, x, y, dy, parameters):
        return dy, {}


pressed: list[bool] = []


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_there_is_no_backward_pass_after_an_interrupted_forward_pass(backend):
    """It would mix the activations of two batches."""
    network = Network([Flatten(), Dense(3), InterruptedLayer()], InputSpec(6, 6), backend=backend)
    logits = network.forward(X, training=True)
    pressed.append(True)
    try:
        with pytest.raises(KeyboardInterrupt):
            network.forward(X + 1, training=True)
    finally:
        pressed.clear()
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        network.backward(np.ones_like(logits))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("kind", [Adam, SGD])
def test_an_optimizer_counts_the_step_that_was_done(kind, error, monkeypatch):
    """Python raises KeyboardInterrupt when the update returns.  An error means that it failed."""
    optimizer, parameters, gradients = kind(1e-2), *np.ones((2, 7), np.float32)
    optimizer.step(parameters, gradients)
    found = optim._update_function

    def raising(*arguments):
        if error is KeyboardInterrupt:
            found(optimizer.update_name, "auto")(*arguments)
        raise error

    monkeypatch.setattr(optim, "_update_function", lambda name, backend: raising)
    with pytest.raises(error):
        optimizer.step(parameters, gradients)
    monkeypatch.undo()
    expected, again = np.ones(7, np.float32), kind(1e-2)
    for _ in range(optimizer.n_steps):
        again.step(expected, gradients)
    np.testing.assert_array_equal(parameters, expected)
    assert optimizer.n_steps == (2 if error is KeyboardInterrupt else 1)
