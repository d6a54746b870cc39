"""Softmax, cross-entropy (hard, soft) and distillation: each loss together with its gradient.

    u[n, k] = (z[n, k] - max_j z[n, j]) / t                       logits z, temperature t     (1)
    R[n] = log sum_k exp(u[n, k])                                                             (2)
    log p[n, k] = u[n, k] - R[n]                                  p = softmax(z / t)          (3)
    L[n] = -sum_k y[n, k] * log p[n, k]                           targets y                   (4)

For all functions here:
- Stability: by (1) every exponent is <= 0, and (2) is >= 0, so no finite logits overflow, and no
  two terms cancel in (4) written as s*R - sum_k y*u, s = sum_k y.  The term of the largest logit in
  (2) is exactly 1, so R = log1p(sum over the others): a loss of 1e-20 is not rounded to 0.
- Arithmetic is in float64 for float32 logits too, and rounded once, in the output.  This costs next
  to nothing: the loss has N*K values, the network millions of multiplications for each image.
- loss_out[n] is the loss of sample n; dlogits_out is the gradient of the MEAN over n: 1/N is
  applied here and nowhere else.  N = 0 writes nothing.
- NaN or +inf in a row makes its loss NaN or inf and its gradient NaN somewhere.  A logit of -inf
  rules a class out: it adds nothing to the loss if its target is 0, else the loss is inf.
- Each row's results depend on that row only.
"""

import math

import numpy as np

from ._jit import helper, kernel


@helper
def _row_peak_and_log_sum(logits, n, temperature):
    """max_j z[n, j] and R[n] of (2), both float64.  A NaN makes one of them NaN."""
    largest = 0
    for k in range(1, logits.shape[1]):
        if logits[n, k] > logits[n, largest]:
            largest = k
    peak = np.float64(logits[n, largest])
    others = 0.0
    for k in range(logits.shape[1]):
        if k != largest:
            others += math.exp((np.float64(logits[n, k]) - peak) / temperature)
    return peak, math.log1p(others)


@kernel
def log_softmax_forward(logits, temperature, log_probs_out):
    """Equation (3).  logits (N, K) float32 or float64; log_probs_out (N, K); temperature > 0."""
    for n in range(logits.shape[0]):
        peak, log_sum = _row_peak_and_log_sum(logits, n, temperature)
        for k in range(logits.shape[1]):
            log_probs_out[n, k] = (np.float64(logits[n, k]) - peak) / temperature - log_sum


@kernel
def softmax_forward(logits, temperature, probs_out):
    """exp of (3).  logits (N, K) float32 or float64; probs_out (N, K); temperature > 0."""
    for n in range(logits.shape[0]):
        peak, log_sum = _row_peak_and_log_sum(logits, n, temperature)
        for k in range(logits.shape[1]):
            u = (np.float64(logits[n, k]) - peak) / temperature
            probs_out[n, k] = math.exp(u - log_sum)


@kernel
def cross_entropy_soft(logits, targets, loss_out, dlogits_out):
    """Given z and y; wanted L (4) at t = 1 and d = d(mean L)/dz.

    logits       (N, K)  float32 or float64
    targets      (N, K)  y >= 0, any float dtype; rows should sum to 1
    loss_out     (N,)    L[n], not divided by N
    dlogits_out  (N, K)  like logits

        L = s*R - sum_k y_k u_k,  s = sum_k y_k                   (3) in (4)                  (5)
        dR/dz_j = exp(u_j) / sum_k exp(u_k) = p_j                 (2); max cancels in (3)     (6)
        dL/dz_j = s*p_j - y_j                                     (6) in (5)                  (7)
        d[n, j] = (s[n]*p[n, j] - y[n, j]) / N                    mean over n                 (8)

    s is computed and not assumed to be 1, because float32 rows sum to 1 only within 1e-7.  So (8)
    is the exact gradient of the returned loss, and its rows sum to 0.
    Source: Bishop, Pattern Recognition and Machine Learning (2006), eq. 4.108-4.109.
    Check: test_cross_entropy.py::test_gradient, ::test_rows_that_do_not_sum_to_one.
    """
    N, K = logits.shape
    for n in range(N):
        peak, log_sum = _row_peak_and_log_sum(logits, n, 1.0)
        total = 0.0
        for k in range(K):
            total += np.float64(targets[n, k])
        loss = total * log_sum
        for k in range(K):
            u = np.float64(logits[n, k]) - peak
            y = np.float64(targets[n, k])
            if y != 0.0:  # 0 * log 0 = 0
                loss -= y * u  # (5)
            dlogits_out[n, k] = (total * math.exp(u - log_sum) - y) / N  # (8)
        loss_out[n] = loss


@kernel
def cross_entropy_hard(logits, labels, loss_out, dlogits_out):
    """cross_entropy_soft for y[n, k] = 1 if k = labels[n] else 0, hence s = 1 in (5) and (8).

    logits       (N, K)  float32 or float64
    labels       (N,)    int64, 0 <= label < K: checked in tinycnn.losses, not here
    loss_out     (N,)    R - u_label
    dlogits_out  (N, K)  like logits: (p - y) / N
    """
    N, K = logits.shape
    for n in range(N):
        peak, log_sum = _row_peak_and_log_sum(logits, n, 1.0)
        loss_out[n] = log_sum - (np.float64(logits[n, labels[n]]) - peak)  # (5)
        for k in range(K):
            y = 1.0 if k == labels[n] else 0.0
            u = np.float64(logits[n, k]) - peak
            dlogits_out[n, k] = (math.exp(u - log_sum) - y) / N  # (8)


@kernel
def distillation(
    logits, targets, teacher_logits, temperature, soft_weight, soft_scale, loss_out, dlogits_out
):
    """Given z, y and a teacher's logits v; wanted D and d = d(mean D)/dz.

        q = softmax(v / t)                                        the teacher, softened       (9)
        D = (1-w) * L(z, y) + w*c * L(z/t, q)                     L from (4)                 (10)

    logits          (N, K)  float32 or float64
    targets         (N, K)  y >= 0, any float dtype; rows should sum to 1 (hard: one-hot)
    teacher_logits  (N, K)  v, any float dtype.  May be log-probabilities: these differ from logits
                            by a constant in each row, which cancels in (9)
    temperature     t > 0;  soft_weight  w in 0..1;  soft_scale  c: 1 (MicroExpNet) or t*t (Hinton)
    loss_out        (N,)    D[n], not divided by N
    dlogits_out     (N, K)  like logits

        d L(z/t, q)/d(z/t)_j = P_j - q_j,  P = softmax(z / t)     (7), s = 1 by (9)          (11)
        d L(z/t, q)/dz_j = (P_j - q_j) / t                        (11), d(z/t)/dz = 1/t      (12)
        dD/dz_j = (1-w) * (s*p_j - y_j) + w*c/t * (P_j - q_j)     (7) and (12) in (10)       (13)
        d[n, j] = dD[n]/dz[n, j] / N                              mean over n                (14)

    For large t, P - q is about (z - v)/(K*t) (each minus its row mean).  So with c = 1 the soft
    term's gradient shrinks as 1/t^2; with c = t*t its share does not depend on t.
    Sources: Hinton, Vinyals, Dean, arXiv:1503.02531, section 2; Cugu et al., arXiv:1711.07011.
    Check: test_cross_entropy.py::test_gradient, ::test_hinton_multiplies_the_soft_term.
    """
    distillation_rows(
        logits, targets, teacher_logits, temperature, soft_weight, soft_scale, logits.shape[0],
        loss_out, dlogits_out,
    )  # fmt: skip


@helper
def weigh_rows(weights, loss_out, dlogits_out):
    """Multiply the losses (n,) and gradients (n, K) of some samples by their weights (n,)."""
    for n in range(weights.size):
        loss_out[n] *= weights[n]
        for k in range(dlogits_out.shape[1]):
            dlogits_out[n, k] *= weights[n]


@helper
def distillation_rows(
    logits, targets, teacher_logits, temperature, soft_weight, soft_scale, N, loss_out, dlogits_out
):
    """`distillation` for some rows of a batch of N: (14) divides by N.  teacher_logits are not read
    if soft_weight is 0."""
    n_rows, K = logits.shape
    hard_share = 1.0 - soft_weight
    soft_share = soft_weight * soft_scale
    for n in range(n_rows):
        peak, log_sum = _row_peak_and_log_sum(logits, n, 1.0)
        soft_log_sum = teacher_peak = teacher_log_sum = 0.0
        if soft_weight != 0.0:
            peak, soft_log_sum = _row_peak_and_log_sum(logits, n, temperature)
            teacher_peak, teacher_log_sum = _row_peak_and_log_sum(teacher_logits, n, temperature)
        total = 0.0
        for k in range(K):
            total += np.float64(targets[n, k])
        loss, soft_loss = total * log_sum, soft_log_sum
        for k in range(K):
            y = np.float64(targets[n, k])
            u = np.float64(logits[n, k]) - peak
            if y != 0.0:  # 0 * log 0 = 0
                loss -= y * u
            hard, soft = total * math.exp(u - log_sum) - y, 0.0  # (7)
            if soft_weight != 0.0:
                soft_u = u / temperature
                teacher_u = (np.float64(teacher_logits[n, k]) - teacher_peak) / temperature
                q = math.exp(teacher_u - teacher_log_sum)  # (9)
                if q != 0.0:
                    soft_loss -= q * soft_u
                soft = (math.exp(soft_u - soft_log_sum) - q) / temperature  # (12)
            dlogits_out[n, k] = (hard_share * hard + soft_share * soft) / N  # (14)
        loss_out[n] = hard_share * loss + soft_share * soft_loss  # (10)
