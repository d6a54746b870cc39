"""Which trainings the paper's experiments need, and how many of them a budget of time allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..sweep import Trial, grid
from . import published

MAIN_VARIANT = "p12"
"""The paper's choice, which is the one that is distilled."""

BUDGETS_S = {"minutes": 600.0, "hours": 4 * 3600.0}
_UNITS_S = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Plan:
    """All trainings of the experiments.

    splits        "subject" and "random": folds; or "own-split".  The first is the one that counts:
                  distillation is measured on it alone
    sizes         from large to small, of `published.SIZES`
    temperatures  () without a teacher
    n_folds       how many of `published.N_FOLDS` folds are measured on; 0: the data's own split
    """

    splits: tuple[str, ...]
    sizes: tuple[str, ...]
    temperatures: tuple[float, ...]
    recipe: str
    epochs: int
    n_folds: int
    n_seeds: int

    def trials(self, split: str) -> list[Trial]:
        """Candidates without a teacher; on the first split, the main variant with one too."""
        common: dict[str, Any] = dict(recipe=self.recipe, epochs=self.epochs)
        common |= dict(fold=list(range(self.n_folds)) or None, seed=list(range(self.n_seeds)))
        common |= dict(size=list(self.sizes))
        trials = grid(variant=list(published.VARIANTS), loss="none", **common)
        if split == self.splits[0] and self.temperatures:
            taught = dict(loss="kd", temperature=list(self.temperatures))
            trials += grid(variant=MAIN_VARIANT, **taught, **common)
        return trials

    def is_looked_into(self, trial: Trial) -> bool:
        """Whether the report opens this network, so that it has to be kept."""
        return trial.variant == MAIN_VARIANT and trial.size == self.sizes[-1]

    @property
    def n_replicates(self) -> int:
        """How often everything is trained: over folds and seeds."""
        return max(self.n_folds, 1) * self.n_seeds

    def one_of_each(self) -> list[Trial]:
        """The trials of all splits for one fold and one seed."""
        one = replace(self, n_folds=min(self.n_folds, 1), n_seeds=1)
        return [trial for split in self.splits for trial in one.trials(split)]

    @property
    def n_trials(self) -> int:
        return len(self.one_of_each()) * self.n_replicates


# ---- the budget ------------------------------------------------------------------------------


def budget_s(text: str) -> float:
    """Seconds of "minutes" (10), "hours" (4), or a number with its unit: 90s, 10min, 2.5h.

    Raises ValueError for anything else.
    """
    if text in BUDGETS_S:
        return BUDGETS_S[text]
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?(s|min|h)", text)
    if not found or not float(found[1]):
        names = ", ".join(BUDGETS_S)
        raise ValueError(f"budget is {text!r}; expected {names}, or a time such as 10min or 2h")
    return float(found[1]) * _UNITS_S[found[2]]


def ladder(full: Plan, fixed: frozenset[str] = frozenset()) -> Iterator[Plan]:
    """The whole plan, then ever smaller ones: what is given up first is missed least.

    Seeds go first (folds say as much of chance), then folds down to five, then epochs to three,
    then folds to three and epochs to one.  On a data set's own split seeds are all that intervals
    come from: three are kept while there are epochs to give up.
    fixed: names of what stays as it is.
    """
    plan = full
    steps = [("n_seeds", 1), ("n_folds", 5), ("epochs", 3), ("n_folds", 3), ("epochs", 1)]
    if not full.n_folds:
        steps = [("n_seeds", 3), ("epochs", 1)]
    yield plan
    for name, least in steps:
        while name not in fixed and getattr(plan, name) > least:
            plan = replace(plan, **{name: getattr(plan, name) - 1})
            yield plan


def fitted(
    full: Plan, budget: float, seconds: Callable[[Plan], float], fixed: frozenset[str] = frozenset()
) -> Plan:
    """The largest plan of the ladder that takes no longer than the budget; the smallest if none."""
    for plan in ladder(full, fixed):
        if seconds(plan) <= budget:
            break
    return plan


# ---- what differs ----------------------------------------------------------------------------


def scaled_down(plan: Plan, full: Plan) -> list[str]:
    """A line for everything that the budget made smaller."""
    lines = []
    if plan.epochs < full.epochs:
        lines.append(f"{_counted(plan.epochs, 'epoch')} instead of {full.epochs:,}")
    if plan.n_folds < full.n_folds:
        lines.append(f"the first {plan.n_folds} of {published.N_FOLDS} folds are measured on")
    if plan.n_seeds < full.n_seeds:
        lines.append(f"{_counted(plan.n_seeds, 'seed')} instead of {full.n_seeds}")
    return lines


def unlike_the_paper(plan: Plan) -> list[str]:
    """A line for everything in which the plan is not the paper's."""
    lines = []
    if plan.recipe != "paper":
        lines.append(f"trained by recipe {plan.recipe}, not by the paper's (--recipe paper)")
    if plan.epochs != published.N_EPOCHS:
        lines.append(f"{_counted(plan.epochs, 'epoch')}; the paper's {published.N_EPOCHS:,}")
    if not plan.n_folds:
        lines.append("the data set's own split; the paper has ten folds")
    elif plan.n_folds < published.N_FOLDS:
        lines.append(f"{plan.n_folds} of ten folds are measured on")
    for name in ("sizes", "temperatures"):
        theirs = getattr(published, name.upper())
        if getattr(plan, name) != theirs:
            shown = ", ".join(f"{v:g}" if isinstance(v, float) else v for v in getattr(plan, name))
            lines.append(f"{name}: {shown or 'none'}; the paper's are {len(theirs)}")
    lines.append(
        "of each fold's training part a ninth chooses the epoch and the temperature; the paper "
        "chose on the score that it reports"
        if plan.n_folds
        else "a tenth of the training images chooses the epoch and the temperature; the paper "
        "chose on the score that it reports"
    )
    return lines


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def from_json(fields: dict[str, Any]) -> Plan:
    """A plan of what `dataclasses.asdict` made of one.  Raises ValueError for what is none."""
    try:
        tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        plan = Plan(**tuples)
        plan.n_trials
        return plan
    except (TypeError, ValueError) as error:
        raise ValueError(f"no plan: {error}") from None
