"""The task that every engine gets: a network with weights, images and targets, and the right
answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .graph import Node, from_json, nodes_of, to_json

if TYPE_CHECKING:
    from tinycnn.distillation import Distillation
    from tinycnn.network import Network

N_IMAGES = 64
TEMPERATURE, SOFT_WEIGHT, LEARNING_RATE = 4.0, 0.7, 1e-4
N_CHECKED_STEPS = 3
MICROEXPNET = "microexpnet"

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
class Model:
    """A network's nodes, and its parameters and statistics by tinycnn's names, in tinycnn's
    layout."""

    nodes: tuple[Node, ...]
    weights: dict[str, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """A network, and a batch to run and train it on.

    name            of the network in the zoo
    weights_from    "seeded", or what published weights they are
    trained         the network as it is trained, with BatchNorm
    folded          the same function in prediction, with BatchNorm folded into the layers beside it
    network         the file that `tinycnn.save` writes for `trained`
    x               float32 (N_IMAGES, H, W, C)
    labels          int64 (N_IMAGES,);  teacher_logits  float32 (N_IMAGES, K)
    """

    name: str
    weights_from: str
    trained: Model
    folded: Model
    network: bytes
    x: np.ndarray
    labels: np.ndarray
    teacher_logits: np.ndarray

    @property
    def weights(self) -> dict[str, np.ndarray]:
        return self.trained.weights

    def save(self, path: Path) -> None:
        """Write an .npz file for the engines' processes."""
        arrays: dict[str, np.ndarray] = {
            "x": self.x,
            "labels": self.labels,
            "teacher_logits": self.teacher_logits,
            "name": np.array(self.name),
            "weights_from": np.array(self.weights_from),
            "network": np.frombuffer(self.network, np.uint8),
        }
        for part, model in (("trained", self.trained), ("folded", self.folded)):
            arrays[f"{part}_nodes"] = np.array(to_json(model.nodes))
            arrays |= {f"{part}/{name}": w for name, w in model.weights.items()}
        save_arrays(path, arrays)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """np.savez for names that are known at run time only."""
    members: dict[str, Any] = dict(arrays)  # Any, because savez has a keyword for a bool as well
    np.savez(path, **members)


def load_problem(path: Path) -> Problem:
    """The problem in a file of `Problem.save`."""
    with np.load(path, allow_pickle=False) as stored:

        def model(part: str) -> Model:
            prefix = f"{part}/"
            names = [name for name in stored.files if name.startswith(prefix)]
            weights = {name.removeprefix(prefix): stored[name] for name in names}
            return Model(from_json(str(stored[f"{part}_nodes"])), weights)

        return Problem(
            str(stored["name"]),
            str(stored["weights_from"]),
            model("trained"),
            model("folded"),
            stored["network"].tobytes(),
            stored["x"],
            stored["labels"],
            stored["teacher_logits"],
        )


def make_problem(name: str = MICROEXPNET) -> Problem:
    """The network `name` of the zoo with seeded weights, and seeded noise as images.

    MicroExpNet gets the published weights if the environment variable TINYCNN_SHARED names the
    folder with them.  Raises FileNotFoundError if it is set and they are not there.
    """
    from tinycnn.formats.safetensors import to_bytes

    from .zoo_networks import ZOO

    rng = np.random.default_rng(20)
    network = ZOO[name].build(seed=20, n_threads=1, backend="numpy")
    weights_from = "seeded"
    if name != MICROEXPNET:
        draw_weights(network, rng)
    elif os.environ.get("TINYCNN_SHARED"):
        weights_from = "published (CK+)"
        network.set_parameters(published_weights(os.environ["TINYCNN_SHARED"]))
    shape = (N_IMAGES, *network.input_spec.shape)
    pixels = rng.integers(0, 256, shape).astype(np.float32)
    n_classes = len(network.classes)
    return Problem(
        name,
        weights_from,
        _model(network),
        _model(network.folded()),
        to_bytes(network),
        pixels if network.input_spec.scaling == "raw" else pixels / np.float32(255),
        rng.integers(0, n_classes, N_IMAGES),
        rng.normal(0, 3, (N_IMAGES, n_classes)).astype(np.float32),
    )


def draw_weights(network: Network, rng: np.random.Generator) -> None:
    """Weights, biases and statistics as a trained network might have them: no BatchNorm is the
    identity."""
    network.initialise(rng, "he_normal", bias_std=0.1)
    for name, array in {**network.parameters, **network.statistics}.items():
        short = name.rpartition(".")[2]
        if short in ("gamma", "running_var"):
            array[:] = rng.uniform(0.5, 1.5, array.shape)
        elif short in ("beta", "running_mean"):
            array[:] = rng.normal(0, 0.1, array.shape)


def published_weights(shared: str) -> dict[str, np.ndarray]:
    """MicroExpNet's weights, by tinycnn's names, in the folder that TINYCNN_SHARED names."""
    path = Path(shared) / "data" / "microexpnet_ck" / "weights.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"TINYCNN_SHARED={shared}: no file {path}; unset the variable to measure with seeded "
            "weights"
        )
    with np.load(path, allow_pickle=False) as published:
        return {ours: published[name] for name, ours in PUBLISHED_NAMES.items()}


def _model(network: Network) -> Model:
    arrays = {**network.parameters, **network.statistics}
    return Model(nodes_of(network.plan), {name: array.copy() for name, array in arrays.items()})


@dataclass(frozen=True)
class Answers:
    """logits (N_IMAGES, K); and if the network is trained, losses of the first N_CHECKED_STEPS
    training steps, and gradients of the first step by parameter name."""

    logits: np.ndarray
    losses: np.ndarray
    gradients: dict[str, np.ndarray]


def reference_answers(problem: Problem) -> Answers:
    """The right answers, by tinycnn's NumPy reference in float64."""
    from tinycnn.optim import Adam

    from .zoo_networks import ZOO

    network = ZOO[problem.name].build(backend="numpy", dtype=np.float64, n_threads=1)
    set_weights(network, problem)
    x = problem.x.astype(np.float64)
    logits, losses = network.forward(x), []
    gradients: dict[str, np.ndarray] = {}
    if ZOO[problem.name].trains:
        optimizer = Adam(LEARNING_RATE, backend="numpy")
        for step in range(N_CHECKED_STEPS):
            value, dlogits = kd_loss()(
                network.forward(x, training=True),
                problem.labels,
                problem.teacher_logits.astype(np.float64),
                backend="numpy",
            )
            losses.append(value)
            if step == N_CHECKED_STEPS - 1:
                break  # no later loss depends on this step's gradients
            network.backward(dlogits)
            if step == 0:
                gradients = {name: g.copy() for name, g in network.gradients.items()}
            optimizer.step(network.trained_vector, network.trained_gradients)
    return Answers(logits, np.array(losses), gradients)


def set_weights(network: Network, problem: Problem) -> None:
    """Give a network, built as the zoo does, the problem's parameters and statistics."""
    statistics = getattr(network, "statistics", {})  # an older version, with --against, has none
    for name, array in {**network.parameters, **statistics}.items():
        array[:] = problem.weights[name]


def kd_loss() -> Distillation:
    """The loss of every training step: Hinton's distillation, with the soft term times t*t."""
    from tinycnn import Distillation

    return Distillation(TEMPERATURE, SOFT_WEIGHT, "hinton")
