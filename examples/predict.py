"""Find the faces in photos and say which expression each of them shows.

    python examples/predict.py photo.jpg
    python examples/predict.py --json holidays/ > faces.jsonl
    python examples/predict.py --annotate marked/ holidays/

A folder is searched with all its subfolders, in alphabetical order. A file that cannot be read is
reported on stderr and skipped. The command `tinycnn predict` is the same program.

Exit status: 0 if every file was read, 1 if some were not, 2 if none was or an option is wrong.
"""

from __future__ import annotations

import argparse
import sys

from tinycnn.cli import predict
from tinycnn.ground.command_line import Parser
from tinycnn.ground.exit_status import run_command


def build_parser() -> Parser:
    parser = Parser(
        prog="predict.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def run(options: argparse.Namespace) -> int:
    network = predict.load_network(options)
    with predict.Printer(options, network.classes) as printer:
        # for each photo: faces = ferdata.find_faces(photo, framing); network.classify(faces)
        for prediction in predict.predictions(options, network):
            printer.write(prediction)
    return printer.exit_status


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
