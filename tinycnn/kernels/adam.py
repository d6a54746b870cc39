"""Adam and AdamW: one step on one flat array of parameters, in place.

    g = dL/dp + a*p                 a = weight_decay (L2), or 0 when it is decoupled           (1)
    m <- beta1*m + (1 - beta1)*g                                                               (2)
    v <- beta2*v + (1 - beta2)*g*g                                                             (3)
    m' = m / (1 - beta1^step)       m and v start at 0 and are too small at first: unbias      (4)
    v' = v / (1 - beta2^step)                                                                  (5)
    p <- p - r*m' / (sqrt(v') + e) - r*d*p      rate r; d = decoupled weight decay, or 0       (6)

(4) and (5) in (6), the fraction multiplied above and below by c = sqrt(1 - beta2^step):

    p <- (1 - r*d)*p - (r*c / (1 - beta1^step)) * m / (sqrt(v) + e*c)                          (7)

(7) is (6), not an approximation; everything that does not depend on p, m or v is now outside the
loop, which has no branch and runs in vector lanes.
Sources: Kingma and Ba, arXiv:1412.6980, algorithm 1 and the end of its section 2; Loshchilov and
Hutter, arXiv:1711.05101, algorithm 2 (with the rate multiplied into the decay, as PyTorch does).
"""

from __future__ import annotations

import math

import numpy as np

from ._jit import kernel


@kernel
def adam_update(
    parameters,
    gradients,
    m,
    v,
    step,
    learning_rate,
    beta1,
    beta2,
    epsilon,
    weight_decay,
    decoupled,
):
    """Equations (1), (2), (3) and (7).

    parameters    (P,)  float32 or float64, updated in place
    gradients     (P,)  like parameters, read only
    m, v          (P,)  like parameters, zeros before the first step, updated in place
    step          int   1 in the first call, then 2, ...
    weight_decay  float and decoupled (bool): False is Adam with L2 (1), True is AdamW (6)

    The scalars of (7) are made in float64 and rounded once to the dtype of the arrays.
    Below the smallest normal number m and v become 0.  They would stay there for ever otherwise
    (0.9 * a denormal rounds back to it: every weight behind a dead unit), each costing the
    processor a slow path; in float32 and with e = 1e-8 such an m moves p by less than 1e-30, and
    such a sqrt(v) is 1e-11 of e.  NaN stays NaN.
    Check: test_adam.py::test_agrees_with_torch, ::test_moments_never_become_denormal.
    """
    dtype = parameters.dtype.type
    # pow, because beta**step is a chain of products here, and 1 - beta2^step magnifies its errors.
    c = math.sqrt(1.0 - math.pow(beta2, step))
    rate = dtype(learning_rate * c / (1.0 - math.pow(beta1, step)))
    floor = dtype(epsilon * c)
    keep = dtype(1.0 - learning_rate * weight_decay if decoupled else 1.0)
    l2 = dtype(0.0 if decoupled else weight_decay)
    old_m, new_m = dtype(beta1), dtype(1.0 - beta1)
    old_v, new_v = dtype(beta2), dtype(1.0 - beta2)
    zero, tiny = dtype(0.0), np.finfo(parameters.dtype).tiny
    for i in range(parameters.size):
        p = parameters[i]
        g = gradients[i] + l2 * p  # (1)
        m_i = old_m * m[i] + new_m * g  # (2)
        v_i = old_v * v[i] + new_v * (g * g)  # (3)
        m_i = zero if abs(m_i) < tiny else m_i
        v_i = zero if v_i < tiny else v_i
        # m_i and v_i are used from registers: read back from m and v, the loop takes 3x as long.
        m[i] = m_i
        v[i] = v_i
        parameters[i] = keep * p - rate * m_i / (math.sqrt(v_i) + floor)  # (7)
