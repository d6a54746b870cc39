"""A study: what was planned, run and found, and the files that say so.

report.html    one page, figures inside
figures/*.png  the same figures;  tables/*.csv  every table of the page, claims included
trials-<split>.csv  a line a training, as `sweep.summary_csv`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..ground.atomic_file import write_atomically
from ..sweep import Outcome, Trial, summary_csv
from . import figures, tables
from .claims import Claim, judged
from .inside import Inside
from .plan import Plan
from .scores import Scores
from .tables import Table


@dataclass
class Study:
    """plan, full: what was run, and what would have been without a budget;  named, outcomes: trials
    and their results by split;  facts: name -> text, of the data and of this run;  latencies: rows
    of `cost.latencies`;  inside: None where nothing was looked into."""

    title: str
    command: str
    plan: Plan
    full: Plan
    classes: Sequence[str]
    named: Mapping[str, Mapping[str, Trial]]
    outcomes: Mapping[str, Outcome]
    facts: Mapping[str, str]
    latencies: Sequence[Mapping[str, Any]] = ()
    inside: Inside | None = None
    notes: Sequence[str] = ()
    claims: list[Claim] = field(init=False)
    scores: Scores = field(init=False)
    pictures: dict[str, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        results = {split: o.results.values() for split, o in self.outcomes.items()}
        self.scores = Scores(self.plan, results)
        self.claims = judged(self.scores)

    def tables(self) -> dict[str, Table]:
        """All tables by name, in the order of the page."""
        several = [tables.claims(self.claims), tables.distillation(self.scores)]
        by_temperature = tables.temperatures(self.scores)
        several += [by_temperature] if by_temperature else []
        several += tables.candidates(self.scores)
        if self.latencies:
            several.append(tables.speed(self.latencies))
        if self.inside is not None:
            several.append(tables.calibration(self.inside))
            if self.inside.resolved:
                several.append(tables.confusions(self.inside))
        return {table.name: table for table in several}

    def draw(self) -> None:
        """Fill `pictures`: name -> png.  Raises `plots.PlotsError` without matplotlib."""
        self.pictures = figures.of_scores(self.scores)
        if self.latencies:
            self.pictures |= figures.of_latencies(self.latencies)
        if self.inside is not None:
            self.pictures |= figures.of_inside(self.inside)

    def write(self, folder: str | Path) -> Path:
        """Write every file; returns the page's.  Raises OSError where that is impossible."""
        from .page import render

        folder = Path(folder)
        for name in ("figures", "tables"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for split, named in self.named.items():
            text = summary_csv(named, self.outcomes[split])
            write_atomically(folder / f"trials-{split}.csv", text)
        for name, table in self.tables().items():
            write_atomically(folder / "tables" / f"{name}.csv", tables.csv_text(table))
        for name, picture in self.pictures.items():
            write_atomically(folder / "figures" / f"{name}.png", picture)
        page = folder / "report.html"
        write_atomically(page, render(self))
        return page
