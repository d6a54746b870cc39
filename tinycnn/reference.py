"""Every operation in plain NumPy: tests compare the kernels with it; the backend without Numba.

The functions have the names and arguments of `tinycnn.kernels`, which explain them, but share no
arithmetic with these.  They overwrite the arrays whose names end in `_out`.
"""

from __future__ import annotations

import numpy as np

# ---- conv2d, pooling, relu, dense, dropout ---------------------------------------------------


def _windows(x, window, OH, OW, fill=0):
    """A view (N, OH, OW, C, KH, KW) of x padded with `fill`: every window, tap by tap."""
    KH, KW, SH, SW, PT, PL, _, _ = window
    bottom = max((OH - 1) * SH + KH - PT - x.shape[1], 0)
    right = max((OW - 1) * SW + KW - PL - x.shape[2], 0)
    padded = np.pad(x, ((0, 0), (PT, bottom), (PL, right), (0, 0)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KH, KW), axis=(1, 2))
    return windows[:, : (OH - 1) * SH + 1 : SH, : (OW - 1) * SW + 1 : SW]


def _n_positions(x, window):
    """(OH, OW) of a window over x."""
    KH, KW, SH, SW, PT, PL, PB, PR = window
    return (x.shape[1] + PT + PB - KH) // SH + 1, (x.shape[2] + PL + PR - KW) // SW + 1


def conv2d_forward(x, w, b, window, y_out):
    """See kernels/conv2d.py, equation (1)."""
    windows = _windows(x, window, *y_out.shape[1:3])
    y_out[:] = np.tensordot(windows, w, axes=((4, 5, 3), (0, 1, 2))) + b


def conv2d_backward_params(x, dy, window, dw_out, db_out):
    """See kernels/conv2d.py, equations (2) and (3)."""
    windows = _windows(x, window, *dy.shape[1:3])
    dw = np.tensordot(windows, dy, axes=((0, 1, 2), (0, 1, 2)))  # (C, KH, KW, F)
    dw_out[:] = dw.transpose(1, 2, 0, 3)
    db_out[:] = dy.sum(axis=(0, 1, 2))


def conv2d_transpose_weights(w, w_t_out):
    """w (KH, KW, C, F) -> (F, KH, KW, C)."""
    w_t_out[:] = w.transpose(3, 0, 1, 2)


def conv2d_backward_input(dy, w_t, window, dx_out):
    """See kernels/conv2d.py, equation (4)."""
    _sum_of_taps(lambda a, e: dy @ w_t[:, a, e], window, dy.shape[1:3], dx_out)


def _sum_of_taps(of_tap, window, n_out, dx_out):
    """For each tap (a, e), add of_tap(a, e), with a pixel for each window, to the pixels that the
    tap reads; n_out: (OH, OW)."""
    KH, KW, SH, SW, PT, PL, _, _ = window
    (OH, OW), (N, H, W, C) = n_out, dx_out.shape
    padded = np.zeros((N, PT + H + OH * SH + KH, PL + W + OW * SW + KW, C), dx_out.dtype)
    for a in range(KH):
        for e in range(KW):
            padded[:, a : a + OH * SH : SH, e : e + OW * SW : SW] += of_tap(a, e)
    dx_out[:] = padded[:, PT : PT + H, PL : PL + W]


def maxpool2d_forward(x, window, y_out, argmax_out):
    """See kernels/maxpool2d.py, equation (1)."""
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1:3]
    taps = window.KH * window.KW
    values = _windows(x, window, OH, OW).reshape(N, OH, OW, C, taps)
    positions = np.arange(H * W).reshape(1, H, W, 1)
    positions = _windows(positions, window, OH, OW, fill=-1).reshape(1, OH, OW, 1, taps)
    inside = np.broadcast_to(positions >= 0, values.shape)
    numbers = inside & ~np.isnan(values)
    best = np.where(numbers, values, -np.inf).max(axis=-1, keepdims=True)
    maxima = np.where(numbers.any(axis=-1, keepdims=True), numbers & (values == best), inside)
    first = maxima.argmax(axis=-1)[..., None]
    y_out[:] = np.take_along_axis(values, first, axis=-1)[..., 0]
    positions = np.broadcast_to(positions, values.shape)
    argmax_out[:] = np.take_along_axis(positions, first, axis=-1)[..., 0]


def maxpool2d_backward(dy, argmax, dx_out):
    """See kernels/maxpool2d.py, equation (4)."""
    N, H, W, C = dx_out.shape
    n, _, _, c = np.indices(dy.shape, sparse=True)
    dx_out[:] = 0
    np.add.at(dx_out.reshape(N, H * W, C), (n, argmax, c), dy)


def averagepool2d_forward(x, window, count_padding, y_out):
    """See kernels/averagepool2d.py, equation (1)."""
    OH, OW = y_out.shape[1:3]
    total = _windows(x, window, OH, OW).sum(axis=(4, 5), dtype=np.float64)
    y_out[:] = total / _n_counted(window, count_padding, x.shape[1:3], OH, OW)


def averagepool2d_backward(dy, window, count_padding, dx_out):
    """See kernels/averagepool2d.py, equation (4)."""
    n_out = dy.shape[1:3]
    share = dy / _n_counted(window, count_padding, dx_out.shape[1:3], *n_out)
    _sum_of_taps(lambda a, e: share, window, n_out, dx_out)


def _n_counted(window, count_padding, size, OH, OW):
    """(1, OH, OW, 1): the number of positions in each window; size: (H, W)."""
    inside = _windows(np.ones((1, *size, 1)), window, OH, OW, fill=float(count_padding))
    return inside.sum(axis=(4, 5))


def depthwise_conv2d_forward(x, w, b, window, y_out):
    """See kernels/depthwise_conv2d.py, equation (1)."""
    windows = _windows(x, window, *y_out.shape[1:3])
    y_out[:] = np.einsum("nijcae,aecd->nijcd", windows, w).reshape(y_out.shape) + b


def depthwise_conv2d_backward_params(x, dy, window, dw_out, db_out):
    """See kernels/depthwise_conv2d.py, equations (2) and (3)."""
    windows = _windows(x, window, *dy.shape[1:3])
    dy_of_channels = dy.reshape(*dy.shape[:3], *dw_out.shape[2:])
    np.einsum("nijcae,nijcd->aecd", windows, dy_of_channels, out=dw_out)
    db_out[:] = dy.sum(axis=(0, 1, 2))


def depthwise_conv2d_backward_input(dy, w, window, dx_out):
    """See kernels/depthwise_conv2d.py, equation (4)."""
    dy_of_channels = dy.reshape(*dy.shape[:3], *w.shape[2:])
    _sum_of_taps(lambda a, e: (dy_of_channels * w[a, e]).sum(axis=4), window, dy.shape[1:3], dx_out)


def conv2d_maxpool2d_backward(x, dy, argmax, w_t, window, scratch, dw_out, db_out, dx_out):
    """See kernels/conv2d_maxpool2d.py.  Here one pass after the other; scratch is not used."""
    conv_dy = np.empty((len(x), *_n_positions(x, window), dy.shape[3]), dy.dtype)
    maxpool2d_backward(dy, argmax, conv_dy)
    dw = np.empty((*dw_out.shape[1:], dw_out.shape[0]), dy.dtype)
    conv2d_backward_params(x, conv_dy, window, dw, db_out)
    conv2d_transpose_weights(dw, dw_out)
    if len(dx_out):
        conv2d_backward_input(conv_dy, w_t, window, dx_out)


def conv2d_transpose_weights_back(w_t, w_out):
    """w_t (F, KH, KW, C) -> w_out (KH, KW, C, F)."""
    w_out[:] = w_t.transpose(1, 2, 3, 0)


def conv2d_winograd_forward(x, w, U, b, window, pool, relu, scratch, y_out, argmax_out):
    """See kernels/conv2d_winograd.py.  Here (1), then (2); U and scratch are not used."""
    y = np.empty((len(x), *_n_positions(x, window), w.shape[3]), x.dtype)
    conv2d_forward(x, w, b, window, y)
    if pool:
        conv_y, y = y, np.empty(y_out.shape, x.dtype)
        argmax = argmax_out if argmax_out.size else np.empty(y.shape, np.int32)
        maxpool2d_forward(conv_y, window._replace(KH=2, KW=2, PT=0, PL=0), y, argmax)
    y_out[:] = np.maximum(y, 0) if relu else y


def relu_forward(x, y_out):
    """See kernels/relu.py, equation (1).  np.maximum keeps NaN."""
    np.maximum(x, 0, out=y_out)


def relu_backward(y, dy, dx_out):
    """See kernels/relu.py, equation (4)."""
    np.copyto(dx_out, np.where(y > 0, dy, 0))


def dense_forward(x, w, b, y_out):
    """See kernels/dense.py, equation (1)."""
    y_out[:] = x @ w + b


def dense_backward_params(x, dy, dw_out, db_out):
    """See kernels/dense.py, equations (2) and (3)."""
    dw_out[:] = x.T @ dy
    db_out[:] = dy.sum(axis=0)


def dense_transpose_weights(w, w_t_out):
    """w (fan_in, units) -> (units, fan_in)."""
    w_t_out[:] = w.T


def dense_backward_input(dy, w_t, dx_out):
    """See kernels/dense.py, equation (4)."""
    dx_out[:] = dy @ w_t


def add_forward(x, x2, y_out):
    """See kernels/add.py, equation (1)."""
    np.add(x, x2, out=y_out)


def dropout_forward(x, mask, y_out):
    """See kernels/dropout.py, equation (1)."""
    np.multiply(x, mask, out=y_out)


def dropout_backward(dy, mask, dx_out):
    """See kernels/dropout.py, equation (2)."""
    np.multiply(dy, mask, out=dx_out)


def scale_images(images, scaling, x_out):
    """See kernels/scale_images.py."""
    x_out[:] = images
    if scaling == 1:
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


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf: a NaN in the loss, not a warning
        z -= z.max(axis=1, keepdims=True)  # logaddexp(0, u) is log1p(exp(u)): exact near 0
        return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def _cross_entropy(log_probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0 * -inf, which the next line makes 0
        terms = targets * log_probs
    return -np.where((targets == 0) & np.isneginf(log_probs), 0.0, terms).sum(axis=1)


def log_softmax_forward(logits: np.ndarray, temperature: float, log_probs_out: np.ndarray) -> None:
    """log softmax(logits / temperature) of each row of logits (N, K)."""
    log_probs_out[...] = _log_softmax(logits.astype(np.float64) / temperature)


def softmax_forward(logits: np.ndarray, temperature: float, probs_out: np.ndarray) -> None:
    """softmax(logits / temperature) of each row of logits (N, K)."""
    probs_out[...] = np.exp(_log_softmax(logits.astype(np.float64) / temperature))


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
    cross_entropy_soft(logits, np.eye(logits.shape[1])[labels], loss_out, dlogits_out)


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
    softened = logits.astype(np.float64) / temperature
    cross_entropy_soft(softened, softened_targets, soft_loss, dsoftened)
    soft_share = soft_weight * soft_scale
    loss_out[...] = (1 - soft_weight) * hard_loss + soft_share * soft_loss
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
    target = np.eye(k, dtype=bool)[labels]

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


# ---- optimizer updates -----------------------------------------------------------------------
# As in the papers, line by line; the kernels combine the bias corrections into two scalars.


def adam_update(
    parameters: np.ndarray, gradients: np.ndarray, m: np.ndarray, v: np.ndarray,
    step: int, learning_rate: float, beta1: float, beta2: float, epsilon: float,
    weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """Step number `step` (from 1) of Adam, or of AdamW if `decoupled`, in place on flat arrays."""
    if decoupled:
        parameters *= 1 - learning_rate * weight_decay
    elif weight_decay:
        gradients = gradients + weight_decay * parameters
    m *= beta1
    m += (1 - beta1) * gradients
    v *= beta2
    v += (1 - beta2) * np.square(gradients)
    unbiased_m = m / (1 - beta1**step)
    unbiased_v = v / (1 - beta2**step)
    parameters -= learning_rate * unbiased_m / (np.sqrt(unbiased_v) + epsilon)


def sgd_update(
    parameters: np.ndarray, gradients: np.ndarray, velocity: np.ndarray,
    learning_rate: float, momentum: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """One step of gradient descent with momentum, in place on flat arrays."""
    if weight_decay:
        gradients = gradients + weight_decay * parameters
    velocity *= momentum
    velocity += gradients
    parameters -= learning_rate * (gradients + momentum * velocity if nesterov else velocity)
