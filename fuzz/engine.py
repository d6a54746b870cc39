"""Fuzzes one reader, in a process of its own.

A finding is an input that makes the reader
- raise another error than those it documents, or one whose message is not a single line,
- take more than MAX_SECONDS, or
- use more than MAX_BYTES of memory above what the process had shortly before.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fuzz.mutation import mutated
from fuzz.readers import READERS, Reader

MAX_SECONDS, MAX_BYTES, MAX_INPUT_BYTES = 10, 1_000_000_000, 20_000
MAX_MESSAGE = 5000  # characters


class Finding(Exception):
    """A finding that is no exception of the reader itself; the message says what happened."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    n_inputs, seconds  how many inputs were read, and in which time
    finding            the output of the process that failed, "" if nothing was found
    kept_as            file of the input that was found
    """

    n_inputs: int
    seconds: float
    finding: str = ""
    kept_as: Path | None = None


def check(reader: Reader, data: bytes) -> None:
    """Read one input.  Every exception from here is a finding."""
    try:
        reader.read(data)
    except reader.errors as error:
        cause: BaseException | None = error
        while cause is not None:
            # FFmpeg's own, of the package av, says that it refuses a size in the file
            if isinstance(cause, MemoryError) and not type(cause).__module__.startswith("av."):
                raise Finding(f"needs more than {MAX_BYTES:,} bytes of memory") from error
            cause = cause.__cause__ or cause.__context__
        text = str(error)
        if not text or "\n" in text or len(text) > MAX_MESSAGE:
            raise Finding(f"the message is not a single line: {text[:200]!r}") from error


def run(
    name: str, corpus: Path, findings: Path, n_inputs: int, seconds: float, seed: int, guided: bool
) -> Outcome:
    """Fuzz the reader `name` until a limit is reached or something is found.

    corpus             folder of its files;  findings: folder for inputs that are found
    n_inputs, seconds  limits; 0: no limit
    guided             by coverage; atheris must have instrumented the readers then
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_disk()) as work:
        log, began = Path(work) / "log", time.monotonic()
        process = os.fork()
        if process == 0:
            status = 70
            try:
                with open(log, "wb") as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                sys.stdout = sys.stderr = open(1, "w", buffering=1, encoding="utf-8", closefd=False)
                _child(name, corpus, Path(work), n_inputs, seconds, seed, guided)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(process, 0)
        return _outcome(name, Path(work), findings, status, time.monotonic() - began)


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _outcome(name: str, work: Path, findings: Path, status: int, seconds: float) -> Outcome:
    text = (work / "log").read_text(encoding="utf-8", errors="replace")
    counted = re.findall(r"number_of_executed_units: (\d+)|^n_inputs (\d+)", text, re.MULTILINE)
    n_inputs = int("".join(counted[-1])) if counted else 0
    if status == 0:
        return Outcome(n_inputs, seconds)
    inputs = [*work.glob("artifact-*"), *work.glob("current")]
    kept_as = None
    if inputs:
        data = inputs[0].read_bytes()
        kept_as = findings / name / f"found-{hashlib.sha256(data).hexdigest()[:12]}"
        kept_as.parent.mkdir(parents=True, exist_ok=True)
        kept_as.write_bytes(data)
    if os.WIFSIGNALED(status):
        ended = signal.Signals(os.WTERMSIG(status)).name
        text += (
            f"\nended by SIGALRM: an input took more than {MAX_SECONDS} s"
            if ended == "SIGALRM"
            else f"\nended by {ended}"
        )
    return Outcome(n_inputs, seconds, text[-6000:], kept_as)


def _child(
    name: str, corpus: Path, work: Path, n_inputs: int, seconds: float, seed: int, guided: bool
) -> None:
    place = work / "files"
    place.mkdir()
    reader = READERS[name](place)
    (work / "new").mkdir()
    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())] if corpus.is_dir() else []
    for data in seeds:  # late imports and caches are then part of the memory before
        check(reader, data)
    _limit_memory()
    if guided:
        _run_guided(reader, corpus, work, n_inputs, seconds, seed)
    else:
        _run_mutations(reader, seeds, work, n_inputs, seconds, seed)


def _limit_memory() -> None:
    """Let the process take MAX_BYTES more than it has now.

    Called again now and then: atheris itself takes about a kilobyte more with each input, and after
    a million inputs nothing would be left for the reader.
    """
    import resource  # Windows has none

    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MAX_BYTES, resource.RLIM_INFINITY))


def can_run() -> bool:
    """Whether this system has what limits time and memory here: fork, alarm and /proc."""
    return sys.platform == "linux"


def _run_guided(
    reader: Reader, corpus: Path, work: Path, n_inputs: int, seconds: float, seed: int
) -> None:
    import atheris

    options = {
        "runs": n_inputs or -1,
        "max_total_time": int(seconds),
        "seed": seed + 1,  # atheris takes 0 for a random seed
        "timeout": MAX_SECONDS,
        "rss_limit_mb": 0,  # no limit: that of the address space is enough
        "max_len": MAX_INPUT_BYTES,
        "print_final_stats": 1,
        "artifact_prefix": f"{work}/artifact-",
    }
    arguments = [f"-{key}={value}" for key, value in options.items()]
    folders = [str(work / "new")] + ([str(corpus)] if corpus.is_dir() else [])
    n_checked = 0

    def check_and_keep(data: bytes) -> None:
        nonlocal n_checked
        n_checked += 1
        if n_checked % 1000 == 0:
            _limit_memory()
        try:
            check(reader, data)
        except BaseException:
            (work / "current").write_bytes(data)
            raise

    atheris.Setup(["fuzz", *arguments, *folders], check_and_keep)
    atheris.Fuzz()  # ends the process


def _run_mutations(
    reader: Reader, seeds: list[bytes], work: Path, n_inputs: int, seconds: float, seed: int
) -> None:
    seeds = seeds or [b""]
    current, began, done = work / "current", time.monotonic(), 0
    while (not n_inputs or done < n_inputs) and (not seconds or time.monotonic() - began < seconds):
        rng = np.random.default_rng([seed, done])
        data = mutated(seeds[int(rng.integers(len(seeds)))], rng)[:MAX_INPUT_BYTES]
        current.write_bytes(data)
        signal.alarm(MAX_SECONDS)  # ends the process
        try:
            check(reader, data)
        finally:
            signal.alarm(0)
            done += 1
            if done % 1000 == 0:
                print("n_inputs", done)
    print("n_inputs", done)
