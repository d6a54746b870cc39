"""Losses that use a teacher's soft labels: arguments are checked here, arithmetic is in kernels/.

    Distillation           Hinton's, at one temperature or several, on logits or on their z-scores
    DecoupledDistillation  DKD: the target class and the other classes as separate terms
    RelationDistillation   DIST: correlations instead of values; it couples the samples of a batch

Each is hard_weight * CE(softmax(z), y) plus a soft term; z are the logits, y the targets (labels or
distributions, smoothed by label_smoothing), v the teacher's logits, t the temperature.
class_weights multiply the whole loss of a sample: see `losses.Loss`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from .losses import (
    Loss,
    LossInputs,
    LossTerms,
    batch_mean,
    check_temperature,
    keep_target_options,
    loss_operations,
    weighted_mean,
)

MOST_TEMPERATURE = 1e9
"""With a higher one, all soft labels are equal in float32; and t*t would leave its range."""


@dataclass(frozen=True)
class Distillation(Loss):
    """(1-w) * CE(softmax(z), y) + w * c * CE(softmax(z/t), softmax(v/t)), mean over the batch.

    temperature  t > 0.  The MicroExpNet paper uses 8 (CK+) and 4 (Oulu-CASIA).  A tuple of several:
                 the soft term is the mean over them
    soft_weight  w in 0..1
    scale        "paper": c = 1 (Cugu et al., arXiv:1711.07011)
                 "hinton": c = t*t (Hinton et al., arXiv:1503.02531)
    standardize  the soft term compares z-scores of z and v (Sun et al., arXiv:2403.01427): each row
                 minus its mean, divided by its standard deviation, the root of the mean square over
                 K classes.  The authors' code divides by the one over K-1: its temperature t is
                 ours times sqrt((K-1)/K), so ours must be 6.9 % higher for the same loss at K = 8
    """

    temperature: float | tuple[float, ...] = 8.0
    soft_weight: float = 0.5
    scale: str = "paper"
    standardize: bool = False
    label_smoothing: float = field(default=0.0, kw_only=True)
    class_weights: Sequence[float] | Mapping[int, float] = field(default=(), kw_only=True)
    needs_soft_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.temperature, list):
            object.__setattr__(self, "temperature", tuple(self.temperature))
        if not np.size(self.temperature):
            raise ValueError("temperature: expected a number or several, found none")
        for temperature in self._several:
            check_temperature(temperature, MOST_TEMPERATURE)
        _check_weight("soft_weight", self.soft_weight, 1.0)
        keep_target_options(self)
        if self.scale not in ("paper", "hinton"):
            raise ValueError(f"scale={self.scale!r}: expected 'paper' (1) or 'hinton' (t*t)")

    @property
    def temperatures(self) -> tuple[float, ...]:
        return tuple(float(t) for t in self._several)

    @property
    def _several(self) -> tuple[float, ...]:
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)

    @property
    def terms(self) -> LossTerms | None:
        """As in `losses.Loss`; None for several temperatures or z-scores."""
        if len(self.temperatures) > 1 or self.standardize:
            return None
        t = self.temperatures[0]
        weight, smoothing = float(self.soft_weight), float(self.label_smoothing)
        return LossTerms(t, weight, self.soft_scale(t), smoothing)

    def soft_scale(self, temperature: float) -> float:
        """The factor c of the soft term at this temperature."""
        return temperature**2 if self.scale == "hinton" else 1.0

    def value_and_gradient(
        self, logits: np.ndarray, inputs: LossInputs, backend: str
    ) -> tuple[float, np.ndarray]:
        terms = self.terms
        if terms is not None:
            t, weight, scale, _ = terms
            return _soft_term(logits, inputs.soft_labels, inputs, t, weight, scale, backend)
        z, v, backward = _compared(logits, inputs.soft_labels, self.standardize, backend)
        share, loss, dz = 1 / len(self.temperatures), 0.0, np.zeros(logits.shape)
        for t in self.temperatures:
            loss_t, dz_t = _soft_term(z, v, inputs, t, 1.0, self.soft_scale(t), backend)
            loss, dz = loss + share * loss_t, dz + share * dz_t
        hard_weight, dsoft = 1 - self.soft_weight, backward(dz)
        return _with_hard(logits, inputs, hard_weight, self.soft_weight, loss, dsoft, backend)


@dataclass(frozen=True)
class DecoupledDistillation(Loss):
    """h * CE(softmax(z), y) + t*t * (alpha * KL of "y or not" + beta * KL among the other classes).

    Zhao et al., arXiv:2203.08679 (DKD); kernels/decoupled_distillation.py has the formulas.  For
    targets that are distributions, the target class is the likeliest, the first of equal ones.

    temperature      t > 0
    alpha, beta      weights of the two terms, 0 or more; the source uses 1 and 8 on CIFAR-100
    hard_weight      h, 0 or more
    n_warmup_epochs  the weight of the soft terms grows linearly over so many epochs (0: no warm-up)
    standardize      compare z-scores of z and v, with the standard deviation that `Distillation`
                     describes
    ramp             factor of the soft terms in 0..1, which `at_epoch` sets
    """

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    hard_weight: float = 1.0
    n_warmup_epochs: int = 0
    standardize: bool = False
    ramp: float = 1.0
    label_smoothing: float = field(default=0.0, kw_only=True)
    class_weights: Sequence[float] | Mapping[int, float] = field(default=(), kw_only=True)
    needs_soft_labels: ClassVar[bool] = True
    fewest_classes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_temperature(self.temperature, MOST_TEMPERATURE)
        for name in ("alpha", "beta", "hard_weight", "n_warmup_epochs"):
            _check_weight(name, getattr(self, name))
        _check_weight("ramp", self.ramp, 1.0)
        keep_target_options(self)

    def at_epoch(self, epoch: int) -> DecoupledDistillation:
        """The loss for an epoch, counted from 0, with `ramp` set for the warm-up."""
        return replace(self, ramp=min(1.0, (epoch + 1) / max(self.n_warmup_epochs, 1)))

    def value_and_gradient(
        self, logits: np.ndarray, inputs: LossInputs, backend: str
    ) -> tuple[float, np.ndarray]:
        labels = inputs.labels
        if not len(labels):
            labels = inputs.targets.argmax(axis=1)
        z, v, backward = _compared(logits, inputs.soft_labels, self.standardize, backend)
        loss, dz = np.empty(len(logits)), np.empty_like(z)
        t, alpha, beta = float(self.temperature), float(self.alpha), float(self.beta)
        loss_operations(backend).decoupled_distillation(
            z, labels, v, t, alpha, beta, t**2, loss, dz
        )
        soft, dz = weighted_mean(loss, dz, inputs)
        dsoft = backward(dz)
        return _with_hard(logits, inputs, self.hard_weight, self.ramp, soft, dsoft, backend)


@dataclass(frozen=True)
class RelationDistillation(Loss):
    """h * CE(softmax(z), y) + t*t * (beta * (1 - r over classes) + gamma * (1 - r over samples)).

    Huang et al., arXiv:2205.10536 (DIST); kernels/relation_distillation.py has the formulas.  It
    couples the samples of a batch, so it is not a mean over the losses of the samples.

    temperature  t > 0;  beta, gamma, hard_weight (h): 0 or more.  The source uses t = 4, beta = 2,
                 gamma = 2, h = 1 on CIFAR-100
    class_weights do not apply to the correlations over samples, which belong to no single one.
    """

    temperature: float = 4.0
    beta: float = 2.0
    gamma: float = 2.0
    hard_weight: float = 1.0
    label_smoothing: float = field(default=0.0, kw_only=True)
    class_weights: Sequence[float] | Mapping[int, float] = field(default=(), kw_only=True)
    needs_soft_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_temperature(self.temperature, MOST_TEMPERATURE)
        for name in ("beta", "gamma", "hard_weight"):
            _check_weight(name, getattr(self, name))
        keep_target_options(self)

    def value_and_gradient(
        self, logits: np.ndarray, inputs: LossInputs, backend: str
    ) -> tuple[float, np.ndarray]:
        beta, gamma = float(self.beta), float(self.gamma)
        if len(inputs.sample_weights):
            terms = self._terms(logits, inputs, beta, 0.0, backend)
            soft, dz = weighted_mean(*terms, inputs)
            loss, dsamples = self._terms(logits, inputs, 0.0, gamma, backend)
            soft, dz = soft + batch_mean(loss), dz + dsamples
        else:
            loss, dz = self._terms(logits, inputs, beta, gamma, backend)
            soft = batch_mean(loss)
        return _with_hard(logits, inputs, self.hard_weight, 1.0, soft, dz, backend)

    def _terms(
        self, logits: np.ndarray, inputs: LossInputs, beta: float, gamma: float, backend: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The soft term of each sample (N,) with these weights, and the gradient of its mean."""
        loss, dz, t = np.empty(len(logits)), np.empty_like(logits), float(self.temperature)
        probs, teacher_probs, dprobs = np.empty((3, *logits.shape))
        loss_operations(backend).relation_distillation(
            logits, inputs.soft_labels, t, beta, gamma, t**2, probs, teacher_probs, dprobs, loss, dz
        )
        return loss, dz


def _check_weight(name: str, value: float, most: float = math.inf) -> None:
    if not (0 <= value <= most and value < math.inf):
        limit = "0 or more, finite" if most == math.inf else f"0 to {most:g}"
        raise ValueError(f"{name}={value}: expected {limit}")


def _soft_term(
    z: np.ndarray,
    v: np.ndarray,
    inputs: LossInputs,
    temperature: float,
    soft_weight: float,
    soft_scale: float,
    backend: str,
) -> tuple[float, np.ndarray]:
    """Hinton's loss at one temperature: the mean, and its gradient like z."""
    loss, dz = np.empty(len(z)), np.empty_like(z)
    targets = inputs.distributions().astype(z.dtype, copy=False)
    loss_operations(backend).distillation(
        z, targets, v, temperature, soft_weight, soft_scale, loss, dz
    )
    return weighted_mean(loss, dz, inputs)


def _compared(
    logits: np.ndarray, soft_labels: np.ndarray, standardize: bool, backend: str
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """z and v, which the soft term compares, and the backward pass: from dz to dlogits.

    z and v are the logits and the soft labels; with `standardize` their z-scores (N, K) float64.
    """
    if not standardize:
        return logits, soft_labels, lambda dz: dz
    operations = loss_operations(backend)
    z, v, deviation = np.empty(logits.shape), np.empty(logits.shape), np.empty(len(logits))
    operations.standardize_logits_forward(soft_labels, v, deviation)
    operations.standardize_logits_forward(logits, z, deviation)  # its deviation is kept

    def backward(dz: np.ndarray) -> np.ndarray:
        dlogits = np.empty(logits.shape)
        operations.standardize_logits_backward(dz, z, deviation, dlogits)
        return dlogits

    return z, v, backward


def _with_hard(
    logits: np.ndarray,
    inputs: LossInputs,
    hard_weight: float,
    soft_weight: float,
    soft_loss: float,
    dsoft: np.ndarray,
    backend: str,
) -> tuple[float, np.ndarray]:
    """hard_weight * CE + soft_weight * soft_loss, and its gradient like logits."""
    loss, dlogits = np.empty(len(logits)), np.empty_like(logits)
    loss_operations(backend).cross_entropy_soft(logits, inputs.distributions(), loss, dlogits)
    hard_loss, dhard = weighted_mean(loss, dlogits, inputs)
    gradient = hard_weight * dhard + soft_weight * dsoft
    return (
        hard_weight * hard_loss + soft_weight * soft_loss,
        gradient.astype(logits.dtype, copy=False),
    )
