"""Plain-text tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .measures import OURS, Quartiles


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart; the first is aligned left, all others right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in [lines[0], rule, *lines[1:]]
    )


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, without an exponent: 0.0931, 4.52, 1234."""
    decimals = digits - 1
    scaled = abs(value)
    while scaled >= 10 and decimals > 0:
        scaled, decimals = scaled / 10, decimals - 1
    while 0 < scaled < 1 and decimals < 9:
        scaled, decimals = scaled * 10, decimals + 1
    return f"{value:.{decimals}f}"


def ms(q: Quartiles) -> str:
    """Median in milliseconds and its spread: 0.0931 ±2%."""
    return f"{significant(q.median * 1e3)} ±{q.spread:.0%}"


def comparison_table(rows: Sequence[Mapping[str, Any]], engines: Sequence[str]) -> str:
    """A table of rows of `measures.comparison_row`, with a column for each engine."""
    header = ["", "batch", "threads", *engines, "fastest peer", "its time / ours"]
    lines = []
    for row in rows:
        cells = [row["task"], str(row["batch"]), str(row["threads"])]
        for name in engines:
            if name == OURS and row["ours_s"] is not None:
                cells.append(ms(Quartiles(row["ours_q1_s"], row["ours_s"], row["ours_q3_s"])))
            elif name in row["peers"]:
                peer = row["peers"][name]
                cells.append(ms(Quartiles(peer["q1_s"], peer["median_s"], peer["q3_s"])))
            else:
                cells.append("-")
        cells.append(row["fastest_peer"] or "-")
        ratio, paired = row["ratio_to_fastest_peer"], row["paired_ratio"]
        if ratio is None:
            cells.append("-")
        else:
            low, _, high = paired
            cells.append(f"{ratio:.2f} ({low:.2f}..{high:.2f})")
        lines.append(cells)
    return render(header, lines)
