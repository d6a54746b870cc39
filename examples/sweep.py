"""Many trainings, to find the temperature and the size: a table, and nothing trained twice.

    python examples/sweep.py --size M,S,XS,XXS --temperature 2,4,8,16 --loss none,kd --epochs 8
        built-in faces and their shipped teacher, one process a core
    python examples/sweep.py --config sweep.toml
        the same options from a file; those that are given on the command line override it

A comma list means every one of its values, several lists every combination. The same command again
goes on where it stopped, after Ctrl-C or a power cut too, and only runs what has no result yet.
In a file, lists are lists and names are those of the options:

    data = "fer2013.csv.gz"         # paths are relative to the file
    votes = "fer2013new.csv"
    teacher = "teacher.npz"
    out = "sweeps/temperature"
    size = ["XS", "XXS"]
    temperature = [2, 4, 8]
    epochs = 8

    [[trial]]                       # if there are any: these instead of the lists above, which
    loss = "none"                   # then are what they have in common
    [[trial]]
    loss = ["kd", "dkd"]

With tables, all others are compared with the first, over the seeds that both have.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import ferdata
from ferdata.trial_faces import with_soft_labels_of_train
from tinycnn import plots, sweep
from tinycnn.backend_choice import BACKENDS
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.models import SIZES, VARIANTS
from tinycnn.recipes import LOSSES, NUMBERS, RECIPES
from tinycnn.sweep.selection import RULES

N_FOLDS = 10
PATHS = ("data", "votes", "teacher", "out")


class UsageError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


# ---- options ---------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Wrong options are told like everything else that is wrong: in one line."""

    def error(self, message: str) -> None:
        raise UsageError(f"{message} (--help explains the options)")


def several(kind: Callable[[str], Any]) -> Callable[[str], list]:
    """Values between commas; argparse names the one that is wrong."""

    def parse(text: str) -> list:
        values = [part.strip() for part in text.split(",")]
        try:
            return [kind(value) for value in values]
        except (ValueError, KeyError):
            known = {int: "whole numbers", float: "numbers", yes_or_no: "yes or no"}
            expected = known.get(kind, "values")
            message = f"{text!r}: expected {expected} between commas"
            raise argparse.ArgumentTypeError(message) from None

    return parse


def yes_or_no(text: str) -> bool:
    return {"yes": True, "no": False}[text]


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


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of 1 or more")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sweep.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="options from a TOML file, see above")
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="PATH", help=DATA)
    data.add_argument("--votes", metavar="FILE", help="FER+ votes for FER2013: fer2013new.csv")
    data.add_argument("--no-face", choices=("error", "whole"), help=NO_FACE)
    data.add_argument("--teacher", metavar="FILE", nargs="+", help=TEACHER)
    data.add_argument(
        "--targets", choices=("votes", "plurality", "majority", "labels"), help=TARGETS
    )
    data.add_argument("--folds", type=positive, metavar="N", help=FOLDS)
    data.add_argument("--split", choices=("subject", "random"), help=SPLIT)
    data.add_argument(
        "--rows", type=positive, metavar="N", help="use only the first N training images"
    )

    trials = parser.add_argument_group("trials", "A comma list means every one of its values.")
    lists = {
        "variant": (str, f"which convolutions are pooled: {', '.join(VARIANTS)} (default: p12)"),
        "size": (size, f"of the dense layer: {', '.join(SIZES)}, or a number (default: XXS)"),
        "loss": (str, f"none (no teacher), {', '.join(LOSSES)} (default: the recipe's)"),
        "temperature": (float, "how much teacher and student are softened (default: the recipe's)"),
        "soft-weight": (float, "the teacher's part in the loss, 0 to 1 (default: the recipe's)"),
        "loss-scale": (str, "of kd: paper or hinton (default: the recipe's)"),
        "seeds": (int, "of weights, order and augmentation (default: 0)"),
        "epochs": (int, "passes over the data (default: the recipe's)"),
        "learning-rate": (float, "the highest of the schedule (default: the recipe's)"),
        "batch-size": (int, "images a step (default: the recipe's)"),
    }
    for name, (_, meaning) in NUMBERS.items():
        text = f"{meaning.replace('%', '%%')} (default: the recipe's)"
        lists[name.replace("_", "-")] = (float, text)
    lists["flipped-teacher"] = (yes_or_no, FLIPPED)
    lists["recipe"] = (str, f"all else: {', '.join(RECIPES)} (default: fer)")
    for name, (kind, text) in lists.items():
        trials.add_argument(f"--{name}", type=several(kind), metavar="A,B,...", help=text)

    where = parser.add_argument_group("where and how")
    where.add_argument("--out", metavar="FOLDER", help="of the sweep (default: sweeps/latest)")
    where.add_argument("--processes", type=positive, metavar="N", help="(default: one a core)")
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help=SCHEDULER)
    where.add_argument("--threads", type=positive, metavar="N", help=THREADS)
    where.add_argument("--local-checkpoints", action="store_true", default=None, help=LOCAL)
    where.add_argument("--shard", type=shard, metavar="I/N", help=SHARD)
    where.add_argument("--retry-failed", action="store_true", default=None, help=RETRY)
    where.add_argument("--keep-models", action="store_true", default=None, help=KEEP)
    where.add_argument("--select", choices=RULES, help=SELECT)
    where.add_argument("--backend", choices=BACKENDS, help="(default: auto)")
    return parser


DATA = (
    "whatever ferdata.open recognises: FER2013's csv, folders of CK+, Oulu-CASIA, RAF-DB, "
    "JAFFE, a folder per class, ... (default: built-in faces)"
)
NO_FACE = "photos in which no face is found: stop, or take the whole photo (default: error)"
TEACHER = (
    "soft labels, .npz or .csv; of several the mean of their probabilities (default: the shipped "
    "teacher for the built-in faces)"
)
FLIPPED = "yes: a mirrored image has the teacher's answer for it (default: the recipe's)"
TARGETS = "of FER2013, as train_student.py (default: votes with --votes, else labels)"
FOLDS = f"measure on N folds instead of the data's own split (default, without a split: {N_FOLDS})"
SPLIT = "of the folds: nobody in two parts, or at random (default: subject)"
SCHEDULER = 'run on the workers of this Dask scheduler; needs pip install "tinycnn[sweep]"'
THREADS = "of each trial on a Dask worker (default: 1)"
LOCAL = (
    "Dask workers keep checkpoints on disks of their own: for hundreds of them (default: in the "
    "sweep's folder, if they see it)"
)
SHARD = "run the I-th of N parts only: for batch systems; put the folders' results together"
RETRY = "run trials again that failed before (default: list them)"
KEEP = "keep every trial's network (default: keep results alone)"
SELECT = (
    "how the temperature is chosen: on validation images, or on the reported score itself as the "
    "paper did, which is optimistic (default: validation)"
)
MAX_CONFIG_BYTES = 1 << 20
FLAGS = ("retry_failed", "keep_models", "local_checkpoints")
FIELDS = {"seeds": "seed"}
"""Options that a Trial calls by another name."""
TRIAL_OPTIONS = ("variant", "size", "loss", "temperature", "soft_weight", "loss_scale", "seeds")
TRIAL_OPTIONS += ("epochs", "learning_rate", "batch_size", "augment", *NUMBERS)
TRIAL_OPTIONS += ("flipped_teacher", "recipe")


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[dict[str, Any]]]:
    """Options, and the tables [[trial]] of the file."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.augment = None
    tables = []
    if args.config:
        config = read_toml(Path(args.config))
        tables = config.pop("trial", [])
        check_config(args, config, tables)
        for name, value in config.items():
            if getattr(args, name) is None:
                setattr(args, name, value)
    if args.split and not args.folds:
        args.folds = N_FOLDS
    if args.shard and args.scheduler:
        raise UsageError("--shard is for machines without a scheduler; --scheduler has one")
    if args.votes and not args.data:
        raise UsageError("--votes goes with --data: the built-in faces have labels")
    args.out = args.out or "sweeps/latest"
    return args, tables


def read_toml(path: Path) -> dict[str, Any]:
    """A file's options by their names in Python, paths relative to the file made whole."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        try:
            import tomli as tomllib
        except ImportError:
            raise UsageError("--config needs Python 3.11 or newer, or: pip install tomli") from None
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"more than {MAX_CONFIG_BYTES:,} bytes")
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: not a TOML file: {reason}") from None
    config = {name.replace("-", "_"): value for name, value in config.items()}
    for name in PATHS:
        value = config.get(name)
        if isinstance(value, str):
            config[name] = str(path.parent / value)
        elif name == "teacher" and is_strings(value):
            config[name] = [str(path.parent / each) for each in value]
    return config


def check_config(args: argparse.Namespace, config: dict[str, Any], tables: Any) -> None:
    """Raise UsageError for what the command line would refuse as well."""
    path = args.config
    for name in config:
        if name == "config" or not hasattr(args, name):
            known = ", ".join(sorted({*vars(args), "trial"} - {"config"}))
            raise UsageError(f"{path}: no option {name!r}; there are {known}")
    for name in set(config) - set(TRIAL_OPTIONS):
        config[name] = checked_as_option(path, name, config[name])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path}: trial: expected tables [[trial]]")
    for k, table in enumerate(tables, start=1):
        for name in table:
            if name.replace("-", "_") not in TRIAL_OPTIONS:
                raise UsageError(f"{path}: [[trial]] {k}: no option {name!r} of a trial")


def is_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def checked_as_option(path: str, name: str, value: Any) -> Any:
    """A value of the file, read as the command line reads it."""
    if name == "teacher" and is_strings(value):
        return value
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        if name not in FLAGS:
            raise UsageError(f"{path}: {name} is {str(value).lower()}; expected a value")
        return value or None
    if isinstance(value, (list, dict)) or name in FLAGS:
        raise UsageError(f"{path}: {name} is {value!r}; expected one value")
    try:
        return getattr(build_parser().parse_args([f"{option}={value}"]), name)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def make_trials(
    args: argparse.Namespace, tables: list[dict[str, Any]], source: ferdata.TrialFaces
) -> list[sweep.Trial]:
    """Every combination, of the lists or of each table over them; equal ones once."""
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
        raise UsageError("a loss with a teacher needs --teacher; there is --loss none")
    return list(trials)


# ---- data ------------------------------------------------------------------------------------


class bar:
    """A tqdm bar as a `progress(done, total)` callable; it appears with the first call, on a
    terminal only: in a log it would drown the one line that says what was wrong."""

    def __init__(self, title: str, unit: str) -> None:
        self.title, self.unit, self.bar = title, unit, None

    def __enter__(self) -> bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            self.bar = tqdm(
                total=total, desc=self.title, unit=self.unit, unit_scale=True, disable=None
            )
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


def load_source(args: argparse.Namespace) -> ferdata.TrialFaces:
    """The faces, with the teacher's answers for those that are trained on."""
    dataset, targets = load_dataset(args)
    has_split = dataset.split is not None and bool((dataset.split == "train").any())
    if args.folds or not has_split:
        protocol = args.split or "subject"
        if protocol == "subject" and dataset.subjects is None:
            raise UsageError(
                "folds by subject need to know who is shown, and this data set does not say: "
                "--split random, whose folds share people"
            )
        if args.data is None:  # the shipped teacher has answers for these alone
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


def load_dataset(args: argparse.Namespace) -> tuple[ferdata.FaceDataset, str]:
    """The data set, and what is trained against: "labels" or "distribution"."""
    if args.data is None:
        with bar("drawing the built-in faces", "people") as progress:
            return ferdata.default_faces(progress=progress), "labels"
    if not args.votes and args.targets not in (None, "labels"):
        raise UsageError(f"--targets {args.targets} needs --votes fer2013new.csv")
    target = args.targets or ("votes" if args.votes else "labels")
    with bar(f"reading {Path(args.data).name}", "") as progress:
        faces = ferdata.open_training_faces(
            args.data,
            votes=args.votes,
            target=target,
            on_missing=args.no_face or "error",
            progress=progress,
        )
    return faces.dataset, faces.targets


def soft_labels_of(
    args: argparse.Namespace, rows: ferdata.FaceDataset
) -> tuple[np.ndarray, np.ndarray | None]:
    """For the images, and for their mirror images where the teacher has answers."""
    if args.teacher is None:
        return ferdata.load_rendered_teacher(rows), None
    return ferdata.load_teachers(args.teacher, rows)[:2]


# ---- the sweep -------------------------------------------------------------------------------


@dataclass
class TrialBar:
    """`progress(n_done, n_failed, n_trials)` as a bar with an ETA."""

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


def run_trials(
    args: argparse.Namespace, trials: list[sweep.Trial], source: ferdata.TrialFaces
) -> None:
    """Run what has no result yet, of the shard if there is one."""
    if args.shard:
        trials = sweep.shard(trials, source.key, *args.shard)
    shown = TrialBar()
    options = dict(
        backend=args.backend or "auto",
        retry_failed=bool(args.retry_failed),
        keep_models=bool(args.keep_models),
        progress=shown,
    )
    try:
        if args.scheduler:
            options["n_threads"] = args.threads or 1
            options["share_checkpoints"] = not args.local_checkpoints
            sweep.run_on_cluster(trials, source, args.out, args.scheduler, **options)
        else:
            sweep.run(trials, source, args.out, n_processes=args.processes, **options)
    finally:
        shown.close()


def show(
    args: argparse.Namespace,
    named: dict[str, sweep.Trial],
    outcome: sweep.Outcome,
    has_tables: bool,
) -> None:
    """Tables on stdout, failed trials on stderr, summary.csv and curves*.png in the folder."""
    results = list(outcome.results.values())
    if results:
        where = "test" if results[0]["test"] else "validation"
        print(f"accuracy in % on {where} images, +- 95 % interval over seeds and folds (how many)")
        print()
        print(sweep.difference_table(results) if has_tables else sweep.score_tables(results))
        rule = args.select or "validation"
        chosen = sweep.choice_table(results, rule)
        if chosen:
            look = "validation images" if rule == "validation" else "the reported score"
            optimistic = " (optimistic)" if sweep.is_optimistic(results, rule) else ""
            print(f"\ntemperature chosen on {look}{optimistic}\n{chosen}")
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


def draw_curves(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Accuracy against temperature, where there are several and matplotlib is there."""
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
    outcome = sweep.SweepFolder(args.out).outcome(named, bool(args.keep_models))
    show(args, named, outcome, has_tables=len(tables) > 1)
    return 1 if outcome.failures else 0


def told(run: Callable[[list[str]], int], argv: list[str] | None) -> int:
    """run(argv)'s exit status; what the person at the keyboard can mend is told in one line."""
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    except (UsageError, ferdata.DataError, sweep.SweepError, sweep.SweepFolderError) as error:
        print(f"error: {error}", file=sys.stderr)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


def main(argv: list[str] | None = None) -> int:
    return told(run, argv)


if __name__ == "__main__":
    sys.exit(main())
