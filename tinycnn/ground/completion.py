"""Prints the script with which a shell completes the options of a command.

The scripts are made by shtab from the parsers.  They are complete in themselves: pressing Tab
starts no Python, which would import the package each time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from .command_line import CannotError
from .printing import print_data

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")

FILES = ("FILE", "FOLDER", "IMAGE", "IN", "MODEL", "OUT", "PATH", "PHOTO_OR_FOLDER")
"""Arguments with these names are completed with the names of files and folders."""


def add_completion_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=_PrintCompletion,
        help="print the script that completes commands and options in this shell, and stop (needs "
        "the extra `completion`)",
    )


class _PrintCompletion(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print_data(completion_script(parser, values))
        parser.exit()


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of SHELLS.  Raises CannotError without shtab, or with a too old one."""
    try:
        import shtab
    except ImportError:
        raise CannotError(
            '--print-completion needs shtab: pip install "tinycnn[completion]"'
        ) from None
    if shell not in shtab.SUPPORTED_SHELLS:
        raise CannotError(
            f"--print-completion {shell}: this release of shtab knows only "
            f"{', '.join(shtab.SUPPORTED_SHELLS)}: pip install -U shtab"
        )
    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
    return shtab.complete(parser, shell=shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
