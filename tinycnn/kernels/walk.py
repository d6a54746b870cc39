"""Goes through the operations of a stage for a chunk of images, forward and backward.

The file of an operation has its passes, and adaptors that call these.  The adaptors of all
operations have the same arguments:

    op           the operation's record, see `operations.py`
    weights      `arrays.Weights`
    x, y         its input and output for the images of the chunk, flat
    dy, dx       the gradients of y and x; an empty dx is not computed
    activations  `arrays.Activations`
    scratch      `arrays.ForwardScratch`, or `arrays.BackwardScratch`
    sums         (n_parameter_slots) overwritten by backward: gradients of the parameters, summed
                 over the images of the chunk
    chunk        `arrays.Chunk`
    training     1 in a training step, 0 in prediction

To add an operation, give it a `kind` in `operations.py` and a branch in `walk_forward` and
`walk_backward`, and if backward needs its weights transposed in `program_transpose_weights`.
"""

from ._jit import helper, inline_helper
from .activations import activate, activate_backward
from .add import add_forward
from .arrays import Chunk, Stage, output_gradient, outputs, rows
from .averagepool2d import averagepool2d_operation_backward, averagepool2d_operation_forward
from .batch_norm import (
    batch_moments_operation_backward,
    batch_moments_operation_forward,
    batch_norm_operation_backward,
    batch_norm_operation_forward,
)
from .batch_norm_maxpool2d import (
    batch_moments_operation_backward_pool,
    batch_moments_operation_pool,
)
from .conv2d_operation import (
    conv2d_operation_backward,
    conv2d_operation_forward,
    conv2d_winograd_operation_forward,
)
from .dense import dense_operation_backward, dense_operation_forward
from .depthwise_conv2d import (
    depthwise_conv2d_operation_backward,
    depthwise_conv2d_operation_forward,
)
from .dropout import dropout_operation_backward, dropout_operation_forward
from .elementwise import add, assign
from .maxpool2d import maxpool2d_operation_backward, maxpool2d_operation_forward
from .operations import (
    ACTIVATION,
    ADD,
    AVERAGEPOOL2D,
    BATCH_MOMENTS,
    BATCH_NORM,
    CONV2D,
    DENSE,
    DEPTHWISE_CONV2D,
    DROPOUT,
    MAXPOOL2D,
    PRELU,
    SCALE_SHIFT,
)
from .prelu import prelu_operation_backward, prelu_operation_forward
from .scale_shift import scale_shift_operation_backward, scale_shift_operation_forward


@inline_helper
def input_of(source, operations, x, size, activations, chunk):
    """The outputs of the operation `source` for a chunk, `size` for each image; of -1: x, which is
    the network's input for the whole batch."""
    if source < 0:
        return rows(x, chunk, size)
    return outputs(operations[source], activations, chunk)


@inline_helper
def input_gradient(source, operations, dx, size, activations, gradients, scratch, chunk, n_done):
    """The gradient of `input_of`; dx: of the network's input for the whole batch, or empty."""
    if source < 0:
        return rows(dx, chunk, size)
    return output_gradient(operations[source], activations, gradients, scratch, chunk, n_done)


@inline_helper
def walk_forward(
    weights, winograd_weights, statistics, x, activations, scratch, chunk, n_done, stage, training,
    logits_out,
):  # fmt: skip
    """The operations of a stage for a chunk.  x: of the whole batch, flat; logits_out: the same for
    the outputs of the last operation, of which those of the chunk are written.

    winograd_weights  None if the network has none: it is then compiled without Winograd
    statistics        `arrays.BatchStatistics`; None without BatchNorm, and in prediction: likewise
    n_done            `chunk` may be a block of a chunk: images of the chunk that come before it
    """
    operations = weights.operations
    for k in range(stage.begin, stage.end):
        op = operations[k]
        x_k = input_of(op.x_from, operations, x, op.H * op.W * op.C, activations, chunk)
        y_k = outputs(op, activations, chunk)
        by_winograd = False
        if winograd_weights is not None:
            if op.winograd:
                by_winograd = True
                conv2d_winograd_operation_forward(
                    op, weights, winograd_weights, x_k, y_k, activations, scratch, chunk, training
                )
        if not by_winograd:
            if statistics is not None:
                if op.kind == BATCH_MOMENTS:
                    batch_moments_operation_forward(op, statistics, x_k, scratch, chunk, n_done)
                    if op.pool:
                        batch_moments_operation_pool(
                            op, weights, x_k, y_k, activations, scratch, chunk
                        )
                elif op.kind == BATCH_NORM:
                    batch_norm_operation_forward(op, weights, statistics, x_k, y_k, scratch, chunk)
            if op.kind == CONV2D:
                conv2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == MAXPOOL2D:
                maxpool2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == DENSE:
                dense_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == DEPTHWISE_CONV2D:
                depthwise_conv2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == AVERAGEPOOL2D:
                averagepool2d_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == DROPOUT:
                dropout_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == SCALE_SHIFT:
                scale_shift_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == ADD:
                size = op.H * op.W * op.C
                add_forward(x_k, input_of(op.x2_from, operations, x, size, activations, chunk), y_k)
            elif op.kind == PRELU:
                prelu_operation_forward(
                    op, weights, x_k, y_k, activations, scratch, chunk, training
                )
            elif op.kind == ACTIVATION:
                assign(x_k, y_k)
        if op.activation and not op.fuses_relu:
            activate(op.activation, op.activation_value, y_k)
        if k == operations.size - 1:
            assign(y_k, rows(logits_out, chunk, op.OH * op.OW * op.F))


@inline_helper
def walk_chunk_forward(
    weights, winograd_weights, statistics, x, activations, scratch, chunk, stage, logits_out
):
    """The operations of a stage for a chunk, in training.  The arguments are those of
    `walk_forward`.

    In a network with BatchNorm, those on pictures are done for one block of images at a time, so
    that an output is still in the second-level cache when its mean and variance are computed.
    """
    blocks_end = stage.begin
    if statistics is not None:
        blocks_end = stage.block_end
    n_blocks = -(-chunk.n_images // stage.block) if blocks_end > stage.begin else 0
    for b in range(n_blocks + 1):
        if b < n_blocks:
            begin, end, n_done = stage.begin, blocks_end, b * stage.block
            n_images = min(stage.block, chunk.n_images - n_done)
        else:  # the others, for the whole chunk
            begin, end, n_done, n_images = blocks_end, stage.end, 0, chunk.n_images
        block = Chunk(chunk.number, chunk.first + n_done, n_images, chunk.first_kept + n_done)
        walk_forward(
            weights, winograd_weights, statistics, x, activations, scratch, block, n_done,
            Stage(begin, begin, begin, end, stage.block), 1, logits_out,
        )  # fmt: skip


@helper
def walk_backward(
    weights, statistics, x, dlogits, activations, gradients, scratch, sums, chunk, stage, dx_out
):
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
        block = Chunk(chunk.number, chunk.first + n_done, n_images, chunk.first_kept + n_done)
        block_sums = scratch.parameters if b > 0 else sums
        for k in range(end - 1, begin - 1, -1):
            op = operations[k]
            size = op.H * op.W * op.C
            dy_k = output_gradient(op, activations, gradients, scratch, block, n_done)
            if k == operations.size - 1:
                assign(rows(dlogits, block, op.OH * op.OW * op.F), dy_k)
            x_k = input_of(op.x_from, operations, x, size, activations, block)
            dx = input_gradient(
                op.x_from, operations, dx_out, size, activations, gradients, scratch, block, n_done
            )
            dx_k = scratch.added_dx[: dx.size] if op.adds_dx else dx
            y_k = outputs(op, activations, block)
            if op.activation and not (op.kind == BATCH_NORM and op.fuses_relu):
                activate_backward(op.activation, op.activation_value, y_k, dy_k)
            if statistics is not None:
                if op.kind == BATCH_NORM:
                    batch_norm_operation_backward(
                        op, statistics, x_k, y_k, dy_k, scratch, block_sums, block
                    )
                elif op.kind == BATCH_MOMENTS and op.pool:
                    batch_moments_operation_backward_pool(
                        op, weights, statistics, x_k, dy_k, dx_k, activations, gradients, scratch,
                        block,
                    )  # fmt: skip
                elif op.kind == BATCH_MOMENTS:
                    batch_moments_operation_backward(
                        op, weights, statistics, x_k, dy_k, dx_k, gradients, scratch, block
                    )
            if op.kind == CONV2D:
                conv2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == DENSE:
                dense_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == MAXPOOL2D:
                maxpool2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == DEPTHWISE_CONV2D:
                depthwise_conv2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == AVERAGEPOOL2D:
                averagepool2d_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == DROPOUT:
                dropout_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == PRELU:
                prelu_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == SCALE_SHIFT:
                scale_shift_operation_backward(
                    op, weights, x_k, dy_k, dx_k, activations, scratch, block_sums, block
                )
            elif op.kind == ACTIVATION or op.kind == ADD:
                assign(dy_k, dx_k)
            if op.adds_dx:
                add(dx_k, dx)
            if op.kind == ADD:
                dx2 = input_gradient(
                    op.x2_from, operations, dx_out, size, activations, gradients, scratch, block,
                    n_done,
                )  # fmt: skip
                if op.adds_dx2:
                    add(dy_k[: dx2.size], dx2)
                else:
                    assign(dy_k, dx2)
            if b > 0 and op.sums_chunks:
                add_block(op.w_offset, op.w_size, block_sums, sums)
                add_block(op.b_offset, op.b_size, block_sums, sums)


@helper
def add_block(offset, size, block_sums, sums):
    """Add a block's gradients of some parameters to those of the chunk's earlier blocks."""
    add(block_sums[offset : offset + size], sums[offset : offset + size])
