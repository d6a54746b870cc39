"""Named training recipes: every setting of a run that is not its data.

`fer` trains on tens of thousands of small web faces in minutes, `best` in a quarter of an hour;
`paper` is what Cugu et al. (arXiv 1711.07011) did for CK+.
"""

from __future__ import annotations

from dataclasses import dataclass

from .distillation import DecoupledDistillation, Distillation, RelationDistillation
from .losses import Loss
from .schedules import Constant, CosineWithWarmup, OneCycle, Schedule

SCHEDULES = ("constant", "cosine", "one-cycle")
LOSSES = ("kd", "kd-z", "dkd", "dkd-z", "dist")
"""Losses with a teacher, by name; see `make_loss`."""


@dataclass(frozen=True)
class Recipe:
    """scaling, bias_std: of the network; augment: shift, rotate, scale and mirror the images;
    augment_strength: a factor of how far (of `ferdata.Augmentation`'s own ranges);
    loss, temperature, soft_weight, loss_scale: see `make_loss`; the rest as named."""

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
    # As fer, six times as long, with half the augmentation: at 65,000 parameters the training images
    # are fitted no better than others, so there is little to guard against.
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
    name: str, temperature: float | tuple[float, ...], soft_weight: float, loss_scale: str
) -> Loss:
    """One of LOSSES, as (1-w) * CE(targets) + w * soft term, w = soft_weight.

    kd     Hinton's, with `loss_scale`; several temperatures are averaged
    dkd    decoupled, alpha = 1 and beta = 8, scaled by t*t
    dist   relational, over classes and over the batch alike, scaled by t*t
    kd-z, dkd-z  the same on z-scored logits
    Raises ValueError for another name, a value out of range, or several temperatures but for kd.
    """
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}; expected one of {', '.join(LOSSES)}")
    standardize = name.endswith("-z")
    if name in ("kd", "kd-z"):
        return Distillation(temperature, soft_weight, loss_scale, standardize)
    if isinstance(temperature, (tuple, list)):
        raise ValueError(f"loss {name} has one temperature, not {len(temperature)}")
    if not 0 <= soft_weight <= 1:
        raise ValueError(f"soft_weight={soft_weight}: expected 0 to 1")
    hard_weight = 1 - soft_weight
    if name == "dist":
        return RelationDistillation(temperature, soft_weight, soft_weight, hard_weight)
    return DecoupledDistillation(
        temperature, soft_weight, 8 * soft_weight, hard_weight, standardize=standardize
    )
