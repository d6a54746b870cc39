"""For readers of files: pipes and devices are refused, and errors name the file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ferdata.errors import DataError
from tinycnn.ground.messages import LONGEST_NAME, in_short


def checked_file_name(path: str | os.PathLike[str]) -> str:
    """`path` as a str. Raises DataError if it cannot be the name of a file: for bytes, and for a
    text that is too long. (It may be the content of a file: messages do not quote it.)"""
    name = os.fspath(path)
    if not isinstance(name, str):
        raise DataError(
            f"{len(name):,} bytes; expected the name of a file, as text: os.fsdecode makes it"
        )
    if not name:
        raise DataError("'': expected the name of a file, found an empty text")
    if len(name) > LONGEST_NAME:
        raise DataError(f"a text of {len(name):,} characters; expected the name of a file")
    return name


def refuse_pipes(path: str | os.PathLike[str]) -> None:
    """Raise DataError if `path` is neither a file nor a folder, but a pipe, socket or device; if it
    is a symbolic link in a circle; or if it cannot be the name of a file.

    Reading from a pipe could take for ever. A path that does not exist or is not permitted is
    accepted: opening it raises the right error.
    """
    checked_file_name(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(f"{path}: a link that leads in a circle") from None
        return
    except ValueError as error:  # a NUL byte in the name
        raise DataError(f"{os.fspath(path)!r}: not a file name ({error})") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: not a regular file")


@contextmanager
def named_errors(path: str | os.PathLike[str], problem: str = "cannot be read") -> Iterator[None]:
    """Turns what goes wrong while `path` is read into a DataError that names it. Refuses pipes.

    problem  what the message says, before what the error says
    """
    refuse_pipes(path)
    with errors_naming(path, problem):
        yield


@contextmanager
def errors_naming(name: str | os.PathLike[str], problem: str = "cannot be read") -> Iterator[None]:
    """Turns what goes wrong into a DataError that begins with `name`; see `named_errors`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except PermissionError:
        raise DataError(f"{name}: no permission to read it") from None
    except MemoryError:
        raise DataError(f"{name}: not enough memory to read it") from None
    except Exception as error:  # damage shows up as a dozen kinds
        why = error.strerror if isinstance(error, OSError) and error.strerror else in_short(error)
        raise DataError(f"{name}: {problem} ({why})") from error
