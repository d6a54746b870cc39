"""Train many networks, to compare options such as the temperature and the size.

    python examples/sweep.py --size M,S,XS,XXS --temperature 2,4,8,16 --loss none,kd --epochs 8
        on built-in faces with the teacher that comes with them, in one process per core
    python examples/sweep.py --config sweep.toml
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
seeds that both have. The command `tinycnn sweep` does the same.
"""

from __future__ import annotations

import argparse
import sys

from tinycnn.cli.sweep import (
    add_arguments,
    print_results,
    read_arguments,
    run_sweep,
    saying_how_to_continue,
    tell_failures,
)
from tinycnn.ground.command_line import Parser
from tinycnn.ground.exit_status import run_command


def build_parser() -> Parser:
    parser = Parser(prog="sweep.py")
    add_arguments(parser)
    parser.description = __doc__
    parser.set_defaults(run=run)
    return parser


def run(given: argparse.Namespace) -> int:
    args = read_arguments(given)  # also those of the file --config
    with saying_how_to_continue():
        trials, outcome = run_sweep(args)
    print_results(args, trials, outcome)
    return tell_failures(trials, outcome)


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
