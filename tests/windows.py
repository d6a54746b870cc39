"""Windows over pictures, for the tests of kernels that move one."""

from hypothesis import strategies as st

from tinycnn.plan import Window
from tinycnn.shapes import window_axis


def pair(value):
    """(vertical, horizontal) from one number for both, or from two."""
    return (value, value) if isinstance(value, (int, str)) else tuple(value)


def make_window(H, W, size, stride, padding="same"):
    """The window, and its numbers of positions OH and OW.

    size, stride  one number or two;  padding  a name, or ((top, bottom), (left, right))
    """
    (KH, KW), (SH, SW), sides = pair(size), pair(stride), pair(padding)
    rows, columns = window_axis(H, KH, SH, sides[0]), window_axis(W, KW, SW, sides[1])
    window = Window(KH, KW, SH, SW, rows.before, columns.before, rows.after, columns.after)
    return window, rows.n_out, columns.n_out


@st.composite
def drawn_windows(draw, H, W, largest_size, largest_stride):
    """`make_window` with "same" or "valid" padding, or with less than the size on each side."""
    KH, KW = (draw(st.integers(1, largest_size)) for _ in range(2))
    stride = [draw(st.integers(1, largest_stride)) for _ in range(2)]
    sides = tuple(tuple(draw(st.integers(0, K - 1)) for _ in range(2)) for K in (KH, KW))
    paddings = ["same", "valid"] if KH <= H and KW <= W else ["same"]
    if KH <= H + sum(sides[0]) and KW <= W + sum(sides[1]):
        paddings.append(sides)
    return make_window(H, W, (KH, KW), stride, draw(st.sampled_from(paddings)))
