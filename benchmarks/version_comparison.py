"""This working tree against another revision of it, in interleaved rounds."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .engine_comparison import (
    FULL,
    MAX_TRAINING_ERROR,
    QUICK,
    Effort,
    tasks_of,
    thread_counts,
    training_error,
)
from .measures import MAX_ERROR, OURS, Quartiles, error, quartiles, summary
from .problem import Answers, make_problem, reference_answers
from .table import ms, render
from .workers import ROOT, Worker


class NoSuchRevision(ValueError):
    """git does not know this revision; the message is git's own."""


def run(revision: str, quick: bool, networks: Sequence[str]) -> list[dict[str, Any]]:
    """Time both versions and print a table; a row for each network, task and thread count."""
    effort = QUICK if quick else FULL
    rows = []
    with worktree(revision) as tree, tempfile.TemporaryDirectory(prefix="tinycnn-bench-") as name:
        for network in networks:
            rows += _on_network(network, revision, tree, Path(name), effort)
    print(text(rows, revision))
    return rows


def _on_network(
    network: str, revision: str, tree: Path, folder: Path, effort: Effort
) -> list[dict[str, Any]]:
    rows = []
    problem = make_problem(network)
    right = reference_answers(problem)
    path = folder / f"{network}.npz"
    problem.save(path)
    for threads in thread_counts():
        sides = {
            "this tree": Worker(OURS, path, threads, str(ROOT), label="this"),
            revision: Worker(OURS, path, threads, str(tree), label="other"),
        }
        try:
            for side, worker in sides.items():
                _warm_up_and_check(side, worker, path, right)
            for task, batch in tasks_of(network):
                row = _row(sides, revision, task, batch, threads, effort)
                rows.append({"network": network, **row})
        finally:
            for worker in sides.values():
                worker.close()
    return rows


def _warm_up_and_check(side: str, worker: Worker, problem: Path, right: Answers) -> None:
    """Import and compile a version.  Wrong answers are reported in a line and timed anyway."""
    worker.ask("open")
    path, batch, in_training = problem.with_name("answer.npz"), len(right.logits), 0.0
    worker.ask("answer", path=str(path), batch=batch, task="forward")
    with np.load(path, allow_pickle=False) as answer:
        found = error(answer["logits"], right.logits)
    if right.gradients:
        worker.ask("answer", path=str(path), batch=batch, task="train")
        with np.load(path, allow_pickle=False) as answer:
            in_training = training_error(answer, right)
    if not (found <= MAX_ERROR and in_training <= MAX_TRAINING_ERROR):
        print(f"{side} disagrees with the reference of this tree by {max(found, in_training):.1e}")


def _row(
    sides: dict[str, Worker], revision: str, task: str, batch: int, threads: int, effort: Effort
) -> dict[str, Any]:
    """Times of one task by both versions.

    paired_ratio  quartiles of the other version's time / this tree's, both of the same round
    """
    times: dict[str, list[float]] = {side: [] for side in sides}
    job = {"task": task, "batch": batch}
    n_calls = min(w.ask("time", **job, turn_s=effort.turn_s)["n_calls"] for w in sides.values())
    for k in range(effort.n_rounds):
        for side in list(sides)[:: -1 if k % 2 else 1]:
            times[side].append(sides[side].ask("time", **job, n_calls=n_calls)["seconds"])
    here, there = times["this tree"], times[revision]
    return {
        "task": task,
        "batch": batch,
        "threads": threads,
        "this_tree": summary(here),
        "other": summary(there),
        "revision": revision,
        "ratio": quartiles(there).median / quartiles(here).median,
        "paired_ratio": list(quartiles(np.asarray(there) / np.asarray(here))),
    }


def text(rows: list[dict[str, Any]], revision: str) -> str:
    """The rows of `run` as a table."""
    header = (
        "",
        "task",
        "batch",
        "threads",
        "this tree ms",
        f"{revision} ms",
        "its time / this tree's",
    )
    cells = []
    for row in rows:
        low, _, high = row["paired_ratio"]
        sides = [
            ms(Quartiles(s["q1_s"], s["median_s"], s["q3_s"]))
            for s in (row["this_tree"], row["other"])
        ]
        ratio = f"{row['ratio']:.2f} ({low:.2f}..{high:.2f})"
        cells.append(
            (row["network"], row["task"], str(row["batch"]), str(row["threads"]), *sides, ratio)
        )
    note = "above 1: this tree is faster; in brackets: quartiles of the ratio over the rounds"
    return "\n".join(["", render(header, cells), note])


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A temporary folder with the files of `revision`.  Raises NoSuchRevision."""
    with tempfile.TemporaryDirectory(prefix="tinycnn-against-") as folder:
        tree = Path(folder) / "tree"
        try:
            _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        except (subprocess.CalledProcessError, FileNotFoundError) as failure:
            message = failure.stderr if isinstance(failure, subprocess.CalledProcessError) else ""
            message = (message or str(failure)).strip()
            raise NoSuchRevision(f"--against {revision}: {message}") from None
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    command = ["git", "-C", str(ROOT), *arguments]
    subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
