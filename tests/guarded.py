"""Arrays for kernels, each between guard values that must survive the call.

What is given lies between NaN, so whatever is read beside it shows in the result; what is wanted
is filled with NaN (integers: -77, or 77) beforehand, so whatever is not overwritten shows too.
Guards are an odd number of elements: no vector of a kernel may count on more than the alignment of
its dtype.
"""

import numpy as np

GUARD = 65  # elements on either side: more than the widest vector
GARBAGE = dict(f=np.nan, i=-77, u=77)  # by kind of dtype


class Guarded:
    """Makes the arrays of one call; `check` holds that nothing else was written."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self._untouchable = []

    def given(self, values, dtype=None):
        """A copy of `values`, of which no byte may change."""
        array, buffer, _ = self._place(np.shape(values), dtype or self.dtype)
        array[...] = values
        self._untouchable.append(("an input", buffer, buffer.tobytes()))
        return array

    def wanted(self, *shape, dtype=None):
        """An output full of garbage, of which every element must be written, and nothing beside."""
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
