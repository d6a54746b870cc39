"""The console command `tinycnn`: look at a model, convert, export, explain and check it.

    tinycnn info MODEL                      what it is: layers, shapes, parameters, classes
    tinycnn convert IN OUT                  a TensorFlow checkpoint or a model to a model file
    tinycnn export MODEL --to c --out DIR   a program that needs nothing of this package
    tinycnn explain MODEL IMAGE             the backprop microscope: one image on one page
    tinycnn gradcheck [MODEL]               every hand-derived gradient against differences

One file a command.  Exit status: 0 done, 1 a check failed, 2 it cannot be done; whatever is wrong
is one line on stderr.  `--json` prints one JSON object instead of text.
"""

from __future__ import annotations

import logging
import os
import sys

from .._version import __version__
from ..ground.command_line import CannotError, Parser
from ..ground.messages import one_line
from . import convert, explain, export, gradcheck, info

COMMANDS = (info, convert, export, explain, gradcheck)

_TOLD = (OSError, ValueError, TypeError, ImportError, ArithmeticError, RuntimeError)
"""What the library raises for files and options that do not do: one line says so."""


def build_parser() -> Parser:
    parser = Parser(
        prog="tinycnn",
        description="Look at a model, convert, export, explain and check it.",
        epilog="exit status: 0 done, 1 a check failed, 2 it cannot be done",
    )
    parser.add_argument("--version", action="version", version=f"tinycnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        name = module.__name__.rsplit(".", 1)[1]
        summary = module.__doc__.partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    if sys.stderr.isatty():  # the first use of a kernel compiles for half a minute: say so
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        args = build_parser().parse_args(argv)
        status = args.run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _fail("not enough memory")
    except (CannotError, *_TOLD) as error:
        return _fail(one_line(error))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
