"""Output sizes, padding, and the argument errors that everybody raises the same way.

"same" padding is TensorFlow's: the output has ceil(size / stride) positions, the padding is
max((out - 1)*stride + kernel - size, 0) in total, and an odd pixel goes to the bottom and right.
"valid" pads nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

PADDINGS = ("same", "valid")


class Axis(NamedTuple):
    """One spatial axis of a convolution or pooling."""

    n_out: int
    before: int
    after: int


def window_axis(size: int, kernel: int, stride: int, padding: str) -> Axis:
    """Output positions and padding of `kernel` over `size` pixels.

    Raises ValueError for an unknown padding, or where "valid" leaves no output position.
    """
    if padding == "same":
        n_out = -(-size // stride)
        total = max((n_out - 1) * stride + kernel - size, 0)
        return Axis(n_out, total // 2, total - total // 2)
    if padding != "valid":
        raise ValueError(f"padding is {padding!r}; expected one of {', '.join(PADDINGS)}")
    if kernel > size:
        raise ValueError(
            f"a window of {kernel} does not fit {size} pixels with 'valid' padding; "
            "use a smaller window or padding='same'"
        )
    return Axis((size - kernel) // stride + 1, 0, 0)


def check_positive(**values: Any) -> None:
    """Raise ValueError naming the first argument that is not a whole number of 1 or more."""
    for name, value in values.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a whole number of 1 or more")


def check_array(
    name: str, array: Any, shape: tuple[int | str, ...], kinds: str, expected_dtype: str
) -> np.ndarray:
    """`array` if it is an ndarray of that shape and dtype kind; else an error saying which.

    shape: numbers must match, strings name free axes, such as ("N", 84, 84, 1).
    kinds: NumPy dtype kinds, such as "f"; expected_dtype: the same in words.
    Raises TypeError for what is no array or of another dtype, ValueError for another shape.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}; expected a NumPy array")
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} has dtype {array.dtype}; expected {expected_dtype}")
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(array.shape, shape)
    )
    if not fits:
        wanted = "(" + ", ".join(str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name} has shape {array.shape}; expected {wanted}")
    return array
