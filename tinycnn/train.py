"""Training: `fit` walks epochs and yields a record of each; `evaluate` scores a network.

Nothing here prints: what happened travels in records and callbacks, and the caller shows it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from . import checkpoint, divergence, metrics
from .averaging import WeightAverage, check_decay
from .losses import CrossEntropy, Loss, softmax
from .network import Network
from .optim import Optimizer, clip_by_norm
from .schedules import Constant, Schedule

Batch = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]
"""uint8 images (N, H, W[, C]); targets: class indices (N,) or distributions (N, K); soft labels:
the teacher's logits (N, K), or None."""


@runtime_checkable
class Batches(Protocol):
    """Training data: `batches(epoch)` yields the batches of an epoch, counted from 0.

    Their order must depend on the epoch alone: then training can go on from any epoch.
    """

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""

    @property
    def n_images(self) -> int:
        """Images of an epoch."""

    def __call__(self, epoch: int) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Validation:
    """Held-out images (N, H, W[, C]) uint8 with labels (N,).

    targets: distributions (N, K) that the validation loss is measured against, where the labels
    are a summary of something finer (votes); None: the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """How a network does on labelled images: mean cross-entropy of its raw logits, share right,
    calibrated probabilities."""

    loss: float
    accuracy: float
    probs: np.ndarray


@dataclass(frozen=True)
class StepRecord:
    """One training step, for progress: what the epoch has come to so far."""

    epoch: int
    batch: int
    n_batches: int
    n_images: int
    loss: float
    mean_loss: float
    mean_accuracy: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.  Losses are means an image; train_* are those of the training pass itself, with
    augmentation and dropout on; val_* are None without validation data."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    images_per_s: float
    seconds: float
    is_best: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class DivergedError(ArithmeticError):
    """Loss or weights became NaN or infinite.

    epoch, batch, step  where that began, all from 0; the step is the optimizer's
    where               what was not finite first: outputs, gradients or update of a layer by name
    The network has again the weights that it had before this epoch, and the folder keeps the
    checkpoint of the epoch before; the optimizer is to be thrown away.
    """

    def __init__(self, what: str, epoch: int, batch: int, step: int, where: str) -> None:
        super().__init__(what, epoch, batch, step, where)  # as they are: so it can be pickled
        self.what, self.epoch, self.batch, self.step, self.where = what, epoch, batch, step, where

    def __str__(self) -> str:
        advice = "a lower learning rate usually helps"
        if self.where == divergence.THE_LOSS:
            advice = "the logits are finite: look at the targets and soft labels of that batch"
        return (
            f"{self.what}: training diverged in epoch {self.epoch}, batch {self.batch} (step "
            f"{self.step}), first in {self.where}; {advice}"
        )


class Callback:
    """Override what you want to hear of.  Return True from on_epoch to stop training."""

    def on_step(self, record: StepRecord) -> None:
        """After every training step."""

    def on_epoch(self, record: EpochRecord) -> bool | None:
        """After every epoch, with its checkpoint written."""


def evaluate(
    network: Network, images: np.ndarray, labels: np.ndarray, targets: np.ndarray | None = None
) -> Evaluation:
    """Score `network` on uint8 images (N, H, W[, C]).

    labels (N,) class indices; targets (N, K) distributions for the loss, or None: the labels.
    Errors as `Network.predict_logits`, `CrossEntropy` and `metrics.accuracy`.
    """
    logits = network.predict_logits(images)
    truth = labels if targets is None else targets
    loss, _ = CrossEntropy()(logits, truth, backend=network.backend)
    probs = softmax(logits, network.calibration_temperature, backend=network.backend)
    return Evaluation(loss, metrics.accuracy(logits, labels), probs)


def fit(
    network: Network,
    batches: Batches,
    *,
    loss: Loss,
    optimizer: Optimizer,
    n_epochs: int,
    schedule: Schedule | None = None,
    validation: Validation | None = None,
    callbacks: Sequence[Callback] = (),
    patience: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    ema_decay: float = 0.0,
    clip_norm: float = 0.0,
) -> Iterator[EpochRecord]:
    """Train `network` in place; yields an EpochRecord after every epoch.

    schedule    learning rate by training step; None: the optimizer's own, constant
    validation  scored after every epoch; the best epoch is the one of highest accuracy on it (of
                lowest training loss without it), the first of equals
    patience    stop after so many epochs without a new best; None: never
    folder      exists; after every epoch `model.safetensors` (best so far) and
                `last/checkpoint.safetensors` (everything needed to go on) are written there,
                each atomically
    resume      go on from folder's last checkpoint, to the same bits as if never interrupted;
                yields the epochs that are still to do
    ema_decay   above 0: the average of the weights (`WeightAverage`) is what is scored, written
                and in the network after each epoch; those that learn go on beside it
    clip_norm   above 0: gradients longer than this are shortened to it (`clip_by_norm`)
    The network ends with the weights of the last epoch; the best are in the folder.  The same
    seeds of network and batches give the same weights, whatever the number of threads.
    Raises DivergedError where loss or weights are not finite: the network then has the weights of
    the last whole epoch, as the folder does; CheckpointError where there is nothing to resume or it
    belongs to another configuration; OSError where the folder cannot be written; ValueError for
    arguments out of range.
    """
    if not isinstance(batches, Batches):
        raise TypeError(
            f"batches is a {type(batches).__name__}; expected an object with n_batches, n_images "
            "and a call batches(epoch), such as ferdata.Batches"
        )
    if not isinstance(loss, Loss):
        raise TypeError(f"loss is {loss!r}; expected a tinycnn.Loss, such as CrossEntropy()")
    if n_epochs < 1:
        raise ValueError(f"n_epochs is {n_epochs!r}; expected 1 or more")
    if patience is not None and patience < 1:
        raise ValueError(f"patience is {patience!r}; expected None or 1 or more")
    if resume and folder is None:
        raise ValueError("resume needs the folder to resume from")
    check_decay(ema_decay)
    if not 0 <= clip_norm < math.inf:
        raise ValueError(f"clip_norm is {clip_norm!r}; expected a finite number of 0 or more")
    schedule = schedule or Constant(optimizer.learning_rate)
    configuration = {
        "loss": repr(loss),
        "optimizer": optimizer.config(),
        "schedule": repr(schedule),
        "n_batches": int(batches.n_batches),
        "n_images": int(batches.n_images),
        "n_validation_images": None if validation is None else len(validation.images),
        "ema_decay": ema_decay or None,
        "clip_norm": clip_norm or None,
    }
    average = WeightAverage(ema_decay, network.parameter_vector) if ema_decay else None
    records: list[EpochRecord] = []
    if folder is not None and resume:
        path = checkpoint.path_in(folder)
        rows = checkpoint.load(path, network, optimizer, configuration, average)
        try:
            records = [EpochRecord(**row) for row in rows]
        except TypeError as error:
            raise checkpoint.CheckpointError(f"{path}: not a checkpoint: {error}") from None
    run = _Run(
        network=network,
        batches=batches,
        loss=loss,
        optimizer=optimizer,
        n_epochs=n_epochs,
        schedule=schedule,
        validation=validation,
        callbacks=callbacks,
        patience=patience,
        folder=folder,
        configuration=configuration,
        records=records,
        average=average,
        clip_norm=clip_norm,
    )
    return _with_last_good_weights(network, run.epochs())


def _with_last_good_weights(
    network: Network, epochs: Iterator[EpochRecord]
) -> Iterator[EpochRecord]:
    """The same epochs; where one diverges the network gets back what it had before it.

    NumPy's warnings of overflow are silenced meanwhile: DivergedError says more.
    """
    while True:
        good = network.parameter_vector.copy()
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                record = next(epochs, None)
        except DivergedError:
            network.parameter_vector[:] = good
            raise
        if record is None:
            return
        yield record


@dataclass
class _Run:
    """One call of `fit`: its arguments, checked, and the records of the epochs that are done."""

    network: Network
    batches: Batches
    loss: Loss
    optimizer: Optimizer
    n_epochs: int
    schedule: Schedule
    validation: Validation | None
    callbacks: Sequence[Callback]
    patience: int | None
    folder: str | Path | None
    configuration: dict[str, Any]
    records: list[EpochRecord]
    average: WeightAverage | None
    clip_norm: float

    def epochs(self) -> Iterator[EpochRecord]:
        """Trains, epoch by epoch; yields the record of each."""
        network, optimizer, records = self.network, self.optimizer, self.records
        best = max((r for r in records if r.is_best), key=lambda r: r.epoch, default=None)
        for epoch in range(len(records), self.n_epochs):
            if self.patience is not None and best is not None:
                if epoch - best.epoch > self.patience:
                    return
            started = time.perf_counter()
            rate = self.schedule(optimizer.n_steps)
            if self.average is not None:  # outside an epoch the network holds the average
                self.average.swap(network.parameter_vector)
            mean_loss, mean_accuracy, n_images = self._train_epoch(epoch)
            if self.average is not None:
                self.average.swap(network.parameter_vector)
            seconds = time.perf_counter() - started
            scored = self._evaluate(epoch)
            record = EpochRecord(
                epoch=epoch,
                train_loss=mean_loss,
                train_accuracy=mean_accuracy,
                val_loss=scored.loss if scored else None,
                val_accuracy=scored.accuracy if scored else None,
                learning_rate=rate,
                images_per_s=n_images / seconds,
                seconds=seconds,
                is_best=best is None or _score(mean_loss, scored) > _record_score(best),
            )
            records.append(record)
            best = record if record.is_best else best
            network.training_summary = {
                "epoch": epoch,
                "val_accuracy": record.val_accuracy,
                "val_loss": record.val_loss,
                "train_loss": mean_loss,
                "n_steps": optimizer.n_steps,
            }
            if self.folder is not None:
                checkpoint.save_epoch(
                    self.folder,
                    network,
                    optimizer,
                    self.configuration,
                    [r.to_dict() for r in records],
                    is_best=record.is_best,
                    average=self.average,
                )
            stop = [callback.on_epoch(record) for callback in self.callbacks]
            yield record
            if any(stop):
                return

    def _evaluate(self, epoch: int) -> Evaluation | None:
        """The network's score on the validation data, if there are any."""
        if self.validation is None:
            return None
        images, labels, targets = (
            self.validation.images,
            self.validation.labels,
            self.validation.targets,
        )
        scored = evaluate(self.network, images, labels, targets)
        if not math.isfinite(scored.loss):
            what = f"the validation loss is {scored.loss} after the last step"
            last = (self.batches.n_batches - 1, self.optimizer.n_steps - 1)
            raise _diverged(what, self.network, images, epoch, *last)
        return scored

    def _train_epoch(self, epoch: int) -> tuple[float, float, int]:
        """Mean loss an image, share right, number of images."""
        network, optimizer = self.network, self.optimizer
        n_images, total_loss, n_right = 0, 0.0, 0
        loss = self.loss.at_epoch(epoch)
        for k, (images, targets, soft_labels) in enumerate(self.batches(epoch)):
            x = network.scale(images)
            value, logits = network.loss_and_gradients(x, loss, targets, soft_labels)
            if not math.isfinite(value):
                what = f"the loss is {value}"
                raise _diverged(what, network, images, epoch, k, optimizer.n_steps)
            if self.clip_norm:
                clip_by_norm(network.gradient_vector, self.clip_norm)
            rate = self.schedule(optimizer.n_steps)
            optimizer.step(network.parameter_vector, network.gradient_vector, rate)
            if self.average is not None:
                self.average.step(network.parameter_vector, optimizer.n_steps - 1)
            truth = targets if targets.ndim == 1 else targets.argmax(axis=1)
            n_images += len(images)
            total_loss += value * len(images)
            n_right += int(np.sum(logits.argmax(axis=1) == truth))
            step = StepRecord(
                epoch=epoch,
                batch=k,
                n_batches=self.batches.n_batches,
                n_images=n_images,
                loss=value,
                mean_loss=total_loss / max(n_images, 1),
                mean_accuracy=n_right / max(n_images, 1),
            )
            for callback in self.callbacks:
                callback.on_step(step)
        if not np.isfinite(network.parameter_vector).all():
            # the loss of the last step was computed before its update
            what = "weights are not finite"
            last = (self.batches.n_batches - 1, optimizer.n_steps - 1)
            raise _diverged(what, network, None, epoch, *last)
        return total_loss / max(n_images, 1), n_right / max(n_images, 1), n_images


def _diverged(
    what: str, network: Network, images: np.ndarray | None, epoch: int, batch: int, step: int
) -> DivergedError:
    """The error that says where it began, for what is noticed in this step or after it.

    images: those whose outputs may be the first that are not finite; None: weights are.
    """
    where, is_of_last_update = divergence.origin(network, images)
    if is_of_last_update and images is not None:  # noticed in the step after
        if batch == 0:
            where = "the weights that the epoch began with"
        else:
            batch, step = batch - 1, step - 1
    return DivergedError(what, epoch, batch, step, where)


def _score(train_loss: float, scored: Evaluation | None) -> float:
    return scored.accuracy if scored else -train_loss


def _record_score(record: EpochRecord) -> float:
    return -record.train_loss if record.val_accuracy is None else record.val_accuracy
