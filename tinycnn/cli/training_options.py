"""The options of a training: each has its default from a recipe (`tinycnn.recipes`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..ground.command_line import positive
from ..recipes import LOSSES, NUMBERS, RECIPES, SCHEDULES
from .console import above_zero

LOSS = (
    "soft term: kd Hinton's, dkd decoupled, dist relations; -z compares z-scored logits instead of "
    "logits"
)
RECIPE = (
    "fer is for tens of thousands of web faces, best is fer for longer, paper is the paper's own "
    "training (default: %(default)s)"
)

PATIENCE = "stop after N epochs without a new best (default: train all epochs)"


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """A group: --recipe and what it sets, but for the teacher's part in the loss."""
    group = parser.add_argument_group(
        "training",
        "A recipe sets these options and those of the distillation; an option that is given\n"
        "overrides it. Only a recipe sets the scaling of the pixels and the first biases:\n"
        + "\n".join(f"  {name}: {described(name)}" for name in RECIPES),
    )
    group.add_argument("--recipe", choices=tuple(RECIPES), default="fer", help=RECIPE)
    group.add_argument(
        "--epochs", type=positive, metavar="N", help=of_recipe("epochs", "passes over the data")
    )
    group.add_argument(
        "--batch-size", type=positive, metavar="N", help=of_recipe("batch_size", "images a step")
    )
    group.add_argument(
        "--optimizer", choices=("adam", "adamw", "sgd"), help=of_recipe("optimizer", "update rule")
    )
    group.add_argument(
        "--learning-rate",
        type=above_zero,
        metavar="X",
        help=of_recipe("learning_rate", "the highest that the schedule comes to"),
    )
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help=of_recipe("schedule", "of the learning rate over the whole run, step by step"),
    )
    group.add_argument(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=of_recipe("augment", "shift, rotate, scale and mirror each image in every epoch"),
    )
    for name, (most, meaning) in NUMBERS.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=up_to(most),
            metavar="X",
            help=of_recipe(name, meaning.replace("%", "%%")),
        )
    group.add_argument("--patience", type=positive, metavar="N", help=PATIENCE)


def add_distillation_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """A group: the teacher's part in the loss; returned, for there may be more to it."""
    group = parser.add_argument_group(
        "distillation",
        "loss = (1-w) * CE(softmax(z), targets) + w * soft term; for kd that is\n"
        "c * CE(softmax(z/t), softmax(teacher/t))",
    )
    group.add_argument("--loss", choices=LOSSES, help=of_recipe("loss", LOSS))
    group.add_argument(
        "--temperature",
        type=temperatures,
        metavar="T[,T...]",
        help=of_recipe(
            "temperature",
            "t: how much teacher and student are softened; several, for kd: the mean over them",
        ),
    )
    group.add_argument(
        "--soft-weight",
        type=up_to(1),
        metavar="W",
        help=of_recipe("soft_weight", "w: the teacher's part in the loss, from 0 to 1"),
    )
    group.add_argument(
        "--loss-scale",
        choices=("paper", "hinton"),
        help=of_recipe("loss_scale", "c: 1 (paper) or t*t (hinton)"),
    )
    group.add_argument(
        "--flipped-teacher",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=of_recipe("flipped_teacher", "a mirrored image has the teacher's answer for it"),
    )
    return group


def described(name: str) -> str:
    """What only a recipe sets, in one line of help."""
    recipe = RECIPES[name]
    biases = f"from N(0, {recipe.bias_std})" if recipe.bias_std else "zero"
    return f"{recipe.scaling} pixels, biases {biases}"


def of_recipe(option: str, meaning: str) -> str:
    """Help of an option that has its default from the recipe."""
    defaults = [(name, getattr(recipe, option)) for name, recipe in RECIPES.items()]
    shown = [f"{name} {('no', 'yes')[x] if isinstance(x, bool) else x}" for name, x in defaults]
    return f"{meaning} (default: {', '.join(shown)})"


def temperatures(text: str) -> float | list[float]:
    """One number, or several between commas."""
    values = [above_zero(part) for part in text.split(",")]
    return values[0] if len(values) == 1 else values


def up_to(most: float) -> Callable[[str], float]:
    """The type of an option from 0 to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to {most:g}")
        return value

    return parse
