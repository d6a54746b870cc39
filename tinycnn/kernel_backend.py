"""Runs a plan on the Numba kernels: chunk by chunk, in several threads.

A network is a list of segments (`kernels/operations.py`).  A training step is a list of phases: the
forward pass of each segment, the loss, and in reverse order the backward pass of each segment.  A
phase of compiled operations runs chunk by chunk, in parallel.  A layer of the user's own, or a loss
that couples the samples, needs the whole batch and is computed between phases.  If there is only
one segment and the loss does not couple samples, the whole step is one phase: the forward pass, the
loss and the backward pass of a chunk follow one another while its pictures are in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .aligned_arrays import aligned_zeros
from .custom_layers import custom_backward, custom_forward
from .kernels import program
from .kernels.arrays import Batch, Results, Weights
from .kernels.operations import Segment, make_operations
from .kernels.program import Chunks, Phase
from .kernels.scale_images import scale_images
from .losses import Loss, LossInputs, LossTerms
from .parallel import run_in_threads
from .plan import Plan, step_arrays
from .workspaces import BatchSpace, ChunkSpace, Pool, PredictionSpace, make_results

N_GRADIENT_CHUNKS = 8
"""A training batch is split into at most this many chunks.  The split depends only on the batch
size, and the chunks' gradients are added in order, so the result does not depend on the threads."""

PREDICTION_CHUNK = 8
"""Images that go through the network together in prediction; their activations fit in the cache."""

SCALING_SHARE = 64
"""A thread scales at least this many images: for fewer, starting the thread takes longer."""

NO_LOSS = LossTerms(1.0, 0.0, 1.0, 0.0)
FORWARD, BACKWARD, WHOLE_STEP = Phase(1, 0, 0), Phase(0, 0, 1), Phase(1, 1, 1)


class Work(NamedTuple):
    """A phase of a training step, and what it works on."""

    phase: Phase
    segment: Segment
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
        self.arrays_of = {
            arrays.step.name: arrays for arrays in step_arrays(plan, parameters, gradients)
        }
        self.dtype, self.n_threads, self.name = parameters.dtype, n_threads, name
        self.n_classes = plan.output_shape[0]
        self.table = make_operations(plan, self.dtype)
        self.ready_to_train = False
        sizes = self.table.sizes
        n_winograd = sizes.n_winograd_weights
        # Weights transformed for Winograd's algorithm: those of the current training step, and for
        # prediction a pair, the bits of the parameters and the weights transformed from them.
        self.training_winograd = aligned_zeros(n_winograd, self.dtype) if n_winograd else None
        self.transformed: tuple[np.ndarray, np.ndarray] | None = None
        self.parameter_bits = parameters.view(np.uint32)
        self.transposed = aligned_zeros(sizes.n_transposed, self.dtype)
        self.prediction_spaces = Pool(lambda n: PredictionSpace(sizes, n, self.dtype))
        self.chunk_spaces = Pool(lambda n: ChunkSpace(plan, sizes, n, self.dtype))
        self.batch_space: BatchSpace | None = None
        # What `backward` needs of the forward pass: input and output (N, ...) of each segment.
        self.forwarded: list[tuple[np.ndarray, np.ndarray]] = []

    # ---- compiling -----------------------------------------------------------------------------

    def compile_prediction(self) -> None:
        """Compile the kernels that `scale_images` and `predict` call, or load them from the cache,
        by calling them with no images and no operations.  Raises CompileError."""
        pixels = np.zeros((0, *self.plan.input_shape), np.uint8)
        scale_images(pixels, 0, pixels.astype(self.dtype))
        no_operations, no_values = self.table.operations[:0], np.zeros(0, self.dtype)
        if self.training_winograd is not None:
            program.program_winograd_weights(no_operations, self.parameters, no_values)
            bits = self.parameter_bits
            program.program_same_weights(no_operations, bits, bits)
        winograd = None if self.training_winograd is None else no_values
        space = self.prediction_spaces.make(0)
        self._predict_operations(no_operations, winograd, no_values, 0, space, no_values)

    def compile_training(self) -> None:
        """The same for the kernels that training calls."""
        nothing = Segment(self.table.operations[:0], None, 0)
        space, no_values = self._make_batch_space(0), np.zeros(0, self.dtype)
        results = make_results(0, self.n_classes, space, 0)
        program.program_transpose_weights(self._weights(nothing))
        work = Work(WHOLE_STEP, nothing, _unlabelled(no_values), NO_LOSS, space, results)
        self._run_chunks(work, _chunks(0, 0))
        program.mean_loss(results.losses)
        self._collect(nothing, no_values, 0, space)
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
        logits_out: np.ndarray,
    ) -> None:
        n_images, last = len(x), self.table.segments[-1]
        for segment in self.table.segments:
            if segment.step is not None:
                y = custom_forward(self.arrays_of[segment.step.name], x)
                if segment is last:
                    logits_out[:] = y
            else:
                y = logits_out
                if segment is not last:
                    y = np.empty((n_images, segment.n_outputs), self.dtype)
                x_flat, y_flat = x.reshape(-1), y.reshape(-1)
                operations = segment.operations
                self._predict_operations(operations, winograd, x_flat, n_images, space, y_flat)
            x = y

    def _predict_operations(
        self,
        operations: np.ndarray,
        winograd: np.ndarray | None,
        x: np.ndarray,
        n_images: int,
        space: PredictionSpace,
        outputs_out: np.ndarray,
    ) -> None:
        activations, scratch = space.activations, space.forward_scratch
        program.program_predict(
            operations, self.parameters, winograd, x, n_images, space.capacity,
            activations.pictures, activations.argmax, scratch.conv_output, scratch.winograd,
            outputs_out,
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
        if self.training_winograd is not None:
            operations = self.table.operations
            program.program_winograd_weights(operations, self.parameters, self.training_winograd)
        self.forwarded = []
        for segment in self.table.segments:
            if segment.step is not None:
                y = custom_forward(self.arrays_of[segment.step.name], x)
            else:
                results = make_results(len(x), segment.n_outputs, space, 0)
                self._run_phase(Work(FORWARD, segment, _unlabelled(x), NO_LOSS, space, results))
                y = results.logits
            self.forwarded.append((x, y))
            x = y
        return x

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        space = self._begin(len(dlogits), {})
        dy = dlogits
        for k in reversed(range(len(self.table.segments))):
            segment, (x, y) = self.table.segments[k], self.forwarded[k]
            if segment.step is not None:
                dy = custom_backward(self.arrays_of[segment.step.name], x, y, dy)
                continue
            program.program_transpose_weights(self._weights(segment))
            results = make_results(len(x), 0, space, x.size if wants_dx or k else 0)
            results = results._replace(dlogits=dy.reshape(len(x), segment.n_outputs))
            self._run_phase(Work(BACKWARD, segment, _unlabelled(x), NO_LOSS, space, results))
            self._collect(segment, x, len(x), space)
            dy = results.dx
        return dy.reshape(len(dlogits), *self.plan.input_shape) if wants_dx else None

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        terms, (segment, *more) = loss.terms, self.table.segments
        if terms is not None and segment.step is None and not more and len(x):
            return self._step_in_one_phase(segment, x, masks, terms, inputs)
        logits = self.forward(x, masks)
        value, dlogits = loss.of_checked(logits, inputs, self.name)
        if math.isfinite(value):
            self.backward(dlogits, wants_dx=False)
        return value, logits

    def _step_in_one_phase(
        self,
        segment: Segment,
        x: np.ndarray,
        masks: Mapping[str, np.ndarray],
        terms: LossTerms,
        inputs: LossInputs,
    ) -> tuple[float, np.ndarray]:
        N = len(x)
        space = self._begin(N, masks)
        results = make_results(N, self.n_classes, space, 0)
        batch = Batch(x.reshape(-1), *inputs)
        work = Work(WHOLE_STEP, segment, batch, terms, space, results)
        if min(self.n_threads, chunk_count(N)) == 1:
            # one call from Python: a call with cold caches takes a tenth of a millisecond
            value = self._run_chunks(work, _chunks(N, 1))
            return value, results.logits
        weights = self._weights(segment)
        if self.training_winograd is not None:
            operations = segment.operations
            program.program_winograd_weights(operations, self.parameters, self.training_winograd)
        program.program_transpose_weights(weights)
        self._run_phase(work)
        value = program.mean_loss(results.losses)
        if math.isfinite(value):
            self._collect(segment, x, N, space)
        return value, results.logits

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

    def _weights(self, segment: Segment) -> Weights:
        return Weights(segment.operations, self.parameters, self.transposed)

    def _run_phase(self, work: Work) -> None:
        """Run a phase for every chunk of the batch, in several threads."""
        chunks = _chunks(len(work.results.logits), 0)

        def run(worker: int) -> None:
            self._run_chunks(work, chunks)

        if chunks.n_chunks:
            run_in_threads(run, min(self.n_threads, chunks.n_chunks))

    def _run_chunks(self, work: Work, chunks: Chunks) -> float:
        """Run a phase for the chunks that no other thread has taken: see `program_step`."""
        chunk_space = self.chunk_spaces.take(chunks.size)
        activations = work.space.activations
        if work.phase is WHOLE_STEP:  # only the pictures of the current chunk are kept
            of_chunk = chunk_space.activations
            activations = activations._replace(
                picture_capacity=of_chunk.picture_capacity,
                pictures=of_chunk.pictures,
                argmax=of_chunk.argmax,
            )
        loss = program.program_step(
            self._weights(work.segment), self.training_winograd, work.batch, work.terms,
            work.phase, chunks, activations, chunk_space.forward_scratch, work.space.gradients,
            chunk_space.backward_scratch, work.results,
        )  # fmt: skip
        self.chunk_spaces.give_back(chunk_space)
        return loss

    def _collect(self, segment: Segment, x: np.ndarray, n_images: int, space: BatchSpace) -> None:
        """Compute the gradients of a segment's parameters from those of the chunks."""
        n_chunks = chunk_count(n_images)
        n_shares = max(min(self.n_threads, n_chunks), 1)
        weights, flat = self._weights(segment), x.reshape(-1)
        gradients = space.gradients._replace(chunks=space.gradients.chunks[:n_chunks])

        def collect(share: int) -> None:
            program.program_collect(
                weights, flat, n_images, space.activations, gradients, share, n_shares
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
    return Batch(x.reshape(-1), np.empty(0, np.int64), no_rows, no_rows, np.empty(0, x.dtype))
