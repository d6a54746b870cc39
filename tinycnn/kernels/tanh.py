"""The hyperbolic tangent, forward and backward, on flat arrays of any length.

    y[k] = (exp(x[k]) - exp(-x[k])) / (exp(x[k]) + exp(-x[k]))                                  (1)
    |y[k]| = m / (2 - m),   m = 1 - exp(-2 |x[k]|);   y[k] has the sign of x[k]                 (2)

(2) is (1) with both parts of the fraction divided by exp(|x[k]|).  m is computed without
cancellation (exponential.py), so small values are exact too.  It is computed in float64 and rounded
once: float32 results are the correctly rounded ones but for ties, float64 results have errors of 3
units in the last place.
"""

import numpy as np

from ._jit import kernel
from .elementwise import assign
from .exponential import exp_parts


@kernel
def tanh_forward(x, y_out):
    """Equation (2); NaN stays NaN.  x, y_out: 1-D; they may be the same array.

    Backward needs y alone.
    """
    assign(x, y_out)
    for k in range(y_out.size):
        v = np.float64(y_out[k])
        s, q = exp_parts(-2.0 * abs(v))
        m = (1.0 - s) - s * q
        size = m / (2.0 - m)
        y_out[k] = y_out.dtype.type(size if v >= 0.0 else -size)  # (2)


@kernel
def tanh_backward(y, dy, dx_out):
    """Given forward's y and dy = dL/dy; wanted dx = dL/dx.  1-D; dx_out may be dy.

    dL/dx[k] = dL/dy[k] * dy[k]/dx[k]                            chain rule                 (3)
    dy[k]/dx[k] = 1 - y[k]^2            quotient rule on (1): the numerator and the
                                        denominator are each other's derivatives            (4)
    dL/dx[k] = dL/dy[k] * (1 - y[k]^2)                           (4) in (3)                 (5)
    """
    one = y.dtype.type(1)
    assign(dy, dx_out)
    for k in range(dx_out.size):
        dx_out[k] = dx_out[k] * ((one - y[k]) * (one + y[k]))  # (5)
