"""Command-line options of a training run, with defaults from a recipe (`tinycnn.recipes`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from ..ground.command_line import above_zero, number, positive
from ..recipes import LOSSES, NUMBERS, RECIPES, SCHEDULES

LOSS = (
    "the soft term: kd is Hinton's distillation, dkd decoupled, dist relational; -z: on logits "
    "standardized to mean 0 and deviation 1"
)
RECIPE = (
    "fer: for tens of thousands of faces from the web; best: like fer, for longer; paper: as in "
    "the paper (default: %(default)s)"
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
    group.add_argument(
        "--epochs", type=positive, metavar="N", help=of_recipe("epochs", "passes over the data")
    )
    group.add_argument(
        "--batch-size", type=positive, metavar="N", help=of_recipe("batch_size", "images per step")
    )
    group.add_argument(
        "--optimizer", choices=("adam", "adamw", "sgd"), help=of_recipe("optimizer", "update rule")
    )
    group.add_argument(
        "--learning-rate",
        type=above_zero,
        metavar="X",
        help=of_recipe("learning_rate", "the highest of the schedule"),
    )
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help=of_recipe("schedule", "how the learning rate changes over the run"),
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
    """Add a group for the distillation loss.  Returns it, so that a program can add more to it."""
    group = parser.add_argument_group(
        "distillation",
        "loss = (1-w) * CE(softmax(z), targets) + w * soft term. For kd the soft term is\n"
        "c * CE(softmax(z/t), softmax(teacher/t)).",
    )
    group.add_argument("--loss", choices=LOSSES, help=of_recipe("loss", LOSS))
    group.add_argument(
        "--temperature",
        type=temperatures,
        metavar="T[,T...]",
        help=of_recipe(
            "temperature",
            "t: logits of teacher and student are divided by it; with several, which kd allows, "
            "the soft term is the mean over them",
        ),
    )
    group.add_argument(
        "--soft-weight",
        type=up_to(1),
        metavar="W",
        help=of_recipe("soft_weight", "w: the weight of the soft term, 0 to 1"),
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
        help=of_recipe("flipped_teacher", "give mirrored images the teacher's logits for them"),
    )
    return group


def scaling_and_biases(name: str) -> str:
    """What a recipe sets that has no option, for the help."""
    recipe = RECIPES[name]
    biases = f"from N(0, {recipe.bias_std})" if recipe.bias_std else "zero"
    return f"{recipe.scaling} pixels, biases {biases}"


def of_recipe(option: str, meaning: str) -> str:
    """Help of an option whose default comes from the recipe."""
    defaults = [(name, asdict(recipe)[option]) for name, recipe in RECIPES.items()]
    shown = [f"{name} {('no', 'yes')[x] if isinstance(x, bool) else x}" for name, x in defaults]
    return f"{meaning} (default: {', '.join(shown)})"


def temperatures(text: str) -> float | list[float]:
    """One number, or several separated by commas."""
    values = [above_zero(part) for part in text.split(",")]
    return values[0] if len(values) == 1 else values


def up_to(most: float) -> Callable[[str], float]:
    """A parser for options that take a number from 0 to `most`."""
    expected = f"a number from 0 to {most:g}"
    return lambda text: number(float, text, lambda value: 0 <= value <= most, expected)
