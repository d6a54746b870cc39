"""Predicts with a plan on the Numba kernels: a few images at a time, in several threads."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from .aligned_arrays import aligned_zeros
from .custom_layers import custom_forward
from .folding import fold
from .kernels import program
from .kernels._jit import WITHOUT_JIT
from .kernels.arrays import Stage
from .kernels.linking import PREDICTION, link
from .kernels.operations import DENSE, is_prepared
from .kernels.scale_images import scale_images
from .kernels.table import make_operations
from .parallel import Threads, run_in_threads
from .plan import NETWORK_INPUT, WORK_OF_ELEMENT, Plan, step_arrays
from .prediction_memory import CHUNK, images_together, with_shared_memory
from .two_tables import cut_in_two
from .two_threads import TwoThreads
from .workspaces import Pool, PredictionSpace

IMAGES_OF_A_CALL = 64
"""At most so many images are predicted in one call of the compiled code.  A call takes some us; but
Ctrl-C must wait for its end."""


Value = TypeVar("Value")


@dataclass(frozen=True)
class Derived(Generic[Value]):
    """A value that was computed from the parameters, and what tells whether it still fits them.

    version  how often `parameters_have_changed` had been called
    bits     of a copy of the parameters, as unsigned integers
    """

    version: int
    bits: np.ndarray
    value: Value


class KernelPrediction:
    """What a `KernelBackend` does in prediction.  It compiles the functions of its operations, or
    loads them from the cache: raises CompileError.

    gradients         a flat array like `parameters`, for layers of the user's own
    parameters_may_change  whether they may change without a call of `parameters_have_changed`
    unfolded          None, or for the plan that `fold` has made: the prediction of the network
                      itself.  Its weights of dense layers are used where they are, so that they
                      need not be compared before each prediction; `parameters` never changes
    prediction_table  `table` with outputs that share memory
    chunk             images that go through the network together in prediction
    """

    def __init__(
        self,
        plan: Plan,
        parameters: np.ndarray,
        gradients: np.ndarray,
        threads: Threads,
        unfolded: KernelPrediction | None = None,
    ) -> None:
        self.plan, self.parameters, self.threads = plan, parameters, threads
        self.parameters_may_change = unfolded is None
        self.of_network = unfolded or self
        self.dense_parameters = parameters if unfolded is None else unfolded.parameters
        self.work = plan.work
        self.dtype, self.n_classes = parameters.dtype, plan.output_shape[0]
        self.table = make_operations(plan, self.dtype)
        if unfolded is not None:
            self._take_dense_weights(unfolded.plan)
        self.has_batch_norm = self.table.sizes.n_moments > 0
        self.stages = self.table.stages
        self.prediction_table = table = with_shared_memory(self.table)
        if not self.has_batch_norm:
            link(table.operations, self.dtype, PREDICTION)
        self.chunk = images_together(table, parameters.size, self.dtype)
        self.least_part = min(self.chunk, CHUNK)  # images that are worth a thread
        self.tables_of_stages = [table.operations[: stage.end] for stage in self.stages]
        arrays_of = {a.step.name: a for a in step_arrays(plan, parameters, gradients)}
        # whether one call of the compiled code does all, without layers of the user's own
        self.is_one_call = len(self.stages) == 1 and not self.table.custom_steps
        self.custom = {k: arrays_of[step.name] for k, step in self.table.custom_steps.items()}
        self.prediction_spaces = Pool(lambda n: PredictionSpace(table.sizes, n, self.dtype))
        self.two_threads: TwoThreads | None = None
        if self.is_one_call and threads.most > 1 and not WITHOUT_JIT:
            n_inputs = math.prod(plan.input_shape)
            make_tables = partial(cut_in_two, table.operations, n_inputs)
            self.two_threads = TwoThreads(make_tables, table.sizes)
        self.no_meeting, self.no_prepared = np.zeros(0, np.int32), np.zeros(0, self.dtype)
        # what is derived from the parameters: the prepared weights; for a plan with BatchNorm the
        # prediction without it
        self.parameter_bits = parameters.view(f"u{parameters.itemsize}")
        self.prepared_ranges = np.array(
            [
                (op.w_offset, op.w_offset + op.w_size)
                for op in self.table.operations
                if is_prepared(op) and op.kind != DENSE
            ],
            np.int64,
        ).reshape(-1, 2)
        self.folded_ranges = _without_dense_weights(self.table.operations, parameters.size)
        self.prepared: Derived[np.ndarray] | None = None
        self.folded: Derived[KernelPrediction] | None = None
        self.version = 0

    def compile_prediction(self) -> None:
        """Compile what `scale_images` and `predict` call themselves, or load it from the cache, by
        calling it with no images and no operations.  Raises CompileError."""
        no_ranges, bits = np.zeros((0, 2), np.int64), self.parameter_bits
        if self.has_batch_norm:
            program.program_same_values(no_ranges, bits, bits)
            self._folded().compile_prediction()
            return
        pixels = np.zeros((0, *self.plan.input_shape), np.uint8)
        scale_images(pixels, 0, np.zeros((2, 0)), pixels.astype(self.dtype))
        no_operations, no_values = self.table.operations[:0], np.zeros(0, self.dtype)
        if self.table.sizes.n_prepared + self.table.sizes.n_packed:
            program.program_prepare_weights(no_operations, self.parameters, no_values, no_values)
            program.program_same_values(no_ranges, bits, bits)
        space = self.prediction_spaces.make(0)
        no_images, no_logits = no_values.reshape(0, 1, 1, 1), no_values.reshape(0, 1)
        self._predict_stage(no_operations, 0, no_values, no_images, space, no_logits)

    def parameters_have_changed(self) -> None:
        self.version += 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        if self.has_batch_norm:
            return self._folded().predict(x)
        N = len(x)
        logits = np.empty((N, self.n_classes), self.dtype)
        prepared = self._prepared_weights()
        least_part = self.least_part
        if N <= least_part:  # without the loop, whose overhead counts: an image may take 10 us
            two_threads = self.two_threads if N == 1 else None
            if two_threads is not None:
                weights = self.parameters, self.dense_parameters, prepared
                if two_threads.predict(weights, x, logits):
                    return logits
            if N:
                space = self.prediction_spaces.take(self.chunk)
                self._predict_part(prepared, x, space, logits)
                self.prediction_spaces.give_back(space)
            if two_threads is not None:
                two_threads.has_ended()
            return logits
        n_workers = self.threads.for_work(-(-N // least_part), N * self.work)
        size = min(self.chunk, -(-N // n_workers))
        if n_workers == 1 and self.is_one_call:
            size = max(IMAGES_OF_A_CALL // size, 1) * size
        begins = iter(range(0, N, size))  # shared by the threads: a slow one takes fewer parts

        def work(worker: int) -> None:
            space = self.prediction_spaces.take(self.chunk)
            for begin in begins:
                part = slice(begin, begin + size)
                self._predict_part(prepared, x[part], space, logits[part])
            self.prediction_spaces.give_back(space)

        run_in_threads(work, n_workers)
        return logits

    def _predict_part(
        self,
        prepared: np.ndarray,
        x: np.ndarray,
        space: PredictionSpace,
        logits: np.ndarray,
    ) -> None:
        """The logits of some images; of more than `chunk` only if `is_one_call`."""
        if self.is_one_call:
            operations = self.prediction_table.operations
            self._predict_stage(operations, 0, prepared, x, space, logits)
            return
        for stage, operations in zip(self.stages, self.tables_of_stages):
            if stage.first < stage.begin:
                values, capacity = space.activations.chunk_outputs, space.capacity
                shared = self.prediction_table.operations
                self._run_custom(shared, stage, x, values, capacity, logits)
            if stage.begin < stage.end:
                y = logits if stage is self.stages[-1] else logits[:0]
                self._predict_stage(operations, stage.begin, prepared, x, space, y)

    def _predict_stage(
        self,
        operations: np.ndarray,
        begin: int,
        prepared: np.ndarray,
        x: np.ndarray,
        space: PredictionSpace,
        logits_out: np.ndarray,
    ) -> None:
        program.program_predict(
            operations, begin, self.parameters, self.dense_parameters, prepared, x, space.capacity,
            *space.prediction_arrays, logits_out, self.no_meeting,
        )  # fmt: skip

    def _prepared_weights(self) -> np.ndarray:
        """The prepared weights for the current parameters; empty if no operation needs any.

        Those of dense layers are there only while the network's parameters cannot change unseen:
        without them, the weights are read where they are.
        """
        sizes, may_change = self.table.sizes, self.of_network.parameters_may_change
        n_weights = sizes.n_prepared + (0 if may_change else sizes.n_packed)
        if not n_weights:
            return self.no_prepared
        kept = self.prepared  # once: another thread may replace it
        if kept is not None and self._is_valid(kept, self.prepared_ranges):
            if may_change and kept.value.size > n_weights:
                kept = self.prepared = replace(kept, value=kept.value[:n_weights])
            if kept.value.size >= n_weights:
                return kept.value
        version, parameters = self.version, self.parameters.copy()
        prepared = aligned_zeros(n_weights, self.dtype)
        program.program_prepare_weights(
            self.prediction_table.operations, parameters, self.dense_parameters, prepared
        )
        self.prepared = Derived(version, parameters.view(self.parameter_bits.dtype), prepared)
        return prepared

    def _folded(self) -> KernelPrediction:
        """The same function in prediction without BatchNorm, for the current parameters.  The
        weights of dense layers, which are often most of them, are neither copied nor compared."""
        kept = self.folded
        if kept is not None and self._is_valid(kept, self.folded_ranges):
            return kept.value
        version, parameters = self.version, self.parameters.copy()
        plan, vector = fold(self.plan, parameters, into_dense=False)
        prediction = KernelPrediction(plan, vector, np.zeros_like(vector), self.threads, self)
        self.folded = Derived(version, parameters.view(self.parameter_bits.dtype), prediction)
        return prediction

    def _is_valid(self, derived: Derived, ranges: np.ndarray) -> bool:
        """Whether the parameters in these ranges are still those that a value was derived from.

        If they may change at any time, their bits are compared.  What another thread is using stays
        as it is: a new value is made.
        """
        if derived.version != self.version:
            return False
        return not self.parameters_may_change or bool(
            program.program_same_values(ranges, self.parameter_bits, derived.bits)
        )

    def _take_dense_weights(self, plan: Plan) -> None:
        """Let the operations of dense layers read their weights in the flat array of another plan,
        in which the layers have the same names."""
        names = {offset: name for name, (offset, _) in self.plan.parameter_slots.items()}
        for op in self.table.operations:
            if op.kind == DENSE:
                op.w_offset = plan.parameter_slots[names[int(op.w_offset)]][0]

    # ---- layers of the user's own --------------------------------------------------------------

    def _run_custom(
        self,
        operations: np.ndarray,
        stage: Stage,
        x: np.ndarray,
        values: np.ndarray,
        capacity: int,
        logits: np.ndarray,
    ) -> None:
        """Call `forward` of the layers of the user's own that stand before a stage.

        operations  the table, of training or of prediction: it says where outputs are in `values`
        x           (N, H, W, C) the network's input
        values      the outputs of all operations; there is room for `capacity` images
        logits      (N, K) written if one of these layers is the last of the network
        """
        N = len(logits)
        for k in range(stage.first, stage.begin):
            x_k = self._images(operations, operations[k].x_from, x, values, capacity, N)
            y_k = self._images(operations, k, x, values, capacity, N)
            y_k[:] = custom_forward(self.custom[k], x_k).reshape(y_k.shape)
            if k == operations.size - 1:
                logits[:] = y_k

    def _images(
        self,
        operations: np.ndarray,
        k: int,
        x: np.ndarray,
        values: np.ndarray,
        capacity: int,
        n_images: int,
        offset: str = "y_offset",
    ) -> np.ndarray:
        """The output (n_images, ...) of operation k in `values`, or, with the field `dy_offset` as
        offset, its gradient; of NETWORK_INPUT: x."""
        if k == NETWORK_INPUT:
            return x.reshape(n_images, *self.plan.input_shape)
        op = operations[k]
        size, start = int(op.OH * op.OW * op.F), int(op[offset]) * capacity
        return values[start : start + n_images * size].reshape(n_images, size)

    # ---- images --------------------------------------------------------------------------------

    def scale_images(
        self, images: np.ndarray, scaling: int, normalization: np.ndarray, x_out: np.ndarray
    ) -> None:
        N = len(images)
        n_workers = self.threads.for_work(N, images.size * WORK_OF_ELEMENT)
        if n_workers == 1:
            scale_images(images, scaling, normalization, x_out)
            return
        bounds = [N * k // n_workers for k in range(n_workers + 1)]

        def work(worker: int) -> None:
            part = slice(bounds[worker], bounds[worker + 1])
            scale_images(images[part], scaling, normalization, x_out[part])

        run_in_threads(work, n_workers)


def _without_dense_weights(operations: np.ndarray, n_slots: int) -> np.ndarray:
    """(n, 2): the ranges of a flat array of n_slots that are not weights of dense layers."""
    weights = sorted((int(op.w_offset), int(op.w_size)) for op in operations if op.kind == DENSE)
    begins = [0, *(offset + size for offset, size in weights)]
    ends = [*(offset for offset, _ in weights), n_slots]
    return np.array([(a, b) for a, b in zip(begins, ends) if a < b], np.int64).reshape(-1, 2)
