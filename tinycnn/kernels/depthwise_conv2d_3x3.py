"""Depthwise convolutions with 3x3 taps, stride 1 and one filter a channel: forward and backward.

These are the sums of depthwise_conv2d.py, equations (1)-(4), where D = 1.  Each picture is copied
into a padded one first.  Then all outputs have all their taps: there are no runs at the borders,
which are short in small pictures.  Neighbouring outputs of a row are computed together, so that
each input is loaded once for the outputs that read it (`_depthwise_rows.py`).

The gradient of x (4) is a forward pass over dy with the taps in reverse order.

Forward has the bits of depthwise_conv2d.py: the same terms in the same order, and products with
padding, which add 0.  Only an infinite weight differs: times padding it gives NaN.
"""

from ._depthwise_rows import BYTES, COLUMNS, add_params, compute_row
from ._jit import TILE, helper, kernel
from ._winograd import clear, copy

TAPS = 3

LEAST_SIZE = 5
"""Smaller pictures take longer to pad than this way saves: measured."""


def fits(op) -> bool:
    """Whether a depthwise convolution is to be computed here: 3x3, stride 1, a filter for each
    channel, and a picture so large that this is the faster way."""
    return (
        not TILE.plain
        and (op.KH, op.KW, op.SH, op.SW) == (TAPS, TAPS, 1, 1)
        and op.C == op.F
        and max(op.PT, op.PL) < TAPS
        and min(op.OH, op.OW) >= LEAST_SIZE
    )


def scratch_size(op) -> int:
    """Elements of scratch: a padded x or dy of one image, taps in reverse order, and zeros."""
    height, width = max(op.OH, op.H) + TAPS - 1, max(op.OW, op.W) + TAPS - 1
    return int((height * width + TAPS * TAPS + 1) * op.C)


@helper  # pragma: no cover: intrinsics only run compiled
def _pad(x, n, height, width, top, left, scratch):
    """Copy picture n of x into a padded one of height x width: pixel (i, j) to (top + i, left + j).
    What lies outside is left out; the rest is 0."""
    H, W, C = x.shape[1], x.shape[2], x.shape[3]
    xf = x.reshape(-1)
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
def _rows(padded, width, w, b, relu, n, y_out):
    """All outputs of image n from its padded picture.  w, b: flat."""
    OH, OW, C = y_out.shape[1], y_out.shape[2], y_out.shape[3]
    lanes = BYTES // y_out.itemsize
    yf = y_out.reshape(-1)
    n_blocks = -(-OW // COLUMNS)
    for c in range(0, C, lanes):
        for i in range(OH):
            j = 0
            for k in range(n_blocks):
                n_columns = (OW - j) // (n_blocks - k)
                x_at = (i * width + j) * C + c
                y_at = ((n * OH + i) * OW + j) * C + c
                compute_row(
                    n_columns, C - c, padded, x_at, width * C, C, w, c, C, b, c, relu, yf, y_at, C
                )
                j += n_columns


@kernel
def depthwise_conv2d_3x3_forward(
    x, w, b, window, relu, scratch, y_out
):  # pragma: no cover: intrinsics only run compiled
    """Equation (1) of depthwise_conv2d.py, followed by ReLU if `relu` is 1.

    x, w, b, window, y_out  as there, w (3, 3, C, 1);  scratch: flat, see `scratch_size`
    """
    height, width = y_out.shape[1] + TAPS - 1, y_out.shape[2] + TAPS - 1
    wf = w.reshape(-1)
    for n in range(x.shape[0]):
        _pad(x, n, height, width, window.PT, window.PL, scratch)
        _rows(scratch, width, wf, b, relu, n, y_out)


@kernel
def depthwise_conv2d_3x3_backward_params(
    x, dy, window, scratch, dw_out, db_out
):  # pragma: no cover: intrinsics only run compiled
    """Equations (2), (3) of depthwise_conv2d.py; dw_out (3, 3, C, 1), db_out (C,) overwritten."""
    OH, OW, C = dy.shape[1], dy.shape[2], dy.shape[3]
    lanes = BYTES // x.itemsize
    height, width = OH + TAPS - 1, OW + TAPS - 1
    dyf, dwf = dy.reshape(-1), dw_out.reshape(-1)
    dwf[:] = 0
    db_out[:] = 0
    for n in range(x.shape[0]):
        _pad(x, n, height, width, window.PT, window.PL, scratch)
        for c in range(0, C, lanes):
            add_params(
                OH, OW, C - c, scratch, c, width * C, C,
                dyf, n * OH * OW * C + c, OW * C, C, dwf, c, C, db_out, c,
            )  # fmt: skip


@kernel
def depthwise_conv2d_3x3_backward_input(
    dy, w, window, scratch, dx_out
):  # pragma: no cover: intrinsics only run compiled
    """Equation (4) of depthwise_conv2d.py; dx_out (N, H, W, C) overwritten.

    With a' = 2 - a and e' = 2 - e it is

        dL/dx[n,h,v,c] = sum over a',e' of dy[n, h+PT-2+a', v+PL-2+e', c] w[2-a',2-e',c]
    """
    H, W, C = dx_out.shape[1], dx_out.shape[2], dx_out.shape[3]
    height, width = H + TAPS - 1, W + TAPS - 1
    taps_at = height * width * C
    taps = scratch[taps_at : taps_at + TAPS * TAPS * C]
    zeros = scratch[taps_at + TAPS * TAPS * C : taps_at + (TAPS * TAPS + 1) * C]
    wf = w.reshape(-1)
    for k in range(TAPS * TAPS):
        for c in range(C):
            taps[k * C + c] = wf[(TAPS * TAPS - 1 - k) * C + c]
    zeros[:] = 0
    for n in range(dy.shape[0]):
        _pad(dy, n, height, width, 2 - window.PT, 2 - window.PL, scratch)
        _rows(scratch, width, taps, zeros, 0, n, dx_out)
