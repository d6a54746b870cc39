"""Logit standardisation: z-scores of each row, which distillation can compare instead of logits.

    m = mean_k z_k,  s = sqrt(mean_k (z_k - m)^2 + e^2),  Z_k = (z_k - m) / s                 (1)

A small student then has to match only the pattern of the teacher's logits, not their range.
Source: Sun et al., arXiv:2403.01427, section 3.4 (there e is added to s; inside the root s is
smooth at 0).
"""

import math

import numpy as np

from ._jit import kernel

EPSILON = 1e-7
"""e of (1): a row of equal logits stays 0 instead of 0/0."""


@kernel
def standardize_logits_forward(logits, z_out, deviation_out):
    """Equation (1) row by row.

    logits (N, K) of any float dtype; z_out (N, K) and deviation_out (N,): float64, Z and s.
    """
    N, K = logits.shape
    for n in range(N):
        mean = 0.0
        for k in range(K):
            mean += np.float64(logits[n, k])
        mean /= K
        square = 0.0
        for k in range(K):
            square += (np.float64(logits[n, k]) - mean) ** 2
        deviation = math.sqrt(square / K + EPSILON * EPSILON)
        for k in range(K):
            z_out[n, k] = (np.float64(logits[n, k]) - mean) / deviation
        deviation_out[n] = deviation


@kernel
def standardize_logits_backward(dz, z, deviation, dlogits_out):
    """Given g = dL/dZ (N, K), Z and s from the forward pass; wanted dL/dz (N, K).

        ds/dz_j   = (z_j - m) / (K s) = Z_j / K            the mean's part cancels: sum Z = 0 (2)
        dZ_k/dz_j = ([k=j] - 1/K) / s - Z_k Z_j / (K s)    (2) in (1)                         (3)
        dL/dz_j   = (g_j - mean(g) - Z_j mean(g Z)) / s    (3) summed over k                  (4)

    Check: test_distillation.py::test_gradient.
    """
    N, K = z.shape
    for n in range(N):
        mean, inner = 0.0, 0.0
        for k in range(K):
            mean += dz[n, k]
            inner += dz[n, k] * z[n, k]
        for k in range(K):
            slope = dz[n, k] - mean / K - z[n, k] * inner / K
            dlogits_out[n, k] = slope / deviation[n]  # (4)
