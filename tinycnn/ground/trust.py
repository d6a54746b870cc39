"""Whether a folder of compiled code is safe: Numba stores it as pickle, which can run anything."""

from __future__ import annotations

import os
from pathlib import Path


def why_not_trusted(folder: Path) -> str:
    """The reason not to run code from `folder`: another user (except root) owns it, or others may
    write to it.  "" if it is safe or does not exist yet."""
    if not hasattr(os, "geteuid"):  # Windows: a user's folders are closed to others by default
        return ""
    try:
        found = os.stat(folder)
    except OSError:
        return ""
    if found.st_uid not in (0, os.geteuid()):
        return "it belongs to another user"
    return "others may write to it: chmod go-w makes it safe" if found.st_mode & 0o022 else ""
