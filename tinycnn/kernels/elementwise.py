"""Copies and sums of flat arrays, element by element."""

from ._jit import helper


@helper
def assign(x, y_out):
    """Copy x to y_out, of the same size; do nothing if both are the same array.

    (`y_out[:] = x` takes longer to compile: it includes an error for different sizes.)
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
def sum_rows(x, sum_out):
    """sum_out[k] = sum over p of x[p, k], overwritten."""
    sum_out[:] = 0
    for p in range(x.shape[0]):
        for k in range(x.shape[1]):
            sum_out[k] += x[p, k]


@helper
def sum_chunks(chunk_gradients, first, gradients_out):
    """gradients_out[k] = sum over chunks of chunk_gradients[chunk, first + k].

    The terms are added in chunk order, so the sum does not depend on the threads.
    """
    gradients_out[:] = 0
    for chunk in range(chunk_gradients.shape[0]):
        add(chunk_gradients[chunk, first : first + gradients_out.size], gradients_out)
