"""What every engine is given: the same weights, images and targets; and what it should answer."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

N_IMAGES = 64
TEMPERATURE, SOFT_WEIGHT, LEARNING_RATE = 4.0, 0.7, 1e-4
N_CHECKED_STEPS = 4

MARGIN = 1e-5
"""Images nearer than this to a tie are not used, see `tie_distance`."""

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
"""Tensors of the published checkpoint (weights.npz) -> names in `tinycnn`."""


@dataclass(frozen=True)
class Problem:
    """MicroExpNet with these weights on these images.

    weights         by tinycnn's names; convolutions (KH, KW, C, F), dense (fan_in, units)
    x               (64, 84, 84, 1) float32, raw pixels 0..255
    labels          (64,) int64;  teacher_logits  (64, 8) float32
    tflite_folder   holds microexpnet_b1.tflite and _b64.tflite with these weights; "" if none does
    """

    weights: dict[str, np.ndarray]
    x: np.ndarray
    labels: np.ndarray
    teacher_logits: np.ndarray
    tflite_folder: str

    def save(self, path: Path) -> None:
        """As .npz, for the workers."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}
        np.savez(path, **arrays, **{f"weights/{name}": w for name, w in self.weights.items()})


def load_problem(path: Path) -> Problem:
    """The problem that `Problem.save` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    prefix = "weights/"
    weights = {k[len(prefix) :]: arrays.pop(k) for k in list(arrays) if k.startswith(prefix)}
    arrays["tflite_folder"] = str(arrays["tflite_folder"])
    return Problem(weights, **arrays)


def make_problem() -> Problem:
    """The published network where TINYCNN_SHARED names the folder that holds it, else a new one
    with seeded weights (for which there are no .tflite files).  Images are seeded noise.

    Raises FileNotFoundError where TINYCNN_SHARED is set and has no such network.
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
                f"TINYCNN_SHARED={shared}: no {folder / 'weights.npz'}; unset it to measure with "
                "seeded weights"
            )
        with np.load(folder / "weights.npz", allow_pickle=False) as published:
            weights = {ours: published[name] for name, ours in PUBLISHED_NAMES.items()}
        tflite_folder = str(folder)
    return Problem(weights, _images(rng, weights), labels, teacher_logits, tflite_folder)


def _images(rng: np.random.Generator, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Noise (64, 84, 84, 1), each image at least MARGIN from a tie."""
    kept = np.zeros((0, 84, 84, 1), np.float32)
    for _ in range(20):
        drawn = rng.integers(0, 256, (N_IMAGES, 84, 84, 1)).astype(np.float32)
        kept = np.concatenate([kept, drawn[tie_distance(weights, drawn) > MARGIN]])
        if len(kept) >= N_IMAGES:
            return kept[:N_IMAGES]
    raise ValueError(f"of {20 * N_IMAGES} images only {len(kept)} are far from a tie")


def tie_distance(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """By image: how near a max-pooling or ReLU comes to a tie, as a share of its layer's largest
    value.

    At a tie the gradient jumps: which of two equal values is the larger is decided by rounding, and
    rightly so in either way.  Engines can be compared only away from there.
    """
    from tinycnn import reference

    found, y = [], x
    for name, pad, size in (("conv1", 3, 42), ("conv2", 1, 11)):
        w = weights[f"{name}.w"]
        z = np.empty((len(y), size, size, w.shape[3]), y.dtype)
        reference.conv2d_forward(y, w, weights[f"{name}.b"], 2, pad, pad, z)
        odd = size % 2
        full = np.pad(z, ((0, 0), (0, odd), (0, odd), (0, 0)), constant_values=-np.inf)
        half = (size + odd) // 2
        windows = full.reshape(len(z), half, 2, half, 2, -1).transpose(0, 1, 3, 5, 2, 4)
        windows = windows.reshape(len(z), -1, 4)
        zero = np.zeros((*windows.shape[:2], 1), z.dtype)  # ReLU: one more that may be the largest
        ordered = np.sort(np.concatenate([windows, zero], axis=2), axis=2)
        found.append((ordered[..., -1] - ordered[..., -2]).min(axis=1) / abs(z).max())
        y = ordered[..., -1].reshape(len(z), half, half, -1)
    z = y.reshape(len(y), -1) @ weights["dense1.w"] + weights["dense1.b"]
    return np.min([*found, abs(z).min(axis=1) / abs(z).max()], axis=0)


@dataclass(frozen=True)
class Answers:
    """logits (64, 8); losses of the first training steps; gradients of the first, by name."""

    logits: np.ndarray
    losses: np.ndarray
    gradients: dict[str, np.ndarray]


def reference_answers(problem: Problem) -> Answers:
    """What is right: tinycnn's NumPy reference in float64."""
    from tinycnn.models.microexpnet import microexpnet
    from tinycnn.optim import Adam

    network = microexpnet(backend="numpy", dtype=np.float64, n_threads=1)
    for name, parameter in network.parameters.items():
        parameter[:] = problem.weights[name]
    optimizer = Adam(LEARNING_RATE, backend="numpy")
    x = problem.x.astype(np.float64)
    logits, losses, gradients = network.forward(x), [], {}
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
        optimizer.step(network.parameter_vector, network.gradient_vector)
    return Answers(logits, np.array(losses), gradients)


def kd_loss():
    """The loss of every training step: Hinton's distillation, soft term times t*t."""
    from tinycnn import Distillation

    return Distillation(TEMPERATURE, SOFT_WEIGHT, "hinton")
