"""plan.json in the folder of `tinycnn reproduce`, and whether that folder may be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import paper, sweep
from ..ground.regular_file import read_text_file

NAME = "plan.json"
MAX_BYTES = 1 << 20


def read_plan(folder: str) -> dict[str, Any] | None:
    """What plan.json holds; None if there is none, or if it is not one of this command."""
    try:
        content = json.loads(read_text_file(Path(folder) / NAME, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    is_plan = isinstance(content, dict) and {"asked", "plan"} <= content.keys()
    return content if is_plan else None


def refuse_foreign_folder(folder: str) -> None:
    """Raise SweepFolderError if the command would overwrite files there that it has not written."""
    if not sweep.is_sweep_folder(Path(folder) / "trials") and read_plan(folder) is None:
        sweep.refuse_foreign_folder(folder, (NAME, *paper.RESULTS))
