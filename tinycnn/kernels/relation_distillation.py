"""Distillation by relations (DIST): correlations with the teacher's probabilities, not differences.

With p = softmax(z/t) and q = softmax(v/t), r(a, b) = Pearson's correlation,

    D = beta * mean over n of (1 - r(p[n, :], q[n, :]))     classes, within a sample
      + gamma * mean over k of (1 - r(p[:, k], q[:, k]))    samples, within a class           (1)

The second sum couples the samples of a batch, so this loss is not a mean over the samples' losses.
Source: Huang et al., arXiv:2205.10536, equations 5-9.
"""

import math

from ._jit import helper, kernel
from .cross_entropy import softmax_forward

EPSILON = 1e-8
"""Added to the product of the lengths in r, so that a constant row has correlation 0, not 0/0."""


@helper
def _add_relation(p, q, factor, dp_out):
    """Returns the sum over rows of (1 - r), and adds factor times its gradient to dp_out: equations
    (2) and (3) of `relation_distillation`."""
    total = 0.0
    for i in range(p.shape[0]):
        mean_p, mean_q = 0.0, 0.0
        for j in range(p.shape[1]):
            mean_p += p[i, j]
            mean_q += q[i, j]
        mean_p, mean_q = mean_p / p.shape[1], mean_q / p.shape[1]
        aa, bb, ab = 0.0, 0.0, 0.0
        for j in range(p.shape[1]):
            a, b = p[i, j] - mean_p, q[i, j] - mean_q
            aa, bb, ab = aa + a * a, bb + b * b, ab + a * b
        length_a, length_b = math.sqrt(aa), math.sqrt(bb)
        product = length_a * length_b + EPSILON
        total += 1.0 - ab / product  # (2)
        pull = ab * length_b / (length_a * product * product) if length_a > 0.0 else 0.0
        for j in range(p.shape[1]):
            a, b = p[i, j] - mean_p, q[i, j] - mean_q
            dp_out[i, j] -= factor * (b / product - pull * a)  # (3)
    return total


@kernel
def relation_distillation(
    logits, teacher_logits, temperature, beta, gamma, scale,
    probs, teacher_probs, dprobs, loss_out, dlogits_out,
):  # fmt: skip
    """Given z and a teacher's logits v; wanted scale * D (1) and its gradient.

    logits          (N, K)  float32 or float64
    teacher_logits  (N, K)  v, any float dtype, or log-probabilities
    temperature     t > 0;  beta, gamma, scale >= 0 (the source scales by t*t)
    probs, teacher_probs, dprobs  (N, K) float64: scratch
    loss_out        (N,)    scale * (the sample's first term + the second term); the mean is scale*D
    dlogits_out     (N, K)  like logits; the gradient of scale * D, with 1/N and 1/K applied

    With a, b = p, q minus their means along the axis, |a| = sqrt(sum a*a), e = EPSILON:

        r = sum_j a_j b_j / (|a||b| + e)                                                      (2)
        dr/da_j = b_j / (|a||b| + e) - r |b| a_j / (|a| (|a||b| + e))                         (3)
        dr/dp_j = dr/da_j                           (3) has mean 0 already, as a and b have   (4)
        G[n, k] = dD/dp[n, k]                       -beta/N (3) of rows, -gamma/K of columns  (5)
        dD/dz_j = p_j (G_j - sum_k G_k p_k) / t     softmax, row by row                       (6)

    Check: test_distillation.py::test_gradient.
    """
    N, K = logits.shape
    if N == 0:
        return
    softmax_forward(logits, temperature, probs)
    softmax_forward(teacher_logits, temperature, teacher_probs)
    dprobs[:] = 0
    for n in range(N):
        row = slice(n, n + 1)
        loss_out[n] = beta * _add_relation(
            probs[row], teacher_probs[row], beta / N, dprobs[row]
        )  # (5)
    between = _add_relation(probs.T, teacher_probs.T, gamma / K, dprobs.T) * gamma / K
    for n in range(N):
        loss_out[n] = scale * (loss_out[n] + between)
        inner = 0.0
        for k in range(K):
            inner += dprobs[n, k] * probs[n, k]
        for k in range(K):
            slope = probs[n, k] * (dprobs[n, k] - inner) / temperature  # (6)
            dlogits_out[n, k] = scale * slope
