"""train many networks, to compare options such as the temperature and the size"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import ferdata

from .. import plots, sweep
from ..backend_choice import BACKENDS
from ..ground.atomic_file import write_atomically
from ..ground.command_line import CannotError, positive
from ..ground.output_files import reads, writes
from ..ground.printing import print_message, print_text
from ..models.face_networks import FACE_NETWORKS, MICROEXPNET
from ..run.command_line import add_lists_of_training_options, flag_of
from ..run.options import option_table
from ..sweep.selection import RULES
from .console import print_json, this_command
from .data_options import DataOptions, add_data_options, check_folder, check_targets
from .progress import TrialBar
from .sweep_faces import N_FOLDS, load_source
from .sweep_file import Values, read_sweep_file

DESCRIPTION = """\
Train many networks, to compare options such as the temperature and the size.

    --size M,S,XS,XXS --temperature 2,4,8,16 --loss none,kd --epochs 8
        on built-in faces with the teacher that comes with them, in one process per core
    --config sweep.toml
        with options from a file; options on the command line override those of the file

The options in the group "trials" can have several values, separated by commas. Every combination of
values is one trial. The results are printed as a table, and report.html in the folder --out shows
them in a browser. To continue after Ctrl-C or a power cut, run the same command again: only trials
without a result are run.
In a file, an option with several values is a list:

    data = "fer2013.csv.gz"         # paths are relative to the file
    votes = "fer2013new.csv"
    teacher = "teacher.npz"
    out = "sweeps/temperature"
    size = ["XS", "XXS"]
    temperature = [2, 4, 8]
    epochs = 8

    [[trial]]                       # optional: each table adds trials of its own; its options
    loss = "none"                   # replace those above, and all others are shared
    [[trial]]
    loss = ["kd", "dkd"]

With several [[trial]] tables, the results are compared with those of the first table, over the
seeds that both have.
"""

TRIAL_FLAGS = {name: flag_of(name) for name in option_table(sweep.Trial) if name != "fold"}
TRIAL_FLAGS["seed"] = "--seeds"
"""Options that can have several values: name in `Trial` -> flag.  The data say which folds there
are."""

IN_FILE = {flag[2:].replace("-", "_"): name for name, flag in TRIAL_FLAGS.items()}
"""Name in a sweep's file -> name in `Trial`."""

RESULTS = ("summary.csv", "report.html", "curves*.png")
"""What the command writes beside the files of the sweep."""


@dataclass
class SweepArguments(DataOptions):
    """The options of the command.

    values  of the trials' options that are given, by name: one value or a list of them
    tables  the same for each table [[trial]] of the file
    """

    config: str | None = None
    folds: int | None = None
    split: str | None = None
    out: str = "sweeps/latest"
    processes: int | None = None
    scheduler: str | None = None
    threads: int = 1
    local_checkpoints: bool = False
    shard: tuple[int, int] | None = None
    retry_failed: bool = False
    keep_models: bool = False
    select: str = "validation"
    backend: str = "auto"
    values: Values = field(default_factory=dict)
    tables: list[Values] = field(default_factory=list)

    @property
    def summary(self) -> Path:
        return Path(self.out) / "summary.csv"

    @property
    def page(self) -> Path:
        return Path(self.out) / "report.html"


# ---- options ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(parser=parser)  # `read_arguments` checks the options of a file with it
    reads(
        parser.add_argument(
            "--config", metavar="FILE", help="read options from a TOML file, as described above"
        )
    )
    data = add_data_options(parser)
    data.add_argument("--folds", type=positive, metavar="N", help=FOLDS)
    data.add_argument("--split", choices=("subject", "random"), help=SPLIT)
    trials = parser.add_argument_group(
        "trials", "Each option of this group can have several values, separated by commas."
    )
    add_lists_of_training_options(trials, sweep.Trial, TRIAL_FLAGS)
    where = parser.add_argument_group("where and how")
    writes(where.add_argument("--out", metavar="FOLDER", help=OUT))
    where.add_argument("--processes", type=positive, metavar="N", help=PROCESSES)
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help=SCHEDULER)
    where.add_argument("--threads", type=positive, metavar="N", help=THREADS)
    where.add_argument("--local-checkpoints", action="store_true", default=None, help=LOCAL)
    where.add_argument("--shard", type=_shard, metavar="I/N", help=SHARD)
    where.add_argument("--retry-failed", action="store_true", default=None, help=RETRY)
    where.add_argument("--keep-models", action="store_true", default=None, help=KEEP)
    where.add_argument("--select", choices=RULES, help=SELECT)
    where.add_argument("--backend", choices=BACKENDS, help=BACKEND)


def _shard(text: str) -> tuple[int, int]:
    try:
        index, n = map(int, text.split("/"))
    except ValueError:
        index, n = 0, 0
    if not 1 <= index <= n:
        raise argparse.ArgumentTypeError(f"{text!r}: expected i/n, from 1/n to n/n")
    return index, n


FOLDS = (
    "cross-validation with N folds instead of the data set's own split (default: the split, or "
    f"{N_FOLDS} folds if there is none)"
)
SPLIT = "folds by subject (each person in one fold only) or at random (default: subject)"
OUT = "folder for results and checkpoints (default: sweeps/latest)"
PROCESSES = "processes on this machine (default: one per core)"
SCHEDULER = (
    'run on the workers of the Dask scheduler at this address; needs pip install "tinycnn[sweep]"'
)
THREADS = "CPU threads of each trial on a Dask worker (default: 1)"
LOCAL = (
    "Dask workers write checkpoints to disks of their own, for sweeps on hundreds of workers "
    "(default: to the sweep's folder, if they can see it)"
)
SHARD = (
    "run only the I-th of N parts of the sweep: one job of a batch system. Give all jobs the same "
    "--out, or copy their results into one folder afterwards"
)
RETRY = "run failed trials again (default: only list them)"
KEEP = "keep the network of every trial (default: keep only its results)"
SELECT = (
    "choose the temperature by the accuracy on the validation images, or by the reported accuracy "
    "itself, as the paper does; the latter is optimistic (default: validation)"
)
BACKEND = (
    "numba: compiled kernels; numpy: plain NumPy, slow; auto: numba if it works (default: auto)"
)


def read_arguments(given: argparse.Namespace) -> SweepArguments:
    """The options, each with its value from the command line, else from the file --config, else its
    default.

    given: what `parse_args` returned.  Raises CannotError.
    """
    found: Values = {}
    tables: list[Values] = []
    if given.config:
        found, tables = read_sweep_file(Path(given.config), given.parser, IN_FILE)
    found |= {name: value for name, value in vars(given).items() if value is not None}
    args = SweepArguments(tables=tables)
    for f in fields(SweepArguments):
        if f.name in found:
            setattr(args, f.name, found[f.name])
    args.values = {name: found[name] for name in TRIAL_FLAGS if name in found}
    if args.split and not args.folds:
        args.folds = N_FOLDS
    if args.shard and args.scheduler:
        raise CannotError("--shard cannot be combined with --scheduler, which divides the trials")
    check_targets(args)
    check_folder(args, args.out)
    return args


def networks_of(args: SweepArguments) -> list[str]:
    """The networks of the trials; for one that does not exist, `make_trials` raises the error."""
    asked = [{**args.values, **table}.get("network", MICROEXPNET) for table in args.tables or [{}]]
    names = {name for each in asked for name in (each if isinstance(each, list) else [each])}
    return [name for name in FACE_NETWORKS if name in names] or [MICROEXPNET]


def make_trials(args: SweepArguments, source: ferdata.TrialFaces) -> list[sweep.Trial]:
    """Every combination of the values of the options, once. If there are tables, each makes trials
    of its own: its options replace those in `args.values`."""
    folds = [None] if source.protocol == "own-split" else list(range(source.n_folds))
    trials: dict[sweep.Trial, None] = {}
    for table in args.tables or [{}]:
        options = {**args.values, **table}
        if not source.has_teacher:
            options.setdefault("loss", ["none"])
        try:
            trials.update(dict.fromkeys(sweep.grid(**options, fold=folds)))
        except (ValueError, TypeError, OverflowError) as error:
            raise CannotError(str(error)) from None
    if not source.has_teacher and any(trial.has_teacher for trial in trials):
        raise CannotError("a loss with a teacher needs --teacher; without one, give --loss none")
    return list(trials)


# ---- the sweep -------------------------------------------------------------------------------


def run_trials(args: SweepArguments, trials: list[sweep.Trial], source: ferdata.TrialFaces) -> None:
    """Run the trials that have no result yet; with --shard only those of that part."""
    if args.shard:
        index, n = args.shard
        trials = sweep.shard(trials, source.key, index, n)
    with TrialBar() as progress:
        if args.scheduler:
            sweep.run_on_cluster(
                trials,
                source,
                args.out,
                args.scheduler,
                n_threads=args.threads,
                backend=args.backend,
                retry_failed=args.retry_failed,
                keep_models=args.keep_models,
                share_checkpoints=not args.local_checkpoints,
                progress=progress,
            )
        else:
            sweep.run(
                trials,
                source,
                args.out,
                n_processes=args.processes,
                backend=args.backend,
                retry_failed=args.retry_failed,
                keep_models=args.keep_models,
                progress=progress,
            )


def run_sweep(
    args: SweepArguments, tell: Callable[[str], object] = print
) -> tuple[dict[str, sweep.Trial], sweep.Outcome]:
    """Run all trials of the command and write summary.csv and report.html, also after Ctrl-C;
    returns the trials and their outcome, both by name.  tell: called with a line for the user
    before the work begins."""
    sweep.refuse_foreign_folder(args.out, RESULTS)
    source = load_source(args, args.folds, args.split, networks_of(args))
    trials = make_trials(args, source)
    named = sweep.names(trials, source.key)
    tell(f"{len(named)} trials, {len(source.dataset):,} images -> {args.out}")
    try:
        run_trials(args, trials, source)
    except KeyboardInterrupt:
        write_results(args, named, source)
        raise
    return named, write_results(args, named, source)


def write_results(
    args: SweepArguments, named: dict[str, sweep.Trial], source: ferdata.TrialFaces
) -> sweep.Outcome:
    """Write summary.csv and report.html of the results that the folder has; returns them."""
    outcome = sweep.SweepFolder(args.out).outcome(named, args.keep_models)
    write_atomically(args.summary, sweep.summary_csv(named, outcome))
    report = sweep.SweepReport(
        title=f"Sweep on {Path(args.data).name if args.data else 'the built-in faces'}",
        command=this_command(),
        trials=named,
        outcome=outcome,
        rule=args.select,
        compare=len(args.tables) > 1,
        data={"images": f"{len(source.dataset):,}", "sha256": source.key},
    )
    write_atomically(args.page, sweep.render_page(report))
    return outcome


@contextlib.contextmanager
def saying_how_to_continue() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print_message("\nstopped; run the same command to continue")
        raise


def run(given: argparse.Namespace) -> int:
    with saying_how_to_continue():
        args = read_arguments(given)
        named, outcome = run_sweep(args, (lambda line: None) if given.json else print)
    if given.json:
        print_json(as_json(args, named, outcome))
    else:
        print_results(args, named, outcome)
    return tell_failures(named, outcome)


# ---- results ---------------------------------------------------------------------------------


def print_results(
    args: SweepArguments, named: dict[str, sweep.Trial], outcome: sweep.Outcome
) -> None:
    """Print the tables, and where the results are; draw the curves."""
    results = list(outcome.results.values())
    if results:
        print_tables(args, results)
    n_missing = len(named) - len(outcome.results) - len(outcome.failures)
    missing = f", {n_missing} not run here yet" if n_missing else ""
    print_text(f"\n{len(results)} of {len(named)} trials{missing} -> {args.summary}")
    print_text(f"report -> {args.page}")
    try:
        for name, figure in sweep.curves(results).items():
            path = Path(args.out) / name
            write_atomically(path, plots.png(figure))
            print_text(f"curves -> {path}")
    except plots.PlotsError as error:
        print_text(f"no curves: {error}")


def print_tables(args: SweepArguments, results: list[dict[str, Any]]) -> None:
    """Print the accuracies; with several tables [[trial]], the differences to the first."""
    where = "test" if results[0]["test"] else "validation"
    print_text(
        f"accuracy in % on {where} images, +- half its 95 % confidence interval over seeds and "
        "folds (number of trials)\n"
    )
    several = len(args.tables) > 1
    print_text(sweep.difference_table(results) if several else sweep.score_tables(results))
    chosen = sweep.choice_table(results, args.select)
    if chosen:
        by = "validation images" if args.select == "validation" else "the reported accuracy"
        optimistic = " (optimistic)" if sweep.is_optimistic(results, args.select) else ""
        print_text(f"\ntemperature chosen on {by}{optimistic}\n{chosen}")


def as_json(
    args: SweepArguments, named: dict[str, sweep.Trial], outcome: sweep.Outcome
) -> dict[str, object]:
    """The outcome as values that JSON can hold: a summary of each trial, in the order of trials."""
    trials = []
    for name, trial in named.items():
        row: dict[str, object] = {"name": name, **asdict(trial)}
        if name in outcome.results:
            result = outcome.results[name]
            row |= {"status": "done", "n_parameters": result["n_parameters"]}
            row |= {"best_epoch": result["best_epoch"], "seconds": result["seconds"]}
            for part in ("validation", "test"):
                scores = result[part]
                row[f"{part}_accuracy"] = None if scores is None else scores["accuracy"]
        elif name in outcome.failures:
            row |= {"status": "failed", "error": outcome.failures[name]}
        else:
            row["status"] = "missing"
        trials.append(row)
    files = {"summary": str(args.summary), "report": str(args.page)}
    return {"folder": args.out, **files, "trials": trials}


def tell_failures(named: dict[str, sweep.Trial], outcome: sweep.Outcome) -> int:
    """Print the trials that failed on stderr; returns the exit status."""
    for name, error in outcome.failures.items():
        print_message(f"failed: {named[name].describe()} ({name}): {error}")
    if outcome.failures:
        print_message("--retry-failed runs these again")
    return 1 if outcome.failures else 0
