"""run the paper's experiments on faces: report.html, CSV tables, figures"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ferdata

from .. import paper, sweep
from ..formats import safetensors
from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..ground.printing import print_message, print_text
from ..ground.progress import ProgressBar
from ..paper import published
from ..parallel import usable_cores
from ..plots import PlotsError
from ..run import NO_TEACHER, TrainingOptions
from . import plan_file
from . import sweep as sweep_command
from .console import print_json, this_command
from .fold_teacher import fold_teacher, tell_without_teacher
from .reproduce_options import N_SEEDS, SCALED, ReproduceArguments, read_arguments
from .reproduce_options import add_arguments as add_arguments
from .sweep_faces import load_source
from .time_budget import TrainingClock, is_over, ways_on

if TYPE_CHECKING:
    from ferdata.training.trial_faces import TrialParts

TRAINING_SHARE = 0.85
"""Share of the budget that is planned for training; the rest is for starting processes and for the
report."""

Tell = Callable[[str], object]
"""Prints a line for the user."""


# ---- data ------------------------------------------------------------------------------------


def load_sources(args: ReproduceArguments) -> dict[str, ferdata.TrialFaces]:
    """The faces, divided in each possible way; the claims are judged by the first."""
    folds = published.N_FOLDS if args.data is None or args.folds else None
    source = load_source(args, folds, "random")
    if source.protocol == "own-split":
        return {"own-split": replace(source, dataset=measured_on_validation(source.dataset))}
    if source.dataset.subjects is None:
        return {"random": source}
    return {"subject": replace(source, protocol="subject"), "random": source}


def measured_on_validation(dataset: ferdata.FaceDataset) -> ferdata.FaceDataset:
    """If there is no split "test", "validation" becomes it. Epoch and temperature are then chosen
    on a part of "train", and not on the images that the reported accuracy is measured on."""
    split = dataset.split
    if split is None or "test" in split or "validation" not in split:
        return dataset
    return replace(dataset, split=np.where(split == "validation", "test", split))


# ---- the plan --------------------------------------------------------------------------------


def full_plan(args: ReproduceArguments, sources: dict[str, ferdata.TrialFaces]) -> paper.Plan:
    """The plan without a budget."""
    source = next(iter(sources.values()))
    wanted = set(args.sizes or published.SIZES)
    distils = source.has_teacher or args.train_teacher
    temperatures = tuple(args.temperatures or published.TEMPERATURES) if distils else ()
    in_folds, teacher = source.protocol != "own-split", fold_teacher(args, source)
    plan = paper.Plan(
        splits=tuple(sources),
        sizes=tuple(size for size in published.SIZES if size in wanted),
        temperatures=temperatures,
        recipe=args.recipe,
        epochs=args.epochs or TrainingOptions(recipe=args.recipe).epochs,
        n_folds=(args.folds or published.N_FOLDS) if in_folds else 0,
        n_seeds=args.seeds or N_SEEDS,
        **({} if teacher is None else teacher._asdict()),
    )
    plan.trials(plan.splits[0])  # raises ValueError for impossible options before a file is written
    return plan


def plan_for_budget(
    args: ReproduceArguments,
    full: paper.Plan,
    sources: dict[str, ferdata.TrialFaces],
    tell: Tell = print,
) -> paper.Plan:
    """The part of the full plan that fits into the budget, also written to plan.json.

    The plan in plan.json is used if it was made for the same options: the measured times vary, and
    another number of epochs would mean to train everything again.
    """
    fixed = sorted(field for name, field in SCALED.items() if vars(args)[name])
    keys = [source.key for source in sources.values()]
    asked = dict(full=asdict(full), budget_s=args.budget, fixed=fixed, data=keys)
    asked = json.loads(json.dumps(asked))
    path, before = Path(args.out) / plan_file.NAME, plan_file.read_plan(args.out)
    if before is not None and before["asked"] == asked:
        with contextlib.suppress(ValueError, TypeError, KeyError):  # damaged: make a new one
            return paper.from_json(before["plan"])
    plan = full
    if args.budget is not None:
        tell("timing a few training steps")
        costs = paper.measure(full, next(iter(sources.values())), args.backend)
        n_processes = args.processes or usable_cores()
        so_far = time.perf_counter() - args.started  # reading the faces, compiling, timing

        def seconds(plan: paper.Plan) -> float:
            return so_far + costs.seconds(plan, n_processes) / TRAINING_SHARE

        plan = paper.fitted(full, args.budget, seconds, frozenset(fixed))
        tell(f"expected: {seconds(plan) / 60:.1f} min of {args.budget / 60:.1f}")
        if is_over(args.budget, seconds(plan)):
            tell(f"the budget will not be kept: this is the smallest plan; {ways_on(plan)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(dict(asked=asked, plan=asdict(plan)), indent=2)
    write_atomically(path, content + "\n")
    return plan


# ---- training and measuring ------------------------------------------------------------------


def run_trials(
    args: ReproduceArguments,
    plan: paper.Plan,
    sources: dict[str, ferdata.TrialFaces],
    tell: Tell = print,
) -> tuple[dict[str, dict[str, sweep.Trial]], dict[str, sweep.Outcome]]:
    """Train all that has no result yet, and keep the networks that the report looks into.

    Returns the trials by name and their outcome, each for every way to divide the faces.
    """
    folder = str(Path(args.out) / "trials")
    clock = TrainingClock(args.budget, args.started, plan.n_trials, tell)
    named: dict[str, dict[str, sweep.Trial]] = {}
    outcomes: dict[str, sweep.Outcome] = {}
    for number, (split, source) in enumerate(sources.items()):
        trials = plan.trials(split)
        named[split], outcomes[split] = sweep.names(trials, source.key), sweep.Outcome()
        for keep in (True, False):
            some = [t for t in trials if (number == 0 and plan.is_kept(t)) == keep]
            if some:
                tell(f"{len(some)} trainings, {split}" + (", networks kept" if keep else ""))
                options = replace(args, out=folder, keep_models=keep)
                before = sweep.SweepFolder(folder).outcome(sweep.names(some, source.key), keep)
                sweep_command.run_trials(options, some, source)
                clock.trained(len(some), len(some) - len(before.results))
            own = sweep.SweepFolder(folder).outcome(sweep.names(some, source.key), keep)
            outcomes[split].results.update(own.results)
            outcomes[split].failures.update(own.failures)
    return named, outcomes


def look_inside(
    args: ReproduceArguments, scores: paper.Scores, source: ferdata.TrialFaces
) -> paper.Inside:
    """What the report shows of the kept networks: where they look, calibration, confusions."""
    folder = sweep.SweepFolder(Path(args.out) / "trials")

    @lru_cache(maxsize=1)
    def parts_of(fold: int | None) -> TrialParts:
        return source.parts(sweep.Trial(loss=NO_TEACHER, augment=False, fold=fold))

    with ProgressBar("looking at networks", "") as progress:
        return paper.look_inside(
            scores,
            source.classes,
            parts=lambda replicate: parts_of(replicate[0]),
            load=lambda r: safetensors.load(folder.model_path(r["name"]), backend=args.backend),
            progress=progress,
        )


def make_study(
    args: ReproduceArguments,
    full: paper.Plan,
    plan: paper.Plan,
    sources: dict[str, ferdata.TrialFaces],
    tell: Tell = print,
) -> paper.Study:
    """Train and measure all that the plan says; everything but the files."""
    if not plan.temperatures:
        tell_without_teacher()
    for line in paper.scaled_down(plan, full):
        tell(f"scaled down: {line}")
    main = sources[plan.splits[0]]
    tell(f"{plan.n_trials} trainings, {len(main.dataset):,} images -> {args.out}")
    named, outcomes = run_trials(args, plan, sources, tell)
    scores = paper.Scores(plan, {split: o.results.values() for split, o in outcomes.items()})
    latencies = paper.latencies(plan.sizes, len(main.classes), args.backend)
    inside = look_inside(args, scores, main)
    took = time.perf_counter() - args.started
    facts = {
        "faces": args.data or "built-in",
        "images": f"{len(main.dataset):,}",
        "teacher": _teacher(args, plan),
        "recipe": plan.recipe,
        "epochs": f"{plan.epochs:,}",
        "folds": str(plan.n_folds or "none: the data set's own split"),
        "seeds": str(plan.n_seeds),
        "tinycnn": __version__,
        **{f"data, {split}": source.key for split, source in sources.items()},
        "time of this run": f"{took / 60:.1f} min (without trainings of earlier runs)",
    }
    if args.budget is not None:
        facts["budget"] = f"{args.budget / 60:.1f} min"
        if is_over(args.budget, took):
            facts["budget"] += " (not kept)"
            tell(f"the budget was not kept: {took / 60:.1f} min of {args.budget / 60:.1f}")
    return paper.Study(
        title=f"MicroExpNet on {Path(args.data).name if args.data else 'the built-in faces'}",
        command=this_command(),
        plan=plan,
        full=full,
        classes=main.classes,
        named=named,
        outcomes=outcomes,
        facts=facts,
        latencies=latencies,
        inside=inside,
    )


def _teacher(args: ReproduceArguments, plan: paper.Plan) -> str:
    """Where the soft labels come from."""
    if plan.n_teachers:
        n = plan.teacher_epochs
        where = "in each fold" if plan.n_folds else 'on "train"'
        epochs = "epoch" if n == 1 else "epochs"
        return f"{plan.teacher_network}, trained {where}, {n} {epochs}"
    return ", ".join(args.teacher or ["built-in" if plan.temperatures else "none"])


def run(given: argparse.Namespace) -> int:
    tell: Tell = (lambda line: None) if given.json else print
    with sweep_command.saying_how_to_continue():
        args = read_arguments(given)
        sources = load_sources(args)
        full = full_plan(args, sources)
        plan = plan_for_budget(args, full, sources, tell)
        study = make_study(args, full, plan, sources, tell)
        page = write_study(study, args)
    if given.json:
        print_json(as_json(study, page))
    else:
        print_claims(study, page)
    return tell_failures(study)


# ---- results ---------------------------------------------------------------------------------


def write_study(study: paper.Study, args: ReproduceArguments) -> Path:
    """Write report.html, tables and figures, without the figures if there is no matplotlib."""
    try:
        study.draw()
    except PlotsError as error:
        study.notes = [f"no figures: {error}"]
        print_message(f"no figures: {error}")
    return paper.write_study(study, args.out)


def print_claims(study: paper.Study, page: Path) -> None:
    print_text()
    for claim in study.claims:
        why = claim.missing or claim.untested
        missing = f" ({why})" if why else ""
        print_text(f"{claim.verdict:>14}  {claim.text}{missing}")
    print_text(f"\n-> {page}")


def as_json(study: paper.Study, page: Path) -> dict[str, object]:
    """The verdicts as values that JSON can hold."""
    claims = [
        {
            "verdict": claim.verdict,
            "claim": claim.text,
            "missing": claim.missing or claim.untested or None,
        }
        for claim in study.claims
    ]
    return {"page": str(page), "claims": claims, "n_failed": _n_failed(study)}


def tell_failures(study: paper.Study) -> int:
    """Say on stderr how many trainings failed; returns the exit status."""
    n_failed = _n_failed(study)
    if n_failed:
        print_message(f"{n_failed} trainings failed; --retry-failed runs them again")
    return 1 if n_failed else 0


def _n_failed(study: paper.Study) -> int:
    return sum(len(outcome.failures) for outcome in study.outcomes.values())
