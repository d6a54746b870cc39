"""fit: trains a network on arrays, on batches, or on what a function gives for each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from . import checkpoint
from .class_head import rate_factors
from .distillation import DecoupledDistillation, Distillation, RelationDistillation
from .evaluation import Validation, check_network
from .history import History
from .losses import CrossEntropy, Loss
from .network import Network
from .optim import Optimizer, optimizer_from_name
from .schedules import Constant, Schedule
from .shapes import check_kind, check_positive, check_whole
from .train import Batches, Callback, EpochRecord, iter_epochs
from .training_data import (
    BATCH_SIZE,
    ArrayBatches,
    batches_from,
    held_out_rows,
    labelled_images,
    validation_from,
)
from .unknown_options import refuse_unknown

if TYPE_CHECKING:
    from typing_extensions import Unpack

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "distillation": Distillation,
    "decoupled_distillation": DecoupledDistillation,
    "relation_distillation": RelationDistillation,
}
"""Losses by name, with their default options."""

KERAS_LOSSES = ("categorical_crossentropy", "sparse_categorical_crossentropy")
"""Keras' names of cross-entropy: there labels of another kind need another loss."""

LEARNING_RATES = {"adam": 1e-3, "adamw": 1e-3}
"""Of optimizers that are given by name, where Keras' is not the default of ours."""


class FitOptions(TypedDict, total=False):
    """The options of `fit` that are rarely needed; its docstring describes them."""

    shuffle: bool
    validation_split: float
    first_layers_rate: float
    patience: int | None
    restore_best: bool
    folder: str | Path | None
    resume: bool
    ema_decay: float
    verbose: bool | int


OPTIONS = (
    *("labels", "epochs", "batch_size", "loss", "optimizer", "learning_rate", "validation_data"),
    *("soft_labels", "callbacks", "seed", *FitOptions.__annotations__),
)
"""The names of all options, for messages."""

ARRAYS_ALONE = ("shuffle", "validation_split")
"""Options of `FitOptions` that need arrays."""


def fit(
    network: Network,
    images: np.ndarray | Batches | Callable[[int], Iterable[Any]],
    labels: npt.ArrayLike | None = None,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    loss: str | Loss | None = None,
    optimizer: str | Optimizer = "adam",
    learning_rate: float | Schedule | None = None,
    validation_data: Validation | tuple[np.ndarray, npt.ArrayLike] | None = None,
    soft_labels: np.ndarray | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    **options: Unpack[FitOptions],
) -> History:
    """Train `network` in place and return the history: a record of every epoch.

    images           uint8 (N, H, W) or (N, H, W, C), pixels 0..255: the network's InputSpec scales
                     them.  Or batches: an object such as ferdata.Batches, or a function of the
                     epoch (counted from 0) that gives (images, labels) or
                     (images, labels, soft_labels), one batch after another
    labels           class indices (N,), names of the network's classes (N,), one-hot rows (N, K),
                     or distributions over the classes (N, K), floating
    epochs           how often the network sees all images
    batch_size       images in a step, 64 by default.  Fewer images are one batch
    loss             "cross_entropy", "distillation", another name in LOSSES, or a tinycnn.Loss.
                     None: distillation if there are soft_labels, else cross-entropy
    optimizer        "adam", "adamw" or "sgd", or a tinycnn.Optimizer
    learning_rate    a number, or a schedule of the step such as tinycnn.OneCycle.  None: 1e-3 for
                     "adam" and "adamw", 1e-2 for "sgd", an optimizer object's own
    validation_data  (images, labels) that are scored after every epoch
    soft_labels      floating (N, K): a teacher's logits for distillation
    callbacks        objects of classes that derive from tinycnn.Callback
    seed             for the order of the images; first weights and dropout have the network's
    Further options, all by name:
    shuffle           False: every epoch has the images in the order of the array
    validation_split  this share of the images is held out as validation data: drawn with `seed`,
                      about the same share of every class
    first_layers_rate the layers before the last one with weights learn with this factor of the
                      learning rate, for fine-tuning: 0.1.  `Network.freeze` freezes layers
    patience          stop after so many epochs without a new best one, see `iter_epochs`
    restore_best      True: in the end the network gets the weights of the best epoch
    folder, resume, ema_decay   as in `iter_epochs`, which also says where checkpoints are written
    verbose           True: print a line after every epoch
    A second call continues with the network's weights, but a new optimizer if that is a name.
    `iter_epochs` yields the records one by one, to those who want to watch.
    Raises TypeError or ValueError, before any training, for arguments that do not fit, with what
    was expected; while training as `iter_epochs`.
    """
    check_network(network)
    refuse_unknown("fit", options, OPTIONS)
    check_positive(epochs=epochs)
    check_whole(0, seed=seed)
    batches: Batches
    if isinstance(images, np.ndarray):
        part = labelled_images(network, images, labels, soft_labels)
        fraction = options.get("validation_split")
        if fraction is not None:
            if validation_data is not None:
                raise ValueError("validation_split or validation_data, not both")
            held_out = held_out_rows(part.labels.indices, fraction, seed, "validation_split")
            validation_data = part.rows(held_out).validation()
            part = part.rows(~held_out)
        batches = ArrayBatches(
            part.images,
            part.labels.targets,
            part.soft_labels,
            batch_size=BATCH_SIZE if batch_size is None else batch_size,
            shuffle=options.get("shuffle", True),
            seed=seed,
        )
    else:
        batches = batches_from(network, images)
        given = dict(labels=labels, soft_labels=soft_labels, batch_size=batch_size, **options)
        for name in ("labels", "soft_labels", "batch_size", *ARRAYS_ALONE):
            if given.get(name) is not None:
                raise ValueError(f"leave {name} out: the batches decide that themselves")
    chosen_loss = loss_from(loss, soft_labels is not None)
    chosen_optimizer, schedule = optimizer_and_schedule(optimizer, learning_rate, network.backend)
    _slow_first_layers(network, optimizer, chosen_optimizer, options.get("first_layers_rate"))
    validation = validation_from(network, validation_data)
    folder, resume = options.get("folder"), options.get("resume", False)
    own = _own_callbacks(network, epochs, options)
    records = iter_epochs(
        network,
        batches,
        loss=chosen_loss,
        optimizer=chosen_optimizer,
        n_epochs=epochs,
        schedule=schedule,
        validation=validation,
        callbacks=_all_callbacks(own, callbacks),
        patience=options.get("patience"),
        folder=folder,
        resume=resume,
        ema_decay=options.get("ema_decay", 0.0),
    )
    done = checkpoint.records_in(folder) if folder is not None and resume else []
    history = History((*(EpochRecord(**row) for row in done), *records))
    for callback in own:
        callback.at_the_end()
    return history


def _slow_first_layers(
    network: Network, given: str | Optimizer, optimizer: Optimizer, factor: float | None
) -> None:
    """Give the optimizer, made from the name `given`, the rate_factors for first_layers_rate."""
    if factor is None:
        return
    if not isinstance(given, str):
        raise ValueError(
            "first_layers_rate goes with the name of an optimizer, such as optimizer='adam'; an "
            "optimizer of your own has rate_factors for this"
        )
    optimizer.rate_factors = rate_factors(network, factor)


def loss_from(loss: str | Loss | None, has_soft_labels: bool) -> Loss:
    """The loss of that name, or the loss itself.  None: the one that suits the data."""
    if loss is None:
        return Distillation() if has_soft_labels else CrossEntropy()
    if isinstance(loss, str):
        kind = CrossEntropy if loss in KERAS_LOSSES else LOSSES.get(loss)
        if kind is None:
            raise ValueError(f"loss {loss!r}: expected one of {', '.join(LOSSES)}, or a Loss")
        loss = kind()
    check_kind("loss", loss, Loss, "a tinycnn.Loss, such as CrossEntropy()")
    if has_soft_labels and not loss.needs_soft_labels:
        raise ValueError(
            f"soft_labels are given, but {loss!r} does not use them: expected a loss such as "
            "Distillation()"
        )
    return loss


def optimizer_and_schedule(
    optimizer: str | Optimizer, learning_rate: float | Schedule | None, backend: str
) -> tuple[Optimizer, Schedule | None]:
    """The optimizer of that name, or the optimizer itself, and the schedule for `learning_rate`;
    None: the optimizer's own rate."""
    schedule: Schedule | None = None
    if isinstance(learning_rate, (int, float, np.number)) and not isinstance(learning_rate, bool):
        schedule = Constant(float(learning_rate))
    elif callable(learning_rate):
        schedule = learning_rate
    elif learning_rate is not None:
        raise TypeError(
            f"learning_rate is {learning_rate!r}; expected a number, or a schedule such as "
            "tinycnn.OneCycle"
        )
    if isinstance(optimizer, str):
        name = optimizer.lower()
        given = {"learning_rate": LEARNING_RATES[name]} if name in LEARNING_RATES else {}
        optimizer = optimizer_from_name(name, **given, backend=backend)
    expected = "a name or a tinycnn.Optimizer, such as Adam()"
    check_kind("optimizer", optimizer, Optimizer, expected)
    return optimizer, schedule


def _own_callbacks(network: Network, epochs: int, options: FitOptions) -> list[_AtTheEnd]:
    own: list[_AtTheEnd] = []
    if options.get("restore_best"):
        if options.get("resume"):
            raise ValueError(
                "restore_best does not go with resume: load the best weights from the folder, "
                f"tinycnn.load(folder + '/{checkpoint.BEST}')"
            )
        own.append(_BestWeights(network))
    if options.get("verbose"):
        own.append(_PrintEpochs(epochs))
    return own


def _all_callbacks(own: Sequence[Callback], callbacks: Sequence[Callback]) -> Sequence[Callback]:
    if not isinstance(callbacks, Sequence):  # iter_epochs says what was expected
        return callbacks
    return [*own, *callbacks]


class _AtTheEnd(Callback):
    def at_the_end(self) -> None:
        """Called after the last epoch."""


class _BestWeights(_AtTheEnd):
    """Keeps the weights of the best epoch."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.weights = network.parameter_vector.copy()
        self.summary = network.training_summary

    def on_epoch(self, record: EpochRecord) -> None:
        if record.is_best:
            self.weights[:] = self.network.parameter_vector
            self.summary = self.network.training_summary

    def at_the_end(self) -> None:
        self.network.parameter_vector[:] = self.weights
        self.network.training_summary = self.summary


class _PrintEpochs(_AtTheEnd):
    """Prints a line after every epoch."""

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def on_epoch(self, record: EpochRecord) -> None:
        text = f"loss {record.train_loss:.4f}, accuracy {record.train_accuracy:.4f}"
        if record.val_loss is not None:
            text += f", val_loss {record.val_loss:.4f}, val_accuracy {record.val_accuracy:.4f}"
        print(f"epoch {record.epoch + 1}/{self.n_epochs}: {text}, {record.seconds:.1f} s")
