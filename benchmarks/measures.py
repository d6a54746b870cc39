"""Times, errors, quartiles, and the rows of the comparison with other engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

OURS = "tinycnn"

MAX_ERROR = 1e-4
"""An engine with a larger error than this is not timed."""


def seconds_per_call(call: Callable[[], object], n_calls: int = 1) -> float:
    """Mean time of n_calls calls in a row."""
    started = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - started) / n_calls


def error(a: np.ndarray, b: np.ndarray) -> float:
    """max|a - b| / max|b|; infinite if the shapes differ or a is not finite."""
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
        """Half the distance between the quartiles, divided by the median."""
        return (self.q3 - self.q1) / 2 / self.median


def quartiles(values: Sequence[float]) -> Quartiles:
    """Interpolated quartiles.  Raises ValueError if there are no values."""
    if not len(values):
        raise ValueError("no values: expected one or more")
    q1, median, q3 = np.percentile(np.asarray(values, float), (25, 50, 75)).tolist()
    return Quartiles(q1, median, q3)


def median_times(
    calls: Mapping[str, Callable[[], object]], n_rounds: int, turn_s: float
) -> dict[str, float]:
    """Median seconds of each call; the calls take turns, of about turn_s, in every round."""
    n_calls = {}
    for name, call in calls.items():
        call()  # compiles
        n_calls[name] = max(int(turn_s / max(seconds_per_call(call), 1e-7)), 1)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(n_rounds):
        for name, call in calls.items():
            call()  # loads its arrays into the caches
            seconds[name].append(seconds_per_call(call, n_calls[name]))
    return {name: quartiles(found).median for name, found in seconds.items()}


def compared(times: Mapping[str, float], chosen: str) -> dict[str, Any]:
    """The times, which way was chosen, which is the fastest, and how much longer the chosen one
    takes: time_ratio 1 is a right choice."""
    fastest = min(times, key=times.__getitem__)
    ratio = times[chosen] / times[fastest]
    return dict(median_s=dict(times), chosen=chosen, fastest=fastest, time_ratio=ratio)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Times for the JSON file.  best_s, the shortest, says most on a busy machine."""
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
    """One row of the table: a task by every engine, with the same number of threads.

    times     engine -> seconds per call, one value for each round; OURS is one of the engines
    errors    engine -> error against the reference
    left_out  engine -> why it has no times
    In the row, ratio_to_fastest_peer is the median time of the fastest peer / ours: above 1 ours is
    faster.  paired_ratio has the quartiles of the same ratio within each round; there a
    disturbance affects both engines alike.
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
