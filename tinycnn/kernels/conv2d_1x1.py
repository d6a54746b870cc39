"""The backward pass of a convolution with 1x1 taps, stride 1 and no padding: products of matrices.

With the pixels p < P of all images as rows, conv2d.py's equation (1) is

    y[p, f] = b[f] + sum over c of x[p, c] w[c, f]                                              (1)

and the gradients are, by the chain rule, with dy = dL/dy:

    dL/dw[c, f] = sum over p of dy[p, f] * dy[p, f]/dw[c, f] = sum over p of x[p, c] dy[p, f]   (2)
    dL/db[f]    = sum over p of dy[p, f]                                                        (3)
    dL/dx[p, c] = sum over f of dy[p, f] * dy[p, f]/dx[p, c] = sum over f of dy[p, f] w[c, f]   (4)

All three read dy.  conv2d.py would go through all of dy for each; here they are done for a slice of
pixels before the next one, so that it stays in the cache.  All sums have the bits of conv2d.py.
"""

from ._channel_rows import TILE_ROWS, add_row_sums
from ._jit import inline_kernel
from ._tile import multiply_add, products
from ._views import flat_view

PIXELS_AT_ONCE = 4 * TILE_ROWS
"""Pixels of a slice.  Whole tiles of `add_row_sums`, so that (3) has the same bits."""


def fits(op) -> bool:
    """Whether a convolution is (1)."""
    window = (op.KH, op.KW, op.SH, op.SW)
    return window == (1, 1, 1, 1) and (op.H, op.W) == (op.conv_OH, op.conv_OW)


@inline_kernel
def conv2d_1x1_backward(x, dy, w_t, scratch, dw_out, db_out, dx_out):
    """Given x and dy = dL/dy; wanted dw = dL/dw, db = dL/db and dx = dL/dx.

    x        (P, C)  C-contiguous, float32 or float64; all other arrays alike
    dy       (P, F)
    w_t      (F, C)  the weights, transposed
    scratch  (C,)    overwritten
    dw_out (C, F), db_out (F,), dx_out (P, C)  overwritten; dx_out (0, C): dx is not computed
    """
    (P, C), F = x.shape, dy.shape[1]
    xf, dyf, wf = flat_view(x), flat_view(dy), flat_view(w_t)
    dwf, dxf = flat_view(dw_out), flat_view(dx_out)
    dwf[:] = 0
    db_out[:] = 0
    scratch[:] = 0
    for p in range(0, P, PIXELS_AT_ONCE):
        n = min(P - p, PIXELS_AT_ONCE)
        add_row_sums(dy[p : p + n], db_out)  # (3)
        multiply_add(  # (2)
            M=C, N=F, K0=1, K1=n,
            a=xf, a_off=p * C, am=1, a0=0, a1=C,
            b=dyf, b_off=p * F, b0=0, b1=F, c=dwf, c_off=0, cm=F,
        )  # fmt: skip
        if dx_out.shape[0]:
            products(  # (4)
                M=n, N=C, K0=1, K1=F,
                a=dyf, a_off=p * F, am=F, a0=0, a1=1,
                b=wf, b_off=0, b0=0, b1=C, bias=scratch, relu=0, c=dxf, c_off=p * C, cm=C,
            )  # fmt: skip
