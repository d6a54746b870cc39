"""What surrounds every command: its exit status, and errors of one line on stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from ..ground.command_line import CannotError
from ..ground.messages import one_line

_ERRORS = (OSError, ValueError, TypeError, ImportError, ArithmeticError, RuntimeError)
"""What the library raises for unsuitable files and options.  They are printed without traceback."""


def exit_status(run: Callable[[], int]) -> int:
    """run()'s exit status.  An error is printed in one line, without traceback, and gives 2; Ctrl-C
    gives 130; a closed pipe 141, as if the signal of the system had ended the process."""
    if sys.stderr.isatty():  # show the log: compiling the kernels at their first use takes long
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        status = run()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the program that read our output has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _fail("not enough memory")
    except (CannotError, *_ERRORS) as error:
        return _fail(one_line(error))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
