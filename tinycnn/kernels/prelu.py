"""ReLU with a trained slope for each channel below 0: forward and backward.

    y[p, c] = x[p, c] if x[p, c] > 0 else alpha[c] * x[p, c]                                    (1)

p counts the pixels of all images; in a vector each unit is a channel.
Source: He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers", equation (1).
"""

from ._jit import helper, inline_helper, inline_kernel
from ._views import view_2d


@inline_kernel
def prelu_forward(x, alpha, y_out):
    """Equation (1); NaN stays NaN.

    x      (P, C)  float32 or float64; all other arrays alike
    alpha  (C,)
    y_out  (P, C)  overwritten, not x.  Backward needs x: with alpha <= 0, y does not tell its sign
    """
    P, C = x.shape
    zero = x.dtype.type(0)
    for p in range(P):
        for c in range(C):
            v = x[p, c]
            y_out[p, c] = v if v > zero else alpha[c] * v


@inline_kernel
def prelu_backward_params(x, dy, dalpha_out):
    """Given x as in forward and dy = dL/dy (P, C); wanted dalpha = dL/dalpha (C,), overwritten.

    dL/dalpha[c] = sum over p of dL/dy[p, c] * dy[p, c]/dalpha[c]        chain rule         (2)
    dy[p, c]/dalpha[c] = 0 if x[p, c] > 0 else x[p, c]                   from (1)           (3)
    dL/dalpha[c] = sum over p with x[p, c] <= 0 of dy[p, c] x[p, c]      (3) in (2)         (4)
    """
    P, C = x.shape
    zero = x.dtype.type(0)
    dalpha_out[:] = 0
    for p in range(P):
        for c in range(C):
            v = x[p, c]
            dalpha_out[c] += zero if v > zero else dy[p, c] * v  # (4)


@inline_kernel
def prelu_backward_input(x, alpha, dy, dx_out):
    """Given x and alpha as in forward and dy = dL/dy (P, C); wanted dx = dL/dx (P, C), overwritten.

        dL/dx[p, c] = dL/dy[p, c] * dy[p, c]/dx[p, c]                        chain rule         (5)
        dy[p, c]/dx[p, c] = 1 if x[p, c] > 0 else alpha[c]         from (1); alpha[c] at x = 0  (6)
        dL/dx[p, c] = dy[p, c] if x[p, c] > 0 else alpha[c] dy[p, c]         (6) in (5)         (7)

    At x = 0 this is PyTorch's and TensorFlow's convention.
    """
    P, C = x.shape
    zero = x.dtype.type(0)
    for p in range(P):
        for c in range(C):
            d = dy[p, c]
            dx_out[p, c] = d if x[p, c] > zero else alpha[c] * d  # (7)


# ---- the operation in a network; walk.py explains the arguments -----------------------------


@inline_helper
def _alpha(op, parameters):
    return parameters[op.w_offset : op.w_offset + op.F]


@inline_helper
def _by_channel(op, values):
    return view_2d(values, 0, values.size // op.F, op.F)


@helper
def prelu_operation_forward(op, weights, statistics, x, y, activations, scratch, chunk, training):
    prelu_forward(_by_channel(op, x), _alpha(op, weights.parameters), _by_channel(op, y))


@helper
def prelu_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    x_2d, dy_2d = _by_channel(op, x), _by_channel(op, dy)
    prelu_backward_params(x_2d, dy_2d, _alpha(op, sums))
    if dx.size:
        prelu_backward_input(x_2d, _alpha(op, weights.parameters), dy_2d, _by_channel(op, dx))
