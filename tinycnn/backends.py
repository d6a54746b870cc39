"""Two ways to run one plan: the reference in NumPy, layer by layer, and the Numba kernels.

Both offer the same three methods to `Network`, on the same flat arrays of parameters and
gradients.  Neither checks its arguments: the network has done that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import reference
from .aligned_arrays import aligned_zeros
from .backend_choice import either
from .layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU
from .losses import DistillationTerms
from .parallel import run_in_threads
from .plan import CONV2D, DROPOUT, Plan, aligned

N_GRADIENT_CHUNKS = 8
"""A training batch is split into at most so many chunks.  Chunks depend on the batch size alone
and their gradients are added in chunk order, so the number of threads cannot change a bit."""

PREDICTION_CHUNK = 8
"""Images that go through the network together in prediction: their activations fit a core's
cache."""

SCALING_SHARE = 64
"""Images a thread scales at least: for fewer, handing them over takes longer than scaling them."""


def named_views(plan: Plan, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Each parameter's part of a flat array in the plan's layout, by name."""
    return {
        name: flat[offset : offset + int(np.prod(shape))].reshape(shape)
        for name, (offset, shape) in plan.parameter_slots.items()
    }


def make_backend(
    backend: str,
    plan: Plan,
    parameters: np.ndarray,
    gradients: np.ndarray,
    n_threads: int,
    training: bool = False,
) -> KernelBackend | ReferenceBackend:
    """The backend of that name.  All that it needs is compiled before it is returned, for training
    too if that is asked for: where "auto" takes NumPy instead, nothing has been computed yet."""
    arguments = (plan, parameters, gradients, n_threads)

    def kernels() -> KernelBackend:
        made = KernelBackend(*arguments)
        made.compile_prediction()
        if training:
            made.compile_training()
        return made

    return either(backend, kernels, lambda: ReferenceBackend(*arguments))


class ReferenceBackend:
    """Walks the plan's steps with `tinycnn.reference`: one layer, one function."""

    ready_to_train, distils = True, False

    def __init__(
        self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray, n_threads: int
    ) -> None:
        self.plan = plan
        self.parameters = named_views(plan, parameters)
        self.gradients = named_views(plan, gradients)
        self.saved: list[tuple] = []

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits of x (N, H, W, C); nothing is kept."""
        return self._forward(x, masks={}, saved=[])

    def forward(self, x: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
        """Logits of x; keeps what `backward` needs.  masks: a dropout mask per layer name."""
        self.saved = []
        return self._forward(x, masks, self.saved)

    def _forward(self, x: np.ndarray, masks: dict[str, np.ndarray], saved: list) -> np.ndarray:
        for step in self.plan.steps:
            layer, kept = step.layer, None
            y = np.empty((len(x), *step.output_shape), x.dtype)
            if isinstance(layer, Conv2D):
                top, left = (axis.before for axis in layer.axes(step.input_shape))
                w, b = self.parameters[f"{step.name}.w"], self.parameters[f"{step.name}.b"]
                reference.conv2d_forward(x, w, b, layer.stride, top, left, y)
            elif isinstance(layer, MaxPool2D):
                top, left = (axis.before for axis in layer.axes(step.input_shape))
                kept = np.empty(y.shape, np.int32)
                reference.maxpool2d_forward(x, layer.size, layer.stride, top, left, y, kept)
            elif isinstance(layer, ReLU):
                reference.relu_forward(x, y)
            elif isinstance(layer, Dense):
                w, b = self.parameters[f"{step.name}.w"], self.parameters[f"{step.name}.b"]
                reference.dense_forward(x, w, b, y)
            elif isinstance(layer, Dropout) and step.name in masks:
                kept = masks[step.name]
                reference.dropout_forward(x, kept, y)
            else:  # Flatten, and dropout outside training
                y = x.reshape(y.shape)
            saved.append((x, y, kept))
            x = y
        return x

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        """Overwrites the gradients; returns the gradient of x where it is wanted."""
        dy = dlogits
        for step, (x, y, kept) in zip(reversed(self.plan.steps), reversed(self.saved)):
            layer = step.layer
            dx = np.empty(x.shape, x.dtype)
            stops = step is self.plan.steps[0] and not wants_dx
            if isinstance(layer, Conv2D):
                top, left = (axis.before for axis in layer.axes(step.input_shape))
                w = self.parameters[f"{step.name}.w"]
                dw, db = self.gradients[f"{step.name}.w"], self.gradients[f"{step.name}.b"]
                reference.conv2d_backward_params(x, dy, layer.stride, top, left, dw, db)
                if not stops:
                    w_t = np.empty((w.shape[3], *w.shape[:3]), w.dtype)
                    reference.conv2d_transpose_weights(w, w_t)
                    reference.conv2d_backward_input(dy, w_t, layer.stride, top, left, dx)
            elif isinstance(layer, MaxPool2D):
                reference.maxpool2d_backward(dy, kept, dx)
            elif isinstance(layer, ReLU):
                reference.relu_backward(y, dy, dx)
            elif isinstance(layer, Dense):
                w = self.parameters[f"{step.name}.w"]
                dw, db = self.gradients[f"{step.name}.w"], self.gradients[f"{step.name}.b"]
                reference.dense_backward_params(x, dy, dw, db)
                w_t = np.empty(w.shape[::-1], w.dtype)
                reference.dense_transpose_weights(w, w_t)
                reference.dense_backward_input(dy, w_t, dx)
            elif isinstance(layer, Dropout):
                reference.dropout_backward(dy, kept, dx)
            elif isinstance(layer, Flatten):
                dx = dy.reshape(x.shape)
            dy = dx
        return dy if wants_dx else None

    @staticmethod
    def scale_images(images: np.ndarray, scaling: int, x_out: np.ndarray) -> None:
        reference.scale_images(images, scaling, x_out)


class KernelBackend:
    """Runs the plan's table of operations on `tinycnn.kernels.program`, chunk by chunk."""

    distils = True

    def __init__(
        self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray, n_threads: int
    ) -> None:
        from .kernels import conv2d_winograd, program, scale_images

        self.program = program
        self._scale_images = scale_images.scale_images
        self.plan, self.parameters, self.gradients = plan, parameters, gradients
        self.n_threads, self.mask_offsets = n_threads, mask_offsets(plan)
        self.n_classes = plan.output_shape[0]
        self.dtype = parameters.dtype
        self.transposed = aligned_zeros(plan.n_transposed, self.dtype)
        self.no_masks = np.zeros(0, self.dtype)
        self.operations, self.n_u, self.n_scratch = plan.operations.copy(), 0, 0
        for op in self.operations:
            if op.kind == CONV2D and conv2d_winograd.winograd_fits(op, self.dtype):
                n_u, n_scratch = conv2d_winograd.winograd_sizes(
                    *(op.H, op.W, op.C, op.F, op.PL, op.conv_OH, op.conv_OW)
                )
                op.winograd, op.u_offset = 1, self.n_u
                self.n_u += aligned(n_u)
                self.n_scratch = max(self.n_scratch, n_scratch)
        # the transformed weights of a training step; those of prediction, behind a copy of the
        # parameters, bit by bit, that they were made of
        self.training_u = aligned_zeros(self.n_u, self.dtype) if self.n_u else None
        self.parameter_bits = parameters.view(np.uint32)
        self.transformed: tuple[np.ndarray, np.ndarray] | None = None
        self.idle_workspaces: list[Workspace] = []
        self.idle_backward_scratch: list[BackwardScratch] = []
        self.training: TrainingWorkspace | None = None
        self.ready_to_train = False
        self.x = self.no_masks

    def compile_prediction(self) -> None:
        """Compile, or find in the cache, what `scale_images`, `predict` and `forward` call, by
        calling it on no images and no operations.  Raises what Numba raises."""
        pixels = np.zeros((0, *self.plan.input_shape), np.uint8)
        self._scale_images(pixels, 0, pixels.astype(self.dtype))
        operations, empty = self.operations[:0], self.no_masks
        u = empty if self.n_u else None
        if u is not None:
            self.program.program_winograd_weights(operations, self.parameters, u)
            bits = self.parameter_bits
            self.program.program_same_weights(operations, bits, bits)
        self.program.program_forward(
            *(operations, self.parameters, u, empty, 0, 0, 0, 0, 0, empty, empty),
            *(np.zeros(0, np.int32), empty, empty, empty, 0, empty),
        )

    def compile_training(self) -> None:
        """The same for `backward`."""
        operations, empty = self.operations[:0], self.no_masks
        winners, counts = np.zeros(0, np.int32), np.zeros(0, np.int64)
        self.program.program_transpose_weights(operations, self.parameters, self.transposed)
        self.program.program_backward(
            *(operations, self.transposed, empty, empty, 0, 0, 0, 0, 0, empty, empty, winners),
            *(empty, empty, empty, 1, empty, empty, empty, winners, counts, winners),
            *(empty, empty, empty),
        )
        rows = empty.reshape(0, 0)
        self.program.program_distil(
            *(operations, self.parameters, self.transposed, empty if self.n_u else None, empty),
            *(counts, rows, rows, 1.0, 0.0, 1.0, 0.0, 0, 0, 0, 0, 0, 0),
            *(empty, empty, winners, empty, empty, empty, empty),
            *(empty, 1, empty, empty, empty, winners, counts, winners),
            *(empty, rows, rows, np.zeros(0), rows, rows, empty),
        )
        self.program.mean_loss(np.zeros(0))
        self.program.program_collect(
            *(operations, empty, 0, 0, empty, empty),
            *(empty.reshape(0, 0), self.transposed, 0, 1, self.gradients),
        )
        self.ready_to_train = True

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits of x (N, H, W, C); nothing is kept.  Several threads may call this at once."""
        N, K = len(x), self.n_classes
        logits = np.empty(N * K, self.dtype)
        u, x = self._winograd_weights(), x.reshape(-1)
        n_chunks = -(-N // PREDICTION_CHUNK)
        size = x.size // max(N, 1)

        def one_chunk(workspace: Workspace, x: np.ndarray, count: int, logits: np.ndarray) -> None:
            self._forward_chunk(*(u, x, 0, count, workspace, workspace, self.no_masks, 0, logits))

        def work(worker: int) -> None:
            workspace = self._take_workspace(PREDICTION_CHUNK)
            for chunk in chunks:
                first = chunk * PREDICTION_CHUNK
                count = min(PREDICTION_CHUNK, N - first)
                one_chunk(workspace, x[first * size :], count, logits[first * K :])
            self.idle_workspaces.append(workspace)

        if n_chunks == 1:  # the shortest way: an image may take 50 us in all
            workspace = self._take_workspace(PREDICTION_CHUNK)
            one_chunk(workspace, x, N, logits)
            self.idle_workspaces.append(workspace)
        elif n_chunks:
            chunks = iter(range(n_chunks))  # shared: a thread that is late takes fewer of them
            run_in_threads(work, min(self.n_threads, n_chunks))
        return logits.reshape(N, K)

    def _forward_chunk(
        self,
        u: np.ndarray | None,
        x: np.ndarray,
        first: int,
        count: int,
        kept: Workspace,
        scratch: Workspace,
        masks: np.ndarray,
        training: int,
        logits: np.ndarray,
    ) -> None:
        """`program_forward` with vectors and pictures in `kept`, image n in slot n."""
        self.program.program_forward(
            *(self.operations, self.parameters, u, x, first, first, count),
            *(kept.capacity, kept.capacity, kept.activations, kept.activations, kept.argmax),
            *(masks, scratch.conv_output, scratch.scratch, training, logits),
        )

    def _winograd_weights(self) -> np.ndarray | None:
        """The transformed weights of the parameters as they are now; None where no convolution
        takes any.

        Parameters may be edited in place at any time, so their bits are compared with a copy.  What
        is made anew is a new pair of arrays: another thread may be reading the old one.
        """
        if not self.n_u:
            return None
        if self.transformed is not None:
            bits, u = self.transformed
            if self.program.program_same_weights(self.operations, self.parameter_bits, bits):
                return u
        copied, u = self.parameters.copy(), aligned_zeros(self.n_u, self.dtype)
        self.program.program_winograd_weights(self.operations, copied, u)
        self.transformed = copied.view(np.uint32), u
        return u

    def _take_workspace(self, capacity: int) -> Workspace:
        found = take_idle(self.idle_workspaces, capacity)
        if found is None:
            capacity = max(capacity, PREDICTION_CHUNK)
            found = Workspace(self.plan, capacity, self.dtype, self.n_scratch)
        return found

    def _take_backward_scratch(self, capacity: int) -> BackwardScratch:
        found = take_idle(self.idle_backward_scratch, capacity)
        return found or BackwardScratch(self.plan, self.dtype, capacity)

    def forward(self, x: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
        """Logits of x; keeps what `backward` needs.  masks: a dropout mask per layer name."""
        space, u = self._begin(x, masks), self.training_u
        logits = np.empty(len(x) * self.n_classes, self.dtype)
        if u is not None:
            self.program.program_winograd_weights(self.operations, self.parameters, u)

        def one_chunk(chunk: int, first: int, count: int) -> None:
            scratch = self._take_workspace(PREDICTION_CHUNK)
            self._forward_chunk(*(u, self.x, first, count, space, scratch, space.masks, 1, logits))
            self.idle_workspaces.append(scratch)

        self._for_each_chunk(one_chunk)
        return logits.reshape(len(x), self.n_classes)

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        """Overwrites the gradients; returns the gradient of x where it is wanted."""
        N, space = self.n_images, self.training
        dx = np.empty(self.x.size if wants_dx else 0, self.dtype)
        self.program.program_transpose_weights(self.operations, self.parameters, self.transposed)
        dlogits_flat = dlogits.reshape(-1)

        def one_chunk(chunk: int, first: int, count: int) -> None:
            scratch = self._take_backward_scratch(chunk_size(N))  # for the last, short chunk too
            self.program.program_backward(
                *(self.operations, self.transposed, self.x, dlogits_flat, first, first, count),
                *(space.capacity, space.capacity, space.activations, space.activations),
                *(space.argmax, space.masks, space.dense_gradients, scratch.d_activations),
                *(scratch.capacity, scratch.x_padded, scratch.dx_padded, scratch.winners_g),
                *(scratch.winners_at, scratch.counts, scratch.targets, scratch.gradients),
                *(space.chunk_gradients[chunk], dx),
            )
            self.idle_backward_scratch.append(scratch)

        self._for_each_chunk(one_chunk)
        self._collect()
        return dx.reshape(N, *self.plan.input_shape) if wants_dx else None

    def distil(
        self,
        x: np.ndarray,
        masks: dict[str, np.ndarray],
        terms: DistillationTerms,
        labels: np.ndarray,
        targets: np.ndarray,
        soft_labels: np.ndarray,
    ) -> tuple[float, np.ndarray]:
        """Mean loss and logits of x; overwrites the gradients, if that loss is finite: see
        `program_distil`."""
        N, K = len(x), self.n_classes
        space = self._begin(x, masks)
        logits, losses = np.empty((N, K), self.dtype), np.empty(N)
        size = chunk_size(N)
        n_chunks = chunk_count(N)
        alone = min(self.n_threads, n_chunks) == 1

        def some_chunks(chunk: int, end_chunk: int) -> float:
            kept, scratch = self._take_workspace(size), self._take_backward_scratch(size)
            loss = self.program.program_distil(
                *(self.operations, self.parameters, self.transposed, self.training_u, self.x),
                *(labels, targets, soft_labels, *terms),
                *(chunk, end_chunk, size, int(alone), space.capacity, kept.capacity),
                *(space.activations, kept.activations, kept.argmax, space.masks),
                *(kept.conv_output, kept.scratch, space.dense_gradients),
                *(scratch.d_activations, scratch.capacity, scratch.x_padded, scratch.dx_padded),
                *(scratch.winners_g, scratch.winners_at, scratch.counts, scratch.targets),
                *(scratch.gradients, space.chunk_gradients, logits, losses),
                *(space.dlogits, space.target_rows, self.gradients),
            )
            self.idle_workspaces.append(kept)
            self.idle_backward_scratch.append(scratch)
            return loss

        if alone:
            return some_chunks(0, n_chunks), logits
        if self.training_u is not None:
            self.program.program_winograd_weights(self.operations, self.parameters, self.training_u)
        self.program.program_transpose_weights(self.operations, self.parameters, self.transposed)
        self._for_each_chunk(lambda chunk, first, count: some_chunks(chunk, chunk + 1))
        loss = self.program.mean_loss(losses)
        if math.isfinite(loss):
            self._collect()
        return loss, logits

    def _begin(self, x: np.ndarray, masks: dict[str, np.ndarray]) -> TrainingWorkspace:
        """What a step on x works in, with the masks in it."""
        N = len(x)
        if self.training is None or self.training.capacity < N:
            self.training = TrainingWorkspace(self.plan, N, self.dtype)
        space = self.training
        for name, offset in self.mask_offsets:
            size = masks[name].size
            start = offset * space.capacity
            space.masks[start : start + size] = masks[name].reshape(-1)
        self.x = x.reshape(-1)
        self.n_images = N
        return space

    def _collect(self) -> None:
        """The gradients of the batch, from those of its chunks."""
        N, space = self.n_images, self.training
        n_chunks = chunk_count(N)
        n_shares = max(min(self.n_threads, n_chunks), 1)

        def collect(share: int) -> None:
            self.program.program_collect(
                *(self.operations, self.x, N, space.capacity, space.activations),
                *(space.dense_gradients, space.chunk_gradients[:n_chunks], self.transposed),
                *(share, n_shares, self.gradients),
            )

        run_in_threads(collect, n_shares)

    def _for_each_chunk(self, one_chunk: Callable[[int, int, int], Any]) -> None:
        """Call one_chunk(chunk, first, count) for every chunk of the batch, in several threads."""
        N = self.n_images
        size, n_chunks = chunk_size(N), chunk_count(N)
        chunks = iter(range(n_chunks))  # shared, as in predict

        def work(worker: int) -> None:
            for chunk in chunks:
                first = chunk * size
                one_chunk(chunk, first, min(size, N - first))

        if n_chunks:
            run_in_threads(work, min(self.n_threads, n_chunks))

    def scale_images(self, images: np.ndarray, scaling: int, x_out: np.ndarray) -> None:
        N = len(images)
        n_workers = max(min(self.n_threads, N // SCALING_SHARE), 1)
        bounds = [N * k // n_workers for k in range(n_workers + 1)]

        def work(worker: int) -> None:
            part = slice(bounds[worker], bounds[worker + 1])
            self._scale_images(images[part], scaling, x_out[part])

        run_in_threads(work, n_workers)


def chunk_size(n_images: int) -> int:
    """Images a chunk of a training batch; a function of the batch size alone."""
    return max(-(-n_images // N_GRADIENT_CHUNKS), 1)


def chunk_count(n_images: int) -> int:
    """Chunks of a training batch."""
    return -(-n_images // chunk_size(n_images))


def take_idle(idle: list[Any], capacity: int) -> Any:
    """A workspace of that capacity or more from a list that threads share; smaller ones on the way
    are let go.  None: there is none."""
    while idle:
        try:
            found = idle.pop()  # atomic
        except IndexError:
            break  # another thread took it
        if found.capacity >= capacity:
            return found
    return None


def mask_offsets(plan: Plan) -> list[tuple[str, int]]:
    """Name and mask offset of each dropout layer, in order."""
    names = [step.name for step in plan.steps if isinstance(step.layer, Dropout)]
    offsets = plan.operations["mask_offset"][plan.operations["kind"] == DROPOUT]
    return list(zip(names, offsets.tolist()))


class Workspace:
    """What a forward pass of `capacity` images writes on its way."""

    def __init__(self, plan: Plan, capacity: int, dtype: np.dtype, n_scratch: int = 0) -> None:
        self.capacity = capacity
        self.activations = aligned_zeros(plan.n_activations * capacity, dtype)
        self.argmax = aligned_zeros(plan.n_argmax * capacity, np.int32)
        self.conv_output = aligned_zeros(plan.n_conv_output, dtype)
        self.scratch = aligned_zeros(n_scratch, dtype)


class TrainingWorkspace(Workspace):
    """A workspace that keeps a whole batch, with room for gradients and dropout masks."""

    def __init__(self, plan: Plan, capacity: int, dtype: np.dtype) -> None:
        super().__init__(plan, capacity, dtype)
        n_chunks = min(N_GRADIENT_CHUNKS, max(capacity, 1))
        self.masks = np.zeros(plan.n_mask * capacity, dtype)
        self.dense_gradients = aligned_zeros(plan.n_activations * capacity, dtype)
        n_logits = plan.output_shape[0]
        self.dlogits = np.zeros((capacity, n_logits), dtype)
        self.target_rows = np.zeros((capacity, n_logits), dtype)
        self.chunk_gradients = aligned_zeros(n_chunks * plan.n_parameter_slots, dtype).reshape(
            n_chunks, plan.n_parameter_slots
        )


class BackwardScratch:
    """What `program_backward` works in, for one thread and chunks of up to `capacity` images."""

    def __init__(self, plan: Plan, dtype: np.dtype, capacity: int) -> None:
        self.capacity = capacity
        self.d_activations = aligned_zeros(plan.n_activations * capacity, dtype)
        self.gradients = aligned_zeros(plan.n_parameter_slots, dtype)
        self.x_padded = aligned_zeros(plan.n_padded, dtype)
        self.dx_padded = aligned_zeros(plan.n_padded, dtype)
        self.winners_g = aligned_zeros(plan.n_winners, dtype)
        self.winners_at = aligned_zeros(plan.n_winners, np.int32)
        self.counts = np.zeros(plan.n_winners, np.int64)
        self.targets = np.zeros(plan.n_targets, np.int32)
