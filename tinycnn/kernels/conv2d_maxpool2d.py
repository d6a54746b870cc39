"""Backward through a max-pooling and the convolution before it, using only the winners.

The winner of a pooling window is the position of its maximum in the convolution's output.  Only the
winners get a gradient: one position of a window, and after a ReLU only in about half of the
windows.  So the sums (2)-(4) of conv2d.py run over the winners only.  With 2x2 windows that is an
eighth of the products, and the gradient of the whole convolution's output is never stored.

A winner of filter f in image n is at (i, j) in the convolution's output and has the gradient g:

    dL/dw[a,e,c,f] = sum over n and winners of f of g x[n, i*SH-PT+a, j*SW-PL+e, c]  (2) of conv2d
    dL/db[f]       = sum over n and winners of f of g                                (3)
    dL/dx[n,h,v,c] = sum over f and its winners of g w[h-i*SH+PT, v-j*SW+PL, c, f]   (4)

The taps (e, c) of a row of the convolution's window are contiguous in x, and in the padded x every
winner has all of its taps: the sums are those of `_winners.py`.  (2) needs the winners filter by
filter, as `_winner_lists.py` lists them, and keeps the sums for the taps of a filter in registers.
(4) needs them position by position, and keeps the sums for the pixels that a position sees.
Weights and their gradient are stored as (F, KH, KW, C), see `conv2d_transpose_weights`.
"""

import numpy as np

from ._jit import helper, inline_helper, inline_kernel
from ._views import flat_view
from ._winner_lists import LANES, list_winners
from ._winners import add_winners
from .windows import n_positions

BY_FILTER, BY_POSITION = 0, 1  # the two orders in which winners are listed
BEGIN, END, TO = 0, 1, 2  # of a list: its first entry, one past its last, the offset of its sum


@inline_helper
def list_tap_starts(OH, OW, SH, SW, pitch, C, start_out):
    """start_out[p] = offset of the first tap of position p = i*OW + j of the convolution's output,
    in a padded image whose rows are `pitch` elements apart."""
    for i in range(OH):
        for j in range(OW):
            start_out[i * OW + j] = i * SH * pitch + j * SW * C


@inline_helper
def sort_by_position(n_all, L, counts, g, at, begin_out, end_out, g_out, at_out):
    """Sort the winners of all filters by position, and those of a position by filter.

    counts   (F,) number of winners of each filter
    g, at    gradients and positions of the winners, flat, L elements for each filter
    begin_out, end_out  (n_all,) overwritten: where each position's winners are in
    g_out, at_out       (all winners,) overwritten: their gradients and filters
    """
    end_out[:n_all] = 0
    for f in range(counts.size):
        for k in range(f * L, f * L + counts[f]):
            end_out[np.uint32(at[k])] += 1
    total = 0
    for p in range(n_all):
        count = end_out[p]
        begin_out[p] = end_out[p] = total
        total += count
    for f in range(counts.size):
        for k in range(f * L, f * L + counts[f]):
            p = np.uint32(at[k])  # unsigned, so that Numba does not test for negative indices
            end = np.uint32(end_out[p])
            g_out[end], at_out[end] = g[k], f
            end_out[p] += 1


@inline_kernel
def conv2d_maxpool2d_backward(x, dy, argmax, w_t, window, scratch, dw_out, db_out, dx_out):
    """Given x (N, H, W, C), the pooling's dy and argmax (N, QH, QW, F) and w_t (F, KH, KW, C);
    wanted dw, db and dx.

    window     `plan.Window` of the convolution; argmax has positions i*OW + j in its output
    scratch    `arrays.WinnerScratch`; only L - LANES pooling windows are listed at a time, so that
               their pixels stay in the cache
    dw_out     (F, KH, KW, C), db_out (F,): overwritten
    dx_out     (N, H, W, C), overwritten; or (0, H, W, C): then dx is not computed, and neither w_t
               nor dx_padded is used
    """
    N, H, W, C = x.shape
    F, KH, KW, _ = dw_out.shape
    PT, PL = window.PT, window.PL
    OH = n_positions(H, PT, window.PB, KH, window.SH)
    OW = n_positions(W, PL, window.PR, KW, window.SW)
    g, at, counts = scratch.gradients, scratch.positions, scratch.counts
    L, n_windows, wants_dx = g.shape[2], dy.shape[1] * dy.shape[2], dx_out.shape[0] > 0
    row, pitch, padding, taps = W * C, scratch.x_padded.shape[1] * C, PL * C, KH * KW * C
    xf, dxf, dyf, winners = flat_view(x), flat_view(dx_out), flat_view(dy), flat_view(argmax)
    xp, dxp = flat_view(scratch.x_padded), flat_view(scratch.dx_padded)
    wf, dwf = flat_view(w_t), flat_view(dw_out)
    gf, atf = flat_view(g[BY_FILTER]), flat_view(at[BY_FILTER])
    gp, atp = flat_view(g[BY_POSITION]), flat_view(at[BY_POSITION])
    filters, positions = scratch.lists[BY_FILTER], scratch.lists[BY_POSITION]
    list_tap_starts(OH, OW, window.SH, window.SW, pitch, C, positions[TO])
    for f in range(F):
        filters[BEGIN, f], filters[TO, f] = f * L, f * taps
    dwf[:] = 0
    db_out[:] = 0
    xp[:] = 0
    for n in range(N):
        copy_rows(xf, n * H * row, row, xp, PT * pitch + padding, pitch, H, row)
        if wants_dx:
            dxp[:] = 0
        for q in range(0, n_windows, L - LANES):
            count = min(n_windows - q, L - LANES)
            list_winners(dyf, winners, n * n_windows + q, count, L, gf, atf, counts, db_out)  # (3)
            for f in range(F):
                filters[END, f] = f * L + counts[f]
            add_winners(  # (2)
                M=KH, N=KW * C,
                n_targets=F, begin=filters[BEGIN], end=filters[END], to=filters[TO],
                target=dwf, target_row=KW * C,
                g=gf, at=atf, of=positions[TO], source=xp, source_row=pitch,
            )  # fmt: skip
            if wants_dx:
                begin, end = positions[BEGIN], positions[END]
                sort_by_position(OH * OW, L, counts, gf, atf, begin, end, gp, atp)
                add_winners(  # (4)
                    M=KH, N=KW * C,
                    n_targets=OH * OW, begin=begin, end=end, to=positions[TO],
                    target=dxp, target_row=pitch,
                    g=gp, at=atp, of=filters[TO], source=wf, source_row=KW * C,
                )  # fmt: skip
        if wants_dx:
            copy_rows(dxp, PT * pitch + padding, pitch, dxf, n * H * row, row, H, row)


@helper
def copy_rows(source, first, pitch, target, target_first, target_pitch, n_rows, row):
    """Copy n_rows rows of `row` elements: from element `first` of `source` on, `pitch` apart, to
    element `target_first` of `target` on, `target_pitch` apart.

    The inner loop runs over slices, whose indices begin at 0, so that LLVM vectorises it.
    """
    for h in range(n_rows):
        start, target_start = first + h * pitch, target_first + h * target_pitch
        from_row, to_row = source[start : start + row], target[target_start : target_start + row]
        for k in range(row):
            to_row[k] = from_row[k]


@inline_kernel
def conv2d_transpose_weights_back(w_t, w_out):
    """w_t (F, KH, KW, C) -> w_out (KH, KW, C, F): undoes `conv2d_transpose_weights`."""
    F, KH, KW, C = w_t.shape
    for a in range(KH):
        for e in range(KW):
            for c in range(C):
                for f in range(F):
                    w_out[a, e, c, f] = w_t[f, a, e, c]
