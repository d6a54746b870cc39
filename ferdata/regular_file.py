"""A file that ends: what is neither a file nor a folder is refused before it is opened."""

from __future__ import annotations

import errno
import os
import stat

from ferdata.errors import DataError


def refuse_pipes(path: str | os.PathLike[str]) -> None:
    """DataError for a pipe, a socket or a device, whose opening or reading could wait for ever,
    and for links in a circle.

    What cannot be looked at (absent, not permitted) passes: opening it says why.
    """
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
