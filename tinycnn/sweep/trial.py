"""One trial of a sweep: its options, its name, and how it is run and gone on with.

A trial's name is a hash of its options, of the data and of the code, so a result on disk belongs to
exactly one of each: change any and the trial is run anew, change none and it is not.  How many
processes or threads ran it, and on which backend, is no part of the name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

from .. import checkpoint, metrics
from .._version import __version__
from ..backend_choice import backend_in_use
from ..formats import safetensors
from ..models.microexpnet import check_variant_and_size, microexpnet
from ..network import Network
from ..optim import optimizer_from_name
from ..recipes import LOSSES, NO_TEACHER, NUMBERS, RECIPES, make_loss, make_schedule
from ..train import Batches, Callback, EpochRecord, Evaluation, Validation, evaluate, fit

MAX_GRID = 100_000
SOFT_OPTIONS = ("temperature", "soft_weight", "loss_scale")
"""Options that nothing but a teacher's part in the loss has a use for."""

_LATER = ("calibration.py", "cli/", "explain/", "export/", "plots.py", "report", "svg_charts.py")
_LATER += ("testing.py", "formats/agreement.py", "formats/crc32c.py", "formats/leveldb_table.py")
_LATER += ("formats/onnx.py", "formats/protobuf.py", "formats/tf_checkpoint.py")
_LATER += ("models/pretrained.py", "sweep/cluster.py", "sweep/folder.py", "sweep/local.py")
_LATER += ("sweep/selection.py", "sweep/table.py", "sweep/differences.py", "paper/")
_LATER += ("sweep/curves.py",)
"""What no trial runs: to change it leaves the results as they were.  A test reads the imports."""


@dataclass(frozen=True)
class Trial:
    """Options of one training.

    variant, size  of `models.microexpnet`; a whole number as size is the units of its dense layer
    loss           one of `recipes.LOSSES`, or "none": without a teacher, whose SOFT_OPTIONS are
                   then None; loss_scale is None for losses that have none
    temperature    a number, or several for kd: the mean over them
    fold           number of the fold that is measured on, from 0; None: the data's own split
    augment_strength to flipped_teacher  see `recipes.Recipe`. Without augment the first and the
                   last do nothing, without a teacher the last: they are then 0 and False
    recipe         one of `RECIPES`: all options that are not given here
    Options of the recipe that are None take its value when the trial is made.  Equal options give
    equal trials: 4 and 4.0 are one temperature.  Raises ValueError for what cannot be trained.
    """

    variant: str = "p12"
    size: str | int = "XXS"
    loss: str | None = None
    temperature: float | tuple[float, ...] | None = None
    soft_weight: float | None = None
    loss_scale: str | None = None
    seed: int = 0
    fold: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    augment: bool | None = None
    augment_strength: float | None = None
    label_smoothing: float | None = None
    dropout: float | None = None
    ema_decay: float | None = None
    clip_norm: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    flipped_teacher: bool | None = None
    recipe: str = "fer"

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe is {self.recipe!r}; expected one of {', '.join(RECIPES)}")
        recipe = RECIPES[self.recipe]
        for field in fields(self):
            if getattr(self, field.name) is None and hasattr(recipe, field.name):
                self._set(field.name, getattr(recipe, field.name))
        check_variant_and_size(self.variant, self.size)
        for name, least in (("seed", 0), ("fold", 0), ("epochs", 1), ("batch_size", 1)):
            if name != "fold" or self.fold is not None:
                self._set(name, _whole(name, getattr(self, name), least))
        self._set("learning_rate", _number("learning_rate", self.learning_rate))
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected more than 0")
        for name in ("augment", "flipped_teacher"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected true or false")
        for name, (most, _) in NUMBERS.items():
            self._set(name, _number(name, getattr(self, name)))
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 to {most:g}")
        if not self.augment:  # then it does nothing
            self._set("augment_strength", 0.0)
            self._set("flipped_teacher", False)
        if not self.has_teacher:
            for name in SOFT_OPTIONS:
                self._set(name, None)
            self._set("flipped_teacher", False)
            return
        if self.loss not in LOSSES:
            expected = ", ".join((NO_TEACHER, *LOSSES))
            raise ValueError(f"loss is {self.loss!r}; expected one of {expected}")
        several = isinstance(self.temperature, (list, tuple))
        given = self.temperature if several else [self.temperature]
        numbers = tuple(_number("temperature", value) for value in given)
        self._set("temperature", numbers if len(numbers) > 1 else numbers[0] if numbers else ())
        self._set("soft_weight", _number("soft_weight", self.soft_weight))
        make_loss(self.loss, self.temperature, self.soft_weight, self.loss_scale)
        if not self.loss.startswith("kd"):
            self._set("loss_scale", None)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def has_teacher(self) -> bool:
        return self.loss != NO_TEACHER

    def describe(self) -> str:
        """One line for people: `p12 XXS kd t=4 seed 0`."""
        words = [self.variant, str(self.size), self.loss if self.has_teacher else "no teacher"]
        if self.has_teacher:
            words.append(f"t={temperature_text(self.temperature)}")
        words.append(f"seed {self.seed}")
        if self.fold is not None:
            words.append(f"fold {self.fold}")
        return " ".join(words)

    def name(self, data_key: str) -> str:
        """16 hex digits, of the options, the data and the code."""
        parts = json.dumps([asdict(self), data_key, code_version()], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:16]


def temperature_text(temperature: float | tuple[float, ...]) -> str:
    """4.0 -> "4"; (2.0, 8.0) -> "2,8"."""
    several = temperature if isinstance(temperature, tuple) else (temperature,)
    return ",".join(f"{t:g}" for t in several)


def grid(**options: Any) -> list[Trial]:
    """Trials for every combination of the options' values: a list stands for several.

    The first option changes slowest.  Options that do not matter to a loss do not multiply its
    trials: without a teacher, all temperatures are one trial.  Raises ValueError as `Trial` does,
    for an option that it does not have, and for more than MAX_GRID combinations.
    """
    known = {field.name for field in fields(Trial)}
    for name in options:
        if name not in known:
            raise ValueError(f"no option {name!r}; a trial has {', '.join(sorted(known))}")
    lists = [v if isinstance(v, (list, tuple)) else [v] for v in options.values()]
    n_trials = math.prod(map(len, lists))
    if n_trials > MAX_GRID:
        raise ValueError(f"a grid of {n_trials:,} trials; expected at most {MAX_GRID:,}")
    trials = (Trial(**dict(zip(options, values))) for values in itertools.product(*lists))
    return list(dict.fromkeys(trials))


def _whole(name: str, value: Any, least: int) -> int:
    number = _number(name, value)
    if number != int(number) or number < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number of {least} or more")
    return int(number)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; expected a number")
    return float(value)


def shard(trials: Sequence[Trial], data_key: str, index: int, n_shards: int) -> list[Trial]:
    """The index-th of n_shards parts (from 1), which do not depend on the order of trials."""
    if not 1 <= index <= n_shards:
        raise ValueError(f"shard {index}/{n_shards}: expected 1/n to n/n")
    ordered = sorted(trials, key=lambda trial: trial.name(data_key))
    return ordered[index - 1 :: n_shards]


@lru_cache(maxsize=1)
def code_version() -> str:
    """The release and a hash of the source that trials run: what results depend on besides data."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for path in sorted(root.rglob("*.py")):
        place = path.relative_to(root).as_posix()
        if not place.startswith(_LATER):
            content = path.read_bytes()
            digest.update(f"{place} {len(content)}\n".encode())
            digest.update(content)
    return f"{__version__}-{digest.hexdigest()[:12]}"


class Parts(Protocol):
    """A trial's data.  validation and test: objects with images, labels and targets (or None)."""

    batches: Batches
    validation: Any
    test: Any | None


class Source(Protocol):
    """Where trials get their data from; picklable, for it travels to the worker processes.

    key      changes whenever the data, or what is done to them, do
    classes  names, in the order of the labels
    parts    `ferdata.TrialFaces.parts` is one
    """

    key: str
    classes: Sequence[str]

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


class _Tell(Callback):
    def __init__(self, on_epoch: Callable[[int], None]) -> None:
        self.tell = on_epoch

    def on_epoch(self, record: EpochRecord) -> None:
        self.tell(record.epoch + 1)


def run_trial(
    trial: Trial,
    source: Source,
    folder: str | Path,
    *,
    n_threads: int = 1,
    backend: str = "auto",
    on_epoch: Callable[[int], None] = lambda n_epochs: None,
) -> dict[str, Any]:
    """Train, or go on from the last checkpoint in `folder` (made if need be); returns the result.

    The result is what JSON can hold.  The epoch is the best on the validation images; test images
    are looked at once, with that epoch's network, which stays in `folder` as checkpoint.BEST.  A
    checkpoint that cannot be gone on with is thrown away and the trial begun anew.  on_epoch(n)
    hears of each epoch done, with its checkpoint written; what it raises ends the trial.
    Errors as `fit` and as the source's.
    """
    folder = Path(folder)
    parts = source.parts(
        fold=trial.fold,
        seed=trial.seed,
        batch_size=trial.batch_size,
        augment=trial.augment,
        augment_strength=trial.augment_strength,
        mixup=trial.mixup,
        cutmix=trial.cutmix,
        with_teacher=trial.has_teacher,
        flipped_teacher=trial.flipped_teacher,
        n_threads=n_threads,
    )
    setting = (trial, tuple(source.classes), parts, folder, n_threads, backend, on_epoch)
    try:
        records, network = _trained(*setting, resume=True)
    except (checkpoint.CheckpointError, safetensors.ModelFileError):
        shutil.rmtree(folder, ignore_errors=True)
        records, network = _trained(*setting, resume=False)
    best = max(records, key=lambda record: record.val_accuracy)
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
    """All epochs' records and the best network; resume: from the checkpoint, if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[trial.recipe]
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
    began = checkpoint.path_in(folder).exists() and (folder / checkpoint.BEST).exists()
    resume = resume and began
    done = checkpoint.records_in(folder) if resume else []
    following = fit(
        network,
        parts.batches,
        loss=make_loss(
            *(trial.loss, trial.temperature, trial.soft_weight, trial.loss_scale),
            trial.label_smoothing,
        ),
        optimizer=optimizer_from_name(
            recipe.optimizer, learning_rate=trial.learning_rate, backend=backend
        ),
        n_epochs=trial.epochs,
        schedule=make_schedule(
            recipe.schedule, trial.learning_rate, trial.epochs * parts.batches.n_batches
        ),
        validation=Validation(
            parts.validation.images, parts.validation.labels, parts.validation.targets
        ),
        callbacks=[_Tell(on_epoch)],
        folder=folder,
        resume=resume,
        ema_decay=trial.ema_decay,
        clip_norm=trial.clip_norm,
    )
    records = [EpochRecord(**row) for row in done] + list(following)
    return records, safetensors.load(folder / checkpoint.BEST, backend=backend, n_threads=n_threads)


def _scores(network: Any, part: Any) -> dict[str, Any]:
    """Accuracy, loss, confusions and each image's class: what reports are made of."""
    scored: Evaluation = evaluate(network, part.images, part.labels, part.targets)
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
    """A trial from a result's options.  Raises ValueError for others than a trial's."""
    try:
        return Trial(**options)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"no trial: {error}") from None


def names(trials: Iterable[Trial], data_key: str) -> dict[str, Trial]:
    """Trials by their names; equal ones come once."""
    return {trial.name(data_key): trial for trial in trials}
