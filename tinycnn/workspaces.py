"""Allocates the structures of `kernels/arrays.py`, and keeps them to be used again.

`capacity` is always a number of images that there is room for.  With capacity 0 the structures are
empty: calling a kernel with them compiles it and computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from .aligned_arrays import aligned_zeros
from .kernels.arrays import (
    Activations,
    BackwardScratch,
    BatchStatistics,
    ForwardScratch,
    Gradients,
    Results,
)
from .kernels.operations import Sizes
from .plan import Plan


class PredictionSpace:
    """Memory for the forward pass of up to `capacity` images in prediction."""

    def __init__(self, sizes: Sizes, capacity: int, dtype: np.dtype) -> None:
        self.capacity = capacity
        self.activations = make_activations(sizes, capacity, dtype)
        self.forward_scratch = ForwardScratch(
            conv_output=aligned_zeros(sizes.n_conv_output, dtype),
            workspace=aligned_zeros(sizes.n_workspace, dtype),
            channels=aligned_zeros(sizes.n_channel_scratch, dtype),
        )
        self.prediction_arrays = (
            self.activations.chunk_outputs,
            self.forward_scratch.conv_output,
            self.forward_scratch.workspace,
        )


class ChunkSpace(PredictionSpace):
    """Memory for the forward and backward pass of a chunk of up to `capacity` images.

    Of `activations` only `block_outputs`, `chunk_outputs` and `argmax` are used; the rest is in
    `BatchSpace`.
    """

    def __init__(self, plan: Plan, sizes: Sizes, capacity: int, dtype: np.dtype) -> None:
        super().__init__(sizes, capacity, dtype)
        self.activations = self.activations._replace(
            block_capacity=capacity,
            block_outputs=aligned_zeros(sizes.n_block_outputs * capacity, dtype),
        )
        self.backward_scratch = BackwardScratch(
            capacity=capacity,
            d_activations=aligned_zeros(sizes.n_chunk_gradients * capacity, dtype),
            added_dx=aligned_zeros(sizes.n_added_dx * capacity, dtype),
            channels=aligned_zeros(sizes.n_channel_scratch, dtype),
            workspace=self.forward_scratch.workspace,
            x_padded=aligned_zeros(sizes.n_padded, dtype),
            dx_padded=aligned_zeros(sizes.n_padded, dtype),
            winner_gradients=aligned_zeros(sizes.n_winners, dtype),
            winner_positions=aligned_zeros(sizes.n_winners, np.int32),
            winner_counts=np.zeros(sizes.n_winners, np.int64),
            winner_lists=np.zeros(sizes.n_winner_lists, np.int32),
            parameters=aligned_zeros(plan.n_parameter_slots, dtype),
        )


class BatchSpace:
    """Memory that a training step needs for a whole batch of up to `capacity` images."""

    def __init__(
        self, plan: Plan, sizes: Sizes, capacity: int, n_chunks: int, gradients: np.ndarray
    ) -> None:
        dtype = gradients.dtype
        self.capacity = capacity
        self.activations = make_activations(sizes, capacity, dtype, sizes.n_mask * capacity)
        self.gradients = Gradients(
            batch_outputs=aligned_zeros(sizes.n_batch_gradients * capacity, dtype),
            chunks=aligned_zeros(n_chunks * plan.n_parameter_slots, dtype).reshape(
                n_chunks, plan.n_parameter_slots
            ),
            parameters=gradients,
        )
        self.statistics = BatchStatistics(
            n_images=0,
            most_chunks=n_chunks,
            chunk_moments=np.zeros(sizes.n_moments * n_chunks),
            moments=np.zeros(sizes.n_moments),
        )
        shape = (capacity, plan.output_shape[0])
        self.dlogits, self.target_rows = np.zeros(shape, dtype), np.zeros(shape, dtype)


def make_activations(
    sizes: Sizes, capacity: int, dtype: np.dtype, mask_size: int = 0
) -> Activations:
    """Memory for the outputs of `capacity` images.  mask_size: 0 for prediction, without masks.

    `batch_outputs` and `chunk_outputs` are one array here: each output is in only one of them.
    `block_outputs` is empty: a chunk has it.
    """
    outputs = aligned_zeros(sizes.n_activations * capacity, dtype)
    return Activations(
        batch_capacity=capacity,
        batch_outputs=outputs,
        masks=np.zeros(mask_size, dtype),
        chunk_capacity=capacity,
        chunk_outputs=outputs,
        argmax=aligned_zeros(sizes.n_argmax * capacity, np.int32),
        block_capacity=0,
        block_outputs=outputs[:0],
    )


def make_results(n_images: int, n_classes: int, space: BatchSpace, dx_size: int) -> Results:
    """New arrays for what a step returns; for the rest, the arrays of `space`.  dx_size: elements
    of the gradient of x, 0 if it is not wanted."""
    dtype = space.dlogits.dtype
    return Results(
        logits=np.empty((n_images, n_classes), dtype),
        losses=np.empty(n_images),
        dlogits=space.dlogits,
        target_rows=space.target_rows,
        dx=np.empty(dx_size, dtype),
    )


S = TypeVar("S", bound=PredictionSpace)


class Pool(Generic[S]):
    """Workspaces that threads take and give back.  `idle`: those that no thread has."""

    def __init__(self, make: Callable[[int], S]) -> None:
        self.idle: list[S] = []
        self.make = make

    def take(self, capacity: int) -> S:
        """An idle workspace for `capacity` images or more, else a new one.  Smaller ones are
        dropped."""
        while self.idle:
            try:
                space = self.idle.pop()  # atomic
            except IndexError:
                break  # another thread took it
            if space.capacity >= capacity:
                return space
        return self.make(capacity)

    def give_back(self, space: S) -> None:
        self.idle.append(space)
