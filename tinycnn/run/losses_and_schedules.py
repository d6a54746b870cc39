"""Losses and learning rate schedules by the names that the options of a training run have."""

from __future__ import annotations

from collections.abc import Callable

from ..distillation import DecoupledDistillation, Distillation, RelationDistillation
from ..losses import CrossEntropy, Loss
from ..schedules import Constant, CosineWithWarmup, OneCycle, ReduceLROnPlateau, Schedule

SCHEDULES: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda rate, n_steps: Constant(rate),
    "cosine": lambda rate, n_steps: CosineWithWarmup(rate, n_steps, n_warmup_steps=n_steps // 20),
    "one-cycle": lambda rate, n_steps: OneCycle(rate, n_steps),
    "reduce-on-plateau": lambda rate, n_steps: ReduceLROnPlateau(
        rate, factor=0.5, patience=5, min_delta=0.0
    ),
}
"""name -> schedule(highest learning rate, number of steps of the run).

reduce-on-plateau halves the rate after 5 epochs in which the validation loss has not fallen."""

LOSSES = ("kd", "kd-z", "dkd", "dkd-z", "dist")
"""Names of the losses with a teacher; see `make_loss`."""
NO_TEACHER = "none"
"""Name of the loss without a teacher."""


def make_schedule(name: str, learning_rate: float, n_steps: int) -> Schedule:
    """One of SCHEDULES over n_steps steps, with learning_rate as its highest value.

    Raises ValueError for another name.
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule is {name!r}; expected one of {', '.join(SCHEDULES)}")
    return SCHEDULES[name](learning_rate, n_steps)


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
