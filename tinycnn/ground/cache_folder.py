"""The folder of a program's cache: where it is, who may look into it, and whether code may be kept
there and run."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder_of(program: str) -> Path:
    """$<PROGRAM>_CACHE_DIR, else $XDG_CACHE_HOME/<program>, else ~/.cache/<program>.  It need not
    exist.  Raises RuntimeError if there is no home folder: in a container, the user may not be
    known to the system."""
    named = os.environ.get(f"{program.upper()}_CACHE_DIR")
    if named:
        return Path(named)
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache"
    return base / program


def make_private(folder: Path) -> None:
    """Make a folder of a cache, for its owner alone, if it does not exist.  Raises OSError.

    One that exists is closed to others too, unless the environment names it, or others may write to
    it: then `why_not_trusted` warns of what it may hold."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = [value for name, value in os.environ.items() if name.endswith("_CACHE_DIR")]
    if hasattr(os, "geteuid") and str(folder) not in named:
        found = os.stat(folder)
        if found.st_uid == os.geteuid() and found.st_mode & 0o055 and not found.st_mode & 0o022:
            os.chmod(folder, found.st_mode & 0o700)


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


def why_not_kept(folder: Path) -> str:
    """The reason why compiled code cannot be kept in `folder`, which may not exist yet.  "" if it
    can."""
    parent = folder
    while not os.path.lexists(parent) and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        return f"{parent} is not a folder"
    if not os.access(parent, os.W_OK | os.X_OK):
        return "it is not writable" if parent == folder else f"{parent} is not writable"
    return why_not_trusted(folder)
