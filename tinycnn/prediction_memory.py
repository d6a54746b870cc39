"""Where prediction keeps the outputs of operations, and how many images it takes at a time.

Training keeps all outputs for the backward pass.  Prediction needs an output only until the last
operation that takes it has run.  So operations use the same memory again, and what is needed at
once stays in the processor's second-level cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .kernels.table import OperationTable
from .shared_offsets import shared_offsets

CHUNK, MOST = 8, 64
"""How many images go through a network together: usually, and at most."""

FEWEST = 2
"""Fewer images than these are not faster, even if two do not fit in the cache: measured."""

CACHE_BYTES = 1 << 20
"""What the outputs that are needed at once should fit in: a usual second-level cache."""


def with_shared_memory(table: OperationTable) -> OperationTable:
    """The table for prediction, with outputs that share memory."""
    operations = table.operations.copy()
    offsets, n_activations = shared_memory(operations, range(1, operations.size + 1))
    for op, offset in zip(operations, offsets):
        op.y_offset = offset
    return replace(
        table, operations=operations, sizes=replace(table.sizes, n_activations=n_activations)
    )


def shared_memory(operations: np.ndarray, ends: Sequence[int]) -> tuple[list[int], int]:
    """Where the output of each operation begins, and the end of all: each begins at the lowest
    offset at which it overlaps no output that is still needed.

    ends  of each operation: the first one that cannot run at the same time or before
    """
    last_use = [end - 1 for end in ends]
    for k, op in enumerate(operations):
        for source in (int(op.x_from), int(op.x2_from)):
            if source >= 0:
                last_use[source] = ends[k] - 1
    lengths = [int(op.OH * op.OW * op.F) for op in operations]
    return shared_offsets(lengths, list(enumerate(last_use)))


def images_together(table: OperationTable, n_weights: int, dtype: np.dtype) -> int:
    """How many images go through a network together in prediction.

    With more images the `n_weights` weights are read less often, but the outputs take more of the
    cache.  The first of these rules that applies gives the number:

        the weights fill half of the cache or more, and the outputs of CHUNK images fit: as many
            images as fit, up to MOST
        the outputs of CHUNK images fit, or the weights are so many that reading them more often
            takes longer than writing all outputs to memory: CHUNK
        otherwise: as many images as fit, but at least FEWEST
    """
    fitting = CACHE_BYTES // (table.sizes.n_activations * dtype.itemsize)
    if fitting >= CHUNK and n_weights * dtype.itemsize > CACHE_BYTES // 2:
        return min(fitting, MOST)
    n_images = int(min(max(fitting, FEWEST), CHUNK))
    n_outputs = sum(int(op.OH * op.OW * op.F) for op in table.operations)
    return n_images if n_weights / n_images - n_weights / CHUNK <= n_outputs else CHUNK
