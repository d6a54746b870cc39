"""Where training keeps the outputs of operations and their gradients.

Backward needs most outputs of the whole batch.  A gradient is needed only until its operation has
gone backward; after that, another gradient takes its memory.  So what a step writes is more often
still in the cache, and training needs less memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..shared_offsets import shared_offsets
from .arrays import Stage
from .nodes import Node
from .operations import BATCH_MOMENTS, BATCH_NORM, CUSTOM, DENSE, Sizes

Lifetime = Callable[[Node], tuple[int, int]]
"""When an array of a node is needed: see `shared_offsets`."""


def place_outputs(nodes: Sequence[Node], stages: Sequence[Stage], sizes: Sizes) -> None:
    """Choose for all operations of a network in which arrays their outputs and gradients are and
    where they begin there; set the sizes of these arrays."""
    for stage in stages:
        _choose_arrays(nodes, stage)
    with_output = [node for node in nodes if node.op.kind != BATCH_MOMENTS or node.op.pool]
    kept = [node for node in with_output if not node.op.y_in_block]
    in_block = [node for node in with_output if node.op.y_in_block]
    for node in kept:
        node.op.y_offset = sizes.reserve("n_activations", _size(node))
    sizes.n_block_outputs = _place(in_block, "y_offset", lambda node: (node.stage, node.stage))

    with_gradient = [node for node in nodes if node.op.kind != BATCH_MOMENTS]
    of_batch = [node for node in with_gradient if node.op.dy_in_batch]
    of_chunk = [node for node in with_gradient if not node.op.dy_in_batch]
    sizes.n_batch_gradients = _place(of_batch, "dy_offset", _stages_of_gradient)
    sizes.n_chunk_gradients = _place(of_chunk, "dy_offset", lambda node: (node.stage, node.stage))
    for node in nodes:
        if node.moments:
            node.moments.op.dy_offset = node.op.dy_offset


def _choose_arrays(nodes: Sequence[Node], stage: Stage) -> None:
    """Set y_in_chunk, y_in_block, dy_in_batch and dy_in_block of the operations of a stage.

    An output is needed only by its chunk if what takes it goes through the backward pass block by
    block, as it does itself.  (Dense layers need their inputs and the gradients of their outputs
    for the whole batch, see `program_collect`.)  The same holds for its gradient; but a BATCH_NORM
    takes an output and gives it no gradient, which its BATCH_MOMENTS does.

    The outputs of a BATCH_NORM are computed again in backward: that takes less time than to write
    them to main memory and to read them back.  In the last stage they would be in the cache still.
    """
    in_blocks = nodes[stage.begin : stage.block_end]

    def is_in_blocks(members: Sequence[Node]) -> bool:
        return all(one in in_blocks and one.op.kind != DENSE for one in members)

    is_last = stage.end == len(nodes)
    for node in nodes[stage.first : stage.end]:
        op, users, givers = node.op, node.users, _givers(node)
        op.y_in_chunk = bool(users) and is_in_blocks([node, *users])
        op.y_in_block = op.y_in_chunk and op.kind == BATCH_NORM and not is_last
        op.dy_in_block = bool(givers) and is_in_blocks([node, *givers])
        crosses = any(user.is_custom or user.stage != node.stage for user in givers)
        op.dy_in_batch = op.kind in (DENSE, CUSTOM, BATCH_NORM, BATCH_MOMENTS) or crosses


def _givers(node: Node) -> list[Node]:
    """The operations that compute the gradient of the node's output, or a part of it."""
    return [user for user in node.users if user.op.kind != BATCH_NORM]


def _stages_of_gradient(node: Node) -> tuple[int, int]:
    """The first and the last stage of backward that need the gradient of the node's output.

    They are given as negative numbers, because backward goes from the last stage to the first.
    """
    begin = max([node.stage, *(giver.stage for giver in _givers(node))])
    if node.op.kind == DENSE:
        end = -1  # `program_collect` reads it after all stages
    else:
        end = node.moments.stage if node.moments else node.stage
    return -begin, -end


def _size(node: Node) -> int:
    """Elements of the node's output for one image."""
    return int(node.op.OH * node.op.OW * node.op.F)


def _place(nodes: Sequence[Node], field: str, lifetime: Lifetime) -> int:
    """Store in the field where the array of each node begins; returns the size of all together."""
    offsets, total = shared_offsets(
        [_size(node) for node in nodes], [lifetime(node) for node in nodes]
    )
    for node, offset in zip(nodes, offsets):
        node.op[field] = offset
    return total
