"""Backward through a max-pooling into the convolution before it, by the winners alone.

Max-pooling hands each gradient to one position of the convolution's output, so of a window's K*K
positions at most one has a gradient, and a ReLU behind the pooling leaves about half of those.
The sums (2)-(4) of conv2d.py then run over the winners only: with 2x2 windows an eighth of the
products, and the gradient of the convolution's output never exists.

Winner q of filter f in image n stands at (i, j) of the convolution's output, with gradient g:

    dL/dw[a,e,c,f] = sum over n and winners of f of g x[n, i*S-PT+a, j*S-PL+e, c]    (2) of conv2d
    dL/db[f]       = sum over n and winners of f of g                                (3)
    dL/dx[n,h,v,c] = sum over f and its winners of g w[h-i*S+PT, v-j*S+PL, c, f]     (4)

Tap rows (e, c) of a winner are contiguous in x, and a winner sees all its taps once x has its
padding around it: the sums are `gather` and `scatter` of `_winners.py`.  Weights and their gradient
lie here as (F, KH, KW, C), see `conv2d_transpose_weights`.
"""

from ._jit import kernel
from ._winners import gather, scatter


@kernel
def list_places(OH, OW, S, pitch, C, place_of_out):
    """place_of[p]: where the taps of position p = i*OW + j of the convolution's output begin in a
    padded image with rows of `pitch` elements."""
    for i in range(OH):
        for j in range(OW):
            place_of_out[i * OW + j] = i * S * pitch + j * S * C


@kernel
def list_winners(dy, argmax, n, place_of, g_out, at_out, counts_out):
    """The winners of image n with a gradient that is not 0, filter by filter in row order.

    dy, argmax  (N, QH, QW, F), of the pooling
    g_out, at_out (F, QH*QW + 1): gradients and places;  counts_out (F,): how many
    """
    F = dy.shape[3]
    counts_out[:] = 0
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            for f in range(F):
                value, k = dy[n, i, j, f], counts_out[f]
                g_out[f, k] = value
                at_out[f, k] = place_of[argmax[n, i, j, f]]
                counts_out[f] = k + (value != 0)  # no branch: the next one overwrites a zero


@kernel
def conv2d_maxpool2d_backward_params(
    x, dy, argmax, OH, OW, S, PT, PL, padded, place_of, g, at, counts, dw_out, db_out
):
    """Given x (N, H, W, C) and the pooling's dy and argmax (N, QH, QW, F); wanted dw, db.

    OH, OW         of the convolution's output, in which argmax counts
    padded         (padded height, padded width, C): scratch for an image with its padding
    place_of, g, at, counts: scratch, see `list_places` and `list_winners`
    dw_out         (F, KH, KW, C), db_out (F,): overwritten
    """
    N, H, W, C = x.shape
    F, KH, KW, _ = dw_out.shape
    row, pitch = W * C, padded.shape[1] * C
    xf, pf, dwf, gf, af = (
        x.reshape(-1),
        padded.reshape(-1),
        dw_out.reshape(-1),
        g.reshape(-1),
        at.reshape(-1),
    )
    list_places(OH, OW, S, pitch, C, place_of)
    dwf[:] = 0
    db_out[:] = 0
    pf[:] = 0
    for n in range(N):
        for h in range(H):
            here, there = (h + PT) * pitch + PL * C, (n * H + h) * row
            pf[here : here + row] = xf[there : there + row]
        list_winners(dy, argmax, n, place_of, g, at, counts)
        for f in range(F):
            first, dw_at = f * g.shape[1], f * KH * KW * C
            gather(KH, KW * C, counts[f], gf, af, first, pf, 0, pitch, dwf, dw_at)  # (2)
            for k in range(counts[f]):
                db_out[f] += g[f, k]  # (3)


@kernel
def conv2d_maxpool2d_backward_input(
    dy, argmax, OH, OW, w_t, S, PT, PL, padded, place_of, g, at, counts, dx_out
):
    """Given the pooling's dy and argmax (N, QH, QW, F) and w_t (F, KH, KW, C); wanted dx
    (N, H, W, C), the gradient of the convolution's input, overwritten.  The rest as above."""
    N, H, W, C = dx_out.shape
    F, KH, KW, _ = w_t.shape
    row, pitch = W * C, padded.shape[1] * C
    dxf, pf, wf, gf, af = (
        dx_out.reshape(-1),
        padded.reshape(-1),
        w_t.reshape(-1),
        g.reshape(-1),
        at.reshape(-1),
    )
    list_places(OH, OW, S, pitch, C, place_of)
    for n in range(N):
        pf[:] = 0
        list_winners(dy, argmax, n, place_of, g, at, counts)
        for f in range(F):
            first, w_at = f * g.shape[1], f * KH * KW * C
            scatter(KH, KW * C, counts[f], gf, af, first, pf, 0, pitch, wf, w_at)  # (4)
        for h in range(H):
            here, there = (h + PT) * pitch + PL * C, (n * H + h) * row
            dxf[there : there + row] = pf[here : here + row]


@kernel
def conv2d_transpose_weights_back(w_t, w_out):
    """w_t (F, KH, KW, C) -> w_out (KH, KW, C, F): undoes `conv2d_transpose_weights`."""
    F, KH, KW, C = w_t.shape
    for a in range(KH):
        for e in range(KW):
            for c in range(C):
                for f in range(F):
                    w_out[a, e, c, f] = w_t[f, a, e, c]
