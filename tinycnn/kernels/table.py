"""From a plan to the table of operations that the kernels run.

The table lists the operations in the order of the forward pass.  Each record names the operations
whose outputs it takes, so a network may have branches.

The table is split into stages.  A stage is a range of operations that the kernels run chunk by
chunk.  Between stages is done what needs the whole batch: a BatchNorm's mean and variance, and the
layers of the user's own (`tinycnn.layers.CustomLayer`).  An operation is in the first stage in
which its inputs are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..layers import CustomLayer, Dropout, Flatten, Shape
from ..plan import NETWORK_INPUT, Plan, Step
from .arrays import Stage
from .nodes import Node
from .operations import (
    BATCH_MOMENTS,
    BATCH_NORM,
    CUSTOM,
    DENSE,
    FUSED,
    RECORD,
    Needs,
    Sizes,
    fill_of,
)
from .training_memory import place_outputs

BLOCK = 4
"""Images in a block.  The backward pass goes through operations on pictures block by block, so that
the gradients of their outputs stay in the second-level cache."""

BLOCKS, BLOCK_ELEMENTS = (16, 8, 4, 2), 1 << 16
"""With BatchNorm the forward pass does so too, for the means and variances of the outputs.  A block
has one of these numbers of images, or one image: the largest whose outputs of one operation have so
many elements, 256 KB in float32.  Backward needs four such arrays.  Where pictures are small and
have many channels, large blocks read the weights and add to their gradients less often."""


@dataclass(frozen=True)
class OperationTable:
    """The operations of a network, and the sizes of the arrays that they need.

    operations    all records, in the order of the forward pass
    stages        ranges of `operations` that follow one another
    custom_steps  the layers of the user's own, by the number of their operation
    mask_offsets  offset of the mask of each dropout layer, by name
    """

    operations: np.ndarray
    stages: tuple[Stage, ...]
    sizes: Sizes
    custom_steps: dict[int, Step]
    mask_offsets: dict[str, int]


def make_operations(plan: Plan, dtype: np.dtype) -> OperationTable:
    """The table for `plan`, for arrays of `dtype`.

    Raises UnknownLayerError for a layer whose class has no entry in RECORDS.
    """
    sizes = Sizes()
    nodes = _make_nodes(plan, Needs(plan, dtype, sizes))
    # stable, so that in each stage the order remains that of the plan
    nodes.sort(key=lambda node: (node.stage, not node.is_custom))
    numbers = {node: k for k, node in enumerate(nodes)}
    for node in nodes:
        sources = [NETWORK_INPUT if s is None else numbers[s] for s in node.sources]
        node.op.x_from, node.op.x2_from = sources[0], sources[-1]
    stages = _stages(nodes)
    place_outputs(nodes, stages, sizes)
    _mark_additions(nodes, sizes)
    for node in nodes:
        if node.op.kind == DENSE:
            node.op.prepared_offset += sizes.n_prepared
    return OperationTable(
        np.array([node.op for node in nodes], RECORD),
        stages,
        sizes,
        {k: node.step for k, node in enumerate(nodes) if node.is_custom},
        {
            node.step.name: int(node.op.mask_offset)
            for node in nodes
            if isinstance(node.step.layer, Dropout)
        },
    )


def _make_nodes(plan: Plan, needs: Needs) -> list[Node]:
    nodes: list[Node] = []
    node_of: dict[int, Node | None] = {NETWORK_INPUT: None}  # by the number of the step
    for begin, group in _groups(plan.steps):
        first = group[0]
        sources = tuple(node_of[k] for k in first.inputs)
        if isinstance(first.layer, Flatten):
            node_of[begin] = sources[0]
            continue
        op = np.zeros(1, RECORD)[0]
        op.H, op.W, op.C = _as_picture(first.input_shape)
        op.OH, op.OW, op.F = _as_picture(group[-1].output_shape)
        node = Node(op, first, sources)
        if isinstance(first.layer, CustomLayer):
            op.kind = CUSTOM
        else:
            fill_of(first.layer)(op, group, needs)
        made = [node]
        if op.kind == BATCH_NORM:  # see `batch_norm.py`
            moments = Node(node.op.copy(), first, sources)
            moments.op.kind, moments.op.activation, moments.op.sums_chunks = BATCH_MOMENTS, 0, 0
            node.moments, made = moments, [moments, node]
            if op.pool:  # see `batch_norm_maxpool2d.py`
                node.op.pool, node.op.is_behind_pool, node.sources = 0, 1, (moments,)
        for part in made:
            part.stage = max(_earliest_stage(source, part.op.kind) for source in part.sources)
            for source in part.sources:
                if source is not None:
                    source.users.append(part)
        nodes += made
        node_of[begin + len(group) - 1] = node
    return nodes


def _groups(steps: Sequence[Step]) -> Iterator[tuple[int, Sequence[Step]]]:
    """The steps of each operation, and the number of the first.

    Flatten changes no value: it becomes no operation, and no operation extends across it, because
    the shapes before and after it differ.
    """
    n_users = Counter(source for step in steps for source in step.inputs)

    def is_chain(begin: int, kinds: Sequence[type]) -> bool:
        """Whether steps of these kinds follow one another, each the only one that takes the output
        of the one before."""
        part = steps[begin : begin + len(kinds)]
        return [type(step.layer) for step in part] == list(kinds) and all(
            part[k].inputs == (begin + k - 1,) and n_users[begin + k - 1] == 1
            for k in range(1, len(part))
        )

    k = 0
    while k < len(steps):
        n_steps = next((len(kinds) for kinds in FUSED if is_chain(k, kinds)), 1)
        yield k, steps[k : k + n_steps]
        k += n_steps


def _earliest_stage(source: Node | None, kind: int) -> int:
    """The first stage in which an operation of this kind can take the output of `source`."""
    stage = 0 if source is None else source.stage
    if kind == CUSTOM:  # before that stage, the outputs of the whole batch
        return stage + (source is not None and not source.is_custom)
    return stage + (kind == BATCH_NORM)  # behind the stage of its BATCH_MOMENTS


def _stages(nodes: Sequence[Node]) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    has_batch_norm = any(node.op.kind == BATCH_NORM for node in nodes)
    begin = 0
    for number in range(nodes[-1].stage + 1):
        members = [node for node in nodes if node.stage == number]
        n_custom = sum(node.is_custom for node in members)
        end = begin + len(members)
        pictures = [k for k, node in enumerate(members) if len(node.step.input_shape) == 3]
        block_end = begin + max([n_custom, *(k + 1 for k in pictures)])
        block = BLOCK
        if has_batch_norm:
            largest = max([1, *(node.op.OH * node.op.OW * node.op.F for node in members)])
            block = next((n for n in BLOCKS if n * largest <= BLOCK_ELEMENTS), 1)
        stages.append(Stage(begin, begin + n_custom, block_end, end, block))
        begin = end
    return tuple(stages)


def _mark_additions(nodes: Sequence[Node], sizes: Sizes) -> None:
    """Set adds_dx and adds_dx2.  The backward pass goes through the table in reverse: the first
    operation that computes the gradient of an output stores it, the others add to it.  A BATCH_NORM
    computes none: its BATCH_MOMENTS does."""
    stored: set[Node | None] = set()
    for node in reversed(nodes):
        op = node.op
        if op.kind == BATCH_NORM:
            continue
        op.adds_dx = node.sources[0] in stored
        stored.add(node.sources[0])
        op.adds_dx2 = node.sources[-1] in stored
        stored.add(node.sources[-1])
        if op.adds_dx:
            sizes.reserve_scratch("n_added_dx", int(op.H * op.W * op.C))


def _as_picture(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (1, 1, int(np.prod(shape)))
