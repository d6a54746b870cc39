"""The sum of two inputs of one shape: the end of a residual.

y[k] = x[k] + x2[k]                                                                         (1)

Backward is no pass of its own:

    dL/dx[k] = dL/dy[k] * dy[k]/dx[k] = dL/dy[k]                     chain rule, (1)            (2)
    dL/dx2[k] = dL/dy[k]                                             likewise                   (3)
"""

from ._jit import kernel
from .elementwise import add, assign


@kernel
def add_forward(x, x2, y_out):
    """Equation (1).  1-D arrays of one length and dtype; y_out is neither x nor x2."""
    assign(x, y_out)
    add(x2, y_out)
