"""Adam and AdamW: one step on one flat array of parameters, in place.

    g = dL/dp + a*p                 a = weight_decay (L2), or 0 when it is decoupled           (1)
    m <- beta1*m + (1 - beta1)*g                                                               (2)
    v <- beta2*v + (1 - beta2)*g*g                                                             (3)
    m' = m / (1 - beta1^step)       m and v start at 0 and are too small at first: unbias      (4)
    v' = v / (1 - beta2^step)                                                                  (5)
    p <- p - r*m' / (sqrt(v') + e) - r*d*p      rate r; d = decoupled weight decay, or 0       (6)

(4) and (5) in (6), the fraction multiplied above and below by c = sqrt(1 - beta2^step):

    p <- (1 - r*d)*p - (r*c / (1 - beta1^step)) * m / (sqrt(v) + e*c)                          (7)

(7) equals (6) exactly, but all factors that do not depend on p, m or v are computed once, before
the loop.  The loop then has no branch, and LLVM vectorises it.
Sources: Kingma and Ba, arXiv:1412.6980, algorithm 1 and the end of its section 2; Loshchilov and
Hutter, arXiv:1711.05101, algorithm 2 (with the rate multiplied into the decay, as PyTorch does).
"""

import math

import numpy as np

from ._jit import kernel


@kernel
def adam_update(
    parameters, gradients, m, v, step, learning_rate, beta1, beta2, epsilon, weight_decay, decoupled
):
    """Equations (1), (2), (3) and (7).

    parameters    (P,)  float32 or float64, updated in place
    gradients     (P,)  like parameters, read only
    m, v          (P,)  like parameters, zeros before the first step, updated in place
    step          int   1 in the first call, then 2, ...
    decoupled     bool  how weight_decay (float) is used: False by (1), Adam; True by (6), AdamW

    The scalars of (7) are computed in float64 and rounded once, to the dtype of the arrays.
    An m or v below the smallest normal number becomes 0; NaN stays NaN.  It would stay denormal for
    ever otherwise (0.9 times the smallest denormals rounds back to them; a unit that is always 0
    does this to all its weights), and arithmetic on denormals is slow.  In float32 with e = 1e-8
    the change is negligible: such an m moves p by less than 1e-30, such a sqrt(v) is 1e-11 of e.
    Check: test_adam.py::test_agrees_with_torch, ::test_moments_never_become_denormal.
    """
    dtype = parameters.dtype.type
    # Numba compiles beta2**step to repeated products, whose errors 1 - beta2^step would magnify
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
        # (7) uses m_i and v_i and not m[i] and v[i]: reading these back makes the loop 3x slower
        m[i] = m_i
        v[i] = v_i
        parameters[i] = keep * p - rate * m_i / (math.sqrt(v_i) + floor)  # (7)
