"""Time and memory for opening data sets: from their source, from the cache, and packed.

    python -m benchmarks.datasets

The data sets are a FER2013 CSV file with all 35,887 rows of random pixels, and a folder of 84x84
images with a subfolder per class. Each row of the table is measured in processes of its own. On a
busy machine look at the CPU time. The memory is the largest amount after the imports (VmHWM, which
only Linux has), divided by the size of the pixels.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .table import render, significant

N_FER2013, N_DISTINCT = 35_887, 300
USAGE = ((28_709, "Training"), (3_589, "PublicTest"), (3_589, "PrivateTest"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--images", type=int, default=10_000, help="number of image files in the folder (10000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of processes; the fastest is shown (3)"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return _measure(options.child)
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinycnn-data-") as name:
        folder = Path(name)
        os.environ["FERDATA_CACHE_DIR"] = str(folder / "cache")
        _write_fer2013(folder / "fer2013.csv")
        _write_classes(folder / "classes", options.images)
        _pack(folder)
        for what in ("fer2013.csv", "classes"):
            rows.append([what, "source", *_child(folder / what, 1)])
            rows.append([what, "cache", *_child(folder / what, options.rounds)])
        rows.append(["fer2013.npz", "packed", *_child(folder / "fer2013.npz", options.rounds)])
    header = ["what", "read from", "images", "MB of pixels", "s", "CPU s", "memory / pixels"]
    print(render(header, rows))
    return 0


def _child(path: Path, n_times: int) -> list[str]:
    """The measured columns of a row: the shortest times and the largest memory of n_times runs."""
    command = [sys.executable, "-m", "benchmarks.datasets", "--child", str(path)]
    runs = [
        subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.split()
        for _ in range(n_times)
    ]
    fastest = min(runs, key=lambda run: float(run[2]))
    cpu, most = min(float(run[3]) for run in runs), max(float(run[4]) for run in runs)
    return [*fastest[:2], significant(float(fastest[2])), significant(cpu), f"{most:.2f}"]


def _measure(path: str) -> int:
    """Open the data set and print what `_child` reads."""
    import ferdata
    import ferdata.sources.dataset_loading  # noqa: F401

    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
    start, cpu_start = time.perf_counter(), time.process_time()
    dataset = ferdata.open(path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    most = (_kilobytes("VmHWM") - before) * 1024
    n_bytes = dataset.images.nbytes
    print(
        len(dataset),
        f"{n_bytes / 1e6:.1f}",
        f"{seconds:.4f}",
        f"{cpu:.4f}",
        f"{most / n_bytes:.4f}",
    )
    return 0


def _kilobytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status: no {name}")


def _write_fer2013(path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.integers(0, 256, 48 * 48))) for _ in range(N_DISTINCT)]
    usage = [name for n, name in USAGE for _ in range(n)]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("emotion,pixels,Usage\n")
        for i in range(N_FER2013):
            file.write(f"{i % 7},{texts[i % N_DISTINCT]},{usage[i]}\n")


def _write_classes(folder: Path, n: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(1)
    for i in range(n):
        path = folder / ("happy", "anger", "sadness")[i % 3] / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < N_DISTINCT:
            Image.fromarray(rng.integers(0, 256, (84, 84), dtype=np.uint8)).save(path)
        else:
            os.link(folder / path.parent.name / f"{i % N_DISTINCT:05d}.png", path)


def _pack(folder: Path) -> None:
    import ferdata

    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (N_FER2013, 48, 48), dtype=np.uint8)
    ids = np.array([f"{i:05d}" for i in range(N_FER2013)])
    ferdata.save_packed(ferdata.FaceDataset(images=images, ids=ids), folder / "fer2013.npz")


if __name__ == "__main__":
    sys.exit(main())
