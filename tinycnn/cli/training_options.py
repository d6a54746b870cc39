"""Command-line options of a training run, with defaults from a recipe (`tinycnn.recipes`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..ground.command_line import above_zero, number, positive
from ..optim import OPTIMIZERS
from ..recipes import LOSSES, NUMBERS, RECIPES, SCHEDULES, read_class_weights

LOSS = (
    "the soft term: kd is Hinton's distillation, dkd decoupled, dist relational; -z: on logits "
    "standardized to mean 0 and deviation 1"
)
TEMPERATURE = (
    "t: logits of teacher and student are divided by it; with several, which kd allows, the soft "
    "term is the mean over them"
)
RECIPE = (
    "fer: for tens of thousands of faces from the web; best: like fer, for longer; paper: as in "
    "the paper (default: %(default)s)"
)

CLASS_WEIGHTS = (
    "the loss of an image is multiplied by the weight of its class. balanced: weights with which "
    "all classes count equally; fear=2,disgust=4.5: these weights, 1 for the other classes"
)

PATIENCE = "stop after N epochs without a new best (default: train all epochs)"


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add a group: --recipe, and the options that it sets, except those of the distillation."""
    group = parser.add_argument_group(
        "training",
        "A recipe sets the defaults of these options and of the distillation options. It also\n"
        "sets the scaling of the pixels and the initial biases, which have no option:\n"
        + "\n".join(f"  {name}: {scaling_and_biases(name)}" for name in RECIPES),
    )
    group.add_argument("--recipe", choices=tuple(RECIPES), default="fer", help=RECIPE)
    _add(group, "epochs", "passes over the data", type=positive, metavar="N")
    _add(group, "batch_size", "images per step", type=positive, metavar="N")
    _add(group, "optimizer", "update rule", choices=tuple(OPTIMIZERS))
    _add(group, "learning_rate", "the highest of the schedule", type=above_zero, metavar="X")
    _add(group, "schedule", "how the learning rate changes over the run", choices=SCHEDULES)
    augment = "shift, rotate, scale and mirror each image in every epoch"
    _add(group, "augment", augment, action=argparse.BooleanOptionalAction)
    for name, (most, meaning) in NUMBERS.items():
        _add(group, name, meaning.replace("%", "%%"), type=up_to(most), metavar="X")
    _add(group, "class_weights", CLASS_WEIGHTS, type=class_weights, metavar="balanced|NAME=W,...")
    group.add_argument("--patience", type=positive, metavar="N", help=PATIENCE)


def add_distillation_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add a group for the distillation loss.  Returns it, so that a program can add more to it."""
    group = parser.add_argument_group(
        "distillation",
        "loss = (1-w) * CE(softmax(z), targets) + w * soft term. For kd the soft term is\n"
        "c * CE(softmax(z/t), softmax(teacher/t)).",
    )
    _add(group, "loss", LOSS, choices=LOSSES)
    _add(group, "temperature", TEMPERATURE, type=temperatures, metavar="T[,T...]")
    weight = "w: the weight of the soft term, 0 to 1"
    _add(group, "soft_weight", weight, type=up_to(1), metavar="W")
    _add(group, "loss_scale", "c: 1 (paper) or t*t (hinton)", choices=("paper", "hinton"))
    flipped = "give mirrored images the teacher's logits for them"
    _add(group, "flipped_teacher", flipped, action=argparse.BooleanOptionalAction)
    return group


def scaling_and_biases(name: str) -> str:
    """What a recipe sets that has no option, for the help."""
    recipe = RECIPES[name]
    biases = f"from N(0, {recipe.bias_std})" if recipe.bias_std else "zero"
    return f"{recipe.scaling} pixels, biases {biases}"


def _add(group: argparse._ArgumentGroup, name: str, meaning: str, **how: Any) -> None:
    """Add the option of a recipe's field `name`.  how: more arguments of `add_argument`."""
    defaults = [(recipe, asdict(settings)[name]) for recipe, settings in RECIPES.items()]
    shown = [f"{recipe} {('no', 'yes')[x] if isinstance(x, bool) else x}" for recipe, x in defaults]
    text = f"{meaning} (default: {', '.join(shown)})"
    group.add_argument(f"--{name.replace('_', '-')}", help=text, **how)


def temperatures(text: str) -> float | list[float]:
    """One number, or several separated by commas."""
    values = [above_zero(part) for part in text.split(",")]
    return values[0] if len(values) == 1 else values


def class_weights(text: str) -> str:
    """The text, if it is one that `recipes.read_class_weights` reads."""
    try:
        read_class_weights(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def up_to(most: float) -> Callable[[str], float]:
    """A parser for options that take a number from 0 to `most`."""
    expected = f"a number from 0 to {most:g}"
    return lambda text: number(float, text, lambda value: 0 <= value <= most, expected)
