r"""Make a teacher of other classes or labels fit a data set: translate its answers into the labels.

    python examples/fit_soft_labels.py teacher.npz --data fer2013.csv.gz --out fitted.npz
    python examples/train_student.py --data fer2013.csv.gz --teacher fitted.npz --temperature 1

A softmax regression from the teacher's answers to the labels is fitted to the training images, and
its probabilities are written for these. The teacher's classes may be any. Do so where `tinycnn
train` says that the teacher agrees with few of your labels, and compare with a student without it.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from write_soft_labels import add_data, read_faces

import ferdata
from ferdata.teachers.agreement import share_of_agreement
from tinycnn.ground.command_line import Parser
from tinycnn.ground.exit_status import run_command
from tinycnn.ground.output_files import check_out, reads, writes
from tinycnn.ground.printing import print_text


def build_parser() -> Parser:
    parser = Parser(
        prog="fit_soft_labels.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reads(
        parser.add_argument(
            "teacher", metavar="FILE", help="the teacher's soft labels, .npz or .csv"
        )
    )
    add_data(parser)
    writes(
        parser.add_argument(
            "--out", metavar="FILE", required=True, help="soft-label file to write, .npz or .csv"
        )
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    check_out(args.out)
    teacher = ferdata.load_soft_labels(args.teacher)
    faces, _ = ferdata.with_validation(read_faces(args))
    train = faces.in_split("train")
    fitted = ferdata.fit_soft_labels(teacher, train)
    flipped = fitted.flipped_values
    key, keys = fitted.key
    ferdata.save_soft_labels(
        args.out,
        np.exp(fitted.values),
        "probabilities",
        fitted.classes,
        flipped=None if flipped is None else np.exp(flipped),
        **{key: keys},
    )
    labels = train.known_labels
    share, _ = share_of_agreement(
        fitted.values, np.full(len(train), -1) if labels is None else labels, train.targets
    )
    print_text(
        f"{len(train):,} training images, classes {', '.join(fitted.classes)} -> {args.out}\n"
        f"the fitted teacher agrees with {share:.0%} of their labels"
    )
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
