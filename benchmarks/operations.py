"""Time of every operation of a network's table, on one core: which kernel to work on next.

    python -m benchmarks operations NETWORK [--batch N]

The operations run one at a time, in the order of a real pass and for the images that go through the
network together, so that the caches hold nearly what they hold then.  Each call comes from Python;
the time of a call without operations, directly before it, is subtracted.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinycnn.kernel_backend import KernelBackend, Work, chunk_count, chunk_size
from tinycnn.kernel_prediction import KernelPrediction
from tinycnn.kernels import operations as kinds
from tinycnn.kernels import program
from tinycnn.kernels.arrays import Batch, Stage
from tinycnn.kernels.program import Chunks, Phase
from tinycnn.losses import CrossEntropy
from tinycnn.network import Network
from tinycnn.plan import Plan
from tinycnn.workspaces import BatchSpace, make_results

from .measures import quartiles
from .peak import Peak
from .roofline import one_core
from .table import render, significant
from .zoo_networks import ZOO

PASSES = ("prediction", "training")

KIND_NAMES = {
    getattr(kinds, name): name.lower()
    for name in (
        "CONV2D", "MAXPOOL2D", "DENSE", "ACTIVATION", "PRELU", "DROPOUT", "ADD", "SCALE_SHIFT",
        "BATCH_NORM", "BATCH_MOMENTS", "AVERAGEPOOL2D", "DEPTHWISE_CONV2D",
    )
}  # fmt: skip

WITH_MACS = (kinds.CONV2D, kinds.DEPTHWISE_CONV2D, kinds.DENSE)


class Call(NamedTuple):
    """One call of one row of the table.  row: its name;  macs: multiply-adds of the call, counted
    as in direct convolution, with the products on padding."""

    row: str
    run: Callable[[], object]
    macs: int


def measure(name: str, batch: int, n_rounds: int) -> dict[str, Any]:
    """Times of the network `name` of the zoo, for `batch` images.

    peak_gmac_per_s  of the loop in peak.py
    prediction, training  rows, and the whole pass in one call; see `_time`
    """
    network = ZOO[name].build(n_threads=1, backend="numba")
    rng = np.random.default_rng(0)
    x = rng.random((batch, *network.input_spec.shape)).astype(np.float32)
    labels = rng.integers(0, len(network.classes), batch)
    with one_core():
        peak, peaks = Peak(), list[float]()
        found: dict[str, Any] = {"network": name, "batch": batch}
        found["prediction"] = _time(PredictionCalls(network, x), n_rounds, peak, peaks)
        if ZOO[name].trains:
            found["training"] = _time(TrainingCalls(network, x, labels), n_rounds, peak, peaks)
    found["peak_gmac_per_s"] = quartiles(peaks).median / 1e9
    return found


class _Pass(Protocol):
    """A pass through the network: its calls in order, and all of it in one call.

    nothing  the same call from Python as the others, without an operation
    """

    nothing: Callable[[], object]

    def calls(self) -> list[Call]: ...

    def whole(self) -> object: ...


def _time(timed: _Pass, n_rounds: int, peak: Peak, peaks: list[float]) -> dict[str, Any]:
    """Rounds of the whole pass and of all calls in order.  Each round appends the peak's rate to
    `peaks`.

    rows     {"row", "median_s", "macs"}: of all calls of the row together
    whole_s  median time of the whole pass
    """
    calls, whole, nothing = timed.calls(), timed.whole, timed.nothing
    for _ in range(2):  # compiles, and fills the caches
        whole()
        for call in calls:
            call.run()
    clock = time.perf_counter
    times: dict[str, list[float]] = {call.row: [] for call in calls}
    of_whole = []
    for _ in range(n_rounds):
        started = clock()
        whole()
        of_whole.append(clock() - started)
        spent = dict.fromkeys(times, 0.0)
        for row, run, _ in calls:
            nothing()  # loads what a call needs into the caches again
            before = clock()
            nothing()
            started = clock()
            run()
            spent[row] += clock() - started - (started - before)
        for row, seconds in spent.items():
            times[row].append(seconds)
        peaks.append(peak.rate())
    rows = [
        {
            "row": row,
            "median_s": max(quartiles(found).median, 0.0),
            "macs": sum(call.macs for call in calls if call.row == row),
        }
        for row, found in times.items()
    ]
    return {"rows": rows, "whole_s": quartiles(of_whole).median}


# ---- which calls -------------------------------------------------------------------------------


def row_name(plan: Plan, operations: np.ndarray, k: int) -> str:
    """Operation k in words: "conv1 3x3/1 48x48x1 -> 24x24x16 relu, maxpool, winograd".

    plan  of the flat array in which the operation's weights are
    """
    op = operations[k]
    layers = {offset: name.rpartition(".")[0] for name, (offset, _) in plan.parameter_slots.items()}
    has_parameters = op.w_size > 0 or op.kind == kinds.BATCH_MOMENTS
    layer = layers.get(int(op.w_offset), "") if has_parameters else ""
    kind = KIND_NAMES.get(int(op.kind), "custom")
    window = f"{op.KH}x{op.KW}/{op.SH}" if op.KH else ""
    shape = f"{op.H}x{op.W}x{op.C} -> {op.OH}x{op.OW}x{op.F}"
    extras = [("", "relu", "relu6", "leaky_relu", "sigmoid", "tanh")[int(op.activation)]]
    extras += ["maxpool" if op.pool and op.kind != kinds.MAXPOOL2D else ""]
    extras += ["winograd" if op.winograd else "", "columns" if op.by_columns else ""]
    text = " ".join(filter(None, (layer, kind, window, shape, ", ".join(filter(None, extras)))))
    return f"{k} {text}"


def multiply_adds(op: np.record) -> int:
    """Of an image's forward pass, with the products on padding; 0 for operations without
    weights."""
    if op.kind not in WITH_MACS:
        return 0
    positions = op.conv_OH * op.conv_OW if op.kind == kinds.CONV2D else op.OH * op.OW
    return int(op.w_size * positions)


class PredictionCalls:
    """The forward pass without training: chunk by chunk, each through all operations."""

    def __init__(self, network: Network, x: np.ndarray) -> None:
        run = network._run
        assert isinstance(run, KernelPrediction)
        network.forward(x)
        self.run: KernelPrediction = run._folded() if run.table.sizes.n_moments else run
        self.network, self.x = network, x
        self.space = self.run.prediction_spaces.take(self.run.chunk)
        self.prepared = self.run._prepared_weights()
        table = self.run.prediction_table.operations
        self.nothing: Callable[[], object] = self._one(table, table.size, x[:1])

    def whole(self) -> object:
        return self.network.forward(self.x)

    def _one(self, operations: np.ndarray, begin: int, x: np.ndarray) -> Callable[[], None]:
        no_logits = np.empty((0, self.run.n_classes), x.dtype)
        return lambda: self.run._predict_stage(
            operations, begin, self.prepared, x, self.space, no_logits
        )

    def calls(self) -> list[Call]:
        run, found = self.run, []
        table = run.prediction_table.operations
        for chunk in range(0, len(self.x), run.chunk):
            x = self.x[chunk : chunk + run.chunk]
            for k in range(table.size):
                # weights of dense layers are those of the network, also without BatchNorm
                is_dense = table[k].kind == kinds.DENSE
                row = row_name(self.network.plan if is_dense else run.plan, table, k)
                call = self._one(table[: k + 1], k, x)
                found.append(Call(row, call, len(x) * multiply_adds(table[k])))
        return found


class TrainingCalls:
    """A training step with cross-entropy, in phases of one operation.

    Backward goes through a block of images after the other, as the real step does; so do here the
    operations behind the last one on pictures, which the real step runs for a whole chunk.
    Activations are kept for the whole batch, also where the real step keeps those of a chunk.
    Outputs that backward computes again have a row of their own; the backward row of their
    operation has that work a second time.
    """

    def __init__(self, network: Network, x: np.ndarray, labels: np.ndarray) -> None:
        self.network, self.x, self.labels = network, x, labels
        self.loss = loss = CrossEntropy()
        self.whole()
        run = network._run_training
        assert isinstance(run, KernelBackend) and loss.terms is not None
        self.run: KernelBackend = run
        self.N = N = len(x)
        inputs = loss.check(labels, None, (N, run.n_classes), run.dtype)
        n_blocks = max(-(-N // self._block(stage)) for stage in run.stages)
        space = BatchSpace(run.plan, run.table.sizes, N, n_blocks, run.gradients)
        space.statistics = space.statistics._replace(n_images=N)
        results = make_results(N, run.n_classes, space, 0)
        self.work = Work(Batch(x.reshape(-1), *inputs), loss.terms, space, results)
        self.nothing: Callable[[], object] = self._phase(Stage(0, 0, 0, 0, 1), (0, 0, 0), 0, 1)

    def whole(self) -> object:
        return self.network.loss_and_gradients(self.x, self.loss, self.labels)

    def _phase(self, stage: Stage, flags: tuple[int, int, int], number: int, size: int) -> Any:
        """The call that does a phase for one chunk."""
        phase, counter = Phase(stage, *flags), np.zeros(1, np.int64)
        chunks = Chunks(counter, number + 1, size, 0, 0)

        def run() -> None:
            counter[0] = number
            self.run._run_chunks(phase, self.work, chunks)

        return run

    def _block(self, stage: Stage) -> int:
        """Images of a backward pass of a stage: those of a block, or fewer, so that chunks are
        divided evenly."""
        return max(d for d in range(1, stage.block + 1) if chunk_size(self.N) % d == 0)

    def calls(self) -> list[Call]:
        found = [Call("weights transformed", self._transform_weights, 0)]
        stages = self.run.stages
        for stage in stages[:-1]:
            found += self._between("statistics of the batch", self._before_forward, stage)
            for c in range(chunk_count(self.N)):
                found += self._forward(stage, c)
        found += self._between("statistics of the batch", self._before_forward, stages[-1])
        per_chunk = chunk_size(self.N) // self._block(stages[-1])
        for c in range(chunk_count(self.N)):
            found += self._forward(stages[-1], c)
            empty = Stage(0, 0, 0, 0, 1)
            run = self._phase(empty, (0, 1, 0), c, chunk_size(self.N))
            found.append(Call("loss", run, 0))
            for b in range(c * per_chunk, (c + 1) * per_chunk):
                found += self._backward(stages[-1], b)
        found += self._between("statistics' gradients", self._after_backward, stages[-1])
        for stage in reversed(stages[:-1]):
            for b in range(-(-self.N // self._block(stage))):
                found += self._backward(stage, b)
            found += self._between("statistics' gradients", self._after_backward, stage)
        return [*found, self._collect()]

    def _between(self, row: str, function: Callable[[Stage], None], stage: Stage) -> Iterator[Call]:
        if self.run.has_batch_norm:
            yield Call(row, lambda: function(stage), 0)

    def _before_forward(self, stage: Stage) -> None:
        statistics = self.work.space.statistics
        table, size = self.run.table.operations, chunk_size(self.N)
        program.program_combine_moments(table, stage, statistics, size)

    def _after_backward(self, stage: Stage) -> None:
        gradients = self.work.space.gradients
        program.program_collect_batch_norm(self.run.table.operations, stage, gradients)

    def _forward(self, stage: Stage, c: int) -> Iterator[Call]:
        table, plan, size = self.run.table.operations, self.run.plan, chunk_size(self.N)
        n = min(size, self.N - c * size)
        for k in range(stage.begin, stage.end):
            run = self._phase(Stage(k, k, k + 1, k + 1, size), (1, 0, 0), c, size)
            yield Call(f"{row_name(plan, table, k)} forward", run, n * multiply_adds(table[k]))

    def _backward(self, stage: Stage, b: int) -> Iterator[Call]:
        table, plan = self.run.table.operations, self.run.plan
        block = self._block(stage)
        n = min(block, self.N - b * block)
        if n <= 0:
            return
        for k in range(stage.begin, stage.end):
            if table[k].y_in_block:
                run = self._phase(Stage(k, k, k + 1, k + 1, block), (1, 0, 0), b, block)
                yield Call(f"{row_name(plan, table, k)} again for backward", run, 0)
        for k in reversed(range(stage.begin, stage.end)):
            op = table[k]
            in_blocks = k < stage.block_end
            one = Stage(k, k, k + 1 if in_blocks else k, k + 1, block)
            run = self._phase(one, (0, 0, 1), b, block)
            n_passes = int(op.kind != kinds.DENSE) + int(op.x_from >= 0)  # of w, and of the input
            macs = n * n_passes * multiply_adds(op)
            yield Call(f"{row_name(plan, table, k)} backward", run, macs)

    def _transform_weights(self) -> None:
        self.run._transform_weights(self.run.table.operations)
        program.program_transpose_weights(self.run.weights)

    def _collect(self) -> Call:
        dense = [op for op in self.run.table.operations if op.kind == kinds.DENSE]
        macs = self.N * sum(multiply_adds(op) for op in dense)
        batch, _, space, _ = self.work
        return Call(
            "gradients of the batch (dense weights, sums of chunks)",
            lambda: program.program_collect(
                self.run.weights, batch.x, self.N, space.activations, space.gradients, 0, 1
            ),
            macs,
        )


def text(found: dict[str, Any]) -> str:
    """What `measure` found, as tables."""
    peak = found["peak_gmac_per_s"]
    lines = [f"{ZOO[found['network']].title}: {found['batch']} images, one core"]
    lines += [f"FMA peak of one core: {peak:.1f} GMAC/s (registers only)"]
    for kind in PASSES:
        if kind not in found:
            lines += ["", f"{kind}: left out, the network is not trained as a classifier"]
            continue
        rows, whole = found[kind]["rows"], found[kind]["whole_s"]
        total = math.fsum(row["median_s"] for row in rows)
        header = (kind, "us", "share", "GMAC/s", "of peak")
        cells = []
        for row in rows:
            rate = share = "-"
            if row["macs"] and row["median_s"]:
                speed = row["macs"] / row["median_s"] / 1e9
                rate, share = significant(speed), f"{speed / peak:.0%}"
            us = significant(row["median_s"] * 1e6)
            cells.append((row["row"], us, f"{row['median_s'] / total:.1%}", rate, share))
        macs = sum(row["macs"] for row in rows)
        for title, seconds in (("sum of the rows", total), ("the whole pass, one call", whole)):
            speed = macs / seconds / 1e9
            us, rate = significant(seconds * 1e6), significant(speed)
            cells.append((title, us, "", rate, f"{speed / peak:.0%}"))
        lines += ["", render(header, cells)]
    lines += [
        "",
        "us: median over the rounds, all images together; GMAC/s: products as in direct "
        "convolution, padding included, also where Winograd does fewer",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks operations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", choices=ZOO, help="a network of the zoo")
    parser.add_argument("--batch", type=int, default=64, help="images (default: 64)")
    parser.add_argument("--rounds", type=int, default=51, help="rounds (default: 51)")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a JSON file")
    options = parser.parse_args(arguments)
    for name in ("batch", "rounds"):
        if getattr(options, name) < 1:
            print(f"--{name} {getattr(options, name)}: expected 1 or more", file=sys.stderr)
            return 2
    found = measure(options.network, options.batch, options.rounds)
    print(text(found))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0
