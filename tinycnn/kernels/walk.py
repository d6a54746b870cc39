"""Goes through the operations of a stage for a chunk of images, forward and backward.

The file of an operation has its passes, and adaptors that call these.  All adaptors of a pass have
the same arguments (`passes.py`), and are called by the addresses in the operation's record.
"""

from ._jit import helper, inline_helper
from .add import add_forward
from .arrays import Chunk, Stage, output_gradient, outputs, rows
from .elementwise import add, assign
from .operations import ACTIVATION, ADD
from .passes import ACTIVATE, ACTIVATE_BACKWARD, BACKWARD, FORWARD

call_forward, call_backward = FORWARD.call, BACKWARD.call
call_activate, call_activate_backward = ACTIVATE.call, ACTIVATE_BACKWARD.call


@inline_helper
def input_of(source, operations, x, size, activations, chunk):
    """The outputs of the operation `source` for a chunk, `size` for each image; of -1: x, which is
    the network's input for the whole batch."""
    if source < 0:
        return rows(x, chunk, size)
    return outputs(operations[source], activations, chunk)


@inline_helper
def input_gradient(source, operations, dx, size, activations, gradients, scratch, chunk):
    """The gradient of `input_of`; dx: of the network's input for the whole batch, or empty."""
    if source < 0:
        return rows(dx, chunk, size)
    return output_gradient(operations[source], activations, gradients, scratch, chunk)


@inline_helper
def walk_forward(weights, statistics, x, activations, scratch, chunk, stage, training, logits_out):
    """The operations of a stage for a chunk, or for a block of a chunk.

    x           of the whole batch, flat
    logits_out  the same, for the outputs of the last operation: those of the chunk are written
    """
    operations = weights.operations
    for k in range(stage.begin, stage.end):
        op = operations[k]
        x_k = input_of(op.x_from, operations, x, op.H * op.W * op.C, activations, chunk)
        y_k = outputs(op, activations, chunk)
        if op.forward_function:
            call_forward(
                op.forward_function,
                (op, weights, statistics, x_k, y_k, activations, scratch, chunk, training),
            )
        elif op.kind == ADD:
            size = op.H * op.W * op.C
            x2_k = input_of(op.x2_from, operations, x, size, activations, chunk)
            add_forward(x_k, x2_k, op.fuses_relu, y_k)
        elif op.kind == ACTIVATION:
            assign(x_k, y_k)
        if op.activate_function:
            call_activate(op.activate_function, (op, y_k))
        if k == operations.size - 1:
            assign(y_k, rows(logits_out, chunk, op.OH * op.OW * op.F))


@helper
def walk_chunk_forward(weights, statistics, x, activations, scratch, chunk, stage, logits_out):
    """The operations of a stage for a chunk, in training.  The arguments are those of
    `walk_forward`.

    In a network with BatchNorm, those on pictures are done for one block of images at a time, so
    that an output is still in the second-level cache when its mean and variance are computed.
    """
    blocks_end = stage.block_end if statistics.moments.size else stage.begin
    n_blocks = -(-chunk.n_images // stage.block) if blocks_end > stage.begin else 0
    for b in range(n_blocks + 1):
        if b < n_blocks:
            begin, end, n_done = stage.begin, blocks_end, b * stage.block
            n_images = min(stage.block, chunk.n_images - n_done)
        else:  # the others, for the whole chunk
            begin, end, n_done, n_images = blocks_end, stage.end, 0, chunk.n_images
        block = Chunk(
            chunk.number, chunk.first + n_done, n_images, chunk.first_kept + n_done, n_done
        )
        walk_forward(
            weights, statistics, x, activations, scratch, block,
            Stage(begin, begin, begin, end, stage.block), 1, logits_out,
        )  # fmt: skip


@inline_helper
def compute_again(weights, statistics, x, activations, scratch, block, begin, end):
    """The outputs of the operations begin <= k < end that forward has not kept, for a block."""
    operations = weights.operations
    for k in range(begin, end):
        op = operations[k]
        if op.y_in_block:
            x_k = input_of(op.x_from, operations, x, op.H * op.W * op.C, activations, block)
            y_k = outputs(op, activations, block)
            call_forward(
                op.forward_function,
                (op, weights, statistics, x_k, y_k, activations, scratch, block, 1),
            )
            if op.activate_function:
                call_activate(op.activate_function, (op, y_k))


@helper
def walk_backward(
    weights, statistics, x, dlogits, activations, gradients, forward_scratch, scratch, sums, chunk,
    stage, dx_out,
):  # fmt: skip
    """The operations of a stage for a chunk, from the last to the first, after `walk_forward` with
    training = 1 for the same chunk.

    The operations behind the last one on pictures are done for the whole chunk at once, then the
    others for one block of images at a time.

    x, dlogits  of the batch, flat
    sums        (n_parameter_slots) overwritten: the chunk's gradients of the parameters for which
                the record says sums_chunks; `program_collect` computes those of dense layers
    dx_out      for the gradient of x, flat like x; or empty: then it is not computed
    """
    operations = weights.operations
    n_blocks = -(-chunk.n_images // stage.block) if stage.block_end > stage.begin else 0
    for b in range(-1, n_blocks):  # -1: the whole chunk
        if b < 0:
            end, begin, n_done, n_images = stage.end, stage.block_end, 0, chunk.n_images
        else:
            end, begin, n_done = stage.block_end, stage.begin, b * stage.block
            n_images = min(stage.block, chunk.n_images - n_done)
        block = Chunk(
            chunk.number, chunk.first + n_done, n_images, chunk.first_kept + n_done, n_done
        )
        compute_again(weights, statistics, x, activations, forward_scratch, block, begin, end)
        block_sums = scratch.parameters if b > 0 else sums
        for k in range(end - 1, begin - 1, -1):
            op = operations[k]
            size = op.H * op.W * op.C
            dy_k = output_gradient(op, activations, gradients, scratch, block)
            if k == operations.size - 1:
                assign(rows(dlogits, block, op.OH * op.OW * op.F), dy_k)
            x_k = input_of(op.x_from, operations, x, size, activations, block)
            dx = input_gradient(
                op.x_from, operations, dx_out, size, activations, gradients, scratch, block
            )
            dx_k = scratch.added_dx[: dx.size] if op.adds_dx else dx
            y_k = outputs(op, activations, block)
            if op.activate_backward_function:
                call_activate_backward(op.activate_backward_function, (op, y_k, dy_k))
            if op.backward_function:
                call_backward(
                    op.backward_function,
                    (
                        op, weights, statistics, x_k, y_k, dy_k, dx_k, activations, gradients,
                        scratch, block_sums, block,
                    ),
                )  # fmt: skip
            else:  # an ADD or an ACTIVATION
                assign(dy_k, dx_k)
            if op.adds_dx:
                add(dx_k, dx)
            if op.kind == ADD:
                dx2 = input_gradient(
                    op.x2_from, operations, dx_out, size, activations, gradients, scratch, block
                )
                if op.adds_dx2:
                    add(dy_k[: dx2.size], dx2)
                else:
                    assign(dy_k, dx2)
            if b > 0 and op.sums_chunks:
                add_block(op.w_offset, op.w_size, block_sums, sums)
                add_block(op.b_offset, op.b_size, block_sums, sums)


@inline_helper
def add_block(offset, size, block_sums, sums):
    """Add a block's gradients of some parameters to those of the chunk's earlier blocks."""
    add(block_sums[offset : offset + size], sums[offset : offset + size])
