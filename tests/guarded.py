"""Arrays for kernels, each placed between guard values that the call must not change.

The guards around an input are NaN, so a read outside the input shows in the result.  An output is
filled with NaN (integers: -77, or 77) before the call, so an element that is not written shows too.
The number of guard elements is odd: kernels may rely only on the alignment of the dtype.
"""

import numpy as np

GUARD = 65  # elements on each side: more than the widest vector has
GARBAGE = dict(f=np.nan, i=-77, u=77)  # by kind of dtype


class Guarded:
    """Makes the arrays of one call; `check` fails if anything but the outputs was written."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self._untouchable = []

    def given(self, values, dtype=None):
        """An input: a copy of `values` that the call must not change."""
        array, buffer, _ = self._place(np.shape(values), dtype or self.dtype)
        array[...] = values
        self._untouchable.append(("an input", buffer, buffer.tobytes()))
        return array

    def wanted(self, *shape, dtype=None):
        """An output, filled with garbage: the call must write every element and nothing outside."""
        array, buffer, ends = self._place(shape, dtype or self.dtype)
        for end in ends:
            self._untouchable.append((f"beside an output {shape}", end, end.tobytes()))
        return array

    def check(self):
        for what, part, before in self._untouchable:
            assert part.tobytes() == before, f"the kernel wrote to {what}"

    def _place(self, shape, dtype):
        size = int(np.prod(shape))
        buffer = np.empty(size + 2 * GUARD, dtype)
        buffer[:] = GARBAGE[buffer.dtype.kind]
        array = buffer[GUARD : GUARD + size].reshape(shape)
        return array, buffer, (buffer[:GUARD], buffer[GUARD + size :])
