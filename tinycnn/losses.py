"""What a loss is, and cross-entropy: arguments checked here, arithmetic in kernels/cross_entropy.py
or in reference.py.  Losses with a teacher are in distillation.py.

A loss is called once on a whole batch and returns the mean loss and its gradient with respect to
the logits, so a loss may also couple the samples of a batch (DIST and its like).  To add one:
write its kernel and its reference, then a frozen dataclass that satisfies `Loss` and checks with
`check_logits`, `check_targets` and `check_soft_labels`.  One that is a case of Hinton's loss says
so by `as_distillation`: training is faster with it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from .backend_choice import Operations
from .ground.distributions import ROW_SUM_TOLERANCE, first_wrong_row


class DistillationTerms(NamedTuple):
    """What the kernel `distillation` (kernels/cross_entropy.py) is to compute, and from targets of
    which smoothing."""

    temperature: float
    soft_weight: float
    soft_scale: float
    label_smoothing: float


class Loss(Protocol):
    """What `train.fit` expects of a loss.

    One that changes from epoch to epoch also has `at_epoch(epoch)`, the loss of that epoch; one
    that may be what the kernel `distillation` computes has `as_distillation`, its
    `DistillationTerms`, or None where it is something else after all.
    """

    needs_soft_labels: ClassVar[bool]

    def __call__(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        soft_labels: np.ndarray | None = None,
        *,
        backend: str = "auto",
    ) -> tuple[float, np.ndarray]:
        """Mean loss over the batch, and its gradient with the shape and dtype of logits."""


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy between softmax(logits) and the targets, mean over the batch.

    label_smoothing  a in 0..1: the targets become (1-a) * y + a / K (Szegedy et al.,
                     arXiv:1512.00567, section 7)
    """

    label_smoothing: float = 0.0
    needs_soft_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing={self.label_smoothing}: expected 0 to 1")

    def __call__(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        soft_labels: np.ndarray | None = None,
        *,
        backend: str = "auto",
    ) -> tuple[float, np.ndarray]:
        """Mean loss, and its gradient with respect to the logits.

        logits       (N, K) float32 or float64.  NaN is let through: it makes the loss NaN
        targets      (N,) class indices of any integer dtype, or (N, K) distributions (floating)
        soft_labels  not used
        backend      "auto", "numba" or "numpy", see `tinycnn.backend_choice`
        Returns (loss, dlogits): dlogits like logits.  A batch of no samples has loss 0.0.
        Raises TypeError for a wrong dtype, ValueError for a wrong shape or value.
        """
        operations = loss_operations(backend)
        logits = check_logits(logits)
        targets = check_targets(targets, logits)
        loss, dlogits = np.empty(len(logits)), np.empty_like(logits)
        if self.label_smoothing:
            smoothed = smoothed_targets(targets, logits, self.label_smoothing)
            operations.cross_entropy_soft(logits, smoothed, loss, dlogits)
        elif targets.ndim == 1:
            operations.cross_entropy_hard(logits, targets, loss, dlogits)
        else:
            operations.cross_entropy_soft(logits, targets, loss, dlogits)
        return batch_mean(loss), dlogits

    @functools.cached_property
    def as_distillation(self) -> DistillationTerms:
        """See `Loss`: the teacher has no weight."""
        return DistillationTerms(1.0, 0.0, 1.0, float(self.label_smoothing))


@dataclass(frozen=True)
class SmoothedTargets:
    """Any loss against (1-a) * y + a / K in the place of the targets y; the teacher's part of it
    stays as it is.  The targets are constants: value and gradient are those of the loss at them.

    label_smoothing  a, 0 to below 1, so that the largest target stays the largest
    """

    loss: Loss
    label_smoothing: float

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing={self.label_smoothing}: expected 0 up to, not with, 1"
            )

    @property
    def needs_soft_labels(self) -> bool:
        return self.loss.needs_soft_labels

    def at_epoch(self, epoch: int) -> SmoothedTargets:
        """The loss of an epoch, where it changes from one to the next."""
        if not hasattr(self.loss, "at_epoch"):
            return self
        return SmoothedTargets(self.loss.at_epoch(epoch), self.label_smoothing)

    def __call__(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        soft_labels: np.ndarray | None = None,
        *,
        backend: str = "auto",
    ) -> tuple[float, np.ndarray]:
        """Mean loss and its gradient; arguments and errors as those of the loss."""
        logits = check_logits(logits)
        smoothed = smoothed_targets(check_targets(targets, logits), logits, self.label_smoothing)
        return self.loss(logits, smoothed, soft_labels, backend=backend)

    @functools.cached_property
    def as_distillation(self) -> DistillationTerms | None:
        """See `Loss`: None where the loss is none, or smooths its targets too."""
        inner = getattr(self.loss, "as_distillation", None)
        if inner is None or inner.label_smoothing:
            return None
        return inner._replace(label_smoothing=float(self.label_smoothing))


def smoothed_targets(targets: np.ndarray, logits: np.ndarray, smoothing: float) -> np.ndarray:
    """Checked targets as (1-a) * y + a / K, (N, K) with the dtype of logits."""
    smoothed = (1 - smoothing) * as_distributions(targets, logits)
    smoothed += smoothing / logits.shape[1]
    return smoothed


def softmax(logits: np.ndarray, temperature: float = 1.0, *, backend: str = "auto") -> np.ndarray:
    """softmax(logits / temperature) of each row: (N, K) like logits (float32 or float64).

    Raises TypeError for a wrong dtype, ValueError for a wrong shape or a temperature not above 0.
    """
    operations = loss_operations(backend)
    logits = check_logits(logits)
    probs = np.empty_like(logits)
    operations.softmax_forward(logits, check_temperature(temperature), probs)
    return probs


def log_softmax(
    logits: np.ndarray, temperature: float = 1.0, *, backend: str = "auto"
) -> np.ndarray:
    """log softmax(logits / temperature) of each row: (N, K) like logits; raises as `softmax`.

    More exact than log(softmax(...)): a probability of 1e-400 still has a logarithm.
    """
    operations = loss_operations(backend)
    logits = check_logits(logits)
    log_probs = np.empty_like(logits)
    operations.log_softmax_forward(logits, check_temperature(temperature), log_probs)
    return log_probs


@functools.cache
def loss_operations(backend: str) -> Operations:
    """What computes, imported when it is needed: importing this file needs NumPy alone."""
    return Operations(backend, _kernels)


def _kernels() -> tuple[Any, ...]:
    from .kernels import cross_entropy

    return (cross_entropy,)


def batch_mean(loss: np.ndarray) -> float:
    return float(np.add.reduce(loss) / max(len(loss), 1))


def plain_array(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Contiguous, native, writeable and of that dtype, copied only if it is not: a kernel is
    compiled anew for each kind of array it meets."""
    if array.dtype == dtype and array.flags.carray:
        return array
    return np.require(array, dtype, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])


def check_temperature(temperature: float) -> float:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature={temperature}: expected a finite number above 0")
    return float(temperature)


def check_logits(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits)
    if logits.dtype not in (np.float32, np.float64):
        raise TypeError(f"logits have dtype {logits.dtype}: expected float32 or float64")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(
            f"logits have shape {logits.shape}: expected (images, classes) with a class or more"
        )
    return plain_array(logits, logits.dtype.type)


def check_targets(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Class indices int64 (N,), or distributions (N, K) with the dtype of logits."""
    targets = np.asarray(targets)
    n, k = logits.shape
    if targets.dtype.kind in "iu":
        if targets.shape != (n,):
            raise ValueError(
                f"targets have shape {targets.shape}: expected ({n},) class indices for logits of "
                f"shape {logits.shape} (distributions are floating point)"
            )
        labels = plain_array(targets, np.int64)
        if n and np.maximum.reduce(labels.view(np.uint64)) >= k:  # what is below 0 is large there
            row = int(np.argmax((targets < 0) | (targets >= k)))
            raise ValueError(
                f"targets[{row}] is {targets[row]}: expected a class from 0 to {k - 1}"
            )
        return labels
    if targets.dtype.kind != "f":
        raise TypeError(
            f"targets have dtype {targets.dtype}: expected integers (class indices) or floating "
            "point (distributions)"
        )
    if targets.shape != (n, k):
        raise ValueError(
            f"targets have shape {targets.shape}: expected {(n, k)} distributions like the logits "
            f"(class indices are integers, of shape ({n},))"
        )
    wrong = first_wrong_row(targets)
    if wrong is not None:
        row, total = wrong
        raise ValueError(
            f"targets[{row}] is {targets[row].tolist()} (sum {total:.6g}): expected numbers of 0 "
            f"or more that sum to 1 within {ROW_SUM_TOLERANCE}"
        )
    return plain_array(targets, logits.dtype.type)


def as_distributions(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Checked targets as (N, K): class indices become one-hot rows."""
    if targets.ndim == 2:
        return targets
    return _unit_rows(logits.shape[1], logits.dtype).take(targets, axis=0)


@functools.cache
def _unit_rows(n_classes: int, dtype: np.dtype) -> np.ndarray:
    return np.eye(n_classes, dtype=dtype)


def check_soft_labels(soft_labels: np.ndarray | None, logits: np.ndarray) -> np.ndarray:
    """Teacher logits (N, K) with the dtype of logits."""
    if soft_labels is None:
        raise ValueError(
            "soft_labels are missing: distillation needs the teacher's logits, (images, classes)"
        )
    soft_labels = np.asarray(soft_labels)
    if soft_labels.dtype.kind != "f":
        raise TypeError(f"soft_labels have dtype {soft_labels.dtype}: expected floating point")
    if soft_labels.shape != logits.shape:
        raise ValueError(
            f"soft_labels have shape {soft_labels.shape}: expected {logits.shape} like the logits"
        )
    with np.errstate(over="ignore"):  # too large for float32 is reported as not finite
        soft_labels = plain_array(soft_labels, logits.dtype.type)
    finite = np.isfinite(soft_labels)
    if not np.logical_and.reduce(finite, axis=None):
        row = int(np.argmin(finite.all(axis=1)))
        raise ValueError(
            f"soft_labels[{row}] is {soft_labels[row].tolist()}: expected finite logits or "
            "log-probabilities (floor a probability of 0 before taking its logarithm)"
        )
    return soft_labels
