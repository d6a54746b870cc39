"""How much memory this machine has free."""

from __future__ import annotations

from pathlib import Path

_MEMORY = Path("/proc/meminfo")


def free_bytes() -> int | None:
    """The memory that a new process can have on this machine; None if that is not known."""
    try:
        lines = _MEMORY.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
