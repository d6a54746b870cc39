"""The benchmarks of the zoo's networks: what they compare and count; measured values are not
tested."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks is not installed

from benchmarks import __main__ as program  # noqa: E402
from benchmarks import operations  # noqa: E402
from benchmarks.zoo_networks import ZOO  # noqa: E402
from tinycnn import (  # noqa: E402
    Conv2D,
    CrossEntropy,
    Dense,
    DepthwiseConv2D,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
)
from tinycnn.layers import BatchNorm, Residual  # noqa: E402
from tinycnn.models import microexpnet  # noqa: E402


def small_network():
    """A network with BatchNorm, and with every kind of operation that the zoo has."""
    body = [DepthwiseConv2D(3, use_bias=False), BatchNorm(), ReLU()]
    body += [Conv2D(5, 1, use_bias=False), BatchNorm()]
    layers = [Conv2D(5, 3, use_bias=False), BatchNorm(), ReLU(), MaxPool2D(2)]
    layers += [Residual(body), ReLU()]
    layers += [Conv2D(3, 3, 2), MaxPool2D(2), Flatten(), Dense(6), ReLU(), Dense(4)]
    return Network(layers, InputSpec(9, 11, 2), n_threads=1, backend="numba")


def small_microexpnet():
    return microexpnet(n_threads=1, backend="numba")


def batch_for(network, n_images):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n_images, *network.input_spec.shape)).astype(np.float32)
    return x, rng.integers(0, len(network.classes), n_images)


@pytest.mark.parametrize("build", [small_network, small_microexpnet])
def test_operations_one_at_a_time_are_a_training_step(build):
    """The calls that are timed, in their order, compute a step's logits and gradients."""
    network = build()
    x, labels = batch_for(network, 37)
    training = operations.TrainingCalls(network, x, labels)
    _, logits = network.loss_and_gradients(x, CrossEntropy(), labels)
    expected = {name: gradient.copy() for name, gradient in network.gradients.items()}
    network.gradient_vector[:] = np.nan
    for call in training.calls():
        call.run()
    np.testing.assert_array_equal(training.work.results.logits, logits)
    for name, right in expected.items():
        difference = abs(network.gradients[name] - right).max()
        assert difference <= 1e-5 * abs(right).max(), name


@pytest.mark.parametrize("build", [small_network, small_microexpnet])
def test_multiply_adds_of_the_operations_are_those_of_the_network(build):
    network = build()
    x, labels = batch_for(network, 3)
    macs = 3 * sum(step.n_multiply_adds for step in network.plan.steps)
    prediction = operations.PredictionCalls(network, x).calls()
    assert sum(call.macs for call in prediction) == macs
    training = operations.TrainingCalls(network, x, labels).calls()
    first = 3 * network.plan.steps[0].n_multiply_adds  # of its input no gradient is needed
    assert sum(call.macs for call in training) == 3 * macs - first


def test_the_command_operations(capsys, tmp_path):
    path = tmp_path / "times.json"
    arguments = ["lenet5", "--batch", "2", "--rounds", "1", "--json", str(path)]
    assert program.main(["operations", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "0 conv1 conv2d 5x5/1 28x28x1 -> 14x14x6 relu, maxpool" in printed
    assert "the whole pass, one call" in printed
    found = json.loads(path.read_text())
    assert found["training"]["whole_s"] > 0 and found["peak_gmac_per_s"] > 0
    assert program.main(["operations", "lenet5", "--batch", "0"]) == 2
    assert "--batch 0: expected 1 or more" in capsys.readouterr().err


def test_networks_of_the_zoo_have_the_parameters_that_their_papers_say():
    expected = {
        "microexpnet": 65_000,
        "lenet5": 61_706,
        "keras_mnist_cnn": 1_199_882,  # as Keras's example prints
        "residual48": 52_152,
        "mini_xception": 56_951,
        "resnet8": 78_186,
    }
    for name, n_parameters in expected.items():
        assert ZOO[name].build().n_parameters == n_parameters
