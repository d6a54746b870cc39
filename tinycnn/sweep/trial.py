"""One trial of a sweep: its options, its name, and the training run itself.

A trial's name is a hash of its options, the data and `ARITHMETIC_VERSION`, so a result on disk
belongs to exactly these.  If any of them changes, the trial is run again.  The backend and the
numbers of processes and threads are not part of the name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import checkpoint, metrics
from ..backend_choice import backend_in_use
from ..formats import safetensors
from ..ground._version import __version__
from ..models.face_networks import MICROEXPNET
from ..network import Network
from ..run import ARITHMETIC_VERSION, TrainingData, TrainingOptions, TrainingRun
from ..run.options import option, option_table
from ..run.values import WholeNumber
from ..train import Batches, Callback, EpochRecord, Validation, evaluate

MAX_GRID = 100_000
SOFT_OPTIONS = ("temperature", "soft_weight", "loss_scale")
"""Options of the loss that only matter with a teacher."""


@dataclass(frozen=True, init=False)
class Trial(TrainingOptions):
    """The options of one training run, and the fold of the data that it is measured on.

    Equal trials have equal options: 4 becomes 4.0.  Options without effect are set to 0, False or
    None: augment_strength and flipped_teacher without `augment`, SOFT_OPTIONS and flipped_teacher
    without a teacher, loss_scale for losses that do not have one.
    Raises ValueError for unknown options, and values that cannot be used.
    """

    fold: int | None = option(
        "run",
        WholeNumber(0),
        "number of the fold that is measured, from 0",
        no_value="the data's own split",
    )

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        if not self.augment:
            self._set("augment_strength", 0.0)
        if not self.augment or not self.has_teacher:
            self._set("flipped_teacher", False)
        if not self.has_teacher:
            for name in SOFT_OPTIONS:
                self._set(name, None)
        elif not self.loss.startswith("kd"):
            self._set("loss_scale", None)

    def describe(self) -> str:
        """One line for people: `p12 XXS kd t=4 seed 0`."""
        network = [self.variant, str(self.size)] if self.network == MICROEXPNET else [self.network]
        words = [*network, self.loss if self.has_teacher else "no teacher"]
        if self.temperature is not None:
            words.append(f"t={temperature_text(self.temperature)}")
        words.append(f"seed {self.seed}")
        if self.fold is not None:
            words.append(f"fold {self.fold}")
        return " ".join(words)

    def name(self, data_key: str) -> str:
        """16 hex digits: a hash of the options, the data and ARITHMETIC_VERSION.  Options with
        their common default are left out, so that a new option, which is off by default, does not
        change the names of earlier trials."""
        table = option_table(type(self))
        options = {
            name: value
            for name, value in asdict(self).items()
            if not table[name].is_common_default(value)
        }
        parts = json.dumps([options, data_key, ARITHMETIC_VERSION], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def option_names() -> list[str]:
    """The names of a trial's options."""
    return list(option_table(Trial))


def temperature_text(temperature: float | tuple[float, ...]) -> str:
    """4.0 -> "4"; (2.0, 8.0) -> "2,8"."""
    return ",".join(f"{t:g}" for t in several(temperature))


def several(temperature: float | tuple[float, ...]) -> tuple[float, ...]:
    """The temperatures of a trial, of which kd may have more than one."""
    return temperature if isinstance(temperature, tuple) else (temperature,)


def grid(**options: Any) -> list[Trial]:
    """Trials for every combination of values.  An option is given as one value or a list of them.

    The first option changes slowest.  Options that a loss does not use do not multiply its trials:
    without a teacher, there is one trial for all temperatures.  Raises ValueError as `Trial` does,
    and for more than MAX_GRID combinations.
    """
    lists = [v if isinstance(v, (list, tuple)) else [v] for v in options.values()]
    n_trials = math.prod(map(len, lists))
    if n_trials > MAX_GRID:
        raise ValueError(f"a grid of {n_trials:,} trials; expected at most {MAX_GRID:,}")
    trials = (Trial(**dict(zip(options, values))) for values in itertools.product(*lists))
    return list(dict.fromkeys(trials))


def shard(trials: Sequence[Trial], data_key: str, index: int, n_shards: int) -> list[Trial]:
    """Part `index` (1, 2, ...) of n_shards.  The parts do not depend on the order of the trials."""
    if not 1 <= index <= n_shards:
        raise ValueError(f"shard {index}/{n_shards}: expected 1/n to n/n")
    ordered = sorted(trials, key=lambda trial: trial.name(data_key))
    return ordered[index - 1 :: n_shards]


class HeldOut(Protocol):
    """Images to measure on; targets: distributions for the loss, or None."""

    @property
    def images(self) -> np.ndarray: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def targets(self) -> np.ndarray | None: ...


class Parts(Protocol):
    """The data of a trial; test is None if the data have no test images."""

    @property
    def batches(self) -> Batches: ...
    @property
    def validation(self) -> HeldOut: ...
    @property
    def test(self) -> HeldOut | None: ...


class Source(Protocol):
    """The data of a sweep.  It is pickled to get to the worker processes.

    key      differs for other data, and for other processing of the data
    classes  names, in the order of the labels
    parts    the data of one trial, whose options are given; `ferdata.TrialFaces` is one source
    """

    @property
    def key(self) -> str: ...
    @property
    def classes(self) -> Sequence[str]: ...
    def parts(self, options: Trial, n_threads: int) -> Parts: ...


def run_trial(
    trial: Trial,
    source: Source,
    folder: str | Path,
    *,
    n_threads: int = 1,
    backend: str = "auto",
    on_epoch: Callable[[int], None] = lambda n_epochs: None,
) -> dict[str, Any]:
    """Train, or resume from the last checkpoint in `folder`, which is made if necessary.

    on_epoch  called with the number of epochs done, after each checkpoint; an error ends the trial
    Returns the result as values that JSON can hold.  It is about the epoch with the best validation
    accuracy, whose network stays in `folder` as checkpoint.BEST; only that network is run on the
    test images.  If a checkpoint cannot be used, the trial starts again from the beginning.
    Raises what `iter_epochs` and the source raise.
    """
    folder, parts = Path(folder), source.parts(trial, n_threads)
    held_out = Validation(
        parts.validation.images, parts.validation.labels, parts.validation.targets
    )
    data = TrainingData(parts.batches, tuple(source.classes), held_out)

    def train(resume: bool) -> tuple[list[EpochRecord], Network]:
        run = TrainingRun(trial, data, folder, resume=resume, backend=backend, n_threads=n_threads)
        return run.train([_CountEpochs(on_epoch)]), run.best_network()

    try:
        began = checkpoint.path_in(folder).exists() and (folder / checkpoint.BEST).exists()
        records, network = train(resume=began)
    except (checkpoint.CheckpointError, safetensors.ModelFileError):
        shutil.rmtree(folder, ignore_errors=True)
        records, network = train(resume=False)
    best = max(records, key=lambda record: record.val_accuracy or 0.0)
    return {
        "name": trial.name(source.key),
        "trial": asdict(trial),
        "data": source.key,
        "tinycnn": __version__,
        "arithmetic_version": ARITHMETIC_VERSION,
        "backend": backend_in_use(backend),
        "n_parameters": network.n_parameters,
        "classes": list(network.classes),
        "best_epoch": best.epoch,
        "seconds": sum(record.seconds for record in records),
        "train_loss": [record.train_loss for record in records],
        "train_accuracy": [record.train_accuracy for record in records],
        "val_accuracy": [record.val_accuracy for record in records],
        "val_loss": [record.val_loss for record in records],
        "validation": _scores(network, parts.validation),
        "test": None if parts.test is None else _scores(network, parts.test),
    }


class _CountEpochs(Callback):
    """Calls a function with the number of epochs done."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self.tell = tell

    def on_epoch(self, record: EpochRecord) -> None:
        self.tell(record.epoch + 1)


def _scores(network: Network, part: HeldOut) -> dict[str, Any]:
    """Accuracy, loss, confusions, and each image's class: what reports need."""
    scored = evaluate(network, part.images, part.labels, part.targets)
    predicted = scored.probs.argmax(axis=1)
    confusions = metrics.confusion_matrix(part.labels, predicted, len(network.classes))
    return {
        "n_images": len(part.labels),
        "accuracy": scored.accuracy,
        "loss": scored.loss,
        "confusions": confusions.tolist(),
        "predicted": predicted.tolist(),
        "confidence": [round(float(p), 4) for p in scored.probs.max(axis=1)],
    }


def read_trial(options: dict[str, Any]) -> Trial:
    """A trial from the options in a result.  Raises ValueError if they are not a trial's."""
    try:
        return Trial(**options)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a trial: {error}") from None


def options_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the trial that a result is of."""
    return asdict(read_trial(result["trial"]))


def names(trials: Iterable[Trial], data_key: str) -> dict[str, Trial]:
    """Trials by name; equal trials have one entry."""
    return {trial.name(data_key): trial for trial in trials}
