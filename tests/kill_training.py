"""kill -9 at random moments: no file is broken, and resumed runs end with the same bits.

    python tests/kill_training.py                 a hundred kills, about two minutes
    python tests/kill_training.py --seed 7        the same moments, as closely as timing allows
    python tests/kill_training.py --kills 9 --only training

Each job is killed, checked and started again until it ends by itself.  Its result is then compared
with that of the same job without kills.  Jobs that only write files write two versions in turn
until they are killed.  Children are forked from a process that has already compiled everything, so
they start quickly; this needs POSIX.  Exit status: 0 if all is well.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import toy_sweep  # noqa: E402
import training_run  # noqa: E402
from small_networks import small_network  # noqa: E402
from test_train import contents  # noqa: E402
from test_train_student import SmallFer2013, program, untimed_lines  # noqa: E402

import ferdata  # noqa: E402
import tinycnn  # noqa: E402
from ferdata.files.cache import cached_by  # noqa: E402
from ferdata.sources.packed import load_packed, save_packed  # noqa: E402
from tinycnn import checkpoint, cli, sweep  # noqa: E402
from tinycnn.export import c_compiler, python_file  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def forked(work: Callable[[], Any], log: Path) -> int:
    """Fork a child that calls work(), in a process group of its own; its output goes to `log`."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1), os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (open(k, "w", buffering=1) for k in (1, 2))
        status = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def killed_after(pid: int, delay_s: float) -> int | None:
    """Kill the process and its children after that time.  Its exit status if it ended before."""
    end = time.monotonic() + delay_s
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(min(0.002, max(end - time.monotonic(), 0)))
    for kill in (os.killpg, os.kill):  # the group exists only once the child has made it
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def parts_in(folder: Path) -> set[Path]:
    """The partly written files that killed writers left behind."""
    return set(folder.rglob(".*.part"))


class Job:
    """Something to be killed.  `begin` starts or resumes it in self.folder.  `look` raises if a
    file there is broken, `compare` if the result differs from that of an undisturbed run."""

    seconds = 0.3
    """The latest moment of a kill."""

    def __init__(self, folder: Path) -> None:
        self.place, self.log, self.runs = folder, folder / "log", itertools.count()
        self.new_folder()

    def new_folder(self) -> None:
        self.folder = self.place / str(next(self.runs))
        self.folder.mkdir(parents=True)

    def begin(self) -> int:
        return forked(self.work, self.log)

    def work(self) -> int | None:
        raise NotImplementedError

    def look(self) -> None:
        pass


class Resumed(Job):
    """A job that ends by itself.  It is first run undisturbed, for its result and its duration."""

    n_parts_of_a_run = 2

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.work()  # in this process, so that the children inherit what it compiles
        self.new_folder()
        started = time.monotonic()
        self.check_end(killed_after(self.begin(), 600))
        self.seconds = (time.monotonic() - started) / self.n_parts_of_a_run
        self.expected = self.result()
        self.new_folder()

    def result(self) -> Any:
        raise NotImplementedError

    def check_end(self, status: int | None) -> None:
        if status != 0:
            raise AssertionError(f"ended with {status}:\n{self.log.read_text()[-2000:]}")

    def compare(self, status: int) -> None:
        self.check_end(status)
        found = self.result()
        different = [key for key in self.expected if found.get(key) != self.expected[key]]
        assert not different and found.keys() == self.expected.keys(), f"differs in {different}"
        assert not parts_in(self.folder), parts_in(self.folder)


class Training(Resumed):
    """`iter_epochs` with dropout, Adam, early stopping, and a best epoch that is not the last."""

    options = dict(backend="numba", n_threads=1, n_epochs=60, patience=12)

    def work(self) -> None:
        resume = checkpoint.path_in(self.folder).exists()
        training_run.train("adam constant", self.folder, resume=resume, **self.options)

    def look(self) -> None:
        if not checkpoint.path_in(self.folder).exists():
            return
        rows = checkpoint.records_in(self.folder)
        assert [row["epoch"] for row in rows] == list(range(len(rows)))
        best = tinycnn.load(self.folder / checkpoint.BEST, backend="numpy")
        # the best of the records, or of the epoch whose checkpoint was not written
        best_epoch = max(row["epoch"] for row in rows if row["is_best"])
        assert best.training_summary["epoch"] in (best_epoch, len(rows))
        tinycnn.load(checkpoint.path_in(self.folder), backend="numpy")

    def result(self) -> dict[str, Any]:
        found = contents(self.folder)
        n_epochs = len(found["records"])
        assert n_epochs < self.options["n_epochs"], "it did not stop early"
        assert not found["records"][-1]["is_best"]
        return found


class Student(Resumed):
    """examples/train_student.py, with its history, calibration, predictions and report."""

    options = ["--epochs", 4, "--batch-size", 16, "--rows", 32, "--threads", 1, "--patience", 3]

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.small = SmallFer2013(folder)
        super().__init__(folder)

    def work(self) -> int:
        words = ["--out", self.folder / "run"]
        if (self.folder / "run" / "config.json").exists():
            words.append("--resume")
        else:
            words += [*self.small.options(), *self.options]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(sys.stdout):
            return program.main([str(word) for word in words])

    def look(self) -> None:
        for path in (self.folder / "run").rglob("[!.]*"):
            if path.suffix == ".safetensors":
                tinycnn.load(path, backend="numpy")
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".jsonl":
                assert all(json.loads(line) for line in path.read_text().splitlines())
                assert path.read_text()[-1:] in ("", "\n")
            elif path.suffix == ".csv":
                assert len(path.read_text().splitlines()) == 16
            elif path.suffix == ".html":
                assert path.read_text().rstrip().endswith("</html>")

    def result(self) -> dict[str, Any]:
        run = self.folder / "run"
        found = dict(contents(run), history=untimed_lines(run))
        assert (run / "report.html").exists()
        return found | {"predictions": (run / "predictions.csv").read_text()}


class Sweep(Resumed):
    """A sweep of six trials in two processes, run as a separate program."""

    def work(self) -> int:
        return 0

    def begin(self) -> int:
        program = ROOT / "tests" / "toy_sweep.py"
        command = [sys.executable, program, self.folder, "2", os.devnull, "0"]
        with open(self.log, "w") as log:
            return subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log).pid

    def look(self) -> None:
        folder = sweep.SweepFolder(self.folder)
        for name in sweep.names(toy_sweep.TRIALS, "toy"):
            if folder.is_done(name):
                folder.result(name)
            elif checkpoint.path_in(folder.work_path(name)).exists():
                checkpoint.records_in(folder.work_path(name))

    def result(self) -> dict[str, Any]:
        named = sweep.names(toy_sweep.TRIALS, "toy")
        outcome = sweep.SweepFolder(self.folder).outcome(named)
        assert not outcome.failures and len(outcome.results) == len(named)
        return toy_sweep.untimed(outcome)


class Writing(Job):
    """Writes two versions of a file in turn until it is killed."""

    def work(self) -> None:
        for version in itertools.cycle((0, 1)):
            self.write(version)

    def look(self) -> None:
        """Also write once more undisturbed: that removes the partial files of killed writers."""
        self.read()
        for version in (1, 0):
            pid = forked(lambda version=version: self.write(version), self.log)
            assert killed_after(pid, 600) == 0, self.log.read_text()[-2000:]
            assert self.read() == version
        assert not parts_in(self.folder)

    def write(self, version: int) -> None:
        raise NotImplementedError

    def read(self) -> int | None:
        """Which of the two versions the file is; None: no file.  Raises if it is neither."""
        raise NotImplementedError


class Caching(Writing):
    """ferdata's cache of a parsed source."""

    def pixels(self, version: int) -> np.ndarray:
        return np.full((200, 48, 48), version + 1, np.uint8)

    def cached(self, version: int, build: Callable[[], dict[str, np.ndarray]]) -> np.ndarray:
        with mock.patch.dict(os.environ, FERDATA_CACHE_DIR=str(self.folder)):
            return cached_by("faces", "here", lambda: f"version {version}", build)["pixels"]

    def write(self, version: int) -> None:
        self.cached(version, lambda: {"pixels": self.pixels(version)})

    def read(self) -> int | None:
        entries = [path for path in self.folder.iterdir() if path.suffix == ".npz"]
        for version in (0, 1):
            with contextlib.suppress(LookupError):
                assert (self.cached(version, _not_there) == self.pixels(version)).all()
                return version
        assert not entries, "an entry of neither version"
        return None


def _not_there() -> dict[str, np.ndarray]:
    raise LookupError


class Packing(Writing):
    """The file that `ferdata pack` writes."""

    faces = [ferdata.render_faces(3, 1, size_px=48, seed=seed) for seed in (0, 1)]

    def write(self, version: int) -> None:
        save_packed(self.faces[version], self.folder / "faces.npz")

    def read(self) -> int | None:
        if not (self.folder / "faces.npz").exists():
            return None
        found = load_packed(self.folder / "faces.npz").content_hash()
        return [faces.content_hash() for faces in self.faces].index(found)


class SoftLabels(Writing):
    """A teacher's file, as .npz and as .csv."""

    def logits(self, version: int) -> np.ndarray:
        return np.random.default_rng(version).normal(size=(500, 3)).astype(np.float32)

    def write(self, version: int) -> None:
        keys = dict(kind="logits", classes=("a", "b", "c"), rows=np.arange(500))
        for name in ("teacher.csv", "teacher.npz"):
            ferdata.save_soft_labels(self.folder / name, self.logits(version), **keys)

    def read(self) -> int | None:
        found = None
        for path in self.folder.glob("teacher.*"):
            values = ferdata.load_soft_labels(path).values
            (found,) = [v for v in (0, 1) if np.allclose(values, self.logits(v), atol=1e-5)]
        return found


class Converting(Writing):
    """`tinycnn convert`, the whole command."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.networks = [small_network("miniature", "numba", np.float32, seed) for seed in (0, 1)]
        for version, network in enumerate(self.networks):
            tinycnn.save(network, self.place / f"{version}.safetensors")
        self.write(0)  # compiled here, for all children

    def write(self, version: int) -> None:
        self.command(
            "convert", self.place / f"{version}.safetensors", self.folder / "o.safetensors"
        )

    def command(self, *words: object) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            assert cli.main([str(word) for word in words]) == 0

    def read(self) -> int | None:
        if not (self.folder / "o.safetensors").exists():
            return None
        found = tinycnn.load(self.folder / "o.safetensors", backend="numpy").parameter_vector
        return [n.parameter_vector.tobytes() for n in self.networks].index(found.tobytes())


class Exporting(Converting):
    """`tinycnn export` to Python and C, without the check of the program: that writes elsewhere and
    would take most of the time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.texts: dict[str, list[str]] = {".py": [], ".c": []}
        for version in (0, 1):
            self.write(version)
            for suffix, texts in self.texts.items():
                texts.append((self.folder / f"o{suffix}").read_text(encoding="utf-8"))
        self.header = (self.folder / "o.h").read_text(encoding="utf-8")  # has no weights
        self.new_folder()

    def write(self, version: int) -> None:
        agreed = mock.patch.object(python_file, "_run", lambda source, images: (None, None))
        silent = mock.patch.multiple(
            python_file,
            check_agreement=lambda *arguments: None,
            check_probabilities=lambda *arguments: None,
        )
        with agreed, silent, mock.patch.object(c_compiler, "compiler", lambda: None):
            for to, name in (("python", "o.py"), ("c", "o.c")):
                model = self.place / f"{version}.safetensors"
                self.command("export", model, "--to", to, "--out", self.folder / name)

    def read(self) -> int | None:
        found = None
        for path in self.folder.glob("o.*"):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".h":
                assert text == self.header
            else:
                found = self.texts[path.suffix].index(text)
        return found


SHARES = {
    Training: 40,
    Student: 16,
    Sweep: 8,
    Caching: 8,
    Packing: 8,
    SoftLabels: 8,
    Converting: 6,
    Exporting: 6,
}
"""Of a hundred kills."""


def kill(job: Job, n_kills: int, rng: random.Random) -> tuple[int, int]:
    """(how many kills left a partly written file, how many runs ended by themselves)."""
    n_done = n_within = n_ends = 0
    while n_done < n_kills:
        before = parts_in(job.folder)
        status = killed_after(job.begin(), rng.uniform(0, job.seconds))
        if status is None:
            n_done += 1
            n_within += bool(parts_in(job.folder) - before)
            job.look()
        elif isinstance(job, Resumed):
            job.compare(status)
            n_ends += 1
            job.new_folder()
        else:
            raise AssertionError(f"ended with {status}:\n{job.log.read_text()[-2000:]}")
    if isinstance(job, Resumed):  # the run that is still unfinished
        job.compare(killed_after(job.begin(), 600))
        n_ends += 1
    return n_within, n_ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--kills", type=int, default=100, metavar="N", help="number of kills (default: 100)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of their moments (default: from the clock)"
    )
    names = [kind.__name__.lower() for kind in SHARES]
    parser.add_argument(
        "--only", choices=names, action="append", help="only this job; can be repeated"
    )
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    chosen = {k: n for k, n in SHARES.items() if not args.only or k.__name__.lower() in args.only}
    total = sum(chosen.values())
    n_kills = n_within = 0
    with tempfile.TemporaryDirectory(prefix="kill-training-") as folder:
        for kind, share in chosen.items():
            name, started = kind.__name__.lower(), time.monotonic()
            n = max(round(args.kills * share / total), 1)
            try:
                job = kind(Path(folder) / name)
                within, ends = kill(job, n, random.Random(f"{seed} {name}"))
            except Exception as error:
                traceback.print_exc()
                again = f"--seed {seed} --kills {args.kills}"
                print(f"{name}: {error or type(error).__name__}\nrepeat: {again} --only {name}")
                return 1
            n_kills, n_within = n_kills + n, n_within + within
            compared = f", {ends} runs to the same bits" if ends else ""
            seconds = time.monotonic() - started
            print(f"{name}: {n} kills, {within} mid-write{compared} ({seconds:.0f} s)", flush=True)
    print(f"{n_kills} kills, {n_within} while a file was half written: nothing broken or lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
