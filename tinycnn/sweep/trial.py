"""One trial of a sweep: its options, its name, and the training run itself.

A trial's name is a hash of its options, the data and the code, so a result on disk belongs to
exactly these.  If any of them changes, the trial is run again.  The backend and the numbers of
processes and threads are not part of the name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import checkpoint, metrics
from .._version import __version__
from ..backend_choice import backend_in_use
from ..formats import safetensors
from ..models.microexpnet import check_variant_and_size, microexpnet
from ..network import Network
from ..optim import optimizer_from_name
from ..recipes import (
    LOSSES,
    NO_TEACHER,
    NUMBERS,
    RECIPES,
    make_class_weights,
    make_loss,
    make_schedule,
    read_class_weights,
)
from ..train import Batches, EpochRecord, Validation, evaluate, fit

MAX_GRID = 100_000
SOFT_OPTIONS = ("temperature", "soft_weight", "loss_scale")
"""Options of the loss that only matter with a teacher."""

_NOT_IN_TRIALS = tuple(
    """
    calibration.py cli/ explain/ export/ formats/agreement.py formats/crc32c.py
    formats/leveldb_table.py formats/onnx.py formats/protobuf.py formats/tf_checkpoint.py
    ground/html_page.py models/pretrained.py paper/ plots.py report run_report.py svg_charts.py
    sweep/cluster.py sweep/curves.py sweep/differences.py sweep/folder.py sweep/local.py
    sweep/selection.py sweep/table.py testing.py
    """.split()
)
"""How the paths of code that trials do not run begin.  A change there does not change results.  A
test compares this with the imports."""


@dataclass(frozen=True, init=False, kw_only=True)
class Trial:
    """The options of one training run.  Those that are not given, or None, come from the recipe.

    variant, size  see `models.microexpnet` ("p12", "XXS")
    loss           one of `recipes.LOSSES`, or "none" without a teacher; SOFT_OPTIONS are then None
    temperature    a number; for kd also several, over which the loss is averaged
    loss_scale     None for losses that do not have one
    seed           of the weights, the order of the images and their augmentation (0)
    fold           number of the fold that is measured, from 0; None: the data's own split
    recipe         one of `RECIPES` ("fer"); `recipes.Recipe` explains the other options

    Equal trials have equal options: 4 becomes 4.0.  Options without effect are set to 0 or False:
    augment_strength and flipped_teacher without `augment`, flipped_teacher without a teacher.
    Raises ValueError for unknown options, and values that cannot be used.
    """

    variant: str
    size: str | int
    loss: str
    temperature: float | tuple[float, ...] | None
    soft_weight: float | None
    loss_scale: str | None
    seed: int
    fold: int | None
    epochs: int
    learning_rate: float
    batch_size: int
    augment: bool
    augment_strength: float
    label_smoothing: float
    dropout: float
    ema_decay: float
    clip_norm: float
    mixup: float
    cutmix: float
    flipped_teacher: bool
    class_weights: str
    recipe: str

    def __init__(self, **options: object) -> None:
        for name in options:
            if name not in option_names():
                has = ", ".join(sorted(option_names()))
                raise ValueError(f"no option {name!r}; a trial has {has}")
        values: dict[str, object] = {"variant": "p12", "size": "XXS", "seed": 0, "recipe": "fer"}
        values |= options
        recipe = values["recipe"]
        if not isinstance(recipe, str) or recipe not in RECIPES:
            raise ValueError(f"recipe is {recipe!r}; expected one of {', '.join(RECIPES)}")
        defaults = asdict(RECIPES[recipe])
        for name in option_names():
            if values.get(name) is None:
                values[name] = defaults.get(name)
            self._set(name, values[name])
        check_variant_and_size(self.variant, self.size)
        for name, least in (("seed", 0), ("fold", 0), ("epochs", 1), ("batch_size", 1)):
            if name != "fold" or self.fold is not None:
                self._set(name, _whole(name, values[name], least))
        self._set("learning_rate", _number("learning_rate", self.learning_rate))
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected more than 0")
        for name in ("augment", "flipped_teacher"):
            if not isinstance(values[name], bool):
                raise ValueError(f"{name} is {values[name]!r}; expected true or false")
        for name, (most, _) in NUMBERS.items():
            number = _number(name, values[name])
            if not 0 <= number <= most:
                raise ValueError(f"{name} is {number}; expected 0 to {most:g}")
            self._set(name, number)
        try:
            read_class_weights(str(self.class_weights))
        except ValueError as error:
            raise ValueError(f"class_weights is {error}") from None
        if not self.augment:
            self._set("augment_strength", 0.0)
        if not self.augment or not self.has_teacher:
            self._set("flipped_teacher", False)
        if not self.has_teacher:
            for name in SOFT_OPTIONS:
                self._set(name, None)
            return
        if self.loss not in LOSSES:
            expected = ", ".join((NO_TEACHER, *LOSSES))
            raise ValueError(f"loss is {self.loss!r}; expected one of {expected}")
        given = values["temperature"]
        several = given if isinstance(given, (list, tuple)) else [given]
        numbers = tuple(_number("temperature", value) for value in several)
        self._set("temperature", numbers[0] if len(numbers) == 1 else numbers)
        self._set("soft_weight", _number("soft_weight", self.soft_weight))
        make_loss(self.loss, self.temperature, self.soft_weight, self.loss_scale)
        if not self.loss.startswith("kd"):
            self._set("loss_scale", None)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def has_teacher(self) -> bool:
        return self.loss != NO_TEACHER

    def describe(self) -> str:
        """One line for people: `p12 XXS kd t=4 seed 0`."""
        words = [self.variant, str(self.size), self.loss if self.has_teacher else "no teacher"]
        if self.temperature is not None:
            words.append(f"t={temperature_text(self.temperature)}")
        words.append(f"seed {self.seed}")
        if self.fold is not None:
            words.append(f"fold {self.fold}")
        return " ".join(words)

    def name(self, data_key: str) -> str:
        """16 hex digits: a hash of the options, the data and the code."""
        parts = json.dumps([asdict(self), data_key, code_version()], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def parts(self, source: Source, n_threads: int) -> Parts:
        """The data of this trial.  Raises what the source raises."""
        return source.parts(
            fold=self.fold,
            seed=self.seed,
            batch_size=self.batch_size,
            augment=self.augment,
            augment_strength=self.augment_strength,
            mixup=self.mixup,
            cutmix=self.cutmix,
            with_teacher=self.has_teacher,
            flipped_teacher=self.flipped_teacher,
            n_threads=n_threads,
        )


def option_names() -> list[str]:
    """The names of a trial's options."""
    return [field.name for field in fields(Trial)]


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


def _whole(name: str, value: object, least: int) -> int:
    number = _number(name, value)
    if number != int(number) or number < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number of {least} or more")
    return int(number)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; expected a number")
    return float(value)


def shard(trials: Sequence[Trial], data_key: str, index: int, n_shards: int) -> list[Trial]:
    """Part `index` (1, 2, ...) of n_shards.  The parts do not depend on the order of the trials."""
    if not 1 <= index <= n_shards:
        raise ValueError(f"shard {index}/{n_shards}: expected 1/n to n/n")
    ordered = sorted(trials, key=lambda trial: trial.name(data_key))
    return ordered[index - 1 :: n_shards]


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release, and a hash of the source code that trials run."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root).as_posix()
        if not place.startswith(_NOT_IN_TRIALS):
            content = path.read_bytes()
            digest.update(f"{place} {len(content)}\n".encode())
            digest.update(content)
    return f"{__version__}-{digest.hexdigest()[:12]}"


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
    parts    the data of one trial; `ferdata.TrialFaces.parts` is one such function
    """

    @property
    def key(self) -> str: ...
    @property
    def classes(self) -> Sequence[str]: ...
    def parts(
        self,
        *,
        fold: int | None,
        seed: int,
        batch_size: int,
        augment: bool,
        augment_strength: float,
        mixup: float,
        cutmix: float,
        with_teacher: bool,
        flipped_teacher: bool,
        n_threads: int,
    ) -> Parts: ...


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
    Raises what `fit` and the source raise.
    """
    folder = Path(folder)
    parts = trial.parts(source, n_threads)
    classes = tuple(source.classes)
    train = partial(_trained, trial, classes, parts, folder, n_threads, backend, on_epoch)
    try:
        records, network = train(resume=True)
    except (checkpoint.CheckpointError, safetensors.ModelFileError):
        shutil.rmtree(folder, ignore_errors=True)
        records, network = train(resume=False)
    best = max(records, key=lambda record: record.val_accuracy or 0.0)
    return {
        "name": trial.name(source.key),
        "trial": asdict(trial),
        "data": source.key,
        "code": code_version(),
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


def _trained(
    trial: Trial,
    classes: tuple[str, ...],
    parts: Parts,
    folder: Path,
    n_threads: int,
    backend: str,
    on_epoch: Callable[[int], None],
    *,
    resume: bool,
) -> tuple[list[EpochRecord], Network]:
    """The records of all epochs, and the best network.  resume: use the checkpoint, if any."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe, held_out = RECIPES[trial.recipe], parts.validation
    loss = make_loss(
        trial.loss,
        trial.temperature,
        trial.soft_weight,
        trial.loss_scale,
        trial.label_smoothing,
        make_class_weights(trial.class_weights, classes, parts.batches),
    )
    network = microexpnet(
        trial.variant,
        trial.size,
        len(classes),
        classes=classes,
        scaling=recipe.scaling,
        bias_std=recipe.bias_std,
        dropout=trial.dropout,
        backend=backend,
        n_threads=n_threads,
        seed=trial.seed,
    )
    resume = resume and checkpoint.path_in(folder).exists() and (folder / checkpoint.BEST).exists()
    records = [EpochRecord(**row) for row in checkpoint.records_in(folder)] if resume else []
    for record in fit(
        network,
        parts.batches,
        loss=loss,
        optimizer=optimizer_from_name(
            recipe.optimizer,
            learning_rate=trial.learning_rate,
            clip_norm=trial.clip_norm,
            backend=backend,
        ),
        n_epochs=trial.epochs,
        schedule=make_schedule(
            recipe.schedule, trial.learning_rate, trial.epochs * parts.batches.n_batches
        ),
        validation=Validation(held_out.images, held_out.labels, held_out.targets),
        folder=folder,
        resume=resume,
        ema_decay=trial.ema_decay,
    ):
        records.append(record)
        on_epoch(record.epoch + 1)
    return records, safetensors.load(folder / checkpoint.BEST, backend=backend, n_threads=n_threads)


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
