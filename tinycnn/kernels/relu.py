"""Rectified linear unit, forward and backward, on flat arrays of any length.

    y[k] = x[k] if x[k] > 0 else 0                                                              (1)

Clipped at a largest value m > 0 (m = 6: "ReLU6"):

    y[k] = 0 if x[k] <= 0,  x[k] if 0 < x[k] < m,  m if x[k] >= m                               (5)

The input is copied to the output first, and the loops then work in place: LLVM always vectorises a
loop that reads and writes one array.  For two arrays it checks at run time whether they overlap,
and if they do (in-place calls) it processes one element at a time.
"""

from ._jit import kernel
from .elementwise import assign


@kernel
def relu_forward(x, y_out):
    """Equation (1); NaN stays NaN.  x, y_out: 1-D; they may be the same array.

    Backward needs y alone: y > 0 exactly where x > 0, so x can be overwritten.
    """
    zero = x.dtype.type(0)
    assign(x, y_out)
    for k in range(y_out.size):
        y_out[k] = zero if y_out[k] <= zero else y_out[k]


@kernel
def relu_backward(y, dy, dx_out):
    """Given forward's y and dy = dL/dy; wanted dx = dL/dx.  1-D; dx_out may be dy.

        dL/dx[k] = dL/dy[k] * dy[k]/dx[k]                            chain rule                 (2)
        dy[k]/dx[k] = 1 if x[k] > 0 else 0                           from (1); 0 at x = 0       (3)
        dL/dx[k] = dL/dy[k] if y[k] > 0 else 0                       (3) in (2), by (1)         (4)

    Where y is NaN the gradient is 0.
    """
    zero = y.dtype.type(0)
    assign(dy, dx_out)
    for k in range(dx_out.size):
        dx_out[k] = dx_out[k] if y[k] > zero else zero  # (4)


@kernel
def clipped_relu_forward(x, max_value, y_out):
    """Equation (5), m = max_value > 0; NaN stays NaN.  x, y_out: 1-D; they may be the same array.

    Backward needs y alone: 0 < y < m exactly where 0 < x < m.
    """
    zero, most = x.dtype.type(0), x.dtype.type(max_value)
    assign(x, y_out)
    for k in range(y_out.size):
        v = zero if y_out[k] <= zero else y_out[k]
        y_out[k] = most if v >= most else v


@kernel
def clipped_relu_backward(y, max_value, dy, dx_out):
    """Given forward's y and dy = dL/dy; wanted dx = dL/dx.  1-D; dx_out may be dy.

        dy[k]/dx[k] = 1 if 0 < x[k] < m else 0                       from (5); 0 at 0 and at m  (6)
        dL/dx[k] = dL/dy[k] if 0 < y[k] < m else 0                   (6) in (2), by (5)         (7)

    Where y is NaN the gradient is 0.
    """
    zero, most = y.dtype.type(0), y.dtype.type(max_value)
    assign(dy, dx_out)
    for k in range(dx_out.size):
        dx_out[k] = dx_out[k] if (y[k] > zero) & (y[k] < most) else zero  # (7)
