"""The process of one engine: reads requests from stdin and answers them, one JSON line each.

    python -m benchmarks.worker ENGINE PROBLEM.npz THREADS CORES [TINYCNN_ROOT]

CORES         comma-separated; the process restricts itself to them before it imports the engine
TINYCNN_ROOT  folder of the tinycnn to be measured, if it is not this one
Requests: {"do": "open"}, {"do": "answer", ...}, {"do": "time", ...}, with the arguments of the
methods do_open, do_answer and do_time below.
The answer {"failed": ...} says why a request failed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .peers import Training

WARM_UP_S = 0.02
"""Least time of the calls before the timed ones: threads of the engine timed before may still spin
for some milliseconds, which would slow down short calls more than long ones."""


def main() -> None:
    engine, problem_path, threads, cores = sys.argv[1:5]
    if sys.argv[5:]:
        sys.path.insert(0, sys.argv[5])
        # An editable install would supply modules that the other version does not have.
        sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in f.__module__]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    _die_with_parent()
    # The engines' own output must not mix with the answers: it is redirected to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    served = _Served(engine, Path(problem_path), int(threads))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(served, f"do_{request.pop('do')}")(**request)
        except Exception as error:  # whatever the engine raises, the others are still measured
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; while stopped it cannot notice that."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL))


class _Served:
    """Answers the requests; the engine's tasks are made when they are first needed."""

    def __init__(self, engine: str, problem_path: Path, threads: int) -> None:
        self.engine, self.problem_path, self.threads = engine, problem_path, threads
        self.calls: dict[tuple[str, int], Callable[[], Any]] = {}
        self.trained: Training | None = None

    def do_open(self) -> dict[str, Any]:
        """Import the engine; {"version"}, or {"missing": why} if it is not installed."""
        import importlib

        from .peers import CONTROL, ENGINES
        from .problem import load_problem

        if self.engine == CONTROL:
            self.adapter = importlib.import_module("benchmarks.peers.control")
            self.problem = load_problem(self.problem_path)
            return {"version": ""}
        engine = ENGINES[self.engine]
        try:
            module = importlib.import_module(engine.imports)
        except ImportError as error:
            return {"missing": str(error)}
        self.adapter = importlib.import_module(f"benchmarks.peers.{engine.module}")
        self.problem = load_problem(self.problem_path)
        return {"version": str(getattr(module, "__version__", ""))}

    def do_answer(self, path: str, batch: int, task: str) -> dict[str, Any]:
        """Write the logits, or for the task "train" losses and gradients, to the .npz file
        `path`."""
        import numpy as np

        from .problem import N_CHECKED_STEPS, save_arrays

        arrays: dict[str, np.ndarray] = {}
        if task == "forward":
            arrays["logits"] = np.asarray(self._call(task, batch)())
        else:
            trained = self._training()
            gradients = trained.gradients()
            arrays.update({f"gradients/{name}": g for name, g in gradients.items()})
            trained.reset()
            arrays["losses"] = np.array([trained.step() for _ in range(N_CHECKED_STEPS)])
        save_arrays(Path(path), arrays)
        return {}

    def do_time(
        self, task: str, batch: int, n_calls: int = 0, turn_s: float = 0.0
    ) -> dict[str, Any]:
        """{"seconds": per call, "n_calls"} of n_calls calls in a row, or of as many as fill turn_s;
        the calls before them are not timed."""
        call = self._call(task, batch)
        if task == "train":
            self._training().reset()
        started = time.perf_counter()
        n_warm, spent = 0, 0.0
        while n_warm < 1 or spent < WARM_UP_S:
            call()
            n_warm += 1
            spent = time.perf_counter() - started
        if not n_calls:
            n_calls = max(int(turn_s / (spent / n_warm)), 1)
        started = time.perf_counter()
        for _ in range(n_calls):
            call()
        return {"seconds": (time.perf_counter() - started) / n_calls, "n_calls": n_calls}

    def _call(self, task: str, batch: int) -> Callable[[], Any]:
        key = (task, batch)
        if key not in self.calls:
            if task == "forward":
                self.calls[key] = self.adapter.forward(self.problem, batch, self.threads)
            else:
                self.calls[key] = self._training().step
        return self.calls[key]

    def _training(self) -> Training:
        if self.trained is None:
            self.trained = self.adapter.training(self.problem, self.threads)
        return self.trained


if __name__ == "__main__":
    main()
