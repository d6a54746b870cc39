"""The memory that a step works in: allocates the structures of `kernels/arrays.py`.

The constructors take a number of images.  With 0 images they give empty structures, on which
kernels can be compiled without computing anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np

from .aligned_arrays import aligned_zeros
from .kernels.arrays import Activations, BackwardScratch, ForwardScratch, Gradients, Results
from .kernels.operations import Sizes
from .plan import Plan


class PredictionSpace:
    """What a forward pass of up to `capacity` images writes on its way."""

    def __init__(self, sizes: Sizes, capacity: int, dtype: np.dtype) -> None:
        self.capacity = capacity
        self.activations = make_activations(sizes, capacity, dtype)
        self.scratch = make_forward_scratch(sizes, dtype)


class ChunkSpace:
    """What one thread needs for the forward and backward pass of chunks of up to `capacity` images.

    `activations` holds pictures and winners alone: what is needed for the whole batch lies in the
    `BatchSpace`.
    """

    def __init__(self, plan: Plan, sizes: Sizes, capacity: int, dtype: np.dtype) -> None:
        self.capacity = capacity
        self.activations = make_activations(sizes, capacity, dtype)
        self.forward_scratch = make_forward_scratch(sizes, dtype)
        self.backward_scratch = BackwardScratch(
            capacity=capacity,
            d_activations=aligned_zeros(sizes.n_activations * capacity, dtype),
            x_padded=aligned_zeros(sizes.n_padded, dtype),
            dx_padded=aligned_zeros(sizes.n_padded, dtype),
            winner_gradients=aligned_zeros(sizes.n_winners, dtype),
            winner_positions=aligned_zeros(sizes.n_winners, np.int32),
            winner_counts=np.zeros(sizes.n_winners, np.int64),
            winner_lists=np.zeros(sizes.n_winner_lists, np.int32),
            parameters=aligned_zeros(plan.n_parameter_slots, dtype),
        )


class BatchSpace:
    """What a training step keeps for a whole batch of up to `capacity` images."""

    def __init__(
        self, plan: Plan, sizes: Sizes, capacity: int, n_chunks: int, gradients: np.ndarray
    ) -> None:
        dtype = gradients.dtype
        self.capacity = capacity
        masks = np.zeros(sizes.n_mask * capacity, dtype)
        self.activations = make_activations(sizes, capacity, dtype, masks)
        self.gradients = Gradients(
            d_vectors=aligned_zeros(sizes.n_activations * capacity, dtype),
            chunks=aligned_zeros(n_chunks * plan.n_parameter_slots, dtype).reshape(
                n_chunks, plan.n_parameter_slots
            ),
            parameters=gradients,
        )
        shape = (capacity, plan.output_shape[0])
        self.dlogits, self.target_rows = np.zeros(shape, dtype), np.zeros(shape, dtype)


def make_activations(
    sizes: Sizes, capacity: int, dtype: np.dtype, masks: np.ndarray | None = None
) -> Activations:
    """Room for `capacity` images.  masks: of a training step; prediction needs none.

    Vectors and pictures share one array: an output lies in one or the other.
    """
    outputs = aligned_zeros(sizes.n_activations * capacity, dtype)
    return Activations(
        batch_capacity=capacity,
        vectors=outputs,
        masks=np.zeros(0, dtype) if masks is None else masks,
        picture_capacity=capacity,
        pictures=outputs,
        argmax=aligned_zeros(sizes.n_argmax * capacity, np.int32),
    )


def make_forward_scratch(sizes: Sizes, dtype: np.dtype) -> ForwardScratch:
    return ForwardScratch(
        conv_output=aligned_zeros(sizes.n_conv_output, dtype),
        winograd=aligned_zeros(sizes.n_winograd_scratch, dtype),
    )


def make_results(n_images: int, n_classes: int, space: BatchSpace, dx_size: int) -> Results:
    """New arrays for what a step of n_images hands back, the space's own for the rest."""
    dtype = space.dlogits.dtype
    return Results(
        logits=np.empty((n_images, n_classes), dtype),
        losses=np.empty(n_images),
        dlogits=space.dlogits,
        target_rows=space.target_rows,
        dx=np.empty(dx_size, dtype),
    )


class Space(Protocol):
    """What a `Pool` holds."""

    capacity: int


S = TypeVar("S", bound=Space)


class Pool(Generic[S]):
    """Workspaces that threads take in turn and give back; `idle` are those that nobody has."""

    def __init__(self, make: Callable[[int], S]) -> None:
        self.idle: list[S] = []
        self.make = make

    def take(self, capacity: int) -> S:
        """One that holds `capacity` images or more, made where none is idle.  Smaller ones that are
        met on the way are thrown away."""
        while self.idle:
            try:
                found = self.idle.pop()  # atomic
            except IndexError:
                break  # another thread took it
            if found.capacity >= capacity:
                return found
        return self.make(capacity)

    def give_back(self, space: S) -> None:
        self.idle.append(space)
