"""Every operation in plain NumPy: tests compare the kernels with it; the backend without Numba.

The functions have the names and arguments of `tinycnn.kernels`, which explain them, but share no
arithmetic with these.  They overwrite the arrays whose names end in `_out`.
"""

from __future__ import annotations

import numpy as np

from .reference_optimizers import (  # noqa: F401  (callers find them here)
    adam_update,
    rmsprop_update,
    sgd_update,
)
from .reference_windows import (  # noqa: F401  (callers find them here)
    averagepool2d_backward,
    averagepool2d_forward,
    batch_norm_maxpool2d_backward_input,
    batch_norm_maxpool2d_forward,
    conv2d_1x1_backward,
    conv2d_backward_input,
    conv2d_backward_params,
    conv2d_columns_forward,
    conv2d_forward,
    conv2d_maxpool2d_backward,
    conv2d_transpose_weights,
    conv2d_transpose_weights_back,
    conv2d_winograd_3x3_backward,
    conv2d_winograd_3x3_forward,
    conv2d_winograd_forward,
    depthwise_conv2d_3x3_backward_input,
    depthwise_conv2d_3x3_backward_params,
    depthwise_conv2d_3x3_forward,
    depthwise_conv2d_backward_input,
    depthwise_conv2d_backward_params,
    depthwise_conv2d_forward,
    maxpool2d_backward,
    maxpool2d_forward,
)

# ---- layers ----------------------------------------------------------------------------------


def relu_forward(x, y_out):
    """See kernels/relu.py, equation (1).  np.maximum keeps NaN."""
    np.maximum(x, 0, out=y_out)


def relu_backward(y, dy, dx_out):
    """See kernels/relu.py, equation (4)."""
    np.copyto(dx_out, np.where(y > 0, dy, 0))


def clipped_relu_forward(x, max_value, y_out):
    """See kernels/relu.py, equation (5).  np.clip keeps NaN."""
    np.clip(x, 0, x.dtype.type(max_value), out=y_out)


def clipped_relu_backward(y, max_value, dy, dx_out):
    """See kernels/relu.py, equation (7)."""
    np.copyto(dx_out, np.where((y > 0) & (y < y.dtype.type(max_value)), dy, 0))


def leaky_relu_forward(x, negative_slope, y_out):
    """See kernels/leaky_relu.py, equation (1): as 0 <= s < 1, the larger of x and s*x."""
    np.maximum(x, x.dtype.type(negative_slope) * x, out=y_out)


def leaky_relu_backward(y, negative_slope, dy, dx_out):
    """See kernels/leaky_relu.py, equation (4)."""
    np.copyto(dx_out, np.where(y > 0, dy, y.dtype.type(negative_slope) * dy))


def prelu_forward(x, alpha, y_out):
    """See kernels/prelu.py, equation (1), as the sum of a ReLU and alpha times the rest."""
    y_out[:] = np.maximum(x, 0) + alpha * np.minimum(x, 0)


def prelu_backward_params(x, dy, dalpha_out):
    """See kernels/prelu.py, equation (4)."""
    dalpha_out[:] = np.einsum("pc,pc->c", np.minimum(x, 0), dy)


def prelu_backward_input(x, alpha, dy, dx_out):
    """See kernels/prelu.py, equation (7)."""
    dx_out[:] = np.where(x > 0, 1, alpha) * dy


def sigmoid_forward(x, y_out):
    """See kernels/sigmoid.py, equation (1), as exp(-log(1 + exp(-x)))."""
    with np.errstate(invalid="ignore"):  # no warning for NaN
        y_out[:] = np.exp(-np.logaddexp(0, -x.astype(np.float64)))


def sigmoid_backward(y, dy, dx_out):
    """See kernels/sigmoid.py, equation (6)."""
    dx_out[:] = dy * (y - np.square(y))


def tanh_forward(x, y_out):
    """See kernels/tanh.py, equation (1)."""
    y_out[:] = np.tanh(x.astype(np.float64))


def tanh_backward(y, dy, dx_out):
    """See kernels/tanh.py, equation (5)."""
    dx_out[:] = dy - dy * np.square(y)


def dense_forward(x, w, b, y_out):
    """See kernels/dense.py, equation (1)."""
    y_out[:] = x @ w + b


def dense_backward_params(x, dy, dw_out, db_out):
    """See kernels/dense.py, equations (2) and (3)."""
    dw_out[:] = x.T @ dy
    db_out[:] = dy.sum(axis=0)


def pack_weights(w, packed_out):
    """See kernels/packed_weights.py."""
    packed_out[:] = np.stack(np.split(w, len(packed_out), axis=1))


def dense_transpose_weights(w, w_t_out):
    """w (fan_in, units) -> (P, units, fan_in / P): see kernels/dense.py."""
    n_panels, _, n_columns = w_t_out.shape
    w_t_out[:] = w.reshape(n_panels, n_columns, -1).transpose(0, 2, 1)


def dense_backward_input(dy, w_t, dx_out):
    """See kernels/dense.py, equation (4)."""
    dx_out[:] = np.concatenate([dy @ panel for panel in w_t], axis=1)


def add_forward(x, x2, relu, y_out):
    """See kernels/add.py, equation (1)."""
    np.add(x, x2, out=y_out)
    if relu:
        relu_forward(y_out, y_out)


def scale_shift_forward(x, scale, shift, relu, scratch, y_out):
    """See kernels/scale_shift.py, equation (1).  scratch is the kernel's, and not used here."""
    y_out[:] = scale * x + shift
    if relu:
        relu_forward(y_out, y_out)


def scale_shift_backward_params(x, dy, dscale_out, dshift_out):
    """See kernels/scale_shift.py, equations (2) and (3)."""
    dscale_out[:] = np.einsum("pc,pc->c", dy, x)
    dshift_out[:] = dy.sum(axis=0)


def scale_shift_backward_input(dy, scale, dx_out):
    """See kernels/scale_shift.py, equation (4)."""
    np.multiply(dy, scale, out=dx_out)


def batch_norm_moments(x, n_before, scratch, moments):
    """See kernels/batch_norm.py, equation (2).  Here the sums of the values and of their squares
    are added.  scratch is not used."""
    n = n_before + len(x)
    if n_before == 0:
        moments[:] = 0
    if len(x):
        mean = x.mean(axis=0, dtype=np.float64)
        var = x.var(axis=0, dtype=np.float64)
        old_mean = moments[0].copy()
        moments[0] = (n_before * old_mean + len(x) * mean) / n
        spread = n_before * np.square(old_mean - moments[0])
        spread += len(x) * np.square(mean - moments[0])
        moments[1] = (n_before * moments[1] + len(x) * var + spread) / n


def batch_norm_combine(chunk_moments, n_images, chunk_size, moments_out):
    """See kernels/batch_norm.py.  Here the chunks are not added one after the other: the variance
    is the mean of their variances plus the variance of their means."""
    firsts = np.arange(len(chunk_moments)) * chunk_size
    shares = np.minimum(chunk_size, n_images - firsts) / max(n_images, 1)
    mean = shares @ chunk_moments[:, 0]
    moments_out[0] = mean
    moments_out[1] = shares @ (chunk_moments[:, 1] + np.square(chunk_moments[:, 0] - mean))


def batch_norm_update_running(moments, n, momentum, unbiased, running_mean, running_var):
    """See kernels/batch_norm.py.  Here the running values move towards those of the batch."""
    mean, var = moments
    if n:
        running_mean += (1 - momentum) * (mean - running_mean)
    if n > 1 or (n and not unbiased):
        running_var += (1 - momentum) * (var * n / (n - bool(unbiased)) - running_var)


def batch_norm_forward(x, moments, gamma, beta, epsilon, relu, scratch, y_out):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta for each channel, then ReLU if `relu`:
    equation (1) of kernels/batch_norm.py.  `scratch` is the kernel's, and not used here."""
    mean, var = moments
    y_out[:] = gamma * ((x - mean) / np.sqrt(var + epsilon)) + beta
    if relu:
        relu_forward(y_out, y_out)


def batch_norm_backward_params(
    x, dy, moments, gamma, beta, epsilon, relu, stores, scratch, dgamma_out, dbeta_out
):  # fmt: skip
    """See kernels/batch_norm.py, equations (7) and (8).  scratch is not used."""
    mean, var = moments
    g = _through_relu(x, dy, moments, gamma, beta, epsilon) if relu else dy
    dgamma_out[:] = np.einsum("pc,pc->c", g, (x - mean) / np.sqrt(var + epsilon))
    dbeta_out[:] = g.sum(axis=0)
    if stores:
        dy[:] = g


def _through_relu(x, dy, moments, gamma, beta, epsilon):
    """dy, or 0 where the ReLU of `batch_norm_forward` gave 0."""
    y, g = np.empty_like(x), np.empty_like(dy)
    batch_norm_forward(x, moments, gamma, beta, epsilon, 1, None, y)
    relu_backward(y, dy, g)
    return g


def batch_norm_backward_input(
    x, dy, moments, gamma, beta, epsilon, relu, dgamma, dbeta, n, scratch, dx_out
):  # fmt: skip
    """See kernels/batch_norm.py.  Here as in the paper: by the gradients of the mean and of the
    variance, where the kernel uses a closed form.  scratch is not used."""
    mean, var = moments
    if relu:
        dy = _through_relu(x, dy, moments, gamma, beta, epsilon)
    deviation = np.sqrt(var + epsilon)
    dvar = -gamma * dgamma / (2 * np.square(deviation))
    dmean = -gamma * dbeta / deviation
    dx_out[:] = gamma * dy / deviation + dvar * 2 * (x - mean) / n + dmean / n


def dropout_forward(x, mask, y_out):
    """See kernels/dropout.py, equation (1)."""
    np.multiply(x, mask[:, None], out=y_out)


def dropout_backward(dy, mask, dx_out):
    """See kernels/dropout.py, equation (2)."""
    np.multiply(dy, mask[:, None], out=dx_out)


def scale_images(images, scaling, normalization, x_out):
    """See kernels/scale_images.py."""
    x_out[:] = images
    if normalization.size:
        mean, std = normalization
        x_out[:] = (images / (255 if scaling == 1 else 1) - mean) / std
    elif scaling == 1:
        x_out /= 255
    elif scaling == 2:
        pixels = images.astype(np.float64)
        mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
        n_values = images[0].size if len(images) else 1
        std = np.maximum(pixels.std(axis=(1, 2, 3), keepdims=True), n_values**-0.5)
        x_out[:] = (pixels - mean) / std


# ---- softmax, cross-entropy, distillation ----------------------------------------------------
# Other ways than in the kernels: log-sum-exp by np.logaddexp, where the kernels sum exponentials,
# and the gradient of distillation from that of cross-entropy, where they use the closed form.


def _log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    z = logits.astype(np.float64)
    # inf - inf: a NaN in the loss, not a warning; a difference may be -inf at a small temperature
    with np.errstate(invalid="ignore", over="ignore"):
        z -= z.max(axis=1, keepdims=True)
        z /= temperature  # after the subtraction: so the largest stays 0
        # logaddexp(0, u) is log1p(exp(u)): exact near 0
        return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def _cross_entropy(log_probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0 * -inf, which the next line makes 0
        terms = targets * log_probs
    return -np.where((targets == 0) & np.isneginf(log_probs), 0.0, terms).sum(axis=1)


def log_softmax_forward(logits: np.ndarray, temperature: float, log_probs_out: np.ndarray) -> None:
    """log softmax(logits / temperature) of each row of logits (N, K)."""
    with np.errstate(over="ignore"):  # -inf in float32
        log_probs_out[...] = _log_softmax(logits, temperature)


def softmax_forward(logits: np.ndarray, temperature: float, probs_out: np.ndarray) -> None:
    """softmax(logits / temperature) of each row of logits (N, K)."""
    probs_out[...] = np.exp(_log_softmax(logits, temperature))


def cross_entropy_soft(
    logits: np.ndarray, targets: np.ndarray, loss_out: np.ndarray, dlogits_out: np.ndarray
) -> None:
    """Loss (N,) of each sample against targets (N, K), and the gradient of the mean loss."""
    targets = targets.astype(np.float64)
    log_probs = _log_softmax(logits)
    loss_out[...] = _cross_entropy(log_probs, targets)
    total = targets.sum(axis=1, keepdims=True)
    dlogits_out[...] = (total * np.exp(log_probs) - targets) / max(len(logits), 1)


def cross_entropy_hard(
    logits: np.ndarray, labels: np.ndarray, loss_out: np.ndarray, dlogits_out: np.ndarray
) -> None:
    """Loss (N,) of each sample against class indices (N,), and the gradient of the mean loss."""
    targets = np.zeros(logits.shape)
    targets[np.arange(len(labels)), labels] = 1
    cross_entropy_soft(logits, targets, loss_out, dlogits_out)


def distillation(
    logits: np.ndarray, targets: np.ndarray, teacher_logits: np.ndarray,
    temperature: float, soft_weight: float, soft_scale: float,
    loss_out: np.ndarray, dlogits_out: np.ndarray,
) -> None:  # fmt: skip
    """(1-w) * CE(softmax(z), y) + w*scale * CE(softmax(z/t), softmax(v/t)): losses, gradient."""
    n, k = logits.shape
    hard_loss, hard_dlogits = np.empty(n), np.empty((n, k))
    cross_entropy_soft(logits, targets, hard_loss, hard_dlogits)
    softened_targets, soft_loss, dsoftened = np.empty((n, k)), np.empty(n), np.empty((n, k))
    softmax_forward(teacher_logits, temperature, softened_targets)
    softened = logits.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # as in `_log_softmax`
        softened = (softened - softened.max(axis=1, keepdims=True)) / temperature
    cross_entropy_soft(softened, softened_targets, soft_loss, dsoftened)
    soft_share = soft_weight * soft_scale
    loss_out[...] = (1 - soft_weight) * hard_loss + soft_share * soft_loss
    with np.errstate(over="ignore"):
        dlogits_out[...] = (1 - soft_weight) * hard_dlogits + soft_share * dsoftened / temperature


# ---- distillation beyond Hinton ---------------------------------------------------------------
# Other ways than in the kernels: probabilities and explicit Jacobians (einsum), where the kernels
# use logarithms and closed forms.


def _softmax_jacobian(probs: np.ndarray) -> np.ndarray:
    """(N, K, K): dprobs[n, k] / du[n, j] for probs = softmax(u)."""
    return np.einsum("nk,kj->nkj", probs, np.eye(probs.shape[1])) - np.einsum(
        "nk,nj->nkj", probs, probs
    )


def decoupled_distillation(
    logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray,
    temperature: float, alpha: float, beta: float, scale: float,
    loss_out: np.ndarray, dlogits_out: np.ndarray,
) -> None:  # fmt: skip
    """scale * (alpha * KL of (target, not target) + beta * KL of the others): losses, gradient."""
    n, k = logits.shape
    target = labels[:, None] == np.arange(k)

    def parts(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logarithms of: softmax; (target, not target); softmax of the others, 0 for the target."""
        u = z.astype(np.float64) / temperature
        log_probs, others = _log_softmax(u), _log_softmax(np.where(target, -np.inf, u))
        with np.errstate(invalid="ignore"):  # no warning for NaN
            rest = np.logaddexp.reduce(np.where(target, -np.inf, log_probs), axis=1)
        return log_probs, np.stack([log_probs[target], rest], axis=1), others

    log_p, log_odds, log_others = parts(logits)
    _, teacher_odds, teacher_others = parts(teacher_logits)

    def divergence(log_q: np.ndarray, log_p: np.ndarray) -> np.ndarray:
        return _cross_entropy(log_p, np.exp(log_q)) - _cross_entropy(log_q, np.exp(log_q))

    loss_out[...] = scale * alpha * divergence(teacher_odds, log_odds)
    loss_out[...] += scale * beta * divergence(teacher_others, log_others)
    # dKL(q||p) = -q d(log p); the Jacobian of a log softmax is that of its logits minus its probs
    odds = np.stack([target.astype(np.float64), np.exp(log_others)], axis=1)
    dlog_odds = odds - np.exp(log_p)[:, None, :]
    dlog_others = np.eye(k) - np.exp(log_others)[:, None, :]
    du = -alpha * np.einsum("no,noj->nj", np.exp(teacher_odds), dlog_odds)
    du -= beta * np.einsum("nk,nkj->nj", np.exp(teacher_others), dlog_others)
    dlogits_out[...] = scale * du / temperature / max(n, 1)


def relation_distillation(
    logits: np.ndarray, teacher_logits: np.ndarray,
    temperature: float, beta: float, gamma: float, scale: float,
    probs: np.ndarray, teacher_probs: np.ndarray, dprobs: np.ndarray,
    loss_out: np.ndarray, dlogits_out: np.ndarray,
) -> None:  # fmt: skip
    """scale * (beta * (1 - Pearson over classes) + gamma * (1 - Pearson over samples))."""
    if not len(logits):
        return
    softmax_forward(logits, temperature, probs)
    softmax_forward(teacher_logits, temperature, teacher_probs)

    def correlations(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The correlation of each row, and its gradient.  Multiplying by `centring` subtracts the
        mean; in the gradient it is the Jacobian of that."""
        centring = np.eye(p.shape[1]) - 1 / p.shape[1]
        a, b = p @ centring, q @ centring
        length_a, length_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
        product = length_a * length_b + 1e-8
        r = np.einsum("nk,nk->n", a, b) / product
        unit = np.divide(a, length_a[:, None], out=np.zeros_like(a), where=length_a[:, None] > 0)
        slope = length_b / product
        return r, (b / product[:, None] - (r * slope)[:, None] * unit) @ centring

    rows, rows_slope = correlations(probs, teacher_probs)
    columns, columns_slope = correlations(probs.T, teacher_probs.T)
    loss_out[...] = scale * (beta * (1 - rows) + gamma * (1 - columns).mean())
    dprobs[...] = -beta * rows_slope / len(probs) - gamma * columns_slope.T / probs.shape[1]
    du = np.einsum("nk,nkj->nj", dprobs, _softmax_jacobian(probs))
    dlogits_out[...] = scale * du / temperature


def standardize_logits_forward(
    logits: np.ndarray, z_out: np.ndarray, deviation_out: np.ndarray
) -> None:
    """Each row minus its mean, divided by its deviation."""
    z = logits.astype(np.float64)
    deviation_out[...] = np.hypot(z.std(axis=1), 1e-7)
    z_out[...] = (z - z.mean(axis=1, keepdims=True)) / deviation_out[:, None]


def standardize_logits_backward(
    dz: np.ndarray, z: np.ndarray, deviation: np.ndarray, dlogits_out: np.ndarray
) -> None:
    """dL/dlogits for dz = dL/dz, by the Jacobian of each row."""
    k = z.shape[1]
    jacobian = np.eye(k) - 1 / k - np.einsum("ni,nj->nij", z, z) / k
    dlogits_out[...] = np.einsum("ni,nij->nj", dz, jacobian) / deviation[:, None]
