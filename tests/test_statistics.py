"""Running statistics, and the zeros of unused biases: what changes them, what keeps them."""

import dataclasses
import json

import numpy as np
import pytest
from small_networks import BATCH_NETWORKS, small_batch, small_network
from training_run import StopAt

import tinycnn
from tinycnn import SGD, Adam, AdamW, Conv2D, CrossEntropy, Dense, Flatten, InputSpec, Network
from tinycnn.formats import safetensors as model_file
from tinycnn.formats.safetensors import ModelFileError
from tinycnn.layers import BatchNorm, Residual, layer_from_config

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
EVERY_NETWORK = pytest.mark.parametrize("name", BATCH_NETWORKS)
STATISTICS = ["bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var"]


def statistics_of(network):
    return {name: values.copy() for name, values in network.statistics.items()}


def assert_statistics(network, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(network.statistics[name], values, err_msg=name)


def targets_of(network, n_images):
    return np.arange(n_images) % len(network.classes)


# ---- where they are ----------------------------------------------------------------------------


def test_statistics_lie_behind_what_is_trained():
    network = small_network("batch_norms", "numpy")
    assert list(network.statistics)[:4] == STATISTICS
    assert not set(network.statistics) & set(network.parameters)
    trained, n_trained = network.trained_vector, network.plan.n_trained_slots
    assert trained.base is network.parameter_vector.base or trained.base is network.parameter_vector
    assert len(trained) == len(network.trained_gradients) == n_trained
    for name, values in network.parameters.items():
        assert np.shares_memory(values, trained), name
    for name, values in network.statistics.items():
        assert np.shares_memory(values, network.parameter_vector), name
        assert not np.shares_memory(values, trained), name
    assert network.n_parameters == sum(p.size for p in network.parameters.values())


def test_initialise_sets_statistics_too():
    network = small_network("batch_norms", "numpy")
    network.initialise(np.random.default_rng(0), bias_std=3.0)
    for name, values in network.statistics.items():
        assert np.all(values == (1 if name.endswith("var") else 0)), name
    assert np.all(network.parameters["bn1.gamma"] == 1)
    assert np.all(network.parameters["bn1.beta"] == 0)


# ---- when they change --------------------------------------------------------------------------


@BACKENDS
def test_the_update_is_the_definition(backend):
    """A network whose first layer is a BatchNorm: its statistics are those of x."""
    layers = [BatchNorm(momentum=0.75), Conv2D(2, 3), Flatten(), Dense(3)]
    network = Network(layers, InputSpec(4, 5, 2), backend=backend, dtype=np.float64)
    x = 3 + np.random.default_rng(0).standard_normal((7, 4, 5, 2))
    network.forward(x, training=True)
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(network.statistics["bn1.running_mean"], 0.25 * mean, rtol=1e-13)
    np.testing.assert_allclose(network.statistics["bn1.running_var"], 0.75 + 0.25 * var, rtol=1e-13)


@BACKENDS
@EVERY_NETWORK
def test_once_in_each_step_and_never_in_prediction(name, backend):
    x, network = small_batch(name, 7), small_network(name, backend)
    labels, before = targets_of(network, 7), statistics_of(network)
    network.forward(x)
    network.predict_logits(np.zeros((2, *network.input_spec.shape), np.uint8))
    network.folded()
    assert_statistics(network, before)
    state = network.dropout_generator.bit_generator.state
    network.loss_and_gradients(x, CrossEntropy(), labels)
    after_step = statistics_of(network)
    assert all(np.all(after_step[key] != before[key]) for key in before)
    # forward does the same, and backward nothing
    other = small_network(name, backend)
    other.dropout_generator.bit_generator.state = state
    logits = other.forward(x, training=True)
    assert_statistics(other, after_step)
    other.backward(np.ones_like(logits))
    assert_statistics(other, after_step)
    network.loss_and_gradients(x, CrossEntropy(), labels)
    assert all(np.all(network.statistics[key] != after_step[key]) for key in before)


@BACKENDS
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("loss", [CrossEntropy(), tinycnn.RelationDistillation()], ids=repr)
def test_a_loss_that_is_not_finite_changes_nothing(backend, n_threads, loss):
    network = small_network("batch_norms", backend, n_threads=n_threads)
    x = small_batch("batch_norms", 9)
    x[4, 1, 2] = np.nan
    network.gradient_vector[:] = 7.0
    before = network.parameter_vector.copy()
    with np.errstate(invalid="ignore"):
        value, _ = network.loss_and_gradients(x, loss, targets_of(network, 9), np.zeros((9, 3)))
    assert not np.isfinite(value)
    np.testing.assert_array_equal(network.parameter_vector, before)
    np.testing.assert_array_equal(network.gradient_vector, 7.0)


@BACKENDS
@pytest.mark.parametrize("n_images", [0, 1])
def test_batches_without_a_variance(backend, n_images):
    """Vectors of one image have no variance, and no image no mean either."""
    layers = [Flatten(), Dense(4), BatchNorm(), Dense(3)]
    network = Network(layers, InputSpec(2, 2), backend=backend, dtype=np.float64)
    x = np.random.default_rng(0).standard_normal((n_images, 2, 2, 1))
    before = statistics_of(network)
    logits = network.forward(x, training=True)
    dx = network.backward(np.ones_like(logits), input_gradient=True)
    assert np.isfinite(logits).all() and np.abs(dx).max(initial=0) < 1e-11
    np.testing.assert_array_equal(network.statistics["bn1.running_var"], before["bn1.running_var"])
    is_same = network.statistics["bn1.running_mean"] == before["bn1.running_mean"]
    assert np.all(is_same) if n_images == 0 else not np.any(is_same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@EVERY_NETWORK
def test_bits_of_a_training_do_not_depend_on_the_threads(name, dtype):
    found = []
    for n_threads in (1, 2, 3, 8):
        network = small_network(name, "numba", dtype, n_threads=n_threads)
        optimizer = Adam(1e-2)
        for step in range(4):
            x = small_batch(name, 21 - step, step, dtype)
            network.loss_and_gradients(x, CrossEntropy(), targets_of(network, 21 - step))
            optimizer.step(network.trained_vector, network.trained_gradients)
        found.append(network.parameter_vector.tobytes() + network.forward(x).tobytes())
    assert len(set(found)) == 1


# ---- what does not change them -----------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: AdamW(1e-2, weight_decay=0.5),
        lambda: Adam(1e-2, weight_decay=0.5, clip_norm=0.1),
        lambda: SGD(1e-2, momentum=0.9, weight_decay=0.5),
    ],
)
def test_optimizers_change_neither_statistics_nor_zeros(backend, optimizer):
    network, optimizer = small_network("batch_norms", backend), optimizer()
    x, plan = small_batch("batch_norms", 7), network.plan
    for _ in range(3):
        network.loss_and_gradients(x, CrossEntropy(), targets_of(network, 7))
        before, trained = statistics_of(network), network.trained_vector.copy()
        optimizer.step(network.trained_vector, network.trained_gradients)
        assert_statistics(network, before)
        assert not np.array_equal(network.trained_vector, trained)
    ((start, (size,)),) = plan.unused_bias_slots.values()
    assert not network.parameter_vector[start : start + size].any()
    # what a kernel writes where the gradient of that bias would be is in no gradient
    assert "conv1.b" not in network.gradients and start >= plan.n_trained_slots


# ---- files -------------------------------------------------------------------------------------


@EVERY_NETWORK
def test_they_are_saved_and_loaded_with_the_parameters(tmp_path, name):
    network = small_network(name, "numpy")
    tinycnn.save(network, tmp_path / "m")
    again = tinycnn.load(tmp_path / "m", backend="numpy")
    assert again.layers == network.layers
    assert again.parameter_vector.tobytes() == network.parameter_vector.tobytes()
    x = small_batch(name)
    np.testing.assert_array_equal(again.forward(x), network.forward(x))


def test_in_a_half_precision_file_they_keep_their_dtype(tmp_path):
    """A variance of pixels of 0..255 is often above 65504, float16's largest number."""
    network = small_network("batch_norms", "numpy", np.float32)
    network.statistics["bn1.running_var"][:] = 1e5 / 3
    network.statistics["bn2.running_var"][:] = 1e6 / 3
    tinycnn.save(network, tmp_path / "half", dtype="float16")
    tensors, _ = model_file.read(tmp_path / "half")
    assert tensors["bn1.gamma"].dtype == np.float16
    assert tensors["bn1.running_var"].dtype == np.float32
    again = tinycnn.load(tmp_path / "half", backend="numpy")
    assert again.dtype == np.float32
    assert_statistics(again, statistics_of(network))
    double = small_network("batch_norms", "numpy", np.float64)
    tinycnn.save(double, tmp_path / "half", dtype="float16")
    assert tinycnn.load(tmp_path / "half", backend="numpy").dtype == np.float32


def test_a_file_without_them_is_refused(tmp_path):
    from safetensors.numpy import save_file

    network, path = small_network("batch_norms", "numpy", np.float32), tmp_path / "m"
    tinycnn.save(network, path)
    tensors, metadata = model_file.read(path)
    description = json.loads(metadata["tinycnn"])
    del tensors["bn2.running_var"], description["crc32"]
    save_file(tensors, path, {"tinycnn": json.dumps(description)})
    with pytest.raises(ModelFileError, match=r"do not fit its layers: expected .*bn2.running_var"):
        tinycnn.load(path, backend="numpy")


def test_residuals_nested_without_end_are_refused(tmp_path):
    """A small file may describe any depth."""
    from safetensors.numpy import save_file

    def nested(depth):
        config = {"kind": "ReLU"}
        for _ in range(depth):
            config = {"kind": "Residual", "layers": [config], "shortcut": []}
        return config

    assert layer_from_config(nested(16)).depth == 16
    with pytest.raises(ValueError, match="residuals lie in residuals more than 16 deep"):
        layer_from_config(nested(17))
    network, path = small_network("batch_norms", "numpy", np.float32), tmp_path / "m"
    tinycnn.save(network, path)
    tensors, metadata = model_file.read(path)
    description = json.loads(metadata["tinycnn"])
    for depth in (17, 200, 900, 5000):
        layers = json.dumps([*description["layers"]])
        text = json.dumps({**description, "layers": "LAYERS"})
        deep = '{"kind": "Residual", "shortcut": [], "layers": [' * depth
        deep += '{"kind": "ReLU"}' + "]}" * depth
        text = text.replace('"LAYERS"', f"{layers[:-1]}, {deep}]")
        save_file(tensors, path, {"tinycnn": text})
        with pytest.raises(ModelFileError, match="its description is not usable"):
            tinycnn.load(path, backend="numpy")


def test_a_residual_of_a_residual_is_counted_on_both_branches():
    inner = Residual([Flatten()])
    assert inner.depth == 1 and Residual([inner]).depth == 2
    assert Residual([Flatten()], [Residual([inner])]).depth == 3


# ---- training runs -----------------------------------------------------------------------------


class Batches:
    """The same three batches in each epoch; the last one has a single image."""

    n_batches, n_images = 3, 17

    def __call__(self, epoch):
        rng = np.random.default_rng([1, epoch])
        images = np.random.default_rng(0).integers(0, 256, (17, 6, 5, 2), dtype=np.uint8)
        order = rng.permutation(17)
        for part in (order[:8], order[8:16], order[16:]):
            yield images[part], part % 3, None


def trained(folder, backend="numba", n_epochs=4, resume=False, callbacks=(), **options):
    folder.mkdir(exist_ok=True)
    layers, (H, W, C) = BATCH_NETWORKS["batch_norms"]
    spec = InputSpec(H, W, C, scaling="unit")
    network = Network(layers, spec, backend=backend, n_threads=2, seed=2)
    records = list(
        tinycnn.iter_epochs(
            network, Batches(), loss=CrossEntropy(), optimizer=AdamW(1e-2), n_epochs=n_epochs,
            folder=folder, resume=resume, callbacks=callbacks, **options,
        )
    )  # fmt: skip
    return network, records


@BACKENDS
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, backend, ema_decay):
    whole, records = trained(tmp_path / "whole", backend, ema_decay=ema_decay)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", backend, callbacks=[StopAt(1)], ema_decay=ema_decay)
    resumed, later = trained(tmp_path / "parts", backend, resume=True, ema_decay=ema_decay)
    assert resumed.parameter_vector.tobytes() == whole.parameter_vector.tobytes()
    assert [r.train_loss for r in later] == [r.train_loss for r in records[2:]]
    best = tinycnn.load(tmp_path / "whole" / "model.safetensors", backend="numpy")
    assert np.all(best.statistics["bn1.running_var"] != 1)
    assert records[-1].train_loss < records[0].train_loss


@BACKENDS
def test_a_run_that_diverges_leaves_the_statistics_of_the_last_whole_epoch(tmp_path, backend):
    class BlowUp(tinycnn.train.Callback):
        def on_step(self, record):
            if (record.epoch, record.batch) == (2, 1):
                network.parameters["dense2.w"][:] = np.inf

    network, _ = trained(tmp_path / "two", backend, n_epochs=2)
    expected = network.parameter_vector.copy()
    layers, (H, W, C) = BATCH_NETWORKS["batch_norms"]
    network = Network(layers, InputSpec(H, W, C, scaling="unit"), backend=backend, seed=2)
    with pytest.raises(tinycnn.train.DivergedError, match="update of dense2"):
        list(
            tinycnn.iter_epochs(
                network, Batches(), loss=CrossEntropy(), optimizer=AdamW(1e-2), n_epochs=4,
                callbacks=[BlowUp()],
            )
        )  # fmt: skip
    np.testing.assert_array_equal(network.parameter_vector, expected)


def test_running_statistics_that_overflow_are_named(tmp_path):
    class BlowUp(tinycnn.train.Callback):
        def on_step(self, record):
            if record.batch == 2:
                network.statistics["bn2.running_var"][1] = np.inf

    layers, (H, W, C) = BATCH_NETWORKS["batch_norms"]
    network = Network(layers, InputSpec(H, W, C, scaling="unit"), backend="numpy", seed=2)
    with pytest.raises(tinycnn.train.DivergedError, match="the running statistics of bn2"):
        list(
            tinycnn.iter_epochs(
                network, Batches(), loss=CrossEntropy(), optimizer=AdamW(1e-2), n_epochs=1,
                callbacks=[BlowUp()],
            )
        )  # fmt: skip


def test_a_validation_loss_that_only_prediction_makes_infinite_is_blamed_on_a_layer():
    network = small_network("batch_norms", "numpy", np.float32)
    network.statistics["bn1.running_var"][:] = 1e-37
    network.statistics["bn1.running_mean"][:] = 1e30
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 5, 2), dtype=np.uint8)
    network.parameters["bn1.gamma"][:] = 1e20
    with np.errstate(over="ignore", invalid="ignore"):
        found = tinycnn.divergence.origin(network, images)
    assert not found.is_of_last_update and found.where.startswith("the output of")


def test_options_are_checked_and_stored():
    layer = BatchNorm(momentum=0, epsilon=np.float32(0.5))
    assert layer == layer_from_config(json.loads(json.dumps(layer.config())))
    assert dataclasses.asdict(layer)["momentum"] == 0.0
    for options, message in (
        (dict(momentum=1.0), "momentum is 1.0; expected a number of at least 0, below 1"),
        (dict(momentum=-0.1), "momentum is -0.1"),
        (dict(epsilon=-1e-5), "epsilon is -1e-05; expected a number of at least 0"),
        (dict(epsilon="small"), "epsilon is 'small'"),
    ):
        with pytest.raises(ValueError, match=message):
            BatchNorm(**options)
