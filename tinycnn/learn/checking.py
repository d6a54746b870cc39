"""Checks the answers to an exercise, and says in plain words what is right and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ground.printing import print_text
from .catalogue import Exercise, exercise_called
from .checks import (
    adam,
    batch_norm,
    convolution,
    cross_entropy,
    dense,
    distillation,
    max_pooling,
    network,
    relu,
    softmax,
)
from .learner import Learner, WrongAnswer, loading, names_in_folder, solution
from .steps import WRONG, Result, Step, all_right, results_of

STEPS: dict[str, Sequence[Step]] = {
    "softmax": softmax.STEPS,
    "cross_entropy": cross_entropy.STEPS,
    "dense": dense.STEPS,
    "relu": relu.STEPS,
    "convolution": convolution.STEPS,
    "max_pooling": max_pooling.STEPS,
    "distillation": distillation.STEPS,
    "adam": adam.STEPS,
    "batch_norm": batch_norm.STEPS,
    "network": network.STEPS,
}
"""By the name of the exercise."""


def check(name: str, functions: Mapping[str, Any]) -> bool:
    """Check the functions of an exercise, print what was found, and return whether all are right.

    functions: by name, such as globals().  Raises CannotError for an unknown exercise.
    """
    exercise = exercise_called(name)
    results = check_functions(exercise, Learner(functions))
    print_results(exercise, results)
    return all_right(results)


def check_folder(folder: Path, exercise: Exercise) -> list[Result]:
    """Check the learner's file in a folder.  Raises CannotError if there is none."""
    try:
        names = names_in_folder(folder, exercise)
    except WrongAnswer as problem:
        return [Result("the file", WRONG, str(problem))]
    with loading(lambda other: names_in_folder(folder, other)):
        return check_functions(exercise, Learner(names))


def check_functions(exercise: Exercise, learner: Learner) -> list[Result]:
    """The result of every step of the exercise."""
    return results_of(STEPS[exercise.name], learner, solution(exercise))


def print_results(exercise: Exercise, results: list[Result]) -> None:
    """Print a line for each step, and below it what is wrong."""
    print_text(exercise.title)
    width = max(len(result.step) for result in results)
    for result in results:
        print_text(f"  {result.step:{width}}  {result.verdict}")
        for line in result.message.splitlines():
            print_text(f"      {line}")
