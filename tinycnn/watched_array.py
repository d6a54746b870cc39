"""A flat array that others may write into, and whether anybody can have changed it.

Prediction uses what was computed from a network's parameters: transformed weights, a BatchNorm
folded into the layer before it.  The user may change parameters in place at any time, so before
each prediction they were compared with a copy, which for 200,000 parameters takes 20 us and empties
the cache.  But an array can only be changed by somebody who has it, or a view of it: NumPy's views
keep alive the array that they are views of.  While none is alive, there is nothing to compare.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class WatchedArray:
    """An array, and the arrays over its memory that were given to others.

    vector  the array itself, flat: for those who do not write, or call `given` while they do
    """

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector
        self._lock = threading.Lock()
        self._n_given = 0
        self._last: Callable[[], np.ndarray | None] = lambda: None
        array = np.asarray(vector.data)
        self._sees_views = array[:0].base is array  # as NumPy has always done

    def given(self) -> np.ndarray:
        """An array over the same memory, to read and to write."""
        with self._lock:
            array = self._last()
            if array is None:
                self._n_given += 1
                array = np.asarray(self.vector.data)
                self._last = weakref.ref(array)
            return array

    def while_given(self, work: Callable[[], T]) -> T:
        """Call work(), which may change the array."""
        array = self.given()
        result = work()
        del array  # until here it is alive
        return result

    def version(self) -> int | None:
        """A number, another one after each change of the array.  None while somebody has an array
        from `given` or a view of one, and may be changing it now."""
        with self._lock:
            return None if self._last() is not None or not self._sees_views else self._n_given
