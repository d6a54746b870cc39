"""Network.freeze: the first layers keep their bits, and the others are trained as if alone."""

import numpy as np
import pytest
from small_networks import ENGINE_NETWORKS, small_batch, small_network, without_dropout

import tinycnn
from tinycnn import BatchNorm, Conv2D, Dense, Dropout, Flatten, InputSpec, MaxPool2D, Network, ReLU
from tinycnn.layers import Residual
from tinycnn.testing import check_gradients

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (24, 8, 7), dtype=np.uint8)
LABELS = np.arange(24) % 3


def layers_with_batch_norm():
    return [
        *(Conv2D(4, 3), BatchNorm(), ReLU(), MaxPool2D(2), Conv2D(5, 2), BatchNorm(), ReLU()),
        *(Flatten(), Dense(6), ReLU(), Dropout(0.3), Dense(3)),
    ]


def network(backend="auto", **options):
    spec = InputSpec(8, 7, scaling="unit", classes=("a", "b", "c"))
    made = Network(layers_with_batch_norm(), spec, backend=backend, **options)
    made.initialise(np.random.default_rng(5), bias_std=0.3)
    for values in made.statistics.values():
        values += np.random.default_rng(6).uniform(0.1, 0.5, values.shape)
    return made


def state(one, layers):
    """Copies of the arrays of these layers, by name."""
    arrays = {**one.parameters, **one.statistics}
    return {k: v.copy() for k, v in arrays.items() if k.rsplit(".", 1)[0] in layers}


@BACKENDS
@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_frozen_layers_keep_their_bits_while_the_others_move(backend, ema_decay):
    one = network(backend)
    one.freeze(2)
    frozen = one.frozen_layers
    assert frozen == ("conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2")
    before, others = state(one, frozen), state(one, ("dense1", "dense2"))
    assert {"conv1.w", "bn1.gamma", "bn2.running_var"} < set(before)
    optimizer = tinycnn.AdamW(1e-2, weight_decay=0.1)
    options = dict(epochs=6, batch_size=8, optimizer=optimizer, ema_decay=ema_decay)
    history = tinycnn.fit(one, IMAGES, LABELS, **options)
    assert history["loss"][-1] < history["loss"][0]
    for name, array in state(one, frozen).items():
        assert array.tobytes() == before[name].tobytes(), name
    for name, array in state(one, ("dense1", "dense2")).items():
        assert not np.array_equal(array, others[name]), name


@BACKENDS
@pytest.mark.parametrize("name", sorted(ENGINE_NETWORKS))
def test_gradients_are_those_of_the_loss(name, backend):
    """Checked by differences of the loss of the frozen network itself, in float64; those of frozen
    layers are 0."""
    one = small_network(name, backend)
    one = Network(without_dropout(one.layers), one.input_spec, backend=backend, dtype=np.float64)
    one.initialise(np.random.default_rng(0), bias_std=0.3)
    n = 0
    while True:  # the largest number that can be frozen, then half of it
        try:
            one.freeze(n + 1)
        except ValueError:
            break
        n += 1
    if not n:
        pytest.skip("it has one layer with weights, which is always trained")
    one.freeze((n + 1) // 2)
    x, cross_entropy = small_batch(name), tinycnn.CrossEntropy()
    labels = np.arange(len(x)) % len(one.classes)
    running = {k: v.copy() for k, v in one.statistics.items()}

    def loss():
        value, _ = cross_entropy(one.forward(x, training=True), labels)
        return value

    value, logits = one.loss_and_gradients(x, cross_entropy, labels)
    assert value == pytest.approx(loss(), rel=1e-12)
    trained = {k: v for k, v in one.parameters.items() if k.rsplit(".")[0] not in one.frozen_layers}
    trained = {k: v for k, v in trained.items() if k.rsplit(".", 1)[0] not in one.frozen_layers}
    assert 0 < len(trained) < len(one.parameters)
    found = {k: one.gradients[k].copy() for k in trained}
    check_gradients(loss, trained, found)
    for k in one.parameters.keys() - trained.keys():
        assert not one.gradients[k].any(), k
    for k, before in running.items():
        moved = not np.array_equal(one.statistics[k], before)
        assert moved == (k.rsplit(".", 1)[0] not in one.frozen_layers), k


@BACKENDS
def test_frozen_batch_norm_uses_its_running_statistics(backend):
    """All BatchNorms frozen: training computes what prediction computes, apart from dropout."""
    one = network(backend, dtype=np.float64)
    one = with_other_layers(one, without_dropout(one.layers), backend)
    x = one.scale(IMAGES)
    free = one.forward(x, training=True)
    predicted = one.forward(x)
    assert np.abs(free - predicted).max() > 1e-3
    one.freeze("conv2")
    predicted = one.forward(x)
    np.testing.assert_allclose(one.forward(x, training=True), predicted, rtol=1e-10, atol=1e-12)


def with_other_layers(one, layers, backend):
    other = Network(layers, one.input_spec, backend=backend, dtype=one.dtype)
    other.parameter_vector[:] = one.parameter_vector
    return other


@BACKENDS
def test_without_batch_norm_the_others_get_the_gradients_they_have_otherwise(backend):
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(6), ReLU(), Dense(3)]
    one = Network(layers, InputSpec(8, 7), backend=backend, dtype=np.float64)
    x, loss = one.scale(IMAGES), tinycnn.CrossEntropy()
    value, _ = one.loss_and_gradients(x, loss, LABELS)
    whole = {k: v.copy() for k, v in one.gradients.items()}
    for frozen, layer in enumerate(["conv1", "dense1"], start=1):
        one.freeze(layer)
        assert one.loss_and_gradients(x, loss, LABELS)[0] == pytest.approx(value, rel=1e-12)
        for name in list(whole)[2 * frozen :]:
            np.testing.assert_allclose(one.gradients[name], whole[name], rtol=1e-9, atol=1e-14)
        assert one.trained_vector.size == one.plan.n_trained_slots - one._frozen.n_elements
    one.freeze(0)
    one.loss_and_gradients(x, loss, LABELS)
    assert all(np.array_equal(one.gradients[k], whole[k]) for k in whole) and not one.frozen_layers


def test_results_do_not_depend_on_threads():
    vectors = []
    for n_threads in (1, 2):
        one = network(n_threads=n_threads)
        one.freeze(1)
        tinycnn.fit(one, IMAGES, LABELS, epochs=2, batch_size=12)
        vectors.append(one.parameter_vector)
    assert vectors[0].tobytes() == vectors[1].tobytes()


def test_what_numbers_and_names_freeze():
    one = network()
    for layers, names in {
        0: (),
        1: ("conv1", "bn1", "relu1", "pool1"),
        "bn1": ("conv1", "bn1", "relu1", "pool1"),
        3: ("conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2", "flatten1", "dense1")
        + ("relu3",),  # not the dropout: it belongs to training
    }.items():
        one.freeze(layers)
        assert one.frozen_layers == names
    residual = Residual([Conv2D(4, 3), BatchNorm()])
    branched = Network([Conv2D(4, 3), residual, ReLU(), Flatten(), Dense(2)], InputSpec(6, 6))
    branched.freeze(2)
    assert branched.frozen_layers[0] == "conv1" and "residual1.bn1" in branched.frozen_layers
    branched.freeze("conv1")
    assert branched.frozen_layers == ("conv1",)


@pytest.mark.parametrize("layers", [4, -1, 1.5, True, "dense2", "conv3", ""])
def test_layers_that_cannot_be_frozen(layers):
    one = network()
    with pytest.raises(ValueError, match=r"freeze is .*; expected .*conv1, conv2, dense1"):
        one.freeze(layers)
    assert one.frozen_layers == () and one.trained_vector.size == one.plan.n_trained_slots


def test_there_is_no_gradient_of_the_input():
    one = network("numpy")
    one.freeze(1)
    logits = one.forward(one.scale(IMAGES), training=True)
    with pytest.raises(ValueError, match=r"call network.freeze\(0\) first"):
        one.backward(np.ones_like(logits), input_gradient=True)


def test_a_resumed_run_has_the_same_bits_and_needs_the_same_frozen_layers(tmp_path):
    def run(folder, epochs, freeze=1, resume=False):
        one = network("numpy")
        one.freeze(freeze)
        options = dict(folder=folder, resume=resume, batch_size=8, learning_rate=1e-2)
        tinycnn.fit(one, IMAGES, LABELS, epochs=epochs, first_layers_rate=0.1, **options)
        return one

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    resumed = run(tmp_path / "parts", 4, resume=True)
    assert resumed.parameter_vector.tobytes() == whole.parameter_vector.tobytes()
    with pytest.raises(tinycnn.CheckpointError, match="written with frozen_layers"):
        run(tmp_path / "parts", 5, freeze=2, resume=True)
