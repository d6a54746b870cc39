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
padding around it: the sums are those of `_winners.py`.  (2) takes the winners filter by filter, as
`_winner_lists.py` lists them, and holds the taps of a filter in registers; (4) takes them position
by position, and holds the pixels that a position sees.
Weights and their gradient lie here as (F, KH, KW, C), see `conv2d_transpose_weights`.
"""

import numpy as np

from ._jit import kernel
from ._winner_lists import LANES, list_winners
from ._winners import add_winners

BY_FILTER, BY_PLACE = 0, 1  # which lists
BEGIN, END, TO = 0, 1, 2  # of a list, and where the target of its winners lies


@kernel
def list_places(OH, OW, S, pitch, C, place_of_out):
    """place_of[p]: where the taps of position p = i*OW + j of the convolution's output begin in a
    padded image with rows of `pitch` elements."""
    for i in range(OH):
        for j in range(OW):
            place_of_out[i * OW + j] = i * S * pitch + j * S * C


@kernel
def sort_by_place(n_places, L, counts, g, at, begin_out, end_out, g_out, at_out):
    """The winners of all filters, listed position by position, filters in order.

    g, at   lists by filter: gradients and positions; counts (F,) their lengths
    begin_out, end_out (n_places,), g_out, at_out (all winners,): overwritten; at_out is the filter
    """
    end_out[:n_places] = 0
    for f in range(counts.size):
        for k in range(f * L, f * L + counts[f]):
            end_out[np.uint32(at[k])] += 1
    total = 0
    for p in range(n_places):
        count = end_out[p]
        begin_out[p] = end_out[p] = total
        total += count
    for f in range(counts.size):
        for k in range(f * L, f * L + counts[f]):
            p = np.uint32(at[k])  # unsigned: no negative index to be looked for
            slot = np.uint32(end_out[p])
            g_out[slot], at_out[slot] = g[k], f
            end_out[p] += 1


@kernel
def conv2d_maxpool2d_backward(
    x, dy, argmax, w_t, OH, OW, S, PT, PL,
    x_padded, dx_padded, g, at, counts, targets, dw_out, db_out, dx_out,
):  # fmt: skip
    """Given x (N, H, W, C), the pooling's dy and argmax (N, QH, QW, F) and w_t (F, KH, KW, C);
    wanted dw, db and dx.

    OH, OW     of the convolution's output, in which argmax counts
    x_padded, dx_padded   (padded height, padded width, C): scratch for an image with its padding
    g, at      (2, F, L), at int32; counts (F,) int64: scratch for the winners by filter and by
               position.  L - LANES windows are listed at a time, so that what belongs to them stays
               in the cache
    targets    (2, 3, max(F, OH * OW)) int32: scratch, what the lists are of
    dw_out     (F, KH, KW, C), db_out (F,): overwritten
    dx_out     (N, H, W, C), overwritten; (0, H, W, C): not wanted, and w_t and dx_padded not used
    """
    N, H, W, C = x.shape
    F, KH, KW, _ = dw_out.shape
    L, n_windows, wants_dx = g.shape[2], dy.shape[1] * dy.shape[2], dx_out.shape[0] > 0
    row, pitch, before, taps = W * C, x_padded.shape[1] * C, PL * C, KH * KW * C
    xf, dxf, dyf, winners = x.reshape(-1), dx_out.reshape(-1), dy.reshape(-1), argmax.reshape(-1)
    xp, dxp, wf, dwf = (
        x_padded.reshape(-1),
        dx_padded.reshape(-1),
        w_t.reshape(-1),
        dw_out.reshape(-1),
    )
    gf, atf = g[BY_FILTER].reshape(-1), at[BY_FILTER].reshape(-1)
    gp, atp = g[BY_PLACE].reshape(-1), at[BY_PLACE].reshape(-1)
    filters, places = targets[BY_FILTER], targets[BY_PLACE]
    list_places(OH, OW, S, pitch, C, places[TO])
    for f in range(F):
        filters[BEGIN, f], filters[TO, f] = f * L, f * taps
    dwf[:] = 0
    db_out[:] = 0
    xp[:] = 0
    for n in range(N):
        copy_rows(xf, n * H * row, row, xp, PT * pitch + before, pitch, H, row)
        if wants_dx:
            dxp[:] = 0
        for q in range(0, n_windows, L - LANES):
            count = min(n_windows - q, L - LANES)
            list_winners(dyf, winners, n * n_windows + q, count, L, gf, atf, counts, db_out)  # (3)
            for f in range(F):
                filters[END, f] = f * L + counts[f]
            add_winners(  # (2)
                *(KH, KW * C, F, filters[BEGIN], filters[END], filters[TO], dwf, KW * C),
                *(gf, atf, places[TO], xp, pitch),
            )
            if wants_dx:
                sort_by_place(OH * OW, L, counts, gf, atf, places[BEGIN], places[END], gp, atp)
                add_winners(  # (4)
                    *(KH, KW * C, OH * OW, places[BEGIN], places[END], places[TO], dxp, pitch),
                    *(gp, atp, filters[TO], wf, KW * C),
                )
        if wants_dx:
            copy_rows(dxp, PT * pitch + before, pitch, dxf, n * H * row, row, H, row)


@kernel
def copy_rows(source, first, pitch, target, target_first, target_pitch, n_rows, row):
    """n_rows of `row` elements each, `pitch` apart in one flat array and `target_pitch` in another.

    In slices that begin at 0, so that LLVM uses vectors.
    """
    for h in range(n_rows):
        here, there = first + h * pitch, target_first + h * target_pitch
        from_row, to_row = source[here : here + row], target[there : there + row]
        for k in range(row):
            to_row[k] = from_row[k]


@kernel
def conv2d_transpose_weights_back(w_t, w_out):
    """w_t (F, KH, KW, C) -> w_out (KH, KW, C, F): undoes `conv2d_transpose_weights`."""
    F, KH, KW, C = w_t.shape
    for a in range(KH):
        for e in range(KW):
            for c in range(C):
                for f in range(F):
                    w_out[a, e, c, f] = w_t[f, a, e, c]
