"""A new process that imports an engine, predicts once, and prints how long that took, as JSON.

    python -m benchmarks.startup_child ENGINE PROBLEM.npz STARTED

ENGINE is a name in `peers.ENGINES`, "tinycnn numpy" (its NumPy backend), "tinycnn auto" (its
default), "tinycnn until kernels" (the default, until the kernels answer), "tinycnn predict" (the
command, for the photo beside PROBLEM.npz), "tinycnn trains" (a prediction and a training step) or
"numpy" (only the import).  STARTED is the parent's time.time()
when it started this process.  Only the standard library is imported before the engine.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .peers import Engine


def main() -> None:
    name, problem_path, process_started = sys.argv[1:4]
    started = time.perf_counter()
    importlib.import_module(_IMPORTS.get(name) or _engine(name).imports)
    imported = time.perf_counter()
    if name != "numpy":
        _predict(name, Path(problem_path))
    answer = {"import_s": imported - started, "first_s": time.time() - float(process_started)}
    answer["cpu_s"] = time.process_time()  # of all threads, since the process started
    print("\n" + json.dumps({**answer, "peak_bytes": _peak_bytes()}))


_OURS = (
    *("tinycnn", "tinycnn numpy", "tinycnn trains", "tinycnn auto", "tinycnn until kernels"),
    "tinycnn predict",
)
_IMPORTS = {"numpy": "numpy", **dict.fromkeys(_OURS, "tinycnn")}


def _engine(name: str) -> Engine:
    from .peers import ENGINES

    return ENGINES[name]


def _predict(name: str, problem_path: Path) -> None:
    if name == "tinycnn predict":
        from tinycnn.cli import main as command

        if command(["predict", str(problem_path.with_name("photo.png"))]):
            raise RuntimeError("tinycnn predict has failed")
        return
    from .problem import load_problem
    from .workers import usable_cores

    problem, threads = load_problem(problem_path), len(usable_cores())
    if name in _OURS:
        from .peers import ours

        backend = {"tinycnn numpy": "numpy", "tinycnn auto": "auto"}.get(name, "numba")
        if name == "tinycnn until kernels":
            ours.until_kernels_answer(problem, threads)
            return
        ours.forward(problem, 1, threads, backend=backend)()
        if name == "tinycnn trains":
            ours.training(problem, threads).step()
        return
    adapter = importlib.import_module(f"benchmarks.peers.{_engine(name).module}")
    adapter.forward(problem, 1, threads)()


def _peak_bytes() -> int:
    """The largest amount of memory that this process ever had.

    It is read from /proc if possible: on Linux ru_maxrss can be that of the parent, before fork.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(v for v in status if v.startswith("VmHWM")).split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
