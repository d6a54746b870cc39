"""Networks for the export tests: the sixteen of the paper, unusual small ones, every scaling."""

import warnings

import numpy as np
from small_networks import SMALL_NETWORKS

from tinycnn import Conv2D, Dense, Flatten, InputSpec, Network, ReLU, models
from tinycnn.models import SIZES, VARIANTS

SIXTEEN = [(variant, size) for variant in VARIANTS for size in SIZES]
SCALINGS = ("raw", "unit", "standardized")


def expected_probs(network, images):
    """The network's probabilities, without the warning that one of the images is black."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return network.predict_proba(images)


def candidate(variant="p12", size="XXS", scaling="raw", seed=2, **options):
    """A network of the paper with biases large enough to matter, on the NumPy backend."""
    network = models.microexpnet(
        variant, size, scaling=scaling, bias_std=0.5, seed=seed, backend="numpy", **options
    )
    return network


def awkward(name, scaling="raw"):
    """The small network of that name, on the NumPy backend."""
    layers, (H, W, C) = SMALL_NETWORKS[name]
    network = Network(layers, InputSpec(H, W, C, scaling=scaling), backend="numpy", seed=4)
    network.initialise(np.random.default_rng(4), bias_std=0.3)
    return network


def in_colour():
    """Networks of small colour pictures with means and deviations of the channels, by name."""
    layers = [Conv2D(4, 3, stride=2), ReLU(), Flatten(), Dense(3)]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    specs = {
        "imagenet": dict(scaling="unit", mean=mean, std=std),
        "shifted": dict(scaling="raw", mean=(103.939, 116.779, 123.68)),
        "divided": dict(scaling="unit", std=std),
    }
    return {
        name: Network(layers, InputSpec(7, 5, 3, **spec), backend="numpy", seed=4)
        for name, spec in specs.items()
    }


def images_for(network, n_images=5, seed=9):
    """uint8 images, different from those of the exporters' own check; the last is constant."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n_images, *network.input_spec.shape), dtype=np.uint8)
    images[-1] = 200
    return images
