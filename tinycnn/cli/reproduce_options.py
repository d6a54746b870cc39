"""The options of `tinycnn reproduce`."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field, fields

from .. import paper
from ..ground.command_line import CannotError, positive
from ..ground.output_files import writes
from ..paper import published
from ..run import RECIPES
from ..run.command_line import list_reader
from ..run.options import FINETUNE
from ..run.values import ABOVE_ZERO, OneOf
from . import plan_file
from . import sweep as sweep_command
from .data_options import add_data_options, check_folder, check_targets
from .fold_teacher import add_fold_teacher_options, check_fold_teacher

DESCRIPTION = """\
Run the experiments of MicroExpNet's paper on your faces: report.html, CSV tables, figures.

    --data CK+ --train-teacher --budget hours
        on your own CK+ or Oulu-CASIA: ten folds by subject, and ten random folds. In each fold by
        subject a teacher is trained too, on the training images of that fold alone
    --data CK+ --teacher teacher.npz --budget hours
        the same with the soft labels of a teacher of your own. If it has seen the people of CK+,
        the students score better than they should
    --data fer2013.csv.gz --votes fer2013new.csv --teacher teacher.npz --budget 2h
        on FER+ with its own split: it does not say who is shown, so there are no folds by subject
Without options: on built-in faces (drawn people) with the teacher that comes with them, in minutes.

Trains the sixteen networks of the paper without a teacher, and p12 in all sizes with a teacher at
seven temperatures; all of it with folds by subject and again with random folds. Measures speed and
calibration, counts confusions, and shows where the networks look. Each claim of the paper is judged
by a confidence interval over folds and seeds.

--budget is the time it may take: minutes (ten), hours (four), or a time such as 90s, 10min, 2h. A
few training steps are timed first. Then the number of seeds, of folds and of epochs is reduced, in
this order, until the rest fits; the report says by how much. --epochs, --folds, --seeds and
--teacher-epochs fix a number. With --budget none nothing is reduced; --recipe paper --epochs 3000
--budget none is the paper itself, and takes days.

To continue after Ctrl-C or a power cut, run the same command again.
"""

N_SEEDS = 3
"""Seeds of the full plan, before the budget reduces it."""

SCALED = {"epochs": "epochs", "folds": "n_folds", "seeds": "n_seeds"}
SCALED |= {"teacher_epochs": "teacher_epochs"}
"""Options that fix a number -> fields of a Plan that the budget reduces otherwise."""


@dataclass
class ReproduceArguments(sweep_command.SweepArguments):
    """The options of the command; options of a sweep that have no option here keep their defaults.

    budget   in seconds; None: no limit
    started  when the command was given, in seconds
    """

    budget: float | None = paper.budget_s("minutes")
    epochs: int | None = None
    seeds: int | None = None
    sizes: list[str] | None = None
    temperatures: list[float] | None = None
    recipe: str = "fer"
    out: str = "paper"
    backend: str = "numba"
    started: float = field(default_factory=time.perf_counter)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_fold_teacher_options(add_data_options(parser))

    size = parser.add_argument_group("how much")
    size.add_argument(
        "--budget",
        type=_budget,
        metavar="TIME",
        help="time it may take: minutes, hours, none, or a time such as 10min or 2h, see above "
        "(default: minutes)",
    )
    size.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="passes over the training images (default: the recipe's, or fewer for the budget)",
    )
    size.add_argument(
        "--folds",
        type=positive,
        metavar="N",
        help=f"measure on the first N of {published.N_FOLDS} folds (default: as many as fit into "
        "the budget)",
    )
    size.add_argument(
        "--seeds",
        type=positive,
        metavar="N",
        help=f"train each network with N seeds (default: {N_SEEDS}, or fewer for the budget)",
    )
    size.add_argument(
        "--sizes",
        type=list_reader(OneOf(published.SIZES)),
        metavar="A,B,...",
        help="sizes of the networks (default: M,S,XS,XXS)",
    )
    size.add_argument(
        "--temperatures",
        type=list_reader(ABOVE_ZERO),
        metavar="A,B,...",
        help="temperatures of the distillation (default: the paper's, 2,4,8,16,20,32,64)",
    )
    size.add_argument(
        "--recipe",
        choices=sorted(RECIPES.keys() - {FINETUNE}),
        help="learning rate, schedule and all other training options; the paper's need many epochs "
        "(default: fer)",
    )

    where = parser.add_argument_group("where and how")
    writes(
        where.add_argument(
            "--out",
            metavar="FOLDER",
            help="folder for the report and the trainings (default: paper)",
        )
    )
    where.add_argument("--processes", type=positive, metavar="N", help=sweep_command.PROCESSES)
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help=sweep_command.SCHEDULER)
    where.add_argument(
        "--retry-failed", action="store_true", default=None, help=sweep_command.RETRY
    )
    where.add_argument(
        "--backend",
        choices=("numba", "numpy"),
        help="numba: compiled kernels; numpy: plain NumPy, slow (default: numba)",
    )


def _budget(text: str) -> float:
    """Seconds, infinite for no limit."""
    if text == "none":
        return math.inf
    try:
        return paper.budget_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_arguments(given: argparse.Namespace) -> ReproduceArguments:
    """The options, each with its default if it is not given.

    given: what `parse_args` returned.  Raises CannotError for options that do not fit together.
    """
    args = ReproduceArguments()
    for f in fields(ReproduceArguments):
        value = getattr(given, f.name, None)
        if value is not None:
            setattr(args, f.name, value)
    if args.budget == math.inf:
        args.budget = None
    if args.folds and args.folds > published.N_FOLDS:
        raise CannotError(f"--folds {args.folds}: expected at most {published.N_FOLDS}")
    check_targets(args)
    check_fold_teacher(args)
    check_folder(args, args.out)
    plan_file.refuse_foreign_folder(args.out)
    return args
