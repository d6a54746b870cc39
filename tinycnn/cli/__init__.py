"""The console command `tinycnn`: train networks; describe, convert, export, explain and check them.

Each command has a file; the first line of its docstring is its help.  Exit status: 0 success, 1 a
check failed, 2 an error, which is one line on stderr.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from .._version import __version__
from ..ground.command_line import CannotError, Parser
from ..ground.messages import one_line
from . import convert, explain, export, gradcheck, info, sweep, train

COMMANDS = (train, sweep, info, convert, export, explain, gradcheck)

_ERRORS = (OSError, ValueError, TypeError, ImportError, ArithmeticError, RuntimeError)
"""What the library raises for unsuitable files and options.  They are printed without traceback."""


def build_parser() -> Parser:
    parser = Parser(
        prog="tinycnn",
        description="Train networks; describe, convert, export, explain and check them.",
        epilog="exit status: 0 success, 1 a check failed, 2 an error",
    )
    parser.add_argument("--version", action="version", version=f"tinycnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        name = module.__name__.rsplit(".", 1)[1]
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
        command.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    if sys.stderr.isatty():  # show the log: compiling the kernels at their first use takes long
        logging.basicConfig(level=logging.INFO, format="%(message)s")

    def run() -> int:
        args = build_parser().parse_args(argv)
        return args.run(args)

    return exit_status(run)


def exit_status(run: Callable[[], int]) -> int:
    """The exit status of run(); an error that a user can correct is printed in one line."""
    try:
        status = run()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the program that read our output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _fail("not enough memory")
    except (CannotError, *_ERRORS) as error:
        return _fail(one_line(error))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
