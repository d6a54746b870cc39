"""Predicts with a plan on the Numba kernels: a few images at a time, in several threads."""

from __future__ import annotations

import numpy as np

from .aligned_arrays import aligned_zeros
from .custom_layers import custom_forward
from .folding import fold
from .kernels import program
from .kernels.arrays import Stage
from .kernels.scale_images import scale_images
from .kernels.table import make_operations
from .parallel import Threads, run_in_threads
from .plan import NETWORK_INPUT, WORK_OF_ELEMENT, Plan, step_arrays
from .prediction_memory import images_together, with_shared_memory
from .workspaces import Pool, PredictionSpace


class KernelPrediction:
    """What a `KernelBackend` does in prediction.

    gradients         a flat array like `parameters`, for layers of the user's own
    prediction_table  `table` with outputs that share memory
    chunk             images that go through the network together in prediction
    """

    def __init__(
        self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray, threads: Threads
    ) -> None:
        self.plan, self.parameters, self.threads = plan, parameters, threads
        self.work = plan.work
        self.dtype, self.n_classes = parameters.dtype, plan.output_shape[0]
        self.table = make_operations(plan, self.dtype)
        self.stages = self.table.stages
        self.prediction_table = table = with_shared_memory(self.table)
        self.chunk = images_together(table, parameters.size, self.dtype)
        self.tables_of_stages = [table.operations[: stage.end] for stage in self.stages]
        arrays_of = {a.step.name: a for a in step_arrays(plan, parameters, gradients)}
        self.custom = {k: arrays_of[step.name] for k, step in self.table.custom_steps.items()}
        self.prediction_spaces = Pool(lambda n: PredictionSpace(table.sizes, n, self.dtype))
        # The bits of the parameters, and what was computed from them: the weights transformed for
        # Winograd's algorithm; for a plan with BatchNorm the prediction without it.
        self.parameter_bits = parameters.view(np.uint32)
        self.transformed: tuple[np.ndarray, np.ndarray] | None = None
        self.folded: tuple[np.ndarray, KernelPrediction] | None = None

    def compile_prediction(self) -> None:
        """Compile the kernels that `scale_images` and `predict` call, or load them from the cache,
        by calling them with no images and no operations.  Raises CompileError."""
        if self.table.sizes.n_moments:
            self._folded().compile_prediction()
            return
        pixels = np.zeros((0, *self.plan.input_shape), np.uint8)
        scale_images(pixels, 0, np.zeros((2, 0)), pixels.astype(self.dtype))
        no_operations, no_values = self.table.operations[:0], np.zeros(0, self.dtype)
        winograd = None
        if self.table.sizes.n_winograd_weights:
            program.program_winograd_weights(no_operations, self.parameters, no_values)
            bits = self.parameter_bits
            program.program_same_weights(no_operations, bits, bits)
            winograd = no_values
        space = self.prediction_spaces.make(0)
        self._predict_stage(no_operations, 0, winograd, no_values, 0, space, no_values)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if self.table.sizes.n_moments:
            return self._folded().predict(x)
        N = len(x)
        logits = np.empty((N, self.n_classes), self.dtype)
        winograd = self._winograd_weights()
        n_chunks = -(-N // self.chunk)

        def work(worker: int) -> None:
            space = self.prediction_spaces.take(self.chunk)
            for chunk in chunks:
                part = slice(chunk * self.chunk, (chunk + 1) * self.chunk)
                self._predict_chunk(winograd, x[part], space, logits[part])
            self.prediction_spaces.give_back(space)

        if n_chunks == 1:  # without the loop, whose overhead counts: an image may take only 50 us
            space = self.prediction_spaces.take(self.chunk)
            self._predict_chunk(winograd, x, space, logits)
            self.prediction_spaces.give_back(space)
        elif n_chunks:
            chunks = iter(range(n_chunks))  # shared by the threads: a slow one takes fewer chunks
            run_in_threads(work, self.threads.for_work(n_chunks, N * self.work))
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
            activations.chunk_outputs, activations.argmax, scratch.conv_output, scratch.workspace,
            logits_out,
        )  # fmt: skip

    def _winograd_weights(self) -> np.ndarray | None:
        """The transformed weights for the current parameters; None if no convolution needs any.

        The user may edit parameters in place at any time, so their bits are compared with a copy.
        If they differ, a new pair of arrays is made: another thread may be reading the old one.
        """
        n_weights = self.table.sizes.n_winograd_weights
        if not n_weights:
            return None
        operations = self.table.operations
        if self.transformed is not None:
            bits, transformed = self.transformed
            if program.program_same_weights(operations, self.parameter_bits, bits):
                return transformed
        parameters = self.parameters.copy()
        transformed = aligned_zeros(n_weights, self.dtype)
        program.program_winograd_weights(operations, parameters, transformed)
        self.transformed = parameters.view(np.uint32), transformed
        return transformed

    def _folded(self) -> KernelPrediction:
        """The same function in prediction without BatchNorm, for the current parameters.  They are
        compared with a copy, as in `_winograd_weights`."""
        if self.folded is not None:
            bits, prediction = self.folded
            if np.array_equal(bits, self.parameter_bits):
                return prediction
        parameters = self.parameters.copy()
        plan, vector = fold(self.plan, parameters)
        prediction = KernelPrediction(plan, vector, np.zeros_like(vector), self.threads)
        self.folded = parameters.view(np.uint32), prediction
        return prediction

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

    def _images(
        self, k: int, x: np.ndarray, values: np.ndarray, capacity: int, n_images: int
    ) -> np.ndarray:
        """The output (n_images, ...) of operation k in `values`; of NETWORK_INPUT: x."""
        if k == NETWORK_INPUT:
            return x.reshape(n_images, *self.plan.input_shape)
        op = self.prediction_table.operations[k]
        size, start = int(op.OH * op.OW * op.F), int(op.y_offset) * capacity
        return values[start : start + n_images * size].reshape(n_images, size)

    # ---- images --------------------------------------------------------------------------------

    def scale_images(
        self, images: np.ndarray, scaling: int, normalization: np.ndarray, x_out: np.ndarray
    ) -> None:
        N = len(images)
        n_workers = self.threads.for_work(N, images.size * WORK_OF_ELEMENT)
        bounds = [N * k // n_workers for k in range(n_workers + 1)]

        def work(worker: int) -> None:
            part = slice(bounds[worker], bounds[worker + 1])
            scale_images(images[part], scaling, normalization, x_out[part])

        run_in_threads(work, n_workers)
