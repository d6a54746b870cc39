"""What the commands share besides tinycnn.ground.command_line: numbers above 0, JSON and tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ..ground.command_line import table_lines


def above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value


def print_json(values: Any) -> None:
    """One JSON object; NaN and infinities, which JSON does not have, become null."""
    print(json.dumps(_finite(values), indent=2))


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    if isinstance(values, float) and not (-float("inf") < values < float("inf")):
        return None
    return values


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 1) -> None:
    """Columns as wide as their cells; the first `left` of them begin, the others end together."""
    print("\n".join(table_lines([header, *rows], left)))
