"""Times every installed engine on the same tasks, in interleaved rounds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .measures import MAX_ERROR, OURS, comparison_row, error, quartiles, summary
from .peers import CONTROL, ENGINES
from .problem import MICROEXPNET, Answers, Problem, make_problem, reference_answers
from .workers import NotReady, Worker, WorkerFailed, usable_cores
from .zoo_networks import ZOO

TASKS = (("forward", 1), ("forward", 64), ("train", 64))


class Effort(NamedTuple):
    """How long to measure.

    n_rounds  rounds for each row of the table
    turn_s    least length of an engine's turn in a round.  Short turns are better: on a busy
              machine a turn shorter than the scheduler's time slice is often not interrupted
    row_s     after so long a row has no further rounds, except to reach MIN_ROUNDS
    """

    n_rounds: int
    turn_s: float
    row_s: float


FULL, QUICK = Effort(61, 0.012, 10), Effort(9, 0.003, 2.5)
MIN_ROUNDS = 5
PREPARED = 0.65
"""Of the time for a network, engines have this share to be imported and compiled."""
MAX_TRAINING_ERROR = 2e-2
"""An engine with a larger `training_error` is not timed.  With BatchNorm behind every convolution,
float32 alone leads to some thousandths."""

SLOW = 10.0
"""An engine that takes so many times as long as the fastest is timed in the first two rounds
alone."""


def tasks_of(network: str) -> list[tuple[str, int]]:
    """The tasks, without training for networks that are not classifiers."""
    return [(task, batch) for task, batch in TASKS if task == "forward" or ZOO[network].trains]


def thread_counts() -> list[int]:
    """One thread, and one for each usable core."""
    return sorted({1, len(usable_cores())})


def compare(
    effort: Effort, names: Sequence[str], network: str = MICROEXPNET, until: float | None = None
) -> dict[str, Any]:
    """Compare the engines of `names` on a network of the zoo.

    until  of time.perf_counter(): the comparison should end then; an engine that is not ready when
           PREPARED of the time has passed is left out

    rows      of the table, see `comparison_row`;  control: the control's times, one for each row
    engines   name -> version;  absent: name -> why it cannot be used
    weights   where the weights are from
    """
    started = time.perf_counter()
    prepared_until = None if until is None else started + PREPARED * (until - started)
    problem = make_problem(network)
    right = reference_answers(problem)
    result: dict[str, Any] = {"rows": [], "engines": {}, "absent": {}, "control": []}
    result["weights"] = problem.weights_from
    with tempfile.TemporaryDirectory(prefix="tinycnn-bench-") as folder:
        path = Path(folder) / "problem.npz"
        problem.save(path)
        groups = [EngineGroup(names, path, threads, prepared_until) for threads in thread_counts()]
        try:
            for group in groups:
                group.start()
            with ThreadPoolExecutor(len(groups)) as pool:  # engines import and compile in parallel
                list(pool.map(lambda group: group.prepare(problem, right), groups))
            rows_left = len(groups) * len(tasks_of(network))
            for group in groups:
                group.restart_crashed()
                result["engines"].update(group.versions)
                result["absent"].update(group.absent)
                for task, batch in tasks_of(network):
                    if until is not None:
                        row_s = max(until - time.perf_counter(), 0.0) / rows_left
                        effort = effort._replace(row_s=min(row_s, QUICK.row_s))
                    rows_left -= 1
                    row, control = group.time(task, batch, effort)
                    result["rows"].append({"network": network, **row})
                    result["control"].append(control)
                group.close()
        finally:
            for group in groups:
                group.close()
    return result


class EngineGroup:
    """The processes of all engines and of the control, with the same number of threads."""

    def __init__(
        self, names: Sequence[str], problem: Path, threads: int, until: float | None = None
    ) -> None:
        """until  of time.perf_counter(): an engine that is not ready then is left out."""
        self.names, self.problem, self.threads, self.until = names, problem, threads, until
        self.workers: dict[str, Worker] = {}
        self.control: Worker | None = None
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        self.left_out: dict[tuple[str, str, int], str] = {}
        self.crashed: list[str] = []
        self.errors: dict[tuple[str, str, int], float] = {}

    def start(self) -> None:
        """Start a process for every engine.  On Linux it is killed when the calling thread ends."""
        for name in (CONTROL, *self.names):
            self.workers[name] = self._start(name)

    def prepare(self, problem: Problem, right: Answers) -> None:
        """Wait until every engine is imported, compiled and compared with the reference."""
        self.wait_for_imports()
        self.check(problem, right)

    def wait_for_imports(self) -> None:
        """Wait until all engines are imported; note each one's version, or why it is absent."""
        for name in self.names:
            try:
                answer = self.workers[name].receive(self._until(name))
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
        """Compare every engine's answers with the reference, see `note_error`.

        `restart_crashed` starts an engine again that crashed in training, for its forward passes.
        """
        tasks = tasks_of(problem.name)
        for task, batch in tasks:
            asked = [n for n in self.workers if task == "forward" or ENGINES[n].trains]
            for name in asked:  # in parallel: most of it is compiling
                path = str(self._answer_path(name))
                self.workers[name].send("answer", path=path, batch=batch, task=task)
            for name in list(self.workers):
                if name not in asked:
                    self.left_out[name, task, batch] = "does not train"
                    continue
                try:
                    self.workers[name].receive(self._until(name))
                except NotReady as failure:
                    self.absent[name] = str(failure)
                    self.workers.pop(name).close()
                    continue
                except WorkerFailed as failure:
                    self.left_out[name, task, batch] = str(failure)
                    if not self.workers[name].is_running():
                        self.crashed.append(name)
                    continue
                with np.load(self._answer_path(name), allow_pickle=False) as answer:
                    if task == "forward":
                        found = error(answer["logits"], right.logits[:batch])
                    else:
                        found = training_error(answer, right)
                self.note_error(name, task, batch, found)

    def restart_crashed(self) -> None:
        """To be called in the thread that times: see `start`."""
        for name in self.crashed:
            self.workers[name].close()
            self.workers[name] = self._start(name)
            self.workers[name].receive(self._until(name))
        self.crashed = []

    def _start(self, name: str) -> Worker:
        threads = 1 if name == CONTROL else self.threads
        worker = Worker(name, self.problem, threads, label=f"{name} {self.threads}")
        worker.send("open")
        return worker

    def _until(self, name: str) -> float | None:
        """Our own kernels may have to be compiled, once: tinycnn is waited for."""
        return None if name == OURS else self.until

    def _answer_path(self, name: str) -> Path:
        return self.problem.with_name(f"answer {name} {self.threads}.npz")

    def note_error(self, name: str, task: str, batch: int, found: float) -> None:
        """Keep the error of an engine's answers; one above MAX_ERROR excludes it from the task."""
        self.errors[name, task, batch] = found
        most = MAX_ERROR if task == "forward" else MAX_TRAINING_ERROR
        if not found <= most:
            self.left_out[name, task, batch] = (
                f"disagrees with the reference by {found:.1e} (more than {most:g}): not timed"
            )

    def time(self, task: str, batch: int, effort: Effort) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row of a task, and the control's times in the same rounds."""
        assert self.control is not None, "call `prepare` first"
        able = [name for name in self.workers if (name, task, batch) not in self.left_out]
        job = {"task": task, "batch": batch}
        times: dict[str, list[float]] = {name: [] for name in able}
        n_calls: dict[str, int] = {}
        slow: list[str] = []
        control: list[float] = []
        started, ours_s = time.perf_counter(), effort.turn_s
        order = np.random.default_rng(0)
        for k in range(-1, effort.n_rounds):  # round -1 finds how many calls fill a turn
            if k >= MIN_ROUNDS and time.perf_counter() - started > effort.row_s:
                break
            for name in order.permutation([n for n in times if n not in slow]).tolist():
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
            if k == 1 and times:
                best = {name: min(found) for name, found in times.items()}
                slow = [n for n in best if n != OURS and best[n] > SLOW * min(best.values())]
            # a turn as long as our own, so that it is interrupted as often
            answer = self.control.ask("time", task="forward", batch=1, turn_s=ours_s)
            control.append(answer["seconds"])
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


def training_error(answer: Mapping[str, np.ndarray], right: Answers) -> float:
    """The error of the losses of the first few steps, or if larger that of the first gradient.

    The losses check Adam: they change only through its steps.  Of the gradient: |a - b| / |b| in
    norm, of all parameters together.  At a tie of a ReLU or max-pooling it jumps, and rounding
    errors decide; of a million values a few are almost tied.  In norm these count little.
    """
    squares = [
        (np.square(answer[f"gradients/{name}"] - gradient).sum(), np.square(gradient).sum())
        for name, gradient in right.gradients.items()
    ]
    wrong, whole = np.sum(squares, axis=0)
    return max(error(answer["losses"], right.losses), float(np.sqrt(wrong / whole)))
