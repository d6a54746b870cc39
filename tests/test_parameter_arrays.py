"""Parameters may be changed in every way that there is, at any time, and predictions follow.  Those
of a network that is only used are not compared before each prediction."""

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS, small_batch, small_network

import tinycnn
from tinycnn import BatchNorm, Conv2D, Dense, Flatten, GlobalAveragePool2D, InputSpec, Network, ReLU
from tinycnn.formats.safetensors import from_bytes, to_bytes

KERNELS = pytest.mark.kernels
BACKENDS = pytest.mark.parametrize("backend", [pytest.param("numba", marks=KERNELS), "numpy"])

# Winograd; a convolution and dense layers with so many columns that they are packed; BatchNorm
# behind each kind
LAYERS = [
    *(Conv2D(16, 3), BatchNorm(), ReLU(), Conv2D(128, 1), BatchNorm(), ReLU()),
    *(Flatten(), Dense(256), BatchNorm(), ReLU(), Dense(128), Dense(4)),
]


def network_of(backend="numba", dtype=np.float32, seed=3):
    network = Network(LAYERS, InputSpec(6, 5, 3), backend=backend, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    network.set_parameters(
        {
            name: np.where(a > 0, rng.uniform(0.5, 1.5, a.shape) * a, a + 0.1)
            for name, a in parts(network).items()
        }
    )
    return network


def parts(network):
    return {**network._parameters, **network._statistics}


def images(n=1, dtype=np.float32):
    return np.random.default_rng(n).normal(size=(n, 6, 5, 3)).astype(dtype)


def loaded(network):
    return from_bytes(to_bytes(network), backend=network.backend)


def predicted_anew(network, x):
    """By a network with the same parameters that has not predicted before."""
    fresh = Network(LAYERS, network.input_spec, backend=network.backend, dtype=network.dtype)
    fresh.parameter_vector[:] = network._parameter_vector
    return fresh.forward(x)


@pytest.fixture
def comparisons(monkeypatch):
    """How often parameters were compared."""
    from tinycnn.kernels import program

    found, compare = [], program.program_same_values
    monkeypatch.setattr(
        program, "program_same_values", lambda *given: found.append(1) or compare(*given)
    )
    return found


# ---- changes -----------------------------------------------------------------------------------


def set_parameters(network):
    network.set_parameters({"conv1.w": -network._parameters["conv1.w"]})


def set_statistics(network):
    network.set_parameters({"bn1.running_mean": 1 + network._statistics["bn1.running_mean"]})


def set_dense_weights(network):
    network.set_parameters({"dense1.w": 2 * network._parameters["dense1.w"]})


def edit_parameters(network):
    network.parameters["conv2.w"][0, 0, 0, 7] += 1


def edit_dense_weights(network):
    network.parameters["dense2.w"][5, 3] += 1


def edit_statistics(network):
    network.statistics["bn2.running_var"][:] *= 2


def edit_the_vector(network):
    network.parameter_vector *= 0.5


def assign_the_vector(network):
    network.parameter_vector = 0.5 * network.parameter_vector


def edit_what_is_trained(network):
    network.trained_vector += 0.01


def train_a_step(network):
    """It changes the running statistics alone."""
    network.forward(1 + images(8, network.dtype), training=True)


def initialise(network):
    seed = network._parameters["conv1.w"].view(np.uint8).sum()  # another one each time
    network.initialise(np.random.default_rng(seed))


CHANGES = [
    *(set_parameters, set_statistics, set_dense_weights, edit_parameters, edit_dense_weights),
    *(edit_statistics, edit_the_vector, assign_the_vector, edit_what_is_trained, train_a_step),
    initialise,
]


@BACKENDS
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("n_images", [1, 5])
def test_predictions_follow_every_change(change, n_images, backend):
    network, x = loaded(network_of(backend)), images(n_images)
    before = network.forward(x)
    for _ in range(2):
        change(network)
        found = network.forward(x)
        np.testing.assert_array_equal(found, predicted_anew(network, x))
        assert (found != before).any()
        before = found


@KERNELS
@pytest.mark.parametrize("name", ["parameters", "statistics"])
def test_an_array_that_was_asked_for_before_may_be_edited_later(name):
    network, x = loaded(network_of()), images(3)
    arrays = getattr(network, name)
    for array in arrays.values():
        before = network.forward(x)
        array[...] += 0.01
        found = network.forward(x)
        assert (found != before).any()
        np.testing.assert_array_equal(found, predicted_anew(network, x))


@KERNELS
def test_a_layer_of_the_users_own_may_change_its_parameters():
    class Counter(tinycnn.CustomLayer):
        def output_shape(self, input_shape):
            return input_shape

        def parameter_shapes(self, input_shape):
            return {"n": (1,)}

        def forward(self, x, parameters):
            parameters["n"] += 1
            return x * parameters["n"]

        def backward(self, x, y, dy, parameters):
            return dy * parameters["n"], {"n": np.zeros(1)}

    layers = [Conv2D(16, 3), ReLU(), GlobalAveragePool2D(), Dense(3), Counter()]
    network = Network(layers, InputSpec(8, 8, 16), seed=1)
    assert network._may_change_unseen


# ---- comparisons -------------------------------------------------------------------------------


@KERNELS
def test_a_network_that_is_only_used_is_not_compared(comparisons):
    network, x = loaded(network_of()), images()
    network.forward(x)  # compiling calls it, too
    comparisons.clear()
    for _ in range(3):
        network.forward(x)
    assert comparisons == []
    network.set_parameters({"conv1.b": np.ones(16)})
    network.forward(x)
    to_bytes(network)
    assert comparisons == []
    assert network.parameters
    network.forward(x)
    assert comparisons


@KERNELS
@pytest.mark.parametrize("n_images", [1, 2, 31, 70])
def test_the_bits_are_the_same_with_and_without_comparisons(n_images):
    """With packed weights of dense layers and without."""
    network, x = loaded(network_of()), images(n_images)
    private = network.forward(x)
    derived = network._run.folded.value
    sizes = derived.table.sizes
    assert derived.prepared.value.size == sizes.n_prepared + sizes.n_packed
    assert network.parameters
    np.testing.assert_array_equal(network.forward(x), private)
    assert derived.prepared.value.size == sizes.n_prepared


@KERNELS
@pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_networks_predict_the_same_from_a_file(name, dtype):
    network, x = small_network(name, "numba", dtype), small_batch(name, 5, dtype=dtype)
    again = from_bytes(to_bytes(network), backend="numba")
    np.testing.assert_array_equal(again.forward(x), network.forward(x))


# ---- set_parameters ----------------------------------------------------------------------------


SHAPE = r"conv1.w has shape \(3, 3, 16\); expected \(3, 3, 3, 16\)"


@pytest.mark.parametrize(
    "name, value, error, message",
    [
        ("conv9.w", np.zeros(3), ValueError, "no parameter conv9.w; it has conv1.w, "),
        ("conv1.w", np.zeros((3, 3, 16)), ValueError, SHAPE),
        ("conv2.b", np.zeros(128, int), TypeError, "conv2.b has dtype int64; expected floats"),
        ("conv2.b", [0.0] * 128, TypeError, "conv2.b is a list; expected a NumPy array"),
    ],
)
def test_wrong_parameters_change_nothing(name, value, error, message):
    network = network_of("numpy")
    before = network._parameter_vector.copy()
    with pytest.raises(error, match=message):
        network.set_parameters({"conv1.b": np.ones(16), name: value})
    np.testing.assert_array_equal(network._parameter_vector, before)


def test_the_name_in_other_libraries_is_answered():
    with pytest.raises(AttributeError, match="use network.set_parameters, with arrays by name"):
        network_of("numpy").set_weights([])
