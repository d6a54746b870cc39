"""Named training recipes: every setting of a run that is not its data.

`fer` trains on tens of thousands of small web faces in minutes, `best` in a quarter of an hour;
`paper` is what Cugu et al. (arXiv 1711.07011) did for CK+.
"""

from __future__ import annotations

from dataclasses import dataclass

from .distillation import DecoupledDistillation, Distillation, RelationDistillation
from .losses import CrossEntropy, Loss
from .schedules import Constant, CosineWithWarmup, OneCycle, Schedule

SCHEDULES = ("constant", "cosine", "one-cycle")
LOSSES = ("kd", "kd-z", "dkd", "dkd-z", "dist")
"""Losses with a teacher, by name; see `make_loss`."""
NO_TEACHER = "none"
NUMBERS = {
    "augment_strength": (9.0, "a factor of 5 px, 10 degrees, 10 %"),
    "mixup": (100.0, "a of Beta(a, a): pairs of images and what is said of them are blended"),
    "cutmix": (100.0, "a of Beta(a, a): a box of one image is put into another"),
    "label_smoothing": (0.9, "this share of each target is spread over all classes"),
    "dropout": (0.9, "share of the first dense layer's values that a step leaves out"),
    "ema_decay": (0.99999, "score and keep the average of the weights over 1/(1-X) steps"),
    "clip_norm": (1e6, "gradients longer than this are shortened to it"),
}
"""Options of a recipe that are 0 or more, and off at 0: the largest value, and the meaning."""


@dataclass(frozen=True)
class Recipe:
    """scaling, bias_std: of the network; augment: shift, rotate, scale and mirror the images;
    augment_strength: a factor of how far (of `ferdata.Augmentation`'s own ranges);
    loss, temperature, soft_weight, loss_scale, label_smoothing: see `make_loss`;
    dropout: rate behind the first dense layer; ema_decay, clip_norm: see `fit`;
    mixup, cutmix: see `ferdata.Mixing`; flipped_teacher: an image that was mirrored comes with the
    teacher's answer for its mirror image; the rest as named. 0 is off."""

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


RECIPES = {
    "fer": Recipe(
        scaling="standardized",
        bias_std=0.0,
        optimizer="adamw",
        # With a teacher 5e-3 is clearly better than 2e-3, without one slightly worse; one rate for
        # both, so that a comparison shows the teacher and nothing else.
        learning_rate=5e-3,
        schedule="one-cycle",
        augment=True,
        loss="kd",
        temperature=4.0,
        soft_weight=0.7,
        loss_scale="hinton",
        batch_size=64,
        epochs=25,
    ),
    # As fer, six times as long, with half the augmentation: 65,000 parameters fit the images that
    # they are trained on no better than others, so there is little to guard against.
    "best": Recipe(
        scaling="standardized",
        bias_std=0.0,
        optimizer="adamw",
        learning_rate=5e-3,
        schedule="one-cycle",
        augment=True,
        loss="kd",
        temperature=4.0,
        soft_weight=0.7,
        loss_scale="hinton",
        batch_size=64,
        epochs=150,
        augment_strength=0.5,
    ),
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

    Raises ValueError for another name.
    """
    if name == "constant":
        return Constant(learning_rate)
    if name == "cosine":
        return CosineWithWarmup(learning_rate, n_steps, n_warmup_steps=n_steps // 20)
    if name == "one-cycle":
        return OneCycle(learning_rate, n_steps)
    raise ValueError(f"schedule is {name!r}; expected one of {', '.join(SCHEDULES)}")


def make_loss(
    name: str,
    temperature: float | tuple[float, ...] | None = None,
    soft_weight: float | None = None,
    loss_scale: str | None = None,
    label_smoothing: float = 0.0,
) -> Loss:
    """One of LOSSES, as (1-w) * CE(targets) + w * soft term, w = soft_weight; or NO_TEACHER:
    CE(targets), without the three options of a teacher.

    kd     Hinton's, with `loss_scale`; several temperatures are averaged
    dkd    decoupled, alpha = 1 and beta = 8, scaled by t*t
    dist   relational, over classes and over the batch alike, scaled by t*t
    kd-z, dkd-z  the same on z-scored logits
    label_smoothing  see `tinycnn.losses.Loss`
    Raises ValueError for another name, a value out of range, or several temperatures but for kd.
    """
    if name == NO_TEACHER:
        return CrossEntropy(label_smoothing)
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}; expected one of {', '.join(LOSSES)}")
    standardize = name.endswith("-z")
    if name in ("kd", "kd-z"):
        return Distillation(
            temperature, soft_weight, loss_scale, standardize, label_smoothing=label_smoothing
        )
    if isinstance(temperature, (tuple, list)):
        raise ValueError(f"loss {name} has one temperature, not {len(temperature)}")
    if not 0 <= soft_weight <= 1:
        raise ValueError(f"soft_weight={soft_weight}: expected 0 to 1")
    hard_weight = 1 - soft_weight
    if name == "dist":
        return RelationDistillation(
            temperature, soft_weight, soft_weight, hard_weight, label_smoothing=label_smoothing
        )
    return DecoupledDistillation(
        temperature,
        soft_weight,
        8 * soft_weight,
        hard_weight,
        standardize=standardize,
        label_smoothing=label_smoothing,
    )
