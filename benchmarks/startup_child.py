"""A fresh process that imports an engine, predicts once, and says how long it took.

    python -m benchmarks.startup_child ENGINE PROBLEM.npz STARTED

ENGINE is a name of `peers.ENGINES`, "tinycnn numpy" (its NumPy backend), "tinycnn trains" (a
prediction and a training step) or "numpy" (import only).  STARTED is time.time() of the parent when
it started this process.  Nothing but the standard library is imported before the engine.
"""

import importlib
import json
import sys
import time
from pathlib import Path


def main() -> None:
    name, problem_path, process_started = sys.argv[1:4]
    started = time.perf_counter()
    importlib.import_module(_IMPORTS.get(name) or _engine(name).imports)
    imported = time.perf_counter()
    if name != "numpy":
        _predict(name, Path(problem_path))
    answer = {"import_s": imported - started, "first_s": time.time() - float(process_started)}
    answer["cpu_s"] = time.process_time()  # since the process began, and on all its threads
    print("\n" + json.dumps({**answer, "peak_bytes": _peak_bytes()}))


_OURS = ("tinycnn", "tinycnn numpy", "tinycnn trains")
_IMPORTS = {"numpy": "numpy", **dict.fromkeys(_OURS, "tinycnn")}


def _engine(name: str):
    from .peers import ENGINES

    return ENGINES[name]


def _predict(name: str, problem_path: Path) -> None:
    from .problem import load_problem
    from .workers import usable_cores

    problem, threads = load_problem(problem_path), len(usable_cores())
    if name in _OURS:
        from .peers import ours

        ours.forward(problem, 1, threads, backend="numpy" if "numpy" in name else "numba")()
        if name == "tinycnn trains":
            ours.training(problem, threads).step()
        return
    adapter = importlib.import_module(f"benchmarks.peers.{_engine(name).module}")
    adapter.forward(problem, 1, threads)()


def _peak_bytes() -> int:
    """Most memory this process ever held.  Linux hands a parent's ru_maxrss down through fork, so
    the process's own high-water mark is read where there is one."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(v for v in status if v.startswith("VmHWM")).split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
