"""Networks to export in tests: the sixteen of the paper and small odd ones, with each scaling."""

import numpy as np
from small_networks import SMALL_NETWORKS

from tinycnn import InputSpec, Network, models
from tinycnn.models import SIZES, VARIANTS

SIXTEEN = [(variant, size) for variant in VARIANTS for size in SIZES]
SCALINGS = ("raw", "unit", "standardized")


def candidate(variant="p12", size="XXS", scaling="raw", seed=2, **options):
    """A network of the paper's table with large random biases, on the reference."""
    network = models.microexpnet(
        variant, size, scaling=scaling, bias_std=0.5, seed=seed, backend="numpy", **options
    )
    return network


def awkward(name, scaling="raw"):
    """A small network by its name, on the reference."""
    layers, (H, W, C) = SMALL_NETWORKS[name]
    network = Network(layers, InputSpec(H, W, C, scaling=scaling), backend="numpy", seed=4)
    network.initialise(np.random.default_rng(4), bias_std=0.3)
    return network


def images_for(network, n_images=5, seed=9):
    """uint8 images that the exporters do not use for their own check; the last is constant."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n_images, *network.input_spec.shape), dtype=np.uint8)
    images[-1] = 200
    return images
