"""A training run: one network, trained as its options say, with everything kept in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import checkpoint
from ..calibration import Calibration, calibrate
from ..formats import safetensors
from ..network import Network
from ..optim import optimizer_from_name
from ..train import Batches, Callback, EpochRecord, Validation, iter_epochs
from .class_weights import make_class_weights
from .losses_and_schedules import make_schedule
from .networks import make_network
from .options import TrainingOptions

ARITHMETIC_VERSION = 2
"""Raised, on purpose, by whoever changes what the same options and the same batches compute.  The
trials of a sweep are named by it: results of another version are not found, and trained again."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a network is trained on.

    batches     see `train.Batches`; with soft labels if the loss has a teacher
    classes     names of the classes, in the order of the labels
    validation  None: the best epoch is the one with the lowest training loss
    framing     how the faces were cut from their photos, see `InputSpec`
    """

    batches: Batches
    classes: Sequence[str]
    validation: Validation | None = None
    framing: str | None = None


class TrainingRun:
    """One training of one network.

    network, loss, optimizer, schedule  made from the options
    folder  see `iter_epochs`; None: nothing is written.  It is made if it does not exist
    records of the epochs so far; when a run is resumed, also of those before
    calibration  of the best network; None before `calibrate`

    resume: continue from the folder's last checkpoint.  The results do not depend on n_threads.
    Raises CheckpointError if there is no checkpoint to resume from, OSError if the folder cannot be
    made, ValueError for a wrong backend or number of threads.
    """

    def __init__(
        self,
        options: TrainingOptions,
        data: TrainingData,
        folder: str | Path | None = None,
        *,
        resume: bool = False,
        backend: str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.options, self.data = options, data
        self.folder = None if folder is None else Path(folder)
        self.resume, self.backend, self.n_threads = resume, backend, n_threads
        self.network = make_network(
            options, data.classes, data.framing, backend=backend, n_threads=n_threads
        )
        self.loss = options.loss_function(
            make_class_weights(options.class_weights, data.classes, data.batches)
        )
        self.optimizer = optimizer_from_name(
            options.optimizer,
            learning_rate=options.learning_rate,
            clip_norm=options.clip_norm,
            backend=backend,
        )
        n_steps = options.epochs * data.batches.n_batches
        self.schedule = make_schedule(options.schedule, options.learning_rate, n_steps)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.records = self._records() if resume else []
        self.calibration: Calibration | None = None

    def train(self, callbacks: Sequence[Callback] = ()) -> list[EpochRecord]:
        """Train the remaining epochs; returns the records of all.

        `network` then has the weights of the last epoch; `best_network` loads those of the best.
        Raises what `iter_epochs` raises.
        """
        for record in iter_epochs(
            self.network,
            self.data.batches,
            loss=self.loss,
            optimizer=self.optimizer,
            n_epochs=self.options.epochs,
            schedule=self.schedule,
            validation=self.data.validation,
            callbacks=callbacks,
            patience=self.options.patience,
            folder=self.folder,
            resume=self.resume,
            ema_decay=self.options.ema_decay,
        ):
            self.records.append(record)
        return self.records

    def best_network(self) -> Network:
        """The network of the best epoch, from the folder."""
        return safetensors.load(self._best(), backend=self.backend, n_threads=self.n_threads)

    def calibrate(self) -> Network:
        """Complete the best network and save it in the folder.  Returns the network.

        Its calibration temperature is fitted to the validation images; it stays 1.0 if the fitted
        one makes the confidences worse.  With the option `batch_norm`, BatchNorm was there for the
        training alone and is folded now.  Raises ValueError without validation images.
        """
        held_out, network = self.data.validation, self.best_network()
        if self.options.batch_norm:
            network = network.folded()
        if held_out is None:
            raise ValueError("no validation images to calibrate the network with")
        self.calibration = calibrate(network.predict_logits(held_out.images), held_out.labels)
        network.calibration_temperature = self.calibration.temperature
        safetensors.save(network, self._best())
        return network

    def _best(self) -> Path:
        if self.folder is None:
            raise ValueError("this run has no folder, so its best network was not kept")
        return self.folder / checkpoint.BEST

    def _records(self) -> list[EpochRecord]:
        if self.folder is None:
            raise ValueError("resume needs the folder to resume from")
        try:
            return [EpochRecord(**row) for row in checkpoint.records_in(self.folder)]
        except TypeError as error:
            path = checkpoint.path_in(self.folder)
            raise checkpoint.CheckpointError(f"{path}: not a checkpoint: {error}") from None
