"""The steps in which an exercise is checked, and what was found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    results: list[Result] = []
    for step in steps:
        result = _result(step, learner, right)
        for earlier in results:
            if result.verdict == earlier.verdict == WRONG and _calls(
                learner.names.get(step.name), earlier.step
            ):
                hint = f"Hint: it calls {earlier.step}, which is wrong. Correct that first."
                result = replace(result, message=f"{result.message}\n{hint}")
        results.append(result)
    return results


def _calls(function: object, name: str) -> bool:
    """Whether a function of the learner's reads the global name."""
    code = getattr(function, "__code__", None)
    return code is not None and name in code.co_names


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
