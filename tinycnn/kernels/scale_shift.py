"""Scale and shift of each channel: forward and backward.

y[p, c] = scale[c] x[p, c] + shift[c]                                                       (1)

p counts all values of a channel: images and their pixels.  Arrays are (P, C), float32 or float64.
"""

from ._channel_rows import scale_rows
from ._jit import helper, inline_helper, inline_kernel
from ._views import flat_view, view_2d
from .elementwise import sum_rows


@inline_kernel
def scale_shift_forward(x, scale, shift, relu, scratch, y_out):
    """Equation (1), followed by ReLU if `relu` is 1.

    scale, shift  (C,)
    scratch       (2, C) overwritten.  Backward needs x and scale, and with relu y.
    """
    for c in range(scale.size):
        scratch[0, c], scratch[1, c] = scale[c], shift[c]
    scale_rows(x, flat_view(scratch), relu, y_out)


@inline_kernel
def scale_shift_backward_params(x, dy, dscale_out, dshift_out):
    """Given x as in forward and dy = dL/dy (P, C); wanted dscale and dshift (C,), overwritten.

    dL/dscale[c] = sum over p of dL/dy[p, c] * dy[p, c]/dscale[c]    chain rule
                 = sum over p of dy[p, c] x[p, c]                    from (1)                   (2)
    dL/dshift[c] = sum over p of dy[p, c]                            from (1)                   (3)
    """
    dscale_out[:] = 0
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            dscale_out[c] += dy[p, c] * x[p, c]  # (2)
    sum_rows(dy, dshift_out)  # (3)


@inline_kernel
def scale_shift_backward_input(dy, scale, dx_out):
    """Given dy = dL/dy (P, C) and scale (C,); wanted dx = dL/dx (P, C), overwritten.

    dL/dx[p, c] = dL/dy[p, c] * dy[p, c]/dx[p, c] = dy[p, c] scale[c]        chain rule, (1)    (4)
    """
    for p in range(dy.shape[0]):
        for c in range(dy.shape[1]):
            dx_out[p, c] = dy[p, c] * scale[c]  # (4)


# ---- the operation in a network; walk.py explains the arguments --------------------------------


@inline_helper
def channels_2d(op, values, n_images):
    """`values` of the operation's input or output, which have one shape, as (P, C)."""
    return view_2d(values, 0, n_images * op.H * op.W, op.C)


@inline_helper
def scale_of(op, parameters):
    """(C,): the scale, or gamma of a BatchNorm."""
    return parameters[op.w_offset : op.w_offset + op.C]


@inline_helper
def shift_of(op, parameters):
    """(C,): the shift, or beta of a BatchNorm."""
    return parameters[op.b_offset : op.b_offset + op.C]


@helper
def scale_shift_operation_forward(
    op, weights, statistics, x, y, activations, scratch, chunk, training
):
    scale_shift_forward(
        channels_2d(op, x, chunk.n_images),
        scale_of(op, weights.parameters),
        shift_of(op, weights.parameters),
        op.fuses_relu,
        view_2d(scratch.workspace, 0, 2, op.C),
        channels_2d(op, y, chunk.n_images),
    )


@helper
def scale_shift_operation_backward(
    op, weights, statistics, x, y, dy, dx, activations, gradients, scratch, sums, chunk
):
    dy_2d = channels_2d(op, dy, chunk.n_images)
    scale_shift_backward_params(
        channels_2d(op, x, chunk.n_images), dy_2d, scale_of(op, sums), shift_of(op, sums)
    )
    if dx.size:
        dx_2d = channels_2d(op, dx, chunk.n_images)
        scale_shift_backward_input(dy_2d, scale_of(op, weights.parameters), dx_2d)
