"""Start-up costs of tinycnn and its peers: import, first prediction, memory, disk space.

With backend "auto" NumPy answers first, and another process compiles the kernels where the cache
has none (`tinycnn.first_predictions`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import installed_size
from .measures import OURS, quartiles
from .peers import ENGINES
from .problem import make_problem
from .table import render, significant
from .workers import environment

MISSING = "not installed"

AUTO, UNTIL_KERNELS, COMMAND = "tinycnn auto", "tinycnn until kernels", "tinycnn predict"
"""Engines of `startup_child`."""

PHOTO = "photo.png"
"""The name of a photo beside the problem's file."""


def measure(n_runs: int) -> list[dict[str, Any]]:
    """A row for each engine and way to start: medians of n_runs processes, or of one process if it
    has to compile."""
    with tempfile.TemporaryDirectory(prefix="tinycnn-bench-") as name:
        folder = Path(name)
        problem, cache = folder / "problem.npz", str(folder / "cache")
        make_problem().save(problem)
        _save_photo(folder / PHOTO)
        rows = [_row("python and numpy", "numpy", problem, cache, n_runs, ("numpy",))]
        for title, engine, runs in (
            ("tinycnn, auto, no cache", AUTO, n_runs),
            ("tinycnn predict PHOTO, no cache", COMMAND, n_runs),
        ):
            rows += [_row(title, engine, problem, "", runs, ("tinycnn",))]
        for title, engine, runs in (
            ("tinycnn, auto, no cache, until kernels answer", UNTIL_KERNELS, 1),
            ("tinycnn, auto", AUTO, n_runs),
            ("tinycnn, kernels, no cache: compiles what is missing", OURS, 1),
            ("tinycnn, kernels", OURS, n_runs),
            ("tinycnn and a training step: compiles more", "tinycnn trains", 1),
            ("tinycnn and a training step", "tinycnn trains", n_runs),
            ("tinycnn, NumPy backend", "tinycnn numpy", n_runs),
            ("tinycnn predict PHOTO", COMMAND, n_runs),
        ):
            rows += [_row(title, engine, problem, cache, runs, ("tinycnn",))]
        for engine, (_, packages, _, _) in ENGINES.items():
            if engine not in (OURS, "torch nhwc"):
                rows.append(_row(engine, engine, problem, cache, n_runs, packages))
    return rows


def _row(
    title: str, engine: str, problem: Path, cache: str, n_runs: int, packages: tuple[str, ...]
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": title}
    try:
        runs = [_run(engine, problem, cache) for _ in range(n_runs)]
    except _ChildFailed as failure:
        return {**row, "failed": str(failure)}
    for key in ("import_s", "first_s", "cpu_s", "peak_bytes"):
        row[key] = quartiles([run[key] for run in runs]).median
    row["install_bytes"], row["install_with_requirements_bytes"] = installed_size.sizes(packages)
    return row


class _ChildFailed(RuntimeError):
    """The process ended with an error; the message is the last line of stderr."""


def _run(engine: str, problem: Path, cache: str) -> dict[str, float]:
    """cache: the folder of both caches.  "": the process begins with an empty one, which is removed
    after it; so the process that compiles ends too."""
    folder = cache or tempfile.mkdtemp(prefix="cache-", dir=problem.parent)
    variables = {f"{name}_CACHE_DIR": f"{folder}/{name}" for name in ("TINYCNN", "FERDATA")}
    command = [sys.executable, "-m", "benchmarks.startup_child", engine, str(problem)]
    command.append(repr(time.time()))
    child = subprocess.run(
        command,
        env=environment(**variables, TINYCNN_COMPILER_PROCESS="1", TINYCNN_WAIT_FOR_KERNELS="0"),
        cwd=problem.parent,
        capture_output=True,
        encoding="utf-8",
    )
    if not cache:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(1.0)
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        missing = last.startswith(("ModuleNotFoundError", "ImportError"))
        raise _ChildFailed(MISSING if missing else last)
    return json.loads(child.stdout.strip().splitlines()[-1])


def _save_photo(path: Path) -> None:
    """A photo with one face, 512x512."""
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(path)


def text(rows: list[dict[str, Any]]) -> str:
    """The rows of `measure` as a table."""
    header = ["", "import s", "first prediction s", "CPU s"]
    header += ["peak MB", "package MB", "with requirements MB"]
    cells = []
    for row in rows:
        if "failed" in row:
            cells.append((row["name"], *"------"))
            continue
        megabytes = [
            significant(row[key] / 1e6)
            for key in ("peak_bytes", "install_bytes", "install_with_requirements_bytes")
        ]
        seconds = [significant(row[key]) for key in ("import_s", "first_s", "cpu_s")]
        cells.append((row["name"], *seconds, *megabytes))
    lines = ["", render(header, cells)]
    lines += ["first prediction: from the start of a new process to the logits of one image"]
    lines += [
        "auto: NumPy answers first; another process compiles what the cache does not have",
        "tinycnn predict PHOTO: until the command has printed the expression of a face in a photo",
    ]
    lines += ["CPU: processor time until then; other work on the machine hardly changes it"]
    lines += [f"left out: {row['name']}: {row['failed']}" for row in rows if "failed" in row]
    lines += [
        "package: size on disk; with requirements: with all packages that pip installs for it"
    ]
    return "\n".join(lines)
