"""Train many networks, to compare options such as the temperature and the size.

    python examples/sweep.py --size M,S,XS,XXS --temperature 2,4,8,16 --loss none,kd --epochs 8
        on built-in faces with the teacher that comes with them, in one process per core
    python examples/sweep.py --config sweep.toml
        with options from a file; options on the command line override those of the file

The options in the group "trials" can have several values, separated by commas. Every combination of
values is one trial, and the results are printed as a table. To continue after Ctrl-C or a power
cut, run the same command again: only trials without a result are run.
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

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm
from train_student import (  # the program beside this one
    DataOptions,
    Parser,
    UsageError,
    add_data_options,
    check_targets,
    open_faces,
)

import ferdata
from ferdata.trial_faces import with_soft_labels_of_train
from tinycnn import plots, sweep
from tinycnn.backend_choice import BACKENDS
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import positive
from tinycnn.models import SIZES
from tinycnn.recipes import BALANCED, LOSSES, NO_CLASS_WEIGHTS, NUMBERS, RECIPES
from tinycnn.sweep.selection import RULES

N_FOLDS = 10
PATHS = ("data", "votes", "teacher", "out")
MAX_CONFIG_BYTES = 1 << 20
FLAGS = ("retry_failed", "keep_models", "local_checkpoints")
FIELDS = {"seeds": "seed"}
"""Options that a Trial has under another name."""
TRIAL_OPTIONS = (
    "variant",
    "size",
    "loss",
    "temperature",
    "soft_weight",
    "loss_scale",
    "seeds",
    "epochs",
    "learning_rate",
    "batch_size",
    "augment",
    *NUMBERS,
    "flipped_teacher",
    "class_weights",
    "recipe",
)
"""Options that can have several values; `augment` can be given in a file only."""

T = TypeVar("T")


# ---- options ---------------------------------------------------------------------------------


@dataclass
class Options(DataOptions):
    """The options that have one value, with their defaults; the parser adds TRIAL_OPTIONS."""

    config: str | None = None
    folds: int | None = None
    split: str | None = None
    augment: bool | None = None
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


def comma_list(read: Callable[[str], T]) -> Callable[[str], list[T]]:
    """The type of an option with several values, each read by `read`."""

    def read_all(text: str) -> list[T]:
        try:
            return [read(part.strip()) for part in text.split(",")]
        except (ValueError, KeyError):
            known = {int: "whole numbers", float: "numbers", yes_or_no: "yes or no"}
            known[class_weighting] = "none or balanced"
            expected = known.get(read, "values")
            message = f"{text!r}: expected {expected} between commas"
            raise argparse.ArgumentTypeError(message) from None

    return read_all


def yes_or_no(text: str) -> bool:
    return {"yes": True, "no": False}[text]


def class_weighting(text: str) -> str:
    """One of the class weights whose name has no comma."""
    return {name: name for name in (NO_CLASS_WEIGHTS, BALANCED)}[text]


def size(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def shard(text: str) -> tuple[int, int]:
    try:
        index, n = map(int, text.split("/"))
    except ValueError:
        index, n = 0, 0
    if not 1 <= index <= n:
        raise argparse.ArgumentTypeError(f"{text!r}: expected i/n, from 1/n to n/n")
    return index, n


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sweep.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="read options from a TOML file, as described above"
    )
    data = add_data_options(parser)
    data.add_argument("--folds", type=positive, metavar="N", help=FOLDS)
    data.add_argument("--split", choices=("subject", "random"), help=SPLIT)

    trials = parser.add_argument_group(
        "trials", "Each option of this group can have several values, separated by commas."
    )
    numbers = {name.replace("_", "-"): text for name, (_, text) in NUMBERS.items()}
    lists: dict[str, tuple[Callable[[str], object], str]] = {
        "variant": (
            str,
            "which convolutions are followed by a pooling: v neither, p1 the first, p2 the second, "
            "p12 both (default: p12)",
        ),
        "size": (
            size,
            f"of the first dense layer: {', '.join(SIZES)}, or its number of units (default: XXS)",
        ),
        "loss": (
            str,
            f"none (no teacher), {', '.join(LOSSES)} (default: the recipe's, none without teacher)",
        ),
        "temperature": (float, "divides the logits of teacher and student before their softmax"),
        "soft-weight": (float, "weight of the teacher's part of the loss, from 0 to 1"),
        "loss-scale": (
            str,
            "factor of the teacher's part in kd and kd-z: paper 1, hinton temperature squared",
        ),
        "seeds": (
            int,
            "seeds of the weights, the order of the images and the augmentation (default: 0)",
        ),
        "epochs": (int, "passes over the training images"),
        "learning-rate": (float, "highest learning rate of the schedule"),
        "batch-size": (int, "images per training step"),
        **{name: (float, text.replace("%", "%%")) for name, text in numbers.items()},
        "flipped-teacher": (
            yes_or_no,
            "yes: a mirrored image has the teacher's answer for the mirrored image, no: for the "
            "original",
        ),
        "class-weights": (
            class_weighting,
            "balanced: the loss of an image is multiplied by a weight of its class, so that all "
            'classes count equally; in a file also weights such as "fear=2,disgust=4.5" (default: '
            "none)",
        ),
        "recipe": (str, f"values of all other options: {', '.join(RECIPES)} (default: fer)"),
    }
    for name, (read, text) in lists.items():
        default = "" if "(default: " in text else " (default: the recipe's)"
        trials.add_argument(
            f"--{name}", type=comma_list(read), metavar="A,B,...", help=text + default
        )

    where = parser.add_argument_group("where and how")
    where.add_argument("--out", metavar="FOLDER", help=OUT)
    where.add_argument("--processes", type=positive, metavar="N", help=PROCESSES)
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help=SCHEDULER)
    where.add_argument("--threads", type=positive, metavar="N", help=THREADS)
    where.add_argument("--local-checkpoints", action="store_true", help=LOCAL)
    where.add_argument("--shard", type=shard, metavar="I/N", help=SHARD)
    where.add_argument("--retry-failed", action="store_true", help=RETRY)
    where.add_argument("--keep-models", action="store_true", help=KEEP)
    where.add_argument("--select", choices=RULES, help=SELECT)
    where.add_argument("--backend", choices=BACKENDS, help=BACKEND)
    return parser


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


def parse(argv: list[str]) -> tuple[Options, list[dict[str, Any]]]:
    """The options, and the [[trial]] tables of the file."""
    parser = build_parser()
    args = parser.parse_args(argv, Options())
    tables: list[dict[str, Any]] = []
    if args.config:
        config = read_toml(Path(args.config))
        tables = config.pop("trial", [])
        check_config(args, config, tables)
        args = Options()
        vars(args).update(config)
        parser.parse_args(argv, args)  # sets only what is on the command line
    if args.split and not args.folds:
        args.folds = N_FOLDS
    if args.shard and args.scheduler:
        raise UsageError("--shard cannot be combined with --scheduler, which divides the trials")
    check_targets(args)
    return args, tables


def read_toml(path: Path) -> dict[str, Any]:
    """The options in a file by their names in Python; relative paths start at its folder."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            raise UsageError("--config needs Python 3.11 or newer, or: pip install tomli") from None
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"more than {MAX_CONFIG_BYTES:,} bytes")
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: not a TOML file: {reason}") from None
    config = {name.replace("-", "_"): value for name, value in config.items()}
    for name in PATHS:
        value = config.get(name)
        if isinstance(value, str):
            config[name] = str(path.parent / value)
        elif value is not None and name == "teacher" and is_strings(value):
            config[name] = [str(path.parent / each) for each in value]
    return config


def check_config(args: Options, config: dict[str, Any], tables: Any) -> None:
    """Raise UsageError for options that the command line would refuse."""
    path, known = str(args.config), {*vars(args), "trial"} - {"config"}
    for name in config:
        if name not in known:
            expected = ", ".join(sorted(known))
            raise UsageError(f"{path}: no option {name!r}; expected some of {expected}")
    for name in set(config) - set(TRIAL_OPTIONS):
        config[name] = checked_as_option(path, name, config[name])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path}: trial: expected tables [[trial]]")
    for k, table in enumerate(tables, start=1):
        for name in table:
            if name.replace("-", "_") not in TRIAL_OPTIONS:
                expected = ", ".join(sorted(TRIAL_OPTIONS))
                raise UsageError(
                    f"{path}: [[trial]] {k}: no option {name!r}; expected some of {expected}"
                )


def is_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def checked_as_option(path: str, name: str, value: Any) -> Any:
    """An option's value in the file, read as the command line reads it."""
    if name == "teacher" and is_strings(value):
        return value
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        if name not in FLAGS:
            raise UsageError(f"{path}: {name} is {str(value).lower()}; expected a value")
        return value
    if isinstance(value, (list, dict)) or name in FLAGS:
        raise UsageError(f"{path}: {name} is {value!r}; expected one value")
    try:
        return getattr(build_parser().parse_args([f"{option}={value}"], Options()), name)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def make_trials(
    args: Options, tables: list[dict[str, Any]], source: ferdata.TrialFaces
) -> list[sweep.Trial]:
    """Every combination of the values of the options, once. If there are tables, each makes trials
    of its own: its options replace those in `args`."""
    common = {name: getattr(args, name) for name in TRIAL_OPTIONS}
    folds = [None] if source.protocol == "own-split" else list(range(source.n_folds))
    trials: dict[sweep.Trial, None] = {}
    for table in tables or [{}]:
        own = {name.replace("-", "_"): value for name, value in table.items()}
        options = {k: v for k, v in {**common, **own}.items() if v is not None}
        if not source.has_teacher:
            options.setdefault("loss", ["none"])
        fields = {FIELDS.get(name, name): value for name, value in options.items()}
        try:
            trials.update(dict.fromkeys(sweep.grid(**fields, fold=folds)))
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(str(error)) from None
    if not source.has_teacher and any(trial.has_teacher for trial in trials):
        raise UsageError("a loss with a teacher needs --teacher; without one, give --loss none")
    return list(trials)


# ---- data ------------------------------------------------------------------------------------


def load_source(args: Options) -> ferdata.TrialFaces:
    """The faces of the trials, with soft labels for the training images if there is a teacher."""
    faces = open_faces(args)
    dataset, targets = faces.dataset, faces.targets
    has_split = dataset.split is not None and bool((dataset.split == "train").any())
    if args.folds or not has_split:
        protocol = args.split or "subject"
        if protocol == "subject" and dataset.subjects is None:
            raise UsageError(
                "folds by subject need to know who is shown, and this data set does not say; use "
                "--split random, with the same people in several folds"
            )
        if args.data is None:  # their teacher has soft labels for the training images only
            dataset = dataset.in_split("train")
            dataset = dataset.with_soft_labels(*soft_labels_of(args, dataset))
        elif args.teacher:
            dataset = dataset.with_soft_labels(*soft_labels_of(args, dataset))
        if args.rows:
            dataset = dataset.select(np.arange(min(args.rows, len(dataset))))
        n_folds = args.folds or N_FOLDS
        return ferdata.TrialFaces(dataset, targets, protocol=protocol, n_folds=n_folds)
    if args.data is None or args.teacher:
        values = soft_labels_of(args, dataset.in_split("train"))
        dataset = with_soft_labels_of_train(dataset, *values)
    if args.rows:
        train = np.flatnonzero(dataset.split == "train")
        others = np.flatnonzero(dataset.split != "train")
        dataset = dataset.select(np.sort(np.r_[train[: args.rows], others]))
    return ferdata.TrialFaces(dataset, targets)


def soft_labels_of(
    args: Options, rows: ferdata.FaceDataset
) -> tuple[np.ndarray, np.ndarray | None]:
    """The teacher's soft labels for the images, and for their mirror images (None if it has
    none)."""
    if args.teacher is None:
        return ferdata.load_rendered_teacher(rows), None
    return ferdata.load_teachers(args.teacher, rows)[:2]


# ---- the sweep -------------------------------------------------------------------------------


@dataclass
class TrialBar:
    """A progress bar to be called with `(n_done, n_failed, n_trials)`."""

    bar: tqdm | None = None

    def __call__(self, n_done: int, n_failed: int, n_trials: int) -> None:
        n = n_done + n_failed
        if self.bar is None:
            self.bar = tqdm(
                desc="trials",
                total=n_trials,
                initial=n,
                mininterval=0.5 if sys.stderr.isatty() else 30,
            )
        if n_failed:
            self.bar.set_postfix(failed=n_failed, refresh=False)
        self.bar.update(n - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def run_trials(args: Options, trials: list[sweep.Trial], source: ferdata.TrialFaces) -> None:
    """Run the trials that have no result yet; with --shard only those of that part."""
    if args.shard:
        index, n = args.shard
        trials = sweep.shard(trials, source.key, index, n)
    progress = TrialBar()
    try:
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
    finally:
        progress.close()


def report(
    args: Options,
    named: dict[str, sweep.Trial],
    outcome: sweep.Outcome,
    has_tables: bool,
) -> None:
    """Print tables, list failed trials on stderr, write summary.csv and curves*.png."""
    results = list(outcome.results.values())
    if results:
        where = "test" if results[0]["test"] else "validation"
        print(
            f"accuracy in % on {where} images, +- half its 95 % confidence interval over seeds and "
            "folds (number of trials)"
        )
        print()
        print(sweep.difference_table(results) if has_tables else sweep.score_tables(results))
        chosen = sweep.choice_table(results, args.select)
        if chosen:
            by = "validation images" if args.select == "validation" else "the reported accuracy"
            optimistic = " (optimistic)" if sweep.is_optimistic(results, args.select) else ""
            print(f"\ntemperature chosen on {by}{optimistic}\n{chosen}")
    summary = Path(args.out) / "summary.csv"
    write_atomically(summary, sweep.summary_csv(named, outcome))
    n_missing = len(named) - len(outcome.results) - len(outcome.failures)
    missing = f", {n_missing} not run here yet" if n_missing else ""
    print(f"\n{len(results)} of {len(named)} trials{missing} -> {summary}")
    draw_curves(args, results)
    for name, error in outcome.failures.items():
        print(f"failed: {named[name].describe()} ({name}): {error}", file=sys.stderr)
    if outcome.failures:
        print("--retry-failed runs these again", file=sys.stderr)


def draw_curves(args: Options, results: list[dict[str, Any]]) -> None:
    """Draw accuracy against temperature, if there are several and matplotlib is installed."""
    try:
        for name, figure in sweep.curves(results).items():
            path = Path(args.out) / name
            write_atomically(path, plots.png(figure))
            print(f"curves -> {path}")
    except plots.PlotsError as error:
        print(f"no curves: {error}")


def run(argv: list[str]) -> int:
    args, tables = parse(argv)
    source = load_source(args)
    trials = make_trials(args, tables, source)
    named = sweep.names(trials, source.key)
    print(f"{len(named)} trials, {len(source.dataset):,} images -> {args.out}")
    run_trials(args, trials, source)
    outcome = sweep.SweepFolder(args.out).outcome(named, args.keep_models)
    report(args, named, outcome, has_tables=len(tables) > 1)
    return 1 if outcome.failures else 0


def exit_status(run: Callable[[list[str]], int], argv: list[str] | None) -> int:
    """The exit status of run(argv); errors that the user can correct are reported in one line."""
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("\nstopped; run the same command to continue", file=sys.stderr)
        return 130
    except (UsageError, sweep.SweepError, OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def main(argv: list[str] | None = None) -> int:
    return exit_status(run, argv)


if __name__ == "__main__":
    sys.exit(main())
