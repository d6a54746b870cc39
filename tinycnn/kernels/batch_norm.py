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

If a max-pooling follows, BATCH_MOMENTS does it: see `batch_norm_maxpool2d.py`.  BATCH_NORM is then
in its shape; only H and W are those of x.  It stores the gradient of the ReLU's input for
BATCH_MOMENTS, which otherwise finds out from x where the ReLU gave 0.

In prediction there is no such operation: `tinycnn.folding` has replaced it.
Ioffe and Szegedy 2015, "Batch normalization".
"""

import math

import numpy as np

from ._channel_rows import add_gradient_sums, add_shifted_sums, combine_rows, scale_rows
from ._jit import helper, inline_helper, inline_kernel
from ._views import flat_view, view_2d, view_3d
from .elementwise import sum_chunks
from .scale_shift import channels_2d, scale_of, shift_of

N_COEFFICIENTS = 5
"""Rows of the scratch (5, C) of a pass."""

GROUP = 128
"""Values of a channel whose sums are computed in the dtype of x."""


@inline_kernel
def batch_norm_moments(x, n_before, scratch, moments):
    """The mean and the variance (2) of values that come in parts: here are the next P of them.

    x         (P, C)
    n_before  values of each channel in the parts before; with 0, `moments` is overwritten
    scratch   (5, C) overwritten
    moments   (2, C) float64, of the parts before; then of these and x

    Each part is cut into groups.  With any number k, the n values of a group have

        m_b = k + s/n,   v_b = q/n - (s/n)^2,   s = sum of (x - k),   q = sum of (x - k)^2      (3)

    and together with the values before they have the moments (4) and (5).  k is the mean of the
    values before, rounded to the dtype of x.  So q/n is the variance of the group and the square of
    d in (5).  Therefore its rounding errors, and those of the difference in (3), are small beside
    the variance of all, however far the mean is from 0.  The first group is done twice: first with
    one of its values as k, then with its own mean.
    """
    P, C = x.shape
    k, sums = scratch[0], flat_view(scratch)[C : 3 * C]
    mean, var = moments[0], moments[1]
    p, has_mean = 0, n_before > 0
    if not has_mean:
        moments[:] = 0
    while p < P:
        n, before = min(P - p, GROUP), n_before + p
        a, b = before / (before + n), n / (before + n)  # shares of the whole
        for c in range(C):
            k[c] = mean[c] if has_mean else x[0, c]
        sums[:] = 0
        add_shifted_sums(x[p : p + n], k, sums)
        for c in range(C):
            shift = np.float64(sums[c]) / n
            d = np.float64(k[c]) + shift - mean[c]
            mean[c] += d * b  # (4)
            v = max(np.float64(sums[C + c]) / n - shift * shift, 0.0)  # (3)
            var[c] = a * var[c] + b * v + d * d * a * b  # (5)
        if has_mean:
            p += n
        has_mean = True


@inline_kernel
def batch_norm_combine(chunk_moments, n_images, chunk_size, moments_out):
    """The moments of a batch from those of its chunks, which are added in their order.

    chunk_moments  (n_chunks, 2, C); chunk k has chunk_size images, the last one those that are left
    moments_out    (2, C) overwritten; 0 without images

    Two sets of a and b values, with means m_a and m_b and variances v_a and v_b, have together

        m = m_a + d b / (a + b),   d = m_b - m_a                                                (4)
        v = (a v_a + b v_b) / (a + b) + d^2 a b / (a + b)^2                                     (5)

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
            mean[c] += d * b  # (4)
            var[c] = a * var[c] + b * chunk_moments[k, 1, c] + d * d * a * b  # (5)


@inline_kernel
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


@inline_kernel
def batch_norm_forward(x, moments, gamma, beta, epsilon, relu, scratch, y_out):
    """Equation (1), as y = scale x + shift.

        scale[c] = gamma[c] r[c],   shift[c] = beta[c] - m[c] scale[c]                          (6)

    moments      (2, C) float64, of the batch
    gamma, beta  (C,)
    relu         1: apply ReLU to y; 0: do not
    scratch      (5, C) overwritten.  Backward needs x and the moments.
    """
    _scale_and_shift(moments, gamma, beta, epsilon, scratch)
    scale_rows(x, flat_view(scratch), relu, y_out)


@inline_helper
def _scale_and_shift(moments, gamma, beta, epsilon, scratch):
    """Equation (6), in the first two rows of scratch."""
    scale, shift = scratch[0], scratch[1]
    for c in range(gamma.size):
        r = 1.0 / math.sqrt(moments[1, c] + epsilon)
        scale[c] = gamma[c] * r
        shift[c] = beta[c] - moments[0, c] * scale[c]


@inline_kernel
def batch_norm_backward_params(
    x, dy, moments, gamma, beta, epsilon, relu, stores, scratch, dgamma_out, dbeta_out
):  # fmt: skip
    """Given x, moments, gamma and beta as in forward, and dy = dL/dy (with relu: of the ReLU's
    output); wanted dgamma and dbeta (C,), of these P values.

        dL/dgamma[c] = sum over p of dL/dy[p, c] * dy[p, c]/dgamma[c]        chain rule
                     = r[c] * sum over p of dy[p, c] (x[p, c] - m[c])        from (1)           (7)
        dL/dbeta[c]  = sum over p of dy[p, c]                                from (1)           (8)

    stores   1: dy becomes the gradient of the ReLU's input, in place
    scratch  (5, C), dgamma_out and dbeta_out are overwritten.
    """
    C = x.shape[1]
    mean, sums = scratch[2], flat_view(scratch)[3 * C : 5 * C]
    _scale_and_shift(moments, gamma, beta, epsilon, scratch)
    for c in range(C):
        mean[c] = moments[0, c]
    sums[:] = 0
    add_gradient_sums(x, dy, flat_view(scratch), relu, stores, sums)
    for c in range(C):
        dbeta_out[c] = sums[c]  # (8)
        dgamma_out[c] = sums[C + c] / math.sqrt(moments[1, c] + epsilon)  # (7)


@inline_kernel
def batch_norm_backward_input(
    x, dy, moments, gamma, beta, epsilon, relu, dgamma, dbeta, n, scratch, dx_out
):  # fmt: skip
    """The gradient of the input, dx = dL/dx (P, C), for a part of the batch.

    Given: x, moments, gamma and beta as in forward, dy = dL/dy (P, C) (with relu: of the ReLU's
    output), and the gradients dgamma and dbeta (C,), which are those of the whole batch.  The batch
    has n values of each channel.

    The derivation is for one channel.  p and q are two of its n values; [p=q] is 1 if they are the
    same one, else 0.

        dL/dx[p] = gamma * sum over q of dL/dy[q] * dxhat[q]/dx[p]           chain rule, (1)    (9)
        dm/dx[p] = 1/n                                                       from (2)           (10)
        dv/dx[p] = 2/n (x[p] - m)                                            from (2), as the
                                                        sum over q of (x[q] - m) is 0          (11)
        dr/dx[p] = -1/2 r^3 dv/dx[p] = -r^2/n xhat[p]                        from (2), (11)    (12)
        dxhat[q]/dx[p] = r ([p=q] - 1/n) + (x[q] - m) dr/dx[p]               from (1), (10)
                       = r ([p=q] - 1/n - xhat[q] xhat[p] / n)               from (12)         (13)
        dL/dx[p] = gamma r (dy[p] - dbeta/n - xhat[p] dgamma/n)              (13), (7), (8)
                                                                             in (9)            (14)

    The loop computes (14) as dx = scale dy + slope x + offset.

        slope = -gamma r^2 dgamma/n,   offset = -slope m - gamma r dbeta/n                     (15)

    scratch (5, C) and dx_out are overwritten.
    """
    _scale_and_shift(moments, gamma, beta, epsilon, scratch)
    backward_coefficients(
        moments, gamma, epsilon, dgamma, dbeta, n, scratch[2], scratch[3], scratch[4]
    )
    combine_rows(x, dy, flat_view(scratch), relu, dx_out)  # (14)


@inline_helper
def backward_coefficients(
    moments, gamma, epsilon, dgamma, dbeta, n, scale_out, slope_out, offset_out
):
    """The coefficients (C,) of equation (15)."""
    for c in range(gamma.size):
        r = 1.0 / math.sqrt(moments[1, c] + epsilon)
        b = -gamma[c] * r * r * dgamma[c] / n
        scale_out[c], slope_out[c] = gamma[c] * r, b
        offset_out[c] = -b * moments[0, c] - gamma[c] * r * dbeta[c] / n


# ---- the operations in a network; walk.py explains the arguments -------------------------------


@inline_helper
def _values(op, values, n_images):
    """`values` of the input or output of a BATCH_NORM as (P, C)."""
    return view_2d(values, 0, n_images * op.OH * op.OW, op.C)


@inline_helper
def moments_of(op, statistics):
    """The mean and the variance of each channel over the batch: (2, C)."""
    return view_2d(statistics.moments, op.moments_offset, 2, op.C)


@inline_helper
def _chunk_moments(op, statistics, n_chunks):
    """The same over each of the first chunks: (n_chunks, 2, C)."""
    at = op.moments_offset * statistics.most_chunks
    return view_3d(statistics.chunk_moments, at, n_chunks, 2, op.C)


@inline_helper
def add_to_chunk_moments(op, statistics, x, scratch, chunk):
    """Let a block of a chunk count in the moments of the chunk."""
    batch_norm_moments(
        channels_2d(op, x, chunk.n_images), chunk.n_done * op.H * op.W,
        view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C),
        _chunk_moments(op, statistics, chunk.number + 1)[chunk.number],
    )  # fmt: skip


@helper
def batch_moments_operation_forward(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    add_to_chunk_moments(op, statistics, x, scratch, chunk)


@inline_helper
def batch_norm_operation_combine(op, statistics, chunk_size):
    """Between the two stages: the moments of the batch."""
    n_chunks = -(-statistics.n_images // chunk_size)
    chunk_moments = _chunk_moments(op, statistics, n_chunks)
    batch_norm_combine(chunk_moments, statistics.n_images, chunk_size, moments_of(op, statistics))


@inline_helper
def batch_norm_operation_update_running(op, weights, statistics):
    running_mean = weights.parameters[op.running_mean_offset : op.running_mean_offset + op.C]
    running_var = weights.parameters[op.running_var_offset : op.running_var_offset + op.C]
    batch_norm_update_running(
        moments_of(op, statistics), statistics.n_images * op.H * op.W, op.momentum, op.unbiased,
        running_mean, running_var,
    )  # fmt: skip


@helper
def batch_norm_operation_forward(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    batch_norm_forward(
        _values(op, x, chunk.n_images), moments_of(op, statistics),
        scale_of(op, weights.parameters), shift_of(op, weights.parameters), op.epsilon,
        op.fuses_relu, view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C),
        _values(op, y, chunk.n_images),
    )  # fmt: skip


@helper
def batch_norm_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    """The gradients of gamma and beta, but no dx."""
    batch_norm_backward_params(
        _values(op, x, chunk.n_images), _values(op, dy, chunk.n_images),
        moments_of(op, statistics), scale_of(op, weights.parameters),
        shift_of(op, weights.parameters), op.epsilon, op.fuses_relu, op.is_behind_pool,
        view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C), scale_of(op, sums), shift_of(op, sums),
    )  # fmt: skip


@inline_helper
def batch_norm_operation_collect(op, gradients):
    """Between the two stages of backward: the gradients of gamma and beta for the batch."""
    sum_chunks(gradients.chunks, op.w_offset, scale_of(op, gradients.parameters))
    sum_chunks(gradients.chunks, op.b_offset, shift_of(op, gradients.parameters))


@helper
def batch_moments_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    if dx.size:
        batch_norm_backward_input(
            channels_2d(op, x, chunk.n_images), channels_2d(op, dy, chunk.n_images),
            moments_of(op, statistics), scale_of(op, weights.parameters),
            shift_of(op, weights.parameters), op.epsilon, op.fuses_relu,
            scale_of(op, gradients.parameters), shift_of(op, gradients.parameters),
            statistics.n_images * op.H * op.W,
            view_2d(scratch.channels, 0, N_COEFFICIENTS, op.C),
            channels_2d(op, dx, chunk.n_images),
        )  # fmt: skip
