"""Batch normalisation in training: forward and backward.

    y[p, c] = gamma[c] xhat[p, c] + beta[c],   xhat[p, c] = (x[p, c] - m[c]) r[c]               (1)
    m[c] = 1/n sum over p of x[p, c],   v[c] = 1/n sum over p of (x[p, c] - m[c])^2,
    r[c] = 1 / sqrt(v[c] + epsilon)                                                             (2)

p counts all n values of a channel in the batch: images and their pixels.  The kernels get those of
a chunk or of a block, P of them, as arrays (P, C) in float32 or float64.  Moments are always
float64: (2, C), mean and variance.

The mean and the variance need the whole batch, so two operations do the work.  BATCH_MOMENTS is in
the stage that computes x: `batch_norm_moments` for each chunk.  Before the next stage begins,
`batch_norm_combine` gives the moments of the batch.  BATCH_NORM is in this next stage:
`batch_norm_forward`.  Backward is the reverse: BATCH_NORM sums the gradients of gamma and beta in
each chunk, these are summed over the chunks, and BATCH_MOMENTS computes dx with the sums.

In prediction there is no such operation: `tinycnn.folding` has replaced it.
Ioffe and Szegedy 2015, "Batch normalization".
"""

import math

from ._jit import inline_helper, kernel
from .arrays import view_2d, view_3d
from .elementwise import sum_chunks, sum_rows
from .scale_shift import channels_2d, scale_of, scale_shift_forward, shift_of

N_COEFFICIENTS = 3
"""Rows of the scratch (3, C) of a pass."""


@kernel
def batch_norm_moments(x, moments_out):
    """The mean and the variance (2) of x (P, C), P > 0, in two passes.

    moments_out  (2, C) float64, overwritten
    """
    P, C = x.shape
    moments_out[:] = 0
    mean, var = moments_out[0], moments_out[1]
    for p in range(P):
        for c in range(C):
            mean[c] += x[p, c]
    for c in range(C):
        mean[c] /= P
    for p in range(P):
        for c in range(C):
            var[c] += (x[p, c] - mean[c]) * (x[p, c] - mean[c])
    for c in range(C):
        var[c] /= P


@kernel
def batch_norm_combine(chunk_moments, n_images, chunk_size, moments_out):
    """The moments of a batch from those of its chunks, which are added in their order.

    chunk_moments  (n_chunks, 2, C); chunk k has chunk_size images, the last one those that are left
    moments_out    (2, C) overwritten; 0 without images

    Two sets of a and b values, with means m_a and m_b and variances v_a and v_b, have together

        m = m_a + d b / (a + b),   d = m_b - m_a                                                (3)
        v = (a v_a + b v_b) / (a + b) + d^2 a b / (a + b)^2                                     (4)

    Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
    variances", equation (2.1).  All images have the same number of pixels, so that images are
    counted instead of values.
    """
    moments_out[:] = 0
    mean, var = moments_out[0], moments_out[1]
    for k in range(chunk_moments.shape[0]):
        before = k * chunk_size
        size = min(chunk_size, n_images - before)
        a, b = before / (before + size), size / (before + size)  # shares of the whole
        for c in range(mean.size):
            d = chunk_moments[k, 0, c] - mean[c]
            mean[c] += d * b  # (3)
            var[c] = a * var[c] + b * chunk_moments[k, 1, c] + d * d * a * b  # (4)


@kernel
def batch_norm_update_running(moments, n, momentum, unbiased, running_mean, running_var):
    """running = momentum * running + (1 - momentum) * batch, in place, (C,) each.

    n         values of a channel in the batch
    unbiased  1: the variance of the batch is divided by n - 1 instead of n; with n = 1 it is not
              defined, and running_var does not change
    """
    if n == 0:
        return
    new = 1.0 - momentum
    factor = n / (n - 1) if unbiased and n > 1 else 1.0
    for c in range(running_mean.size):
        running_mean[c] = momentum * running_mean[c] + new * moments[0, c]
        if n > 1 or not unbiased:
            running_var[c] = momentum * running_var[c] + new * factor * moments[1, c]


@kernel
def batch_norm_forward(x, moments, gamma, beta, epsilon, scratch, y_out):
    """Equation (1), as y = scale x + shift.

        scale[c] = gamma[c] r[c],   shift[c] = beta[c] - m[c] scale[c]                          (5)

    moments      (2, C) float64, of the batch
    gamma, beta  (C,)
    scratch      (3, C) overwritten.  Backward needs x and the moments.
    """
    scale, shift = scratch[0], scratch[1]
    for c in range(gamma.size):
        r = 1.0 / math.sqrt(moments[1, c] + epsilon)
        scale[c] = gamma[c] * r
        shift[c] = beta[c] - moments[0, c] * gamma[c] * r  # (5)
    scale_shift_forward(x, scale, shift, y_out)


@kernel
def batch_norm_backward_params(x, dy, moments, epsilon, scratch, dgamma_out, dbeta_out):
    """Given x and the moments as in forward, and dy = dL/dy; wanted dgamma and dbeta (C,), of these
    P values.

        dL/dgamma[c] = sum over p of dL/dy[p, c] * dy[p, c]/dgamma[c]        chain rule
                     = r[c] * sum over p of dy[p, c] (x[p, c] - m[c])        from (1)           (6)
        dL/dbeta[c]  = sum over p of dy[p, c]                                from (1)           (7)

    scratch (3, C), dgamma_out and dbeta_out are overwritten.
    """
    P, C = x.shape
    mean = scratch[0]
    for c in range(C):
        mean[c] = moments[0, c]
    dgamma_out[:] = 0
    for p in range(P):
        for c in range(C):
            dgamma_out[c] += dy[p, c] * (x[p, c] - mean[c])
    for c in range(C):
        dgamma_out[c] /= math.sqrt(moments[1, c] + epsilon)  # (6)
    sum_rows(dy, dbeta_out)  # (7)


@kernel
def batch_norm_backward_input(
    x, dy, moments, gamma, epsilon, dgamma, dbeta, n, scratch, dx_out
):  # fmt: skip
    """Given x, moments and gamma as in forward, dy = dL/dy, and the gradients dgamma and dbeta of
    the whole batch, which has n values of each channel; wanted dx = dL/dx (P, C).

    For one channel; q counts all n values, as p does, and [p=q] is 1 if p = q, else 0.

        dL/dx[p] = gamma * sum over q of dL/dy[q] * dxhat[q]/dx[p]           chain rule, (1)    (8)
        dm/dx[p] = 1/n                                                       from (2)           (9)
        dv/dx[p] = 2/n (x[p] - m)                                            from (2), as the
                                                        sum over q of (x[q] - m) is 0          (10)
        dr/dx[p] = -1/2 r^3 dv/dx[p] = -r^2/n xhat[p]                        from (2), (10)    (11)
        dxhat[q]/dx[p] = r ([p=q] - 1/n) + (x[q] - m) dr/dx[p]               from (1), (9)
                       = r ([p=q] - 1/n - xhat[q] xhat[p] / n)               from (11)         (12)
        dL/dx[p] = gamma r (dy[p] - dbeta/n - xhat[p] dgamma/n)              (12), (6), (7)
                                                                             in (8)            (13)

    The loop computes (13) as dx = scale dy + slope x + offset.

        slope = -gamma r^2 dgamma/n,   offset = -slope m - gamma r dbeta/n                     (14)

    scratch (3, C) and dx_out are overwritten.
    """
    scale, slope, offset = scratch[0], scratch[1], scratch[2]
    for c in range(gamma.size):
        r = 1.0 / math.sqrt(moments[1, c] + epsilon)
        b = -gamma[c] * r * r * dgamma[c] / n
        scale[c], slope[c] = gamma[c] * r, b
        offset[c] = -b * moments[0, c] - gamma[c] * r * dbeta[c] / n  # (14)
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            dx_out[p, c] = scale[c] * dy[p, c] + (slope[c] * x[p, c] + offset[c])  # (13)


# ---- the operations in a network; walk.py explains the arguments -------------------------------


@inline_helper
def _moments(op, statistics):
    """(2, C), of the batch."""
    return view_2d(statistics.moments, op.moments_offset, 2, op.C)


@inline_helper
def _chunk_moments(op, statistics, n_chunks):
    """(n_chunks, 2, C)"""
    at = op.moments_offset * statistics.most_chunks
    return view_3d(statistics.chunk_moments, at, n_chunks, 2, op.C)


@inline_helper
def batch_moments_operation_forward(op, statistics, x, chunk):
    moments = _chunk_moments(op, statistics, chunk.number + 1)[chunk.number]
    batch_norm_moments(channels_2d(op, x, chunk.n_images), moments)


@inline_helper
def batch_norm_operation_combine(op, statistics, chunk_size):
    """Between the two stages: the moments of the batch."""
    n_chunks = -(-statistics.n_images // chunk_size)
    chunk_moments = _chunk_moments(op, statistics, n_chunks)
    batch_norm_combine(chunk_moments, statistics.n_images, chunk_size, _moments(op, statistics))


@inline_helper
def batch_norm_operation_update_running(op, weights, statistics):
    running_mean = weights.parameters[op.running_mean_offset : op.running_mean_offset + op.C]
    running_var = weights.parameters[op.running_var_offset : op.running_var_offset + op.C]
    batch_norm_update_running(
        _moments(op, statistics), statistics.n_images * op.H * op.W, op.momentum, op.unbiased,
        running_mean, running_var,
    )  # fmt: skip


@inline_helper
def batch_norm_operation_forward(op, weights, statistics, x, y, scratch, chunk):
    batch_norm_forward(
        channels_2d(op, x, chunk.n_images), _moments(op, statistics),
        scale_of(op, weights.parameters), shift_of(op, weights.parameters), op.epsilon,
        view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C), channels_2d(op, y, chunk.n_images),
    )  # fmt: skip


@inline_helper
def batch_norm_operation_backward(op, statistics, x, dy, scratch, sums, chunk):
    """The gradients of gamma and beta, but no dx."""
    batch_norm_backward_params(
        channels_2d(op, x, chunk.n_images), channels_2d(op, dy, chunk.n_images),
        _moments(op, statistics), op.epsilon, view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C),
        scale_of(op, sums), shift_of(op, sums),
    )  # fmt: skip


@inline_helper
def batch_norm_operation_collect(op, gradients):
    """Between the two stages of backward: the gradients of gamma and beta for the batch."""
    sum_chunks(gradients.chunks, op.w_offset, scale_of(op, gradients.parameters))
    sum_chunks(gradients.chunks, op.b_offset, shift_of(op, gradients.parameters))


@inline_helper
def batch_moments_operation_backward(op, weights, statistics, x, dy, dx, gradients, scratch, chunk):
    if dx.size:
        batch_norm_backward_input(
            channels_2d(op, x, chunk.n_images), channels_2d(op, dy, chunk.n_images),
            _moments(op, statistics), scale_of(op, weights.parameters), op.epsilon,
            scale_of(op, gradients.parameters), shift_of(op, gradients.parameters),
            statistics.n_images * op.H * op.W,
            view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C),
            channels_2d(op, dx, chunk.n_images),
        )  # fmt: skip
