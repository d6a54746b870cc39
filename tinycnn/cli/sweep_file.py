"""The TOML file of a sweep: options of the command, and tables [[trial]] with trials."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from ..ground.command_line import CannotError
from ..ground.regular_file import read_text_file
from ..run.starting_weights import is_file
from .stored_options import is_strings, read_stored

PATHS = ("data", "root", "votes", "teacher", "out", "init")
MAX_BYTES = 1 << 20

Values = dict[str, object]


def read_sweep_file(
    path: Path, parser: argparse.ArgumentParser, trial_options: Mapping[str, str]
) -> tuple[Values, list[Values]]:
    """(options, tables [[trial]]) of a file, by their names in Python.

    parser         of the command
    trial_options  name in the file -> name in `Trial`; their values are checked when trials are
                   made, the others here
    Relative paths start at the file's folder.  Raises CannotError.
    """
    config = _with_paths_from(path.parent, _read_toml(path))
    tables = config.pop("trial", [])
    if isinstance(tables, list):
        tables = [_with_paths_from(path.parent, t) if isinstance(t, dict) else t for t in tables]
    own = {action.dest for action in parser._actions if action.option_strings}
    own -= {"help", "config", "json", *trial_options.values()}
    options = {}
    for name, value in config.items():
        if name in trial_options:
            options[trial_options[name]] = value
        elif name in own:
            try:
                options[name] = read_stored(parser, name, value)
            except CannotError as error:
                raise CannotError(f"{path}: {error}") from None
        else:
            raise _unknown(str(path), name, {*own, *trial_options, "trial"})
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CannotError(f"{path}: trial: expected tables [[trial]]")
    trials = []
    for k, table in enumerate(tables, start=1):
        named = {name.replace("-", "_"): value for name, value in table.items()}
        for name in named:
            if name not in trial_options:
                raise _unknown(f"{path}: [[trial]] {k}", name, trial_options)
        trials.append({trial_options[name]: value for name, value in named.items()})
    return options, trials


def _unknown(where: str, name: str, known: Mapping[str, str] | set[str]) -> CannotError:
    return CannotError(
        f"{where}: no option {name!r:.80}; expected some of {', '.join(sorted(known))}"
    )


def _read_toml(path: Path) -> Values:
    """The content of a TOML file, with underscores in the names."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError:
            raise CannotError(
                f"{path}: to read it needs Python 3.11 or newer, or: pip install tomli"
            ) from None
    try:
        config = tomllib.loads(read_text_file(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CannotError(f"{path}: not a TOML file: {reason}") from None
    return {name.replace("-", "_"): value for name, value in config.items()}


def _with_paths_from(folder: Path, config: Values) -> Values:
    for name in PATHS:
        value = config.get(name)
        if isinstance(value, str) and (name != "init" or is_file(value)):
            config[name] = str(folder / value)
        elif name in ("teacher", "init") and isinstance(value, list) and is_strings(value):
            paths = [v for v in value if name != "init" or is_file(v)]
            config[name] = [str(folder / v) if v in paths else v for v in value]
    return config
