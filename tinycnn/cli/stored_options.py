"""Options of a command that are stored in a file, JSON or TOML, read as the command line is."""

from __future__ import annotations

import argparse

from ferdata.sources.dataset_options import NAMES

from ..ground.command_line import CannotError


def read_stored(parser: argparse.ArgumentParser, name: str, value: object) -> object:
    """The value of the option `name` in a file, as `parse_args` would return it.

    name: an attribute of its result.  Raises CannotError for a value that cannot be given on the
    command line.
    """
    action = next(action for action in parser._actions if action.dest == name)
    if isinstance(value, bool) and action.nargs != 0:
        raise CannotError(f"{name} is {str(value).lower()}; expected a value")
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise CannotError(f"{name} is {value!r:.80}; expected true or false")
        return value
    if action.nargs == "+" and is_strings(value):
        return value
    if isinstance(value, list) and is_strings(value) and action.metavar == NAMES:
        value = ",".join(value)
    if not isinstance(value, (str, int, float)):
        raise CannotError(f"{name} is {value!r:.80}; expected one value")
    return getattr(parser.parse_args([f"{action.option_strings[0]}={value}"]), name)


def is_strings(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
