"""The steps in which an exercise is checked, and what was found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ground.command_line import CannotError
from ..ground.messages import one_line
from .learner import Learner, NotWritten, WrongAnswer

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


def results_of(steps: Sequence[Step], learner: Learner, right: Learner) -> list[Result]:
    """Run the steps.  right: the solution."""
    return [_result(step, learner, right) for step in steps]


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
