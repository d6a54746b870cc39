"""MicroExpNet: the paper's table of sizes, and the published network's own logits."""

import numpy as np
import pytest

from tinycnn import models
from tinycnn.models import CLASSES, SIZES, VARIANTS
from tinycnn.testing import logit_error

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])

PAPER_PARAMETERS = {
    "M": (1_002_808, 900_920),
    "S": (257_656, 232_184),
    "XS": (133_464, 120_728),
    "XXS": (71_368, 65_000),
}
"""As the paper's table has them: variants v and p1, variant p12."""

DENSE_UNITS = {"M": (256, 768), "S": (64, 192), "XS": (32, 96), "XXS": (16, 48)}
"""v and p1, p2 and p12."""


def halved(size, stride=2):
    """ "same" padding: ceil(size / stride)."""
    return (size + stride - 1) // stride


def shapes_by_hand(variant, size, n_classes=8):
    """(shape after each convolution and pooling, number of parameters), by the paper's figure."""
    units = DENSE_UNITS[size][variant in ("p2", "p12")]
    side = halved(84, 2 if variant in ("p1", "p12") else 4)
    shapes = [(side, side, 16)]
    if variant in ("p1", "p12"):
        side = halved(side)
        shapes.append((side, side, 16))
    side = halved(side)
    shapes.append((side, side, 32))
    if variant in ("p2", "p12"):
        side = halved(side)
        shapes.append((side, side, 32))
    convolutions = 8 * 8 * 1 * 16 + 16 + 4 * 4 * 16 * 32 + 32
    dense = side * side * 32 * units + units + units * n_classes + n_classes
    return shapes, convolutions + dense


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_of_all_sixteen_networks(variant, size):
    network = models.microexpnet(variant, size, backend="numpy")
    shapes, n_parameters = shapes_by_hand(variant, size)
    assert network.n_parameters == n_parameters
    assert n_parameters == PAPER_PARAMETERS[size][variant in ("p2", "p12")]
    steps = [s for s in network.plan.steps if s.name.startswith(("conv", "pool"))]
    assert [s.output_shape for s in steps] == shapes
    assert network.plan.output_shape == (8,)


def test_there_are_sixteen_networks():
    assert tuple(VARIANTS) == ("v", "p1", "p2", "p12") and SIZES == ("M", "S", "XS", "XXS")


def test_microexpnet_layer_by_layer():
    """Every layer as the paper describes it."""
    network = models.microexpnet(backend="numpy")
    assert network.n_parameters == 65_000
    assert [(s.name, s.output_shape) for s in network.plan.steps] == [
        ("conv1", (42, 42, 16)),
        ("relu1", (42, 42, 16)),
        ("pool1", (21, 21, 16)),
        ("conv2", (11, 11, 32)),
        ("relu2", (11, 11, 32)),
        ("pool2", (6, 6, 32)),
        ("flatten1", (1152,)),
        ("dense1", (48,)),
        ("relu3", (48,)),
        ("dense2", (8,)),
    ]
    layers = {step.name: (step.layer, step.input_shape) for step in network.plan.steps}
    pads = {
        name: [(axis.before, axis.after) for axis in layers[name][0].axes(layers[name][1])]
        for name in ("conv1", "pool1", "conv2", "pool2")
    }
    assert pads == {
        "conv1": [(3, 3)] * 2,
        "pool1": [(0, 0)] * 2,
        "conv2": [(1, 2)] * 2,
        "pool2": [(0, 1)] * 2,
    }
    assert {name: p.shape for name, p in network.parameters.items()} == {
        "conv1.w": (8, 8, 1, 16),
        "conv1.b": (16,),
        "conv2.w": (4, 4, 16, 32),
        "conv2.b": (32,),
        "dense1.w": (1152, 48),
        "dense1.b": (48,),
        "dense2.w": (48, 8),
        "dense2.b": (8,),
    }
    assert (
        network.classes
        == CLASSES
        == tuple("neutral anger contempt disgust fear happy sadness surprise".split())
    )
    assert network.input_spec.scaling == "raw" and network.input_spec.shape == (84, 84, 1)


def test_multiply_adds():
    """2.85 million multiply-adds per image, as computed by hand."""
    macs = 0
    for step in models.microexpnet(backend="numpy").plan.steps:
        for name, shape in step.layer.parameter_shapes(step.input_shape).items():
            if name == "w":
                macs += int(np.prod(shape)) * int(np.prod(step.output_shape[:-1]))
    assert macs == pytest.approx(2.85e6, rel=2e-3)


def test_options():
    network = models.microexpnet(
        "p1",
        "S",
        n_classes=3,
        classes=["a", "b", "c"],
        scaling="unit",
        dropout=0.4,
        bias_std=0,
        framing="paper",
        backend="numpy",
        dtype=np.float64,
    )
    assert network.classes == ("a", "b", "c") and network.dtype == np.float64
    assert network.input_spec.framing == "paper" and network.input_spec.scaling == "unit"
    assert network.n_parameters == shapes_by_hand("p1", "S", 3)[1]
    names = [step.name for step in network.plan.steps]
    assert names[-3:] == ["relu3", "dropout1", "dense2"]
    assert network.plan.steps[-2].layer.rate == 0.4
    assert not any(p.any() for name, p in network.parameters.items() if name.endswith(".b"))
    assert models.microexpnet(n_classes=7, backend="numpy").classes == tuple("0123456")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(variant="p3"), "variant is 'p3'; expected one of v, p1, p2, p12"),
        (dict(size="xxs"), "size is 'xxs'; expected one of M, S, XS, XXS, or a number of units"),
        (dict(size=0), "size is 0; expected one of"),
        (dict(size=True), "size is True; expected one of"),
        (dict(n_classes=0), "units is 0"),
        (dict(n_classes=8, classes=["a"]), "1 class names for 8 logits"),
        (dict(dropout=1.0), "rate is 1.0"),
        (dict(scaling="tanh"), "scaling is 'tanh'"),
        (dict(bias_std=-1.0), "std=-1.0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.microexpnet(**{"backend": "numpy", **arguments})


# ---- the published network -------------------------------------------------------------------

PUBLISHED_NAMES = {
    **{"wc1": "conv1.w", "bc1": "conv1.b", "wc2": "conv2.w", "bc2": "conv2.b"},
    **{"wfc": "dense1.w", "bfc": "dense1.b", "wo": "dense2.w", "bo": "dense2.b"},
}


@pytest.fixture(scope="module")
def published(shared):
    """(weights under our names, 128 images, the logits that TensorFlow gave for them)."""
    folder = shared / "data" / "microexpnet_ck"
    with np.load(folder / "weights.npz") as weights:
        assert set(weights) == set(PUBLISHED_NAMES)
        parameters = {PUBLISHED_NAMES[name]: weights[name] for name in weights}
    with np.load(folder / "reference.npz") as reference:
        images = np.concatenate([reference["random_images"], reference["face_images"]])
        logits = np.concatenate([reference["random_logits"], reference["face_logits"]])
    assert images.shape == (128, 84, 84) and images.dtype == np.uint8
    return parameters, images, logits


def with_weights(parameters, backend, dtype):
    network = models.microexpnet(backend=backend, dtype=dtype)
    for name, value in parameters.items():
        assert network.parameters[name].shape == value.shape
        network.parameters[name][:] = value
    return network


@BACKENDS
def test_the_published_networks_logits(published, backend):
    parameters, images, expected = published
    network = with_weights(parameters, backend, np.float32)
    logits = network.predict_logits(images)
    assert logits.dtype == np.float32
    for part in (slice(0, 64), slice(64, 128), slice(0, 128)):  # random, faces, all
        assert logit_error(logits[part], expected[part]) <= 1e-5
    np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))
    training = network.forward(network.scale(images), training=True)
    assert logit_error(training, expected) <= 1e-5
    assert np.abs(expected).max() > 30 and len(set(expected.argmax(axis=1))) > 3


@BACKENDS
def test_the_published_networks_logits_in_float64(published, backend):
    """An absolute difference of 3e-5 is TensorFlow's own rounding; its logits reach 40 here."""
    parameters, images, expected = published
    logits = with_weights(parameters, backend, np.float64).predict_logits(images)
    assert np.abs(logits - expected).max() <= 3e-5
    assert logit_error(logits, expected.astype(np.float64)) <= 1e-6
    np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


def test_one_changed_weight_would_be_noticed(published):
    """The comparison above would notice a single wrong weight."""
    parameters, images, expected = published
    network = with_weights(parameters, "numba", np.float32)
    network.parameters["conv1.b"][3] += 0.1
    assert logit_error(network.predict_logits(images), expected) > 1e-5
    network = with_weights(parameters, "numba", np.float32)
    network.parameters["conv1.w"][:] = network.parameters["conv1.w"][::-1].copy()
    assert logit_error(network.predict_logits(images), expected) > 1e-2


def test_any_number_of_units():
    """1161 parameters per unit and 9,272 others: 20 units are half of MicroExpNet, 6 a quarter."""
    for units, n_parameters in ((48, 65_000), (20, 32_492), (6, 16_238)):
        assert models.microexpnet(size=units, backend="numpy").n_parameters == n_parameters
