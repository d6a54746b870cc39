"""A look inside trained networks: which pixels matter to them, how realistic their confidence is,
and which confusions a teacher resolves.  Each network is run on its own test images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..calibration import fit_temperature
from ..losses import softmax
from ..metrics import expected_calibration_error
from ..network import Network
from ..sweep.trial import HeldOut, Parts
from .scores import Interval, Replicate, Result, Scores, Values, interval, paired

_BATCH = 64
_LEAST_P = 1e-12
KINDS = ("no teacher", "distilled")


@dataclass
class Gradients:
    """Sums over the images of each class.

    total   float64 (K, H, W): |dz/dx|, where z is the logit of the image's own class
    faces   float64 (K, H, W): the images;  counts: (K,) numbers of images
    """

    total: np.ndarray
    faces: np.ndarray
    counts: np.ndarray

    @classmethod
    def none(cls, n_classes: int, height: int, width: int) -> Gradients:
        shape = (n_classes, height, width)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(n_classes, np.int64))

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean |gradient| and mean face of each class; 0 for a class without images."""
        n = np.maximum(self.counts, 1)[:, None, None]
        return self.total / n, self.faces / n


def add_gradients(
    sums: Gradients, network: Network, images: np.ndarray, labels: np.ndarray
) -> None:
    """Add |dz_label/dx| of uint8 images (N, H, W) to the sums, by backpropagation to the input.

    With dlogits = 1 at the label and 0 elsewhere, `backward` gives dz_label/dx (Simonyan, Vedaldi,
    Zisserman, arXiv:1312.6034, section 3).  x is the image after the network's own scaling.  Each
    image's gradient is divided by its largest entry, so that all images count alike.
    """
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        own, classes = images[part], labels[part]
        logits = network.forward(network.scale(own), training=True)
        dlogits = np.zeros_like(logits)
        dlogits[np.arange(len(own)), classes] = 1
        gradient = network.backward(dlogits, input_gradient=True)
        assert gradient is not None
        dx = np.abs(gradient[..., 0].astype(np.float64))
        largest = dx.max(axis=(1, 2), keepdims=True)
        np.add.at(sums.total, classes, np.divide(dx, largest, out=dx, where=largest > 0))
        np.add.at(sums.faces, classes, own.astype(np.float64))
        np.add.at(sums.counts, classes, 1)


@dataclass
class Calibration:
    """Confidence of one kind of network before and after temperature scaling, by fold and seed.

    temperatures   fitted on the validation images
    error          expected calibration error on the test images, in points
    likelihood     mean negative log-likelihood of the test labels, in nats
    confidence     (N,) of the test images;  right: (N,) whether the predicted class is right
    """

    temperatures: Values = field(default_factory=dict)
    error: tuple[Values, Values] = field(default_factory=lambda: ({}, {}))
    likelihood: tuple[Values, Values] = field(default_factory=lambda: ({}, {}))
    confidence: tuple[list[np.ndarray], list[np.ndarray]] = field(default_factory=lambda: ([], []))
    right: list[np.ndarray] = field(default_factory=list)

    def add(
        self, replicate: Replicate, network: Network, validation: HeldOut, test: HeldOut
    ) -> None:
        """Fit the temperature on the validation images, measure on the test images."""
        fitted = fit_temperature(network.predict_logits(validation.images), validation.labels)
        logits = network.predict_logits(test.images)
        rows = np.arange(len(logits))
        self.temperatures[replicate] = fitted
        self.right.append(logits.argmax(axis=1) == test.labels)
        for k, temperature in enumerate((1.0, fitted)):
            probs = softmax(logits, temperature, backend="numpy")
            error = expected_calibration_error(probs, test.labels)
            self.error[k][replicate] = 100 * error
            own = np.maximum(probs[rows, test.labels], _LEAST_P)
            self.likelihood[k][replicate] = float(-np.log(own).mean())
            self.confidence[k].append(probs.max(axis=1))

    def reliability(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Confidence, and whether the class is right, of all test images; k: 0 before, 1 after."""
        return np.concatenate(self.confidence[k]), np.concatenate(self.right)


@dataclass(frozen=True)
class Confusion:
    """One class taken for another, in % of the class's images, and the change by the teacher."""

    truth: int
    predicted: int
    without: Interval
    distilled: Interval
    change: Interval


def resolved(scores: Scores, size: str) -> list[Confusion]:
    """Every confusion that networks without a teacher make, sorted by the change with a teacher."""
    counts = [
        {r: np.asarray(result["test"]["confusions"]) for r, result in results.items()}
        for results in (scores.without_teacher(size), scores.chosen(size))
    ]
    found = []
    for truth, predicted in np.argwhere(summed(counts[0].values())).tolist():
        if truth == predicted:
            continue
        shares = [_share(by_replicate, truth, predicted) for by_replicate in counts]
        change = paired(lambda without, distilled: distilled - without, *shares)
        if change:
            without, distilled = map(interval, shares)
            found.append(Confusion(truth, predicted, without, distilled, interval(change)))
    return sorted(found, key=lambda confusion: confusion.change.mean)


def _share(by_replicate: Mapping[Replicate, np.ndarray], truth: int, predicted: int) -> Values:
    return {
        replicate: 100 * counts[truth, predicted] / counts[truth].sum()
        for replicate, counts in by_replicate.items()
        if counts[truth].sum()
    }


def summed(several: Iterable[ArrayLike]) -> np.ndarray:
    """The sum of confusion matrices (K, K)."""
    return np.stack([np.asarray(one, np.int64) for one in several]).sum(axis=0)


@dataclass
class Inside:
    """What was found in networks of one size, for each kind in KINDS that was trained.

    confusion  counts (K, K) on the test images of all folds and seeds
    """

    size: str
    classes: Sequence[str]
    gradients: dict[str, Gradients] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    confusion: dict[str, np.ndarray] = field(default_factory=dict)
    resolved: list[Confusion] = field(default_factory=list)


def look_inside(
    scores: Scores,
    classes: Sequence[str],
    parts: Callable[[Replicate], Parts],
    load: Callable[[Result], Network],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Inside:
    """Look inside the smallest networks of the main variant, with a teacher and without.

    parts(replicate)  the data of a fold and seed.  Raises ValueError if they have no test images
    load(result)      the network of a result
    """
    size = scores.plan.sizes[-1]
    found = Inside(size, classes)
    kinds = {KINDS[0]: scores.without_teacher(size)}
    if scores.plan.temperatures:
        kinds[KINDS[1]] = scores.chosen(size)
    kinds = {name: results for name, results in kinds.items() if results}
    total, done = sum(map(len, kinds.values())), 0
    for replicate in sorted({r for results in kinds.values() for r in results}, key=str):
        held_out = parts(replicate)
        for name, results in kinds.items():
            if replicate not in results:
                continue
            network, test = load(results[replicate]), held_out.test
            if test is None:
                raise ValueError(f"fold and seed {replicate}: there are no test images")
            none = Gradients.none(len(classes), *test.images.shape[1:])
            sums = found.gradients.setdefault(name, none)
            add_gradients(sums, network, test.images, test.labels)
            calibration = found.calibration.setdefault(name, Calibration())
            calibration.add(replicate, network, held_out.validation, test)
            done += 1
            progress(done, total)
    for name, results in kinds.items():
        found.confusion[name] = summed(r["test"]["confusions"] for r in results.values())
    if len(kinds) == 2:
        found.resolved = resolved(scores, size)
    return found
