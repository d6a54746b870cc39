"""How long a plan takes on this machine, from a few training steps; the time for one image."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..losses import CrossEntropy
from ..models.microexpnet import microexpnet
from ..optim import optimizer_from_name
from ..run import NO_TEACHER, TrainingData, TrainingRun
from ..sweep import Source, Trial
from ..train import Batch, Batches, iter_epochs
from . import published
from .plan import MAIN_VARIANT, Plan

_EPOCH_S, _TRIAL_S = 0.06, 0.3
"""The time of an epoch and of a trial, without training steps and predictions: docs/scale.md."""


@dataclass(frozen=True)
class Costs:
    """step_s, score_s: seconds of a training step, and to predict an image, on one core, by
    (variant, size);  n_steps: of an epoch;  n_scored: images that are predicted after it;
    teacher_step_s: of the teachers that are trained in the folds."""

    step_s: dict[tuple[str, str], float]
    score_s: dict[tuple[str, str], float]
    n_steps: int
    n_scored: int
    teacher_step_s: float = 0.0

    def seconds(self, plan: Plan, n_processes: int) -> float:
        """The expected time of a plan with n_processes processes, each on its own core."""
        total = 0.0
        for trial in plan.one_of_each():
            key = (str(trial.variant), str(trial.size))
            epoch_s = self.n_steps * self.step_s[key] + self.n_scored * self.score_s[key]
            total += _TRIAL_S + plan.epochs * (epoch_s + _EPOCH_S)
        teacher_epoch_s = self.n_steps * self.teacher_step_s + _EPOCH_S
        of_teachers = plan.n_teachers * (_TRIAL_S + plan.teacher_epochs * teacher_epoch_s)
        return (total * plan.n_replicates + of_teachers) / n_processes


class _FirstBatches:
    """The first few batches of every epoch."""

    def __init__(self, batches: Batches, n_batches: int) -> None:
        self.batches, self.n_batches = batches, min(n_batches, batches.n_batches)
        self.n_images = batches.n_images

    def __call__(self, epoch: int) -> Iterator[Batch]:
        return itertools.islice(self.batches(epoch), self.n_batches)


def measure(plan: Plan, source: Source, backend: str, n_steps: int = 3) -> Costs:
    """Train every network for n_steps steps on one core, twice; the shorter time counts."""
    trial = Trial(loss=NO_TEACHER, fold=0 if plan.n_folds else None, recipe=plan.recipe)
    parts = source.parts(trial, n_threads=1)
    few = _FirstBatches(parts.batches, n_steps)
    images = parts.validation.images[:64]
    step_s, score_s = {}, {}
    for variant, size in itertools.product(published.VARIANTS, plan.sizes):
        network = microexpnet(
            variant, size, len(source.classes), backend=backend, n_threads=1, bias_std=0.0
        )
        optimizer = optimizer_from_name(trial.optimizer, learning_rate=1e-6, backend=backend)
        records = list(
            iter_epochs(network, few, loss=CrossEntropy(), optimizer=optimizer, n_epochs=2)
        )
        step_s[variant, size] = min(record.seconds for record in records) / few.n_batches
        seconds = min(_seconds(network.predict_logits, images) for _ in range(2))
        score_s[variant, size] = seconds / len(images)
    teacher_step_s = _teacher_step_s(plan, source, backend, n_steps) if plan.n_teachers else 0.0
    n_scored = len(parts.validation.labels)
    return Costs(step_s, score_s, parts.batches.n_batches, n_scored, teacher_step_s)


def _teacher_step_s(plan: Plan, source: Source, backend: str, n_steps: int) -> float:
    """Seconds of a training step of the plan's first teacher, on one core."""
    teacher = next(trial for trial in plan.trials(plan.splits[0]) if trial.is_teacher)
    few = _FirstBatches(source.parts(teacher, n_threads=1).batches, n_steps)
    data = TrainingData(few, source.classes)
    run = TrainingRun(replace(teacher, epochs=2), data, backend=backend, n_threads=1)
    return min(record.seconds for record in run.train()) / few.n_batches


def _seconds(
    function: Callable[[np.ndarray], object], images: np.ndarray, n_calls: int = 1
) -> float:
    started = time.perf_counter()
    for _ in range(n_calls):
        function(images)
    return (time.perf_counter() - started) / n_calls


def latencies(
    sizes: Sequence[str], n_classes: int, backend: str, n_rounds: int = 25, n_calls: int = 10
) -> list[dict[str, Any]]:
    """The time that networks of the main variant take for one image on one core: a row for each
    size, with size, n_parameters, image_s, low_s, high_s.

    The times are the median, the lowest and the highest of n_rounds means of n_calls calls.  Each
    round measures all sizes, so that other load on the machine affects them alike.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, 84, 84, 1)).astype(np.float32)
    networks = [
        microexpnet(MAIN_VARIANT, size, n_classes, backend=backend, n_threads=1) for size in sizes
    ]
    for network in networks:
        network.load_kernels()
    times: list[list[float]] = [[] for _ in networks]
    for round_ in range(n_rounds + 1):
        for network, own in zip(networks, times):
            seconds = _seconds(network.forward, image, n_calls)
            if round_:  # the first round only warms up
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
