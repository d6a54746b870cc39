"""Runs a plan on the Numba kernels: chunk by chunk, in several threads.

A network is a list of stages (`kernels/table.py`).  A training step is a list of phases: the
forward pass of each stage, the loss, and in reverse order the backward pass of each stage.  A phase
runs chunk by chunk, in parallel.  What needs the whole batch is done between phases: a layer of the
user's own, or a loss that couples the samples.  Unless the loss does that, the last stage and the
loss are one phase: the forward pass, the loss and the backward pass of a chunk follow one another
while its activations are in the cache.  Most networks have one stage, so this is their whole step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .aligned_arrays import aligned_zeros
from .custom_layers import custom_backward, custom_forward
from .kernels import program
from .kernels.arrays import Batch, Results, Stage, Weights
from .kernels.program import Chunks, Phase
from .kernels.scale_images import scale_images
from .kernels.table import make_operations
from .losses import Loss, LossInputs, LossTerms
from .parallel import run_in_threads
from .plan import NETWORK_INPUT, Plan, step_arrays
from .workspaces import BatchSpace, ChunkSpace, Pool, PredictionSpace, make_results

N_GRADIENT_CHUNKS = 8
"""A training batch is split into at most this many chunks.  The split depends only on the batch
size, and the chunks' gradients are added in order, so the result does not depend on the threads."""

PREDICTION_CHUNK = 8
"""Images that go through the network together in prediction; their activations fit in the cache."""

SCALING_SHARE = 64
"""A thread scales at least this many images: for fewer, starting the thread takes longer."""

NO_LOSS = LossTerms(1.0, 0.0, 1.0, 0.0)
NO_STAGE = Stage(0, 0, 0, 0)


class Work(NamedTuple):
    """What the phases of a training step work on."""

    batch: Batch
    terms: LossTerms
    space: BatchSpace
    results: Results


class KernelBackend:
    """The `Backend` on the kernels: see `backends.py`.

    name  the backend of losses that are computed between phases: "auto" or "numba"
    """

    def __init__(
        self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray, n_threads: int, name: str
    ) -> None:
        self.plan, self.parameters, self.gradients = plan, parameters, gradients
        self.dtype, self.n_threads, self.name = parameters.dtype, n_threads, name
        self.n_classes = plan.output_shape[0]
        self.table = make_operations(plan, self.dtype)
        arrays_of = {a.step.name: a for a in step_arrays(plan, parameters, gradients)}
        self.custom = {k: arrays_of[step.name] for k, step in self.table.custom_steps.items()}
        self.stages = self.table.stages
        self.tables_of_stages = [self.table.operations[: stage.end] for stage in self.stages]
        self.ready_to_train = False
        sizes = self.table.sizes
        n_winograd = sizes.n_winograd_weights
        # Weights transformed for Winograd's algorithm: those of the current training step, and for
        # prediction a pair, the bits of the parameters and the weights transformed from them.
        self.training_winograd = aligned_zeros(n_winograd, self.dtype) if n_winograd else None
        self.transformed: tuple[np.ndarray, np.ndarray] | None = None
        self.parameter_bits = parameters.view(np.uint32)
        self.transposed = aligned_zeros(sizes.n_transposed, self.dtype)
        self.weights = Weights(self.table.operations, parameters, self.transposed)
        self.prediction_spaces = Pool(lambda n: PredictionSpace(sizes, n, self.dtype))
        self.chunk_spaces = Pool(lambda n: ChunkSpace(plan, sizes, n, self.dtype))
        self.batch_space: BatchSpace | None = None
        self.forwarded: Work | None = None  # the last `forward`, for `backward`

    # ---- compiling -----------------------------------------------------------------------------

    def compile_prediction(self) -> None:
        """Compile the kernels that `scale_images` and `predict` call, or load them from the cache,
        by calling them with no images and no operations.  Raises CompileError."""
        pixels = np.zeros((0, *self.plan.input_shape), np.uint8)
        scale_images(pixels, 0, pixels.astype(self.dtype))
        no_operations, no_values = self.table.operations[:0], np.zeros(0, self.dtype)
        winograd = None
        if self.training_winograd is not None:
            program.program_winograd_weights(no_operations, self.parameters, no_values)
            bits = self.parameter_bits
            program.program_same_weights(no_operations, bits, bits)
            winograd = no_values
        space = self.prediction_spaces.make(0)
        self._predict_stage(no_operations, 0, winograd, no_values, 0, space, no_values)

    def compile_training(self) -> None:
        """The same for the kernels that training calls."""
        space, no_values = self._make_batch_space(0), np.zeros(0, self.dtype)
        results = make_results(0, self.n_classes, space, 0)
        work = Work(_unlabelled(no_values), NO_LOSS, space, results)
        nothing = self.weights._replace(operations=self.table.operations[:0])
        program.program_transpose_weights(nothing)
        self._run_chunks(Phase(NO_STAGE, 1, 1, 1), work, _chunks(0, 0))
        program.mean_loss(results.losses)
        program.program_collect(nothing, no_values, 0, space.activations, space.gradients, 0, 1)
        self.ready_to_train = True

    # ---- prediction ----------------------------------------------------------------------------

    def predict(self, x: np.ndarray) -> np.ndarray:
        N = len(x)
        logits = np.empty((N, self.n_classes), self.dtype)
        winograd = self._winograd_weights()
        n_chunks = -(-N // PREDICTION_CHUNK)

        def work(worker: int) -> None:
            space = self.prediction_spaces.take(PREDICTION_CHUNK)
            for chunk in chunks:
                part = slice(chunk * PREDICTION_CHUNK, (chunk + 1) * PREDICTION_CHUNK)
                self._predict_chunk(winograd, x[part], space, logits[part])
            self.prediction_spaces.give_back(space)

        if n_chunks == 1:  # without the loop, whose overhead counts: an image may take only 50 us
            space = self.prediction_spaces.take(PREDICTION_CHUNK)
            self._predict_chunk(winograd, x, space, logits)
            self.prediction_spaces.give_back(space)
        elif n_chunks:
            chunks = iter(range(n_chunks))  # shared by the threads: a slow one takes fewer chunks
            run_in_threads(work, min(self.n_threads, n_chunks))
        return logits

    def _predict_chunk(
        self,
        winograd: np.ndarray | None,
        x: np.ndarray,
        space: PredictionSpace,
        logits: np.ndarray,
    ) -> None:
        n_images, x_flat, logits_flat = len(x), x.reshape(-1), logits.reshape(-1)
        for stage, operations in zip(self.stages, self.tables_of_stages):
            if stage.first < stage.begin:
                values, capacity = space.activations.chunk_outputs, space.capacity
                self._run_custom(stage, x_flat, values, capacity, logits)
            if stage.begin < stage.end:
                y = logits_flat if stage is self.stages[-1] else logits_flat[:0]
                self._predict_stage(operations, stage.begin, winograd, x_flat, n_images, space, y)

    def _predict_stage(
        self,
        operations: np.ndarray,
        begin: int,
        winograd: np.ndarray | None,
        x: np.ndarray,
        n_images: int,
        space: PredictionSpace,
        logits_out: np.ndarray,
    ) -> None:
        activations, scratch = space.activations, space.forward_scratch
        program.program_predict(
            operations, begin, self.parameters, winograd, x, n_images, space.capacity,
            activations.chunk_outputs, activations.argmax, scratch.conv_output, scratch.winograd,
            logits_out,
        )  # fmt: skip

    def _winograd_weights(self) -> np.ndarray | None:
        """The transformed weights for the current parameters; None if no convolution needs any.

        The user may edit parameters in place at any time, so their bits are compared with a copy.
        If they differ, a new pair of arrays is made: another thread may be reading the old one.
        """
        if self.training_winograd is None:
            return None
        operations = self.table.operations
        if self.transformed is not None:
            bits, transformed = self.transformed
            if program.program_same_weights(operations, self.parameter_bits, bits):
                return transformed
        parameters = self.parameters.copy()
        transformed = aligned_zeros(self.training_winograd.size, self.dtype)
        program.program_winograd_weights(operations, parameters, transformed)
        self.transformed = parameters.view(np.uint32), transformed
        return transformed

    # ---- training ------------------------------------------------------------------------------

    def forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        space = self._begin(len(x), masks)
        results = make_results(len(x), self.n_classes, space, 0)
        self.forwarded = work = Work(_unlabelled(x), NO_LOSS, space, results)
        self._transform_weights()
        self._forward_stages(self.stages, work)
        return results.logits

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        work = self.forwarded
        assert work is not None
        dx = np.empty(work.batch.x.size if wants_dx else 0, self.dtype)
        work = work._replace(results=work.results._replace(dlogits=dlogits, dx=dx))
        program.program_transpose_weights(self.weights)
        self._backward_stages(self.stages, work)
        self._collect(work)
        return dx.reshape(len(dlogits), *self.plan.input_shape) if wants_dx else None

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        terms, last = loss.terms, self.stages[-1]
        if terms is None or last.begin == last.end or not len(x):
            logits = self.forward(x, masks)
            value, dlogits = loss.of_checked(logits, inputs, self.name)
            if math.isfinite(value):
                self.backward(dlogits, wants_dx=False)
            return value, logits
        space = self._begin(len(x), masks)
        results = make_results(len(x), self.n_classes, space, 0)
        batch = Batch(x.reshape(-1), inputs.labels, inputs.targets, inputs.soft_labels)
        work, phase = Work(batch, terms, space, results), Phase(last, 1, 1, 1)
        if not last.begin and min(self.n_threads, chunk_count(len(x))) == 1:
            # one call from Python: a call with cold caches takes a tenth of a millisecond
            return self._run_chunks(phase, work, _chunks(len(x), 1)), results.logits
        self._transform_weights()
        program.program_transpose_weights(self.weights)
        self._forward_stages(self.stages[:-1], work)
        self._before_forward(last, work)
        self._run_phase(phase, work)
        value = program.mean_loss(results.losses)
        if math.isfinite(value):
            self._after_backward(last, work)
            self._backward_stages(self.stages[:-1], work)
            self._collect(work)
        return value, results.logits

    def _transform_weights(self) -> None:
        if self.training_winograd is not None:
            operations = self.table.operations
            program.program_winograd_weights(operations, self.parameters, self.training_winograd)

    def _forward_stages(self, stages: Sequence[Stage], work: Work) -> None:
        for stage in stages:
            self._before_forward(stage, work)
            self._run_phase(Phase(stage, 1, 0, 0), work)

    def _backward_stages(self, stages: Sequence[Stage], work: Work) -> None:
        for stage in reversed(stages):
            self._run_phase(Phase(stage, 0, 0, 1), work)
            self._after_backward(stage, work)

    def _before_forward(self, stage: Stage, work: Work) -> None:
        """What needs the whole batch, before the forward pass of a stage."""
        if stage.first < stage.begin:
            x, (capacity, values, *_) = work.batch.x, work.space.activations
            self._run_custom(stage, x, values, capacity, work.results.logits)

    def _after_backward(self, stage: Stage, work: Work) -> None:
        """What needs the whole batch, after the backward pass of a stage."""
        for k in reversed(range(stage.first, stage.begin)):
            self._custom_backward(k, work)

    # ---- layers of the user's own --------------------------------------------------------------

    def _run_custom(
        self, stage: Stage, x: np.ndarray, values: np.ndarray, capacity: int, logits: np.ndarray
    ) -> None:
        """The layers of the user's own that run before a stage, forward.

        x       the network's input, flat
        values  the outputs of operations, for `capacity` images
        logits  (N, K) overwritten if one of these layers is the last
        """
        N = len(logits)
        for k in range(stage.first, stage.begin):
            x_k = self._images(self.table.operations[k].x_from, x, values, capacity, N)
            y_k = self._images(k, x, values, capacity, N)
            y_k[:] = custom_forward(self.custom[k], x_k).reshape(y_k.shape)
            if k == self.table.operations.size - 1:
                logits[:] = y_k

    def _custom_backward(self, k: int, work: Work) -> None:
        """The layer of the user's own that is operation k, backward."""
        (x, *_), _, space, results = work
        capacity, N, op = space.capacity, len(results.logits), self.table.operations[k]
        values, d_values = space.activations.batch_outputs, space.gradients.batch_outputs
        x_k = self._images(op.x_from, x, values, capacity, N)
        y_k, dy_k = (self._images(k, x, array, capacity, N) for array in (values, d_values))
        if k == self.table.operations.size - 1:
            dy_k[:] = results.dlogits[:N]
        dx = custom_backward(self.custom[k], x_k, y_k, dy_k)
        if op.x_from != NETWORK_INPUT or results.dx.size:
            dx_k = self._images(op.x_from, results.dx, d_values, capacity, N)
            dx = dx.reshape(dx_k.shape)
            dx_k[:] = dx_k + dx if op.adds_dx else dx

    def _images(
        self, k: int, x: np.ndarray, values: np.ndarray, capacity: int, n_images: int
    ) -> np.ndarray:
        """The output (n_images, ...) of operation k in `values`; of NETWORK_INPUT: x."""
        if k == NETWORK_INPUT:
            return x.reshape(n_images, *self.plan.input_shape)
        op = self.table.operations[k]
        size, start = int(op.OH * op.OW * op.F), int(op.y_offset) * capacity
        return values[start : start + n_images * size].reshape(n_images, size)

    # ---- phases --------------------------------------------------------------------------------

    def _begin(self, n_images: int, masks: Mapping[str, np.ndarray]) -> BatchSpace:
        """The memory for a step of n_images, with the masks copied into it."""
        space = self.batch_space
        if space is None or space.capacity < n_images:
            space = self.batch_space = self._make_batch_space(n_images)
        for name, mask in masks.items():
            start = self.table.mask_offsets[name] * space.capacity
            space.activations.masks[start : start + mask.size] = mask.reshape(-1)
        return space

    def _make_batch_space(self, capacity: int) -> BatchSpace:
        n_chunks = min(N_GRADIENT_CHUNKS, max(capacity, 1))
        return BatchSpace(self.plan, self.table.sizes, capacity, n_chunks, self.gradients)

    def _run_phase(self, phase: Phase, work: Work) -> None:
        """Run a phase for every chunk of the batch, in several threads."""
        if phase.stage.begin == phase.stage.end:
            return
        chunks = _chunks(len(work.results.logits), 0)

        def run(worker: int) -> None:
            self._run_chunks(phase, work, chunks)

        if chunks.n_chunks:
            run_in_threads(run, min(self.n_threads, chunks.n_chunks))

    def _run_chunks(self, phase: Phase, work: Work, chunks: Chunks) -> float:
        """Run a phase for the chunks that no other thread has taken: see `program_step`."""
        chunk_space = self.chunk_spaces.take(chunks.size)
        activations = work.space.activations
        if phase.forward and phase.backward:  # what the chunk alone needs is not kept
            of_chunk = chunk_space.activations
            activations = activations._replace(
                chunk_capacity=of_chunk.chunk_capacity,
                chunk_outputs=of_chunk.chunk_outputs,
                argmax=of_chunk.argmax,
            )
        loss = program.program_step(
            self.weights, self.training_winograd, work.batch, work.terms, phase, chunks,
            activations, chunk_space.forward_scratch, work.space.gradients,
            chunk_space.backward_scratch, work.results,
        )  # fmt: skip
        self.chunk_spaces.give_back(chunk_space)
        return loss

    def _collect(self, work: Work) -> None:
        """Compute the gradients of the parameters from those of the chunks."""
        (x, *_), _, space, results = work
        n_images = len(results.logits)
        n_chunks = chunk_count(n_images)
        n_shares = max(min(self.n_threads, n_chunks), 1)
        gradients = space.gradients._replace(chunks=space.gradients.chunks[:n_chunks])

        def collect(share: int) -> None:
            program.program_collect(
                self.weights, x, n_images, space.activations, gradients, share, n_shares
            )

        run_in_threads(collect, n_shares)

    # ---- images --------------------------------------------------------------------------------

    def scale_images(self, images: np.ndarray, scaling: int, x_out: np.ndarray) -> None:
        N = len(images)
        n_workers = max(min(self.n_threads, N // SCALING_SHARE), 1)
        bounds = [N * k // n_workers for k in range(n_workers + 1)]

        def work(worker: int) -> None:
            part = slice(bounds[worker], bounds[worker + 1])
            scale_images(images[part], scaling, x_out[part])

        run_in_threads(work, n_workers)


def chunk_size(n_images: int) -> int:
    """Number of images in a chunk of a training batch.  It depends only on the batch size."""
    return max(-(-n_images // N_GRADIENT_CHUNKS), 1)


def chunk_count(n_images: int) -> int:
    """Number of chunks of a training batch."""
    return -(-n_images // chunk_size(n_images))


def _chunks(n_images: int, is_whole_step: int) -> Chunks:
    """The chunks of a batch, none of them taken."""
    counter = np.zeros(1, np.int64)
    return Chunks(counter, chunk_count(n_images), chunk_size(n_images), is_whole_step)


def _unlabelled(x: np.ndarray) -> Batch:
    """A batch without targets, for a phase without a loss."""
    no_rows = np.empty((0, 0), x.dtype)
    return Batch(x.reshape(-1), np.empty(0, np.int64), no_rows, no_rows)
