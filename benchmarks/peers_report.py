"""The comparison with other engines as text."""

from __future__ import annotations

from typing import Any

from .measures import OURS, Quartiles
from .table import comparison_table, ms

# The machine counts as busy with other work if one of these limits is exceeded.
MAX_SPREAD = 0.03
"""Of the control's spread in a row, and of the drift of its median between rows."""
MAX_LOAD = 1.0
"""Of the load average before the measurements."""
MAX_ABOVE_BEST = 0.15
"""Of the control's median above its shortest time: more means that something shared the core."""


def text(found: dict[str, Any]) -> str:
    """What `engine_comparison.compare` found on one network."""
    rows = found["rows"]
    lines = [
        "",
        "Median ms per call, ± half the distance between the quartiles; weights: "
        + found["weights"],
    ]
    lines += [comparison_table(rows, list(found["engines"]))]
    lines += [
        "its time / ours: above 1 tinycnn is faster; in brackets its quartiles over the rounds"
    ]
    lines += ["", "engines: " + ", ".join(f"{n} {v}".strip() for n, v in found["engines"].items())]
    lines += [f"largest error against the float64 reference: {_errors(rows)}"]
    for name, why in found["absent"].items():
        why = "not installed" if why.startswith("No module named") else why
        lines.append(f"left out: {name}: {why}")
    for row in rows:
        for name, why in row["left_out"].items():
            lines.append(f"left out: {name}, {row['task']} {row['batch']}: {why}")
    return "\n".join(_without_repeats(lines))


def _without_repeats(lines: list[str]) -> list[str]:
    """The same engine is often left out with one thread and with all: keep one of equal lines."""
    return [line for k, line in enumerate(lines) if not line or line not in lines[:k]]


def _errors(rows: list[dict[str, Any]]) -> str:
    largest: dict[str, float] = {}
    for row in rows:
        errors = {name: peer["error"] for name, peer in row["peers"].items()}
        if row["ours_error"] is not None:
            errors[OURS] = row["ours_error"]
        for name, value in errors.items():
            largest[name] = max(value, largest.get(name, 0.0))
    return ", ".join(f"{name} {value:.0e}" for name, value in largest.items())


def control_text(control: list[dict[str, float]], load: str) -> str:
    """Whether the machine was quiet; load: load average before the measurements."""
    worst, drift, above = _unrest(control)
    first = control[0]
    q = Quartiles(first["q1_s"], first["median_s"], first["q3_s"])
    return (
        f"control (a fixed loop of loads and multiply-adds, one core, every round): {ms(q)} ms; "
        f"largest spread of a row {worst:.0%}, drift between rows {drift:.0%}, slowest median "
        f"{above:.0%} above the shortest time; load average before: {load}; "
        + ("the machine was quiet" if was_quiet(control, load) else "THE MACHINE WAS NOT QUIET")
    )


def was_quiet(control: list[dict[str, float]], load: str) -> bool:
    """Whether the control's times and the load average are within the limits above."""
    worst, drift, above = _unrest(control)
    busy = load.replace(".", "").isdigit() and float(load) >= MAX_LOAD
    return not busy and worst <= MAX_SPREAD and drift <= MAX_SPREAD and above <= MAX_ABOVE_BEST


def _unrest(control: list[dict[str, float]]) -> tuple[float, float, float]:
    """Largest spread of a row, drift between rows, slowest median above the shortest time."""
    medians = [c["median_s"] for c in control]
    worst = max(c["spread"] for c in control)
    above = max(medians) / min(c["best_s"] for c in control) - 1
    return worst, max(medians) / min(medians) - 1, above
