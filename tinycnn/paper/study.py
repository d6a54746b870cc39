"""A study: the plan, the results, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..sweep import Outcome, Trial
from . import figures, tables
from .claims import Claim, judged
from .inside import Inside
from .plan import Plan
from .scores import Scores
from .tables import Table


@dataclass
class Study:
    """plan, full     the plan that was run, and the plan without a budget
    named, outcomes  the trials by split and name, and their results by split
    facts            texts about the data and this run, by name
    latencies        rows of `cost.latencies`
    inside           None if `look_inside` was not called
    claims, scores   computed from the outcomes
    pictures         PNG files by name; `draw` makes them
    """

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
        of_teachers = tables.teachers(self.scores)
        several += [of_teachers] if of_teachers else []
        several += tables.candidates(self.scores)
        if self.latencies:
            several.append(tables.speed(self.latencies))
        if self.inside is not None:
            several.append(tables.calibration(self.inside))
            if self.inside.resolved:
                several.append(tables.confusions(self.inside))
        return {table.name: table for table in several}

    def draw(self) -> None:
        """Fill `pictures`.  Raises `plots.PlotsError` without matplotlib."""
        self.pictures = figures.of_scores(self.scores)
        if self.latencies:
            self.pictures |= figures.of_latencies(self.latencies)
        if self.inside is not None:
            self.pictures |= figures.of_inside(self.inside)
