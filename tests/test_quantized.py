"""Networks in 8-bit integers: the arithmetic, both backends, what they refuse, the file."""

import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
from small_networks import BATCH_NETWORKS, ENGINE_NETWORKS, small_network

import tinycnn
from tinycnn import (
    AveragePool2D,
    Conv2D,
    CustomLayer,
    Dense,
    Flatten,
    InputSpec,
    Network,
    ReLU,
    Residual,
)
from tinycnn.quantized.quantization import (
    MOST_PRODUCTS,
    Quantization,
    multipliers,
    quantization_of,
    quantized_weights,
    sum_factors,
)
from tinycnn.quantized.reference_program import ReferenceProgram
from tinycnn.testing import logit_error

SCALINGS = ("raw", "unit", "standardized")


def network_and_images(name, seed=0, n_images=9, **options):
    """A small network in float32, with a scaling that depends on its place in the list."""
    made = small_network(name, dtype=np.float32, seed=seed)
    H, W, C = made.input_spec.shape
    scaling = SCALINGS[list(ENGINE_NETWORKS).index(name) % 3]
    network = Network(made.layers, InputSpec(H, W, C, scaling=scaling), **options)
    network.parameter_vector[:] = made.parameter_vector
    images = np.random.default_rng(seed).integers(0, 256, (n_images, H, W, C), dtype=np.uint8)
    return network, images


def on_backend(quantized, backend, n_threads=1):
    return tinycnn.QuantizedNetwork(
        quantized.program, quantized.input_spec, backend=backend, n_threads=n_threads
    )


# ---- the arithmetic ----------------------------------------------------------------------------


def test_integers_of_values_by_hand():
    """Scale 0.5 and zero point 3: the integers 0 to 255 mean -1.5 to 126."""
    quantization = Quantization(np.float32(0.5), 3)
    values = np.array([-9.0, -1.5, 0.0, 0.25, 0.75, 1.25, 126.0, 1e30, np.inf, -np.inf, np.nan])
    expected = [0, 0, 3, 3, 5, 5, 255, 255, 255, 0, 3]  # 0.5, 1.5, 2.5: to the even number
    assert quantization.quantized(values).tolist() == expected
    assert quantization.values(np.array([0, 3, 255], np.uint8)).tolist() == [-1.5, 0.0, 126.0]


def test_the_range_holds_zero_exactly():
    for low, high in ((0.3, 5.0), (-4.0, -1.0), (-1.0, 254.0), (0.0, 0.0), (-1e-30, 0.0)):
        quantization = quantization_of(low, high)
        assert quantization.values(np.array(quantization.zero_point, np.uint8)) == 0
        ends = quantization.values(np.array([0, 255], np.uint8))
        assert ends[0] <= low + quantization.scale and ends[1] >= high - quantization.scale
    assert quantization_of(-1.0, 254.0) == (1.0, 1)


def test_weights_have_a_scale_for_each_filter():
    w = np.array([[1.0, 0.0, -127.0], [-2.0, 0.0, 63.6]], np.float32)
    weights = quantized_weights(w, np.array([4.0, 0.0, -1.0], np.float32), quantization_of(0, 255))
    np.testing.assert_array_equal(weights.scale, np.float32([2 / 127, 1, 1]))
    assert weights.w.tolist() == [[64, 0, -127], [-127, 0, 64]]  # 63.5: to the even number
    assert weights.b.tolist() == [254, 0, -1]


def test_a_large_bias_still_fits():
    w, b = np.full((3, 1), 1e-6, np.float32), np.array([1e6], np.float32)
    x = quantization_of(0, 1)
    weights = quantized_weights(w, b, x)
    assert abs(int(weights.b[0])) <= 2**30
    assert weights.b[0] * float(weights.scale[0]) * float(x.scale) == pytest.approx(1e6, rel=1e-6)


def test_sums_of_two_inputs_fit_in_32_bits():
    scales = (1e-6, 0.004, 1.0, 300.0, 1e12)
    for one, two, out in itertools.product(scales, repeat=3):
        y = Quantization(np.float32(out), 0)
        found = sum_factors(Quantization(np.float32(one), 0), Quantization(np.float32(two), 0), y)
        first, second, shift = found
        assert 255 * (first + second) + 2 ** (shift - 1) < 2**31
        if one <= out <= 100 * one:
            assert first / 2**shift == pytest.approx(one / out, rel=1e-3)


def naive_convolution(operation, q, x):
    """One output picture by equations (2) to (4) of quantization.py, in Python's integers."""
    KH, KW, SH, SW, PT, PL, _, _ = operation.step.window
    OH, OW, F = operation.shape
    w, b = operation.arrays["w"], operation.arrays["b"]
    m = multipliers(x, operation.arrays["scale"], operation.output)
    low, high = operation.limits
    z = operation.output.zero_point
    y = np.zeros((OH, OW, F), int)
    for i, j, f in itertools.product(range(OH), range(OW), range(F)):
        total = int(b[f])
        for a, e, c in itertools.product(range(KH), range(KW), range(q.shape[2])):
            h, v = i * SH - PT + a, j * SW - PL + e
            if 0 <= h < q.shape[0] and 0 <= v < q.shape[1]:
                total += (int(q[h, v, c]) - x.zero_point) * int(w[a, e, c, f])
        level = round(float(np.float32(np.float32(total) * m[f])))  # Python rounds halves to even
        y[i, j, f] = min(max(level + z, low), high)
    return y


@pytest.mark.parametrize("ceiling", [False, None, 0.6])
def test_a_convolution_in_plain_integers(ceiling):
    activation = [] if ceiling is False else [ReLU(ceiling)]
    layers = [Conv2D(3, (3, 2), stride=(2, 1)), *activation, Flatten(), Dense(2)]
    network = Network(layers, InputSpec(6, 5, 2, scaling="standardized"), backend="numpy")
    network.parameters["conv1.b"][:] = [-0.3, 0.1, 0.4]
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 2), dtype=np.uint8)
    quantized = network.quantized(images)
    program = quantized.program
    q = program.input.quantized(network.scale(images))
    found = ReferenceProgram(program).outputs(q)[0]
    expected = [naive_convolution(program.operations[0], one, program.input) for one in q]
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 20


# ---- whole networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
def test_both_backends_compute_the_same_integers(name):
    network, images = network_and_images(name, n_images=11)
    quantized = network.quantized(images)
    logits = [
        on_backend(quantized, *on).predict_logits(images) for on in (("numpy",), ("numba", 2))
    ]
    assert logits[0].dtype == logits[1].dtype == np.float32
    np.testing.assert_array_equal(logits[0], logits[1])
    alone = on_backend(quantized, "numba")
    np.testing.assert_array_equal(alone.predict_logits(images[3:4]), logits[0][3:4])
    np.testing.assert_array_equal(alone.forward(alone.scale(images)), logits[0])


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
def test_logits_are_near_those_in_float32(name):
    """8 bits have a step of 1/255 of the range; a few layers add up to some hundredths."""
    network, images = network_and_images(name, backend="numpy")
    error = logit_error(
        network.quantized(images).predict_logits(images), network.predict_logits(images)
    )
    assert error < 0.12


@pytest.mark.kernels
@pytest.mark.parametrize("C, F", [(1, 1), (3, 17), (5, 31), (16, 33), (32, 47), (7, 64)])
@pytest.mark.parametrize("size, stride", [(1, 1), (3, 1), (3, 2), ((2, 5), (1, 3))])
def test_awkward_shapes(C, F, size, stride):
    rng = np.random.default_rng(C * F)
    layers = [
        *(Conv2D(C, 1), Conv2D(F, size, stride), ReLU(), tinycnn.DepthwiseConv2D(3, stride)),
        *(tinycnn.MaxPool2D(2, 1), tinycnn.AveragePool2D(2), Flatten(), Dense(F), Dense(5)),
    ]
    network = Network(layers, InputSpec(7, 13, 2, scaling="unit"), backend="numpy")
    network.initialise(rng, bias_std=0.2)
    images = rng.integers(0, 256, (5, 7, 13, 2), dtype=np.uint8)
    quantized = network.quantized(images)
    expected = quantized.predict_logits(images)
    np.testing.assert_array_equal(on_backend(quantized, "numba").predict_logits(images), expected)


@pytest.mark.parametrize(
    "layers",
    [
        # the input of a convolution is flattened, too; a mean of each window as the last operation
        [Residual([Conv2D(3, 3), Flatten()], [Flatten(), Dense(90)]), Dense(3)],
        [Conv2D(2, 3), AveragePool2D(3), Flatten()],
        [Conv2D(2, 3), AveragePool2D((6, 5)), Flatten(), ReLU()],
    ],
)
def test_vectors_of_pictures(layers):
    network = Network(layers, InputSpec(6, 5, 1), seed=1)
    images = np.random.default_rng(0).integers(0, 256, (11, 6, 5), dtype=np.uint8)
    quantized = network.quantized(images)
    logits = quantized.predict_logits(images)
    assert logit_error(logits, network.predict_logits(images)) < 0.1
    np.testing.assert_array_equal(on_backend(quantized, "numpy").predict_logits(images), logits)


@pytest.mark.kernels
def test_extreme_integers_do_not_overflow():
    """Weights of +-127 and pixels of 255 in the longest sums that are allowed."""
    layers = [Flatten(), Dense(2)]
    n = MOST_PRODUCTS
    network = Network(layers, InputSpec(1, n, 1), backend="numpy")
    network.parameters["dense1.w"][:] = [1.0, -1.0]
    images = np.full((2, 1, n), 255, np.uint8)
    quantized = network.quantized(images)
    assert quantized.layers_in_float == ()
    logits = on_backend(quantized, "numba").predict_logits(images)
    np.testing.assert_array_equal(logits, quantized.predict_logits(images))
    np.testing.assert_allclose(logits[0], [255.0 * n, -255.0 * n], rtol=1e-6)


@dataclass(frozen=True)
class Square(CustomLayer):
    """y = x * x / 100"""

    def forward(self, x, parameters):
        return x * x / np.float32(100)

    def backward(self, x, y, dy, parameters):
        return dy * x / np.float32(50), {}


def with_own_layer(*layers):
    return Network(layers, InputSpec(6, 5, 1), seed=3)


def test_layers_without_integers_are_computed_in_float_and_named(tmp_path):
    networks = [
        with_own_layer(
            Conv2D(3, 3), Square(), Conv2D(2, 3), Square(), Square(), Flatten(), Dense(3)
        ),
        with_own_layer(Square(), Flatten(), Dense(3), Square()),
    ]
    images = np.random.default_rng(0).integers(0, 256, (11, 6, 5), dtype=np.uint8)
    for network, names in zip(
        networks, (["square1", "square2", "square3"], ["square1", "square2"])
    ):
        quantized = network.quantized(images)
        assert list(quantized.layers_in_float) == names
        assert f"{len(names)} in float32: square1" in repr(quantized)
        assert f"{len(names)} layers in float32" in str(quantized.summary())
        logits = quantized.predict_logits(images)
        assert logit_error(logits, network.predict_logits(images)) < 0.1
        np.testing.assert_array_equal(on_backend(quantized, "numpy").predict_logits(images), logits)
        path = tmp_path / "own.safetensors"
        tinycnn.save(quantized, path)
        again = tinycnn.load_quantized(path, custom_layers=[Square])
        np.testing.assert_array_equal(again.predict_logits(images), logits)


def test_sums_of_too_many_products_are_computed_in_float():
    network = Network([Flatten(), Dense(2)], InputSpec(1, MOST_PRODUCTS + 1, 1), backend="numpy")
    images = np.random.default_rng(0).integers(0, 256, (2, 1, MOST_PRODUCTS + 1), dtype=np.uint8)
    quantized = network.quantized(images)
    assert quantized.layers_in_float == ("dense1",)
    assert logit_error(quantized.predict_logits(images), network.predict_logits(images)) < 1e-5


@pytest.mark.jit("24 images of 84x84 pixels")
def test_the_shipped_network_keeps_its_answers():
    network = tinycnn.load_pretrained()
    images = np.random.default_rng(0).integers(0, 256, (24, 84, 84), dtype=np.uint8)
    images[12:] = np.linspace(0, 255, 84).astype(np.uint8) // (1 + images[12:] % 3)
    quantized = network.quantized(images)
    probs = quantized.predict_proba(images)
    assert np.abs(probs - network.predict_proba(images)).max() < 0.05
    assert quantized.calibration_temperature == network.calibration_temperature
    answers = [answer.label for answer in quantized.classify(images)]
    assert answers == [answer.label for answer in network.classify(images)]
    assert quantized.program.n_weight_bytes < 70_000


# ---- what it refuses ---------------------------------------------------------------------------


def small_quantized(name="residuals_with_batch_norms"):
    network, images = network_and_images(name, backend="numpy")
    return network.quantized(images), images


def test_it_only_predicts():
    quantized, images = small_quantized()
    with pytest.raises(TypeError, match="training=True: a quantised network only predicts: train"):
        quantized.forward(quantized.scale(images), training=True)
    for name in ("backward", "loss_and_gradients", "trained_vector", "parameters"):
        with pytest.raises(AttributeError, match="a quantised network only predicts"):
            getattr(quantized, name)
    with pytest.raises(AttributeError, match="has no attribute 'colour'$"):
        _ = quantized.colour
    with pytest.raises(TypeError, match="expected a tinycnn.Network"):
        tinycnn.fit(quantized, images, np.zeros(len(images), int))


def test_images_that_do_not_calibrate():
    network, images = network_and_images("miniature", backend="numpy")
    with pytest.raises(ValueError, match="calibration_images is empty"):
        network.quantized(images[:0])
    with pytest.raises(TypeError, match="dtype float64"):
        network.quantized(images.astype(float))
    network.parameters["conv1.w"][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="conv1 has values that are NaN or infinite"):
        network.quantized(images)


def test_a_network_in_float64_is_quantised_too():
    network = small_network("batch_norms", backend="numpy")
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 2), dtype=np.uint8)
    assert (
        logit_error(
            network.quantized(images).predict_logits(images), network.predict_logits(images)
        )
        < 0.1
    )


# ---- the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["prelu", "sigmoid_and_tanh", *BATCH_NETWORKS])
def test_the_file_gives_the_same_network(tmp_path, name):
    quantized, images = small_quantized(name)
    quantized.calibration_temperature, quantized.training_summary = 1.5, {"epochs": 3}
    path = tmp_path / "int8.safetensors"
    tinycnn.save(quantized, path)
    again = tinycnn.load_quantized(path, backend="numpy")
    np.testing.assert_array_equal(again.predict_proba(images), quantized.predict_proba(images))
    assert again.training_summary == {"epochs": 3}
    assert again.input_spec == quantized.input_spec
    tinycnn.save(again, tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_each_file_is_read_by_its_own_function(tmp_path):
    network, images = network_and_images("miniature", backend="numpy")
    tinycnn.save(network.quantized(images), tmp_path / "int8.safetensors")
    tinycnn.save(network, tmp_path / "float.safetensors")
    with pytest.raises(tinycnn.ModelFileError, match="tinycnn.load_quantized reads it"):
        tinycnn.load(tmp_path / "int8.safetensors")
    with pytest.raises(tinycnn.ModelFileError, match="no quantised network; tinycnn.load reads it"):
        tinycnn.load_quantized(tmp_path / "float.safetensors")
    with pytest.raises(ValueError, match="a quantised network is stored as it is"):
        tinycnn.save(network.quantized(images), tmp_path / "x.safetensors", dtype="float16")


def changed_tensors(tensors, description):
    """Tensors and descriptions that do not belong together, and what is said about each."""
    w, scale, b = (tensors[f"conv1.{name}"] for name in ("w", "scale", "b"))
    yield {**tensors, "conv1.w": w[:-1]}, {}, "expected int8"
    yield {**tensors, "conv1.w": np.full_like(w, -128)}, {}, "holds -128"
    yield {**tensors, "conv1.b": np.full_like(b, 2**31 - 1)}, {}, "beyond"
    yield {**tensors, "conv1.scale": scale * np.float32(np.nan)}, {}, "not usable"
    yield {**tensors, "conv9.w": w}, {}, "no layer has"
    yield {k: v for k, v in tensors.items() if k != "conv1.b"}, {}, "no tensor conv1.b"
    yield tensors, {"input": [0.0, 3]}, "a quantization is"
    yield tensors, {"input": [1.0, 256]}, "a quantization is"
    yield tensors, {"outputs": {}}, "conv1"
    yield tensors, {"version": 2}, "version 2"


def test_damaged_files(tmp_path):
    import safetensors.numpy

    quantized, _ = small_quantized("miniature")
    path = tmp_path / "int8.safetensors"
    tinycnn.save(quantized, path)
    from tinycnn.formats.safetensors import QUANTIZED_KEY, read

    tensors, metadata = read(path)
    description = json.loads(metadata[QUANTIZED_KEY])
    del description["crc32"]
    for other, changes, message in changed_tensors(tensors, description):
        text = json.dumps({**description, **changes})
        safetensors.numpy.save_file(other, path, {QUANTIZED_KEY: text})
        with pytest.raises(tinycnn.ModelFileError, match=message):
            tinycnn.load_quantized(path)
    safetensors.numpy.save_file({**tensors, "conv1.b": tensors["conv1.b"] + 1}, path, metadata)
    with pytest.raises(tinycnn.ModelFileError, match="checksum"):
        tinycnn.load_quantized(path)
