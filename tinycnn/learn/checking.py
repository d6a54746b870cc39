"""Runs the checks of an exercise, and says in plain words what is right and what is wrong."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ground.command_line import CannotError
from ..ground.messages import one_line
from ..ground.printing import print_text
from .catalogue import Exercise, exercise_called
from .learner import Learner, NotWritten, WrongAnswer, loading, names_in_folder, solution

RIGHT, WRONG, TO_DO = "right", "wrong", "to do"


@dataclass(frozen=True)
class Step:
    """One thing that is checked: what(learner, solution) raises WrongAnswer if it is wrong."""

    name: str
    run: Callable[[Learner, Learner], None]


@dataclass(frozen=True)
class Result:
    """What was found in one step.  verdict: RIGHT, WRONG or TO_DO;  message: "" if it is right."""

    step: str
    verdict: str
    message: str = ""


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
    module = importlib.import_module(f"{__package__}.checks.{exercise.name}")
    steps: tuple[Step, ...] = module.STEPS
    return [_result(step, learner, solution(exercise)) for step in steps]


def _result(step: Step, learner: Learner, right: Learner) -> Result:
    try:
        step.run(learner, right)
    except NotWritten as blank:
        return Result(step.name, TO_DO, str(blank))
    except WrongAnswer as problem:
        return Result(step.name, WRONG, str(problem))
    except CannotError as error:  # an earlier exercise is not there
        return Result(step.name, WRONG, one_line(error))
    except Exception as error:  # the learner's functions may return anything
        what = f"the check stopped with {type(error).__name__}: {one_line(error)}"
        return Result(step.name, WRONG, f"{what}\nHint: a result is not what the text describes.")
    return Result(step.name, RIGHT)


def all_right(results: list[Result]) -> bool:
    return all(result.verdict == RIGHT for result in results)


def print_results(exercise: Exercise, results: list[Result]) -> None:
    """Print a line for each step, and below it what is wrong."""
    print_text(exercise.title)
    width = max(len(result.step) for result in results)
    for result in results:
        print_text(f"  {result.step:{width}}  {result.verdict}")
        for line in result.message.splitlines():
            print_text(f"      {line}")
