"""Stochastic gradient descent with momentum: one step on one flat array, in place.

    g = dL/dp + a*p               a = weight_decay (L2)                                        (1)
    b <- mu*b + g                 velocity b, zero before the first step; momentum mu          (2)
    p <- p - r*b                  rate r                                                       (3)
    p <- p - r*(g + mu*b)         instead of (3) with Nesterov's look-ahead                    (4)

With mu = 0 both are plain gradient descent.  This is PyTorch's form: a change of r takes effect at
once.  With b <- mu*b + r*g it would take effect over the next 1/(1 - mu) steps.
Sources: Polyak (1964); Sutskever, Martens, Dahl, Hinton, ICML 2013.
"""

import numpy as np

from ._jit import kernel


@kernel
def sgd_update(parameters, gradients, velocity, learning_rate, momentum, weight_decay, nesterov):
    """Equations (1), (2) and (3), or (4) if nesterov.

    parameters  (P,)  float32 or float64, updated in place
    gradients   (P,)  like parameters, read only
    velocity    (P,)  like parameters, zeros before the first step, updated in place

    (3) and (4) are both p - r*(from_g*g + from_b*b), so the loop has no branch.  A velocity below
    the smallest normal number becomes 0, for the reason given in adam.py.
    """
    dtype = parameters.dtype.type
    rate, mu, l2 = dtype(learning_rate), dtype(momentum), dtype(weight_decay)
    from_g = dtype(1.0 if nesterov else 0.0)
    from_b = dtype(momentum if nesterov else 1.0)
    zero, tiny = dtype(0.0), np.finfo(parameters.dtype).tiny
    for i in range(parameters.size):
        p = parameters[i]
        g = gradients[i] + l2 * p  # (1)
        b = mu * velocity[i] + g  # (2)
        b = zero if abs(b) < tiny else b
        velocity[i] = b
        parameters[i] = p - rate * (from_g * g + from_b * b)  # (3), (4)
