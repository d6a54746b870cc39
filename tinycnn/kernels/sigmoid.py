"""The logistic function, forward and backward, on flat arrays of any length.

    y[k] = 1 / (1 + exp(-x[k]))                                                                 (1)
         = 1 / (1 + e) if x[k] >= 0 else e / (1 + e),   e = exp(-|x[k]|)                        (2)

By (2) no exponential overflows.  It is computed in float64 and rounded once: float32 results are
the correctly rounded ones but for ties, float64 results have errors of 3 units in the last place.
"""

import numpy as np

from ._jit import kernel
from .elementwise import assign
from .exponential import exp_parts


@kernel
def sigmoid_forward(x, y_out):
    """Equation (2); NaN stays NaN.  x, y_out: 1-D; they may be the same array.

    Backward needs y alone.
    """
    assign(x, y_out)
    for k in range(y_out.size):
        v = np.float64(y_out[k])
        s, q = exp_parts(-abs(v))
        e = s + s * q
        y_out[k] = y_out.dtype.type((1.0 if v >= 0.0 else e) / (1.0 + e))  # (2)


@kernel
def sigmoid_backward(y, dy, dx_out):
    """Given forward's y and dy = dL/dy; wanted dx = dL/dx.  1-D; dx_out may be dy.

    dL/dx[k] = dL/dy[k] * dy[k]/dx[k]                            chain rule                 (3)
    dy[k]/dx[k] = exp(-x) / (1 + exp(-x))^2, x = x[k]            from (1)                   (4)
                = y[k] * (1 - y[k])      1 - y[k] = exp(-x) / (1 + exp(-x)) by (1)          (5)
    dL/dx[k] = dL/dy[k] * y[k] * (1 - y[k])                      (5) in (3)                 (6)
    """
    one = y.dtype.type(1)
    assign(dy, dx_out)
    for k in range(dx_out.size):
        dx_out[k] = dx_out[k] * (y[k] * (one - y[k]))  # (6)
