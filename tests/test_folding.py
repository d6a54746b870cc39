"""Folding: the same function without BatchNorm, in as few layers as possible."""

import threading

import numpy as np
import pytest
from small_networks import BATCH_NETWORKS, ENGINE_NETWORKS, small_batch, small_network

from tinycnn import (
    Adam,
    Conv2D,
    CrossEntropy,
    Dense,
    Dropout,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
)
from tinycnn.layers import (
    AveragePool2D,
    BatchNorm,
    DepthwiseConv2D,
    GlobalAveragePool2D,
    Residual,
    ScaleShift,
)
from tinycnn.reference_backend import PASSES
from tinycnn.testing import logit_error

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])


def network_of(layers, shape=(6, 5, 3), backend="numpy", dtype=np.float64, seed=2):
    """With values that differ from channel to channel, as training leaves them."""
    network = Network(layers, InputSpec(*shape), backend=backend, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    network.initialise(rng, bias_std=0.5)
    for arrays in (network.parameters, network.statistics):
        for name, values in arrays.items():
            if not name.endswith((".w", ".b")):
                values[:] = rng.uniform(0.3, 2, values.shape) * rng.choice([1, -1], values.shape)
            if name.endswith("running_var"):
                values[:] = np.abs(values)
    return network


def batch_of(network, n_images=3):
    shape = (n_images, *network.input_spec.shape)
    return np.random.default_rng(5).standard_normal(shape).astype(network.dtype)


def kinds(layers):
    """Names of the layers' classes; of a residual, those of its branches."""
    found = []
    for layer in layers:
        found.append(type(layer).__name__)
        if isinstance(layer, Residual):
            found[-1] = [kinds(layer.layers), kinds(layer.shortcut)]
    return found


def runs(layers):
    """Whether the reference has all these layers."""
    return all(
        type(layer) in PASSES if not isinstance(layer, Residual) else True for layer in layers
    )


SAME, VALID = dict(padding="same"), dict(padding="valid")
END = [Flatten(), Dense(3)]

FOLDS = {
    # into the layer before
    "conv": ([Conv2D(4, 3), BatchNorm(), ReLU(), *END], ["Conv2D", "ReLU", "Flatten", "Dense"]),
    "without_bias": (
        [Conv2D(4, 3, use_bias=False), BatchNorm(), *END],
        ["Conv2D", "Flatten", "Dense"],
    ),
    "dense": ([Flatten(), Dense(3), BatchNorm()], ["Flatten", "Dense"]),
    "dense_without_bias": (
        [Flatten(), Dense(3, use_bias=False), BatchNorm()],
        ["Flatten", "Dense"],
    ),
    "depthwise": (
        [DepthwiseConv2D(3, depth_multiplier=2, use_bias=False), BatchNorm(), *END],
        ["DepthwiseConv2D", "Flatten", "Dense"],
    ),
    "twice": ([Conv2D(4, 3), BatchNorm(), BatchNorm(), *END], ["Conv2D", "Flatten", "Dense"]),
    "scale": (
        [ScaleShift(), BatchNorm(), ReLU(), *END],
        ["ScaleShift", "ReLU", "Flatten", "Dense"],
    ),
    # into a layer behind
    "behind_relu": (
        [Flatten(), Dense(4), ReLU(), BatchNorm(), Dropout(0.5), Dense(3)],
        ["Flatten", "Dense", "ReLU", "Dropout", "Dense"],
    ),
    "through_flatten": (
        [Conv2D(4, 3), ReLU(), BatchNorm(), *END],
        ["Conv2D", "ReLU", "Flatten", "Dense"],
    ),
    "into_valid": (
        [BatchNorm(), Conv2D(4, 3, **VALID), ReLU(), BatchNorm(), Conv2D(2, 1), *END],
        ["Conv2D", "ReLU", "Conv2D", "Flatten", "Dense"],
    ),
    "into_depthwise": (
        [BatchNorm(), DepthwiseConv2D(3, depth_multiplier=2, **VALID), *END],
        ["DepthwiseConv2D", "Flatten", "Dense"],
    ),
    "through_averages": (
        [Conv2D(4, 3), ReLU(), BatchNorm(), AveragePool2D(2), GlobalAveragePool2D(), Dense(3)],
        ["Conv2D", "ReLU", "AveragePool2D", "GlobalAveragePool2D", "Dense"],
    ),
    "into_scale": (
        [Conv2D(4, 3), ReLU(), BatchNorm(), ScaleShift(), ReLU(), *END],
        ["Conv2D", "ReLU", "ScaleShift", "ReLU", "Flatten", "Dense"],
    ),
    # where neither is possible
    "padding": (
        [Conv2D(4, 3), ReLU(), BatchNorm(), Conv2D(2, 3), *END],
        ["Conv2D", "ReLU", "ScaleShift", "Conv2D", "Flatten", "Dense"],
    ),
    "padded_average": (
        [BatchNorm(), AveragePool2D(2, count_padding=True), *END],  # 5 pixels: one of padding
        ["ScaleShift", "AveragePool2D", "Flatten", "Dense"],
    ),
    "maximum": (  # of negative scales, it would be a minimum
        [Conv2D(4, 3), MaxPool2D(2), BatchNorm(), MaxPool2D(2), *END],
        ["Conv2D", "MaxPool2D", "ScaleShift", "MaxPool2D", "Flatten", "Dense"],
    ),
    "last": ([*END, ReLU(), BatchNorm()], ["Flatten", "Dense", "ReLU", "ScaleShift"]),
    # branches: what a residual takes is also the shortcut's
    "residuals": (
        [
            *(Conv2D(4, 3), BatchNorm(), ReLU()),
            Residual([BatchNorm(), ReLU(), Conv2D(4, 3), BatchNorm()], [BatchNorm()]),
            *(BatchNorm(), Residual([Dropout(0.5)]), *END),
        ],
        [
            *("Conv2D", "ReLU", [["ScaleShift", "ReLU", "Conv2D"], ["ScaleShift"]]),
            *("ScaleShift", [["Dropout"], []], "Flatten", "Dense"),
        ],
    ),
}


@pytest.mark.parametrize("name", FOLDS)
def test_where_a_batch_norm_goes(name):
    layers, expected = FOLDS[name]
    if not runs(layers):
        pytest.skip("a layer of this network does not run yet")
    network = network_of(layers)
    before = network.parameter_vector.copy()
    folded = network.folded()
    assert kinds(folded.layers) == expected
    assert not folded.statistics and network.statistics
    x = batch_of(network)
    assert logit_error(folded.forward(x), network.forward(x)) <= 1e-13
    np.testing.assert_array_equal(network.parameter_vector, before)


def test_a_shift_of_0_goes_into_a_padded_convolution():
    network = network_of([Conv2D(4, 3), ReLU(), BatchNorm(), Conv2D(2, 3), *END])
    mean, var = network.statistics.values()
    scale = network.parameters["bn1.gamma"] / np.sqrt(var + 1e-5)
    network.parameters["bn1.beta"][:] = mean * scale
    folded = network.folded()
    assert kinds(folded.layers) == ["Conv2D", "ReLU", "Conv2D", "Flatten", "Dense"]
    x = batch_of(network)
    assert logit_error(folded.forward(x), network.forward(x)) <= 1e-13


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
@pytest.mark.parametrize("dtype, allowance", [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_prediction_of_both_backends_and_of_the_folded_network(name, dtype, allowance):
    """The kernels fold, the reference does not."""
    kernels, reference = (small_network(name, backend, dtype) for backend in ("numba", "numpy"))
    x = small_batch(name, 11, dtype=dtype)
    expected = reference.forward(x)
    assert logit_error(kernels.forward(x), expected) <= allowance
    folded = reference.folded()
    assert folded.dtype == dtype and not folded.statistics
    assert logit_error(folded.forward(x), expected) <= allowance
    if name not in BATCH_NETWORKS:
        assert folded.layers == reference.layers
        np.testing.assert_array_equal(folded.forward(x), expected)


def test_a_folded_network_is_a_network_like_any_other():
    network = small_network("batch_norms", "numpy", n_threads=2)
    network.training_summary, network.calibration_temperature = {"epoch": 3}, 1.5
    folded = network.folded()
    assert folded.input_spec == network.input_spec and folded.n_threads == 2
    assert folded.training_summary == {"epoch": 3} and folded.calibration_temperature == 1.5
    folded.parameters["conv1.w"][:] = 0
    assert network.parameters["conv1.w"].any()
    again = network.folded().folded()
    np.testing.assert_array_equal(again.parameter_vector, network.folded().parameter_vector)


# ---- prediction on the kernels, which folds by itself --------------------------------------------


@pytest.mark.parametrize("changed", ["parameters", "statistics"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prediction_notices_what_changes(changed, dtype):
    network = small_network("batch_norms", "numba", dtype)
    x = small_batch("batch_norms", 5, dtype=dtype)
    before = network.forward(x)
    folded = network._run.folded
    np.testing.assert_array_equal(network.forward(x), before)
    assert network._run.folded is folded  # folded once
    for values in getattr(network, changed).values():
        values[0] += 0.25
    assert np.abs(network.forward(x) - before).max() > 1e-3
    allowance = 1e-13 if dtype == np.float64 else 2e-6
    assert logit_error(network.forward(x), network.folded().forward(x)) < allowance
    for values in getattr(network, changed).values():
        values[0] -= 0.25
    np.testing.assert_allclose(
        network.forward(x), before, rtol=1e-4 if dtype == np.float32 else 1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prediction_reads_weights_of_dense_layers_where_they_are(dtype):
    """They are not compared, and a change of them alone folds nothing again."""
    layers = [
        Flatten(),
        Dense(7),
        BatchNorm(),
        ReLU(),
        BatchNorm(),
        Dense(5),
        Dense(3),
        BatchNorm(),
    ]
    network = network_of(layers, backend="numba", dtype=dtype)
    x = batch_of(network)
    tolerance = 1e-13 if dtype == np.float64 else 2e-6
    network.forward(x)
    folded = network._run.folded
    for name in ("dense1.w", "dense2.w", "dense3.w"):
        before = network.forward(x)
        network.parameters[name][0] += 0.5
        assert np.abs(network.forward(x) - before).max() > 1e-3, name
        assert network._run.folded is folded
        assert logit_error(network.forward(x), network.folded().forward(x)) < tolerance
    network.parameters["dense2.b"][0] += 0.5
    assert logit_error(network.forward(x), network.folded().forward(x)) < tolerance
    assert network._run.folded is not folded


def test_a_training_step_changes_what_is_predicted():
    network = small_network("residuals_with_batch_norms", "numba")
    x = small_batch("residuals_with_batch_norms", 9)
    labels, optimizer = np.arange(9) % 3, Adam(1e-2)
    for _ in range(3):
        network.loss_and_gradients(x, CrossEntropy(), labels)
        optimizer.step(network.trained_vector, network.trained_gradients)
        np.testing.assert_array_equal(network.forward(x), network.folded().forward(x))


def test_threads_that_predict_at_the_same_time_fold_alike():
    network, alone = (small_network("batch_norms", "numba", n_threads=1) for _ in range(2))
    x = small_batch("batch_norms", 3)
    before = alone.forward(x).tobytes()
    network._run  # made; folded parameters are not, after the next line
    for one in (network, alone):
        one.parameters["bn1.gamma"][:] += 1
    changed = alone.forward(x).tobytes()
    found, start = [], threading.Barrier(4)

    def predict():
        start.wait()
        found.append(network.forward(x).tobytes())

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [changed] * 4 and changed != before
