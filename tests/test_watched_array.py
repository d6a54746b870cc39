"""Whether anybody can have changed a network's parameters since the last prediction."""

import threading

import numpy as np
import pytest
from small_networks import small_batch, small_network

from tinycnn import Adam, CrossEntropy
from tinycnn.watched_array import WatchedArray


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[2:5],
        lambda array: array[2:5].reshape(3, 1).T,
        lambda array: array.view(np.uint32)[::2],
        lambda array: np.lib.stride_tricks.as_strided(array, (2, 2), (4, 4)),
        lambda array: memoryview(array)[1:],
        lambda array: np.frombuffer(array, np.uint8),
        lambda array: array.flat,
        lambda array: iter(array.reshape(2, 3)),
    ],
)
def test_no_version_while_a_view_is_alive(hold):
    watched = WatchedArray(np.zeros(6, np.float32))
    first = watched.version()
    assert first is not None and watched.version() == first
    held = hold(watched.given())
    assert watched.version() is None
    again = watched.given()[3:]
    del again
    assert watched.version() is None
    del held
    assert watched.version() not in (None, first)


def test_arrays_are_over_the_same_memory():
    watched = WatchedArray(np.zeros(6, np.float64))
    watched.given()[2] = 5
    assert watched.vector[2] == 5 and watched.given().dtype == np.float64
    assert watched.given() is not watched.vector


def test_work_that_changes_the_array():
    watched = WatchedArray(np.zeros(3))
    before = watched.version()
    assert watched.while_given(watched.version) is None
    assert watched.version() not in (None, before)


def test_threads_that_ask_together_have_one_array():
    watched = WatchedArray(np.zeros(3))
    found, barrier = [], threading.Barrier(8)

    def ask():
        barrier.wait()
        found.append(watched.given())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(array is found[0] for array in found)


# ---- in a network ------------------------------------------------------------------------------


@pytest.fixture
def network():
    """With BatchNorm: prediction folds it."""
    made = small_network("batch_norms", "numba", np.float32)
    made.initialise(np.random.default_rng(3), bias_std=0.3)
    return made


def by_numpy(network, x):
    exact = small_network("batch_norms", "numpy", np.float32)
    exact.parameter_vector[:] = network.parameter_vector
    return exact.forward(x)


def changes():
    def a_name(network):
        network.parameters["conv1.w"][0] += 1

    def a_statistic(network):
        next(iter(network.statistics.values()))[:] += 1

    def the_vector(network):
        network.parameter_vector[:] *= 1.5

    def the_vector_in_place(network):
        network.parameter_vector -= 0.5
        network.trained_vector += 0.25

    def an_optimizer(network):
        Adam(0.1).step(network.trained_vector, np.ones_like(network.trained_vector))

    def new_weights(network):
        network.initialise(network.dropout_generator)  # others each time

    def a_training_step(network):  # changes the running statistics
        x = 3 + small_batch("batch_norms", 8, dtype=np.float32)
        network.loss_and_gradients(x, CrossEntropy(), np.zeros(8, np.int64))

    def a_training_pass(network):
        network.forward(3 + small_batch("batch_norms", 8, dtype=np.float32), training=True)

    return [value for value in locals().values() if callable(value)]


@pytest.mark.parametrize("change", changes())
def test_predictions_are_those_of_the_present_parameters(network, change):
    x = small_batch("batch_norms", 3, dtype=np.float32)
    for _ in range(2):
        before = network.forward(x)
        network.forward(x)
        change(network)
        after = network.forward(x)
        assert np.abs(after - before).max() > 1e-3
        np.testing.assert_allclose(after, by_numpy(network, x), rtol=1e-4, atol=1e-4)


def test_an_array_that_is_kept_may_be_changed_at_any_time(network):
    x = small_batch("batch_norms", 3, dtype=np.float32)
    kept = network.parameters["conv1.w"]
    for _ in range(3):
        before = network.forward(x)
        kept[0] += 1
        after = network.forward(x)
        assert np.abs(after - before).max() > 1e-3
        np.testing.assert_allclose(after, by_numpy(network, x), rtol=1e-4, atol=1e-4)


def test_unchanged_parameters_are_not_compared(network, monkeypatch):
    x = small_batch("batch_norms", 3, dtype=np.float32)
    network.forward(x)
    run = network._run

    def refuse(*arrays):
        raise AssertionError("compared")

    monkeypatch.setattr("tinycnn.kernel_prediction.np.array_equal", refuse)
    network.forward(x)
    held = network.parameters["conv1.w"]
    with pytest.raises(AssertionError, match="compared"):
        run.predict(x)
    del held


def test_an_array_changed_in_place_is_not_held_by_the_network(network):
    """`a.b += c` assigns a.b."""
    network.parameter_vector += 1
    network.trained_vector -= 1
    assert network._watched.version() is not None
    network.freeze(1)
    assert network.trained_vector.size < network.parameter_vector.size
    network.trained_vector = other = np.zeros(3, np.float32)
    assert network.trained_vector is other
    network.freeze(0)
    assert np.shares_memory(network.trained_vector, network.parameter_vector)
