"""Applies the activation that is a part of an operation, in place, by the number in its record.

Each of these activations can do its backward pass from its output alone.  (PReLU cannot: it is an
operation by itself.)
"""

from ._jit import helper
from .leaky_relu import leaky_relu_backward, leaky_relu_forward
from .operations import CLIPPED_RELU, LEAKY_RELU, RELU, SIGMOID, TANH
from .relu import clipped_relu_backward, clipped_relu_forward, relu_backward, relu_forward
from .sigmoid import sigmoid_backward, sigmoid_forward
from .tanh import tanh_backward, tanh_forward


@helper
def activate(kind, value, y):
    """The activation's input y, flat, becomes its output.

    kind, value  `activation` and `activation_value` of the record
    """
    if kind == RELU:
        relu_forward(y, y)
    elif kind == CLIPPED_RELU:
        clipped_relu_forward(y, value, y)
    elif kind == LEAKY_RELU:
        leaky_relu_forward(y, value, y)
    elif kind == SIGMOID:
        sigmoid_forward(y, y)
    elif kind == TANH:
        tanh_forward(y, y)


@helper
def activate_backward(kind, value, y, dy):
    """dy, the gradient of the activation's output y, becomes the gradient of its input.  Flat."""
    if kind == RELU:
        relu_backward(y, dy, dy)
    elif kind == CLIPPED_RELU:
        clipped_relu_backward(y, value, dy, dy)
    elif kind == LEAKY_RELU:
        leaky_relu_backward(y, value, dy, dy)
    elif kind == SIGMOID:
        sigmoid_backward(y, dy, dy)
    elif kind == TANH:
        tanh_backward(y, dy, dy)
