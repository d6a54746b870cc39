"""One network trained from two threads is refused, and training from one is not disturbed."""

import os
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from forked_child import run_in_child

import tinycnn
from tinycnn import Callback, CrossEntropy, Dense, Flatten, InputSpec, Loss, Network

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 12, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3
BACKENDS = pytest.mark.parametrize("backend", ["auto", "numpy"])
REFUSED = "another thread is training this network: train it in one thread at a time"


def small_network(backend="auto"):
    layers = [Flatten(), Dense(40), Dense(3)]
    return Network(layers, InputSpec(6, 6), backend=backend, n_threads=2)


def step(network, k=0, loss=None):
    """A training step with a batch; its gradients."""
    network.loss_and_gradients(network.scale(IMAGES[k]), loss or CrossEntropy(), LABELS)
    return network.gradient_vector.copy()


def in_thread(work):
    """What work() returns or raises in a thread of its own."""
    found = []

    def run():
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return found[0]


@dataclass(frozen=True)
class Meanwhile(Loss):
    """Calls another function between the forward and the backward pass."""

    work: object
    found: list = field(default_factory=list, compare=False)

    def value_and_gradient(self, logits, inputs, backend):
        self.found.append(self.work())
        return CrossEntropy().value_and_gradient(logits, inputs, backend)


@BACKENDS
def test_a_step_during_a_step_of_another_thread_is_refused(backend):
    network = small_network(backend)
    expected = step(network)
    attempts = [
        lambda: step(network, 1),
        lambda: network.forward(network.scale(IMAGES[1]), training=True),
        lambda: tinycnn.fit(network, IMAGES[1], LABELS, epochs=1),
    ]
    loss = Meanwhile(lambda: [in_thread(attempt) for attempt in attempts])
    np.testing.assert_array_equal(step(network, 0, loss), expected)
    for error in loss.found[0]:
        assert isinstance(error, RuntimeError) and REFUSED in str(error)
    np.testing.assert_array_equal(step(network), expected)


@BACKENDS
def test_prediction_during_a_step_stays_shared(backend):
    network = small_network(backend)
    logits, expected = network.predict_logits(IMAGES[1]), step(network)
    loss = Meanwhile(lambda: in_thread(lambda: network.predict_logits(IMAGES[1])))
    np.testing.assert_array_equal(step(network, 0, loss), expected)
    np.testing.assert_array_equal(loss.found[0], logits)


def test_no_gradient_of_many_steps_in_two_threads_is_wrong():
    """Each thread gets its own gradients or an error."""
    network, start = small_network(), threading.Barrier(2)
    expected = [step(network, k) for k in range(2)]

    def steps(k):
        outcomes = []
        start.wait()
        for _ in range(100):
            try:
                outcomes.append(bool((step(network, k) == expected[k]).all()))
            except RuntimeError as error:
                assert "train it in one thread at a time" in str(error)
        return all(outcomes)

    found = [None, None]
    threads = [
        threading.Thread(target=lambda k=k: found.__setitem__(k, steps(k))) for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [True, True]


def test_gradients_that_another_thread_has_overwritten_are_not_taken_for_ones_own():
    network = small_network()
    network.loss_and_gradients(network.scale(IMAGES[0]), CrossEntropy(), LABELS)
    other = in_thread(lambda: step(network, 1))
    with pytest.raises(RuntimeError, match="has overwritten the gradients of this one: train it"):
        network.trained_gradients  # noqa: B018
    np.testing.assert_array_equal(network.gradient_vector, other)  # the error comes once


@BACKENDS
def test_a_backward_pass_belongs_to_the_forward_pass_of_its_own_thread(backend):
    network = small_network(backend)
    dlogits = np.ones_like(network.forward(network.scale(IMAGES[0]), training=True))
    in_thread(lambda: network.forward(network.scale(IMAGES[1]), training=True))
    with pytest.raises(RuntimeError, match="was another thread's: train it in one thread"):
        network.backward(dlogits)


def test_threads_may_train_one_after_the_other():
    network = small_network()
    expected = [step(network, k) for k in range(2)]
    for k in (0, 1, 1, 0):
        np.testing.assert_array_equal(in_thread(lambda k=k: step(network, k)), expected[k])
    np.testing.assert_array_equal(step(network), expected[0])


class DuringFit(Callback):
    def __init__(self, network):
        self.network, self.errors = network, []

    def on_step(self, record):
        self.errors.append(in_thread(lambda: step(self.network)))
        step(self.network)  # the same thread may, once the step is done


def test_fit_has_the_network_for_itself():
    networks = [small_network() for _ in range(2)]
    during = DuringFit(networks[0])
    tinycnn.fit(networks[0], IMAGES[0], LABELS, epochs=2, callbacks=[during])
    tinycnn.fit(networks[1], IMAGES[0], LABELS, epochs=2)
    assert len(during.errors) == 2
    for error in during.errors:
        assert isinstance(error, RuntimeError) and REFUSED in str(error)
    np.testing.assert_array_equal(networks[0].parameter_vector, networks[1].parameter_vector)


def test_a_thread_that_was_interrupted_in_the_end_of_its_step_does_not_keep_the_network():
    """As if Ctrl-C had ended the `finally` that sets the network free."""
    network = small_network()
    expected = step(network)
    thread = threading.Thread(target=lambda: None)
    thread.start()
    for number in (threading.get_ident(), thread.ident):
        network.training_thread._training["thread"] = os.getpid(), number
        np.testing.assert_array_equal(in_thread(lambda: step(network)), expected)
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_is_forked_during_a_step_of_another_thread_may_train():
    network = small_network()
    expected = step(network)

    def child():
        return bool((step(network) == expected).all())

    def forked_from_another_thread():
        return in_thread(lambda: run_in_child(child, timeout_s=60))

    loss = Meanwhile(forked_from_another_thread)
    np.testing.assert_array_equal(step(network, 0, loss), expected)
    assert loss.found == [0]
