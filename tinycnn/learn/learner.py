"""The learner's functions: read from a file or a notebook, called with copies of the arguments, and
what went wrong in them said in the learner's own lines."""

from __future__ import annotations

import contextlib
import linecache
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from ..ground.command_line import CannotError
from ..ground.printing import print_message
from ..ground.regular_file import read_text_file
from .catalogue import Exercise, exercise_called
from .notebook import code_cells

MOST_BYTES = 50_000_000
MOST_LINES = 4
"""So many frames of a traceback are shown, from the innermost outwards."""


class WrongAnswer(Exception):
    """What is wrong in the learner's code, in words for the learner.  It may have several lines."""


class NotWritten(WrongAnswer):
    """A blank that is still to be filled in."""


class Learner:
    """Functions by name: the learner's, or the solution's."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def call(self, name: str, *arguments: Any) -> Any:
        """What the function returns.  Raises WrongAnswer if it is missing, raises an error, or
        changes one of its arguments, NotWritten if it is a blank."""
        function = self.get(name)
        given = [_copied(argument) for argument in arguments]
        with in_words(f"{name} stopped with"), np.errstate(all="ignore"):
            returned = function(*given)
        for k, (before, after) in enumerate(zip(arguments, given), 1):
            if isinstance(before, np.ndarray) and not _are_equal(before, after):
                raise WrongAnswer(
                    f"{name} changes its argument number {k} in place.\n"
                    "Hint: work on a copy (x.copy()), or make a new array (y = x * 2 instead of "
                    "x *= 2). The caller still needs the old values."
                )
        return returned

    def arrays(self, name: str, results: tuple[str, ...], *arguments: Any) -> dict[str, Any]:
        """What a function returns that has several results, by their names."""
        returned = self.call(name, *arguments)
        expected = f"expected {len(results)} arrays: return {', '.join(results)}"
        if returned is None:
            raise WrongAnswer(f"{name} returns nothing (None); {expected}")
        if not isinstance(returned, (tuple, list)) or len(returned) != len(results):
            n = len(returned) if isinstance(returned, (tuple, list)) else 1
            what = f"{n} values" if n != 1 else f"one {type(returned).__name__}"
            raise WrongAnswer(f"{name} returns {what}; {expected}")
        return dict(zip(results, returned))

    def get(self, name: str) -> Callable[..., Any]:
        """The function or class.  Raises WrongAnswer if there is none."""
        function = self.names.get(name)
        if not callable(function):
            raise WrongAnswer(f"there is no {name} in the file: it must keep this name")
        return function


def _copied(argument: Any) -> Any:
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _are_equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


# ---- errors in the learner's code ------------------------------------------------------------


@contextlib.contextmanager
def in_words(what: str) -> Iterator[None]:
    """Inside, errors of the learner's code become WrongAnswer, with the learner's lines."""
    try:
        yield
    except WrongAnswer:
        raise
    except NotImplementedError as error:
        frames = own_frames(error)
        where = f" ({_place(frames[-1])})" if frames else ""
        raise NotWritten(
            f"not written yet{where}: replace `raise NotImplementedError` by your code"
        ) from None
    except KeyboardInterrupt as stop:
        frames = own_frames(stop)
        if frames:  # where a loop without end is
            print_message(f"interrupted in {_place(frames[-1])}")
        raise
    except (Exception, SystemExit) as error:
        raise WrongAnswer("\n".join([f"{what} {_named(error)}", *_lines(error)])) from None


def _named(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _lines(error: BaseException) -> list[str]:
    """The learner's lines of a traceback."""
    if isinstance(error, SyntaxError):
        where = f"  {Path(error.filename or '').name}, line {error.lineno}"
        return [where, f"    {error.text.strip()}"] if error.text else [where]
    lines = []
    for frame in own_frames(error)[-MOST_LINES:]:
        lines += [f"  {_place(frame)}"] + ([f"    {frame.line}"] if frame.line else [])
    return lines


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of a traceback that are neither ours nor in an installed package."""
    paths = sysconfig.get_paths()
    others = [str(Path(__file__).parents[2]), *(paths[k] for k in ("stdlib", "purelib", "platlib"))]
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if not f.filename.startswith((*others, "<frozen", "<__array"))]


def _place(frame: traceback.FrameSummary) -> str:
    name = Path(frame.filename).name
    return f"{name}, line {frame.lineno}, in {frame.name}"


# ---- reading the files -----------------------------------------------------------------------

_LOADING: ContextVar[Callable[[Exercise], dict[str, Any]] | None] = ContextVar(
    "loading", default=None
)
"""How `load_exercise` finds an exercise while a folder is checked."""


def load_exercise(name: str) -> SimpleNamespace:
    """The functions of another exercise of yours, such as load_exercise("dense").dense_forward.

    Its file is looked for in the folder that is checked, else in the current folder.
    Raises CannotError if it is not there, and WrongAnswer if it cannot be run.
    """
    load = _LOADING.get() or (lambda exercise: names_in_folder(Path(), exercise))
    return SimpleNamespace(**load(exercise_called(name)))


@contextlib.contextmanager
def loading(load: Callable[[Exercise], dict[str, Any]]) -> Iterator[None]:
    """Inside, `load_exercise` calls load(exercise)."""
    before = _LOADING.set(load)
    try:
        yield
    finally:
        _LOADING.reset(before)


def file_in_folder(folder: Path, exercise: Exercise) -> Path:
    """The learner's file.  Raises CannotError if there is none, or a Python file and a notebook."""
    both = [folder / f"{exercise.stem}{ending}" for ending in (".py", ".ipynb")]
    found = [path for path in both if path.exists()]
    if len(found) == 2:
        raise CannotError(f"{found[0]}: {found[1].name} is there too; move one of them away")
    if not found:
        raise CannotError(f"{both[0]}: there is no such file, and no {both[1].name}")
    return found[0]


def names_in_folder(folder: Path, exercise: Exercise) -> dict[str, Any]:
    """Run the learner's file and return its names.  Raises CannotError as `file_in_folder`, OSError
    and WrongAnswer if it cannot be read or run."""
    path = file_in_folder(folder, exercise)
    try:
        text = read_text_file(path, MOST_BYTES)
        cells = code_cells(text) if path.suffix == ".ipynb" else [text]
    except UnicodeDecodeError as error:
        raise WrongAnswer(f"{path.name}: {error}\nHint: save the file as UTF-8.") from error
    except ValueError as error:
        raise WrongAnswer(f"{path.name}: {error}") from error
    names = _module(f"tinycnn_answers.{exercise.name}", __file__=str(path))
    with loading(lambda other: names_in_folder(folder, other)):
        for k, cell in enumerate(cells, 1):
            where = str(path) if path.suffix == ".py" else f"{path.name} cell {k}"
            _run(cell, where, names)
    return names


@lru_cache
def solution(exercise: Exercise) -> Learner:
    """The functions of the solution."""
    names = _module(f"tinycnn_solutions.{exercise.name}")
    code = [cell.content for cell in exercise.cells(solved=True) if cell.kind == "code"]
    with loading(lambda other: dict(solution(other).names)):
        _run("\n\n".join(code), f"the solution of {exercise.stem}", names)
    return Learner(names)


def _run(code: str, where: str, names: dict[str, Any]) -> None:
    """Run code.  Its lines are kept, so that a traceback can show them."""
    linecache.cache[where] = (len(code), None, [f"{line}\n" for line in code.split("\n")], where)
    with in_words(f"{Path(where).name} cannot be run:"), np.errstate(all="ignore"):
        exec(compile(code, where, "exec", dont_inherit=True), names)


def _module(name: str, **names: Any) -> dict[str, Any]:
    """The names of a new module.  Dataclasses look for the module of their class by its name."""
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(names)
    return vars(module)
