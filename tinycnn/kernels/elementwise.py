"""Copies and sums of flat arrays, element by element."""

from ._jit import helper


@helper
def assign(x, y_out):
    """Copy x to y_out, of the same size; do nothing where both are the same array.

    (`y_out[:] = x` would also compile the error message for sizes that differ.)
    """
    if x.ctypes.data != y_out.ctypes.data:
        for k in range(y_out.size):
            y_out[k] = x[k]


@helper
def add(x, y_out):
    """y += x."""
    for k in range(y_out.size):
        y_out[k] += x[k]


@helper
def sum_chunks(chunk_gradients, first, gradients_out):
    """Sum the gradients of all chunks (n_chunks, n_parameter_slots), elements from `first` on.

    In chunk order, so that the sum does not depend on which thread computed which chunk.
    """
    gradients_out[:] = 0
    for chunk in range(chunk_gradients.shape[0]):
        add(chunk_gradients[chunk, first : first + gradients_out.size], gradients_out)
