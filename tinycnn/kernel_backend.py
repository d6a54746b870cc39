"""Trains a plan on the Numba kernels: chunk by chunk, in several threads.

A network is a list of stages (`kernels/table.py`).  A training step is a list of phases: the
forward pass of each stage, the loss, and in reverse order the backward pass of each stage.  A phase
runs chunk by chunk, in parallel.  What needs the whole batch is done between phases, by one thread:
a BatchNorm's mean and variance, a layer of the user's own, or a loss that couples the samples.
Unless the loss does that, the last stage and the loss are one phase: the forward pass, the loss and
the backward pass of a chunk follow one another while its activations are in the cache.  Most
networks without BatchNorm have one stage, so this is their whole step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .aligned_arrays import aligned_zeros
from .custom_layers import custom_backward
from .kernel_prediction import KernelPrediction
from .kernels import program
from .kernels.arrays import Activations, Batch, Gradients, Results, Stage, Weights
from .kernels.linking import TRAINING, link
from .kernels.program import Chunks, Phase
from .losses import Loss, LossInputs, LossTerms
from .parallel import Threads, Workers
from .plan import NETWORK_INPUT, Plan
from .step_threads import Part, StepThreads, compile_barrier
from .workspaces import BatchSpace, ChunkSpace, Pool, make_results

N_GRADIENT_CHUNKS = 8
"""A training batch is split into at most this many chunks.  The split depends only on the batch
size, and the chunks' gradients are added in order, so the result does not depend on the threads."""

WORK_OF_STEP = 3
"""The forward and backward pass of a layer compute three products where prediction computes one."""

WORTH_PACKING = 24
"""For so many images of a batch the weights of dense layers are packed: see `packed_weights.py`.
For fewer it takes longer than it saves."""

NO_LOSS = LossTerms(1.0, 0.0, 1.0, 0.0)
NO_STAGE = Stage(0, 0, 0, 0, 1)


class Work(NamedTuple):
    """What the phases of a training step work on."""

    batch: Batch
    terms: LossTerms
    space: BatchSpace
    results: Results


class KernelBackend(KernelPrediction):
    """The `Backend` on the kernels: see `backends.py`.

    name  the backend of losses that are computed between phases: "auto" or "numba"
    """

    def __init__(
        self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray, threads: Threads, name: str
    ) -> None:
        super().__init__(plan, parameters, gradients, threads)
        self.gradients, self.name = gradients, name
        self.ready_to_train = False
        sizes = self.table.sizes
        self.transposed = aligned_zeros(sizes.n_transposed, self.dtype)
        prepared = aligned_zeros(sizes.n_prepared + sizes.n_packed, self.dtype)
        self.weights = self.all_weights = Weights(
            self.table.operations, parameters, self.transposed, parameters, prepared
        )
        self.chunk_spaces = Pool(lambda n: ChunkSpace(plan, sizes, n, self.dtype))
        self.batch_space: BatchSpace | None = None
        self.workers = Workers()  # of all steps: they write into batch_space and the gradients
        self.step_threads = StepThreads(threads.most, self.workers)
        self.forwarded: Work | None = None  # the last `forward`, for `backward`

    def compile_training(self) -> None:
        """Compile the kernels that training calls, as `compile_prediction`."""
        link(self.table.operations, self.dtype, TRAINING)
        space, no_values = self._make_batch_space(0), np.zeros(0, self.dtype)
        results = make_results(0, self.n_classes, space, 0)
        work = Work(_unlabelled(no_values), NO_LOSS, space, results)
        nothing = self.weights._replace(operations=self.table.operations[:0])
        compile_barrier()
        self._transform_weights(nothing.operations)
        program.program_transpose_weights(nothing)
        self._run_chunks(Phase(NO_STAGE, 1, 1, 1), work, _chunks(0, 0))
        program.mean_loss(results.losses)
        program.program_collect(nothing, no_values, 0, space.activations, space.gradients, 0, 1)
        if self.has_batch_norm:
            program.program_combine_moments(nothing.operations, NO_STAGE, space.statistics, 1)
            program.program_update_running(nothing, space.statistics)
            program.program_collect_batch_norm(nothing.operations, NO_STAGE, space.gradients)
        self.ready_to_train = True

    # ---- training ------------------------------------------------------------------------------

    def forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        logits = self._forward(x, masks)
        self._update_running()
        return logits

    def _forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        space = self._begin(len(x), masks)
        results = make_results(len(x), self.n_classes, space, 0)
        self.forwarded = work = Work(_unlabelled(x), NO_LOSS, space, results)
        self._transform_weights(self.table.operations)
        self.step_threads.run(self._forward_parts(self.stages, work), self._n_threads(len(x), 1))
        return results.logits

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        work = self.forwarded
        assert work is not None
        dx = np.empty(work.batch.x.size if wants_dx else 0, self.dtype)
        work = work._replace(results=work.results._replace(dlogits=dlogits, dx=dx))
        program.program_transpose_weights(self.weights)
        n_threads = self._n_threads(len(dlogits), WORK_OF_STEP - 1)
        self.step_threads.run(self._backward_parts(self.stages, work, n_threads), n_threads)
        return dx.reshape(len(dlogits), *self.plan.input_shape) if wants_dx else None

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        terms, last = loss.terms, self.stages[-1]
        if terms is None or last.begin == last.end or not len(x):
            logits = self._forward(x, masks)
            value, dlogits = loss.of_checked(logits, inputs, self.name)
            if math.isfinite(value):
                self.backward(dlogits, wants_dx=False)
                self._update_running()  # last: an interrupted step has not changed them
            return value, logits
        space = self._begin(len(x), masks)
        results = make_results(len(x), self.n_classes, space, 0)
        batch = Batch(x.reshape(-1), *inputs)
        work, phase = Work(batch, terms, space, results), Phase(last, 1, 1, 1)
        n_threads = self._n_threads(len(x), WORK_OF_STEP)
        if not last.begin and n_threads == 1:
            # one call from Python: a call with cold caches takes a tenth of a millisecond
            return self._run_chunks(phase, work, _chunks(len(x), 1)), results.logits
        self._transform_weights(self.table.operations)
        program.program_transpose_weights(self.weights)
        parts = [
            *self._forward_parts(self.stages[:-1], work),
            self._before_forward(last, work),
            self._chunks_part(phase, work),
            Part(lambda thread: math.isfinite(program.mean_loss(results.losses)), by_all=False),
            self._after_backward(last, work),
            *self._backward_parts(self.stages[:-1], work, n_threads),
        ]
        self.step_threads.run(parts, n_threads)
        value = program.mean_loss(results.losses)
        if math.isfinite(value):
            self._update_running()
        return value, results.logits

    def _transform_weights(self, operations: np.ndarray) -> None:
        if self.weights.prepared.size:
            program.program_prepare_weights(
                operations, self.parameters, self.parameters, self.weights.prepared
            )

    # ---- parts of a step -----------------------------------------------------------------------

    def _forward_parts(self, stages: Sequence[Stage], work: Work) -> list[Part]:
        return [
            part
            for stage in stages
            for part in (
                self._before_forward(stage, work),
                self._chunks_part(Phase(stage, 1, 0, 0), work),
            )
        ]

    def _backward_parts(self, stages: Sequence[Stage], work: Work, n_threads: int) -> list[Part]:
        """The backward pass of the stages, and then the gradients of the batch."""
        parts = [
            part
            for stage in reversed(stages)
            for part in (
                self._chunks_part(Phase(stage, 0, 0, 1), work),
                self._after_backward(stage, work),
            )
        ]
        return [*parts, self._collect(work, n_threads)]

    def _before_forward(self, stage: Stage, work: Work) -> Part:
        """What one thread does for the whole batch before the forward pass of a stage: the
        moments of BatchNorms, and the layers of the user's own that come first."""

        def run(thread: int) -> None:
            statistics = work.space.statistics
            if self.has_batch_norm:
                size = chunk_size(statistics.n_images)
                program.program_combine_moments(self.table.operations, stage, statistics, size)
            if stage.first < stage.begin:
                x, (capacity, values, *_) = work.batch.x, work.space.activations
                operations, logits = self.table.operations, work.results.logits
                self._run_custom(operations, stage, x, values, capacity, logits)

        return Part(run, by_all=False)

    def _after_backward(self, stage: Stage, work: Work) -> Part:
        """What one thread does for the whole batch after the backward pass of a stage: the
        gradients of BatchNorms' parameters, and the backward pass of the user's own layers."""

        def run(thread: int) -> None:
            if self.has_batch_norm:
                gradients = _of_chunks(work.space.gradients, len(work.results.logits))
                program.program_collect_batch_norm(self.table.operations, stage, gradients)
            for k in reversed(range(stage.first, stage.begin)):
                self._custom_backward(k, work)

        return Part(run, by_all=False)

    def _chunks_part(self, phase: Phase, work: Work) -> Part:
        """A phase for every chunk of the batch: the threads take chunks in turn."""
        # the other direction than the stages beside it: what they wrote last is in the cache
        from_last = self.stages.index(phase.stage) % 2
        chunks = _chunks(len(work.results.logits), 0, from_last)

        def run(thread: int) -> None:
            if phase.stage.begin < phase.stage.end and chunks.n_chunks:
                self._run_chunks(phase, work, chunks)

        return Part(run, by_all=True)

    def _collect(self, work: Work, n_threads: int) -> Part:
        """The gradients of the parameters from those of the chunks: each thread has a share."""
        (x, *_), _, space, results = work
        n_images = len(results.logits)
        gradients = _of_chunks(space.gradients, n_images)

        def run(thread: int) -> None:
            program.program_collect(
                self.weights, x, n_images, space.activations, gradients, thread, n_threads
            )

        return Part(run, by_all=True)

    def _update_running(self) -> None:
        """Update the running statistics with those of the batch, once in a step."""
        space = self.batch_space
        if space is not None and self.has_batch_norm:
            program.program_update_running(self.weights, space.statistics)

    # ---- layers of the user's own --------------------------------------------------------------

    def _custom_backward(self, k: int, work: Work) -> None:
        """The layer of the user's own that is operation k, backward."""
        (x, *_), _, space, results = work
        capacity, N, operations = space.capacity, len(results.logits), self.table.operations
        op = operations[k]
        values, d_values = space.activations.batch_outputs, space.gradients.batch_outputs
        x_k = self._images(operations, op.x_from, x, values, capacity, N)
        y_k = self._images(operations, k, x, values, capacity, N)
        dy_k = self._images(operations, k, x, d_values, capacity, N, "dy_offset")
        if k == operations.size - 1:
            dy_k[:] = results.dlogits[:N]
        dx = custom_backward(self.custom[k], x_k, y_k, dy_k)
        if op.x_from != NETWORK_INPUT or results.dx.size:
            dx_k = self._images(
                operations, op.x_from, results.dx, d_values, capacity, N, "dy_offset"
            )
            dx = dx.reshape(dx_k.shape)
            dx_k[:] = dx_k + dx if op.adds_dx else dx

    # ---- phases --------------------------------------------------------------------------------

    def _begin(self, n_images: int, masks: Mapping[str, np.ndarray]) -> BatchSpace:
        """The memory for a step of n_images, with the masks copied into it."""
        self.workers.wait()  # a step that Ctrl-C ended may have left some
        prepared, sizes = self.all_weights.prepared, self.table.sizes
        n_prepared = sizes.n_prepared + (sizes.n_packed if n_images >= WORTH_PACKING else 0)
        self.weights = self.all_weights._replace(prepared=prepared[:n_prepared])
        space = self.batch_space
        if space is None or space.capacity < n_images:
            space = self.batch_space = self._make_batch_space(n_images)
        space.statistics = space.statistics._replace(n_images=n_images)
        for name, mask in masks.items():
            start = self.table.mask_offsets[name] * space.capacity
            space.activations.masks[start : start + mask.size] = mask.reshape(-1)
        return space

    def _make_batch_space(self, capacity: int) -> BatchSpace:
        n_chunks = min(N_GRADIENT_CHUNKS, max(capacity, 1))
        return BatchSpace(self.plan, self.table.sizes, capacity, n_chunks, self.gradients)

    def _n_threads(self, n_images: int, passes: int) -> int:
        """For a step.  passes: how many times the work of prediction is done."""
        return self.threads.for_work(chunk_count(n_images), n_images * self.work * passes)

    def _run_chunks(self, phase: Phase, work: Work, chunks: Chunks) -> float:
        """Run a phase for the chunks that no other thread has taken: see `program_step`."""
        chunk_space = self.chunk_spaces.take(chunks.size)
        of_batch, of_chunk = work.space.activations, chunk_space.activations
        # what the chunk alone needs is not kept if its backward pass follows at once
        kept = of_chunk if phase.forward and phase.backward else of_batch
        activations = Activations(
            of_batch.batch_capacity, of_batch.batch_outputs, of_batch.masks,
            kept.chunk_capacity, kept.chunk_outputs, kept.argmax,
            of_chunk.block_capacity, of_chunk.block_outputs,
        )  # fmt: skip
        loss = program.program_step(
            self.weights, work.space.statistics, work.batch, work.terms, phase, chunks, activations,
            chunk_space.forward_scratch, work.space.gradients, chunk_space.backward_scratch,
            work.results,
        )  # fmt: skip
        self.chunk_spaces.give_back(chunk_space)
        return loss


def chunk_size(n_images: int) -> int:
    """Number of images in a chunk of a training batch.  It depends only on the batch size."""
    return max(-(-n_images // N_GRADIENT_CHUNKS), 1)


def chunk_count(n_images: int) -> int:
    """Number of chunks of a training batch."""
    return -(-n_images // chunk_size(n_images))


def _chunks(n_images: int, is_whole_step: int, from_last: int = 0) -> Chunks:
    """The chunks of a batch, none of them taken.  The flags: see `Chunks`."""
    counter = np.zeros(1, np.int64)
    return Chunks(counter, chunk_count(n_images), chunk_size(n_images), is_whole_step, from_last)


def _of_chunks(gradients: Gradients, n_images: int) -> Gradients:
    """The gradients with those of the batch's chunks alone."""
    return gradients._replace(chunks=gradients.chunks[: chunk_count(n_images)])


def _unlabelled(x: np.ndarray) -> Batch:
    """A batch without targets, for a phase without a loss."""
    no_rows = np.empty((0, 0), x.dtype)
    return Batch(x.reshape(-1), np.empty(0, np.int64), no_rows, no_rows, np.empty(0, x.dtype))
