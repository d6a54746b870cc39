"""Residual networks for 48x48 faces."""

import numpy as np
import pytest

from tinycnn import models
from tinycnn.models.residual48 import LARGE, SMALL


def kinds(network):
    return " ".join(type(layer).__name__ for layer in network.layers)


def test_the_layers():
    stage = "Conv2D BatchNorm ReLU MaxPool2D"
    blocks = "Residual ReLU"
    network = models.residual48(backend="numpy")
    expected = f"{stage} {stage} {blocks} {stage} {blocks} GlobalAveragePool2D Dense"
    assert kinds(network) == expected
    large = models.residual48(
        filters=LARGE.filters, n_blocks=2, dropout=0.3, backend="numpy", batch_norm=False
    )
    stage = "Conv2D ReLU MaxPool2D"
    blocks = "Residual ReLU Residual ReLU"
    expected = f"{stage} {stage} {blocks} {stage} {blocks} GlobalAveragePool2D Dropout Dense"
    assert kinds(large) == expected


@pytest.mark.parametrize("widths", [SMALL, LARGE], ids=["small", "large"])
def test_the_number_of_parameters(widths):
    """Counted by hand: a 3x3 convolution and its BatchNorm have 9 * a * b + 2 * b, which folding
    makes 9 * a * b + b."""
    filters, n_blocks = widths
    pairs = list(zip((1, *filters), filters))
    pairs += [(width, width) for width in filters[1:] for _ in range(2 * n_blocks)]
    dense = (filters[-1] + 1) * 8
    network = models.residual48(filters=filters, n_blocks=n_blocks, backend="numpy")
    assert network.n_parameters == sum(9 * a * b + 2 * b for a, b in pairs) + dense
    folded = network.folded()
    assert folded.n_parameters == sum(9 * a * b + b for a, b in pairs) + dense


def test_classes_and_input():
    network = models.residual48(("no", "yes"), framing="paper", backend="numpy", seed=3)
    spec = network.input_spec
    assert spec.shape == (48, 48, 1) and spec.classes == ("no", "yes") and spec.framing == "paper"
    assert models.residual48(5, backend="numpy").classes == ("0", "1", "2", "3", "4")
    assert models.residual48(backend="numpy").classes == models.CLASSES
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    again = models.residual48(("no", "yes"), framing="paper", backend="numpy", seed=3)
    logits = network.predict_logits(images)
    assert logits.shape == (3, 2) and np.array_equal(logits, again.predict_logits(images))
    other = models.residual48(("no", "yes"), backend="numpy", seed=4)
    assert not np.array_equal(logits, other.predict_logits(images))
