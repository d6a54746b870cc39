"""Repeat the training of the shipped networks, from FER2013's csv to the weights and their card.

    python examples/train_pretrained.py --data fer2013.csv.gz --votes fer2013new.csv --out shipped

Everything is trained by tinycnn: first the teachers, residual networks of 831,752 parameters, on
the votes; then both shipped networks, with the mean of the teachers' answers as soft labels. Each
step is printed as the command that does it alone, and has a folder or file in --out. After an
interruption, run the same command again: finished steps are not repeated, and the one that was
interrupted is resumed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import package_pretrained
import write_soft_labels

from tinycnn.cli import main as tinycnn_command
from tinycnn.formats.pretrained import PRETRAINED
from tinycnn.ground.command_line import CannotError, Parser, positive
from tinycnn.ground.exit_status import run_command
from tinycnn.ground.printing import print_text
from tinycnn.run.command_line import flag_of
from tinycnn.sweep import DEFAULT_TEACHER, TEACHER_NETWORKS

TEACHER = {**TEACHER_NETWORKS[DEFAULT_TEACHER], "recipe": "fer", "epochs": 30}
STUDENTS = {
    "microexpnet": "--network microexpnet --recipe best --epochs 200 --learning-rate 1.5e-2 "
    "--temperature 2 --soft-weight 0.9 --no-compare",
    "residual48": "--network residual48 --recipe best --epochs 240 --no-compare",
}
"""Options of `tinycnn train`: those of the teachers by name, those of the students as typed."""


class Step(NamedTuple):
    """A command of the recipe.

    program  what runs it, and its name;  words  its arguments
    result   exists when the step is done; None: it is done each time
    begun    exists when it has begun and can be resumed
    """

    name: str
    program: Callable[[list[str]], int]
    words: list[str]
    result: Path | None
    begun: Path | None = None


def build_parser() -> Parser:
    parser = Parser(
        prog="train_pretrained.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="FILE", required=True, help="FER2013: fer2013.csv.gz")
    parser.add_argument(
        "--votes", metavar="FILE", required=True, help="the votes of FER+: fer2013new.csv"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="folder for all results"
    )
    parser.add_argument(
        "--teachers",
        metavar="N",
        type=positive,
        default=1,
        help="how many teachers are trained, whose answers are averaged (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        metavar="N",
        type=positive,
        help="of every training, for a quick trial (default: those of the recipe)",
    )
    parser.add_argument(
        "--card",
        metavar="FOLDER",
        type=Path,
        help="also write the weights and the measured parts of MODEL_CARD.md in this folder "
        "(tinycnn/models/weights for a release)",
    )
    parser.set_defaults(run=run)
    return parser


def steps(args: argparse.Namespace) -> list[Step]:
    """All steps of the recipe, in their order."""
    data = ["--data", args.data, "--votes", args.votes]
    epochs = ["--epochs", str(args.epochs)] if args.epochs else []
    planned, soft_labels = [], []
    for k in range(args.teachers):
        teacher, answers = args.out / f"teacher-{k}", args.out / f"teacher-{k}.npz"
        options = {**TEACHER, "seed": k}
        words = [word for name, value in options.items() for word in (flag_of(name), str(value))]
        words += epochs
        planned.append(training(words, data, teacher))
        words = [str(teacher / "model.safetensors"), "--data", args.data, "--mean"]
        words += ["--out", str(answers)]
        planned.append(Step("write_soft_labels.py", write_soft_labels.main, words, answers))
        soft_labels.append(str(answers))
    for name in PRETRAINED:
        words = [*shlex.split(STUDENTS[name]), "--teacher", *soft_labels, *epochs]
        planned.append(training(words, data, args.out / name))
    for name in PRETRAINED if args.card else ():
        words = [str(args.out / name), *data, "--out", str(args.card)]
        planned.append(Step("package_pretrained.py", package_pretrained.main, words, None))
    return planned


def training(words: list[str], data: list[str], folder: Path) -> Step:
    """A step that trains a network; results go to the folder."""
    words = ["train", *words, *data, "--out", str(folder)]
    begun = folder / "config.json"
    return Step("tinycnn", tinycnn_command, words, folder / "predictions.csv", begun)


def run(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    for step in steps(args):
        command = f"{step.name} {shlex.join(step.words)}"
        if step.result is not None and step.result.exists():
            print_text(f"done before: {command}")
            continue
        words = list(step.words)
        if step.begun is not None and step.begun.exists():
            words.append("--resume")
        print_text(f"\n{step.name} {shlex.join(words)}")
        status = step.program(words)
        if status:
            raise CannotError(f"this step failed with status {status}: {command}")
        minutes = (time.perf_counter() - began) / 60
        print_text(f"{minutes:.0f} minutes since the start of this command")
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
