"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from .regular_file import read_text_file

CGROUPS, MOST_BYTES = Path("/sys/fs/cgroup"), 1000


def usable_cores() -> int:
    """The cores that this process may run on, but no more than the processor time that its
    container gives it (on Linux, `docker run --cpus 2`)."""
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    return min(n_cores, _limit(CGROUPS) or n_cores)


def _limit(cgroups: Path) -> int | None:
    """The limit of processor time, in cores and rounded up; None without one.

    cgroups  the folder of the control groups: with cpu.max (version 2: "200000 100000" or "max
             100000"), or with two files in cpu/ (version 1; -1 is no limit).  What cannot be read
             is no limit.
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            texts = " ".join(read_text_file(cgroups / name, MOST_BYTES) for name in names)
            quota, period = (int(text) for text in texts.split())
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:
            return -(-quota // period)
    return None
