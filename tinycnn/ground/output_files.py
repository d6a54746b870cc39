"""Where a command may write: to no file that it reads, and over no file of others that the user has
not named.

`reads` and `writes` mark the arguments of a command that are paths; `run_command` compares them
before it calls the command.  Files that a command names itself, such as the header beside a C file,
are replaced only if this package has written them, which MARK in their content says.
"""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from .argument_options import actions_of_command
from .command_line import CannotError
from .mark import MARK

_MARKS = (MARK.encode(), b"\x12\x07tinycnn")
"""The second one is the field producer_name of an ONNX model."""

_SEARCHED_BYTES = 1 << 16

Name = str | os.PathLike[str]


def reads(action: argparse.Action) -> argparse.Action:
    """Mark an argument: its value is a path, or several, that the command reads."""
    vars(action)["role"] = "input"
    return action


def writes(action: argparse.Action) -> argparse.Action:
    """Mark an argument: its value is a path that the command writes to."""
    vars(action)["role"] = "output"
    return action


def input_paths(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[Path]:
    """The values of the arguments that are marked with `reads`, of the command that was given."""
    return _paths(parser, args, "input")


def refuse_outputs_that_are_inputs(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """Raise CannotError if a value of an argument marked with `writes` is read by the command."""
    for out in _paths(parser, args, "output"):
        refuse_inputs(out, input_paths(parser, args))


def _paths(parser: argparse.ArgumentParser, args: argparse.Namespace, role: str) -> list[Path]:
    found: list[Path] = []
    for action in actions_of_command(parser, args):
        value = getattr(args, action.dest, None) if vars(action).get("role") == role else None
        several = value if isinstance(value, (list, tuple)) else [value]
        found += [Path(one) for one in several if one is not None]
    return found


def refuse_inputs(out: Name, inputs: Iterable[Name]) -> None:
    """Raise CannotError if `out`, a file or a folder to write to, is one of the files that are
    read, whatever its name, or lies in a folder that is read.

    inputs: files, folders, or what the names of a TensorFlow checkpoint's files begin with
    """
    for name in inputs:
        for path in (Path(name), *_checkpoint_files(Path(name))):
            if _are_the_same(Path(out), path):
                raise CannotError(f"{out}: is the input itself; choose another name")
        if Path(name).is_dir():
            for parent in Path(os.path.realpath(out)).parents:
                if _are_the_same(parent, Path(name)):
                    raise CannotError(
                        f"{out}: lies in {name}, which is read; choose a place outside of it"
                    )


def _checkpoint_files(path: Path) -> list[Path]:
    """The files of the TensorFlow checkpoint that `path` names, if it does."""
    stem = path.name
    for ending in (".index", ".data-", ".meta"):
        stem = stem.partition(ending)[0]
    if not stem or not path.with_name(f"{stem}.index").is_file():
        return []
    return [p for p in path.parent.iterdir() if p.name.startswith(f"{stem}.")]


def _are_the_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them does not exist
        return False


def check_out(path: str, inputs: Iterable[Name] = ()) -> Path:
    """Check, before any work is done, that a file can be written to `path`.

    Raises CannotError if it is a folder, a device or a pipe, if it is one of the inputs or lies in
    one, or if its folder is missing or may not be written to.
    """
    out = Path(path)
    if out.is_dir():
        raise CannotError(f"{path}: is a folder; expected the name of a file")
    if not out.parent.is_dir():
        raise CannotError(f"{path}: there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise CannotError(f"{path}: no permission to write in {out.parent}")
    if out.exists() and not out.is_file():
        raise CannotError(f"{path}: a device or a pipe; expected the name of a file")
    refuse_inputs(out, inputs)
    return out


def refuse_files_of_others(paths: Iterable[Path]) -> None:
    """Raise FileExistsError for the first path that exists and that this package has not written.

    For files that are not named by the user but by the program.
    """
    for path in paths:
        if os.path.lexists(path) and not is_written_here(path):
            what = "exists, and was not written by tinycnn: move it, or choose another name"
            raise FileExistsError(errno.EEXIST, what, os.fspath(path))


def is_written_here(path: Path) -> bool:
    """Whether `path` is a file that contains a mark of this package."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            content = file.read(_SEARCHED_BYTES)
            file.seek(max(file.seek(0, os.SEEK_END) - _SEARCHED_BYTES, 0))
            content += file.read(_SEARCHED_BYTES)
    except OSError:
        return False
    return any(mark in content for mark in _MARKS)
