"""What the backend calls: prediction, a phase of a training step, and the work between phases.

`tinycnn.kernel_backend` calls these functions from several threads, each with other chunks.
Nothing is allocated here: the caller owns the structures of `arrays.py`.  `walk.py` goes through
the operations.
"""

import math
from typing import NamedTuple

import numpy as np

from ._jit import helper, inline_helper
from ._meeting import ENDS, N_RUNS, call_partner, meet, wait_for_call
from ._shared_counter import take_number
from ._views import flat_view
from .arrays import (
    NO_STATISTICS,
    Activations,
    Chunk,
    ForwardScratch,
    Gradients,
    Stage,
    Weights,
)
from .batch_norm import (
    batch_norm_operation_collect,
    batch_norm_operation_combine,
    batch_norm_operation_update_running,
)
from .cross_entropy import distillation_rows, weigh_rows
from .elementwise import sum_chunks
from .operations import BATCH_NORM
from .passes import COLLECT, PREPARE
from .walk import walk_backward, walk_chunk_forward, walk_forward

call_prepare, call_collect = PREPARE.call, COLLECT.call


class Phase(NamedTuple):
    """What a phase of a training step does with each chunk, in this order: flags, 0 or 1."""

    stage: Stage  # its operations
    forward: int
    loss: int
    backward: int


class Chunks(NamedTuple):
    """The chunks of a batch.  Threads that share `counter` take them in turn."""

    counter: np.ndarray  # (1,) int64: the next chunk; 0 before the first call
    n_chunks: int
    size: int  # images in each chunk; the last chunk of the batch may have fewer
    is_whole_step: int  # 1: one thread does all, also the work before the first and after the last
    from_last: int  # 1: the last chunk is the first to be taken


@helper
def program_predict(
    operations, begin, parameters, dense_parameters, prepared, x, capacity, values,
    conv_output, workspace, logits_out, meeting,
):  # fmt: skip
    """Runs a stage for some images, for prediction: `capacity` images at a time.

    Returns 1.  With a meeting, this is one of two threads that do an image together: returns 0 if
    the other one is not there.  The one without logits_out is the partner, which does one image
    after the other until no call comes any more.

    The arguments are arrays and not the structures of `arrays.py`: unpacking these from Python
    would take 3 % of the time that one image takes.

    operations        the table up to the end of the stage, which begins at the number `begin`
    parameters, dense_parameters, prepared  as in `arrays.Weights`
    x                 (n_images, H, W, C) the network's input
    logits_out        (n_images, K); (0, K) unless it is the last stage
    capacity          images that `values` has room for
    values            (n_activations * capacity) the outputs of all operations
    conv_output, workspace  as in `arrays.ForwardScratch`
    meeting           int32, the cells of `_meeting.py`; empty if this thread does all
    """
    weights = Weights(operations, parameters, parameters[:0], dense_parameters, prepared)
    no_winners = meeting[:0]  # prediction keeps none
    activations = Activations(
        capacity, values, parameters[:0], capacity, values, no_winners, 0, values
    )
    scratch = ForwardScratch(conv_output, workspace, parameters[:0])
    n_images, n_logits = x.shape[0], logits_out.shape[1]
    size, x_flat = x.shape[1] * x.shape[2] * x.shape[3], flat_view(x)
    logits_flat = flat_view(logits_out)
    is_alone, is_partner = meeting.size == 0, meeting.size > 0 and logits_out.size == 0
    n_runs = 1 if is_alone else meeting[N_RUNS]
    while True:
        if not is_alone:
            is_there = wait_for_call(meeting) if is_partner else call_partner(meeting)
            if not is_there:
                return 0
        for first in range(0, n_images, max(capacity, 1)):
            chunk = Chunk(0, 0, min(capacity, n_images - first), 0, 0)
            run_begin = begin
            for run in range(n_runs):
                end = operations.size if is_alone else meeting[ENDS + run]
                walk_forward(
                    weights, NO_STATISTICS, x_flat[first * size :], activations, scratch, chunk,
                    Stage(run_begin, run_begin, run_begin, end, capacity), 0,
                    logits_flat[first * n_logits :],
                )  # fmt: skip
                run_begin = end
                if not is_alone:
                    meet(meeting, run, is_partner)
        if not is_partner:
            return 1


# ---- weights in the layouts that the passes read -----------------------------------------------


@helper
def program_prepare_weights(operations, parameters, dense_parameters, prepared_out):
    """Overwrite `prepared_out` with the weights in the layouts that forward passes read."""
    weights = Weights(operations, parameters, parameters[:0], dense_parameters, prepared_out)
    for k in range(operations.size):
        op = operations[k]
        if op.prepare_function:
            call_prepare(op.prepare_function, (op, weights))


@helper
def program_same_values(ranges, bits, other_bits):
    """Whether two parameter vectors, given as unsigned integers, have the same bits in all ranges.

    ranges  (n, 2) int64: the first element of each, and the one behind its last
    """
    different = bits.dtype.type(0)
    for k in range(ranges.shape[0]):
        begin, end = ranges[k, 0], ranges[k, 1]
        part, other_part = bits[begin:end], other_bits[begin:end]
        for p in range(part.size):
            different |= part[p] ^ other_part[p]
    return different == 0


@helper
def program_transpose_weights(weights):
    """Overwrite `weights.transposed`, which the backward passes of a step read."""
    operations = weights.operations
    for k in range(operations.size):
        op = operations[k]
        if op.transpose_function:
            call_prepare(op.transpose_function, (op, weights))


@helper
def program_collect(weights, x, n_images, activations, gradients, share, n_shares):
    """The gradients of all parameters for the batch, after the backward pass of every chunk.

    This call does one share of the work, 0 <= share < n_shares; shares can run in parallel.  The
    gradients of dense layers are computed here, for the whole batch; the others are summed over
    `gradients.chunks`.  x: of the batch, flat.
    """
    operations, capacity = weights.operations, activations.batch_capacity
    for k in range(operations.size):
        op = operations[k]
        if op.collect_function:
            if op.x_from < 0:
                x_k = x
            else:
                x_k = activations.batch_outputs[operations[op.x_from].y_offset * capacity :]
            call_collect(
                op.collect_function,
                (op, weights, x_k, gradients, n_images, capacity, share, n_shares),
            )
        elif op.sums_chunks and share == n_shares - 1:
            collect_chunks(op.w_offset, op.w_size, gradients)
            collect_chunks(op.b_offset, op.b_size, gradients)


@inline_helper
def collect_chunks(offset, size, gradients):
    """Sum a parameter's gradients over the chunks of a batch, which gives the batch's gradient.

    offset, size  where the parameter lies in the flat array of all parameters
    """
    sum_chunks(gradients.chunks, offset, gradients.parameters[offset : offset + size])


# ---- between the phases of a network with BatchNorm --------------------------------------------


@helper
def program_combine_moments(operations, stage, statistics, chunk_size):
    """The mean and variance over the batch for each BatchNorm of a stage, from those of the chunks.
    To be called before the forward pass of the stage."""
    for k in range(stage.begin, stage.end):
        if operations[k].kind == BATCH_NORM:
            batch_norm_operation_combine(operations[k], statistics, chunk_size)


@helper
def program_collect_batch_norm(operations, stage, gradients):
    """Compute the gradients of the parameters of each BatchNorm in a stage.  To be called after the
    backward pass of the stage."""
    for k in range(stage.begin, stage.end):
        if operations[k].kind == BATCH_NORM:
            batch_norm_operation_collect(operations[k], gradients)


@helper
def program_update_running(weights, statistics):
    """Move the running mean and variance of each BatchNorm towards those of the batch.  To be
    called once in a step."""
    for k in range(weights.operations.size):
        op = weights.operations[k]
        if op.kind == BATCH_NORM:
            batch_norm_operation_update_running(op, weights, statistics)


# ---- a training step ---------------------------------------------------------------------------


@helper
def target_distributions(labels, targets, label_smoothing, first, rows_out):
    """rows_out = (1-a) * y + a / K, a = label_smoothing; y are the targets from `first` on.

    y are labels (N,), int64 class indices, or targets (N, K), distributions; the other is empty.
    """
    n, K = rows_out.shape
    keep = rows_out.dtype.type(1.0 - label_smoothing)
    even = rows_out.dtype.type(label_smoothing / K)
    for r in range(n):
        for k in range(K):
            if labels.size:
                y = rows_out.dtype.type(labels[first + r] == k)
            else:
                y = targets[first + r, k]
            rows_out[r, k] = keep * y + even if label_smoothing else y


@helper
def mean_loss(losses):
    """The mean of the losses, added in their order; 0 if there are none."""
    total = 0.0
    for n in range(losses.size):
        total += losses[n]
    return total / max(losses.size, 1)


@helper
def program_step(
    weights, statistics, batch, terms, phase, chunks, activations, forward_scratch, gradients,
    backward_scratch, results,
):  # fmt: skip
    """One phase of a training step, for the chunks that this call takes, one after the other.

    If a phase goes forward and backward, `activations.chunk_outputs` has those of one chunk, which
    the next chunk overwrites, so that they stay in the cache.  Otherwise it has those of the batch.

    terms  `tinycnn.losses.LossTerms`
    The other arguments are structures of `arrays.py` and of this file.  Each chunk writes its own
    parts of `results` and `gradients.chunks`.
    Returns the mean of `results.losses`, which is the loss of the batch when all chunks are done.
    A whole step does not change `gradients.parameters` if the loss is not finite.
    """
    N = results.logits.shape[0]
    if chunks.is_whole_step:
        program_prepare_weights(
            weights.operations, weights.parameters, weights.dense_parameters, weights.prepared
        )
        program_transpose_weights(weights)
    while True:
        c = take_number(chunks.counter)
        if c >= chunks.n_chunks:
            break
        if chunks.from_last:
            c = chunks.n_chunks - 1 - c
        first = c * chunks.size
        end = min(first + chunks.size, N)
        keeps_one_chunk = phase.forward and phase.backward
        chunk = Chunk(c, first, end - first, 0 if keeps_one_chunk else first, 0)
        if phase.forward:
            walk_chunk_forward(
                weights, statistics, batch.x, activations, forward_scratch, chunk, phase.stage,
                flat_view(results.logits),
            )  # fmt: skip
        if phase.loss:
            targets = results.target_rows[first:end]
            target_distributions(batch.labels, batch.targets, terms.label_smoothing, first, targets)
            teacher = batch.soft_labels[first:end] if batch.soft_labels.size else targets
            distillation_rows(
                results.logits[first:end], targets, teacher,
                terms.temperature, terms.soft_weight, terms.soft_scale, N,
                results.losses[first:end], results.dlogits[first:end],
            )  # fmt: skip
            if batch.sample_weights.size:
                weigh_rows(
                    batch.sample_weights[first:end], results.losses[first:end],
                    results.dlogits[first:end],
                )  # fmt: skip
        if phase.backward:
            walk_backward(
                weights, statistics, batch.x, flat_view(results.dlogits), activations, gradients,
                forward_scratch, backward_scratch, gradients.chunks[c], chunk, phase.stage,
                results.dx,
            )  # fmt: skip
    loss = mean_loss(results.losses)
    if chunks.is_whole_step and math.isfinite(loss):
        done = Gradients(
            gradients.batch_outputs, gradients.chunks[: chunks.n_chunks], gradients.parameters
        )
        program_collect(weights, batch.x, N, activations, done, 0, 1)
    return loss
