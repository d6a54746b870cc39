"""RMSprop: one step on one flat array of parameters, in place.

    g = dL/dp + a*p                     a = weight_decay (L2)                                  (1)
    v <- rho*v + (1 - rho)*g*g          mean of squares; v, m and b are 0 at first             (2)
    m <- rho*m + (1 - rho)*g            mean                                                   (3)
    s = sqrt(max(v - c*m*m, 0) + i) + o     c = 1 if centered: the variance of g; else c = 0   (4)
    b <- mu*b + g/s                     velocity, momentum mu                                  (5)
    p <- p - r*b                        rate r                                                 (6)

epsilon is i, as in Keras, or o, as in PyTorch; the other one is 0.  (6) is PyTorch's form; Keras
has r in (5), which is the same unless r changes.  v >= m*m but for rounding: hence the max in (4).
Sources: Tieleman and Hinton, Coursera lecture 6.5 (2012); Graves, arXiv:1308.0850, equations (38)
to (45), for the centered form.
"""

import math

import numpy as np

from ._jit import kernel


@kernel
def rmsprop_update(
    parameters, gradients, v, m, velocity, learning_rate, rho, momentum, epsilons, weight_decay,
    centered,
):  # fmt: skip
    """Equations (1) to (6).

    parameters      (P,)  float32 or float64, updated in place
    gradients       (P,)  like parameters, read only
    v, m, velocity  (P,)  like parameters, zeros before the first step, updated in place
    epsilons        i and o of (4), floats
    centered        bool

    A v, m or velocity below the smallest normal number becomes 0, for the reason given in adam.py.
    """
    dtype = parameters.dtype.type
    rate, mu, l2 = dtype(learning_rate), dtype(momentum), dtype(weight_decay)
    old, new = dtype(rho), dtype(1.0 - rho)
    inside, outside = dtype(epsilons[0]), dtype(epsilons[1])
    c = dtype(1.0 if centered else 0.0)
    zero, tiny = dtype(0.0), np.finfo(parameters.dtype).tiny
    for k in range(parameters.size):
        p = parameters[k]
        g = gradients[k] + l2 * p  # (1)
        v_k = old * v[k] + new * (g * g)  # (2)
        m_k = old * m[k] + new * g  # (3)
        v_k = zero if v_k < tiny else v_k
        m_k = zero if abs(m_k) < tiny else m_k
        variance = v_k - c * (m_k * m_k)
        variance = zero if variance < zero else variance
        b = mu * velocity[k] + g / (math.sqrt(variance + inside) + outside)  # (4), (5)
        b = zero if abs(b) < tiny else b
        v[k] = v_k
        m[k] = m_k
        velocity[k] = b
        parameters[k] = p - rate * b  # (6)
