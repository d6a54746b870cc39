"""What a plan will take on this machine, from a few training steps of every network, and how long a
trained network needs for an image."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses import CrossEntropy
from ..models.microexpnet import microexpnet
from ..optim import optimizer_from_name
from ..recipes import RECIPES
from ..sweep import Source
from ..train import Batch, Batches, fit
from . import published
from .plan import MAIN_VARIANT, Plan

_EPOCH_S, _TRIAL_S = 0.06, 0.3
"""What an epoch (its checkpoint) and a trial cost besides steps and scores, see docs/scale.md."""


@dataclass(frozen=True)
class Costs:
    """step_s, score_s: seconds of a training step and of predicting one image, on one core, by
    (variant, size);  n_steps of an epoch;  n_scored: images scored after each."""

    step_s: dict[tuple[str, str], float]
    score_s: dict[tuple[str, str], float]
    n_steps: int
    n_scored: int

    def seconds(self, plan: Plan, n_processes: int) -> float:
        """What is to be expected of a plan, with so many processes on a core each."""
        total = 0.0
        for trial in plan.one_of_each():
            key = (trial.variant, str(trial.size))
            epoch_s = self.n_steps * self.step_s[key] + self.n_scored * self.score_s[key]
            total += _TRIAL_S + plan.epochs * (epoch_s + _EPOCH_S)
        return total * plan.n_replicates / n_processes


class _FirstBatches:
    """The first few batches of every epoch."""

    def __init__(self, batches: Batches, n_batches: int) -> None:
        self.batches, self.n_batches = batches, min(n_batches, batches.n_batches)
        self.n_images = batches.n_images

    def __call__(self, epoch: int) -> Iterator[Batch]:
        return itertools.islice(self.batches(epoch), self.n_batches)


def measure(plan: Plan, source: Source, backend: str, n_steps: int = 3) -> Costs:
    """Train every network for a few steps on one core, twice; the quicker time counts."""
    recipe = RECIPES[plan.recipe]
    parts = source.parts(
        fold=0 if plan.n_folds else None,
        seed=0,
        batch_size=recipe.batch_size,
        augment=recipe.augment,
        with_teacher=False,
        n_threads=1,
    )
    few = _FirstBatches(parts.batches, n_steps)
    images = parts.validation.images[:64]
    step_s, score_s = {}, {}
    for variant, size in itertools.product(published.VARIANTS, plan.sizes):
        network = microexpnet(
            variant, size, len(source.classes), backend=backend, n_threads=1, bias_std=0.0
        )
        optimizer = optimizer_from_name(recipe.optimizer, learning_rate=1e-6, backend=backend)
        options = dict(loss=CrossEntropy(), optimizer=optimizer, n_epochs=2)
        records = list(fit(network, few, **options))
        step_s[variant, size] = min(record.seconds for record in records) / few.n_batches
        seconds = min(_seconds(network.predict_logits, images) for _ in range(2))
        score_s[variant, size] = seconds / len(images)
    return Costs(step_s, score_s, parts.batches.n_batches, len(parts.validation.labels))


def _seconds(call: Any, *words: Any) -> float:
    started = time.perf_counter()
    call(*words)
    return time.perf_counter() - started


def latencies(
    sizes: Sequence[str], n_classes: int, backend: str, n_rounds: int = 25, n_calls: int = 10
) -> list[dict[str, Any]]:
    """Seconds for one image by size, of the main variant on one core: a row each, with size,
    n_parameters, image_s (the median of n_rounds means), low_s and high_s (the extremes).

    The rounds go through all sizes, so that what else the machine does meets all alike.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, 84, 84, 1)).astype(np.float32)
    networks = [
        microexpnet(MAIN_VARIANT, size, n_classes, backend=backend, n_threads=1) for size in sizes
    ]

    def several(network: Any) -> None:
        for _ in range(n_calls):
            network.forward(image)

    times: list[list[float]] = [[] for _ in networks]
    for round_ in range(n_rounds + 1):  # the first one warms up
        for network, own in zip(networks, times):
            seconds = _seconds(several, network) / n_calls
            if round_:
                own.append(seconds)
    return [
        dict(
            size=size,
            n_parameters=network.n_parameters,
            image_s=float(np.median(own)),
            low_s=min(own),
            high_s=max(own),
        )
        for size, network, own in zip(sizes, networks, times)
    ]
