"""Starts the processes of `worker`, sends them requests, and stops them while others are timed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CAN_STOP = hasattr(signal, "SIGSTOP")


class WorkerFailed(RuntimeError):
    """An engine's process reported a failure, or died."""


class NotReady(WorkerFailed):
    """An engine's process did not answer in time, and was ended."""


def usable_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_for(threads: int) -> list[int]:
    """The last `threads` usable cores: the first core does most of the system's own work."""
    return usable_cores()[-threads:]


def environment(**extra: str) -> dict[str, str]:
    """The environment for a child process: ours, with this project on the import path."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **extra}


class Worker:
    """A running engine.  Between two requests its process is stopped, so it uses no processor."""

    def __init__(
        self, engine: str, problem: Path, threads: int, tinycnn_root: str = "", label: str = ""
    ) -> None:
        """tinycnn_root: folder of the tinycnn to be measured, if it is not this one.

        label: name of the log file, different for each process of an engine.
        """
        cores = ",".join(str(core) for core in cores_for(threads))
        log = f"{label or engine.replace(' ', '_')}.{threads}.log"
        self._errors = open(problem.with_name(log), "w+", encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.worker"]
        command += [engine, str(problem), str(threads), cores]
        self._process = subprocess.Popen(
            command + ([tinycnn_root] if tinycnn_root else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env=environment(),
            cwd=problem.parent,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._stopped = False

    def send(self, do: str, **arguments: Any) -> None:
        """Send a request, without waiting for the answer."""
        self._continue()
        try:
            self._requests.write(json.dumps({"do": do, **arguments}) + "\n")
            self._requests.flush()
        except OSError:
            pass  # the process died; `receive` reports it

    def receive(self, until: float | None = None) -> dict[str, Any]:
        """Wait for the answer, then stop the process.  Raises WorkerFailed.

        until  of time.perf_counter(): a process that has not answered then is ended.  (Windows
               cannot wait for a pipe for a limited time: it waits on.)
        """
        if until is not None and CAN_STOP:
            left = max(until - time.perf_counter(), 0.0)
            if not select.select([self._answers], [], [], left)[0]:
                self._process.kill()
                self._process.wait()
                raise NotReady("not ready in the time that --quick gives it")
        line = self._answers.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:] or ["no message"]
            raise WorkerFailed(f"ended with status {self._process.returncode}: {last[0]}")
        if CAN_STOP:
            self._process.send_signal(signal.SIGSTOP)
            self._stopped = True
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerFailed(answer["failed"].splitlines()[0])
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.send(do, **arguments)
        return self.receive()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._continue()
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _continue(self) -> None:
        if self._stopped and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._stopped = False
