"""The layers of a network as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .ground.messages import aligned, plain
from .plan import Plan

HEADER = ("layer", "kind", "output", "parameters", "multiply-adds")


@dataclass(frozen=True, repr=False)
class Summary:
    """A row for each layer and one for the whole network.  str() and repr() are the table, so a
    notebook and the Python prompt show it; in a program, print it.

    rows: (name, kind, output shape, parameters, multiply-adds for an image), the last is the total
    """

    title: str
    rows: tuple[tuple[str, str, str, int, int], ...]

    def __repr__(self) -> str:
        cells: list[Sequence[str]] = [HEADER]
        for name, kind, output, n_parameters, n_multiply_adds in self.rows:
            cells.append((name, kind, output, f"{n_parameters:,}", f"{n_multiply_adds:,}"))
        return f"{self.title}\n{aligned([[plain(cell) for cell in row] for row in cells], 3)}"


def summary_of(plan: Plan, title: str) -> Summary:
    """The summary of a network with that plan.  title: the first line of the text."""
    rows = [
        (
            step.name,
            type(step.layer).__name__,
            "x".join(map(str, step.output_shape)),
            step.n_parameters,
            step.n_multiply_adds,
        )
        for step in plan.steps
    ]
    n_multiply_adds = sum(row[4] for row in rows)
    return Summary(title, (*rows, ("total", "", "", plan.n_parameters, n_multiply_adds)))
