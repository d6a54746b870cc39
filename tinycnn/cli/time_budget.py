"""Whether `tinycnn reproduce` keeps its budget of time, told while there is still work to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..paper import Plan

TOLERANCE = 0.1
"""A run that takes longer than its budget by a larger share says so."""


def is_over(budget_s: float | None, seconds: float) -> bool:
    """Whether a run of this time does not keep the budget.  budget_s: None for no limit"""
    return budget_s is not None and seconds > (1 + TOLERANCE) * budget_s


def ways_on(plan: Plan) -> str:
    """What to do about a plan that does not fit into the budget."""
    smaller = {
        "fewer --sizes": len(plan.sizes) > 1,
        "fewer --temperatures": len(plan.temperatures) > 1,
        "--epochs 1": plan.epochs > 1,
        "fewer --teacher-epochs": plan.n_teachers > 0 and plan.teacher_epochs > 1,
    }
    ways = [way for way, helps in smaller.items() if helps]
    return "give " + " or ".join([*ways, "a longer --budget"])


@dataclass
class TrainingClock:
    """Says once, while there is still something to train, that the budget will not be kept.

    budget_s   None for no limit;  started: when the command was given, by `time.perf_counter`
    n_trials   all trainings of the plan
    tell       called with the line for the user
    n_done, n_trained  trainings that have a result; those of them that were trained in this run
    """

    budget_s: float | None
    started: float
    n_trials: int
    tell: Callable[[str], object]
    n_done: int = 0
    n_trained: int = 0
    has_told: bool = False
    began: float = field(default_factory=lambda: time.perf_counter())

    def trained(self, n_trials: int, n_new: int) -> None:
        """n_trials more have a result; n_new of them had none before."""
        self.n_done += n_trials
        self.n_trained += n_new
        n_left = self.n_trials - self.n_done
        if self.has_told or not self.n_trained or not n_left:
            return
        now = time.perf_counter()
        expected_s = now - self.started + (now - self.began) / self.n_trained * n_left
        if is_over(self.budget_s, expected_s):
            self.has_told = True
            self.tell(f"the budget will not be kept: {expected_s / 60:.1f} min are expected now")
