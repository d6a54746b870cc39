"""The scores of a network on labelled images that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import metrics
from .image_arrays import check_content, check_images
from .labels import check_labels
from .layers import Layer
from .losses import CrossEntropy, check_targets, softmax
from .network import Network

BEST_BY = ("accuracy", "loss")


@dataclass(frozen=True, repr=False)
class Validation:
    """Held-out images (N, H, W[, C]) uint8 with labels (N,).

    targets  distributions (N, K) for the validation loss, if there is more than one label for an
             image (votes); None: the labels
    best_by  one of BEST_BY: the best epoch is the one with the highest accuracy on these images, or
             the one with the lowest loss.  Of few images, the loss says more: of 10, the accuracy
             has 11 values
    Raises ValueError for another best_by.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None = None
    best_by: str = "accuracy"

    def __post_init__(self) -> None:
        if self.best_by not in BEST_BY:
            raise ValueError(f"best_by is {self.best_by!r}; expected one of {', '.join(BEST_BY)}")

    def __repr__(self) -> str:
        return f"<Validation: {len(self.images):,} images>"

    def check(self, network: Network) -> None:
        """Raise what `evaluate` would raise for these images, labels and targets: TypeError or
        ValueError."""
        images = check_images(self.images, network.input_spec)
        checked = check_labels(self.labels, network.classes, len(images))
        truth = checked.targets if self.targets is None else self.targets
        check_targets(truth, (len(images), len(network.classes)), network.dtype)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The scores of a network on labelled images: the mean cross-entropy of its logits (not
    calibrated), the share of images classified correctly, and the calibrated probabilities (N,
    K)."""

    loss: float
    accuracy: float
    probs: np.ndarray

    def __repr__(self) -> str:
        n_images = len(self.probs)
        return f"<Evaluation: {n_images:,} images, loss {self.loss:.4g}, {self.accuracy:.1%} right>"


def evaluate(
    network: Network,
    images: np.ndarray,
    labels: npt.ArrayLike,
    targets: np.ndarray | None = None,
) -> Evaluation:
    """Score `network` on uint8 images (N, H, W[, C]).

    labels   of every kind that `fit` takes
    targets  (N, K) distributions for the loss, or None: the labels
    Warns if all images are blank.  Errors as `Network.predict_proba`, `fit` for labels, and
    `CrossEntropy` for targets.
    """
    check_network(network)
    network.load_kernels()  # so that scores do not depend on what was predicted before
    logits = network.predict_logits(images)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        check_content(images, stacklevel=3, only_if_all=True)
    checked = check_labels(labels, network.classes, len(logits))
    truth = checked.targets if targets is None else targets
    loss, _ = CrossEntropy()(logits, truth, backend=network.backend)
    probs = softmax(logits, network.calibration_temperature, backend=network.backend)
    return Evaluation(loss, metrics.accuracy(logits, checked.indices), probs)


def check_network(network: Network) -> None:
    """Raise TypeError for anything but a network."""
    if isinstance(network, Network):
        return
    found = f"a {type(network).__name__}"
    if isinstance(network, type):
        found = f"the class {network.__name__}"
    elif isinstance(network, (list, tuple)) and any(isinstance(part, Layer) for part in network):
        found = f"a {type(network).__name__} of layers"
    raise TypeError(
        f"network is {found}; expected a tinycnn.Network: Network(layers, InputSpec(28, 28)) makes "
        "one for pictures of 28x28 px"
    )
