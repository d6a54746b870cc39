"""The table: every installed engine on the same tasks, in interleaved rounds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .measures import MAX_ERROR, OURS, comparison_row, error, quartiles, summary
from .peers import CONTROL, ENGINES
from .problem import Answers, Problem, make_problem, reference_answers
from .workers import Worker, WorkerFailed, usable_cores

TASKS = (("forward", 1), ("forward", 64), ("train", 64))


class Effort(NamedTuple):
    """How long to measure: rounds, the least length of an engine's turn in each, and the time after
    which a row has no further rounds (but MIN_ROUNDS).

    Many short turns: on a busy machine a turn shorter than a time slice is often not interrupted.
    """

    n_rounds: int
    turn_s: float
    row_s: float


FULL, QUICK = Effort(61, 0.012, 40), Effort(9, 0.003, 2.5)
MIN_ROUNDS = 5


def thread_counts() -> list[int]:
    """One, and all."""
    return sorted({1, len(usable_cores())})


def compare(effort: Effort, names: Sequence[str]) -> dict[str, Any]:
    """{"rows", "engines", "control", "weights"}: the engines of `names` side by side."""
    problem = make_problem()
    right = reference_answers(problem)
    result: dict[str, Any] = {"rows": [], "engines": {}, "absent": {}, "control": []}
    result["weights"] = "published (CK+)" if problem.tflite_folder else "seeded"
    with tempfile.TemporaryDirectory(prefix="tinycnn-bench-") as folder:
        path = Path(folder) / "problem.npz"
        problem.save(path)
        fields = [Field(names, path, threads) for threads in thread_counts()]
        try:
            for field in fields:
                field.start()
            with ThreadPoolExecutor(len(fields)) as pool:  # importing and compiling, all at once
                list(pool.map(lambda field: field.prepare(problem, right), fields))
            for field in fields:
                result["engines"].update(field.versions)
                result["absent"].update(field.absent)
                for task, batch in TASKS:
                    row, control = field.time(task, batch, effort)
                    result["rows"].append(row)
                    result["control"].append(control)
                field.close()
        finally:
            for field in fields:
                field.close()
    return result


class Field:
    """The engines' processes for one thread count."""

    def __init__(self, names: Sequence[str], problem: Path, threads: int) -> None:
        self.names, self.problem, self.threads = names, problem, threads
        self.workers: dict[str, Worker] = {}
        self.control: Worker | None = None
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        self.left_out: dict[tuple[str, str, int], str] = {}
        self.errors: dict[tuple[str, str, int], float] = {}

    def start(self) -> None:
        """Start a process for every engine.  It ends with the thread that calls this."""
        for name in (CONTROL, *self.names):
            threads = 1 if name == CONTROL else self.threads
            self.workers[name] = Worker(name, self.problem, threads, label=f"{name} {self.threads}")
            self.workers[name].send("open")

    def prepare(self, problem: Problem, right: Answers) -> None:
        """Every engine imported, compiled and compared with the reference."""
        self.opened()
        self.check(problem, right)

    def opened(self) -> None:
        """Wait until all are imported; notes each engine's version, or why it is absent."""
        for name in self.names:
            try:
                answer = self.workers[name].receive()
            except WorkerFailed as failure:
                answer = {"missing": str(failure)}
            if "missing" in answer:
                self.absent[name] = answer["missing"]
                self.workers.pop(name).close()
            else:
                self.versions[name] = answer["version"]
        self.control = self.workers.pop(CONTROL)
        self.control.receive()

    def check(self, problem: Problem, right: Answers) -> None:
        """Compare every engine's answers with the reference; notes who may be timed on what."""
        for batch in sorted({batch for _, batch in TASKS}):
            trains = {n: ENGINES[n].trains and batch == len(problem.x) for n in self.workers}
            for name, worker in self.workers.items():  # all at once: much of this is compiling
                path = str(self._answer(name))
                worker.send("answer", path=path, batch=batch, training=trains[name])
            for name, worker in self.workers.items():
                if batch == len(problem.x) and not trains[name]:
                    self.left_out[name, "train", batch] = "does not train"
                try:
                    worker.receive()
                except WorkerFailed as failure:
                    for task in ("forward", "train"):
                        self.left_out.setdefault((name, task, batch), str(failure))
                    continue
                with np.load(self._answer(name), allow_pickle=False) as answer:
                    self.judge(
                        name, "forward", batch, error(answer["logits"], right.logits[:batch])
                    )
                    if trains[name]:
                        self.judge(name, "train", batch, training_error(answer, right))

    def _answer(self, name: str) -> Path:
        return self.problem.with_name(f"answer {name} {self.threads}.npz")

    def judge(self, name: str, task: str, batch: int, found: float) -> None:
        self.errors[name, task, batch] = found
        if not found <= MAX_ERROR:
            self.left_out[name, task, batch] = (
                f"disagrees with the reference by {found:.1e} (more than {MAX_ERROR:g}): not timed"
            )

    def time(self, task: str, batch: int, effort: Effort) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row of a task, and what the control did meanwhile."""
        able = [name for name in self.workers if (name, task, batch) not in self.left_out]
        job = {"task": task, "batch": batch}
        times: dict[str, list[float]] = {name: [] for name in able}
        n_calls: dict[str, int] = {}
        control: list[float] = []
        started, ours_s = time.perf_counter(), effort.turn_s
        order = np.random.default_rng(0)
        for k in range(-1, effort.n_rounds):  # the first only finds how many calls fill a turn
            if k >= MIN_ROUNDS and time.perf_counter() - started > effort.row_s:
                break
            for name in order.permutation(list(times)).tolist():
                known = {"n_calls": n_calls[name]} if k >= 0 else {"turn_s": effort.turn_s}
                try:
                    answer = self.workers[name].ask("time", **job, **known)
                except WorkerFailed as failure:
                    self.left_out[name, task, batch] = str(failure)
                    del times[name]
                    continue
                n_calls[name] = answer["n_calls"]
                if name == OURS:
                    ours_s = answer["seconds"] * answer["n_calls"]
                if k >= 0:
                    times[name].append(answer["seconds"])
            # as long as our own turn, so that it meets as many interruptions
            beat = self.control.ask("time", task="forward", batch=1, turn_s=ours_s)
            control.append(beat["seconds"])
        row = comparison_row(
            task,
            batch,
            self.threads,
            times,
            {name: self.errors[name, task, batch] for name in times},
            {n: why for (n, t, b), why in self.left_out.items() if (t, b) == (task, batch)},
        )
        return row, {**summary(control), "spread": quartiles(control).spread}

    def close(self) -> None:
        """End all processes."""
        for worker in filter(None, [*self.workers.values(), self.control]):
            worker.close()
        self.workers, self.control = {}, None


def training_error(answer: Any, right: Answers) -> float:
    """The largest error among the gradients of the first step and the losses of the first few.

    The losses hold Adam to account: its steps are what makes them change.
    """
    found = [error(answer["losses"], right.losses)]
    for name, gradient in right.gradients.items():
        found.append(error(answer[f"gradients/{name}"], gradient))
    return max(found)
