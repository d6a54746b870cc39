"""Inverted dropout with a mask drawn beforehand: forward and backward are one product.

    y[k] = x[k] * mask[k],   mask[k] = 0 with probability rate, else 1 / (1 - rate)             (1)

The mask is drawn by the network with a seeded NumPy Generator, so both backends share it.
Srivastava et al. 2014, "Dropout", section 10 (the scaled, "inverted" form).
"""

from ._jit import kernel


@kernel
def dropout_forward(x, mask, y_out):
    """Equation (1).  1-D arrays of one length and dtype; y_out may be x."""
    for k in range(x.size):
        y_out[k] = x[k] * mask[k]


@kernel
def dropout_backward(dy, mask, dx_out):
    """Given dy = dL/dy and forward's mask; wanted dx.  1-D; dx_out may be dy.

    dL/dx[k] = dL/dy[k] * dy[k]/dx[k] = dL/dy[k] * mask[k]           chain rule, (1)            (2)
    """
    for k in range(dy.size):
        dx_out[k] = dy[k] * mask[k]  # (2)
