"""Which taps of a window lie inside the input, along one axis, and for which output positions.

The window of output position i covers the input positions i*S - P + tap, tap < K; S is the stride,
P the padding before the input, `size` the size of the input.  A run is a range of output positions
whose windows have the same taps inside the input.
"""

from ._jit import helper


@helper
def n_positions(size, before, after, K, S):
    """The number of output positions, with padding before and after the input."""
    return (size + before + after - K) // S + 1


@helper
def first_tap(i, S, P):
    """First tap of output position i that lies inside the input."""
    return max(P - i * S, 0)


@helper
def end_tap(i, S, P, K, size):
    """One past the last tap of output position i that lies inside the input."""
    return max(min(size + P - i * S, K), 0)


@helper
def run_end(i, n_out, S, P, K, size):
    """One past the last output position of the run that starts at i."""
    start, end = first_tap(i, S, P), end_tap(i, S, P, K, size)
    k = i + 1
    while k < n_out and first_tap(k, S, P) == start and end_tap(k, S, P, K, size) == end:
        k += 1
    return k


@helper
def first_inside(tap, S, P):
    """First output position whose tap `tap` lies inside the input."""
    return max(-((tap - P) // S), 0)


@helper
def end_inside(tap, n_out, S, P, size):
    """One past the last output position whose tap `tap` lies inside the input."""
    return max(min((size - 1 - tap + P) // S + 1, n_out), 0)
