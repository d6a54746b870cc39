"""Inverted dropout with a mask drawn beforehand: forward and backward are one product.

    y[n, r, k] = x[n, r, k] * mask[n, k],   mask[n, k] = 0 with probability rate,
                                            else 1 / (1 - rate)                                 (1)

Dropout has a factor for each value of an image: r takes one value.  SpatialDropout2D has one for
each channel k, and r counts the pixels.
The network draws the mask with a seeded NumPy Generator, so both backends get the same one.
Sources: Srivastava et al. 2014, "Dropout", section 10 (the scaled, "inverted" form); Tompson et al.
2015, arXiv:1411.4280, section 3.2 (whole channels).
"""

from ._jit import helper, inline_helper, inline_kernel
from ._views import view_2d, view_3d
from .elementwise import assign


@inline_kernel
def dropout_forward(x, mask, y_out):
    """Equation (1).  x, y_out (N, R, K), mask (N, K), of one dtype; y_out may be x."""
    N, R, K = x.shape
    for n in range(N):
        for r in range(R):
            for k in range(K):
                y_out[n, r, k] = x[n, r, k] * mask[n, k]


@inline_kernel
def dropout_backward(dy, mask, dx_out):
    """Given dy = dL/dy (N, R, K) and forward's mask; wanted dx, like dy; it may be dy.

    dL/dx[n, r, k] = dL/dy[n, r, k] * dy[n, r, k]/dx[n, r, k]        chain rule
                   = dL/dy[n, r, k] * mask[n, k]                     from (1)                   (2)
    """
    dropout_forward(dy, mask, dx_out)  # (2)


# ---- the operation in a network; walk.py explains the arguments -------------------------------


@inline_helper
def _mask(op, activations, chunk):
    at = op.mask_offset * activations.batch_capacity + chunk.first * op.mask_size
    return view_2d(activations.masks, at, chunk.n_images, op.mask_size)


@inline_helper
def _by_image(op, values, chunk):
    repeats = op.OH * op.OW * op.F // op.mask_size
    return view_3d(values, 0, chunk.n_images, repeats, op.mask_size)


@helper
def dropout_operation_forward(op, weights, statistics, x, y, activations, scratch, chunk, training):
    if training:
        mask = _mask(op, activations, chunk)
        dropout_forward(_by_image(op, x, chunk), mask, _by_image(op, y, chunk))
    else:
        assign(x, y)


@helper
def dropout_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    if dx.size:
        mask = _mask(op, activations, chunk)
        dropout_backward(_by_image(op, dy, chunk), mask, _by_image(op, dx, chunk))
