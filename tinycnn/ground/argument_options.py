"""Options that set arguments of the library: one definition, for every command that has them.

A message of the library names an argument as Python writes it, `protocol='paper'`.  For such a
message a command prints its option, `--protocol paper`: see `with_options_for_arguments`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ArgumentOption:
    """An option, and the argument of the library that it sets.

    how    more arguments of `add_argument`
    reads  whether its value is the path of a file or folder that is read
    """

    keyword: str
    flag: str
    meaning: str
    how: Mapping[str, Any] = field(default_factory=dict)
    reads: bool = False

    @property
    def attribute(self) -> str:
        """The name of its value in the parsed options."""
        return self.flag.removeprefix("--").replace("-", "_")


def add_argument_options(
    parser: argparse._ActionsContainer, options: Iterable[ArgumentOption]
) -> None:
    """Add options to a parser or to a group of it.  The value of one that is not given is None."""
    for option in options:
        action = parser.add_argument(option.flag, help=option.meaning, default=None, **option.how)
        vars(action)["keyword"] = option.keyword
        if option.reads:
            vars(action)["role"] = "input"  # as `output_files.reads` does


def given_arguments(args: argparse.Namespace, options: Iterable[ArgumentOption]) -> dict[str, Any]:
    """The arguments that were given as options."""
    values = {option.keyword: getattr(args, option.attribute, None) for option in options}
    return {keyword: value for keyword, value in values.items() if value is not None}


_ARGUMENT = re.compile(
    r"""(?<![\w.(])([a-z]\w*)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\.\.\.|[\w+-]+(?:\.\d+)?)"""
)
"""An argument with its value, or with ... if that does not matter.  Not after a "(": that is a
call."""


def with_options_for_arguments(
    message: str, parser: argparse.ArgumentParser, args: argparse.Namespace
) -> str:
    """The message with the options of a command in place of the arguments that they set.

    parser, args: the parser, and what it has parsed, which says which command was given

    An argument for which the command has no option stays as it is.
    """
    actions = [a for a in actions_of_command(parser, args) if a.option_strings]
    option_of = {action.dest: action for action in actions}
    option_of |= {vars(a)["keyword"]: a for a in actions if "keyword" in vars(a)}

    def as_option(found: re.Match[str]) -> str:
        action = option_of.get(found[1])
        return found[0] if action is None else _spelled(action, found[2])

    return _ARGUMENT.sub(as_option, message)


def actions_of_command(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> Iterator[argparse.Action]:
    """The arguments of the command that was given, and those of the parser before it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            command = action.choices.get(getattr(args, action.dest, ""))
            if command is not None:
                yield from actions_of_command(command, args)


def _spelled(action: argparse.Action, value: str) -> str:
    """An option as it is given on the command line.  value: in Python."""
    flag = next((f for f in action.option_strings if f.startswith("--")), action.option_strings[0])
    if value == "...":
        return f"{flag} {action.metavar}" if isinstance(action.metavar, str) else flag
    if value == "True":
        return flag
    if value == "False":
        return flag.replace("--", "--no-", 1)
    if value == "None":
        return f"{flag} none"
    with contextlib.suppress(ValueError, SyntaxError):  # not a literal
        value = str(ast.literal_eval(value))
    return f"{flag} {shlex.quote(value)}"
