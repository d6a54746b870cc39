"""Errors, quartiles, ratios and the rows of the report: arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

OURS = "tinycnn"

MAX_ERROR = 1e-4
"""An engine that is further than this from the reference is not timed."""


def error(a: np.ndarray, b: np.ndarray) -> float:
    """max|a - b| / max|b|; inf for another shape or a NaN."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(abs(a - b).max() / abs(b).max())


class Quartiles(NamedTuple):
    """First quartile, median, third quartile."""

    q1: float
    median: float
    q3: float

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, as a share of the median."""
        return (self.q3 - self.q1) / 2 / self.median


def quartiles(values: Sequence[float]) -> Quartiles:
    """Quartiles of values (interpolated).  Raises ValueError for none at all."""
    if not len(values):
        raise ValueError("no values: expected one or more")
    return Quartiles(*(float(q) for q in np.percentile(np.asarray(values, float), (25, 50, 75))))


def summary(values: Sequence[float]) -> dict[str, float]:
    """Times as the JSON has them.  best_s is the shortest: on a busy machine it says more."""
    q = quartiles(values)
    return {"median_s": q.median, "q1_s": q.q1, "q3_s": q.q3, "best_s": min(values)}


def comparison_row(
    task: str,
    batch: int,
    threads: int,
    times: Mapping[str, Sequence[float]],
    errors: Mapping[str, float],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """One row of the table: a task on so many threads, by every engine.

    times     seconds a call by engine, one for each round, OURS among them
    errors    by engine, against the reference
    left_out  why an engine has no times
    ratio_to_fastest_peer is that peer's median time / ours: above 1 we are faster.  paired_ratio
    has the quartiles of the same ratio taken within each round, where noise hits both alike.
    """
    peers = {name: summary(t) for name, t in times.items() if name != OURS}
    row: dict[str, Any] = {"task": task, "batch": batch, "threads": threads}
    row["ours_s"] = None
    row["fastest_peer"] = row["ratio_to_fastest_peer"] = row["paired_ratio"] = None
    if OURS in times:
        ours = summary(times[OURS])
        row.update({f"ours_{key}": value for key, value in ours.items()})
        row["ours_s"] = ours["median_s"]
        row["ours_images_per_s"] = batch / ours["median_s"]
    if peers:
        fastest = min(peers, key=lambda name: peers[name]["median_s"])
        row.update(fastest_peer=fastest, fastest_peer_s=peers[fastest]["median_s"])
        if OURS in times:
            row["ratio_to_fastest_peer"] = row["fastest_peer_s"] / row["ours_s"]
            paired = np.asarray(times[fastest]) / np.asarray(times[OURS])
            row["paired_ratio"] = list(quartiles(paired))
    row["peers"] = {name: {**peers[name], "error": errors[name]} for name in peers}
    row["ours_error"] = errors.get(OURS)
    row["left_out"] = dict(left_out)
    return row
