"""Messages that a user should see, whether or not the program has set up logging."""

from __future__ import annotations

import logging
import sys

from .printing import print_message


def tell(program: str, message: str) -> None:
    """Log `message` at INFO.  Where no handler is set up, Python would drop it: then it is printed
    on stderr."""
    logger = logging.getLogger(program)
    if logger.hasHandlers() or sys.stderr is None:
        logger.info("%s", message)
    else:
        print_message(f"{program}: {message}")
