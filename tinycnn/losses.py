"""The base class of losses, and cross-entropy.  Losses with a teacher are in distillation.py.

This file checks the arguments; the arithmetic is in kernels/cross_entropy.py and reference.py.
"""

from __future__ import annotations

import abc
import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .backend_choice import Operations
from .ground.distributions import ROW_SUM_TOLERANCE, first_wrong_row
from .ground.masked_arrays import refuse_masked, unmasked
from .ground.messages import quoted
from .shapes import python_number
from .unknown_options import NamesItsOptions


class LossTerms(NamedTuple):
    """The options of a loss that the kernel `distillation` (kernels/cross_entropy.py) computes."""

    temperature: float
    soft_weight: float
    soft_scale: float
    label_smoothing: float


class LossInputs(NamedTuple):
    """Targets and soft labels of a batch, checked and converted for the kernels."""

    labels: np.ndarray  # (N,) int64 class indices; empty if distributions were given
    targets: np.ndarray  # (N, K) distributions, of the logits' dtype; empty if labels were given
    soft_labels: np.ndarray  # (N, K) the teacher's logits, of the same dtype; empty if not used
    sample_weights: np.ndarray  # (N,) of the same dtype, see `Loss.class_weights`; empty if none

    def distributions(self) -> np.ndarray:
        """The targets as (N, K): class indices become one-hot rows."""
        if len(self.targets) or not len(self.labels):
            return self.targets
        rows = np.zeros((len(self.labels), self.targets.shape[1]), self.targets.dtype)
        rows[np.arange(len(rows)), self.labels] = 1
        return rows

    def smoothed(self, label_smoothing: float) -> LossInputs:
        """The same with `targets` (1-a) * y + a / K, a = label_smoothing, for targets or labels y.
        `labels` do not change."""
        if not label_smoothing:
            return self
        rows = (1 - label_smoothing) * self.distributions()
        rows += label_smoothing / rows.shape[1]
        return self._replace(targets=rows)


_ARGUMENTS = ("self", "logits", "inputs", "backend")  # of `Loss.value_and_gradient`


class Loss(NamesItsOptions, abc.ABC):
    """A loss of logits (N, K) against targets, and for some losses a teacher's soft labels.

    It is called once for a whole batch, so it may couple the samples of the batch.  To write one,
    derive a frozen dataclass from it and define `value_and_gradient`: see "Add a loss" in
    CONTRIBUTING.md.

    needs_soft_labels  whether it uses soft labels
    fewest_classes     how many classes the logits must have at least
    label_smoothing    a in 0..1: the targets y become (1-a) * y + a / K (Szegedy et al.,
                       arXiv:1512.00567, section 7)
    class_weights      a weight w[k] of 0 or more for each class, or a mapping from their indices.
                       The loss of a sample is multiplied by the weight of its class, or by the sum
                       of y[k] w[k] if its target y, not smoothed, is a distribution.  The mean is
                       still over the N samples of the batch, as in Keras; PyTorch divides by the
                       sum of their weights.  Empty: all weights are 1
    terms              its `LossTerms`, if the kernel `distillation` computes this loss: training is
                       faster then.  Otherwise None
    """

    needs_soft_labels: ClassVar[bool] = False
    fewest_classes: ClassVar[int] = 1
    label_smoothing: float = 0.0
    class_weights: Sequence[float] | Mapping[int, float] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """TypeError for a class whose `value_and_gradient` cannot be called as the engine does."""
        super().__init_subclass__(**options)
        signature = inspect.signature(cls.value_and_gradient)
        try:
            signature.bind(*_ARGUMENTS)
        except TypeError:
            raise TypeError(
                f"{cls.__name__}.value_and_gradient{signature}: expected the arguments "
                f"({', '.join(_ARGUMENTS)}); a loss in plain NumPy may ignore backend"
            ) from None

    @property
    def terms(self) -> LossTerms | None:
        return None

    def at_epoch(self, epoch: int) -> Loss:
        """The loss for an epoch, counted from 0.  Override it for a loss that changes."""
        return self

    @abc.abstractmethod
    def value_and_gradient(
        self, logits: np.ndarray, inputs: LossInputs, backend: str
    ) -> tuple[float, np.ndarray]:
        """Mean loss over the batch, and its gradient with the shape and dtype of logits.

        The arguments have been checked, and the targets smoothed.  `inputs.sample_weights`, if
        there are any, multiply the losses of the samples: see `weighted_mean`.
        """

    def check(
        self,
        targets: np.ndarray,
        soft_labels: np.ndarray | None,
        shape: tuple[int, int],
        dtype: np.dtype,
    ) -> LossInputs:
        """Check targets and soft labels, and return them in the form that the kernels take.

        shape, dtype  of the logits that they will be compared with
        Raises TypeError for a wrong dtype, ValueError for a wrong shape or value.
        """
        if shape[1] < self.fewest_classes:
            raise ValueError(
                f"logits have shape {shape}: expected {self.fewest_classes} classes or more"
            )
        labels, rows = check_targets(targets, shape, dtype)
        teacher = np.empty((0, shape[1]), dtype)
        if self.needs_soft_labels:
            teacher = check_soft_labels(soft_labels, shape, dtype)
        weights = _sample_weights(self.class_weights, labels, rows)
        return LossInputs(labels, rows, teacher, weights)

    def __call__(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        soft_labels: np.ndarray | None = None,
        *,
        backend: str = "auto",
    ) -> tuple[float, np.ndarray]:
        """Mean loss, and its gradient with respect to the logits.

        logits       (N, K) float32 or float64.  NaN is no error: it makes the loss NaN
        targets      (N,) class indices of any integer dtype, or (N, K) distributions (floating)
        soft_labels  (N, K) floating: the teacher's logits, or its log-probabilities; not used by a
                     loss without a teacher
        backend      "auto", "numba" or "numpy", see `tinycnn.backend_choice`
        Returns (loss, dlogits), dlogits like logits.  An empty batch has loss 0.0.
        Raises TypeError for a wrong dtype, ValueError for a wrong shape or value.
        """
        logits = check_logits(logits)
        inputs = self.check(targets, soft_labels, logits.shape, logits.dtype)
        return self.of_checked(logits, inputs, backend)

    def of_checked(
        self, logits: np.ndarray, inputs: LossInputs, backend: str
    ) -> tuple[float, np.ndarray]:
        """The same for what `check` has returned: smooths the targets and computes.  Raises
        TypeError if the loss that a class of the user's own computes is not a number."""
        smoothed = inputs.smoothed(self.label_smoothing)
        value, dlogits = self.value_and_gradient(logits, smoothed, backend)
        return python_number(f"the loss of {type(self).__name__}", value), dlogits


def keep_target_options(loss: Loss) -> None:
    """Check label_smoothing and class_weights, and store the latter as a tuple.

    Raises ValueError for values out of range, or indices that are not 0, 1, ...
    """
    if not 0 <= loss.label_smoothing <= 1:
        raise ValueError(f"label_smoothing={loss.label_smoothing}: expected 0 to 1")
    weights = loss.class_weights
    if isinstance(weights, Mapping):
        if sorted(weights) != list(range(len(weights))):
            raise ValueError(
                f"class_weights has the keys {sorted(weights)}: expected the indices of all "
                "classes, from 0 on"
            )
        weights = [weights[k] for k in range(len(weights))]
    kept = tuple(float(weight) for weight in weights)
    if not all(0 <= weight < math.inf for weight in kept):
        raise ValueError(f"class_weights={kept}: expected finite numbers of 0 or more")
    object.__setattr__(loss, "class_weights", kept)


def balanced_class_weights(targets: np.ndarray, n_classes: int) -> tuple[float, ...]:
    """Class weights with which all classes add equally much to the loss: N / (m * n[k]).

    targets  of all N training images: (N,) class indices, or (N, K) distributions
    n[k] is the number of images of class k (or the sum of their shares), m the number of classes
    that occur; a class that does not gets 1.  So the mean weight of an image is 1.
    Source: King and Zeng 2001, "Logistic regression in rare events data"; scikit-learn's
    class_weight="balanced".
    """
    refuse_masked("targets", targets)
    if targets.ndim == 2:
        counts = targets.sum(axis=0, dtype=np.float64)
    else:
        counts = np.bincount(targets, minlength=n_classes).astype(np.float64)
    occurs = counts > 0
    weights = np.ones(n_classes)
    weights[occurs] = len(targets) / (occurs.sum() * counts[occurs])
    return tuple(weights.tolist())


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy between softmax(logits) and the targets, mean over the batch.

    label_smoothing, class_weights: see `Loss`
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | Mapping[int, float] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        keep_target_options(self)

    @property
    def terms(self) -> LossTerms:
        return LossTerms(1.0, 0.0, 1.0, float(self.label_smoothing))

    def value_and_gradient(
        self, logits: np.ndarray, inputs: LossInputs, backend: str
    ) -> tuple[float, np.ndarray]:
        operations = loss_operations(backend)
        loss, dlogits = np.empty(len(logits)), np.empty_like(logits)
        if len(inputs.labels) and not len(inputs.targets):
            operations.cross_entropy_hard(logits, inputs.labels, loss, dlogits)
        else:
            operations.cross_entropy_soft(logits, inputs.targets, loss, dlogits)
        return weighted_mean(loss, dlogits, inputs)


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
    """The kernels of the losses, or their reference.  Kernels are imported on first use, so that
    importing this file needs only NumPy."""
    return Operations(backend, _kernels)


def _kernels() -> tuple[Any, ...]:
    from .kernels import (
        cross_entropy,
        decoupled_distillation,
        relation_distillation,
        standardize_logits,
    )

    return cross_entropy, decoupled_distillation, relation_distillation, standardize_logits


def batch_mean(loss: np.ndarray) -> float:
    return float(np.add.reduce(loss) / max(len(loss), 1))


def weighted_mean(
    loss: np.ndarray, dlogits: np.ndarray, inputs: LossInputs
) -> tuple[float, np.ndarray]:
    """The mean of the samples' losses (N,) times their weights, and its gradient.

    dlogits: of the mean without weights; row n must depend on the loss of sample n alone
    """
    weights = inputs.sample_weights
    if len(weights):
        loss, dlogits = loss * weights, dlogits * weights[:, None]
    return batch_mean(loss), dlogits


def _sample_weights(
    class_weights: Sequence[float] | Mapping[int, float], labels: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """The weights (N,) of samples with those labels (N,) or targets (N, K), one of them empty."""
    if not class_weights:
        return np.empty(0, rows.dtype)
    weights = np.array(class_weights, rows.dtype)
    if len(weights) != rows.shape[1]:
        raise ValueError(
            f"class_weights has {len(weights)} weights: expected {rows.shape[1]}, one for each "
            "class"
        )
    return (rows * weights).sum(axis=1) if len(rows) else weights[labels]


def plain_array(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array with that dtype, contiguous, writeable and in native byte order; copied only if
    necessary.  Kernels get no other arrays: Numba compiles them again for each kind of array."""
    if array.dtype == dtype and array.flags.carray:
        return array
    return np.require(array, dtype, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])


def check_temperature(temperature: float, most: float = math.inf) -> float:
    """The temperature as a float.  Raises ValueError unless it is a finite number above 0, and at
    most `most`."""
    try:
        value = math.nan if isinstance(temperature, str) else float(temperature)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if 0 < value < math.inf and value <= most:
        return value
    expected = "a finite number above 0" + ("" if most == math.inf else f", at most {most:g}")
    raise ValueError(f"temperature={quoted(temperature)}: expected {expected}")


def check_logits(logits: np.ndarray) -> np.ndarray:
    logits = unmasked("logits", logits)
    if logits.dtype not in (np.float32, np.float64):
        raise TypeError(f"logits have dtype {logits.dtype}: expected float32 or float64")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(
            f"logits have shape {logits.shape}: expected (images, classes) with a class or more"
        )
    return plain_array(logits, logits.dtype.type)


def check_targets(
    targets: np.ndarray, shape: tuple[int, int], dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Class indices int64 (N,) and distributions (N, K) of that dtype, for logits of that shape.
    The one of them that `targets` is not is empty."""
    targets = unmasked("targets", targets)
    n, k = shape
    if targets.dtype.kind in "iu":
        if targets.shape != (n,):
            raise ValueError(
                f"targets have shape {targets.shape}: expected ({n},) class indices for logits of "
                f"shape {shape} (distributions are floating point)"
            )
        labels = plain_array(targets, np.int64)
        if n and np.maximum.reduce(labels.view(np.uint64)) >= k:  # as uint64, negatives are large
            row = int(np.argmax((targets < 0) | (targets >= k)))
            raise ValueError(
                f"targets[{row}] is {targets[row]}: expected a class from 0 to {k - 1}"
            )
        return labels, np.empty((0, k), dtype)
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
    return np.empty(0, np.int64), plain_array(targets, dtype)


def check_soft_labels(
    soft_labels: np.ndarray | None, shape: tuple[int, int], dtype: np.dtype
) -> np.ndarray:
    """The teacher's logits (N, K) with that dtype, for logits of that shape."""
    if soft_labels is None:
        raise ValueError(
            "soft_labels are missing: distillation needs the teacher's logits, (images, classes)"
        )
    soft_labels = unmasked("soft_labels", soft_labels)
    if soft_labels.dtype.kind != "f":
        raise TypeError(f"soft_labels have dtype {soft_labels.dtype}: expected floating point")
    if soft_labels.shape != shape:
        raise ValueError(
            f"soft_labels have shape {soft_labels.shape}: expected {shape} like the logits"
        )
    with np.errstate(over="ignore"):  # a value too large for float32 is reported as not finite
        soft_labels = plain_array(soft_labels, dtype)
    finite = np.isfinite(soft_labels)
    if not np.logical_and.reduce(finite, axis=None):
        row = int(np.argmin(finite.all(axis=1)))
        raise ValueError(
            f"soft_labels[{row}] is {soft_labels[row].tolist()}: expected finite logits or "
            "log-probabilities (replace probabilities of 0 by a small number before the logarithm)"
        )
    return soft_labels
