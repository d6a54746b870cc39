"""How long the paper's whole grid takes on few and on many cores, and what limits its speed.

    python -m benchmarks.sweep_scale              simulate with the costs in sweep_scale.py
    python -m benchmarks.sweep_scale --measure    measure the costs first (takes some minutes)

docs/scale.md explains the tables.  Four things can limit the simulated sweep: the workers, the
scheduler, the process that writes the results, and the disk for the checkpoints.  A worker that is
free takes the next trial from the scheduler, in the order of the sweep.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .measures import seconds_per_call
from .table import render, significant

VARIANTS, SIZES = ("v", "p1", "p2", "p12"), ("M", "S", "XS", "XXS")
N_EPOCHS, BATCH_SIZE, N_FOLDS, N_TEMPERATURES = 3000, 64, 10, 7
DATA_SETS = {"CK+": 1574, "Oulu-CASIA": 1440}
SPLITS = ("subject", "random")
IMAGE_BYTES = 84 * 84
CORES = (2, 64, 1000, 10_000)

# Assumptions about the machines of a cluster; these were not measured.
CORES_A_MACHINE = 64
NETWORK_BYTES_PER_S = 1.25e9  # 10 Gbit/s for each machine
DISK_BYTES_PER_S = 1e9  # of the disk that all machines share


@dataclass(frozen=True)
class Costs:
    """Seconds on one core with compiled kernels in the cache, and bytes.

    step_s        a training step of 64 images: network ("p12 XXS") -> seconds
    score_s       a prediction of 64 images, by network
    epoch_s       the rest of an epoch: size -> seconds to write a checkpoint, halfway through 3000
                  epochs;  epoch_bytes  bytes of that checkpoint, by size
    start_s       from the start of a worker process to the end of its first step
    task_s        a trial that does nothing, through scheduler and client on the same machine
    result_s      to write the file of a result;  result_bytes  its length
    """

    step_s: dict[str, float]
    score_s: dict[str, float]
    epoch_s: dict[str, float]
    epoch_bytes: dict[str, float]
    start_s: float
    task_s: float
    result_s: float
    result_bytes: float


def _by_size(variant: str, *milliseconds: float) -> dict[str, float]:
    return {f"{variant} {size}": ms / 1e3 for size, ms in zip(SIZES, milliseconds)}


# On two cores of an AMD EPYC (AVX-512), the best of six rounds, while other programs ran.
MEASURED = Costs(
    step_s={
        **_by_size("v", 19.4, 9.94, 8.89, 8.25),
        **_by_size("p1", 20.8, 11.8, 9.82, 8.8),
        **_by_size("p2", 15.4, 7.67, 6.55, 5.79),
        **_by_size("p12", 16.4, 8.77, 7.47, 7.23),
    },
    score_s={
        **_by_size("v", 6.43, 3.26, 2.85, 2.64),
        **_by_size("p1", 6.39, 3.72, 3.24, 3.04),
        **_by_size("p2", 5.33, 3.11, 2.65, 2.6),
        **_by_size("p12", 5.63, 3.42, 3.15, 2.93),
    },
    epoch_s={"M": 0.071, "S": 0.031, "XS": 0.0234, "XXS": 0.0235},
    epoch_bytes={"M": 11.26e6, "S": 3.23e6, "XS": 1.90e6, "XXS": 1.23e6},
    start_s=1.3,
    task_s=8.5e-3,
    result_s=15.7e-3,
    result_bytes=247e3,
)


# ---- the simulation --------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One trial: how long it takes on a core, and how many bytes of checkpoints it writes per
    second."""

    seconds: float
    bytes_per_s: float


@dataclass(frozen=True)
class Run:
    """A simulated sweep.

    seconds           until the last result is written
    cores_busy, scheduler_busy, writer_busy  share of that time in which they work
    data_s            until all workers have the data
    disk_bytes_per_s  rate at which checkpoints are written
    """

    seconds: float
    cores_busy: float
    scheduler_busy: float
    writer_busy: float
    data_s: float
    disk_bytes_per_s: float


def paper_grid(costs: Costs, n_epochs: int = N_EPOCHS) -> list[Job]:
    """All trainings of the paper: the sixteen networks without a teacher, and p12 with a teacher
    at each temperature."""
    jobs = []
    for n_images in DATA_SETS.values():
        for _ in SPLITS:
            for variant in VARIANTS:
                for size in SIZES:
                    n_times = N_FOLDS * (1 + N_TEMPERATURES * (variant == "p12"))
                    jobs += [job(costs, variant, size, n_images, n_epochs)] * n_times
    return jobs


def job(costs: Costs, variant: str, size: str, n_images: int, n_epochs: int) -> Job:
    """One training: one fold is for test, one for validation, the others are trained on."""
    n_held_out = n_images / N_FOLDS
    n_steps = math.ceil((n_images - 2 * n_held_out) / BATCH_SIZE)
    name = f"{variant} {size}"
    n_scored = math.ceil(n_held_out / BATCH_SIZE)
    epoch_s = n_steps * costs.step_s[name] + n_scored * costs.score_s[name] + costs.epoch_s[size]
    return Job(n_epochs * epoch_s, costs.epoch_bytes[size] / epoch_s)


def data_seconds(n_workers: int, n_bytes: float) -> float:
    """Seconds until the last worker has the data: workers that have them send them on to others,
    and all workers of a machine share its network."""
    a_copy_s = n_bytes / NETWORK_BYTES_PER_S
    return a_copy_s * max(math.ceil(math.log2(n_workers + 1)), min(n_workers, CORES_A_MACHINE))


def simulate(
    jobs: Sequence[Job],
    n_cores: int,
    costs: Costs,
    *,
    data_bytes: float = sum(DATA_SETS.values()) * IMAGE_BYTES,
    disk_bytes_per_s: float = math.inf,
    longest_first: bool = False,
) -> Run:
    """A sweep on n_cores workers with one core each.  If the shared disk is too slow for all
    checkpoints, it slows all trials down equally."""
    jobs = sorted(jobs, key=lambda one: -one.seconds) if longest_first else list(jobs)
    n_at_once = min(n_cores, len(jobs))
    core_s = math.fsum(one.seconds for one in jobs)
    wanted = n_at_once * math.fsum(one.bytes_per_s * one.seconds for one in jobs) / core_s
    slower = max(wanted / disk_bytes_per_s, 1.0)
    data_s = data_seconds(n_cores, data_bytes)
    free = [costs.start_s + data_s] * n_at_once
    scheduler_s = writer_s = end_s = 0.0
    finished = []
    for one in jobs:
        begin_s = max(heapq.heappop(free), scheduler_s)
        scheduler_s = begin_s + costs.task_s
        done_s = scheduler_s + one.seconds * slower
        heapq.heappush(free, done_s)
        finished.append(done_s)
    for done_s in sorted(finished):
        writer_s = max(writer_s, done_s) + costs.result_s
        end_s = writer_s
    return Run(
        seconds=end_s,
        cores_busy=core_s / (n_cores * end_s),
        scheduler_busy=len(jobs) * costs.task_s / end_s,
        writer_busy=len(jobs) * costs.result_s / end_s,
        data_s=data_s,
        disk_bytes_per_s=wanted / slower,
    )


def first_limit(costs: Costs, seconds: float) -> float:
    """How many cores the scheduler and the writer of results can keep busy, if a trial takes
    `seconds`."""
    return seconds / max(costs.task_s, costs.result_s)


# ---- measuring -------------------------------------------------------------------------------


def measure(n_rounds: int = 5) -> Costs:
    """Measure the costs on this machine, best of n_rounds rounds.  Needs the extra `sweep`."""
    step_s, score_s = _network_costs(n_rounds)
    epoch_s, epoch_bytes = _checkpoint_costs(n_rounds)
    result_s, result_bytes = _result_costs()
    return Costs(
        step_s=step_s,
        score_s=score_s,
        epoch_s=epoch_s,
        epoch_bytes=epoch_bytes,
        start_s=_start_cost(n_rounds),
        task_s=_task_cost(int(result_bytes)),
        result_s=result_s,
        result_bytes=result_bytes,
    )


def _network_costs(n_rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    import numpy as np

    from tinycnn import Adam, Distillation, models

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH_SIZE, 84, 84), dtype=np.uint8)
    labels, soft = rng.integers(0, 8, BATCH_SIZE), rng.normal(0, 2, (BATCH_SIZE, 8))
    soft, loss = soft.astype(np.float32), Distillation(8.0)
    made = {
        f"{v} {s}": (models.microexpnet(v, s, n_threads=1), Adam(1e-4))
        for v in VARIANTS
        for s in SIZES
    }

    def step(name: str) -> None:
        network, optimizer = made[name]
        logits = network.forward(network.scale(images), training=True)
        network.backward(loss(logits, labels, soft)[1])
        optimizer.step(network.trained_vector, network.trained_gradients)

    step_s = dict.fromkeys(made, math.inf)
    score_s = dict.fromkeys(made, math.inf)
    for _ in range(n_rounds + 1):
        for name, (network, _) in made.items():
            for _ in range(3):
                step_s[name] = min(step_s[name], seconds_per_call(lambda: step(name)))
                score_s[name] = min(
                    score_s[name], seconds_per_call(lambda: network.predict_logits(images))
                )
    return step_s, score_s


def _checkpoint_costs(n_rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    import numpy as np

    from tinycnn import Adam, checkpoint, models
    from tinycnn.train import EpochRecord

    a, b, c, d, e, f, g = np.random.default_rng(0).random(7).tolist()  # with all their digits
    record = EpochRecord(0, a, b, c, d, e, f, g, is_best=False).to_dict()
    seconds, n_bytes = {}, {}
    for size in SIZES:
        network, optimizer = models.microexpnet("p12", size, n_threads=1), Adam(1e-4)
        optimizer.step(network.trained_vector, np.zeros_like(network.trained_vector))
        with tempfile.TemporaryDirectory() as folder:
            records = [record] * (N_EPOCHS // 2)
            times = [
                seconds_per_call(
                    lambda: checkpoint.save_epoch(
                        folder, network, optimizer, {}, records, is_best=False
                    )
                )
                for _ in range(n_rounds)
            ]
            n_bytes[size] = float(checkpoint.path_in(folder).stat().st_size)
        seconds[size] = statistics.median(times)
    return seconds, n_bytes


def _start_cost(n_rounds: int) -> float:
    program = (
        "import numpy as np, ferdata, tinycnn; from tinycnn import sweep, models, CrossEntropy\n"
        "n = models.microexpnet(n_threads=1)\n"
        "z = n.forward(n.scale(np.zeros((64, 84, 84), np.uint8)), training=True)\n"
        "n.backward(CrossEntropy()(z, np.zeros(64, int))[1])"
    )
    run = [sys.executable, "-c", program]
    return min(seconds_per_call(lambda: subprocess.run(run, check=True)) for _ in range(n_rounds))


def _result_costs() -> tuple[float, float]:
    """Seconds and bytes of a written result, of 3000 epochs and two folds of 157 images."""
    import numpy as np

    from tinycnn import sweep

    rng = np.random.default_rng(0)
    part = {"accuracy": 0.5, "loss": 1.0, "predicted": rng.integers(0, 8, 157).tolist()}
    part["confidence"] = [round(x, 4) for x in rng.random(157).tolist()]
    result = {"name": "x", "trial": asdict(sweep.Trial()), "validation": part, "test": part}
    for name in ("train_loss", "train_accuracy", "val_accuracy", "val_loss"):
        result[name] = rng.random(N_EPOCHS).tolist()
    with tempfile.TemporaryDirectory() as path:
        folder = sweep.SweepFolder(path)
        times = [seconds_per_call(lambda: folder.save_result("x", result)) for _ in range(20)]
        return statistics.median(times), float(folder.result_path("x").stat().st_size)


def _task_cost(result_bytes: int, n_tasks: int = 1000) -> float:
    from distributed import Client, LocalCluster, as_completed

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            data = client.scatter(bytes(11_000_000), broadcast=True, hash=False)
            arguments = [dict(index=k) for k in range(n_tasks)]

            def all_tasks() -> None:
                futures = [
                    client.submit(_do_nothing, each, data, result_bytes, pure=False)
                    for each in arguments
                ]
                for future in as_completed(futures):
                    future.result()

            all_tasks()
            return seconds_per_call(all_tasks) / n_tasks


def _do_nothing(arguments: dict[str, int], data: bytes, result_bytes: int) -> str:
    return "x" * result_bytes


# ---- tables ----------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Seconds as text, in a suitable unit: 12 s, 3.4 min, 5.6 h, 7.8 days."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{significant(seconds / unit)} {name}"
    return f"{significant(seconds / 86_400)} days"


def tables(costs: Costs) -> str:
    """The tables in docs/scale.md."""
    grid = paper_grid(costs)
    core_s = sum(one.seconds for one in grid)
    longest, shortest = max(j.seconds for j in grid), min(j.seconds for j in grid)
    lines = [
        f"the paper's grid: {len(grid):,} trials of {N_EPOCHS:,} epochs, "
        f"{duration(core_s)} of one core; a trial takes {duration(shortest)} to "
        f"{duration(longest)}",
        f"a training step of 64 images: {significant(1e3 * costs.step_s['p12 XXS'])} ms for p12 "
        f"XXS, {significant(1e3 * costs.step_s['p12 M'])} ms for p12 M",
        f"an epoch's checkpoint: {significant(1e3 * costs.epoch_s['XXS'])} ms and "
        f"{costs.epoch_bytes['XXS'] / 1e6:.1f} MB for XXS, "
        f"{significant(1e3 * costs.epoch_s['M'])} ms and {costs.epoch_bytes['M'] / 1e6:.1f} MB "
        "for M",
        f"a worker starts in {significant(costs.start_s)} s; a trial costs the scheduler "
        f"{significant(1e3 * costs.task_s)} ms, its result "
        f"({costs.result_bytes / 1e3:.0f} kB) {significant(1e3 * costs.result_s)} ms",
    ]
    rows = []
    for n in CORES:
        plain = simulate(grid, n, costs)
        sorted_ = simulate(grid, n, costs, longest_first=True)
        shared = simulate(grid, n, costs, disk_bytes_per_s=DISK_BYTES_PER_S)
        rows.append(
            [
                f"{n:,}",
                duration(plain.seconds),
                f"{plain.cores_busy:.0%}",
                duration(sorted_.seconds),
                f"{plain.scheduler_busy:.2%}",
                duration(plain.data_s),
                f"{simulate(grid, n, costs).disk_bytes_per_s / 1e6:,.0f} MB/s",
                duration(shared.seconds),
            ]
        )
    head = ["cores", "whole grid", "cores busy", "longest first", "scheduler busy", "data sent"]
    head += ["checkpoints", "on one 1 GB/s disk"]
    lines += ["", render(head, rows), ""]
    rows = []
    for n_epochs in (3000, 300, 30, 3):
        few = paper_grid(costs, n_epochs) * 20  # enough trials to keep all cores busy
        mean = sum(one.seconds for one in few) / len(few)
        row = [f"{n_epochs:,}", duration(mean), f"{first_limit(costs, mean):,.0f}"]
        for n in (64, 1000, 10_000):
            run = simulate(few, n, costs)
            row.append(f"{run.cores_busy:.0%}")
        rows.append(row)
    head = ["epochs", "a trial", "cores it can feed"]
    head += [f"busy of {n:,}" for n in (64, 1000, 10_000)]
    lines += ["twenty such grids, trials of fewer epochs", render(head, rows), ""]
    rows = []
    for title, n_bytes in (
        ("CK+ and Oulu-CASIA", 21e6),
        ("FER2013", 32_298 * 48 * 48),
        ("1 GB", 1e9),
    ):
        row = [title, f"{n_bytes / 1e6:,.0f} MB"]
        row += [duration(data_seconds(n, n_bytes)) for n in (64, 1000, 10_000)]
        rows.append(row)
    head = ["data", "size", "to 64 workers", "to 1,000", "to 10,000"]
    return "\n".join([*lines, render(head, rows)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure the costs on this machine first"
    )
    args = parser.parse_args(argv)
    costs = MEASURED
    if args.measure:
        costs = measure()
        print(json.dumps(asdict(costs), indent=2))
    print(tables(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
