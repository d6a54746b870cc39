"""Output sizes and padding of windows, and checks of arguments that all modules share.

"same" padding is TensorFlow's: the output has ceil(size / stride) positions, the padding is
max((out - 1)*stride + kernel - size, 0) in total, and an odd pixel goes to the bottom and right.
"valid" means no padding.  Explicit padding is given in pixels for each side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .ground.masked_arrays import unmasked

PADDINGS = ("same", "valid")


class Axis(NamedTuple):
    """One spatial axis of a convolution or pooling: output positions, padding before and after."""

    n_out: int
    before: int
    after: int


def window_axis(size: int, kernel: int, stride: int, padding: str | tuple[int, int]) -> Axis:
    """Output positions and padding of a window of `kernel` pixels that moves over `size` pixels.

    padding  "same", "valid", or the pixels before and after
    Raises ValueError for another name, or for a window larger than the pixels and their padding.
    """
    if padding == "same":
        n_out = -(-size // stride)
        total = max((n_out - 1) * stride + kernel - size, 0)
        return Axis(n_out, total // 2, total - total // 2)
    if isinstance(padding, str):
        _check_name(padding)
        before = after = 0
    else:
        before, after = padding
    padded = size + before + after
    if kernel > padded:
        raise ValueError(
            f"a window of {kernel} does not fit {padded} pixels with {padding!r} padding; "
            "use a smaller window or padding='same'"
        )
    return Axis((padded - kernel) // stride + 1, before, after)


def _check_name(padding: str) -> None:
    if padding not in PADDINGS:
        raise ValueError(f"padding is {padding!r}; expected one of {', '.join(PADDINGS)}")


def check_window_padding(padding: Any) -> str | tuple[tuple[int, int], tuple[int, int]]:
    """Return `padding`, checked: one of PADDINGS, or ((top, bottom), (left, right)) as int.

    Raises ValueError for anything else.
    """
    if isinstance(padding, str):
        _check_name(padding)
        return padding
    try:
        (top, bottom), (left, right) = padding
        check_whole(0, top=top, bottom=bottom, left=left, right=right)
    except (TypeError, ValueError):
        raise ValueError(
            f"padding is {padding!r}; expected one of {', '.join(PADDINGS)}, or "
            "((top, bottom), (left, right)) in pixels"
        ) from None
    return (int(top), int(bottom)), (int(left), int(right))


def check_whole(least: int, **values: Any) -> None:
    """Raise ValueError, with its name, for the first value that is not an integer of `least` or
    more."""
    for name, value in values.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number of {least} or more")


def check_positive(**values: Any) -> None:
    """`check_whole` with 1 as the least value."""
    check_whole(1, **values)


def python_number(what: str, value: Any) -> float:
    """`value` as a float: a number of Python or NumPy, or an array of one number.  Raises TypeError
    that begins with `what` for anything else."""
    if isinstance(value, float):
        return float(value)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise TypeError(f"{what} is {value!r:.80}; expected a number")
    return float(array.item())


def check_kind(name: str, value: object, kind: type, expected: str) -> None:
    """Raise TypeError unless `value` is an object of `kind`.  expected: that kind in words."""
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        raise TypeError(
            f"{name} is the class {value.__name__}; expected {expected}: {value.__name__}()"
        )
    raise TypeError(f"{name} is {value!r}; expected {expected}")


def check_array(
    name: str, array: Any, shape: tuple[int | str, ...], kinds: str, expected_dtype: str
) -> np.ndarray:
    """Return `array`, checked to be an ndarray of this shape and kind of dtype.

    shape  numbers must match; a string names an axis of any length, as in ("N", 84, 84, 1)
    kinds  NumPy's letters for kinds of dtypes, such as "f"; expected_dtype: the same in words
    Raises TypeError for anything but an array or for another dtype, ValueError for another shape.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}; expected a NumPy array")
    array = unmasked(name, array)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{name} has dtype {array.dtype}; expected {expected_dtype}")
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(array.shape, shape)
    )
    if not fits:
        wanted = "(" + ", ".join(str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name} has shape {array.shape}; expected {wanted}")
    return array
