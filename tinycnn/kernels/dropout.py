"""Inverted dropout with a mask drawn beforehand: forward and backward are one product.

    y[k] = x[k] * mask[k],   mask[k] = 0 with probability rate, else 1 / (1 - rate)             (1)

The network draws the mask with a seeded NumPy Generator, so both backends get the same one.
Srivastava et al. 2014, "Dropout", section 10 (the scaled, "inverted" form).
"""

from ._jit import inline_helper, kernel
from .elementwise import assign


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


# ---- the operation in a network; walk.py explains the arguments -------------------------------


@inline_helper
def _mask(op, activations, chunk):
    size = op.OH * op.OW * op.F
    at = op.mask_offset * activations.batch_capacity + chunk.first * size
    return activations.masks[at : at + chunk.n_images * size]


@inline_helper
def dropout_operation_forward(op, weights, x, y, activations, scratch, chunk, training):
    if training:
        dropout_forward(x, _mask(op, activations, chunk), y)
    else:
        assign(x, y)


@inline_helper
def dropout_operation_backward(op, weights, x, dy, dx, activations, scratch, sums, chunk):
    if dx.size:
        dropout_backward(dy, _mask(op, activations, chunk), dx)
