"""Trials in processes of this machine, each on its share of the cores.

A process that is killed takes nothing with it but the epoch it was in: its trial goes on in
another.  Workers end with the process that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import Any

from ..parallel import usable_cores
from .folder import Outcome, SweepFolder
from .trial import Source, Trial, names
from .work import Report, SweepError, work

N_ATTEMPTS = 3
"""How often a trial is begun whose process dies under it."""

_BUSY_PAUSE_S = 1.0
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Progress = Callable[[int, int, int], None]
"""progress(n_done, n_failed, n_trials): at the start, and after every trial."""


def run(
    trials: Sequence[Trial],
    source: Source,
    folder: str | Path,
    *,
    n_processes: int | None = None,
    backend: str = "auto",
    retry_failed: bool = False,
    keep_models: bool = False,
    progress: Progress = lambda n_done, n_failed, n_trials: None,
) -> Outcome:
    """Run the trials that have no result in `folder` yet; returns the results of all.

    n_processes   None: one a core; each takes its share of the cores, so none is used twice
    retry_failed  run trials again that failed before; otherwise they are listed as failed
    keep_models   keep each trial's network as models/<name>.safetensors; a result without one is
                  then not done
    Results do not depend on the number of processes.  A trial that fails does not stop the others.
    Stopped by Ctrl-C, or killed, the sweep goes on from the last epochs when it is run again.
    Processes are spawned: a program that calls this needs `if __name__ == "__main__":`.
    Raises OSError where the folder cannot be written, SweepFolderError for a result that is none,
    SweepError where processes do not start, KeyboardInterrupt after Ctrl-C.
    """
    kept = SweepFolder(folder)
    named = names(trials, source.key)
    outcome, waiting = begin(kept, named, retry_failed, keep_models)
    progress(len(outcome.results), len(outcome.failures), len(named))
    if waiting:
        setting = (source, str(kept.path), backend, keep_models)
        with _Crew(min(n_processes or usable_cores(), len(waiting)), setting) as crew:
            for name, report in crew.work(waiting):
                if report.status == "done":
                    outcome.results[name] = kept.result(name)
                else:
                    if not report.traceback:  # it died, and could not keep its failure itself
                        kept.save_failure(name, named[name], report.error)
                    outcome.failures[name] = report.error
                progress(len(outcome.results), len(outcome.failures), len(named))
    outcome.results = {name: outcome.results[name] for name in named if name in outcome.results}
    return outcome


def begin(
    kept: SweepFolder, named: dict[str, Trial], retry_failed: bool, keep_models: bool
) -> tuple[Outcome, dict[str, Trial]]:
    """What is known of the trials, and those that are still to be run."""
    outcome = kept.outcome(named, keep_models)
    if retry_failed:
        for name in outcome.failures:
            kept.failure_path(name).unlink(missing_ok=True)
        outcome.failures = {}
    known = {*outcome.results, *outcome.failures}
    return outcome, {name: trial for name, trial in named.items() if name not in known}


@dataclass
class _Worker:
    process: Any
    connection: connection.Connection
    n_threads: int
    is_ready: bool = False
    name: str | None = None
    """The trial that it is at."""

    def send(self, message: tuple) -> None:
        with contextlib.suppress(OSError):  # it died: that is heard of next
            self.connection.send(message)


class _Crew:
    """Worker processes, replaced when they die; all are gone when the `with` ends."""

    def __init__(self, n_processes: int, setting: tuple) -> None:
        if n_processes < 1:
            raise ValueError(f"n_processes is {n_processes}; expected 1 or more")
        n_cores = usable_cores()
        shares = [n_cores // n_processes + (k < n_cores % n_processes) for k in range(n_processes)]
        self.free_shares = [max(share, 1) for share in shares]
        self.setting = setting
        self.workers: list[_Worker] = []
        self.n_false_starts = 0

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.process.kill()  # checkpoints are whole at any moment
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()

    def work(self, trials: dict[str, Trial]) -> Iterator[tuple[str, Report]]:
        """Yield each trial's name and report ("done" or "failed"), as they come."""
        queue, n_left = [(0.0, name) for name in trials], len(trials)  # not before then
        attempts = dict.fromkeys(trials, 0)
        while n_left:
            while self.free_shares and len(self.workers) < n_left:
                self._start()
            for worker in self.workers:
                due = next((entry for entry in queue if entry[0] <= time.monotonic()), None)
                if due and worker.is_ready and worker.name is None:
                    queue.remove(due)
                    worker.name = due[1]
                    worker.send((due[1], trials[due[1]]))
            is_idle = any(worker.is_ready and worker.name is None for worker in self.workers)
            pause_s = max(queue[0][0] - time.monotonic(), 0) if queue and is_idle else None
            for worker in self._heard_from(pause_s):
                report, name = self._hear(worker), worker.name
                if name is None:
                    continue
                worker.name = None
                if report is None:
                    attempts[name] += 1
                    if attempts[name] < N_ATTEMPTS:
                        queue.insert(0, (0.0, name))
                        continue
                    text = f"its process died {N_ATTEMPTS} times (out of memory?)"
                    report = Report("failed", text)
                if report.status == "busy":  # in another sweep's hands: others first
                    queue.append((time.monotonic() + _BUSY_PAUSE_S, name))
                    continue
                if report.status == "impossible":
                    raise SweepError(report.error)
                n_left -= 1
                yield name, report

    def _start(self) -> None:
        share = self.free_shares.pop()
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(there,), name="tinycnn-trial", daemon=True
        )
        with _no_interrupt(), _one_thread_in_libraries():
            process.start()
        there.close()
        self.workers.append(_Worker(process, here, share))

    def _heard_from(self, timeout_s: float | None) -> list[_Worker]:
        ready = connection.wait([worker.connection for worker in self.workers], timeout_s)
        return [worker for worker in self.workers if worker.connection in ready]

    def _hear(self, worker: _Worker) -> Report | None:
        """What it says of its trial; None if it died (it is put away), or has just started."""
        try:
            report = worker.connection.recv()
        except (EOFError, OSError):
            self._put_away(worker)
            return None
        if report.status == "awake":  # only now: to send sooner would wait for its imports
            worker.send((*self.setting, worker.n_threads))
        elif report.status == "ready":
            worker.is_ready, self.n_false_starts = True, 0
        return report

    def _put_away(self, worker: _Worker) -> None:
        worker.process.join()
        worker.connection.close()
        self.workers.remove(worker)
        self.free_shares.append(worker.n_threads)
        if not worker.is_ready:
            self.n_false_starts += 1
            if self.n_false_starts >= N_ATTEMPTS:
                raise SweepError(
                    f"worker processes end as soon as they start (exit {worker.process.exitcode}): "
                    'does the program call the sweep under `if __name__ == "__main__":`?'
                )


@contextlib.contextmanager
def _no_interrupt() -> Iterator[None]:
    """Processes started inside hear no Ctrl-C, not even before they can say so: it is the
    parent's business.  What comes meanwhile comes afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own start would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _one_thread_in_libraries() -> Iterator[None]:
    """Processes started inside let NumPy's own libraries start no threads: they would be more than
    there are cores, and sums would depend on how many."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(pipe: connection.Connection) -> None:
    """A worker process: gets the data once, then trials, one at a time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send(Report("awake"))
        source, path, backend, keep_models, n_threads = pipe.recv()
        pipe.send(Report("ready"))
        folder = SweepFolder(path)
        while True:
            name, trial = pipe.recv()

            def keep(report: Report, name: str = name, trial: Trial = trial) -> None:
                if report.status == "done":
                    folder.save_result(name, report.result, report.model)
                else:
                    folder.save_failure(name, trial, report.error, report.traceback)

            options = dict(n_threads=n_threads, backend=backend, with_model=keep_models)
            report = work(trial, name, source, folder, keep=keep, **options)
            pipe.send(report._replace(result=None, model=None))
    except (EOFError, BrokenPipeError):
        pass  # the sweep is over


def _end_with_parent() -> None:
    """A worker whose sweep is killed ends at once: the next sweep goes on from its last epoch."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
