"""Layers of the user's own, as CONTRIBUTING.md says under "Bring a layer of your own"."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from small_networks import without_dropout

import tinycnn
from tinycnn import (
    Adam,
    Conv2D,
    CrossEntropy,
    CustomLayer,
    Dense,
    Distillation,
    Dropout,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    RelationDistillation,
    ReLU,
)
from tinycnn.layers import Residual
from tinycnn.testing import check_gradients

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
ROOT = Path(__file__).resolve().parent.parent


def guide():
    """The layer that CONTRIBUTING.md shows."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n((?:(?!```).)*?class ChannelScale.*?)```", text, re.DOTALL)
    return code


def channel_scale():
    """The class of the guide, run as it stands there."""
    names: dict = {"__name__": "guide"}
    exec(compile(guide(), "CONTRIBUTING.md", "exec"), names)
    return names["ChannelScale"]


ChannelScale = channel_scale()


@dataclass(frozen=True)
class Halves(CustomLayer):
    """A vector of half the length: sums of the first and the second half.  It changes the shape
    and has no parameters."""

    def output_shape(self, input_shape):
        if len(input_shape) != 1 or input_shape[0] % 2:
            raise ValueError(f"Halves takes vectors of even length; it was given {input_shape}")
        return (input_shape[0] // 2,)

    def forward(self, x, parameters):
        half = x.shape[1] // 2
        return x[:, :half] + x[:, half:]

    def backward(self, x, y, dy, parameters):
        return np.concatenate([dy, dy], axis=1), {}


NETWORKS = {
    "first": ([ChannelScale(), Conv2D(3, 2), ReLU(), Flatten(), Dense(4)], (5, 4, 2)),
    "between_pictures": (
        [
            *(Conv2D(3, 3), ReLU(), MaxPool2D(2), ChannelScale(), Conv2D(5, 2), ReLU()),
            *(Dropout(0.3), Flatten(), Dense(4)),
        ],
        (6, 7, 1),
    ),
    "twice_and_last": (
        [Conv2D(3, 2), ChannelScale(), ChannelScale(), Flatten(), Dense(8), Halves()],
        (5, 4, 1),
    ),
    "in_a_residual": (
        [
            *(Conv2D(3, 3), Residual([Conv2D(3, 3), ChannelScale(), ReLU()], [ChannelScale()])),
            Residual([MaxPool2D(2), Conv2D(5, 2), Dropout(0.3)], [MaxPool2D(2), Conv2D(5, 1)]),
            *(Flatten(), Residual([ChannelScale()]), Dense(4)),
        ],
        (6, 7, 1),
    ),
    "first_in_a_residual": (
        [Residual([ChannelScale()]), Conv2D(3, 2), Flatten(), Dense(4), Residual([ChannelScale()])],
        (3, 4, 2),
    ),
    "between_vectors": ([Flatten(), Dense(6), Halves(), ReLU(), Dense(4)], (3, 3, 1)),
}
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)


def network_of(name, backend, dtype=np.float64, layers=None, **options):
    own_layers, shape = NETWORKS[name]
    layers = layers or own_layers
    network = Network(layers, InputSpec(*shape), backend=backend, dtype=dtype, seed=2, **options)
    network.initialise(np.random.default_rng(3), bias_std=0.3)
    for parameter in network.parameters:
        if parameter.endswith(".s"):
            network.parameters[parameter][:] += np.random.default_rng(4).normal(
                0, 0.2, network.parameters[parameter].shape
            )
    return network


def batch_of(network, n_images=11, seed=5):
    rng, k = np.random.default_rng(seed), len(network.classes)
    x = rng.standard_normal((n_images, *network.input_spec.shape)).astype(network.dtype)
    return x, rng.integers(0, k, n_images), rng.normal(0, 2, (n_images, k)).astype(network.dtype)


@EVERY_NETWORK
@BACKENDS
def test_gradients(name, backend):
    network = network_of(name, backend, layers=without_dropout(NETWORKS[name][0]))
    x, labels, _ = batch_of(network)
    network.loss_and_gradients(x, CrossEntropy(), labels)
    gradients = {key: g.copy() for key, g in network.gradients.items()}
    logits = network.forward(x, training=True)
    _, dlogits = CrossEntropy()(logits, labels)
    gradients["x"] = network.backward(dlogits, input_gradient=True)

    def loss():
        return CrossEntropy()(network.forward(x), labels)[0]

    errors = check_gradients(loss, {**network.parameters, "x": x}, gradients)
    assert set(errors) == {*network.parameters, "x"}


@EVERY_NETWORK
@pytest.mark.parametrize("loss", [Distillation(4.0, 0.5), RelationDistillation()], ids=repr)
def test_both_backends_agree(name, loss):
    found = []
    for backend in ("numba", "numpy"):
        network = network_of(name, backend)
        x, labels, teacher = batch_of(network)
        value, logits = network.loss_and_gradients(x, loss, labels, teacher)
        found.append((value, logits, network.forward(x), network.gradient_vector.copy()))
    for ours, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-13)


@EVERY_NETWORK
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_depend_neither_on_threads_nor_on_neighbours(name, dtype):
    results = []
    for n_threads in (1, 3):
        network = network_of(name, "numba", dtype, n_threads=n_threads)
        x, labels, teacher = batch_of(network, 21)
        for _ in range(3):
            network.loss_and_gradients(x, Distillation(), labels, teacher)
            Adam(1e-2).step(network.parameter_vector, network.gradient_vector)
        together = network.forward(x)
        np.testing.assert_array_equal(network.forward(x[4:5])[0], together[4])
        results.append((network.parameter_vector.copy(), together))
    for one, three in zip(*results):
        np.testing.assert_array_equal(one, three)


@BACKENDS
def test_it_learns_what_it_should(backend):
    """Logits that are a hundred times too small: the scale grows, and with it the accuracy."""
    layers = [ChannelScale(), Flatten(), Dense(3)]
    network = Network(layers, InputSpec(2, 2), backend=backend, seed=1)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.01, (60, 2, 2, 1)).astype(np.float32)
    labels = np.argmax(x.reshape(60, 4)[:, :3], axis=1)
    optimizer, losses = Adam(0.05), []
    for _ in range(200):
        losses.append(network.loss_and_gradients(x, CrossEntropy(), labels)[0])
        optimizer.step(network.parameter_vector, network.gradient_vector)
    assert losses[-1] < losses[0] / 3 and network.parameters["channelscale1.s"][0] > 2
    assert np.mean(network.forward(x).argmax(axis=1) == labels) > 0.9


def test_initial_values_and_names():
    network = Network(NETWORKS["first"][0], InputSpec(5, 4, 2), seed=7)
    assert network.parameters["channelscale1.s"].tolist() == [1.0, 1.0]
    assert network.n_parameters == 2 + 2 * 2 * 2 * 3 + 3 + 60 * 4 + 4
    assert "ChannelScale" in repr(network)


def test_it_is_saved_and_loaded(tmp_path):
    network = network_of("between_pictures", "numpy", np.float32)
    tinycnn.save(network, tmp_path / "own.safetensors")
    path = tmp_path / "own.safetensors"
    loaded = tinycnn.load(path, backend="numpy", custom_layers=[ChannelScale])
    assert loaded.layers == network.layers
    x, _, _ = batch_of(network)
    np.testing.assert_array_equal(loaded.forward(x), network.forward(x))
    with pytest.raises(ValueError, match="'ChannelScale'.*named in custom_layers"):
        tinycnn.load(tmp_path / "own.safetensors")


# ---- what is wrong with a layer is told by its name ----------------------------------------------


@dataclass(frozen=True)
class Wrong(CustomLayer):
    """Gives what a test asks for."""

    y: object = None
    dx: object = None
    gradients: object = None

    def parameter_shapes(self, input_shape):
        return {"s": (2,)}

    def forward(self, x, parameters):
        return x if self.y is None else self.y

    def backward(self, x, y, dy, parameters):
        gradients: Mapping = {"s": np.zeros(2)} if self.gradients is None else self.gradients
        return dy if self.dx is None else self.dx, gradients


@BACKENDS
@pytest.mark.parametrize(
    "layer, error, message",
    [
        (Wrong(y=np.zeros((2, 5))), ValueError, r"wrong1: forward gave y of shape \(2, 5\)"),
        (Wrong(y=[1, 2]), TypeError, "wrong1: forward gave y as list; expected floats"),
        (Wrong(y=np.zeros((2, 4), int)), TypeError, "forward gave y as int64"),
        (Wrong(dx=np.zeros((1, 4))), ValueError, r"backward gave dx of shape \(1, 4\); expected"),
        (Wrong(gradients={}), ValueError, r"backward gave gradients of \[\]; expected \['s'\]"),
        (
            Wrong(gradients={"s": np.zeros(3)}),
            ValueError,
            r"the gradient of s of shape \(3,\); expected \(2,\)",
        ),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:40],
)
def test_wrong_results_are_told_with_the_layer_s_name(layer, error, message, backend):
    network = Network([Flatten(), Dense(4), layer], InputSpec(2, 2), backend=backend)
    x = np.zeros((2, 2, 2, 1), np.float32)
    with pytest.raises(error, match=message):
        network.loss_and_gradients(x, CrossEntropy(), np.array([0, 1]))


def test_a_layer_without_its_functions_is_refused_by_python():
    class Half(CustomLayer):
        def forward(self, x, parameters):
            return x

    with pytest.raises(TypeError, match="backward"):
        Half()


# ---- a loss of the user's own --------------------------------------------------------------------


def squared_error():
    """The loss that CONTRIBUTING.md shows."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n((?:(?!```).)*?class SquaredError.*?)```", text, re.DOTALL)
    names: dict = {"__name__": "guide"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    return names["SquaredError"]


@BACKENDS
def test_a_loss_of_the_users_own(backend):
    loss = squared_error()()
    network = network_of("between_vectors", backend)
    x, labels, _ = batch_of(network, 6)
    value, logits = network.loss_and_gradients(x, loss, labels)
    assert value == pytest.approx(np.square(logits - np.eye(4)[labels]).sum() / 6)
    check_gradients(
        lambda: loss(network.forward(x), labels)[0], network.parameters, network.gradients
    )
    with pytest.raises(ValueError, match=r"targets\[2\] is 9"):
        network.loss_and_gradients(x, loss, np.array([0, 1, 9, 0, 1, 2]))


@BACKENDS
def test_a_run_with_such_a_layer_resumes_to_the_same_bits(tmp_path, backend):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 5, 4), dtype=np.uint8), rng.integers(0, 4, 20)

    class Twenty:
        n_batches, n_images = 2, 20

        def __call__(self, epoch):
            for part in (slice(0, 10), slice(10, 20)):
                yield images[part], labels[part], None

    def trained(folder, n_epochs, resume=False):
        folder.mkdir(exist_ok=True)
        layers = [Conv2D(3, 2), ChannelScale(), Flatten(), Dense(4)]
        network = Network(layers, InputSpec(5, 4), backend=backend, seed=2)
        options = dict(loss=CrossEntropy(), optimizer=Adam(1e-2), folder=folder, resume=resume)
        list(tinycnn.iter_epochs(network, Twenty(), n_epochs=n_epochs, **options))
        return network.parameter_vector

    whole = trained(tmp_path / "whole", 4)
    trained(tmp_path / "parts", 2)
    np.testing.assert_array_equal(trained(tmp_path / "parts", 4, resume=True), whole)
