"""The parent's side of `worker`: start an engine's process, ask it, stop it while others run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CAN_STOP = hasattr(signal, "SIGSTOP")


class WorkerFailed(RuntimeError):
    """An engine's process answered with a failure, or died."""


def usable_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_for(threads: int) -> list[int]:
    """The last `threads` of the usable cores: the first gets most of the system's own work."""
    return usable_cores()[-threads:]


def environment(**extra: str) -> dict[str, str]:
    """Of a child process: ours, with this project importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **extra}


class Worker:
    """A running engine.  Between two requests its process is stopped: it uses no core."""

    def __init__(
        self, engine: str, problem: Path, threads: int, tinycnn_root: str = "", label: str = ""
    ) -> None:
        """tinycnn_root: the folder whose tinycnn it takes, else this one.  label: tells processes
        of one engine apart."""
        cores = ",".join(str(core) for core in cores_for(threads))
        log = f"{label or engine.replace(' ', '_')}.{threads}.log"
        self._errors = open(problem.with_name(log), "w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"]
            + [engine, str(problem), str(threads), cores]
            + ([tinycnn_root] if tinycnn_root else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(),
            cwd=problem.parent,
        )
        self._stopped = False

    def send(self, do: str, **arguments: Any) -> None:
        """Ask, without waiting for the answer."""
        self._continue()
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it died: `receive` says how

    def receive(self) -> dict[str, Any]:
        """The answer to what was sent; the process is stopped then.  Raises WorkerFailed."""
        line = self._process.stdout.readline()
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

    def close(self) -> None:
        self._continue()
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _continue(self) -> None:
        if self._stopped:
            self._process.send_signal(signal.SIGCONT)
            self._stopped = False
