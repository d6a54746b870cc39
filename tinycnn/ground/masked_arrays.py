"""Refuses arrays with masked values: the code of both packages computes with all values."""

from __future__ import annotations

from typing import Any

import numpy as np


def refuse_masked(name: str, array: object) -> None:
    """Raise TypeError for an array of `numpy.ma` in which a value is masked.  name: the argument's.

    One without masked values is an ordinary array."""
    is_subclass = isinstance(array, np.ndarray) and type(array) is not np.ndarray
    if is_subclass and isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise TypeError(
            f"{name} has masked values, and every value would be used; expected an array without: "
            "leave those rows out, or choose values for them with .filled(...)"
        )


def unmasked(name: str, values: Any) -> np.ndarray:
    """`values` as an array of NumPy's own class.  Raises as `refuse_masked`."""
    refuse_masked(name, values)
    return np.asarray(values)
