"""Whether compiled code that lies in a folder may be run: Numba keeps it as pickle."""

from __future__ import annotations

import os
from pathlib import Path


def why_not_trusted(folder: Path) -> str:
    """Why code that lies in `folder` must not be run, or "": it belongs to somebody else than this
    user or root, or others may write there.  A folder that is not there yet is no danger."""
    if not hasattr(os, "geteuid"):  # Windows: the user's own folders are closed by themselves
        return ""
    try:
        found = os.stat(folder)
    except OSError:
        return ""
    if found.st_uid not in (0, os.geteuid()):
        return "it belongs to another user"
    return "others may write there: chmod go-w makes it safe" if found.st_mode & 0o022 else ""
