"""The options of a training run as options of a command: `--learning-rate X`, and so on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from .options import GROUPS, NOT_GIVEN_BY_USERS, TrainingOptions, option_table
from .values import OneOf, Values, YesOrNo

T = TypeVar("T")

Groups = dict[str, "argparse._ArgumentGroup"]


def add_training_options(parser: argparse.ArgumentParser) -> Groups:
    """Add all options, in a group for each of GROUPS; returns the groups, so that a command can
    add more to them.  Options that are not given are None in the result of `parse_args`."""
    groups = {name: parser.add_argument_group(name, text or None) for name, text in GROUPS.items()}
    for name, entry in option_table().items():
        if entry.group == NOT_GIVEN_BY_USERS:
            continue
        text = f"{entry.meaning} (default: {entry.default_text()})".replace("%", "%%")
        group, flag, values = groups[entry.group], flag_of(name), entry.values
        if isinstance(values, YesOrNo):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif isinstance(values, OneOf):
            group.add_argument(flag, choices=values.names, help=text)
        else:
            group.add_argument(flag, type=reader(values), metavar=values.metavar, help=text)
    return groups


def add_lists_of_training_options(
    group: argparse._ArgumentGroup, kind: type[TrainingOptions], flags: dict[str, str]
) -> None:
    """Add the options of `kind` that `flags` names, as lists of values with commas between them.

    flags: name of the option -> flag, such as {"seed": "--seeds"}.
    """
    for name, flag in flags.items():
        entry = option_table(kind)[name]
        text = f"{entry.meaning} (default: {entry.default_text()})".replace("%", "%%")
        read = list_reader(entry.values)
        group.add_argument(flag, dest=name, type=read, metavar="A,B,...", help=text)


def training_options_given(args: argparse.Namespace) -> dict[str, object]:
    """The options that the command line has, by name."""
    found = {name: getattr(args, name, None) for name in option_table()}
    return {name: value for name, value in found.items() if value is not None}


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def reader(values: Values[T]) -> Callable[[str], T]:
    """`values.read` with the error that argparse expects."""

    def read(text: str) -> T:
        try:
            return values.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def list_reader(values: Values[T]) -> Callable[[str], list[T]]:
    """Reads values with commas between them.  Where a value may itself be several, such as the
    temperature, each part is a value of its own."""
    read = reader(values)
    return lambda text: [read(part.strip()) for part in text.split(",")]
