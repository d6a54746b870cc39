"""The console command `tinycnn`: train networks, use, describe, convert, export and check them.

Each command has a file; the first line of its docstring is its help.  Exit status: 0 success, 1 a
check failed, 2 an error, which is one line on stderr.
"""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial

from ..ground._version import __version__
from ..ground.command_line import Parser
from ..ground.completion import add_completion_option
from ..ground.exit_status import run_command

COMMANDS = (
    *("predict", "train", "sweep", "reproduce", "info", "convert", "export", "explain"),
    *("gradcheck", "learn", "face", "warmup"),
)
WITH_OWN_JSON = ("predict",)


def build_parser(commands: Sequence[str] = COMMANDS) -> Parser:
    """The parser.  commands: those that it knows; the files of others are not imported."""
    parser = Parser(
        prog="tinycnn",
        description="Recognise expressions in photos; train networks; describe, convert, export, "
        "explain and check them.",
        epilog="exit status: 0 success, 1 a check failed, 2 an error",
    )
    parser.add_argument("--version", action="version", version=f"tinycnn {__version__}")
    add_completion_option(parser)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        module = importlib.import_module(f"{__name__}.{name}")
        summary = (module.__doc__ or "").partition("\n")[0]
        command = subparsers.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        if name not in WITH_OWN_JSON:
            command.add_argument("--json", action="store_true", help="print JSON instead of text")
        command.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    if getattr(sys, "frozen", False):  # the processes of a sweep are this same program
        multiprocessing.freeze_support()
    words = sys.argv[1:] if argv is None else argv
    commands = words[:1] if words and words[0] in COMMANDS else COMMANDS
    return run_command(partial(build_parser, commands), argv)
