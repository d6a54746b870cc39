"""Decoupled distillation (DKD): the target class and the other classes are compared separately.

KL(teacher || student) is a sum of two terms.  With the target class c, b = (p_c, 1 - p_c), and the
probabilities ph of the other classes, divided by their sum,

    KL(q || p) = KL(b_q || b_p) + (1 - q_c) * KL(qh || ph)                                    (1)

The factor 1 - q_c makes the second term small for samples of which the teacher is sure.  DKD gives
each term its own weight instead:

    D = alpha * KL(b_q || b_p) + beta * KL(qh || ph)                                          (2)

Source: Zhao et al., arXiv:2203.08679, equations 5-8.
"""

import math

import numpy as np

from ._jit import helper, kernel


@helper
def _log_sum_without(logits, n, left_out, temperature):
    """max_k u_k and log sum_k exp(u_k - max) over k != left_out, u = z[n] / t, both float64."""
    peak = -np.inf
    for k in range(logits.shape[1]):
        if k != left_out:
            peak = max(peak, np.float64(logits[n, k]) / temperature)
    total = 0.0
    for k in range(logits.shape[1]):
        if k != left_out:
            total += math.exp(np.float64(logits[n, k]) / temperature - peak)
    return peak, math.log(total)


@helper
def _log_odds(logits, n, c, others, temperature):
    """log p_c and log(1 - p_c); others: log sum over k != c of exp(u_k).

    Each is computed directly: 1 - p would lose all digits of a p near 1.
    """
    d = np.float64(logits[n, c]) / temperature - others  # p_c = 1 / (1 + exp(-d))
    if d > 0:
        rest = math.log1p(math.exp(-d))
        return -rest, -d - rest
    rest = math.log1p(math.exp(d))
    return d - rest, -rest


@kernel
def decoupled_distillation(
    logits, labels, teacher_logits, temperature, alpha, beta, scale, loss_out, dlogits_out
):
    """Given z, target classes c and a teacher's logits v; wanted scale * D (2) and its gradient.

    logits          (N, K)  float32 or float64, K >= 2
    labels          (N,)    int64, 0 <= c < K
    teacher_logits  (N, K)  v, any float dtype, or log-probabilities
    temperature     t > 0;  alpha, beta, scale >= 0 (the source scales by t*t)
    loss_out        (N,)    scale * D[n], not divided by N
    dlogits_out     (N, K)  like logits

        u = z/t,  p = softmax(u),  ph_k = p_k / (1 - p_c) for k != c                          (3)
        d log p_c/du_j     = [j=c] - p_j                                                      (4)
        d log(1-p_c)/du_j  = [j!=c] ph_j - p_j          its log-sum leaves c out              (5)
        d KL(b_q||b_p)/du_j = -q_c (4) - (1-q_c) (5)
                           = p_c - q_c                  for j = c                             (6)
                           = (q_c - p_c) ph_j           for j != c, as p_j = (1 - p_c) ph_j   (7)
        d KL(qh||ph)/du_j  = ph_j - qh_j                for j != c, 0 for j = c               (8)
        d[n, j] = scale/(t N) * (alpha (6|7) + beta (8))                                      (9)

    Check: test_distillation.py::test_gradient.
    """
    N, K = logits.shape
    for n in range(N):
        c = labels[n]
        peak, log_sum = _log_sum_without(logits, n, c, temperature)
        others = peak + log_sum
        peak, log_sum = _log_sum_without(teacher_logits, n, c, temperature)
        teacher_others = peak + log_sum
        log_p, log_rest = _log_odds(logits, n, c, others, temperature)
        log_q, log_teacher_rest = _log_odds(teacher_logits, n, c, teacher_others, temperature)
        p, q, teacher_rest = math.exp(log_p), math.exp(log_q), math.exp(log_teacher_rest)
        loss = alpha * (q * (log_q - log_p) + teacher_rest * (log_teacher_rest - log_rest))
        for k in range(K):
            if k == c:
                slope = alpha * (p - q)  # (6)
            else:
                log_ph = np.float64(logits[n, k]) / temperature - others
                log_qh = np.float64(teacher_logits[n, k]) / temperature - teacher_others
                ph, qh = math.exp(log_ph), math.exp(log_qh)
                loss += beta * qh * (log_qh - log_ph)
                slope = alpha * (q - p) * ph + beta * (ph - qh)  # (7), (8)
            dlogits_out[n, k] = scale * slope / (temperature * N)  # (9)
        loss_out[n] = scale * loss
