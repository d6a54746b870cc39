"""Writes the exercises into a new folder: text and Python files, or notebooks."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from ..ground.atomic_file import write_atomically
from .catalogue import EXERCISES, Cell, Exercise
from .notebook import notebook_text

CHECK_FILE = "check.py"

_README = """# Ten exercises in backpropagation

You write the parts of a convolutional network in NumPy: forward passes, gradients, a loss, an
optimizer. In the last exercise your own layers train a network that recognises drawn faces.

| exercise | file |
|---|---|
{rows}

Work in this order: the last exercise uses functions of 2, 3, 5 and 8.

1. Read the text. It has the definitions, and the derivation up to the step that is yours.
2. Write what is missing: everything below `# YOUR CODE HERE`. Delete `raise NotImplementedError`.
3. Check it: {how}

The check compares your gradients with central differences. It says which entry of which gradient is
wrong, and often why. `python check.py` checks all exercises, `python check.py softmax` one of them;
`tinycnn learn FOLDER --check` does the same. The exit status is 0 if all is right, else 1.

You need Python with NumPy and tinycnn. Beside each function there is a small example with the
right result.
"""
_CHECK = '''"""Checks the exercises in this folder: python check.py, or python check.py softmax."""

import sys
from pathlib import Path

from tinycnn.cli import main

if __name__ == "__main__":
    folder = str(Path(__file__).resolve().parent)
    sys.exit(main(["learn", folder, "--check", *sys.argv[1:]]))
'''
_END_OF_PYTHON = """if __name__ == "__main__":
    import sys

    from tinycnn.learn import check

    sys.exit(0 if check("{name}", globals()) else 1)
"""
_END_OF_NOTEBOOK = """from tinycnn.learn import check

check("{name}", globals())"""


def write_exercises(
    folder: str | os.PathLike[str], *, solved: bool = False, notebooks: bool = False
) -> list[Path]:
    """Write all exercises into a folder, which is made; returns the files.

    solved: with the solutions.  notebooks: as notebooks, else as Markdown and Python files.
    Raises FileExistsError if there is anything in the folder already, OSError if it cannot be
    written; then no file of it stays.
    """
    files = exercise_files(solved, notebooks)
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        what = "holds files, which may be somebody's answers: choose a new folder"
        raise FileExistsError(errno.EEXIST, what, os.fspath(folder))
    written: list[Path] = []
    try:
        for name, text in files.items():
            write_atomically(folder / name, text, new=True)
            written.append(folder / name)
    except BaseException:
        with contextlib.suppress(OSError):
            for path in written:
                path.unlink()
            if is_new:
                folder.rmdir()
        raise
    return written


def exercise_files(solved: bool, notebooks: bool) -> dict[str, str]:
    """name -> text of the files that `write_exercises` writes."""
    files = {}
    for exercise in EXERCISES:
        if notebooks:
            files[f"{exercise.stem}.ipynb"] = notebook_of(exercise, solved)
        else:
            files[f"{exercise.stem}.md"] = _text_file(exercise)
            files[f"{exercise.stem}.py"] = _python_file(exercise, solved)
    ending, how = (".ipynb", "run all cells.") if notebooks else (".md", "`python 01_softmax.py`.")
    rows = "\n".join(f"| {e.title} | [{e.stem}{ending}]({e.stem}{ending}) |" for e in EXERCISES)
    return {"README.md": _README.format(rows=rows, how=how), CHECK_FILE: _CHECK, **files}


def _text_file(exercise: Exercise) -> str:
    """The text; where a block of code stands, the functions that are to be written there."""
    parts = []
    for cell in exercise.cells(solved=False):
        if cell.kind == "text":
            parts.append(cell.content)
        elif cell.kind == "code" and cell.functions():
            names = ", ".join(f"`{name}`" for name in cell.functions())
            parts.append(f"**In {exercise.stem}.py:** {names}")
    return "\n\n".join(parts) + "\n"


def _python_file(exercise: Exercise, solved: bool) -> str:
    code = [cell.content for cell in exercise.cells(solved) if cell.kind == "code"]
    heading = f'"""{exercise.title}.  The text is in {exercise.stem}.md."""'
    first, *others = code
    end = _END_OF_PYTHON.format(name=exercise.name)
    return "\n\n\n".join([f"{heading}\n\n{first}", *others, end])


def notebook_of(exercise: Exercise, solved: bool) -> str:
    """The text of the exercise's notebook."""
    end = Cell("figure", _END_OF_NOTEBOOK.format(name=exercise.name))
    cells = exercise.cells(solved)
    place = next((k for k, cell in enumerate(cells) if cell.kind == "figure"), len(cells))
    while place < len(cells) and cells[place - 1].kind == "text" and place > 0:
        place -= 1  # the text before a figure stays with it
    return notebook_text(exercise.stem, [*cells[:place], end, *cells[place:]])
