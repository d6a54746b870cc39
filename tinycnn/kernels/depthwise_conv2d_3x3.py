"""Depthwise convolutions with 3x3 taps and one filter a channel.

Forward has stride 1 or 2, backward stride 1.

These are the sums of depthwise_conv2d.py, equations (1)-(4), where D = 1.  Neighbouring outputs of
a row are computed together, row by row for a strip of columns, so that each input is loaded once
for the outputs that read it (`_depthwise_rows.py`).  Taps in rows outside x are left out; in
columns outside x the input is 0.

The gradient of x (4) is a forward pass over dy with the taps in reverse order.  For the gradient of
w each picture is copied into a padded one first: then all outputs have all their taps.

Forward has the bits of depthwise_conv2d.py: the same terms in the same order, and products with
padding, which add 0.  Only an infinite weight differs: times padding it gives NaN.
"""

from ._depthwise_rows import (
    BYTES,
    COLUMNS,
    COLUMNS_STRIDE_2,
    TAPS,
    add_params,
    compute_rows,
    compute_rows_stride_2,
)
from ._jit import TILE, helper, inline_kernel
from ._views import flat_view
from ._winograd import clear, copy

LEAST_SIZE = 5
"""The gradients of smaller pictures take longer to pad than this way saves: measured."""


def forward_fits(op) -> bool:
    """Whether a depthwise convolution's forward pass is to be computed here: 3x3, stride 1 or 2,
    and a filter for each channel."""
    return (
        not TILE.plain
        and (op.KH, op.KW) == (TAPS, TAPS)
        and op.SH == op.SW
        and op.SH in (1, 2)
        and op.C == op.F
        and max(op.PT, op.PL) < TAPS
    )


def backward_fits(op) -> bool:
    """The same of its backward pass: stride 1, and a picture so large that this is the faster
    way."""
    return forward_fits(op) and op.SH == 1 and min(op.OH, op.OW) >= LEAST_SIZE


def scratch_size(op) -> int:
    """Elements of backward's scratch: a padded x of one image, taps in reverse order, and zeros."""
    height, width = op.OH + TAPS - 1, op.OW + TAPS - 1
    return int((height * width + TAPS * TAPS + 1) * op.C)


@helper  # pragma: no cover: intrinsics only run compiled
def _pad(x, n, height, width, top, left, scratch):
    """Copy picture n of x into a padded one of height x width: pixel (i, j) to (top + i, left + j).
    What lies outside is left out; the rest is 0."""
    H, W, C = x.shape[1], x.shape[2], x.shape[3]
    xf = flat_view(x)
    first, last = max(-left, 0), min(width - left, W)
    for row in range(height):
        i, at = row - top, row * width * C
        if i < 0 or i >= H or first >= last:
            clear(width * C, scratch, at)
        else:
            clear((left + first) * C, scratch, at)
            x_at = ((n * H + i) * W + first) * C
            copy((last - first) * C, xf, x_at, scratch, at + (left + first) * C)
            clear((width - left - last) * C, scratch, at + (left + last) * C)


@helper  # pragma: no cover: intrinsics only run compiled
def _outputs(x, w, b, PT, PL, relu, y_out):
    """All outputs with stride 1, from x with PT rows of padding above it and PL columns to the left
    of it.  w, b: flat."""
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1], y_out.shape[2]
    lanes = BYTES // y_out.itemsize
    xf, yf = flat_view(x), flat_view(y_out)
    some_inside = min(OW, W + PL)  # columns with a tap inside x or to the left of it
    for n in range(N):
        c = 0
        while c < C:
            n_vectors, j = max((C - c) // lanes, 1), 0  # whole vectors, then the rest
            while j < OW:
                n_columns = 1
                if j < some_inside:
                    n_columns = (some_inside - j) // (-((j - some_inside) // COLUMNS))
                compute_rows(
                    OH, n_columns, n_vectors, C - c,
                    xf, n * H * W * C + c, W * C, C, PT, PL - j, H, W, w, c, C, b, c, relu,
                    yf, (n * OH * OW + j) * C + c, OW * C, C,
                )  # fmt: skip
                j += n_columns
            c += n_vectors * lanes


@helper  # pragma: no cover: intrinsics only run compiled
def _outputs_stride_2(x, w, b, PT, PL, relu, y_out):
    """As `_outputs`, with stride 2."""
    N, H, W, C = x.shape
    OH, OW = y_out.shape[1], y_out.shape[2]
    lanes = BYTES // y_out.itemsize
    xf, yf = flat_view(x), flat_view(y_out)
    some_inside = min(OW, (W + PL + 1) // 2)
    for n in range(N):
        c = 0
        while c < C:
            n_vectors, j = max((C - c) // lanes, 1), 0  # whole vectors, then the rest
            while j < OW:
                n_columns = 1
                if j < some_inside:
                    n_columns = (some_inside - j) // (-((j - some_inside) // COLUMNS_STRIDE_2))
                compute_rows_stride_2(
                    OH, n_columns, n_vectors, C - c,
                    xf, n * H * W * C + c, W * C, C, PT, PL - 2 * j, H, W, w, c, C, b, c, relu,
                    yf, (n * OH * OW + j) * C + c, OW * C, C,
                )  # fmt: skip
                j += n_columns
            c += n_vectors * lanes


@inline_kernel
def depthwise_conv2d_3x3_forward(
    x, w, b, window, relu, y_out
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) of depthwise_conv2d.py, followed by ReLU if `relu` is 1.

    x, w, b, window, y_out  as there, w (3, 3, C, 1)
    """
    if window.SH == 1:
        _outputs(x, flat_view(w), b, window.PT, window.PL, relu, y_out)
    else:
        _outputs_stride_2(x, flat_view(w), b, window.PT, window.PL, relu, y_out)


@inline_kernel
def depthwise_conv2d_3x3_backward_params(
    x, dy, window, scratch, dw_out, db_out
):  # pragma: no cover: intrinsics only run compiled
    """Equations (2), (3) of depthwise_conv2d.py; dw_out (3, 3, C, 1), db_out (C,) overwritten."""
    OH, OW, C = dy.shape[1], dy.shape[2], dy.shape[3]
    lanes = BYTES // x.itemsize
    height, width = OH + TAPS - 1, OW + TAPS - 1
    dyf, dwf = flat_view(dy), flat_view(dw_out)
    dwf[:] = 0
    db_out[:] = 0
    for n in range(x.shape[0]):
        _pad(x, n, height, width, window.PT, window.PL, scratch)
        for c in range(0, C, lanes):
            add_params(
                OH, OW, C - c, scratch, c, width * C, C,
                dyf, n * OH * OW * C + c, OW * C, C, dwf, c, C, db_out, c,
            )  # fmt: skip


@inline_kernel
def depthwise_conv2d_3x3_backward_input(
    dy, w, window, scratch, dx_out
):  # pragma: no cover: intrinsics only run compiled
    """Equation (4) of depthwise_conv2d.py; dx_out (N, H, W, C) overwritten.

    With a' = 2 - a and e' = 2 - e it is

        dL/dx[n,h,v,c] = sum over a',e' of dy[n, h+PT-2+a', v+PL-2+e', c] w[2-a',2-e',c]
    """
    C = dx_out.shape[3]
    taps, zeros = scratch[: TAPS * TAPS * C], scratch[TAPS * TAPS * C : (TAPS * TAPS + 1) * C]
    wf = flat_view(w)
    for k in range(TAPS * TAPS):
        for c in range(C):
            taps[k * C + c] = wf[(TAPS * TAPS - 1 - k) * C + c]
    zeros[:] = 0
    _outputs(dy, taps, zeros, 2 - window.PT, 2 - window.PL, 0, dx_out)
