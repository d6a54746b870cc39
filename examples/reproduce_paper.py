"""The paper's experiments on your faces, in one command: report.html, CSV tables, figures.

    python examples/reproduce_paper.py
        on built-in faces (drawn people) with the teacher that comes with them, in minutes
    python examples/reproduce_paper.py --data CK+ --train-teacher --budget hours
        on your own CK+ or Oulu-CASIA: ten folds by subject, and ten random folds. In each fold by
        subject a teacher is trained too, on the training images of that fold alone; --teacher FILE
        reads the soft labels of a teacher of your own instead
    python examples/reproduce_paper.py --data fer2013.csv.gz --votes fer2013new.csv \\
            --teacher teacher.npz --budget 2h
        on FER+ with its own split: it does not say who is shown, so there are no folds by subject

Trains the sixteen networks of the paper without a teacher, and p12 in all sizes with a teacher at
seven temperatures; all of it with folds by subject and again with random folds. Measures speed and
calibration, counts confusions, and shows where the networks look. Each claim of the paper is judged
by a confidence interval over folds and seeds.

--budget is the time it may take: minutes (ten), hours (four), or a time such as 90s, 10min, 2h. A
few training steps are timed first. Then the number of seeds, of folds and of epochs is reduced, in
this order, until the rest fits; the report says by how much. --epochs, --folds, --seeds and
--teacher-epochs fix a number. With --budget none nothing is reduced; --recipe paper --epochs 3000
--budget none is the paper itself, and takes days.

To continue after Ctrl-C or a power cut, run the same command again. The command
`tinycnn reproduce` is the same program.
"""

from __future__ import annotations

import argparse
import sys

from tinycnn.cli.reproduce import (
    add_arguments,
    full_plan,
    load_sources,
    make_study,
    plan_for_budget,
    print_claims,
    read_arguments,
    tell_failures,
    write_study,
)
from tinycnn.cli.sweep import saying_how_to_continue
from tinycnn.ground.command_line import Parser
from tinycnn.ground.exit_status import run_command


def build_parser() -> Parser:
    parser = Parser(prog="reproduce_paper.py")
    add_arguments(parser)
    parser.description = __doc__
    parser.set_defaults(run=run)
    return parser


def run(given: argparse.Namespace) -> int:
    args = read_arguments(given)
    with saying_how_to_continue():
        sources = load_sources(args)  # the faces, divided in folds by subject and in random folds
        full = full_plan(args, sources)  # networks, temperatures, folds and seeds, as in the paper
        plan = plan_for_budget(args, full, sources)  # what of it fits into the time
        study = make_study(args, full, plan, sources)  # trains and measures
        page = write_study(study, args)
    print_claims(study, page)  # each claim of the paper, and the verdict
    return tell_failures(study)


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
