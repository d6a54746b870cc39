"""Refuse pipes and devices before they are opened: reading them could take for ever."""

from __future__ import annotations

import errno
import os
import stat

from ferdata.errors import DataError


def refuse_pipes(path: str | os.PathLike[str]) -> None:
    """Raise DataError if `path` is neither a file nor a folder, but a pipe, socket or device; or if
    it is a symbolic link in a circle.

    A path that does not exist or is not permitted is accepted: opening it raises the right error.
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
