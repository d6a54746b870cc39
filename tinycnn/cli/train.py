"""train a network on faces, with a teacher's soft labels if there are any"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from .. import checkpoint, second_compiler
from ..backend_choice import BACKENDS, backend_in_use
from ..ground.command_line import CannotError, positive
from ..ground.output_files import writes
from ..ground.printing import print_message, print_text
from ..models.microexpnet import CLASSES
from ..parallel import check_n_threads
from ..run import (
    FinishedRun,
    History,
    RunConfig,
    TrainingOptions,
    TrainingRun,
    check_unused,
    has_begun,
    read_config,
)
from ..run.command_line import add_training_options, flag_of, training_options_given
from ..run.folder import not_a_configuration
from ..run.networks import make_network
from ..run.options import option_table
from ..run.starting_weights import NEW_WEIGHTS, is_file
from ..train import DivergedError
from .console import print_json, this_command
from .data_options import DataOptions, add_data_options, check_folder, check_targets
from .progress import TrainingBar
from .stored_options import read_stored
from .training_faces import Faces, load_faces

DESCRIPTION = """\
Train MicroExpNet, or another network of its paper, on a CPU. Without options: on built-in faces
with the teacher that comes with them, in about a minute and without a download.

All results of the run are written to one folder; open its report.html.
"""
FREE_ON_RESUME = (
    "data",
    "root",
    "votes",
    "teacher",
    "init",
    "workers",
    "cache",
    "threads",
    "epochs",
)
"""Options that may change when a run is resumed: files are compared by their hashes, results do not
depend on threads, and `iter_epochs` refuses more epochs if the schedule depends on them."""

PATHS = ("data", "root", "votes", "teacher", "init")
"""Options that are paths; `init` may also be a name."""

DEFAULT_FOLDER = "runs"
"""Runs without --out get folders in this one."""

NEED_A_TEACHER = ("loss", "temperature", "soft_weight", "loss_scale", "compare")


@dataclass
class TrainArguments(DataOptions):
    """The options of the command; with `resume` those of the interrupted run.

    compare  also train a network without the teacher
    out      the run folder; None: a new one, named after the time
    """

    training: TrainingOptions = field(default_factory=TrainingOptions)
    compare: bool = False
    threads: int | None = None
    backend: str = "auto"
    out: str | None = None
    resume: bool = False

    def stored(self) -> dict[str, object]:
        """What config.json keeps: all options but `out` and `resume`."""
        own = {name: getattr(self, name) for name in _own_names()}
        return {**own, **asdict(self.training)}

    @property
    def folder(self) -> Path:
        """The folder of the run.  It is known once `open_run_folder` was called."""
        assert self.out is not None, "call open_run_folder first"
        return Path(self.out)

    @property
    def how_to_resume(self) -> str:
        return f"--out {shlex.quote(str(self.out))} --resume"


def _own_names() -> list[str]:
    """The stored options that are not in TrainingOptions."""
    names = [f.name for f in fields(TrainArguments)]
    return [name for name in names if name not in ("training", "out", "resume")]


# ---- options ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(parser=parser)  # `read_arguments` checks the options of config.json with it
    add_data_options(
        parser,
        "Data without a validation part: a tenth becomes the validation part, of the people if\n"
        "the data say who is shown, else of the images.",
    )
    groups = add_training_options(parser)
    groups["distillation"].add_argument(
        "--compare",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train a second network without the teacher and report both (default: only with the "
        "built-in faces)",
    )
    run = groups["run"]
    writes(
        run.add_argument(
            "--out",
            metavar="FOLDER",
            help="new folder for the results of the run (default: runs/<date and time>)",
        )
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="continue the interrupted run in --out with its own options; only --threads, the "
        "paths of files that were moved and, with a schedule that does not depend on their number "
        "(constant, reduce-on-plateau), --epochs may be changed",
    )
    run.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads; their number does not change the results (default: one per usable core)",
    )
    run.add_argument(
        "--backend",
        choices=BACKENDS,
        help="numba: compiled kernels; numpy: plain NumPy, slow; auto: numba if it works here, "
        "else numpy (default: auto)",
    )


def read_arguments(given: argparse.Namespace) -> TrainArguments:
    """The options, each with its value from the command line, else from the run that is resumed,
    else its default.

    given: what `parse_args` returned.  Raises CannotError for options that do not fit together or
    differ from those of the run that is resumed, RunFolderError for a folder that cannot be used.
    """
    asked = training_options_given(given)
    for name in [*_own_names(), "out", "resume"]:
        if getattr(given, name) is not None:
            asked[name] = getattr(given, name)
    if not given.resume:
        for name in NEED_A_TEACHER if given.data and not given.teacher else ():
            if asked.get(name) not in (None, False, "none"):
                raise CannotError(f"{flag_of(name)} needs --teacher")
        args = _arguments(asked)
        check_folder(args, args.out or DEFAULT_FOLDER)
        if args.out:
            check_unused(Path(args.out))
        return args
    if not given.out:
        raise CannotError("--resume needs --out FOLDER, the folder of the run to continue")
    stored = _options_in(Path(given.out), given.parser)
    starts = stored.get("init") or NEW_WEIGHTS, asked.get("init", NEW_WEIGHTS)
    if "init" in asked and NEW_WEIGHTS in starts and starts[0] != starts[1]:
        raise _differs("init", *starts, given.out)
    args = _arguments({**stored, **asked})
    before, now = _arguments(stored).stored(), args.stored()
    for name, value in before.items():
        if name not in FREE_ON_RESUME and now[name] != value:
            raise _differs(name, value, now[name], given.out)
    return args


def _differs(name: str, before: object, now: object, folder: str) -> CannotError:
    return CannotError(
        f"--resume continues a run with its own options: {flag_of(name)} is {before} in {folder}, "
        f"not {now}"
    )


def _arguments(values: dict[str, object]) -> TrainArguments:
    """TrainArguments from the options that are given; the others get their defaults."""
    table = option_table()
    try:
        training = TrainingOptions(**{k: v for k, v in values.items() if k in table})
    except ValueError as error:
        raise CannotError(str(error)) from None
    args = TrainArguments(training=training)
    for name in values.keys() - table.keys():
        setattr(args, name, values[name])
    if training.flipped_teacher and not args.teacher:
        raise CannotError("--flipped-teacher needs --teacher, with soft labels for mirror images")
    check_targets(args)
    if "compare" not in values:
        args.compare = args.data is None and training.has_teacher
    return args


def _options_in(folder: Path, parser: argparse.ArgumentParser) -> dict[str, object]:
    """The options that the config.json of a run has, checked, with paths that lead to its files.
    Those that its release did not have are missing.  Raises RunFolderError."""
    config, own = read_config(folder), _own_names()
    found: dict[str, object] = {}
    try:
        for name, value in config.options.items():
            if name in option_table():
                found[name] = value
            elif name not in own:
                raise CannotError(f"no option {name!r:.80}")
            elif value is not None:
                found[name] = read_stored(parser, name, value)
        for name in PATHS:
            given = found.get(name)
            if isinstance(given, list):
                found[name] = [config.path(path) for path in given]
            elif isinstance(given, str) and (name != "init" or is_file(given)):
                found[name] = config.path(given)
        _arguments(found)
    except CannotError as error:
        raise not_a_configuration(folder, error) from None
    return found


# ---- the run ---------------------------------------------------------------------------------


class Training(NamedTuple):
    """One of the trainings of a run.

    folder  of its results
    resume  continue from the folder's checkpoint; False if not even one epoch was completed
    """

    name: str
    options: TrainingOptions
    folder: Path
    resume: bool


def trainings(args: TrainArguments, faces: Faces) -> list[Training]:
    """The trainings of a run: with the teacher if there is one; and without it, if there is none or
    for comparison."""
    options, plain = args.training, args.training.without_teacher()
    planned = [("with teacher", options, args.folder)]
    if not faces.has_teacher:
        planned = [("without teacher", plain, args.folder)]
    elif args.compare:
        planned.append(("without teacher", plain, args.folder / "without-teacher"))
    return [Training(*each, resume=args.resume and has_begun(each[2])) for each in planned]


def open_run_folder(args: TrainArguments, faces: Faces) -> RunConfig:
    """Create the folder of a new run with its config.json, or check that the run to resume has the
    same data.  Sets `args.out`.  Raises RunFolderError."""
    command = this_command()
    if args.resume:
        before = read_config(args.folder)
        before.check_data(faces.hashes, args.folder)
        command = before.command
    config = RunConfig(
        command,
        args.stored(),
        faces.hashes,
        len(faces.train),
        len(faces.validation),
        working_folder=os.getcwd(),
    )
    if not args.resume:
        args.out = str(config.begin(Path(args.out)) if args.out else config.begin_in_new(_new()))
    return config


def _new() -> Path:
    """The name of a new run's folder, if it is free."""
    return Path(DEFAULT_FOLDER, time.strftime("%Y%m%d-%H%M%S"))


@contextlib.contextmanager
def saying_how_to_continue(args: TrainArguments, faces: Faces, config: RunConfig) -> Iterator[None]:
    """Errors raised inside say what the user can do; Ctrl-C says how to resume.  A run that ends
    before its last epoch has a report of the epochs that are complete."""
    try:
        yield
    except KeyboardInterrupt:
        try:
            print_message(f"\n{report_so_far(args, faces, config)}")
        finally:  # also after another Ctrl-C
            print_message(f"stopped; continue with: {args.how_to_resume}")
        raise
    except DivergedError as error:
        raise CannotError(
            f"{error}; start another run with --learning-rate below "
            f"{args.training.learning_rate:g}; {args.out} keeps the weights of the last good epoch "
            f"({report_so_far(args, faces, config)})"
        ) from None
    except OSError as error:
        if not (args.folder / "config.json").is_file():
            raise CannotError(f"{error}; {args.out} is gone: start another run") from None
        raise CannotError(
            f"{error}; the files already written are complete: continue with {args.how_to_resume}"
        ) from None


def report_so_far(args: TrainArguments, faces: Faces, config: RunConfig) -> str:
    """Write report.html and predictions.csv of a run that has not ended, from what is in its folder
    (nothing, before the end of the first epoch).  Returns a sentence that says where they are."""
    begun = {}
    for name, options, folder, _ in trainings(args, faces):
        if (folder / checkpoint.BEST).is_file() and checkpoint.path_in(folder).is_file():
            data = faces.training_data(options, 1)
            begun[name] = TrainingRun(options, data, folder, resume=True, backend=args.backend)
    if not begun:
        return "no report: no epoch is complete"
    done = (
        f"{len(run.records)} of {run.options.epochs} epochs {name}" for name, run in begun.items()
    )
    told = f"this run is not complete: {', '.join(done)}"
    FinishedRun(begun, faces.ids).write(args.folder, config, [told, *faces.notes])
    return f"report of what is there: {args.folder / 'report.html'}"


def compile_meanwhile(args: TrainArguments) -> None:
    """Let another process begin to compile what the training needs, while this one reads the
    faces."""
    if args.training.init == NEW_WEIGHTS and backend_in_use(args.backend) == "numba":
        network = make_network(args.training, CLASSES, None)  # other classes need the same kernels
        second_compiler.start(network.plan, network.dtype, training=True)


def run(given: argparse.Namespace) -> int:
    args = read_arguments(given)
    compile_meanwhile(args)
    faces = load_faces(args, args.training)
    config = open_run_folder(args, faces)
    if given.json:
        for note in faces.notes:  # stdout holds the JSON alone
            print_message(f"note: {note}")
    else:
        print_beginning(args, faces)
    with saying_how_to_continue(args, faces, config):
        planned = trainings(args, faces)
        done = FinishedRun({each.name: _train(args, faces, each) for each in planned}, faces.ids)
        done.write(args.folder, config, faces.notes)
    if given.json:
        print_json(done.as_json(args.folder))
    else:
        print_text(f"\n{done.summary(args.folder)}")
    return 0


def print_beginning(args: TrainArguments, faces: Faces) -> None:
    for note in faces.notes:
        print_text(f"note: {note}")
    n_training, n_validation = len(faces.train), len(faces.validation)
    print_text(f"{n_training:,} training and {n_validation:,} validation images -> {args.folder}")


def _train(args: TrainArguments, faces: Faces, each: Training) -> TrainingRun:
    """Train a network with results in its folder, or finish a training that was interrupted."""
    n_threads = check_n_threads(args.threads)
    data = faces.training_data(each.options, n_threads)
    run = TrainingRun(
        each.options,
        data,
        each.folder,
        resume=each.resume,
        backend=args.backend,
        n_threads=n_threads,
    )
    with TrainingBar(each.name, run) as bar:
        run.train([History(each.folder, run.records), bar])
    run.calibrate()
    return run
