"""Memory over a hundred thousand training steps, a million predictions and a million images.

    python tests/memory_growth.py                   all of it, about three minutes
    python tests/memory_growth.py --share 0.02      a fiftieth

Prints the anonymous memory of the process during each of the three (Linux: RssAnon; memory mapped
from files does not count, the system can take it back).  Exits with 1 if the memory at the end is
more than 4 MB above that after the first tenth.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from pathlib import Path

import numpy as np

from tinycnn import Adam, CrossEntropy, Dense, Flatten, InputSpec, MaxPool2D, Network, iter_epochs

N_STEPS, N_PREDICTIONS, N_IMAGES = 100_000, 1_000_000, 1_000_000
SIZE_PX, N_CLASSES = 84, 8
ALLOWED_MB = 4.0


def memory_mb() -> float:
    """Anonymous memory of this process, after a garbage collection."""
    gc.collect()
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024


class Course:
    """Prints the memory after every tenth of the work."""

    def __init__(self, title: str, n: int) -> None:
        self.title, self.n, self.seen = title, n, [memory_mb()]
        self.marks = [n * k // 10 for k in range(1, 11)]
        print(f"{title} ({n:,}): {self.seen[0]:.1f}", end="", flush=True)

    def reached(self, k: int) -> None:
        if len(self.seen) <= len(self.marks) and k >= self.marks[len(self.seen) - 1]:
            self.seen.append(memory_mb())
            print(f" {self.seen[-1]:.1f}", end="", flush=True)

    def grew_mb(self, allowance_mb: float = 0.0) -> float:
        """Growth since the first tenth, in which buffers that are kept are filled."""
        grown = self.seen[-1] - self.seen[1] - allowance_mb
        print(f" MB: {grown:+.2f} since the first tenth", flush=True)
        return grown


def tiny_network(size_px: int, n_threads: int) -> Network:
    layers = [MaxPool2D(4), Flatten(), Dense(N_CLASSES)]
    return Network(layers, InputSpec(size_px, size_px), n_threads=n_threads)


class Endless:
    """Repeats the same few batches, in epochs of a thousand steps."""

    n_batches, n_images = 1000, 8000

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (64, 12, 12), dtype=np.uint8)
        self.labels = rng.integers(0, N_CLASSES, 64)

    def __call__(self, epoch: int):
        for k in range(self.n_batches):
            part = slice(k % 8 * 8, k % 8 * 8 + 8)
            yield self.images[part], self.labels[part], None


def training(share: float, n_threads: int) -> float:
    n_epochs = max(int(N_STEPS * share) // Endless.n_batches, 1)
    network, batches = tiny_network(12, n_threads), Endless()
    course = Course("training steps", n_epochs * batches.n_batches)
    options = dict(loss=CrossEntropy(), optimizer=Adam(1e-3), n_epochs=n_epochs)
    with tempfile.TemporaryDirectory() as folder:
        for record in iter_epochs(network, batches, folder=folder, **options):
            course.reached((record.epoch + 1) * batches.n_batches)
    return course.grew_mb()


def predictions(share: float, n_threads: int) -> float:
    n = int(N_PREDICTIONS * share)
    network, image = tiny_network(12, n_threads), Endless().images[:1]
    course = Course("predictions", n)
    for k in range(n):
        network.predict_proba(image)
        course.reached(k + 1)
    return course.grew_mb()


def stream(share: float, n_threads: int) -> float:
    """One call that predicts a file of images larger than memory: np.memmap in, logits out."""
    n = int(N_IMAGES * share)
    network = tiny_network(SIZE_PX, n_threads)
    course = Course(f"images of {SIZE_PX}x{SIZE_PX} px", n)
    with tempfile.TemporaryFile() as file:
        file.truncate(n * SIZE_PX**2)  # all zeros: a sparse file, which takes no room on disk
        images = np.memmap(file, np.uint8, "r", shape=(n, SIZE_PX, SIZE_PX))
        scaled, n_seen = network._scaled, 0

        def counting(part: np.ndarray, runner: object) -> np.ndarray:
            nonlocal n_seen
            n_seen += len(part)
            course.reached(n_seen)
            return scaled(part, runner)

        network._scaled = counting
        logits = network.predict_logits(images)
    assert logits.shape == (n, N_CLASSES) and np.isfinite(logits).all()
    return course.grew_mb(allowance_mb=logits.nbytes / 2**20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        metavar="X",
        help="share of the steps, predictions and images, up to 1 (default: 1)",
    )
    parser.add_argument(
        "--threads", type=int, default=2, metavar="N", help="threads of the networks (default: 2)"
    )
    args = parser.parse_args()
    if not Path("/proc/self/status").exists():
        sys.exit("error: needs /proc/self/status, as Linux has it")
    grown = [measure(args.share, args.threads) for measure in (training, predictions, stream)]
    print("no growth" if max(grown) <= ALLOWED_MB else "IT GROWS")
    return 0 if max(grown) <= ALLOWED_MB else 1


if __name__ == "__main__":
    sys.exit(main())
