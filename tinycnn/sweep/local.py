"""Trials in worker processes on this machine.  Each uses its share of the cores.

If a worker is killed, only its current epoch is lost: another worker resumes the trial.  Workers
end with the process that started them, even if that is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from ..parallel import usable_cores
from .folder import Outcome, SweepFolder
from .trial import Source, Trial, names
from .waiting import WaitingTrials
from .work import Report, SweepError, work

N_ATTEMPTS = 3
"""A trial fails if its worker dies so many times."""

_BUSY_PAUSE_S = 1.0  # then a trial that another sweep works on is tried again
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Progress = Callable[[int, int, int], None]
"""progress(n_done, n_failed, n_trials) is called at the start and after every trial."""


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
    """Run the trials that have no result in `folder` yet.  Returns the results of all trials.

    n_processes   None: one for each core.  The cores are divided among the processes
    retry_failed  run trials that failed before again; otherwise they count as failed
    keep_models   keep each trial's network as models/<name>.safetensors.  A trial without one is
                  then run again
    Results do not depend on the number of processes.  A trial that fails does not stop the others,
    but for the students of a teacher that fails: these fail too.  A student starts when its
    teacher's soft labels are in the folder; the teacher is one of the trials, or trained by another
    sweep in the same folder.
    A sweep that was stopped by Ctrl-C or killed resumes from the last epochs when it is run again.
    Processes are spawned: a program that calls this needs `if __name__ == "__main__":`.
    Raises OSError if the folder cannot be written, SweepFolderError for an unusable result file,
    SweepError if processes do not start or only students without a teacher are left,
    KeyboardInterrupt after Ctrl-C.
    """
    kept = SweepFolder(folder)
    named = names(trials, source.key)
    outcome, waiting = begin(kept, named, retry_failed, keep_models)
    progress(len(outcome.results), len(outcome.failures), len(named))
    if waiting:
        setting = (source, str(kept.path), backend, keep_models)
        with _Crew(min(n_processes or usable_cores(), len(waiting)), setting) as crew:
            for name, report in crew.work(WaitingTrials(waiting, source.key, kept)):
                if report.status == "done":
                    outcome.results[name] = kept.result(name)
                else:
                    if not report.traceback:  # the worker died and could not write the failure
                        kept.save_failure(name, named[name], report.error)
                    outcome.failures[name] = report.error
                progress(len(outcome.results), len(outcome.failures), len(named))
    outcome.results = {name: outcome.results[name] for name in named if name in outcome.results}
    return outcome


def begin(
    kept: SweepFolder, named: dict[str, Trial], retry_failed: bool, keep_models: bool
) -> tuple[Outcome, dict[str, Trial]]:
    """The outcome so far, and the trials that still have to run."""
    outcome = kept.outcome(named, keep_models)
    if retry_failed:
        for name in outcome.failures:
            kept.failure_path(name).unlink(missing_ok=True)
        outcome.failures = {}
    ended = {*outcome.results, *outcome.failures}
    return outcome, {name: trial for name, trial in named.items() if name not in ended}


@dataclass
class _Worker:
    process: BaseProcess
    connection: connection.Connection
    n_threads: int
    is_ready: bool = False
    trial_name: str | None = None

    def send(self, message: tuple[object, ...]) -> None:
        with contextlib.suppress(OSError):  # it has died; _receive will notice
            self.connection.send(message)


class _Crew:
    """Worker processes.  Those that die are replaced; all have ended when the `with` ends."""

    def __init__(self, n_processes: int, setting: tuple[Source, str, str, bool]) -> None:
        """setting: the data, the sweep's folder, the backend, whether to keep the networks."""
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
            worker.process.kill()  # checkpoints are written atomically
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()

    def work(self, waiting: WaitingTrials) -> Iterator[tuple[str, Report]]:
        """Yield the name and the report ("done" or "failed") of each trial when it ends."""
        n_left, attempts = len(waiting.trials), dict.fromkeys(waiting.trials, 0)
        while n_left:
            for student, failed in waiting.without_teacher().items():
                n_left -= 1
                yield student, failed
            if not n_left:
                break
            if not any(worker.trial_name for worker in self.workers):
                waiting.check_teachers()
            while self.free_shares and len(self.workers) < n_left:
                self._start()
            for worker in self.workers:
                if worker.is_ready and worker.trial_name is None and (due := waiting.take()):
                    worker.trial_name = due
                    worker.send((due, waiting.trials[due]))
            is_idle = any(worker.is_ready and not worker.trial_name for worker in self.workers)
            # wait until workers have sent something or died
            connections = [worker.connection for worker in self.workers]
            ready = connection.wait(connections, waiting.pause_s() if is_idle else None)
            for worker in [worker for worker in self.workers if worker.connection in ready]:
                report, name = self._receive(worker), worker.trial_name
                if name is None:
                    continue
                worker.trial_name = None
                if report is None:
                    attempts[name] += 1
                    if attempts[name] < N_ATTEMPTS:
                        waiting.put_back(name, first=True)
                        continue
                    text = f"its process died {N_ATTEMPTS} times (out of memory?)"
                    report = Report("failed", text)
                if report.status == "busy":  # another sweep works on it: run other trials first
                    waiting.put_back(name, _BUSY_PAUSE_S)
                    continue
                if report.status == "impossible":
                    raise SweepError(report.error)
                n_left -= 1
                waiting.ended(name)
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

    def _receive(self, worker: _Worker) -> Report | None:
        """A worker's report; None if it has died and was removed."""
        try:
            report = worker.connection.recv()
        except (EOFError, OSError):
            self._remove(worker)
            return None
        if report.status == "awake":  # sent earlier, the data would block until it has started
            worker.send((*self.setting, worker.n_threads))
        elif report.status == "ready":
            worker.is_ready, self.n_false_starts = True, 0
        return report

    def _remove(self, worker: _Worker) -> None:
        """Give back a dead worker's cores.  Raises SweepError if workers die before they start."""
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
    """Processes that are started inside inherit a blocked SIGINT: only the parent handles Ctrl-C.
    A Ctrl-C that comes meanwhile reaches the parent at the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # if it started inside, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _one_thread_in_libraries() -> Iterator[None]:
    """In processes that are started inside, NumPy's libraries use one thread.  With more there
    would be more threads than cores, and sums would depend on their number."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(pipe: connection.Connection) -> None:
    """The main function of a worker: it receives the data once, then trials, one at a time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send(Report("awake"))
        source, path, backend, keep_models, n_threads = pipe.recv()
        pipe.send(Report("ready"))
        folder = SweepFolder(path)
        do = partial(work, n_threads=n_threads, backend=backend, with_model=keep_models)
        while True:
            name, trial = pipe.recv()

            def keep(report: Report, name: str = name, trial: Trial = trial) -> None:
                if report.result is not None:
                    folder.save_result(name, report.result, report.model, report.soft_labels)
                else:
                    folder.save_failure(name, trial, report.error, report.traceback)

            report = do(trial, name, source, folder, keep=keep)
            # what it has is on disk
            pipe.send(report._replace(result=None, model=None, soft_labels=None))
    except (EOFError, BrokenPipeError):
        pass  # the sweep has ended


def _end_with_parent() -> None:
    """End this worker as soon as its parent has ended, even if that was killed."""
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
    os._exit(1)
