"""Exercises as Jupyter notebooks, in the format nbformat 4.5; and the code of such a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .catalogue import Cell

FIGURE_TAG = "tinycnn-figure"
"""Of cells that are not needed to define functions: figures, and the check at the end."""


def notebook_text(stem: str, cells: Sequence[Cell]) -> str:
    """The file.  The ids of its cells are the stem and their number."""
    made = [_made(cell, f"{stem}-{k}".replace("_", "-")) for k, cell in enumerate(cells)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _made(cell: Cell, cell_id: str) -> dict[str, Any]:
    source = cell.content.splitlines(keepends=True)
    if cell.kind == "text":
        return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": source}
    tags = {"tags": [FIGURE_TAG]} if cell.kind == "figure" else {}
    return {
        **{"cell_type": "code", "id": cell_id, "metadata": tags, "source": source},
        **{"execution_count": None, "outputs": []},
    }


def code_cells(text: str, with_figures: bool = False) -> list[str]:
    """The cells of code of a notebook, without the magic commands of IPython (%, !).

    with_figures: also the cells that are marked with FIGURE_TAG.
    Raises ValueError if the text is not that of a notebook.
    """
    try:
        cells = json.loads(text)["cells"]
        found = []
        for cell in cells:
            figure = FIGURE_TAG in cell.get("metadata", {}).get("tags", [])
            if cell["cell_type"] == "code" and (with_figures or not figure):
                found.append(_without_magic("".join(cell["source"])))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a Jupyter notebook (nbformat 4): save it in Jupyter again") from error
    return found


def _without_magic(code: str) -> str:
    """Lines that begin with % or ! become empty, so that the numbers of the others stay."""
    lines = code.splitlines()
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
