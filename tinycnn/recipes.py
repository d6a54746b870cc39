"""Named recipes: all settings of a training run except its data; schedules and losses by name.

`fer` trains on tens of thousands of small web faces in minutes, `best` in a quarter of an hour;
`paper` has the settings of Cugu et al. (arXiv 1711.07011) for CK+.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .distillation import DecoupledDistillation, Distillation, RelationDistillation
from .losses import CrossEntropy, Loss, balanced_class_weights
from .schedules import Constant, CosineWithWarmup, OneCycle, ReduceLROnPlateau, Schedule

SCHEDULES = ("constant", "cosine", "one-cycle", "reduce-on-plateau")
LOSSES = ("kd", "kd-z", "dkd", "dkd-z", "dist")
"""Names of the losses with a teacher; see `make_loss`."""
NO_TEACHER = "none"
NO_CLASS_WEIGHTS, BALANCED = "none", "balanced"
NUMBERS = {
    "augment_strength": (9.0, "a factor of 5 px, 10 degrees, 10 %"),
    "mixup": (100.0, "a of Beta(a, a): blend pairs of images, and their targets likewise"),
    "cutmix": (100.0, "a of Beta(a, a): paste a box of one image into another"),
    "label_smoothing": (0.9, "this share of each target is spread over all classes"),
    "dropout": (0.9, "share of the first dense layer's values that each step sets to 0"),
    "ema_decay": (0.99999, "score and save the average of the weights over 1/(1-X) steps"),
    "clip_norm": (1e6, "gradients with a larger norm are scaled down to this norm"),
}
"""Numeric options of a recipe, 0 or more, where 0 means off: the largest value, and the meaning."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run.

    scaling, bias_std  of the network, see `models.microexpnet`
    augment            shift, rotate, scale and mirror the images
    augment_strength   factor of the ranges of `ferdata.Augmentation`
    loss, temperature, soft_weight, loss_scale, label_smoothing  see `make_loss`
    dropout            rate after the first dense layer, 0: none
    ema_decay  see `fit`;  clip_norm  see `Optimizer`;  mixup, cutmix  see `ferdata.Mixing`.  0: off
    flipped_teacher    for a mirrored image, use the teacher's logits for the mirrored image
    class_weights      see `make_class_weights`
    """

    scaling: str
    bias_std: float
    optimizer: str
    learning_rate: float
    schedule: str
    augment: bool
    loss: str
    temperature: float
    soft_weight: float
    loss_scale: str
    batch_size: int
    epochs: int
    augment_strength: float = 1.0
    label_smoothing: float = 0.0
    dropout: float = 0.0
    ema_decay: float = 0.0
    clip_norm: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    flipped_teacher: bool = False
    class_weights: str = NO_CLASS_WEIGHTS


FER = Recipe(
    scaling="standardized",
    bias_std=0.0,
    optimizer="adamw",
    # With a teacher 5e-3 is clearly better than 2e-3, without one slightly worse.  The rate is the
    # same for both, so that only the teacher makes a difference between two runs.
    learning_rate=5e-3,
    schedule="one-cycle",
    augment=True,
    loss="kd",
    temperature=4.0,
    soft_weight=0.7,
    loss_scale="hinton",
    batch_size=64,
    epochs=25,
)

RECIPES = {
    "fer": FER,
    # six times as long, with half the augmentation: a network of 65,000 parameters does not fit its
    # training images better than others, so it needs less
    "best": replace(FER, epochs=150, augment_strength=0.5),
    "paper": Recipe(
        scaling="raw",
        bias_std=0.5,
        optimizer="adam",
        learning_rate=1e-4,
        schedule="constant",
        augment=False,
        loss="kd",
        temperature=8.0,
        soft_weight=0.5,
        loss_scale="paper",
        batch_size=64,
        epochs=3000,
    ),
}


def make_schedule(name: str, learning_rate: float, n_steps: int) -> Schedule:
    """One of SCHEDULES over n_steps steps, with learning_rate as its highest value.

    reduce-on-plateau halves the rate after 5 epochs in which the validation loss has not fallen.
    Raises ValueError for another name.
    """
    if name == "constant":
        return Constant(learning_rate)
    if name == "cosine":
        return CosineWithWarmup(learning_rate, n_steps, n_warmup_steps=n_steps // 20)
    if name == "one-cycle":
        return OneCycle(learning_rate, n_steps)
    if name == "reduce-on-plateau":
        return ReduceLROnPlateau(learning_rate, factor=0.5, patience=5, min_delta=0.0)
    raise ValueError(f"schedule is {name!r}; expected one of {', '.join(SCHEDULES)}")


def read_class_weights(text: str, classes: Sequence[str] | None = None) -> dict[str, float]:
    """Weights by class name from "fear=2,disgust=4.5"; no entries for "none" and "balanced".

    Raises ValueError for a text that is none of these, and for a name that is not in `classes`.
    """
    weights: dict[str, float] = {}
    for part in () if text in (NO_CLASS_WEIGHTS, BALANCED) else text.split(","):
        name, equals, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not equals or not 0 <= weight < math.inf or name in weights:
            raise ValueError(
                f"{text!r}: expected {BALANCED}, {NO_CLASS_WEIGHTS}, or a weight of 0 or more for "
                "some classes, each once: fear=2,disgust=4.5"
            )
        if classes is not None and name not in classes:
            raise ValueError(f"{text!r}: no class {name!r}; there are {', '.join(classes)}")
        weights[name] = weight
    return weights


def make_class_weights(
    text: str, classes: Sequence[str], batches: Callable[[int], Iterable[tuple[Any, Any, Any]]]
) -> tuple[float, ...]:
    """The `class_weights` of a loss.

    text     none: no weights; balanced: see `losses.balanced_class_weights`; fear=2,disgust=4.5:
             these weights, 1 for the other classes
    batches  the training data, see `train.Batches`; balanced reads the targets of the first epoch
    Raises ValueError as `read_class_weights`.
    """
    named = read_class_weights(text, classes)
    if text == BALANCED:
        targets = np.concatenate([targets for _, targets, _ in batches(0)])
        return balanced_class_weights(targets, len(classes))
    return tuple(named.get(name, 1.0) for name in classes) if named else ()


def make_loss(
    name: str,
    temperature: float | tuple[float, ...] | None = None,
    soft_weight: float | None = None,
    loss_scale: str | None = None,
    label_smoothing: float = 0.0,
    class_weights: tuple[float, ...] = (),
) -> Loss:
    """One of LOSSES: (1-w) * CE(targets) + w * soft term, w = soft_weight.  Or NO_TEACHER:
    CE(targets), for which temperature, soft_weight and loss_scale are not used.

    kd     Hinton's, with `loss_scale`; the mean over several temperatures
    dkd    decoupled, alpha = 1 and beta = 8, multiplied by t*t
    dist   relational, with equal weights over classes and over samples, multiplied by t*t
    kd-z, dkd-z  the same on the z-scores of the logits
    label_smoothing, class_weights  see `tinycnn.losses.Loss`
    Raises ValueError for another name, a value that is missing or out of range, or several
    temperatures for another loss than kd and kd-z.
    """
    if name == NO_TEACHER:
        return CrossEntropy(label_smoothing, class_weights=class_weights)
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}; expected one of {', '.join(LOSSES)}")
    if temperature is None or soft_weight is None or loss_scale is None:
        raise ValueError(f"loss {name} needs a temperature, a soft_weight and a loss_scale")
    standardize = name.endswith("-z")
    if name in ("kd", "kd-z"):
        return Distillation(
            temperature,
            soft_weight,
            loss_scale,
            standardize,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
        )
    if isinstance(temperature, (tuple, list)):
        raise ValueError(f"loss {name} has one temperature, not {len(temperature)}")
    if not 0 <= soft_weight <= 1:
        raise ValueError(f"soft_weight={soft_weight}: expected 0 to 1")
    hard_weight = 1 - soft_weight
    if name == "dist":
        return RelationDistillation(
            temperature,
            soft_weight,
            soft_weight,
            hard_weight,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
        )
    return DecoupledDistillation(
        temperature,
        soft_weight,
        8 * soft_weight,
        hard_weight,
        standardize=standardize,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
    )
