"""The exercises: their names, their order, and where the text and the code of each one is.

Each exercise is one Markdown file in exercises/.  Its blocks ```python are the code, and everything
else is the text.  A block ```python figure is only for the notebook.  Between the lines
`### BEGIN SOLUTION` and `### END SOLUTION` (as in nbgrader) is what the learner has to write.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache

from ..ground.command_line import CannotError
from ..ground.package_files import package_text

NAMES = (
    *("softmax", "cross_entropy", "dense", "relu", "convolution", "max_pooling"),
    *("distillation", "adam", "batch_norm", "network"),
)
BLANK = "# YOUR CODE HERE\nraise NotImplementedError"

_BLOCK = re.compile(
    r"^```python(?P<figure> figure)?\n(?P<code>.*?)^```\n", re.DOTALL | re.MULTILINE
)
_SOLUTION = re.compile(
    r"^(?P<indent> *)### BEGIN SOLUTION\n(?P<code>.*?)^ *### END SOLUTION\n",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Cell:
    """A piece of an exercise: kind "text" (Markdown), "code" or "figure" (code that draws)."""

    kind: str
    content: str

    def functions(self) -> list[str]:
        """Names of the functions and classes that a cell of code defines."""
        defined = (ast.FunctionDef, ast.ClassDef)
        return [node.name for node in ast.parse(self.content).body if isinstance(node, defined)]


@dataclass(frozen=True)
class Exercise:
    """An exercise.  number: from 1;  stem: of its files, such as 01_softmax."""

    number: int
    name: str

    @property
    def stem(self) -> str:
        return f"{self.number:02}_{self.name}"

    @property
    def title(self) -> str:
        """The first heading, such as "1. Softmax"."""
        return _source(self.stem).partition("\n")[0].removeprefix("# ")

    def cells(self, solved: bool) -> list[Cell]:
        """Text and code in their order.  solved: with the solutions, else with blanks."""
        source = _source(self.stem)
        cells, end = [], 0
        for block in _BLOCK.finditer(source):
            cells.append(Cell("text", source[end : block.start()].strip("\n")))
            code = _SOLUTION.sub(_solution if solved else _blank, block["code"])
            cells.append(Cell("figure" if block["figure"] else "code", code.strip("\n")))
            end = block.end()
        cells.append(Cell("text", source[end:].strip("\n")))
        return [cell for cell in cells if cell.content]


EXERCISES = tuple(Exercise(number, name) for number, name in enumerate(NAMES, 1))


def exercise_called(text: str) -> Exercise:
    """The exercise of a name, a number or a file: "softmax", "1", "01_softmax.py".

    Raises CannotError for anything else, with the names.
    """
    name = re.sub(r"^.*[/\\]|\.\w+$", "", text)
    for exercise in EXERCISES:
        if name in (exercise.name, exercise.stem, str(exercise.number), f"{exercise.number:02}"):
            return exercise
    raise CannotError(
        f"{text}: no exercise; expected one of {', '.join(NAMES)}, or 1 to {len(NAMES)}"
    )


@lru_cache
def _source(stem: str) -> str:
    return package_text(__package__, f"exercises/{stem}.md").replace("\r\n", "\n")


def _solution(found: re.Match[str]) -> str:
    return found["code"]


def _blank(found: re.Match[str]) -> str:
    return textwrap.indent(BLANK, found["indent"]) + "\n"
