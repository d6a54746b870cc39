"""The task that every engine gets: weights, images and targets, and the right answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinycnn.distillation import Distillation

N_IMAGES = 64
TEMPERATURE, SOFT_WEIGHT, LEARNING_RATE = 4.0, 0.7, 1e-4
N_CHECKED_STEPS = 4

MARGIN = 1e-5
"""Images with a smaller `tie_distance` are not used."""

PUBLISHED_NAMES = {
    "wc1": "conv1.w",
    "bc1": "conv1.b",
    "wc2": "conv2.w",
    "bc2": "conv2.b",
    "wfc": "dense1.w",
    "bfc": "dense1.b",
    "wo": "dense2.w",
    "bo": "dense2.b",
}
"""Names in the published checkpoint (weights.npz) -> names in tinycnn."""


@dataclass(frozen=True)
class Problem:
    """Weights of MicroExpNet, and a batch to run and train it on.

    weights         tinycnn's names -> arrays; convolutions (KH, KW, C, F), dense (fan_in, units)
    x               float32 (64, 84, 84, 1), pixels 0..255
    labels          int64 (64,);  teacher_logits  float32 (64, 8)
    tflite_folder   of microexpnet_b1.tflite and microexpnet_b64.tflite, models with these weights;
                    "" if there is none
    """

    weights: dict[str, np.ndarray]
    x: np.ndarray
    labels: np.ndarray
    teacher_logits: np.ndarray
    tflite_folder: str

    def save(self, path: Path) -> None:
        """Write an .npz file for the engines' processes."""
        arrays = {"x": self.x, "labels": self.labels, "teacher_logits": self.teacher_logits}
        arrays["tflite_folder"] = np.array(self.tflite_folder)
        arrays.update({f"weights/{name}": w for name, w in self.weights.items()})
        save_arrays(path, arrays)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """np.savez for names that are known at run time only."""
    members: dict[str, Any] = dict(arrays)  # Any, because savez has a keyword for a bool as well
    np.savez(path, **members)


def load_problem(path: Path) -> Problem:
    """The problem in a file of `Problem.save`."""
    with np.load(path, allow_pickle=False) as stored:
        prefix = "weights/"
        return Problem(
            {k.removeprefix(prefix): stored[k] for k in stored.files if k.startswith(prefix)},
            stored["x"],
            stored["labels"],
            stored["teacher_logits"],
            str(stored["tflite_folder"]),
        )


def make_problem() -> Problem:
    """The published network if the environment variable TINYCNN_SHARED names the folder with it,
    else a network with seeded random weights, which has no .tflite files.  Images are seeded noise.

    Raises FileNotFoundError if TINYCNN_SHARED is set and the network is not there.
    """
    from tinycnn.models.microexpnet import microexpnet

    rng = np.random.default_rng(20)
    labels = rng.integers(0, 8, N_IMAGES)
    teacher_logits = rng.normal(0, 3, (N_IMAGES, 8)).astype(np.float32)
    weights = {name: p.copy() for name, p in microexpnet(seed=20).parameters.items()}
    tflite_folder = ""
    shared = os.environ.get("TINYCNN_SHARED")
    if shared:
        folder = Path(shared) / "data" / "microexpnet_ck"
        if not (folder / "weights.npz").is_file():
            raise FileNotFoundError(
                f"TINYCNN_SHARED={shared}: no file {folder / 'weights.npz'}; unset the variable "
                "to measure with random weights"
            )
        with np.load(folder / "weights.npz", allow_pickle=False) as published:
            weights = {ours: published[name] for name, ours in PUBLISHED_NAMES.items()}
        tflite_folder = str(folder)
    return Problem(weights, _images(rng, weights), labels, teacher_logits, tflite_folder)


def _images(rng: np.random.Generator, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Noise (64, 84, 84, 1), images with a `tie_distance` above MARGIN."""
    kept = np.zeros((0, 84, 84, 1), np.float32)
    for _ in range(20):
        drawn = rng.integers(0, 256, (N_IMAGES, 84, 84, 1)).astype(np.float32)
        kept = np.concatenate([kept, drawn[tie_distance(weights, drawn) > MARGIN]])
        if len(kept) >= N_IMAGES:
            return kept[:N_IMAGES]
    raise ValueError(f"of {20 * N_IMAGES} images only {len(kept)} are far from a tie")


def tie_distance(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """For each image, the smallest distance from a tie in any max-pooling or ReLU.

    It is the difference of the two largest values (0 counts as one for a ReLU), divided by the
    largest absolute value of the layer.  At a tie the gradient jumps: rounding errors decide which
    of two equal values is the larger, and both answers are right.  So engines can be compared only
    on images without ties.
    """
    from tinycnn import reference
    from tinycnn.plan import Window

    found, y = [], x
    for name, before, after, size in (("conv1", 3, 3, 42), ("conv2", 1, 2, 11)):
        w = weights[f"{name}.w"]
        z = np.empty((len(y), size, size, w.shape[3]), y.dtype)
        window = Window(w.shape[0], w.shape[1], 2, 2, before, before, after, after)
        reference.conv2d_forward(y, w, weights[f"{name}.b"], window, z)
        odd = size % 2
        full = np.pad(z, ((0, 0), (0, odd), (0, odd), (0, 0)), constant_values=-np.inf)
        half = (size + odd) // 2
        windows = full.reshape(len(z), half, 2, half, 2, -1).transpose(0, 1, 3, 5, 2, 4)
        windows = windows.reshape(len(z), -1, 4)
        zero = np.zeros((*windows.shape[:2], 1), z.dtype)  # ReLU: 0 may be the largest value
        ordered = np.sort(np.concatenate([windows, zero], axis=2), axis=2)
        found.append((ordered[..., -1] - ordered[..., -2]).min(axis=1) / abs(z).max())
        y = ordered[..., -1].reshape(len(z), half, half, -1)
    z = y.reshape(len(y), -1) @ weights["dense1.w"] + weights["dense1.b"]
    return np.min([*found, abs(z).min(axis=1) / abs(z).max()], axis=0)


@dataclass(frozen=True)
class Answers:
    """logits (64, 8); losses of the first N_CHECKED_STEPS training steps; gradients of the first
    step, by parameter name."""

    logits: np.ndarray
    losses: np.ndarray
    gradients: dict[str, np.ndarray]


def reference_answers(problem: Problem) -> Answers:
    """The right answers, by tinycnn's NumPy reference in float64."""
    from tinycnn.models.microexpnet import microexpnet
    from tinycnn.optim import Adam

    network = microexpnet(backend="numpy", dtype=np.float64, n_threads=1)
    for name, parameter in network.parameters.items():
        parameter[:] = problem.weights[name]
    optimizer = Adam(LEARNING_RATE, backend="numpy")
    x = problem.x.astype(np.float64)
    logits, losses = network.forward(x), []
    gradients: dict[str, np.ndarray] = {}
    for step in range(N_CHECKED_STEPS):
        value, dlogits = kd_loss()(
            network.forward(x, training=True),
            problem.labels,
            problem.teacher_logits.astype(np.float64),
            backend="numpy",
        )
        network.backward(dlogits)
        losses.append(value)
        if step == 0:
            gradients = {name: g.copy() for name, g in network.gradients.items()}
        optimizer.step(network.trained_vector, network.trained_gradients)
    return Answers(logits, np.array(losses), gradients)


def kd_loss() -> Distillation:
    """The loss of every training step: Hinton's distillation, with the soft term times t*t."""
    from tinycnn import Distillation

    return Distillation(TEMPERATURE, SOFT_WEIGHT, "hinton")
