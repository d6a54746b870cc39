"""The training runs that the paper's experiments need, and those that fit into a budget of time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..sweep import LEAST_TEACHER_EPOCHS, Trial, grid
from . import published

MAIN_VARIANT = "p12"
"""The variant that the paper chose to distil."""

BUDGETS_S = {"minutes": 600.0, "hours": 4 * 3600.0}
_UNITS_S = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Plan:
    """All training runs of the experiments.

    splits        "subject" and "random", which have folds, or "own-split".  Distillation is
                  measured on the first one only
    sizes         some of `published.SIZES`, from large to small
    temperatures  () without a teacher
    n_folds       how many of the `published.N_FOLDS` folds are measured; 0: the data's own split
    teacher_network, teacher_epochs  of the teacher that is trained in each fold, see `sweep.Trial`;
                  "" and 0 if there is none, or its soft labels come with the data
    """

    splits: tuple[str, ...]
    sizes: tuple[str, ...]
    temperatures: tuple[float, ...]
    recipe: str
    epochs: int
    n_folds: int
    n_seeds: int
    teacher_network: str = ""
    teacher_epochs: int = 0

    def trials(self, split: str) -> list[Trial]:
        """All variants without a teacher; on the first split, the main variant with one too, and
        before all others the teachers that are trained in the folds."""
        common: dict[str, Any] = {"recipe": self.recipe, "epochs": self.epochs}
        common |= {"fold": list(range(self.n_folds)) or None, "seed": list(range(self.n_seeds))}
        common |= {"size": list(self.sizes)}
        trials = grid(variant=list(published.VARIANTS), loss="none", **common)
        if split == self.splits[0] and self.temperatures:
            common |= {"temperature": list(self.temperatures)}
            if self.teacher_network:
                common |= {"teacher_network": self.teacher_network}
                common |= {"teacher_epochs": self.teacher_epochs}
            trials += grid(variant=MAIN_VARIANT, loss="kd", **common)
        return sorted(trials, key=lambda trial: not trial.is_teacher)

    def is_kept(self, trial: Trial) -> bool:
        """Whether the network is kept: `look_inside` loads it, or it is a teacher."""
        is_looked_into = trial.variant == MAIN_VARIANT and trial.size == self.sizes[-1]
        return is_looked_into or trial.is_teacher

    @property
    def n_replicates(self) -> int:
        """How often each setting is trained: folds times seeds."""
        return max(self.n_folds, 1) * self.n_seeds

    def one_of_each(self) -> list[Trial]:
        """The trials of all splits for one fold and one seed, without teachers."""
        one = replace(self, n_folds=min(self.n_folds, 1), n_seeds=1)
        trials = [trial for split in self.splits for trial in one.trials(split)]
        return [trial for trial in trials if not trial.is_teacher]

    @property
    def n_teachers(self) -> int:
        """How many teachers are trained: one in each fold, for all seeds."""
        return max(self.n_folds, 1) if self.teacher_network and self.temperatures else 0

    @property
    def n_trials(self) -> int:
        return self.n_teachers + len(self.one_of_each()) * self.n_replicates


# ---- the budget ------------------------------------------------------------------------------


def budget_s(text: str) -> float:
    """Seconds for "minutes" (10 of them), "hours" (4), or a number with a unit: 90s, 10min, 2.5h.

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
    """The whole plan, then smaller and smaller ones, which first give up what matters least.

    With folds: down to one seed (folds show the effect of chance as well), five folds, 25 epochs of
    the teachers, three epochs of the others, three folds, one epoch.  On a data set's own split,
    where intervals come from the seeds: down to three seeds, 25 epochs of the teacher, one epoch.
    fixed: names of numbers that must not change, such as "epochs"
    """
    plan = full
    of_teacher = ("teacher_epochs", LEAST_TEACHER_EPOCHS)
    steps = [("n_seeds", 1), ("n_folds", 5), of_teacher, ("epochs", 3), ("n_folds", 3)]
    steps += [("epochs", 1)]
    if not full.n_folds:
        steps = [("n_seeds", 3), of_teacher, ("epochs", 1)]
    yield plan
    for name, least in steps:
        while name not in fixed and (number := asdict(plan)[name]) > least:
            plan = replace(plan, **{name: number - 1})
            yield plan


def fitted(
    full: Plan, budget: float, seconds: Callable[[Plan], float], fixed: frozenset[str] = frozenset()
) -> Plan:
    """The first plan of the ladder that takes at most `budget` seconds; the last if none does."""
    for plan in ladder(full, fixed):
        if seconds(plan) <= budget:
            break
    return plan


# ---- what differs ----------------------------------------------------------------------------


def scaled_down(plan: Plan, full: Plan) -> list[str]:
    """A line for each number that the budget made smaller."""
    lines = []
    if plan.epochs < full.epochs:
        lines.append(f"{_counted(plan.epochs, 'epoch')} instead of {full.epochs:,}")
    if plan.teacher_epochs < full.teacher_epochs:
        told = _counted(plan.teacher_epochs, "epoch")
        lines.append(f"{told} of the teachers instead of {full.teacher_epochs:,}")
    if plan.n_folds < full.n_folds:
        lines.append(f"only the first {plan.n_folds} of {published.N_FOLDS} folds")
    if plan.n_seeds < full.n_seeds:
        lines.append(f"{_counted(plan.n_seeds, 'seed')} instead of {full.n_seeds}")
    return lines


def unlike_the_paper(plan: Plan) -> list[str]:
    """A line for each difference between the plan and the paper."""
    lines = []
    if plan.recipe != "paper":
        lines.append(f"trained with recipe {plan.recipe}; the paper's own is recipe paper")
    if plan.epochs != published.N_EPOCHS:
        lines.append(f"{_counted(plan.epochs, 'epoch')}; the paper has {published.N_EPOCHS:,}")
    if not plan.n_folds:
        lines.append("the data set's own split; the paper has ten folds")
    elif plan.n_folds < published.N_FOLDS:
        lines.append(f"{plan.n_folds} of ten folds")
    if plan.sizes != published.SIZES:
        lines.append(f"sizes: {', '.join(plan.sizes)}; the paper has {len(published.SIZES)}")
    if plan.temperatures != published.TEMPERATURES:
        shown = ", ".join(f"{t:g}" for t in plan.temperatures) or "none"
        n = len(published.TEMPERATURES)
        lines.append(f"temperatures: {shown}; the paper has {n}")
    if plan.n_teachers:
        each = "in each fold on the fold's own training images" if plan.n_folds else 'on "train"'
        lines.append(
            f"the teacher is {plan.teacher_network}, trained {each}; the paper's is an Inception v3"
        )
    share = "a ninth of each fold's" if plan.n_folds else "a tenth of the"
    lines.append(
        f"{share} training images is kept apart to choose the epoch and the temperature; the paper "
        "chose them by the score that it reports"
    )
    return lines


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def from_json(fields: dict[str, Any]) -> Plan:
    """A Plan from its fields by name, as they are read from JSON, which has lists for tuples.
    Raises ValueError if they are not those of a plan."""
    try:
        tuples: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        plan = Plan(**tuples)
        plan.n_trials  # raises an error for fields of the wrong type
        return plan
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a plan: {error}") from None
