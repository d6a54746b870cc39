"""What surrounds every command: its exit status, and errors of one line on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from .argument_options import with_options_for_arguments
from .command_line import CannotError, Parser
from .messages import one_line
from .output_files import refuse_outputs_that_are_inputs
from .printing import discard, print_message, show_log, usable_streams

ERROR, STOPPED, PIPE_CLOSED = 2, 130, 141
"""The last two are what a shell reports for a process that such a signal has ended."""

_ERRORS = (CannotError, OSError, ValueError, TypeError, ImportError, ArithmeticError, RuntimeError)
"""What the library raises for unsuitable files and options.  They are printed without traceback."""


def run_command(build_parser: Callable[[], Parser], argv: Sequence[str] | None) -> int:
    """Parse the arguments, call the `run` that the parser has set for their command with them, and
    return the exit status as `exit_status` does.  argv: None for those of this process.

    Where an error of the library names an argument, the option is printed that sets it.
    """

    def run() -> int:
        parser = build_parser()
        args = parser.parse_args(argv)
        try:
            refuse_outputs_that_are_inputs(parser, args)
            return args.run(args)
        except BrokenPipeError:
            raise
        except _ERRORS as error:
            message = with_options_for_arguments(one_line(error), parser, args)
            raise CannotError(message) from error

    return exit_status(run)


def exit_status(run: Callable[[], int]) -> int:
    """run()'s exit status.  An error is printed in one line, without traceback, and gives ERROR, as
    does a full disk behind stdout; Ctrl-C gives STOPPED; PIPE_CLOSED if the program that read the
    output has ended.  A closed stdout or stderr is /dev/null."""
    with usable_streams():
        if sys.stderr.isatty():  # show the log: compiling the kernels at their first use takes long
            show_log()
        try:
            return _flushed(_status(run))
        except SystemExit:  # --help and --version
            status = _flushed(0)
            if status:
                return status
            raise


def _flushed(status: int) -> int:
    """The status, or if what was printed cannot be written, the one that says so."""
    try:
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        if status not in (ERROR, STOPPED):
            return PIPE_CLOSED if isinstance(error, BrokenPipeError) else _fail(error)
    return status


def _status(run: Callable[[], int]) -> int:
    try:
        return run()
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:  # such as `head`
        return PIPE_CLOSED
    except MemoryError:
        return _fail(CannotError("not enough memory"))
    except _ERRORS as error:
        return _fail(error)


def _fail(error: Exception) -> int:
    print_message(f"error: {one_line(error)}")
    return ERROR
