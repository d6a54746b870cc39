"""The options of commands that can train a teacher in each fold: `--train-teacher`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NamedTuple

import ferdata

from ..ground.command_line import CannotError, positive
from ..ground.printing import print_message
from ..run import TrainingOptions
from ..sweep import DEFAULT_TEACHER, TEACHER_NETWORKS, teacher_epochs
from .data_options import DataOptions

TRAIN_TEACHER = (
    "train a teacher in each fold, on the training images of the fold alone, and distil from it: "
    "for those who have no file for --teacher"
)
NETWORK = f"network of that teacher (default: {DEFAULT_TEACHER})"
EPOCHS = (
    "passes of that teacher over the training images (default: 25 to 100, more on a smaller data "
    "set)"
)


@dataclass
class FoldTeacherOptions(DataOptions):
    """The options, and those of the data."""

    train_teacher: bool = False
    teacher_network: str | None = None
    teacher_epochs: int | None = None


class FoldTeacher(NamedTuple):
    """teacher_network and teacher_epochs, as in `sweep.Trial`."""

    teacher_network: str
    teacher_epochs: int


def add_fold_teacher_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of FoldTeacherOptions."""
    group.add_argument("--train-teacher", action="store_true", default=None, help=TRAIN_TEACHER)
    group.add_argument("--teacher-network", choices=sorted(TEACHER_NETWORKS), help=NETWORK)
    group.add_argument("--teacher-epochs", type=positive, metavar="N", help=EPOCHS)


def check_fold_teacher(args: FoldTeacherOptions) -> None:
    """Raise CannotError for options that do not fit together."""
    if args.train_teacher and args.teacher:
        raise CannotError(
            "--train-teacher trains a teacher and --teacher gives one: give only one of the two"
        )
    for name in ("teacher_network", "teacher_epochs"):
        if getattr(args, name) is not None and not args.train_teacher:
            raise CannotError(f"--{name.replace('_', '-')} needs --train-teacher")


def fold_teacher(args: FoldTeacherOptions, source: ferdata.TrialFaces) -> FoldTeacher | None:
    """The teacher that is trained in each fold; None without --train-teacher."""
    if not args.train_teacher:
        return None
    epochs = args.teacher_epochs or teacher_epochs(len(source.dataset))
    return FoldTeacher(args.teacher_network or DEFAULT_TEACHER, epochs)


def input_px_of_teacher(args: FoldTeacherOptions) -> int:
    """The side of the images that the teacher takes."""
    name = args.teacher_network or DEFAULT_TEACHER
    return TrainingOptions(**TEACHER_NETWORKS[name]).input_px


def tell_without_teacher() -> None:
    """Say on stderr that there is no teacher, and how to get one."""
    print_message(
        "note: no teacher, so nothing is distilled: --train-teacher trains one in each fold, on "
        "the fold's training images alone; --teacher FILE reads the soft labels of one"
    )
