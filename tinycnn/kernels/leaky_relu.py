"""ReLU with a small slope below 0, forward and backward, on flat arrays of any length.

    y[k] = x[k] if x[k] > 0 else s * x[k]              slope s, 0 <= s < 1                      (1)

The loops work in place, for the reason given in relu.py.
Source: Maas, Hannun and Ng, ICML 2013, "Rectifier nonlinearities improve neural network acoustic
models".
"""

from ._jit import kernel
from .elementwise import assign


@kernel
def leaky_relu_forward(x, negative_slope, y_out):
    """Equation (1); NaN stays NaN.  x, y_out: 1-D; they may be the same array.

    Backward needs y alone: as s >= 0, y > 0 exactly where x > 0.
    """
    zero, slope = x.dtype.type(0), x.dtype.type(negative_slope)
    assign(x, y_out)
    for k in range(y_out.size):
        y_out[k] = y_out[k] if y_out[k] > zero else slope * y_out[k]


@kernel
def leaky_relu_backward(y, negative_slope, dy, dx_out):
    """Given forward's y and dy = dL/dy; wanted dx = dL/dx.  1-D; dx_out may be dy.

        dL/dx[k] = dL/dy[k] * dy[k]/dx[k]                            chain rule                 (2)
        dy[k]/dx[k] = 1 if x[k] > 0 else s                           from (1); s at x = 0       (3)
        dL/dx[k] = dL/dy[k] if y[k] > 0 else s * dL/dy[k]            (3) in (2), by (1)         (4)

    At x = 0 this is PyTorch's and TensorFlow's convention.
    """
    zero, slope = y.dtype.type(0), y.dtype.type(negative_slope)
    assign(dy, dx_out)
    for k in range(dx_out.size):
        dx_out[k] = dx_out[k] if y[k] > zero else slope * dx_out[k]  # (4)
