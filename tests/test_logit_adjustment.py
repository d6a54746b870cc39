"""Logit adjustment against equation (1) and against what it is meant for."""

import numpy as np
import pytest

import tinycnn
from tinycnn import Conv2D, Dense, Flatten, GlobalAveragePool2D, InputSpec, Network
from tinycnn.logit_adjustment import logit_offsets


def make(*last):
    return Network([Flatten(), *last], InputSpec(2, 2, scaling="unit"), backend="numpy")


def test_equation_1_up_to_a_constant():
    counts = np.array([900.0, 90.0, 9.0, 1.0])
    for strength in (0.0, 0.3, 1.0, 2.0):
        expected = -strength * np.log(counts / counts.sum())
        found = logit_offsets(counts, strength)
        np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-12)
        assert found[0] == 0


def test_with_strength_1_classes_count_as_if_equally_frequent():
    """Two normal distributions, 95 % of the first: Bayes' rule draws the border where both are
    equally likely after the adjustment, in the middle between them."""
    counts = np.array([95, 5])
    x = np.linspace(-3, 3, 601)
    logits = np.stack([-((x + 1) ** 2) / 2 + np.log(0.95), -((x - 1) ** 2) / 2 + np.log(0.05)], 1)

    def border(strength):
        return x[(logits + logit_offsets(counts, strength)).argmax(axis=1).argmax()]

    assert border(0.0) == pytest.approx(np.log(19) / 2, abs=0.011)
    assert border(1.0) == pytest.approx(0, abs=0.011)
    assert border(0.0) > border(0.5) > border(1.0)


def test_a_class_without_images_is_left_alone():
    assert logit_offsets([10, 0, 10]).tolist() == [0, 0, 0]
    assert logit_offsets([10, 0, 1])[1] == 0


def test_only_the_biases_of_the_last_layer_change():
    network = make(Dense(5), Dense(3))
    before = {name: value.copy() for name, value in network.parameters.items()}
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 2)).astype(np.uint8)
    logits = network.predict_logits(images)
    tinycnn.adjust_logits(network, [4, 2, 1], 0.5)
    offsets = logit_offsets([4, 2, 1], 0.5)
    for name, value in network.parameters.items():
        expected = before[name] + offsets if name == "dense2.b" else before[name]
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(network.predict_logits(images), logits + offsets, rtol=1e-5)


@pytest.mark.parametrize(
    "layers, counts, strength, message",
    [
        ([Dense(3)], [1, 2], 1.0, "2 class_counts for 3 classes"),
        ([Dense(3)], [0, 0, 0], 1.0, "numbers of 0 or more, not all 0"),
        ([Dense(3)], [1, -1, 1], 1.0, "numbers of 0 or more"),
        ([Dense(3)], [1, np.nan, 1], 1.0, "numbers of 0 or more"),
        ([Dense(3)], [1, 2, 3], -0.1, "strength is -0.1; expected a number of 0 or more"),
        ([Dense(3)], [1, 2, 3], np.nan, "strength is nan"),
        ([Dense(3)], [[1, 2, 3]], 1.0, "class_counts has shape"),
        ([Dense(3, use_bias=False)], [1, 2, 3], 1.0, "expected a Dense layer with biases"),
    ],
)
def test_refused(layers, counts, strength, message):
    network = make(*layers)
    kept = network.parameter_vector.copy()
    with pytest.raises(ValueError, match=message):
        tinycnn.adjust_logits(network, counts, strength)
    assert np.array_equal(network.parameter_vector, kept)
    with pytest.raises(TypeError, match="class_counts has dtype"):
        tinycnn.adjust_logits(network, ["a", "b", "c"])


def test_a_network_that_ends_in_a_pooling_is_refused():
    layers = [Conv2D(3, 3), GlobalAveragePool2D()]
    network = Network(layers, InputSpec(4, 4, scaling="unit"), backend="numpy")
    with pytest.raises(ValueError, match="the last layer is GlobalAveragePool2D"):
        tinycnn.adjust_logits(network, [1, 2, 3])
