"""The paper's experiments on your faces, in one command: report.html, tables as csv, figures.

    python examples/reproduce_paper.py
        built-in faces (the drawn people are the subjects) and their shipped teacher, in minutes
    python examples/reproduce_paper.py --data CK+ --teacher teacher.npz --budget hours
        your own CK+ or Oulu-CASIA: ten folds by subject, and ten at random
    python examples/reproduce_paper.py --data fer2013.csv.gz --votes fer2013new.csv \\
            --teacher teacher.npz --budget 2h
        FER+: its own split, for it does not say who is shown

Sixteen candidates without a teacher, p12 with one at seven temperatures, by size; both kinds of
split; speed; where the network looks, calibration, confusions. Each claim of the paper gets a
verdict from an interval over folds and seeds.

--budget is how long it may take: minutes (10), hours (4), or a time such as 90s, 10min, 2h. A few
training steps are measured first; then seeds, folds and epochs are given up, in this order, until
the rest fits. The report says what was given up. --epochs, --folds and --seeds stay as given.
--budget none gives up nothing; with --recipe paper --epochs 3000 that is the paper, and days.

The same command again goes on where it stopped, after Ctrl-C or a power cut too.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import sweep as sweep_example  # the program beside this one: the same options, data and bars
from sweep import UsageError, bar, positive, several

import ferdata
import tinycnn
from tinycnn import paper, sweep
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.paper import published
from tinycnn.parallel import usable_cores
from tinycnn.plots import PlotsError
from tinycnn.recipes import RECIPES

N_SEEDS = 3
"""Of the whole experiment, before any budget."""

RESERVED = 0.85
"""Share of the budget that trainings may take; the rest: processes that start, and the report."""

SCALED = {"epochs": "epochs", "folds": "n_folds", "seeds": "n_seeds"}


def budget(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return paper.budget_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def build_parser() -> argparse.ArgumentParser:
    parser = sweep_example.Parser(
        prog="reproduce_paper.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="PATH", help=sweep_example.DATA)
    data.add_argument("--votes", metavar="FILE", help="FER+ votes for FER2013: fer2013new.csv")
    data.add_argument("--teacher", metavar="FILE", nargs="+", help=sweep_example.TEACHER)
    data.add_argument(
        "--targets",
        choices=("votes", "plurality", "majority", "labels"),
        help=sweep_example.TARGETS,
    )
    data.add_argument("--rows", type=positive, metavar="N", help="use the first N training images")

    size = parser.add_argument_group("how much")
    size.add_argument("--budget", type=budget, default="minutes", metavar="TIME", help=BUDGET)
    size.add_argument("--epochs", type=positive, metavar="N", help="(default: the recipe's)")
    size.add_argument("--folds", type=positive, metavar="N", help=FOLDS)
    size.add_argument("--seeds", type=positive, metavar="N", help=f"(default: {N_SEEDS})")
    size.add_argument("--sizes", type=several(str), metavar="A,B,...", help="(default: all four)")
    size.add_argument("--temperatures", type=several(float), metavar="A,B,...", help=TEMPERATURES)
    size.add_argument("--recipe", choices=sorted(RECIPES), default="fer", help=RECIPE)

    where = parser.add_argument_group("where and how")
    where.add_argument("--out", metavar="FOLDER", default="paper", help="(default: paper)")
    where.add_argument("--processes", type=positive, metavar="N", help="(default: one a core)")
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help=sweep_example.SCHEDULER)
    where.add_argument("--retry-failed", action="store_true", help=sweep_example.RETRY)
    where.add_argument("--backend", choices=("numba", "numpy"), default="numba")
    return parser


BUDGET = "minutes, hours, none, or a time such as 10min or 2h: see above (default: minutes)"
FOLDS = (
    f"measure on the first N of {published.N_FOLDS} folds (default: as many as the budget allows)"
)
TEMPERATURES = "(default: the paper's 2,4,8,16,20,32,64)"
RECIPE = "learning rate, schedule and all else; the paper's needs many epochs (default: fer)"


def parse(argv: list[str]) -> argparse.Namespace:
    args = build_parser().parse_args(argv)
    for size in args.sizes or ():
        if size not in published.SIZES:
            raise UsageError(f"--sizes {size}: expected some of {', '.join(published.SIZES)}")
    if args.folds and args.folds > published.N_FOLDS:
        raise UsageError(f"--folds {args.folds}: there are {published.N_FOLDS}")
    if args.votes and not args.data:
        raise UsageError("--votes goes with --data: the built-in faces have labels")
    return args


# ---- data ------------------------------------------------------------------------------------


def load_sources(args: argparse.Namespace) -> dict[str, ferdata.TrialFaces]:
    """The faces, divided in each way that they can be; what counts comes first."""
    in_folds = args.data is None or args.folds
    wanted = dict(folds=published.N_FOLDS if in_folds else None, split="random", no_face=None)
    source = sweep_example.load_source(argparse.Namespace(**{**vars(args), **wanted}))
    if source.protocol == "own-split":
        return {"own-split": replace(source, dataset=measured_on_validation(source.dataset))}
    if source.dataset.subjects is None:
        return {"random": source}
    return {"subject": replace(source, protocol="subject"), "random": source}


def measured_on_validation(dataset: ferdata.FaceDataset) -> ferdata.FaceDataset:
    """A split "validation" becomes the test part of data that have no other: a part of "train" then
    chooses epoch and temperature, so that no choice looks at what is reported."""
    if "test" in dataset.split or "validation" not in dataset.split:
        return dataset
    return replace(dataset, split=np.where(dataset.split == "validation", "test", dataset.split))


# ---- the plan --------------------------------------------------------------------------------


def full_plan(args: argparse.Namespace, sources: dict[str, ferdata.TrialFaces]) -> paper.Plan:
    source = next(iter(sources.values()))
    wanted = set(args.sizes or published.SIZES)
    temperatures = tuple(args.temperatures or published.TEMPERATURES) if source.has_teacher else ()
    in_folds = source.protocol != "own-split"
    plan = paper.Plan(
        splits=tuple(sources),
        sizes=tuple(size for size in published.SIZES if size in wanted),
        temperatures=temperatures,
        recipe=args.recipe,
        epochs=args.epochs or RECIPES[args.recipe].epochs,
        n_folds=(args.folds or published.N_FOLDS) if in_folds else 0,
        n_seeds=args.seeds or N_SEEDS,
    )
    plan.trials(plan.splits[0])  # raises for what cannot be trained, before anything is written
    return plan


def decide(
    args: argparse.Namespace, full: paper.Plan, sources: dict[str, ferdata.TrialFaces]
) -> paper.Plan:
    """The plan that the budget allows; the one of before, if the same was asked for before: what a
    few steps take differs from time to time, and trainings of other epochs are other trainings."""
    fixed = sorted(field for name, field in SCALED.items() if getattr(args, name))
    keys = [source.key for source in sources.values()]
    asked = dict(full=asdict(full), budget_s=args.budget, fixed=fixed, data=keys)
    asked = json.loads(json.dumps(asked))
    path = Path(args.out) / "plan.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["asked"] == asked:
            return paper.from_json(before["plan"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # there is none, or none that can be read: it is made anew
    plan = full
    if args.budget is not None:
        print("measuring what trainings take here")
        costs = paper.measure(full, next(iter(sources.values())), args.backend)
        n_processes = args.processes or usable_cores()

        def seconds(plan: paper.Plan) -> float:
            return costs.seconds(plan, n_processes) / RESERVED

        plan = paper.fitted(full, args.budget, seconds, frozenset(fixed))
        print(f"expected: {seconds(plan) / 60:.1f} min of {args.budget / 60:.1f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(dict(asked=asked, plan=asdict(plan)), indent=2)
    write_atomically(path, content + "\n")
    return plan


# ---- running and looking ---------------------------------------------------------------------


def run_trials(
    args: argparse.Namespace, plan: paper.Plan, sources: dict[str, ferdata.TrialFaces]
) -> tuple[dict[str, dict[str, sweep.Trial]], dict[str, sweep.Outcome]]:
    """Train what has no result yet; the networks that the report opens are kept."""
    folder = str(Path(args.out) / "trials")
    common = dict(shard=None, threads=None, local_checkpoints=None, out=folder)
    named, outcomes = {}, {}
    for number, (split, source) in enumerate(sources.items()):
        trials = plan.trials(split)
        named[split], outcomes[split] = sweep.names(trials, source.key), sweep.Outcome()
        for keep in (True, False):
            some = [t for t in trials if (number == 0 and plan.is_looked_into(t)) == keep]
            if some:
                print(f"{len(some)} trainings, {split}" + (", networks kept" if keep else ""))
                options = {**vars(args), **common, "keep_models": keep}
                sweep_example.run_trials(argparse.Namespace(**options), some, source)
            own = sweep.SweepFolder(folder).outcome(sweep.names(some, source.key), keep)
            outcomes[split].results.update(own.results)
            outcomes[split].failures.update(own.failures)
    return named, outcomes


def look_inside(
    args: argparse.Namespace, scores: paper.Scores, source: ferdata.TrialFaces
) -> paper.Inside:
    folder = sweep.SweepFolder(Path(args.out) / "trials")

    @lru_cache(maxsize=1)
    def parts_of(fold: int | None) -> Any:
        options = dict(batch_size=64, augment=False, with_teacher=False)
        return source.parts(fold=fold, seed=0, **options)

    with bar("looking at networks", "") as progress:
        return paper.look_inside(
            scores,
            source.classes,
            parts=lambda replicate: parts_of(replicate[0]),
            load=lambda r: tinycnn.load(folder.model_path(r["name"]), backend=args.backend),
            progress=progress,
        )


def make_study(args: argparse.Namespace) -> tuple[paper.Study, int]:
    """Everything but the files; and how many trainings failed."""
    started = time.perf_counter()
    sources = load_sources(args)
    full = full_plan(args, sources)
    plan = decide(args, full, sources)
    for line in paper.scaled_down(plan, full):
        print(f"scaled down: {line}")
    main = sources[plan.splits[0]]
    print(f"{plan.n_trials} trainings, {len(main.dataset):,} images -> {args.out}")
    named, outcomes = run_trials(args, plan, sources)
    scores = paper.Scores(plan, {split: o.results.values() for split, o in outcomes.items()})
    latencies = paper.latencies(plan.sizes, len(main.classes), args.backend)
    inside = look_inside(args, scores, main)
    took = time.perf_counter() - started
    facts = {
        "faces": args.data or "the built-in ones",
        "images": f"{len(main.dataset):,}",
        "teacher": ", ".join(args.teacher or ["the shipped one" if main.has_teacher else "none"]),
        "recipe": plan.recipe,
        "epochs": f"{plan.epochs:,}",
        "folds measured on": str(plan.n_folds or "none: the data set's own split"),
        "seeds": str(plan.n_seeds),
        "tinycnn": tinycnn.__version__,
        **{f"data, {split}": source.key for split, source in sources.items()},
        "time of this run": f"{took / 60:.1f} min (trainings of runs before not counted)",
    }
    study = paper.Study(
        title=f"MicroExpNet on {Path(args.data).name if args.data else 'the built-in faces'}",
        command=shlex.join(["python", *sys.argv]),
        plan=plan,
        full=full,
        classes=main.classes,
        named=named,
        outcomes=outcomes,
        facts=facts,
        latencies=latencies,
        inside=inside,
    )
    return study, sum(len(outcome.failures) for outcome in outcomes.values())


def run(argv: list[str]) -> int:
    args = parse(argv)
    study, n_failed = make_study(args)
    try:
        study.draw()
    except PlotsError as error:
        study.notes = [f"no figures: {error}"]
        print(f"no figures: {error}", file=sys.stderr)
    page = paper.write_study(study, args.out)
    print()
    for claim in study.claims:
        missing = f" ({claim.missing})" if claim.missing else ""
        print(f"{claim.verdict:>14}  {claim.text}{missing}")
    print(f"\n-> {page}")
    if n_failed:
        print(f"{n_failed} trainings failed; --retry-failed runs them again", file=sys.stderr)
    return 1 if n_failed else 0


def main(argv: list[str] | None = None) -> int:
    return sweep_example.told(run, argv)


if __name__ == "__main__":
    sys.exit(main())
