"""Speed of each kernel and of the whole network, compared with the peak of one core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .kernel_lines import (
    DIRECT_MACS,
    DIRECT_TRAINING_MACS,
    N_IMAGES,
    Line,
    make_lines,
    without_line,
)
from .measures import quartiles, seconds_per_call
from .peak import Peak
from .table import render, significant
from .workers import cores_for

TURN_S = 0.001
"""Length of a kernel's turn in each round, filled with calls.  It is shorter than the scheduler's
time slice, so that most turns are not interrupted on a busy machine."""


def measure(n_rounds: int) -> dict[str, Any]:
    """Time every kernel on one core.

    peak_gmac_per_s, peak_spread   of the loop in peak.py
    lines         a row for each kernel and layer;  failed: kernel -> why it could not be called
    without_line  kernels that have no benchmark
    """
    from .peers import ours
    from .problem import make_problem

    problem = make_problem()
    with one_core():
        lines, failed = make_lines(problem)
        missing = without_line(lines)
        batch = len(problem.x)
        training, few = ours.training(problem, 1), ours.forward(problem, N_IMAGES, 1)
        lines += [
            Line("forward", "network", few, N_IMAGES * DIRECT_MACS, 0),
            Line("training step", "network", training.step, batch * DIRECT_TRAINING_MACS, 0),
        ]
        result = time_lines(lines, Peak(), n_rounds)
    for row in result["lines"]:
        row["images"] = batch if row["kernel"] == "training step" else N_IMAGES
    return {**result, "failed": failed, "without_line": missing}


def time_lines(
    lines: list[Line], peak: Peak, n_rounds: int, turn_s: float = TURN_S
) -> dict[str, Any]:
    """Each round times every line once, and directly before each the peak that it is divided by."""
    n_calls = {}
    for k, line in enumerate(lines):
        line.call()
        n_calls[k] = max(int(turn_s / max(seconds_per_call(line.call), 1e-7)), 1)
    seconds: dict[int, list[float]] = {k: [] for k in n_calls}
    shares: dict[int, list[float]] = {k: [] for k in n_calls}
    peaks = []
    for _ in range(n_rounds):
        for k, line in enumerate(lines):
            line.call()  # loads its arrays into the caches; the peak's loop uses no memory
            rate = peak.rate()
            spent = seconds_per_call(line.call, n_calls[k])
            peaks.append(rate)
            seconds[k].append(spent)
            shares[k].append(line.macs / spent / rate)
    rows = []
    for k, line in enumerate(lines):
        q = quartiles(seconds[k])
        row = {"kernel": line.kernel, "layer": line.layer, "median_s": q.median, "spread": q.spread}
        if line.macs:
            row["gmac_per_s"] = line.macs / q.median / 1e9
            row["share_of_peak"] = quartiles(shares[k]).median
        else:
            row["gb_per_s"] = line.n_bytes / q.median / 1e9
        rows.append(row)
    q = quartiles(peaks)
    return {"peak_gmac_per_s": q.median / 1e9, "peak_spread": q.spread, "lines": rows}


@contextmanager
def one_core() -> Iterator[None]:
    """Restrict this process to one core, on systems where that is possible."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores_for(1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def text(found: dict[str, Any]) -> str:
    """What `measure` found, as a table."""
    rows = []
    for row in found["lines"]:
        rate = share = memory = "-"
        if "gmac_per_s" in row:
            rate, share = significant(row["gmac_per_s"]), f"{row['share_of_peak']:.0%}"
        else:
            memory = significant(row["gb_per_s"])
        us = row["median_s"] * 1e6
        cells = (significant(us / row["images"]), f"{row['spread']:.0%}", rate, share, memory)
        rows.append((f"{row['layer']} {row['kernel']}".strip(), *cells))
    header = ("one core", "us an image", "±", "GMAC/s", "of peak", "GB/s")
    lines = ["", f"FMA peak of one core: {found['peak_gmac_per_s']:.1f} GMAC/s"]
    lines[-1] += f" ±{found['peak_spread']:.0%} (registers only, measured between the kernels)"
    lines += [render(header, rows)]
    lines += [
        "kernels: chunks of 8 images, losses of 64 rows; products with padding are not counted"
    ]
    lines += ["every line contains a call from Python, about 0.3 us: much of the smallest kernels"]
    lines += [
        "network: forward of 8 images, training step of 64; products as in direct convolution"
    ]
    lines += [f"not measured: {name}: {why}" for name, why in found["failed"].items()]
    if found["without_line"]:
        lines.append("NO BENCHMARK FOR: " + ", ".join(found["without_line"]))
    return "\n".join(lines)
