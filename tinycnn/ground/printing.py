"""The door to the terminal: what every command of both packages, and every example, prints with.

Control characters, which names of classes, files and tensors may contain, do not pass.  A stream
that is closed or full, or that cannot show a letter, does not end a command: see `usable_streams`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from .messages import plain

OUTPUT = "the standard output"

_ON_WINDOWS = os.name == "nt"


def print_text(text: object = "") -> None:
    """Print text for people on stdout.  It may have several lines; `plain` makes one line of text
    that comes from a file."""
    _write(_safe(text), sys.stdout)


def print_message(text: object) -> None:
    """Print a message on stderr, like `print_text`.  It is dropped if stderr cannot be written."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            _write(_safe(text), sys.stderr)


def print_data(text: str) -> None:
    """Print text for programs on stdout, such as CSV or a script.  On a terminal, control
    characters are replaced; a file or a pipe gets the text as it is."""
    _write(_safe(text) if sys.stdout.isatty() else text, sys.stdout)


def _safe(text: object) -> str:
    return "\n".join(map(plain, str(text).split("\n")))


def _write(line: str, stream: TextIO) -> None:
    tqdm: Any = sys.modules.get("tqdm")
    if tqdm is None:
        print(line, file=stream)
    else:
        tqdm.tqdm.write(line, file=stream)  # above the progress bar, if there is one


def show_log(level: int = logging.INFO) -> None:
    """Print the log on stderr, unless the program has set up logging."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _safe(super().format(record))


# ---- streams that are closed or full -----------------------------------------------------------


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Inside, a command can print, whatever stdout and stderr are.

    A stream that is closed is /dev/null.  Letters that a terminal cannot show are printed with
    backslashes.  Where stdout cannot be written, OSError names it (BrokenPipeError if nobody reads
    any more); messages on stderr are then dropped.
    """
    stdout, stderr = sys.stdout, sys.stderr
    _open_closed_descriptors()
    with contextlib.ExitStack() as stack:
        for stream in (stdout, stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
                stack.callback(_reconfigure, stream)
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        sys.stdout = cast(TextIO, _Output(stdout or nowhere))
        sys.stderr = cast(TextIO, _Messages(stderr or nowhere))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = stdout, stderr


def _reconfigure(stream: io.TextIOWrapper) -> None:
    with contextlib.suppress(OSError, ValueError):  # what is left in it cannot be written
        stream.reconfigure(errors="strict")


def _open_closed_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed: the next files would get these
    numbers, and what a library prints would get into them."""
    for descriptor, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is not None:
            continue
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if opened == descriptor:
                os.set_inheritable(descriptor, True)
            else:
                os.close(opened)


class _Stream:
    """A text stream with another `write` and `flush`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Output(_Stream):
    """Its errors name it.  After the first one, it always fails: argparse passes errors over."""

    _error: OSError | None = None

    def write(self, text: str) -> int:
        with self._naming_errors():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._naming_errors():
            self._stream.flush()

    @contextlib.contextmanager
    def _naming_errors(self) -> Iterator[None]:
        if self._error is not None:
            raise self._error
        try:
            yield
        except BrokenPipeError as error:
            self._error = error
            raise
        except OSError as error:
            if _ON_WINDOWS and error.errno == errno.EINVAL:  # so it says that nobody reads
                self._error = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            else:
                self._error = OSError(error.errno, error.strerror, OUTPUT)
            raise self._error from None


class _Messages(_Stream):
    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            discard(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            discard(self._stream)


def discard(stream: TextIO) -> None:
    """From now on, what is written to the stream goes nowhere, also what is still in it: Python
    would try to write that again when the process ends, and fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it has no descriptor
        descriptor = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(descriptor, stream.fileno())
        finally:
            os.close(descriptor)
