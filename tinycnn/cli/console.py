"""How the commands print: as a table or as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ..ground.messages import aligned, plain
from ..ground.printing import print_data, print_text


def print_json(values: object) -> None:
    """Print one JSON object.  NaN and infinities become null, because JSON does not have them."""
    print_data(json.dumps(_finite(values), indent=2))


def _finite(values: object) -> object:
    if isinstance(values, dict):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    if isinstance(values, float) and not (-float("inf") < values < float("inf")):
        return None
    return values


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print a table.  The first `left` columns are left-aligned, the others right-aligned."""
    print_text(aligned([[plain(cell) for cell in row] for row in (header, *rows)], left))


def this_command() -> str:
    """The command line of this process."""
    program, *words = sys.argv
    is_script = program.endswith(".py") and Path(program).stem != "__main__"
    return shlex.join(["python", *sys.argv] if is_script else ["tinycnn", *words])
