"""Training: `iter_epochs` trains epoch by epoch and yields a record of each.  `fitting.fit` takes
arrays and names, and trains to the end.

Nothing here prints: the caller shows what records and callbacks report.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from . import checkpoint, divergence
from .averaging import WeightAverage, check_decay
from .divergence import DivergedError as DivergedError
from .epochs import EpochRecord as EpochRecord
from .epochs import Epochs, release
from .evaluation import Evaluation, Validation, check_network, evaluate
from .losses import Loss
from .network import Network
from .optim import Optimizer
from .schedules import Constant, ReduceLROnPlateau, Schedule
from .shapes import check_kind, check_positive, check_whole, python_number

Batch = tuple[np.ndarray, np.ndarray, "np.ndarray | None"]
"""uint8 images (N, H, W[, C]); targets: class indices (N,) or distributions (N, K); soft labels:
the teacher's logits (N, K), or None."""


@runtime_checkable
class Batches(Protocol):
    """Training data: `batches(epoch)` yields the batches of an epoch, counted from 0.

    The batches must depend only on the epoch, so that training can resume at any epoch.
    """

    @property
    def n_batches(self) -> int:
        """Number of batches in every epoch; 0 if it is not known."""

    @property
    def n_images(self) -> int:
        """Number of images in every epoch; not used if n_batches is 0."""

    def __call__(self, epoch: int) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class StepRecord:
    """A training step; n_images, mean_loss and mean_accuracy are those of the epoch so far.

    n_batches: in an epoch; 0 if that is not known, because a function gives the batches
    """

    epoch: int
    batch: int
    n_batches: int
    n_images: int
    loss: float
    mean_loss: float
    mean_accuracy: float


class Callback:
    """Functions that are called during training: derive a class and override those you need."""

    def on_step(self, record: StepRecord) -> None:
        """Called after every training step."""

    def on_epoch(self, record: EpochRecord) -> bool | None:
        """Called after every epoch, when its checkpoint is written.  Return True to stop."""


def iter_epochs(
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
) -> Iterator[EpochRecord]:
    """Train `network` in place, while the caller iterates; yields an EpochRecord after every epoch.

    batches     such as `ArrayBatches` or `ferdata.Batches`
    schedule    learning rate for each training step; None: the optimizer's own, constant.  A
                ReduceLROnPlateau watches the epoch records
    validation  scored after every epoch.  The best epoch is the one with the highest accuracy on
                it, or the lowest loss if its best_by says so (without it, the one with the lowest
                training loss), the first of equal ones
    patience    stop after this many epochs without a new best one; None: never
    folder      made if it is missing, and locked while the run goes on; one that another run has
                used is refused.  After every epoch `model.safetensors` (the best so far) and
                `last/checkpoint.safetensors` (everything needed to resume) are written there,
                each atomically
    resume      continue from the folder's last checkpoint, with the same bits as without the
                interruption; yields the remaining epochs
    ema_decay   above 0: after each epoch, the network has the average of the weights
                (`WeightAverage`), and this is what is scored and saved; training continues with the
                weights themselves
    In the end the network has the weights of the last epoch; the best are in the folder.  The same
    seeds of network and batches give the same weights, for any number of threads.
    Raises DivergedError if the loss or the weights are not finite: the network then has the weights
    of the last complete epoch, as the folder does; CheckpointError if there is no checkpoint to
    resume from, one with another configuration, or the best model of another run, and for a new run
    in a folder that another run has used; OSError if the folder cannot be written; ValueError or
    TypeError for wrong arguments, or an epoch without images or with other numbers of batches and
    images than the batches say.
    """
    check_network(network)
    if not isinstance(batches, Batches):
        raise TypeError(
            f"batches is a {type(batches).__name__}; expected an object with n_batches, n_images "
            "and a call batches(epoch), such as tinycnn.ArrayBatches or ferdata.Batches"
        )
    check_kind("loss", loss, Loss, "a tinycnn.Loss, such as CrossEntropy()")
    check_kind("optimizer", optimizer, Optimizer, "a tinycnn.Optimizer, such as Adam()")
    if validation is not None:
        expected = "None or tinycnn.Validation(images, labels)"
        check_kind("validation", validation, Validation, expected)
        validation.check(network)
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks is a {type(callbacks).__name__}; expected a list of callbacks")
    for k, callback in enumerate(callbacks):
        check_kind(
            f"callbacks[{k}]", callback, Callback, "an object of a class of tinycnn.Callback"
        )
    check_positive(n_epochs=n_epochs)
    if patience is not None and (not isinstance(patience, Integral) or patience < 1):
        raise ValueError(f"patience is {patience!r}; expected None or 1 or more")
    if resume and folder is None:
        raise ValueError("resume needs the folder to resume from")
    if folder is not None and not isinstance(folder, (str, os.PathLike)) or folder == "":
        raise TypeError(f"folder is {folder!r:.80}; expected the name of a folder, or None")
    check_whole(0, **{"batches.n_batches": batches.n_batches, "batches.n_images": batches.n_images})
    ema_decay = check_decay(ema_decay)
    schedule = schedule or Constant(optimizer.learning_rate)
    if isinstance(schedule, ReduceLROnPlateau) and validation is None:
        if schedule.monitor.startswith("val_"):
            raise ValueError(f"ReduceLROnPlateau: {schedule.monitor} needs validation data")
    configuration = {
        "loss": described(loss),
        "frozen_layers": list(network.frozen_layers) or None,
        "optimizer": optimizer.config(),
        "schedule": described(schedule),
        "n_batches": int(batches.n_batches),
        "n_images": int(batches.n_images),
        "n_validation_images": None if validation is None else len(validation.images),
        "ema_decay": ema_decay or None,
        "best_by": None if validation is None or validation.best_by == "accuracy" else "loss",
        "arithmetic_version": checkpoint.ARITHMETIC_VERSION,
        "batches_version": getattr(batches, "version", checkpoint.FIRST_VERSION),
    }
    average = WeightAverage(ema_decay, network.parameter_vector) if ema_decay else None
    records: list[EpochRecord] = []
    best_is_ahead = False
    lock = None if folder is None else checkpoint.claim(folder, configuration, resume)
    if folder is not None and resume:
        path = checkpoint.path_in(folder)
        try:
            rows = checkpoint.load(path, network, optimizer, configuration, average)
            records = [EpochRecord(**row) for row in rows]
            best_is_ahead = checkpoint.check_best(folder, network, rows)
        except checkpoint.CheckpointError:
            release(lock)
            raise
        except TypeError as error:
            release(lock)
            raise checkpoint.CheckpointError(f"{path}: not a checkpoint: {error}") from None
    run = _Run(
        network=network,
        batches=batches,
        loss=loss,
        optimizer=optimizer,
        n_epochs=int(n_epochs),
        schedule=schedule,
        validation=validation,
        callbacks=callbacks,
        patience=patience,
        folder=folder,
        configuration=configuration,
        records=records,
        average=average,
        best_is_ahead=best_is_ahead,
    )
    return Epochs(network, run.epochs(), lock)


@dataclass
class _Run:
    """A call of `iter_epochs`: its arguments, checked, and the records of the epochs so far."""

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
    best_is_ahead: bool  # the folder has the best model of the next epoch, see `check_best`
    n_batches_done: int = 0  # of the current epoch

    def epochs(self) -> Iterator[EpochRecord]:
        """Train epoch by epoch; yields the record of each."""
        network, optimizer, records = self.network, self.optimizer, self.records
        best = max((r for r in records if r.is_best), key=lambda r: r.epoch, default=None)
        for epoch in range(len(records), self.n_epochs):
            if self.patience is not None and best is not None:
                if epoch - best.epoch > self.patience:
                    return
            started = time.perf_counter()
            schedule = self.schedule
            if isinstance(schedule, ReduceLROnPlateau):
                schedule = schedule.after(records)
            rate = _rate(schedule, optimizer.n_steps)
            if self.average is not None:  # between epochs, the network has the average
                self.average.swap(network.parameter_vector)
            mean_loss, mean_accuracy, n_images = self._train_epoch(epoch, schedule)
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
                is_best=False,
            )
            if best is None or self._score(record) > self._score(best):
                best = record = replace(record, is_best=True)
            elif self.best_is_ahead and self.folder is not None:
                raise checkpoint.other_best(self.folder)
            self.best_is_ahead = False
            records.append(record)
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

    def _score(self, record: EpochRecord) -> float:
        """What the best epoch has the highest value of."""
        if record.val_accuracy is None or record.val_loss is None:
            return -record.train_loss
        by_loss = self.validation is not None and self.validation.best_by == "loss"
        return -record.val_loss if by_loss else record.val_accuracy

    def _evaluate(self, epoch: int) -> Evaluation | None:
        """The network's scores on the validation data, if there are any."""
        held_out = self.validation
        if held_out is None:
            return None
        scored = evaluate(self.network, held_out.images, held_out.labels, held_out.targets)
        if not math.isfinite(scored.loss):
            what = f"the validation loss is {scored.loss} after the last step"
            raise self._diverged(what, held_out.images, epoch)
        return scored

    def _diverged(
        self, what: str, images: np.ndarray | None, epoch: int, batch: int | None = None
    ) -> DivergedError:
        """The error for a divergence that is found in this batch; it says where that began.

        images: whose loss is not finite; None: the weights are not finite
        batch: before its update; None: after the last update of the epoch
        """
        step = self.optimizer.n_steps
        if batch is None:
            batch, step = self.n_batches_done - 1, step - 1
        where, is_of_last_update = divergence.origin(self.network, images)
        if is_of_last_update and images is not None:  # it began in the step before
            if batch == 0:
                where = "the weights that the epoch began with"
            else:
                batch, step = batch - 1, step - 1
        return DivergedError(what, epoch, batch, step, where)

    def _promised_sizes(self) -> tuple[int, int]:
        """Batches and images of an epoch, as the batches say before it; 0 batches: not known."""
        return int(self.batches.n_batches), int(self.batches.n_images)

    def _train_epoch(self, epoch: int, schedule: Schedule) -> tuple[float, float, int]:
        """Returns the mean loss and the accuracy over the images, and the number of images."""
        network, optimizer = self.network, self.optimizer
        n_images, total_loss, n_right = 0, 0.0, 0
        loss = self.loss.at_epoch(epoch)
        self.n_batches_done = 0
        for k, batch in enumerate(self.batches(epoch)):
            images, targets, soft_labels = _parts(batch, epoch)
            x = network.scale(images)
            value, logits = network.loss_and_gradients(x, loss, targets, soft_labels)
            if not math.isfinite(value):
                raise self._diverged(f"the loss is {value}", images, epoch, k)
            rate = _rate(schedule, optimizer.n_steps)
            optimizer.step(network.trained_vector, network.trained_gradients, rate)
            if self.average is not None:
                self.average.step(network.parameter_vector, optimizer.n_steps - 1)
            truth = targets if targets.ndim == 1 else targets.argmax(axis=1)
            n_images += len(images)
            total_loss += value * len(images)
            n_right += int(np.sum(logits.argmax(axis=1) == truth))
            self.n_batches_done = k + 1
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
        if not n_images:
            raise ValueError(
                f"epoch {epoch} has no images: the batches gave none.  A generator can be read "
                "only once: make a new one for each epoch"
            )
        found, expected = (self.n_batches_done, n_images), self._promised_sizes()
        if expected[0] and found != expected:
            raise ValueError(
                f"epoch {epoch} had {found[0]} batches with {found[1]} images; n_batches and "
                f"n_images of the batches are {expected[0]} and {expected[1]}: expected the "
                "numbers of every epoch, which schedules and records rely on"
            )
        if not np.isfinite(network.parameter_vector).all():
            # the loss of the last step was computed before its update
            raise self._diverged("weights are not finite", None, epoch)
        return total_loss / n_images, n_right / n_images, n_images


def _parts(batch: Any, epoch: int) -> Batch:
    """Images, targets as an array, and soft labels or None.  Raises TypeError for anything else."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        kind = f"a {type(batch).__name__}"
        if isinstance(batch, (tuple, list)):
            kind += f" of {len(batch)}"
        raise TypeError(
            f"batches({epoch}) gave {kind}; expected (images, targets, soft_labels), one batch "
            "after another, where soft_labels may be None"
        )
    images, targets = batch[:2]
    return images, np.asarray(targets), batch[2] if len(batch) == 3 else None


def _rate(schedule: Schedule, step: int) -> float:
    return python_number(f"the learning rate of step {step}", schedule(step))


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(value: object) -> str:
    """The text of a loss or a schedule, by which a run that is resumed is compared.  One without a
    text of its own is described by its class and its attributes; a function by its name."""
    text = repr(value)
    if type(value).__repr__ is object.__repr__:
        options = ", ".join(f"{name}={option!r}" for name, option in vars(value).items())
        text = f"{type(value).__name__}({options})"
    return _ADDRESS.sub("", text)
